"""Normal equations of a clone's loss: derivatives of factors point by point, and of energies.

The output y of a linear layer at a point is W a + b: the derivative of a factor F at that point is
(dF/dy) a^T with respect to W and dF/dy with respect to b. One backward pass gives dF/dy at all
points, because a point's factor depends on that point alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.cloning.energies import trainable_weights
from deepchem_xc.cloning.least_squares import NormalEquations
from deepchem_xc.cloning.loss import CloneLoss

__all__ = ["check_linear_layers", "normal_equations"]


def normal_equations(loss: CloneLoss) -> NormalEquations:
    """Of the loss of a clone, at the present weights.

    Parameters
    ----------
    loss : CloneLoss
        Its student's trainable weights are those of linear layers, see `check_linear_layers`.

    Returns
    -------
    NormalEquations
        In the order of the student's trainable parameters.

    Raises
    ------
    ValueError
        If a linear layer is not evaluated once for the points.

    Examples
    --------
    >>> from deepchem_xc.cloning import new_student
    >>> from deepchem_xc.cloning.factors import FactorPoints
    >>> from deepchem_xc.xc import get_xc
    >>> from deepchem_xc.xc.sampling import sample_points
    >>> student = new_student("constrained", get_xc("PBE"), 0)
    >>> loss = CloneLoss(student, FactorPoints(get_xc("PBE"), student, sample_points(2)))
    >>> normal_equations(loss).matrix.shape
    torch.Size([1218, 1218])
    """
    student = loss.student
    weights = trainable_weights(student)
    columns = _columns(weights)
    size = sum(p.numel() for p in weights)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    gradient = torch.zeros(size, dtype=torch.float64)
    seen = _Seen(student)
    with seen, torch.enable_grad():
        factors = loss.points.factors(student)
    errors = (factors - loss.points.wanted).detach()
    share = 1.0 / errors.numel()
    for factor, error in zip(factors, errors, strict=True):
        rows, where = seen.derivatives(factor, columns)
        matrix[where[:, None], where] += share * (rows.T @ rows)
        gradient[where] += share * (rows.T @ error)
    if loss.energies is not None:
        share = loss.energy_weight / len(loss.energies.names)
        found, rows = loss.energies.linearised(student)
        matrix += share * (rows.T @ rows)
        gradient += share * (rows.T @ found)
    return NormalEquations(matrix, gradient)


def check_linear_layers(student: torch.nn.Module) -> None:
    """Refuse students with trainable weights that do not belong to a linear layer.

    Raises
    ------
    ValueError
        With the names of such weights.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> check_linear_layers(PBE(trainable=True))
    Traceback (most recent call last):
    ValueError: LevenbergMarquardt needs a student whose weights are those of linear layers; ...
    """
    inside = {id(p) for layer in _linear_layers(student) for p in layer.parameters()}
    others = [
        name for name, p in student.named_parameters() if p.requires_grad and id(p) not in inside
    ]
    if others:
        raise ValueError(
            "LevenbergMarquardt needs a student whose weights are those of linear layers; "
            f"{', '.join(others)} are not. Use Adam or models.LBFGS."
        )


def _linear_layers(student: torch.nn.Module) -> list[torch.nn.Linear]:
    return [module for module in student.modules() if isinstance(module, torch.nn.Linear)]


def _columns(weights: Sequence[torch.nn.Parameter]) -> dict[int, Tensor]:
    """Positions of each parameter in the vector of all."""
    first, found = 0, {}
    for weight in weights:
        found[id(weight)] = torch.arange(first, first + weight.numel())
        first += weight.numel()
    return found


class _Seen:
    """Inputs and outputs of linear layers while it is entered."""

    def __init__(self, student: torch.nn.Module) -> None:
        self._layers = _linear_layers(student)
        self._values: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self._layers]

    def __enter__(self) -> None:
        self._hooks = [
            layer.register_forward_hook(self._noted(values))
            for layer, values in zip(self._layers, self._values, strict=True)
        ]

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @staticmethod
    def _noted(values: list[tuple[Tensor, Tensor]]) -> Any:
        def hook(layer: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values.append((inputs[0].detach(), output))

        return hook

    def derivatives(self, factor: Tensor, columns: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Derivatives of a factor (n,) at each point, (n, some weights), and these weights."""
        used = [
            (layer, values)
            for layer, values in zip(self._layers, self._values, strict=True)
            if any(id(p) in columns for p in layer.parameters())
        ]
        for _, values in used:
            if len(values) != 1 or values[0][1].shape[:-1] != factor.shape:
                raise ValueError(
                    "LevenbergMarquardt needs linear layers that see each point once; use Adam or "
                    "models.LBFGS for this student."
                )
        outputs = [values[0][1] for _, values in used]
        slopes = torch.autograd.grad(
            factor.sum(), outputs, retain_graph=True, materialize_grads=True
        )
        rows, where = [factor.new_zeros(len(factor), 0)], [torch.zeros(0, dtype=torch.long)]
        for (layer, values), slope in zip(used, slopes, strict=True):
            if not bool(slope.any()):
                continue  # of the other factor's network: a quarter of the time without it
            of_matrix = slope[:, :, None] * values[0][0][:, None, :]
            of_each = {"weight": of_matrix, "bias": slope}
            for name, parameter in layer.named_parameters(recurse=False):
                if id(parameter) in columns:
                    rows.append(of_each[name].flatten(1))
                    where.append(columns[id(parameter)])
        return torch.cat(rows, dim=1), torch.cat(where)
