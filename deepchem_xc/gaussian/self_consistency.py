"""`solve`: the self-consistency loop of a molecule.

DIIS extrapolates the Kohn-Sham matrices of the last steps to the one whose commutator with its
density matrix is smallest; it is Anderson's method with the commutator as the residual. Where it
stalls, and from a start whose levels are not filled from below, `second_order` takes over. Newton's
steps keep symmetries, and end in a saddle if the way down breaks one: where DIIS stalled and levels
are not filled from below at the end, the loop leaves saddles and goes on. Both methods leave out
the rotations of atoms and linear molecules in space, which have steps of their own, see
`orientation`.

References
----------
P. Pulay, J. Comput. Chem. 3, 556 (1982).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.gaussian.convergence import Convergence
from deepchem_xc.gaussian.open_shells import roothaan_matrix
from deepchem_xc.gaussian.orientation import Angles, Orientation
from deepchem_xc.gaussian.problem import MolecularProblem, Potential
from deepchem_xc.gaussian.second_order import SecondOrder
from deepchem_xc.gaussian.stability import downhill
from deepchem_xc.gaussian.states import States, canonical, diagonalised, filled, of_density
from deepchem_xc.numerics.anderson import Anderson
from deepchem_xc.numerics.errors import DiagonalizationError

# Commutator of the states of converged matrices, in tolerances, above which these are others.
_ELSEWHERE = 10.0
# Largest element of the torque's part of the commutator, relative to that of the rest and to the
# tolerance, below which orbitals keep their orientation.
_TORQUE, _NO_TORQUE = 0.01, 0.1
# Rotations in space after which it is left to the other steps.
_TURNS = 30


@dataclass(frozen=True)
class Steering:
    """How the loop steps; it does not change the ground state.

    Parameters
    ----------
    history : int
        Earlier steps that DIIS combines.
    level_shift : float
        Energy by which empty levels are raised, Hartree: small gaps then do not let levels change
        places. It is switched off once the commutator is below `quiet`.
    damping : float
        Part of the earlier density matrix in the next one, 0 to 1, while the commutator is above
        `quiet`.
    quiet : float
        Commutator, Hartree, below which neither helps.
    patience : int
        Steps in which DIIS has to halve the smallest commutator; otherwise second-order steps
        follow. Rotations in space do not count.
    """

    history: int = 8
    level_shift: float = 0.0
    damping: float = 0.0
    quiet: float = 1e-2
    patience: int = 12


@dataclass(frozen=True, eq=False)
class Converged:
    """End of the loop, without a graph: filled states, and the potential of their density."""

    states: States
    potential: Potential


def solve(
    problem: MolecularProblem,
    density: Tensor,
    convergence: Convergence,
    steering: Steering,
    callback: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Converged, list[dict[str, float]]]:
    """Iterate from a density to self-consistency.

    Parameters
    ----------
    problem : MolecularProblem
        Any.
    density : Tensor
        Density matrices to start from, (nspin, nao, nao).
    convergence : Convergence
        When to stop.
    steering : Steering
        How to step.
    callback : callable, optional
        Called after every step with its record.

    Returns
    -------
    (Converged, list of dict)
        The ground state, and one record a step: ``step``, ``energy``, ``energy_change``,
        ``commutator`` and ``gap``, Hartree.

    Raises
    ------
    SCFConvergenceError
        If the steps do not suffice.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem, starting_density
    >>> problem = make_problem(Atoms("He"), "PBE", basis="6-31g")
    >>> given = starting_density(problem), Convergence(), Steering()
    >>> converged, history = solve(problem, *given)
    >>> print(f"{converged.potential.energy:.4f} {history[-1]['commutator'] < 1e-7}")
    -2.8845 True
    """
    loop = _Loop(problem, density, steering, convergence.commutator)
    history: list[dict[str, float]] = []
    for step in range(1, convergence.maxiter + 1):
        record = {"step": float(step), **loop.evaluate()}
        change = record["energy"] - history[-1]["energy"] if history else math.inf
        record["energy_change"] = change
        history.append(record)
        if callback is not None:
            callback(dict(record))
        if convergence.holds(record):
            found = loop.finished()
            if found is not None:
                return found, history
        else:
            loop.advance()
    raise convergence.failure(history)


class _Loop:
    """The present density and what is remembered of earlier ones."""

    def __init__(
        self, problem: MolecularProblem, density: Tensor, steering: Steering, tolerance: float
    ) -> None:
        self._problem, self._steering, self._tolerance = problem, steering, tolerance
        self._density = density
        self._states = of_density(problem, density) if problem.smearing.width == 0.0 else None
        self._is_first = True
        self._diis: Anderson[Tensor] = Anderson(steering.history)
        self._second_order: SecondOrder | None = None
        self._stalled = False
        self._orientation, self._angles, self._nturn = Orientation(problem), Angles(), 0
        # Matrix and commutator before the last turns, which left the density as it was.
        self._before: tuple[Tensor, Tensor] | None = None
        self._smallest, self._waited = math.inf, 0

    def evaluate(self) -> dict[str, float]:
        """Energy and commutator of the present density."""
        self._potential = self._problem.potential(self._orientation.outside(self._density))
        fock = self._orientation.inside(self._potential.fock)
        self._matrix = self._stationary(fock, self._states)
        self._residual = commutator(self._problem, self._matrix, self._density)
        self._size = float(self._residual.abs().max())
        if self._is_first and self._states is not None:
            self._states = canonical(self._states, self._matrix)
            if self._size < self._steering.quiet and gap(self._states) < 0.0:
                # Its levels are not filled from below, as DIIS would fill them.
                self._second_order = SecondOrder(self._problem, self._orientation)
        self._is_first = False
        return {
            "energy": self._energy,
            "commutator": self._size,
            "gap": math.inf if self._states is None else gap(self._states),
        }

    @property
    def _energy(self) -> float:
        entropy = 0.0 if self._states is None else self._states.entropy_energy
        return self._potential.energy + entropy

    def advance(self) -> None:
        """The next density."""
        steering = self._steering
        if self._states is not None and self._orientation.nangle and self._turned():
            return
        if self._second_order is None and self._stalls():
            self._second_order = SecondOrder(self._problem, self._orientation)
            self._stalled = True
        if self._second_order is not None:
            assert self._states is not None
            fock = self._orientation.inside(self._potential.fock)
            if self._size < self._tolerance:
                self._states = self._second_order.settled_states(self._states, fock)
            else:
                self._states = self._second_order.next_states(self._states, self._energy, fock)
            self._density = self._states.density
            return
        matrix, _ = self._diis.extrapolated(self._matrix, self._residual)
        loud = self._size > steering.quiet
        if steering.level_shift and loud and self._states is not None:
            matrix = matrix + steering.level_shift * self._empty(self._states)
        self._states = diagonalised(self._problem, matrix)
        part = steering.damping if loud else 0.0
        self._density = (1.0 - part) * self._states.density + part * self._density

    def _turned(self) -> bool:
        """Turn the frame if the torque asks for it; if not, hold the torque."""
        torque = self._orientation.torque(self._residual, self._density)
        self._matrix, self._residual = self._matrix + torque.hold, self._residual - torque.part
        self._angles.learn(torque.values)
        least = max(_TORQUE * float(self._residual.abs().max()), _NO_TORQUE * self._tolerance)
        if float(torque.part.abs().max()) > least:
            if self._before is None:
                self._before = self._matrix, self._residual
            self._orientation.rotate(self._angles.next_step(torque.values))
            self._nturn += 1
            if self._nturn == _TURNS:
                self._orientation.fix()
                self._diis, self._before = Anderson(self._steering.history), None
            if self._second_order is not None:
                self._second_order.forget()
            return True
        if self._before is not None:
            # The same density in another orientation: the grid's error changed, and nothing else.
            matrix, residual = self._before
            self._diis.shift(self._matrix - matrix, self._residual - residual)
            self._before = None
        return False

    def _leave_frame(self) -> None:
        """Go from the turned frame back to the basis functions."""
        turn = self._orientation.turn
        if turn is None or self._states is None:
            return
        self._density = self._orientation.outside(self._density)
        self._states = replace(self._states, orbitals=turn @ self._states.orbitals)
        self._matrix = self._stationary(self._potential.fock, self._states)
        self._orientation, self._diis = Orientation(self._problem), Anderson(self._steering.history)

    def finished(self) -> Converged | None:
        """Orbitals and levels of the present density; None if its matrices lead elsewhere."""
        self._leave_frame()
        problem, states = self._problem, self._states
        if states is not None and problem.smearing.width == 0.0:
            # The same density, whether or not its levels are the lowest ones.
            states = canonical(states, self._matrix)
            if self._stalled and gap(states) < 0.0 and self._left_saddle(states):
                return None
            return Converged(states, self._potential)
        states = diagonalised(problem, self._matrix)
        density = states.density
        potential = problem.potential(density)
        matrix = self._stationary(potential.fock, states)
        if float(commutator(problem, matrix, density).abs().max()) > _ELSEWHERE * self._tolerance:
            self._density, self._states = density, states
            return None
        levels = (states.orbitals.mT @ matrix @ states.orbitals).diagonal(dim1=-2, dim2=-1)
        return Converged(filled(problem, states.orbitals, levels), potential)

    def _left_saddle(self, states: States) -> bool:
        """Whether the energy falls from here in a direction; then that is the next density.

        The orbitals are stationary either way: where no direction can be found, they stay.
        """
        try:
            below = downhill(self._problem, states, self._potential.fock)
        except DiagonalizationError as error:
            warnings.warn(
                f"the loop stalled, and whether it ended in a saddle is unknown: {error} "
                "result.stability() tries again.",
                RuntimeWarning,
                stacklevel=users_stacklevel(),
            )
            return False
        if below is None:
            return False
        self._states, self._density = below, below.density
        self._second_order, self._before = SecondOrder(self._problem, self._orientation), None
        return True

    def _stationary(self, fock: Tensor, states: States | None) -> Tensor:
        """Matrices whose orbitals are those of the ground state, (nset, nao, nao)."""
        if self._problem.kind != "open":
            return fock
        if states is None:
            return fock.mean(0, keepdim=True)
        return roothaan_matrix(fock, states.orbitals, states.filling, self._problem.overlap)

    def _empty(self, states: States) -> Tensor:
        """Projector on levels without electrons, between basis functions."""
        image = self._problem.overlap @ states.orbitals
        shares = states.filling if self._problem.kind != "open" else states.filling.sum(0)[None]
        return (image * (shares == 0.0)[:, None, :]) @ image.mT

    def _stalls(self) -> bool:
        """Whether the commutator has not halved for a while; then DIIS gives way."""
        if self._size < 0.5 * self._smallest:
            self._smallest, self._waited = self._size, 0
        else:
            self._waited += 1
        whole = self._problem.smearing.width == 0.0
        undamped = self._states is not None and self._size <= self._steering.quiet
        ready = undamped or self._steering.damping == 0.0
        return whole and ready and self._waited >= self._steering.patience


def commutator(problem: MolecularProblem, matrix: Tensor, density: Tensor) -> Tensor:
    """``F D S - S D F`` in orthonormal functions, (nset, nao, nao), Hartree.

    Parameters
    ----------
    problem : MolecularProblem
        Basis functions.
    matrix : Tensor
        F, (nset, nao, nao).
    density : Tensor
        (nspin, nao, nao); with one F for two spins, their sum counts.
    """
    if len(matrix) < len(density):
        density = density.sum(0, keepdim=True)
    x = problem.orthogonaliser
    product = x @ matrix @ density @ problem.overlap @ x
    return product - product.mT


def gap(states: States) -> float:
    """Smallest difference between empty and filled levels of one spin, Hartree; may be negative.

    A level counts as filled above half of the filling that it can have.
    """
    full = 2.0 if len(states.filling) == 1 else 1.0
    filled_ = states.filling > 0.5 * full
    levels = states.eigenvalues.expand_as(states.filling)
    lowest = torch.where(filled_, math.inf, levels).amin(1)
    highest = torch.where(filled_, levels, -math.inf).amax(1)
    return float((lowest - highest).min())
