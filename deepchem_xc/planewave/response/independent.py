r"""States of a given potential, in its graph: the response of independent electrons, in reverse.

A loss on the states of a potential V changes by :math:`dL = \langle r, dV \rangle`. Its cotangent r
is one sum over bands (`PerturbedStates.adjoint`); the self-consistent adjoint adds Dyson's equation
to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from deepchem_xc.numerics.implicit import attach_implicit
from deepchem_xc.occupations.occupy import check_enough_bands
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.enough_states import enough_states
from deepchem_xc.planewave.response.multiplets import check_multiplets
from deepchem_xc.planewave.response.perturbation import PerturbedStates

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Unchanged

# Largest occupation of the highest band, in units of a full band: with more, derivatives would need
# more bands than there are. The loop's own choice of bands leaves half of this.
_HIGHEST_OCCUPATION = 2e-6
#: Error of the equations that are solved only once, in units of the tolerance.
EXACT = 0.1

#: Error message for second derivatives of a ground state.
SECOND_DERIVATIVES = (
    "second derivatives through the self-consistent field are not available this way: the "
    "gradient was computed with create_graph=True and then differentiated. Forces and "
    "stress, which are first derivatives, can be differentiated: use result.forces and "
    "result.stress."
)


class GroundState(NamedTuple):
    """Quantities that states of a potential determine; in a graph if any input requires it."""

    electrons: Fields
    """As `Fields.to_electrons` returns them."""
    eigenvalues: Tensor
    """(nspin, nk, nband), Hartree."""
    occupations: Tensor
    """Electrons in each state, (nspin, nk, nband)."""
    fermi_level: Tensor
    """Hartree, 0-d, or (2,) with a fixed moment."""
    entropy_energy: Tensor
    """-TS, Hartree, 0-d."""
    orbitals: Tensor
    """(nspin, nk, nband, npw). Losses may depend on them only through the density matrix, the sum
    of f |psi><psi|, not on their phases."""
    orbitals_by_energy: Tensor
    """The same orbitals, for losses that depend on them only through the sum of
    f (e - e0) |psi><psi|, with e0 of `zero_of_energies`. Norms in a changing overlap need it;
    without an overlap it has no plane waves."""

    def flatten(self) -> tuple[Tensor, ...]:
        """All tensors, starting with those of the electrons."""
        return (*self.electrons.leaves, *self[1:])

    @classmethod
    def unflatten(cls, tensors: Sequence[Tensor], electrons: Fields) -> GroundState:
        """Inverse of `flatten`, for electrons with the same members as `electrons`."""
        count = len(electrons.leaves)
        return cls(electrons.with_leaves(tensors[:count]), *tensors[count:])


def values_of(states: PerturbedStates, electrons: Fields, nband: int) -> GroundState:
    """What the lowest `nband` bands of some states determine, without a graph.

    Parameters
    ----------
    states : PerturbedStates
        There may be more bands, which only the response needs.
    electrons : Fields
        Electrons of these states, as `Fields.to_electrons` returns them.
    nband : int
        Number of bands.

    Raises
    ------
    TooFewBandsError
        If the highest of them holds too many electrons for derivatives.
    """
    problem, shown = states.problem, slice(0, nband)
    eigenvalues = states.eigenvalues[:, :, shown].clone()
    # Fill the given bands alone: those that only the response needs are nearly empty.
    occupation = problem.occupy(eigenvalues)
    if nband < min(problem.basis.npw_per_k):
        check_enough_bands(occupation, _HIGHEST_OCCUPATION, " for derivatives")
    level = torch.as_tensor(occupation.fermi_level, dtype=torch.float64)
    return GroundState(
        electrons.map(Tensor.clone),
        eigenvalues,
        occupation.occupations,
        level.to(eigenvalues.device),
        occupation.entropy_energy,
        states.orbitals.detach()[:, :, shown],
        states.orbitals.detach()[:, :, shown, : states.nweighted].clone(),
    )


@dataclass(frozen=True, eq=False)
class LossOnStates:
    """Derivative of a loss with respect to the states of a potential.

    Attributes
    ----------
    states : PerturbedStates
        As many as the loss needs.
    cotangents : GroundState
        Derivatives with respect to each quantity, for all bands of `states`.
    known : Potential
        Derivative with respect to the electrons: real, symmetric, without a constant.
    """

    states: PerturbedStates
    cotangents: GroundState
    known: Potential

    @classmethod
    def of(cls, states: PerturbedStates, given: GroundState) -> LossOnStates:
        """From derivatives with respect to the quantities of a `GroundState`.

        Raises
        ------
        DegenerateStatesError
            If the loss singles out one state of a degenerate set.
        ResponseConvergenceError
            If it needs states that cannot be converged.
        """
        states = enough_states(states, given.eigenvalues, given.fermi_level)
        extra = states.occupations.shape[2] - given.eigenvalues.shape[2]
        given = given._replace(
            eigenvalues=pad(given.eigenvalues, (0, extra)),
            occupations=pad(given.occupations, (0, extra)),
            orbitals=pad(given.orbitals, (0, 0, 0, extra)),
            orbitals_by_energy=pad(given.orbitals_by_energy, (0, 0, 0, extra)),
        )
        check_multiplets(states.eigenvalues, given.eigenvalues)
        known = real_and_symmetric(states.problem, Potential.of_derivatives(given.electrons))
        return cls(states, given, _without_constant(states.problem, known))

    def plus(self, potential: Potential) -> tuple[list[Tensor], Tensor, float]:
        """Cotangents of orbitals and eigenvalues for the loss plus <potential, electrons>.

        The loss here is without its dependence on the electrons, which is `known`.

        Returns
        -------
        blocks : list of Tensor
            As `PerturbedStates.potential_cotangents` returns them.
        eigenvalues : Tensor
            (nspin, nk, nband).
        norm : float
            Norm of both, to which tolerances are relative.
        """
        states, given = self.states, self.cotangents
        blocks, occupations = states.potential_cotangents(potential)
        rhs = states.in_gauge(given.orbitals)
        blocks = [a + b for a, b in zip(blocks, rhs, strict=True)]
        eigenvalues = given.eigenvalues + states.occupation.cotangent(
            given.occupations + occupations, given.entropy_energy, given.fermi_level
        )
        norm = sum(float(block.norm()) ** 2 for block in blocks) + float(eigenvalues.norm()) ** 2
        return blocks, eigenvalues, norm**0.5

    def on_potential(self, tolerance: float) -> Fields:
        """Derivative of the loss with respect to the potential, as electrons.

        Parameters
        ----------
        tolerance : float
            Relative error.
        """
        blocks, eigenvalues, norm = self.plus(self.known)
        accuracy = EXACT * tolerance * norm
        return self.states.adjoint(blocks, eigenvalues, accuracy, by_energy=self.by_energy)[0]

    @cached_property
    def by_energy(self) -> list[Tensor] | None:
        """Cotangent of `GroundState.orbitals_by_energy`, for every spin; None where S = 1."""
        given = self.cotangents.orbitals_by_energy
        return self.states.in_gauge(given) if given.shape[-1] else None


def attach_to_potential(
    problem: KohnShamProblem,
    potential: Potential,
    fields: Fields,
    orbitals: Tensor,
    tolerance: float,
    unchanged: Unchanged,
) -> GroundState:
    """Put the states of a potential into its graph.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    potential : Potential
        Any potential, in a graph.
    fields : Fields
        Fields of its filled states.
    orbitals : Tensor
        Its states, (nspin, nk, nband, npw).
    tolerance : float
        Relative error of the derivatives' equations.
    unchanged : Unchanged
        Memory of the functional that made the potential.

    Returns
    -------
    GroundState
        Its backward pass solves one Sternheimer equation for each filled band.

    Examples
    --------
    The sum of the filled levels of an insulator changes by its electrons:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> from deepchem_xc.planewave.response.adjoint import unchanged
    >>> r = scf(bulk("Si"), ecut=100.0, occupations="fixed", convergence={"density": 1e-8})
    >>> potential = r.potential.detach().map(Tensor.requires_grad_)
    >>> state = attach_to_potential(
    ...     r.problem, potential, r.fields, r.orbitals, 1e-8, unchanged(r.problem))
    >>> (2.0 * state.eigenvalues[0, 0, :4].sum()).backward()
    >>> electrons = r.fields.to_electrons(r.volume).density
    >>> bool((potential.v.grad - electrons).abs().max() < 1e-6)
    True
    """
    with torch.no_grad():
        states = PerturbedStates(problem, potential.detach(), orbitals)
    electrons = fields.to_electrons(problem.basis.volume)
    response = _IndependentResponse(states, electrons, orbitals.shape[2], tolerance, unchanged)
    outputs = attach_implicit(response, potential.leaves, SECOND_DERIVATIVES)
    return GroundState.unflatten(outputs, electrons)


class _IndependentResponse:
    """States of one potential as a function of it, an `ImplicitSolution`."""

    def __init__(
        self,
        states: PerturbedStates,
        electrons: Fields,
        nband: int,
        tolerance: float,
        unchanged: Unchanged,
    ) -> None:
        self.states, self.electrons, self.nband = states, electrons, nband
        self._tolerance, self._unchanged = tolerance, unchanged

    def values(self) -> tuple[Tensor, ...]:
        return values_of(self.states, self.electrons, self.nband).flatten()

    def gradients(
        self, given: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> Sequence[Tensor | None]:
        self._unchanged.check()
        loss = LossOnStates.of(self.states, GroundState.unflatten(given, self.electrons))
        self.states = loss.states
        return loss.on_potential(self._tolerance).leaves


def real_and_symmetric(problem: KohnShamProblem, potential: Potential) -> Potential:
    """The part of a potential that is real on the grid and has the crystal's symmetry."""
    basis = problem.basis
    real = potential.map_waves(lambda leaf: basis.to_sphere(basis.to_grid(leaf)))
    return problem.symmetrized(real)


def _without_constant(problem: KohnShamProblem, potential: Potential) -> Potential:
    """Subtract the constant, which has no effect but would dominate the relative residual."""
    v = potential.v.clone()
    constants = v[:, 0]
    # Both channels share their electrons if the moment is free.
    constants -= constants.mean() if problem.moment is None else constants.clone()
    if problem.spheres is None or potential.spheres is None:
        return replace(potential, v=v)
    # A constant potential has a part inside of the spheres, too.
    constant = (potential.v - v)[:, :1].real
    return replace(potential, v=v, spheres=potential.spheres - constant * problem.spheres.overlaps)
