"""Finite differences that know their own uncertainty, and the assertions that use them.

Values of a self-consistent calculation have noise: what the loop's tolerance leaves, and rounding,
which differs between machines. Divided by the step it becomes an error of the difference, next to
the truncation of the series. Both are estimated from the values themselves, so that a comparison
fails for a wrong derivative alone, or because the differences are too poor to tell.

The function is evaluated at 0 and at plus and minus h, h/2 and h/4 (and h/8, where three halvings
are asked for). From the odd parts come central differences and Ridders' extrapolation in h^2 (Adv.
Eng. Software 4, 75 (1982)); how much its last stage changes the result measures truncation and
noise together. The even parts, with the value at 0, have to lie on a polynomial in h^2: their
distance from it measures the noise once more, independently of the first measure, which can be
small by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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


def _extrapolation(steps: np.ndarray) -> np.ndarray:
    """Weights of central differences at these steps in the one extrapolated to h = 0."""
    powers = steps ** (2.0 * np.arange(len(steps))[:, None])
    return np.linalg.solve(powers, np.eye(len(steps))[0])


def differences(
    function: Callable[[Any], Any], step: float | np.ndarray, halvings: int = 2
) -> Difference:
    """Derivative at zero of a number or an array; `step` is the largest one, or one per element.

    More halvings serve where truncation is large at a step at which the noise is small enough.
    """
    step = _as_array(step)
    steps = 0.5 ** np.arange(halvings + 1)
    middle = _as_array(function(0.0 * step))
    ahead = np.stack([_as_array(function(s * step)) for s in steps])
    behind = np.stack([_as_array(function(-s * step)) for s in steps])
    central = (ahead - behind) / (2.0 * steps).reshape(-1, *[1] * middle.ndim)
    weights = _extrapolation(steps)
    best = np.tensordot(weights, central, 1)
    coarse = np.tensordot(_extrapolation(steps[:-1]), central[:-1], 1)
    # The highest divided difference of the even parts over h^2: zero but for truncation and noise.
    nodes = np.array([0.0, *steps**2])
    divided = 1.0 / np.array([np.prod([x - y for y in nodes if y != x]) for x in nodes])
    even = np.concatenate([2.0 * middle[None], ahead + behind])
    # Of independent noise of one in each value: its standard deviation.
    expected = np.sqrt(4.0 * divided[0] ** 2 + 2.0 * (divided[1:] ** 2).sum())
    noise = np.abs(np.tensordot(divided, even, 1)) / expected
    rounding = np.finfo(np.float64).eps * np.abs(even).max(0)
    # What the same noise does to the derivative.
    amplification = np.sqrt(0.5 * ((weights / steps) ** 2).sum())
    uncertainty = np.abs(best - coarse) + amplification * np.maximum(noise, rounding)
    return Difference((best / step)[()], (uncertainty / np.abs(step))[()])


def named_differences(
    function: Callable[[float], Mapping[str, Any]], step: float, halvings: int = 2
) -> dict[str, Difference]:
    """The same for several numbers that one calculation gives, by their names."""
    names: list[str] = []

    def values(x: float) -> list[float]:
        found = function(x)
        names[:] = found
        return [float(value) for value in found.values()]

    found = differences(values, step, halvings)
    return {name: found[i] for i, name in enumerate(names)}


def assert_agreement(
    implicit: Any,
    found: Difference,
    rel: float = 1e-5,
    scale: Any = 0.0,
    name: str = "",
    limit: float | None = None,
) -> None:
    """A derivative is that of the differences, to `rel` and three times their uncertainty.

    Parameters
    ----------
    implicit : number, array or Tensor
        The derivative that is tested.
    found : Difference
        What it is held against.
    rel : float
        Largest relative deviation.
    scale : number or array
        Smallest size that `rel` refers to, for derivatives that are zero or nearly so.
    name : str
        Of the quantity, for the message.
    limit : float, optional
        Largest relative uncertainty; `rel` by default, so that deviations of four times `rel` fail
        in any case.

    Raises
    ------
    AssertionError
        If the derivative deviates, or if the differences are too uncertain to tell.
    """
    implicit, value, uncertainty = np.broadcast_arrays(
        _as_array(implicit), _as_array(found.value), _as_array(found.uncertainty)
    )
    size = np.maximum(np.abs(value), _as_array(scale))
    tolerance = rel * size
    text = (
        f"{name or 'derivative'}: {implicit}, by differences {value} +- {uncertainty}; "
        f"rel = {rel:.0e}, tolerance {tolerance}"
    )
    if not (uncertainty <= (rel if limit is None else limit) * size).all():
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


def _gradient(value: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """In the graph of `at`; zero where the value does not depend on it."""
    if not value.requires_grad:
        return torch.zeros_like(at)
    return torch.autograd.grad(value, at, create_graph=True, materialize_grads=True)[0]


def assert_exact_derivatives(
    function: Callable[..., Any],
    *inputs: torch.Tensor,
    orders: tuple[int, ...] = (1,),
    step: float = 2e-3,
    rel: float = 1e-6,
) -> None:
    """Derivatives of a torch function are those of differences, along two random directions.

    Parameters
    ----------
    function : callable
        Of the inputs; gives a real tensor or several, which differ between calls by rounding alone.
    *inputs : Tensor
        Where it is differentiated, float64. Elements change by up to `step` of their size, zeros
        by up to `step`.
    orders : tuple of int
        Which derivatives are tried. Second ones are those of the gradient of all outputs, summed
        with random weights, and so on.
    step : float
        Largest step.
    rel : float
        Largest deviation and uncertainty, relative to what the elements of the inputs contribute
        to a derivative, but at least to a ten-thousandth of the largest one.

    Raises
    ------
    AssertionError
        As `assert_agreement`.
    """
    start = torch.cat([x.detach().reshape(-1) for x in inputs])

    def values(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([x.numel() for x in inputs])
        found = function(*(part.view_as(x) for part, x in zip(parts, inputs)))
        found = found if isinstance(found, (tuple, list)) else (found,)
        return torch.cat([part.reshape(-1) for part in found])

    def derived(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
        weights = 0.5 + torch.rand_like(of(start))

        def gradient(flat: torch.Tensor) -> torch.Tensor:
            flat = flat if flat.requires_grad else flat.clone().requires_grad_()
            return _gradient((of(flat) * weights).sum(), flat)

        return gradient

    def on_a_line(
        of: Callable[[torch.Tensor], torch.Tensor], along: torch.Tensor
    ) -> Callable[[Any], torch.Tensor]:
        return lambda h: of(start + h * along)

    size = torch.where(start == 0.0, 1.0, start.abs())
    for order in range(1, max(orders) + 1):
        if order in orders:
            at = start.clone().requires_grad_()
            jacobian = torch.stack([_gradient(y, at) for y in values(at)]).detach()
            for _ in range(2):
                signs = torch.randint(0, 2, size.shape).to(size) * 2.0 - 1.0
                along = signs * size * (0.5 + 0.5 * torch.rand_like(size))
                found = differences(on_a_line(values, along), step)
                scale = jacobian.abs() @ along.abs()
                scale = scale.clamp(min=1e-4 * float(scale.max()))
                assert_agreement(jacobian @ along, found, rel, scale, f"derivative {order}")
        values = derived(values)
