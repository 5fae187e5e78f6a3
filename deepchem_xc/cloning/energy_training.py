"""Training on reference energies: a path of functionals from one that stays where it starts.

A few energies do not determine a network. Each functional of the path minimises

    mean(error^2) + stiffness |w - w_start|^2

by Levenberg's and Marquardt's method, errors in kcal/mol. With a large stiffness nothing changes;
with a small one all energies are right, and others need not be. Energies that are not trained on
decide where to stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from deepchem_xc._values import real_number, whole_number
from deepchem_xc.cloning.atomisation import AtomisationErrors, trainable_weights
from deepchem_xc.models.functional import own_copy
from deepchem_xc.xc import XCFunctional

__all__ = ["STIFFNESSES", "TrainedOnEnergies", "train_on_energies"]

#: Weights of the distance from the start, (kcal/mol)^2, from one that leaves clones of PBE as they
#: are to one with which 25 molecules are fitted.
STIFFNESSES = tuple(10.0 ** (2.0 - 0.5 * step) for step in range(17))
# Times that the damping of one step is raised, tenfold each, before the search gives up.
_RAISED = 12


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
    first = parameters_to_vector(trainable_weights(moving)).detach().clone()
    for stiffness in stiffnesses:
        search = _Search(moving, energies, first, stiffness, tolerance)
        steps = 0
        while steps < max_steps and search.step():
            steps += 1
        distance = float((search.weights - first).norm())
        yield TrainedOnEnergies(own_copy(moving), stiffness, distance, search.errors, steps)


class _Search:
    """Minimises the objective of one stiffness; the functional is changed in place."""

    def __init__(
        self,
        functional: XCFunctional,
        energies: AtomisationErrors,
        first: Tensor,
        stiffness: float,
        tolerance: float,
    ) -> None:
        self._functional, self._energies, self._tolerance = functional, energies, tolerance
        self._first, self._stiffness = first, stiffness
        self.weights = parameters_to_vector(trainable_weights(functional)).detach().clone()
        self.errors = energies.errors(functional)
        self._objective = self._objective_at(self.errors, self.weights)
        if not math.isfinite(self._objective):
            raise ValueError(
                f"energies of {functional.name} are not finite: give another start to train from."
            )
        self._damping = 0.0
        self._settled = False

    def step(self) -> bool:
        """Take one step; return whether the objective fell."""
        if self._settled:
            return False
        errors, jacobian = self._energies.linearised(self._functional)
        for _ in range(_RAISED):
            trial = self.weights + self._direction(errors, jacobian)
            found = self._errors_at(trial)
            objective = self._objective_at(found, trial)
            if objective < self._objective:
                self._settled = objective > (1.0 - self._tolerance) * self._objective
                self.weights, self.errors, self._objective = trial, found, objective
                self._damping = 0.1 * self._damping
                return True
            self._damping = max(10.0 * self._damping, self._stiffness)
        self._errors_at(self.weights)  # puts the weights back
        return False

    def _direction(self, errors: Tensor, jacobian: Tensor) -> Tensor:
        """Step of a damped linear problem, solved in the space of the energies, which is small."""
        number, shift = len(errors), self._stiffness + self._damping
        slope = self._stiffness * (self._first - self.weights) - jacobian.T @ errors / number
        matrix = jacobian @ jacobian.T + number * shift * torch.eye(number, dtype=errors.dtype)
        return (slope - jacobian.T @ torch.linalg.solve(matrix, jacobian @ slope)) / shift

    def _errors_at(self, weights: Tensor) -> Tensor:
        vector_to_parameters(weights.clone(), trainable_weights(self._functional))
        return self._energies.errors(self._functional)

    def _objective_at(self, errors: Tensor, weights: Tensor) -> float:
        apart = (weights - self._first).square().sum()
        return float(errors.square().mean() + self._stiffness * apart)
