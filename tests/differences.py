"""Finite differences that know their own uncertainty, and the assertion that uses them.

Values of a self-consistent calculation have noise: what the loop's tolerance leaves, and rounding,
which differs between machines. Divided by the step it becomes an error of the difference, next to
the truncation of the series. Both are estimated from the values themselves, so that a comparison
fails for a wrong derivative alone, or because the differences are too poor to tell.

The function is evaluated at 0 and at plus and minus h, h/2 and h/4. From the odd parts come three
central differences and Ridders' extrapolation in h^2 (Adv. Eng. Software 4, 75 (1982)); how much
its last stage changes the result measures truncation and noise together. The even parts, with the
value at 0, have to lie on a parabola in h^2: their distance from it measures the noise once more,
independently of the first measure, which can be small by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

# Steps in units of the largest one, from coarse to fine.
_STEPS = np.array([1.0, 0.5, 0.25])
# Weights of the central differences at these steps in the extrapolated one: error of order h^6.
_BEST = np.array([1.0, -20.0, 64.0]) / 45.0
# The same for the two coarser steps alone: error of order h^4.
_COARSE = np.array([-1.0, 4.0, 0.0]) / 3.0
# Third divided difference, over h^2, of the even parts f(h) + f(-h) at 0 and the three steps.
_NODES = np.array([0.0, *_STEPS**2])
_EVEN = 1.0 / np.array([np.prod([x - y for y in _NODES if y != x]) for x in _NODES])
# Standard deviation of that for independent noise of one, and what this noise does to `_BEST`.
_EVEN_NOISE = float(np.sqrt((_EVEN**2 * [4.0, 2.0, 2.0, 2.0]).sum()))
_AMPLIFICATION = float(np.sqrt(0.5 * ((_BEST / _STEPS) ** 2).sum()))
# The assertion allows so many uncertainties: an error of the loop that always has one sign is up
# to two of them.
ALLOWED = 3.0


@dataclass(frozen=True)
class Difference:
    """A derivative from differences, and its uncertainty; numbers or arrays of one shape."""

    value: Any
    uncertainty: Any

    def __getitem__(self, index: Any) -> Difference:
        return Difference(self.value[index], self.uncertainty[index])


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def differences(function: Callable[[float], Any], step: float | np.ndarray) -> Difference:
    """Derivative at zero of a number or an array; `step` is the largest one, or one per element."""
    step = _as_array(step)
    middle = _as_array(function(0.0 * step))
    ahead = np.stack([_as_array(function(s * step)) for s in _STEPS])
    behind = np.stack([_as_array(function(-s * step)) for s in _STEPS])
    central = np.stack([a - b for a, b in zip(ahead, behind)])
    central /= (2.0 * _STEPS).reshape(-1, *[1] * middle.ndim)
    best, coarse = np.tensordot(_BEST, central, 1), np.tensordot(_COARSE, central, 1)
    even = np.concatenate([2.0 * middle[None], ahead + behind])
    noise = np.abs(np.tensordot(_EVEN, even, 1)) / _EVEN_NOISE
    rounding = np.finfo(np.float64).eps * np.abs(even).max(0)
    uncertainty = np.abs(best - coarse) + _AMPLIFICATION * np.maximum(noise, rounding)
    return Difference((best / step)[()], (uncertainty / np.abs(step))[()])


def named_differences(
    function: Callable[[float], Mapping[str, Any]], step: float
) -> dict[str, Difference]:
    """The same for several numbers that one calculation gives, by their names."""
    names: list[str] = []

    def values(x: float) -> list[float]:
        found = function(x)
        names[:] = found
        return [float(value) for value in found.values()]

    found = differences(values, step)
    return {name: found[i] for i, name in enumerate(names)}


def assert_agreement(
    implicit: Any, found: Difference, rel: float = 1e-5, scale: Any = 0.0, name: str = ""
) -> None:
    """A derivative is that of the differences, to `rel` and three times their uncertainty.

    Parameters
    ----------
    implicit : number, array or Tensor
        The derivative that is tested.
    found : Difference
        What it is held against.
    rel : float
        Largest relative deviation. The uncertainty may not be more than that either, so that
        deviations of four times `rel` fail in any case.
    scale : number or array
        Smallest size that `rel` refers to, for derivatives that are zero or nearly so.
    name : str
        Of the quantity, for the message.

    Raises
    ------
    AssertionError
        If the derivative deviates, or if the differences are too uncertain to tell.
    """
    implicit, value, uncertainty = np.broadcast_arrays(
        _as_array(implicit), _as_array(found.value), _as_array(found.uncertainty)
    )
    tolerance = rel * np.maximum(np.abs(value), _as_array(scale))
    text = (
        f"{name or 'derivative'}: {implicit}, by differences {value} +- {uncertainty}; "
        f"rel = {rel:.0e}, tolerance {tolerance}"
    )
    if not (uncertainty <= tolerance).all():
        raise AssertionError(
            "the differences are too uncertain to tell: converge further, or change the step\n"
            + text
        )
    if not (np.abs(implicit - value) <= tolerance + ALLOWED * uncertainty).all():
        raise AssertionError("the derivative is not that of the differences\n" + text)


def assert_derivative(
    implicit: Any,
    function: Callable[[float], Any],
    step: float | np.ndarray,
    rel: float = 1e-5,
    scale: Any = 0.0,
) -> None:
    """The derivative of `function` at zero is `implicit`; see `assert_agreement`."""
    assert_agreement(implicit, differences(function, step), rel, scale)
