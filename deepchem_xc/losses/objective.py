"""Comparison of values with labels: deviations in units of a typical one for each type."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from deepchem.models.losses import L2Loss, Loss
from numpy.typing import ArrayLike
from torch import Tensor

#: Deviation of each type of entry that counts as one in a loss, in the unit of its labels.
UNIT_DEVIATIONS: dict[str, float] = {
    "energy": 0.05,
    "eos": 0.01,
    "lattice_constant": 0.01,
    "bulk_modulus": 5.0,
    "cohesive_energy": 0.05,
    "forces": 0.05,
    "stress": 0.5,
    "density": 0.01,
    "band_gap": 0.1,
    "magnetic_moment": 0.1,
    "ae": 0.002,
    "ie": 0.002,
    "dm": 0.01,
    "dens": 0.01,
}


class Typed(Protocol):
    """The part of an entry that an objective reads."""

    @property
    def entry_type(self) -> str:
        """A key of `UNIT_DEVIATIONS`."""


LossFunction = Callable[[list[Tensor], list[Tensor], Tensor], Tensor]


class Objective:
    """Weighted mean of the losses of entries whose labels have different shapes and units.

    Values and labels are divided by their type's scale, compared element by element, averaged over
    the elements of each entry and, with weights, over entries.

    Parameters
    ----------
    loss : deepchem Loss or callable, optional
        Compares two tensors element by element (`L2Loss` by default, `L1Loss`, `HuberLoss` ...);
        or your own function ``loss(values, labels, weights)``, which gets lists of scaled values
        and labels and the weights (n,), and returns a 0-d tensor.
    scales : mapping, optional
        ``{type: deviation that counts as one}``; other types keep those of `UNIT_DEVIATIONS`.
    type_weights : mapping, optional
        ``{type: factor of its loss}``, 1 by default.

    Raises
    ------
    ValueError
        For unknown types, scales that are not positive, weights below zero.

    Examples
    --------
    >>> from deepchem_xc.losses import Objective
    >>> objective = Objective(type_weights={"eos": 2.0})
    >>> objective.scales["eos"], objective.type_weights["eos"], objective.type_weights["forces"]
    (0.01, 2.0, 1.0)
    """

    def __init__(
        self,
        loss: Loss | LossFunction | None = None,
        scales: Mapping[str, float] | None = None,
        type_weights: Mapping[str, float] | None = None,
    ) -> None:
        self.scales = {**UNIT_DEVIATIONS, **_by_type("scales", scales)}
        self.type_weights = {
            **dict.fromkeys(UNIT_DEVIATIONS, 1.0),
            **_by_type("type_weights", type_weights),
        }
        if not all(0 < scale < math.inf for scale in self.scales.values()):
            raise ValueError(f"scales must be positive, got {dict(scales or {})}.")
        if not all(0 <= weight < math.inf for weight in self.type_weights.values()):
            raise ValueError(f"type_weights must be at least 0, got {dict(type_weights or {})}.")
        self.function = elementwise(L2Loss() if loss is None else loss)

    def __call__(
        self,
        entries: Sequence[Typed],
        values: Sequence[Tensor],
        labels: Sequence[ArrayLike],
        weights: Sequence[float],
        function: LossFunction | None = None,
    ) -> Tensor:
        """Loss of a batch.

        Parameters
        ----------
        entries : sequence of Typed
            Entries, or anything else that has an ``entry_type``.
        values : sequence of Tensor
            With the shapes of the labels.
        labels : sequence of array_like
            Reference values, in the same units.
        weights : sequence of float
            Weights of the entries.
        function : callable, optional
            Another loss for this batch.

        Returns
        -------
        Tensor
            0-d.
        """
        scaled, targets, factors = [], [], []
        for entry, value, label, weight in zip(entries, values, labels, weights, strict=True):
            scale = self.scales[entry.entry_type]
            target = torch.as_tensor(label, dtype=torch.float64, device=value.device)
            scaled.append(value / scale)
            targets.append(target / scale)
            factors.append(weight * self.type_weights[entry.entry_type])
        weight_tensor = torch.tensor(factors, dtype=torch.float64, device=scaled[0].device)
        found = (function or self.function)(scaled, targets, weight_tensor)
        if not isinstance(found, Tensor) or found.ndim != 0:
            got = tuple(found.shape) if isinstance(found, Tensor) else repr(found)
            raise ValueError(
                f"the loss must be one number, a 0-d tensor that keeps its graph, got {got}: take "
                "the mean of its result."
            )
        return found


def elementwise(loss: Loss | LossFunction) -> LossFunction:
    """Function of values, labels and weights for a DeepChem loss.

    Parameters
    ----------
    loss : deepchem Loss or callable
        Your own function is returned as it is.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> elementwise(L2Loss())([3.0 * one], [one], one)
    tensor(4.)
    """
    if isinstance(loss, Loss):
        return _Elementwise(loss)
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise ValueError(f"loss must be a deepchem Loss, got its class: {loss.__name__}().")
    if callable(loss) and _takes_three(loss):
        return loss
    raise ValueError(
        "loss must be a deepchem.models.losses.Loss, such as L1Loss(), or a function of values, "
        f"labels (lists of tensors) and weights that returns a 0-d tensor, got {loss!r}."
    )


def _takes_three(function: Any) -> bool:
    called = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        inspect.signature(called).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # built-in functions have no signature
        return True
    return True


class _Elementwise:
    """A DeepChem loss; its criterion cannot be pickled, so copies build it again."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.criterion: Any = loss._create_pytorch_loss()
        ones = torch.ones(3, dtype=torch.float64)
        try:
            shape = self.criterion(ones, ones).shape
        except Exception as error:
            raise ValueError(
                f"{type(loss).__name__} does not compare numbers with numbers ({error}): take "
                "L1Loss, L2Loss or HuberLoss of deepchem.models.losses."
            ) from error
        if shape not in ((), (3,)):
            raise ValueError(
                f"{type(loss).__name__} gives {tuple(shape)} for three numbers: take L1Loss, "
                "L2Loss or HuberLoss of deepchem.models.losses."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.loss,)

    def __call__(self, values: list[Tensor], labels: list[Tensor], weights: Tensor) -> Tensor:
        pairs = zip(values, labels, strict=True)
        losses = torch.stack([self.criterion(value, label).mean() for value, label in pairs])
        return (weights * losses).mean()


def _by_type(what: str, values: Mapping[str, float] | None) -> dict[str, float]:
    if not isinstance(values or {}, Mapping):
        raise ValueError(
            f"{what} must be a dictionary of entry types with numbers, got {values!r}."
        )
    values = dict(values or {})
    unknown = sorted(set(values) - set(UNIT_DEVIATIONS))
    if unknown:
        raise ValueError(
            f"{what}: unknown entry types {unknown}. Valid: {', '.join(UNIT_DEVIATIONS)}."
        )
    try:
        return {name: float(value) for name, value in values.items()}
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be numbers, got {values}.") from None
