"""`NonSelfConsistentResult`: the states of a given density, its energies and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.converged import Converged
from deepchem_xc.planewave.energy import energy_terms, left_out_energy, potential_in_graph
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity, integrals
from deepchem_xc.planewave.fixed_density.harris import (
    MovingState,
    attach_harris_energy,
    harris_energy,
    harris_forces_and_stress,
)
from deepchem_xc.planewave.fixed_density.lowest_states import lowest_states
from deepchem_xc.planewave.loop.one_orbital import is_lost, why_unbounded, with_several_orbitals
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import unchanged
from deepchem_xc.planewave.response.independent import GroundState, attach_to_potential
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE, SCFResult


@dataclass(frozen=True, eq=False)
class NonSelfConsistentResult(SCFResult):
    """States in the potential of a given density, in Hartree atomic units.

    It has all properties of an `SCFResult`. Those of the states (eigenvalues, occupations, Fermi
    level, gap, and everything made of the output density) belong to the given density's potential.
    `free_energy`, `energy`, forces and stress are those of the Harris-Foulkes functional of the
    given density; `energies` and `kohn_sham_free_energy` those of the output density.

    If the given density or the functional's parameters require gradients, results are in their
    graph. The derivative of `free_energy` needs no response; any other is one response of
    independent electrons for each backward pass.

    Attributes
    ----------
    given : FixedDensity
        The given density.
    harris : Tensor
        `free_energy` without a graph, 0-d.

    See Also
    --------
    SCFResult, AttachedState : Other fields and properties.

    Examples
    --------
    The superposition of atoms of silicon:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> converged = scf(bulk("Si"), ecut=100.0)
    >>> atoms = converged.basis.to_grid(converged.problem.atomic_density())
    >>> from deepchem_xc.planewave.fixed_density.sources import source_of
    >>> given = FixedDensity.of(converged.problem, source_of(atoms))
    >>> result = at_given_density(converged.problem, given)
    >>> print(f"{result.density_error:.2f} of the electrons are elsewhere")
    0.38 of the electrons are elsewhere
    >>> bool(result.free_energy < converged.free_energy < result.kohn_sham_free_energy)
    True
    """

    given: FixedDensity = field(kw_only=True, repr=False)
    harris: Tensor = field(kw_only=True, repr=False)

    is_self_consistent: ClassVar[bool] = False

    @property
    def _sources(self) -> list[Tensor]:
        """Tensors of given density and functional that require gradients."""
        if self.detached:
            return []
        return [*(x for x in self.given.fields.leaves if x.requires_grad), *super()._sources]

    def __getstate__(self) -> dict[str, Any]:
        """As for other results; the copy's given density is a leaf."""
        fields = self.given.fields.map(
            lambda leaf: leaf.detach().clone().requires_grad_(leaf.requires_grad)
        )
        return {**super().__getstate__(), "given": replace(self.given, fields=fields)}

    @property
    def _given_electrons(self) -> Fields:
        fields = self.given.fields if self._in_graph else self.given.fields.detach()
        return fields.to_electrons(self.basis.volume)

    def _attach(self) -> GroundState:
        last = self.converged
        if not self._in_graph:
            return last.ground_state(self.basis.volume)
        self._check_functional()
        return attach_to_potential(
            self.problem,
            potential_in_graph(self.problem, self._given_electrons),
            last.fields,
            last.orbitals,
            self.gradient_tolerance,
            unchanged(self.problem),
        )

    @property
    def given_density(self) -> Tensor:
        """The given density, projected on the symmetry, on the grid, (nspin, n1, n2, n3)."""
        return self.basis.to_grid(self.given.fields.density)

    @property
    def density_error(self) -> float:
        """Integral of the absolute difference of output and given total density, per electron."""
        return float(self._once("density error", self._errors)[0])

    @property
    def magnetisation_error(self) -> float:
        """The same for the magnetisations, per electron; 0 without spin."""
        errors = self._once("density error", self._errors)
        return float(errors[1]) if len(errors) == 2 else 0.0

    def _errors(self) -> Tensor:
        return integrals(self.problem, self.converged.fields - self.given.fields.detach())

    def _free_energy(self) -> Tensor:
        self._check_functional()
        if not self._in_graph:
            return self.harris
        output = self.converged.fields.to_electrons(self.basis.volume)
        memory = unchanged(self.problem)
        return attach_harris_energy(
            self.problem, self.harris, self._given_electrons, output, memory
        )

    def _energies(self) -> dict[str, Tensor]:
        self._check_functional()
        state = self.ground_state
        given = state.orbitals, state.occupations, self.fields, state.entropy_energy
        return energy_terms(self.problem, *given)

    @property
    def kohn_sham_free_energy(self) -> Tensor:
        """Free energy of the output density and its orbitals, 0-d, Hartree per cell."""
        return self.energies["free"]

    @property
    def energy_difference(self) -> Tensor:
        """`kohn_sham_free_energy` minus `free_energy`, 0-d, Hartree per cell.

        Both errors are of second order in the density's error. If it is small, the first energy
        lies above the self-consistent one and the second usually below. Where a spin channel that
        is empty in the ground state has a small positive density d, the second error is of lower
        order, because exchange goes as d to the power 4/3 (with PBE partly 2/3): there the first
        energy is the better one.
        """
        return self.kohn_sham_free_energy - self.free_energy

    @property
    def stress(self) -> Tensor:
        """Stress dF/dstrain / volume, (3, 3), Hartree/bohr^3; positive under tension.

        Raises
        ------
        ValueError
            If the given density is a model's that is not in the graph of the lattice.
        """
        stress = self._once("forces", self._moving)[1]
        if stress is None:
            raise ValueError(
                "the stress needs the derivative of the density with respect to the lattice, but "
                "the density of this model is not in its graph: forces are available."
            )
        return stress

    @property
    def forces(self) -> Tensor:
        """Forces, (natom, 3), Hartree/bohr: negative derivatives of `free_energy`.

        The given density moves: a model's as the model says, any other with superposed atoms, from
        which its difference stays. That difference does not follow, and therefore the forces need
        not add up to zero; their mean is not removed.
        """
        return self._once("forces", self._moving)[0]

    def _moving(self) -> tuple[Tensor, Tensor | None]:
        self._check_functional()
        state, volume = self.ground_state, self.basis.volume
        moving = MovingState(
            self._given_electrons,
            self.fields.to_electrons(volume),
            state.orbitals,
            state.occupations,
            state.eigenvalues,
            state.orbitals_by_energy,
        )
        return harris_forces_and_stress(self.problem, self.given, moving, self._in_graph)

    def _electrostatic_potential(self) -> Tensor:
        """That of the given density, on the scale of the eigenvalues."""
        fields = self.given.fields if self._in_graph else self.given.fields.detach()
        return self._potential_of(self.problem, fields)


