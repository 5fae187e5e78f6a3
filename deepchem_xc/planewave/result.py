"""What a self-consistency loop leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.energy import energy_terms, forces_and_stress
from deepchem_xc.planewave.kpoints import KPoints
from deepchem_xc.planewave.occupations import Occupations
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.terms.xc import xc_energy


@dataclass(frozen=True, eq=False)
class SCFResult:
    """A converged ground state and everything that follows from it, in Hartree atomic units.

    Energies, forces and stress are computed when they are first asked for. `free_energy` can be
    differentiated with respect to the functional's parameters.

    Attributes
    ----------
    problem : KohnShamProblem
        Basis, functional, pseudopotentials and smearing.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    eigenvalues : Tensor
        (nspin, nk, nband), Hartree.
    occupation : Occupations
        Occupation numbers, Fermi level and entropy.
    density_g : Tensor
        Density on the sphere, (nspin, nG), bohr^-3; up and down where nspin is 2.
    potential_g : Tensor
        Kohn-Sham potential the orbitals belong to, (nspin, nG), Hartree.
    history : list of dict
        One record a step: energy, density_error, orbital_error, moment and so on.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> result = scf(bulk("Si"), functional, ecut=150.0, kpts={"size": (2, 2, 2), "gamma": True})
    >>> result.forces.shape, result.density.shape
    (torch.Size([2, 3]), torch.Size([1, 16, 16, 16]))
    >>> result.free_energy.backward()
    >>> all(p.grad is not None for p in functional.parameters())
    True
    """

    problem: KohnShamProblem
    orbitals: Tensor = field(repr=False)
    eigenvalues: Tensor = field(repr=False)
    occupation: Occupations = field(repr=False)
    density_g: Tensor = field(repr=False)
    potential_g: Tensor = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)

    @property
    def basis(self) -> PlaneWaveBasis:
        """Plane waves, k-points and grid."""
        return self.problem.basis

    @property
    def kpoints(self) -> KPoints:
        """Irreducible k-points, reduced coordinates."""
        return self.basis.kpoints

    @property
    def weights(self) -> Tensor:
        """Weights of the k-points, (nk,); they sum to 1."""
        return self.basis.weights

    @property
    def nsteps(self) -> int:
        """Self-consistency steps taken."""
        return len(self.history)

    @property
    def occupations(self) -> Tensor:
        """Electrons in each state, (nspin, nk, nband); at most 2 / nspin."""
        return self.occupation.numbers

    @property
    def fermi_level(self) -> Tensor:
        """Fermi level, Hartree; with a fixed moment one for each spin, (2,)."""
        return torch.as_tensor(self.occupation.fermi_level, dtype=torch.float64)

    @cached_property
    def density(self) -> Tensor:
        """Density on the grid, (nspin, n1, n2, n3), bohr^-3: total, or up and down."""
        return self.basis.to_grid(self.density_g)

    @cached_property
    def energies(self) -> dict[str, Tensor]:
        """Energy by term, Hartree per cell, without derivatives.

        Keys: kinetic, local, nonlocal, hartree, xc, ewald, core, entropy (-TS), total (without the
        entropy) and free.
        """
        with torch.no_grad():
            return energy_terms(
                self.problem,
                self.orbitals,
                self.occupations,
                self.density_g,
                self.occupation.entropy_energy,
            )

    @property
    def energy(self) -> Tensor:
        """Total energy without the entropy term, 0-d, Hartree per cell, without derivatives."""
        return self.energies["total"]

    @cached_property
    def free_energy(self) -> Tensor:
        """Total energy with the entropy term: what the loop minimises, 0-d, Hartree per cell.

        It knows the functional's parameters: as it is stationary, its derivatives with respect to
        them are those of the XC energy of this density (Hellmann and Feynman).
        """
        functional = self.problem.functional
        value = self.energies["free"]
        tensors = (*functional.parameters(), *functional.buffers())
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            energy = xc_energy(self.basis, functional, self.density_g, self.problem.core)
            value = value + (energy - energy.detach())
        return value

    @property
    def extrapolated_energy(self) -> Tensor:
        """Estimate of the energy at zero width, 0-d, Hartree per cell, without derivatives."""
        return self.problem.smearing.extrapolate(self.energies["free"], self.energies["entropy"])

    @cached_property
    def _forces_and_stress(self) -> tuple[Tensor, Tensor]:
        return forces_and_stress(self.problem, self.orbitals, self.occupations, self.density_g)

    @property
    def forces(self) -> Tensor:
        """Forces, (natom, 3), Hartree/bohr, derivatives of the free energy."""
        return self._forces_and_stress[0]

    @property
    def stress(self) -> Tensor:
        """Stress dE/dstrain / volume, (3, 3), Hartree/bohr^3; positive under tension."""
        return self._forces_and_stress[1]

    @property
    def magnetic_moment(self) -> Tensor:
        """Total magnetic moment, 0-d, mu_B per cell."""
        if self.problem.nspin == 1:
            return self.density_g.real.new_zeros(())
        return (self.density_g[0, 0] - self.density_g[1, 0]).real * self.basis.volume

    @property
    def band_gap(self) -> Tensor:
        """Smallest difference between empty and filled states, 0-d, Hartree; 0 for a metal.

        Both spins share one gap. A state counts as filled when it holds more than half of what it
        can, and a band that is filled at some k-points only makes a metal.
        """
        filled = self.occupations > 1.0 / self.problem.nspin
        if bool(filled.all()):
            raise ValueError(
                "the band gap needs at least one empty band: ask for more with nbands="
            )
        if bool((filled.any(1) & ~filled.all(1)).any()):
            return self.eigenvalues.new_zeros(())
        top = self.eigenvalues[filled].max()
        bottom = self.eigenvalues[~filled].min()
        return torch.clamp_min(bottom - top, 0.0)
