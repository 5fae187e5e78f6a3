"""The result of a self-consistency loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.attached import GRADIENT_TOLERANCE, AttachedState
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import energy_terms, forces_and_stress
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.observables.dipole import dipole_moment, dipole_of_neutral_charge
from deepchem_xc.planewave.observables.electrostatics import (
    electrostatic_potential,
    potential_around_spheres,
)
from deepchem_xc.planewave.observables.hirshfeld import hirshfeld_moments
from deepchem_xc.planewave.observables.sphere_moments import sphere_moments
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.hellmann_feynman import stationary_energy
from deepchem_xc.planewave.response.levels import band_gap, multiplet_means
from deepchem_xc.planewave.response.multiplets import checked_occupations
from deepchem_xc.planewave.structure.kpoints import KPoints
from deepchem_xc.planewave.terms.coulomb import Coulomb

__all__ = ["GRADIENT_TOLERANCE", "SCFResult"]


@dataclass(frozen=True, eq=False)
class SCFResult(AttachedState):
    """A converged ground state and its properties, in Hartree atomic units.

    Each property is computed on first access. If the functional's parameters, or the lattice and
    positions, require gradients, all results except the orbitals are in their graph:
    ``loss.backward()`` differentiates through the self-consistent field. The derivative of
    `free_energy` costs no more than an energy; any other loss solves one adjoint equation for each
    backward pass.

    See Also
    --------
    AttachedState : Fields `problem`, `converged`, `history`, `geometry`, `gradient_tolerance`,
        `detached`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> result = scf(bulk("Si"), functional, ecut=150.0, kpts={"size": (2, 2, 2), "gamma": True})
    >>> result.forces.shape, result.density.shape
    (torch.Size([2, 3]), torch.Size([1, 16, 16, 16]))
    >>> result.density.square().mean().backward()
    >>> all(p.grad is not None for p in functional.parameters())
    True
    """

    #: Whether energies and forces belong to the density of the states.
    is_self_consistent: ClassVar[bool] = True

    @property
    def volume(self) -> Tensor:
        """Volume of the cell, 0-d, bohr^3, in the graph of the lattice."""
        return (self._attached_problem if self._in_graph else self.problem).basis.volume

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
        """Number of self-consistency steps."""
        return len(self.history)

    @property
    def orbitals(self) -> Tensor:
        """Orbitals, (nspin, nk, nband, npw), without derivatives: their phases are arbitrary."""
        return self.converged.orbitals

    @property
    def potential(self) -> Potential:
        """Kohn-Sham potential, for meta-GGAs with `v_tau`, without derivatives."""
        return self.converged.potential

    @property
    def potential_g(self) -> Tensor:
        """Local Kohn-Sham potential on the sphere, (nspin, nG), Hartree, without derivatives."""
        return self.potential.v

    @property
    def occupation(self) -> Occupations:
        """Occupations, Fermi level and entropy, without derivatives."""
        return self.converged.occupation

    @property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues, (nspin, nk, nband), Hartree, ascending.

        A loss must treat degenerate ones alike, or use `multiplet_eigenvalues`.
        """
        return self.ground_state.eigenvalues

    @property
    def multiplet_eigenvalues(self) -> Tensor:
        """Eigenvalues with every degenerate set replaced by its mean, (nspin, nk, nband), Hartree.

        The values agree to within 1e-6 Ha, and each of them has derivatives.
        """
        return multiplet_means(self.eigenvalues)

    @property
    def occupations(self) -> Tensor:
        """Electrons in each state, (nspin, nk, nband); at most 2 / nspin.

        A loss must treat those of degenerate states alike, as for `eigenvalues`.
        """
        return self._once("occupations", self._occupations)

    def _occupations(self) -> Tensor:
        state = self.ground_state
        given = state.occupations, state.eigenvalues, state.fermi_level
        return checked_occupations(*given, self.problem.smearing)

    @property
    def fermi_level(self) -> Tensor:
        """Fermi level, Hartree; with a fixed moment one for each spin, (2,).

        For a channel without electrons it is minus infinity.
        """
        return self.ground_state.fermi_level

    @property
    def reference_level(self) -> Tensor:
        """Zero of energy for bands and densities of states, 0-d, Hartree.

        The Fermi level; with a fixed moment the mean over the channels with electrons.
        """
        levels = self.fermi_level.reshape(-1)
        return levels[torch.isfinite(levels.detach())].mean()

    @property
    def density_g(self) -> Tensor:
        """Density on the sphere, (nspin, nG), bohr^-3: total, or up and down; see `density`."""
        return self.fields.density

    @property
    def fields(self) -> Fields:
        """Density on the sphere, with its companions for meta-GGAs and PAW."""
        if not self._in_graph:
            return self.converged.fields
        return self.ground_state.electrons.to_densities(self.volume)

    @property
    def kinetic_energy_density(self) -> Tensor:
        """Kinetic energy density on the grid, (nspin, n1, n2, n3), Hartree bohr^-3.

        Half the squared gradients of the orbitals, with PAW of the smooth ones, as meta-GGAs use
        them.
        """
        return self._once("kinetic", self._kinetic_energy_density)

    def _kinetic_energy_density(self) -> Tensor:
        tau = self.fields.tau
        if tau is None:
            state, basis = self.ground_state, self._attached_problem.basis
            weighted_occupations = state.occupations * self.weights[:, None]
            tau = kinetic_density(basis, state.orbitals, weighted_occupations)
        return self.basis.to_grid(tau)

    @property
    def density(self) -> Tensor:
        """Valence density on the grid, (nspin, n1, n2, n3), bohr^-3: total, or up and down.

        With PAW it is the smooth one, of the smooth orbitals, whose integral is not the number of
        electrons; see `deepchem_xc.planewave.all_electron_density` for the true one.
        """
        return self._once("density", lambda: self.basis.to_grid(self.density_g))

    @property
    def energies(self) -> dict[str, Tensor]:
        """Energy by term, Hartree per cell.

        Keys: kinetic, local, nonlocal, hartree, xc, ewald, core, with PAW kinetic, coulomb, zero,
        xc; entropy (-TS), total (without the entropy) and free.
        """
        return self._once("energies", self._energies)

    def _energies(self) -> dict[str, Tensor]:
        self._check_functional()
        state = self.ground_state
        given = state.orbitals, state.occupations, self.fields, state.entropy_energy
        terms = energy_terms(self._attached_problem, *given)
        if self._in_graph:
            # The free energy is stationary: its derivatives need no response.
            terms["free"] = self.free_energy
            terms["total"] = terms["free"] - state.entropy_energy
        return terms

    @property
    def energy(self) -> Tensor:
        """Total energy without the entropy term, 0-d, Hartree per cell."""
        return self.free_energy - self._entropy_energy

    @property
    def _entropy_energy(self) -> Tensor:
        """-TS; if it is zero, its derivatives need no response."""
        if self.problem.smearing.width == 0.0:
            return self.converged.occupation.entropy_energy.detach()
        return self.ground_state.entropy_energy

    @property
    def free_energy(self) -> Tensor:
        """Total energy with the entropy term, which the loop minimises, 0-d, Hartree per cell.

        Because it is stationary, its derivatives are those at fixed orbitals and occupations
        (Hellmann and Feynman) and need no response.
        """
        return self._once("free", self._free_energy)

    def _free_energy(self) -> Tensor:
        self._check_functional()
        last = self.converged
        if not self._in_graph:
            return self._fixed_terms()["free"]
        return stationary_energy(
            self._attached_problem,
            last.orbitals,
            last.occupation.occupations,
            last.eigenvalues,
            last.potential,
            last.fields.to_electrons(self.basis.volume),
            self._fixed_terms()["free"],
        )

    def _fixed_terms(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.energies

    @property
    def extrapolated_energy(self) -> Tensor:
        """Estimate of the energy at zero width, 0-d, Hartree per cell."""
        return self.problem.smearing.extrapolate(self.free_energy, self._entropy_energy)

    @property
    def _forces_and_stress(self) -> tuple[Tensor, Tensor]:
        return self._once("forces", self._derivatives)

    def _derivatives(self) -> tuple[Tensor, Tensor]:
        self._check_functional()
        state = self.ground_state
        return forces_and_stress(
            self._attached_problem,
            state.orbitals,
            state.occupations,
            self.fields,
            state.eigenvalues,
            state.orbitals_by_energy,
        )

    @property
    def forces(self) -> Tensor:
        """Forces, (natom, 3), Hartree/bohr: negative derivatives of the free energy."""
        return self._forces_and_stress[0]

    @property
    def stress(self) -> Tensor:
        """Stress dE/dstrain / volume, (3, 3), Hartree/bohr^3; positive under tension."""
        return self._forces_and_stress[1]

    @property
    def magnetic_moment(self) -> Tensor:
        """Total magnetic moment, 0-d, mu_B per cell."""
        electrons = self._attached_problem.electrons(self.fields)
        return 0.0 * electrons[0] if self.problem.nspin == 1 else electrons[0] - electrons[1]

    @property
    def atom_moments(self) -> Tensor:
        """Magnetic moments of the atoms, (natom,), mu_B.

        With norm-conserving potentials they follow Hirshfeld's partition and add up to
        `magnetic_moment`: see `deepchem_xc.planewave.observables.hirshfeld`. With PAW they are
        those inside of the spheres, as GPAW's, and do not add up: see
        `deepchem_xc.planewave.observables.sphere_moments`.
        """
        return self._once("moments", self._atom_moments)

    def _atom_moments(self) -> Tensor:
        problem, fields = self._attached_problem, self.fields
        if problem.spheres is not None:
            assert fields.spheres is not None
            return sphere_moments(problem.spheres, fields.spheres)
        symmetry = self.kpoints.symmetry
        pseudos = problem.norm_conserving("Hirshfeld's partition of the moment")
        return hirshfeld_moments(problem.basis, pseudos, fields.density, symmetry)

    @property
    def electrostatic_potential(self) -> Tensor:
        """Potential energy of an electron on the grid, (n1, n2, n3), Hartree.

        Sum of Hartree potential and local pseudopotentials, or with PAW the potential of all
        electrons and nuclei, smooth inside of the spheres. It is on the scale of the eigenvalues: a
        work function is its value in vacuum minus `fermi_level`. See
        `deepchem_xc.planewave.observables.electrostatics`.
        """
        return self._once("electrostatic", self._electrostatic_potential)

    def _electrostatic_potential(self) -> Tensor:
        return self._potential_of(self._attached_problem, self.fields)

    @staticmethod
    def _potential_of(problem: KohnShamProblem, fields: Fields) -> Tensor:
        if problem.spheres is not None:
            return potential_around_spheres(problem.basis, problem.spheres, fields)
        pseudos = problem.norm_conserving("the sum of local pseudopotentials")
        return electrostatic_potential(problem.basis, pseudos, fields.density)

    @property
    def dipole(self) -> Tensor:
        """Dipole moment, Cartesian, (3,), e bohr, from negative to positive charge.

        Defined for molecules in a box, and for slabs along their normal; components along
        directions that electrons fill are NaN. See `deepchem_xc.planewave.observables.dipole`.

        Raises
        ------
        UndefinedDipoleError
            If no component is defined, as in bulk crystals.
        """
        return self._once("dipole", self._dipole)

    def _dipole(self) -> Tensor:
        problem = self._attached_problem
        basis = problem.basis
        if problem.spheres is None:
            return dipole_moment(basis, problem.charges, self.density_g)
        charge = Coulomb(basis, problem.spheres).charge(basis, self.fields)
        return dipole_of_neutral_charge(basis.crystal, charge.g_vectors, charge.coefficients)

    @property
    def band_gap(self) -> Tensor:
        """Smallest difference between empty and filled states, 0-d, Hartree; 0 for a metal.

        Both spins share one gap. A state counts as filled above half of its capacity, and a band
        that is filled at some k-points only makes a metal. States of equal energy (to 1e-6 Ha),
        also at different k-points, share one derivative, that of their mean.

        Raises
        ------
        ValueError
            If there is no empty band.
        """
        return band_gap(self.multiplet_eigenvalues, self.converged.occupation.occupations)
