"""Training on reference energies: a path of functionals from one that stays where it starts.

A few energies do not determine a network. Each functional of the path minimises

    mean(error^2) + atom_weight mean(change of free atoms^2) + stiffness |w - w_start|^2

by Levenberg's and Marquardt's method, energies in kcal/mol. With a large stiffness nothing changes;
with a small one all energies are right, and others need not be. Energies that are not trained on
decide where to stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import parameters_to_vector

from deepchem_xc._values import real_number, whole_number
from deepchem_xc.cloning.atomisation import AtomisationErrors
from deepchem_xc.cloning.energies import trainable_weights
from deepchem_xc.cloning.least_squares import DampedLeastSquares, NormalEquations
from deepchem_xc.models.functional import own_copy
from deepchem_xc.xc import XCFunctional

__all__ = ["STIFFNESSES", "TrainedOnEnergies", "train_on_energies"]

#: Weights of the distance from the start, (kcal/mol)^2, from one that leaves clones of PBE as they
#: are to one with which 25 molecules are fitted.
STIFFNESSES = tuple(10.0 ** (2.0 - 0.5 * step) for step in range(17))
# First damping: the stiffness already keeps steps short.
_DAMPING = 1e-4


@dataclass(frozen=True)
class TrainedOnEnergies:
    """A functional of the path.

    Attributes
    ----------
    functional : XCFunctional
        The functional.
    stiffness : float
        Weight of its distance from the start, (kcal/mol)^2.
    distance : float
        Norm of the change of its weights.
    errors : Tensor
        Errors of the energies that it was trained on, kcal/mol.
    steps : int
        Steps from the functional before it.
    """

    functional: XCFunctional
    stiffness: float
    distance: float
    errors: Tensor
    steps: int


def train_on_energies(
    start: XCFunctional,
    energies: AtomisationErrors,
    stiffnesses: Sequence[float] = STIFFNESSES,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 30,
) -> Iterator[TrainedOnEnergies]:
    """Functionals that fit energies better and better; each starts at the one before.

    Parameters
    ----------
    start : XCFunctional
        Has trainable weights; it is not changed.
    energies : AtomisationErrors
        Energies to learn.
    stiffnesses : sequence of float, optional
        Weights of the squared distance from the start, (kcal/mol)^2, falling.
    tolerance : float, optional
        Part of the objective by which the last step of each lowers it.
    max_steps : int, optional
        Largest number of steps for each.

    Yields
    ------
    TrainedOnEnergies
        One for each stiffness.

    Raises
    ------
    ValueError
        For a functional without trainable weights, or whose energies are not finite, and for
        stiffnesses that are not positive or do not fall, or other values that are not valid.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import AtomisationErrors, parent_densities, train_on_energies
    >>> from deepchem_xc.xc import ConstrainedGGA, get_xc
    >>> kept = parent_densities("PBE", ["H2", "H"], tempfile.mkdtemp(), basis="sto-3g")
    >>> energies = AtomisationErrors(get_xc("PBE"), kept, {"H2": 109.5})
    >>> path = list(train_on_energies(ConstrainedGGA(base="pbe"), energies, [100.0, 1e-3]))
    >>> [one.errors.abs().item() < 20.0 for one in path], path[-1].errors.abs().item() < 0.5
    ([True, True], True)
    """
    given = [float(one) for one in stiffnesses]
    falling = all(later < earlier for earlier, later in zip(given, given[1:]))
    if not given or not falling or not all(0.0 < one < math.inf for one in given):
        raise ValueError(
            f"stiffnesses must be positive and fall, such as [10.0, 1.0, 0.1], got {stiffnesses!r}."
        )
    if not trainable_weights(start):
        raise ValueError(f"{start.name} has no trainable weights: give a network to start at.")
    part = real_number(tolerance, "tolerance")
    if not 0.0 < part < 1.0:
        raise ValueError(f"tolerance must be between 0 and 1, got {tolerance!r}.")
    return _path(own_copy(start), energies, given, part, whole_number(max_steps, "max_steps"))


def _path(
    moving: XCFunctional,
    energies: AtomisationErrors,
    stiffnesses: list[float],
    tolerance: float,
    max_steps: int,
) -> Iterator[TrainedOnEnergies]:
    weights = trainable_weights(moving)
    first = _vector(weights).clone()
    for stiffness in stiffnesses:

        def loss(stiffness: float = stiffness) -> float:
            apart = _vector(weights) - first
            squares = energies.residuals(moving).square().sum()
            return float(squares + stiffness * apart.square().sum())

        def equations(stiffness: float = stiffness) -> NormalEquations:
            residuals, jacobian = energies.linearised(moving)
            spring = stiffness * torch.eye(len(first), dtype=first.dtype)
            gradient = jacobian.T @ residuals + stiffness * (_vector(weights) - first)
            return NormalEquations(jacobian.T @ jacobian + spring, gradient)

        steps = _search(weights, equations, loss, tolerance, max_steps)
        distance = float((_vector(weights) - first).norm())
        yield TrainedOnEnergies(
            own_copy(moving), stiffness, distance, energies.errors(moving), steps
        )


def _search(
    weights: list[Parameter],
    equations: Callable[[], NormalEquations],
    loss: Callable[[], float],
    tolerance: float,
    max_steps: int,
) -> int:
    """Lower the loss until a step changes it little; return the number of steps."""
    search = DampedLeastSquares(weights, _DAMPING)
    before = loss()
    if not math.isfinite(before):
        raise ValueError("energies of the start are not finite: give another one to train from.")
    for step in range(max_steps):
        if not search.search(equations, loss):
            return step
        after = loss()
        if after > (1.0 - tolerance) * before:
            return step + 1
        before = after
    return max_steps


def _vector(weights: list[Parameter]) -> Tensor:
    return parameters_to_vector(weights).detach()
