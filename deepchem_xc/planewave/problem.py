"""The Kohn-Sham problem of one crystal: everything that the self-consistency loop keeps fixed."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.occupations.electron_count import check_electrons
from deepchem_xc.occupations.occupy import Occupations, Smearing, occupy
from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.inversion_gauge import InversionGauge, inversion_centre
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.basis.real_gauge import RealGauge
from deepchem_xc.planewave.basis.time_reversal_gauge import TimeReversalGauge, is_reversible
from deepchem_xc.planewave.coupled_projectors import CoupledProjectors
from deepchem_xc.planewave.density import fields_from_orbitals
from deepchem_xc.planewave.fields import Fields, Potential, V
from deepchem_xc.planewave.hamiltonian import Hamiltonian, LocalOperator, PotentialOperator
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.pseudo import AtomicPotential, Pseudopotential
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.terms.base import DensityTerm, IonTerm, Term
from deepchem_xc.planewave.terms.coulomb import Coulomb
from deepchem_xc.planewave.terms.ewald import Ewald
from deepchem_xc.planewave.terms.hartree import Hartree
from deepchem_xc.planewave.terms.kinetic import Kinetic
from deepchem_xc.planewave.terms.local import Core, Local
from deepchem_xc.planewave.terms.nonlocal_ import Nonlocal, coupling_matrix, projectors
from deepchem_xc.planewave.terms.sphere_terms import (
    SphereExchangeCorrelation,
    SphereKinetic,
    ZeroPotential,
)
from deepchem_xc.planewave.terms.superposed import (
    limited_moments,
    superposed_occupations,
    superposition,
)
from deepchem_xc.planewave.terms.xc import ExchangeCorrelation

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

# Smallest density that its gradient's square is divided by, bohr^-3.
_VACUUM = 1e-6
# Largest slope |grad n| / n in a starting kinetic energy density, 1/bohr; helium's is 2.7 in its
# tail.
_STEEPEST = 6.0


@dataclass(frozen=True, eq=False)
class KohnShamProblem:
    """A basis, a functional, pseudopotentials and a smearing.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves, k-points and grid.
    functional : XCFunctional
        XC functional.
    pseudopotentials : mapping of str to AtomicPotential
        One for every species: norm-conserving ones, or PAW datasets.
    smearing : Smearing
        Rule that fills the states.
    nspin : int
        1, or 2 for collinear spin.
    moment : float or None
        Total magnetic moment to hold fixed, mu_B per cell; None lets it relax.

    Raises
    ------
    ValueError
        If the electrons cannot be placed: an odd number without spin or smearing, or an impossible
        moment.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> problem = make_problem(basis, "PBE", "gth-pbe")
    >>> density = problem.atomic_density()
    >>> problem.nelectrons, round(float(density[0, 0].real * basis.volume), 9)
    (8.0, 8.0)
    """

    basis: PlaneWaveBasis
    functional: XCFunctional
    pseudopotentials: Mapping[str, AtomicPotential]
    smearing: Smearing
    nspin: int = 1
    moment: float | None = None

    def __post_init__(self) -> None:
        check_electrons(self.nelectrons, self.nspin, self.smearing, self.moment)
        kinds = {isinstance(p, PAWPotential) for p in self.pseudopotentials.values()}
        if len(kinds) == 2:
            names = ", ".join(f"{k}: {p.name}" for k, p in self.pseudopotentials.items())
            raise ValueError(
                f"the potentials {names} mix norm-conserving ones with PAW datasets, whose "
                "energies do not fit together: take one kind for all elements"
            )

    @cached_property
    def nelectrons(self) -> float:
        """Valence electrons per cell."""
        return float(self.charges.sum())

    @cached_property
    def pieces(self) -> GridPieces:
        """How this basis cuts its FFTs."""
        return GridPieces(self.basis)

    @cached_property
    def spheres(self) -> Spheres | None:
        """The PAW spheres; None with norm-conserving potentials."""
        datasets = {k: p for k, p in self.pseudopotentials.items() if isinstance(p, PAWPotential)}
        if not datasets:
            return None
        return Spheres(self.basis.crystal, datasets, self.basis.kpoints.symmetry)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Terms of the energy, which determine energies by name, forces, stress and potential."""
        spheres = self.spheres
        if spheres is not None:
            return (
                Kinetic(),
                SphereKinetic(spheres),
                Coulomb(self.basis, spheres),
                ZeroPotential(spheres),
                ExchangeCorrelation(self.functional, spheres.potentials),
                SphereExchangeCorrelation(self.functional, spheres),
            )
        pseudos = self.norm_conserving("this list of terms")
        return (
            Kinetic(),
            Local(pseudos),
            Nonlocal(pseudos),
            Hartree(),
            ExchangeCorrelation(self.functional, pseudos),
            Ewald(self.charges),
            Core(pseudos),
        )

    def norm_conserving(self, what: str) -> dict[str, Pseudopotential]:
        """Potentials of a problem without PAW spheres, by element.

        Parameters
        ----------
        what : str
            What needs them, for the message.

        Raises
        ------
        NotImplementedError
            If the potentials are PAW datasets.
        """
        found = {}
        for symbol, potential in self.pseudopotentials.items():
            if not isinstance(potential, Pseudopotential):
                raise NotImplementedError(
                    f"{what} is not available with PAW datasets ({symbol}: {potential.name}); take "
                    "norm-conserving potentials for it, for example pseudopotentials='gth-pbe'"
                )
            found[symbol] = potential
        return found

    def paw_spheres(self, what: str) -> Spheres:
        """Spheres of a problem with PAW datasets.

        Parameters
        ----------
        what : str
            What needs them, for the message.

        Raises
        ------
        NotImplementedError
            If the potentials are norm-conserving.
        """
        if self.spheres is None:
            names = ", ".join(f"{k}: {p.name}" for k, p in self.pseudopotentials.items())
            raise NotImplementedError(
                f"{what} needs partial waves, which norm-conserving potentials ({names}) do not "
                "have; take PAW datasets for it, for example pseudopotentials='paw-pbe'"
            )
        return self.spheres

    @cached_property
    def projectors(self) -> Tensor:
        """Nonlocal projectors, (nk, nproj, npw), complex coefficients without unit."""
        return projectors(self.basis, self.pseudopotentials)

    @cached_property
    def fixed_coupling(self) -> Tensor:
        """Coupling of norm-conserving projectors, (nproj, nproj), Hartree."""
        return coupling_matrix(self.basis, self.norm_conserving("a fixed coupling"))

    def coupling(self, potential: Potential) -> Tensor:
        """Coupling of the projectors, (nproj, nproj), or one for each spin with PAW, Hartree."""
        if self.spheres is None:
            return self.fixed_coupling
        assert potential.spheres is not None
        return self.spheres.block_diagonal(potential.spheres)

    @cached_property
    def overlap(self) -> Tensor | None:
        """Coupling of the projectors in S - 1, (nproj, nproj), without unit; None where S = 1."""
        if self.spheres is None:
            return None
        return self.spheres.block_diagonal(self.spheres.overlaps)

    @cached_property
    def gauge(self) -> RealGauge | None:
        """Gauge of real orbitals, from an inversion centre or time reversal at every k-point."""
        centre = inversion_centre(self.basis)
        if centre is not None:
            return InversionGauge(self.basis, centre, self.projectors)
        if is_reversible(self.basis):
            return TimeReversalGauge(self.basis, self.projectors)
        return None

    @cached_property
    def constant_energy(self) -> float:
        """Energy of the ions alone, which does not depend on the electronic state, Ha per cell."""
        ions = [term.energy(self.basis) for term in self.terms if isinstance(term, IonTerm)]
        return sum(float(energy.detach()) for energy in ions)

    @cached_property
    def charges(self) -> Tensor:
        """Valence charge of every atom, (natom,), in elementary charges."""
        charges = [self.pseudopotentials[symbol].valence for symbol in self.basis.crystal.symbols]
        return torch.tensor(charges, dtype=torch.float64, device=self.basis.device)

    def occupy(self, eigenvalues: Tensor, moment: float | None = None) -> Occupations:
        """Occupy states with this problem's electrons, as `occupations.occupy` does.

        Parameters
        ----------
        eigenvalues : Tensor
            (nspin, nk, nband), Hartree.
        moment : float, optional
            Magnetic moment to hold, mu_B per cell; default: the problem's, if it holds one.
        """
        held = self.moment if moment is None else moment
        return occupy(eigenvalues, self.basis.weights, self.nelectrons, self.smearing, held)

    def effective_potential(self, fields: Fields) -> tuple[Potential, Tensor]:
        """Kohn-Sham potential of a density.

        Parameters
        ----------
        fields : Fields
            Density, for meta-GGAs with the kinetic energy density.

        Returns
        -------
        potential : Potential
            With `v_tau` for meta-GGAs.
        correction : Tensor
            0-d, Hartree: added to the sum of the occupied eigenvalues, it gives the sum of Hartree,
            XC, kinetic, local and nonlocal energy up to second order in the density's error (the
            functional of J. Harris, Phys. Rev. B 31, 1770 (1985)).
        """
        terms = [term for term in self.terms if isinstance(term, DensityTerm)]
        found = [term.potential(self.basis, fields) for term in terms]
        potentials, corrections = zip(*found, strict=True)
        return reduce(operator.add, potentials), torch.stack(corrections).sum()

    def hamiltonian(self, potential: Potential) -> Hamiltonian:
        """Hamiltonian of this problem with some local potential.

        Parameters
        ----------
        potential : Potential
            As `effective_potential` returns it.
        """
        return Hamiltonian(
            self.basis,
            potential,
            self.projectors,
            self.coupling(potential),
            self.pieces,
            self.gauge,
            self.overlap,
        )

    def overlaps(self, left: Tensor, right: Tensor) -> Tensor:
        """Overlaps <right_m|S|left_n> of complex orbitals, (nspin, nk, nleft, nright).

        Parameters
        ----------
        left, right : Tensor
            (nspin, nk, nband, npw).
        """
        found = left @ right.mH
        if self.overlap is None:
            return found
        conjugates = self.projectors.conj().mT
        inside = (left @ conjugates) @ self.overlap.to(found.dtype)
        return found + inside @ (right @ conjugates).mH

    def operator(self, potential: Potential) -> PotentialOperator:
        """A change of the potential as an operator on orbitals.

        Parameters
        ----------
        potential : Potential
            As `effective_potential` returns it, or a difference of two.
        """
        local = LocalOperator(self.pieces, potential, self.gauge)
        if potential.spheres is None:
            return PotentialOperator(local)
        coupling = self.coupling(potential)
        return PotentialOperator(
            local, CoupledProjectors(self.projectors, coupling, gauge=self.gauge)
        )

    def fields_of(
        self, orbitals: Tensor, weighted_occupations: Tensor, single: bool = False
    ) -> list[Fields]:
        """Symmetrised fields of orbitals, one for each set of occupations.

        Parameters
        ----------
        orbitals : Tensor
            (nspin, nk, nband, npw), complex.
        weighted_occupations : Tensor
            Electrons per state times the k-point's weight, (n, nspin, nk, nband).
        single : bool, optional
            Transform the orbitals in single precision: densities are accurate to 1e-7.
        """
        tau = self.needs_kinetic_density
        found = fields_from_orbitals(
            self.pieces, self.gauge, orbitals, weighted_occupations, tau, single
        )
        if self.spheres is None:
            return found
        conjugates = self.projectors.conj().mT
        channels = [
            self.spheres.of_projections(rows @ conjugates, weights)
            for rows, weights in zip(orbitals, weighted_occupations.unbind(1), strict=True)
        ]
        matrices = self.spheres.symmetrize(torch.stack(channels, dim=1))
        return [replace(f, spheres=own) for f, own in zip(found, matrices, strict=True)]

    def symmetrized(self, vector: V) -> V:
        """Average of fields or of a potential over the crystal's symmetry."""
        return vector.symmetrized(self.basis, self.spheres)

    def electrons(self, fields: Fields) -> Tensor:
        """Electrons of each channel, (nspin,), those inside of PAW spheres included."""
        counts = fields.density[:, 0].real * self.basis.volume
        if fields.spheres is None:
            return counts
        assert self.spheres is not None
        return counts + fields.spheres @ self.spheres.overlaps

    @property
    def needs_kinetic_density(self) -> bool:
        """Whether the functional is a meta-GGA."""
        from deepchem_xc.xc import Ingredients

        return Ingredients.TAU in self.functional.ingredients

    @property
    def initial_moment(self) -> float | None:
        """Moment of the first step, mu_B per cell: the fixed one, or the sum of the atoms' if any.

        Integer occupations choose their own, integer moment.
        """
        if self.moment is not None or self.nspin == 1 or self.smearing.width == 0.0:
            return self.moment
        total = sum(limited_moments(self.basis.crystal, self.pseudopotentials))
        return total if total != 0.0 else None

    def atomic_density(self) -> Tensor:
        """`superposition` with the symmetry of the k-points, (nspin, nG), bohr^-3."""
        return self.basis.symmetrize(self.superposition())

    def superposition(self) -> Tensor:
        """Superposed atoms with the crystal's initial moments, (nspin, nG), bohr^-3.

        Not symmetrised: the structure has its symmetry only to a tolerance.
        """
        return superposition(self.basis, self.pseudopotentials, self.nspin)

    def superposed_fields(self) -> Fields:
        """`superposition` with the occupations inside of PAW spheres; not symmetrised."""
        density = self.superposition()
        if self.spheres is None:
            return Fields(density)
        occupations = superposed_occupations(self.basis.crystal, self.spheres, self.nspin)
        return Fields(density, spheres=occupations)

    def starting_fields(self) -> Fields:
        """Symmetrised superposed atoms, for a meta-GGA `with_kinetic_density`."""
        fields = self.symmetrized(self.superposed_fields())
        if not self.needs_kinetic_density:
            return fields
        return replace(fields, tau=self.with_kinetic_density(fields.density).tau)

    def with_kinetic_density(self, density: Tensor) -> Fields:
        """A density, (nspin, nG), with the kinetic energy density of a slowly varying gas.

        The latter is the gradient expansion of Thomas, Fermi and von Weizsaecker (D. A. Kirzhnits,
        Sov. Phys. JETP 5, 64 (1957)) for each channel, without the Laplacian: a start for
        meta-GGAs.
        """
        basis = self.basis
        total = (self.nspin * basis.to_grid(density)).clamp_min(_VACUUM)
        gradient = self.nspin * basis.gradient(density)
        uniform = 0.3 * (3.0 * math.pi**2) ** (2.0 / 3.0) * total ** (5.0 / 3.0)
        # In the noise of a vacuum |grad n| / n is unbounded, and tau would oscillate everywhere.
        weizsaecker = (gradient.square().sum(1) / total).clamp_max(_STEEPEST**2 * total)
        tau = (uniform + weizsaecker / 72.0) / self.nspin
        return Fields(density, basis.symmetrize(basis.to_sphere(tau)))

    def default_nbands(self) -> int:
        """Bands that hold the electrons, and a few empty ones."""
        largest = self.nelectrons / 2.0
        if self.nspin == 2:
            moments = self.basis.crystal.magnetic_moments or (0.0,)
            unpaired = abs(self.moment) if self.moment is not None else abs(sum(moments))
            largest += min(unpaired, self.nelectrons) / 2.0
        occupied = math.ceil(largest - 1e-9)
        # With two or three empty bands, which need not converge, the eigensolver need not separate
        # the highest occupied band from the next one.
        if self.smearing.width > 0.0:
            return occupied + max(3, math.ceil(0.2 * occupied))
        # Next to a gap, whose width does not fall with the size of the cell, fewer will do.
        return occupied + max(2, math.ceil(min(0.2 * occupied, occupied**0.5)))
