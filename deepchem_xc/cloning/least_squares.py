"""Levenberg-Marquardt: least squares with few weights, by the normal equations.

For residuals r with derivatives J the loss is r^T M r, M diagonal, and a step dx solves

    (J^T M J + lambda d) dx = -J^T M r,

where d is the mean of the diagonal of the first term: K. Levenberg, Q. Appl. Math. 2, 164 (1944).
(Marquardt damps each weight by its own element of the diagonal. Networks have weights without
influence, whose steps then grow: the same clone needed three times as many steps.) The damping
lambda falls where the loss falls as the linear residuals foretell, and rises until it falls at all:
H. B. Nielsen, Damping parameter in Marquardt's method, report IMM-REP-1999-05, Technical University
of Denmark (1999).
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
# The damping of a step that goes as foretold falls to this part.
_FALL = 0.2


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
        Lambda of the first step, relative to the mean diagonal of the normal equations.

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
        super().__init__(params, {"damping": damping, "rise": 2.0})

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
        identity = torch.diagonal(matrix).mean() * torch.eye(len(matrix)).to(matrix)
        while group["damping"] <= _LARGEST:
            factor, failed = torch.linalg.cholesky_ex(matrix + group["damping"] * identity)
            if not failed:
                step = -torch.cholesky_solve(gradient[:, None], factor)[:, 0]
                torch.nn.utils.vector_to_parameters(here + step, weights)
                after = loss()
                if after < before:
                    foretold = -float(2.0 * gradient @ step + step @ (matrix @ step))
                    agreement = 2.0 * (before - after) / foretold - 1.0
                    damping = group["damping"] * max(_FALL, 1.0 - agreement**3)
                    group["damping"], group["rise"] = max(damping, _SMALLEST), 2.0
                    return True
            group["damping"] *= group["rise"]
            group["rise"] *= 2.0
        torch.nn.utils.vector_to_parameters(here, weights)
        return False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Refused: steps need residuals."""
        raise TypeError("LevenbergMarquardt takes steps in FunctionalCloning alone; see search.")