def at_given_density(
    problem: KohnShamProblem,
    given: FixedDensity,
    tolerance: float = 1e-6,
    nbands: int | None = None,
    orbitals: Tensor | None = None,
    maxiter: int = 100,
    policies: Policies | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
) -> NonSelfConsistentResult:
    """States and energies of a problem in the potential of a given density.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal, without a graph.
    given : FixedDensity
        The density; may be in a graph.
    tolerance, nbands, orbitals, maxiter, policies
        See `lowest_states`.
    callback : callable, optional
        Called after each sweep of the eigensolver with a dict of its number, energy and residual.
    gradient_tolerance : float, optional
        Relative error of the response's equations.

    Raises
    ------
    ValueError
        For a meta-GGA without a lowest state at this density.
    DiagonalizationError
        If the states do not converge.
    """
    with torch.no_grad():
        fields = given.fields.detach()
        potential, correction = _with_left_out(problem, fields)
        _check_lowest(problem, fields, potential)

        def report(
            sweep: int, eigenvalues: Tensor, occupation: Occupations, residual: float
        ) -> None:
            if callback is not None:
                energy = float(harris_energy(problem, eigenvalues, occupation, correction))
                callback({"step": float(sweep), "energy": energy, "orbital_error": residual})

        hamiltonian = problem.hamiltonian(potential)
        found = lowest_states(
            problem, hamiltonian, tolerance, nbands, orbitals, maxiter, policies, report
        )
        other = with_several_orbitals(problem, found.occupation)
        if other is not None:
            raise ValueError(
                f"{problem.functional.name} holds several orbitals in a channel here, and needs "
                "the kinetic energy density of the given density: give spinpol or k-points with "
                "which it is kept, or use scf(..., start=...)."
            )
        weighted_occupations = (found.occupation.occupations * problem.basis.weights[:, None])[None]
        (output,) = problem.fields_of(found.orbitals, weighted_occupations)
        problem.pieces.release()
        energy = harris_energy(problem, found.eigenvalues, found.occupation, correction)
        errors = integrals(problem, output - fields)
        own_potential, own_correction = problem.effective_potential(output)
        shift = (own_potential - potential).energy(output, problem.basis.volume)
    record = {
        "step": 1.0,
        "energy": float(energy),
        "energy_change": float(own_correction - correction + shift),
        "density_error": float(errors.max()),
        "orbital_error": found.residual,
    }
    last = Converged(found.orbitals, found.eigenvalues, found.occupation, output, potential)
    return NonSelfConsistentResult(
        problem,
        last,
        [record],
        gradient_tolerance=gradient_tolerance,
        start=given.report,
        given=given,
        harris=energy,
    )


def _with_left_out(problem: KohnShamProblem, fields: Fields) -> tuple[Potential, Tensor]:
    """`KohnShamProblem.effective_potential`, the energy continued as in `left_out_energy`."""
    potential, correction = problem.effective_potential(fields)
    electrons = fields.to_electrons(problem.basis.volume)
    return potential, correction + left_out_energy(problem, electrons, electrons).detach()


def _check_lowest(problem: KohnShamProblem, fields: Fields, potential: Potential) -> None:
    if is_lost(problem, fields, potential):
        reason = why_unbounded(problem, fields, potential) or ""
        raise ValueError(f"there is no lowest state at the given density: {reason}")
