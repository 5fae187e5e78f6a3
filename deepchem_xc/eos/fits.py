"""Equations of state: how the energy depends on the volume of a crystal or the area of a layer.

Units are those of ASE: eV, Angstrom, GPa, N/m, mu_B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.units import GPa, J, m
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

#: Smallest number of points: a third-order fit has four parameters, and fewer points leave no
#: residual to judge it by.
MINIMUM_POINTS = 5

# The strain variable is x = (reference size / size)^power.
_POWERS = {3: 2.0 / 3.0, 2: 1.0}
_UNITS = {3: GPa, 2: J / m**2}


class NoMinimumError(ValueError):
    """The energies have no minimum between the first and the last size.

    Examples
    --------
    >>> issubclass(NoMinimumError, ValueError)
    True
    """


@dataclass(frozen=True)
class EquationOfStateFit:
    """Minimum and curvature of an energy curve.

    Attributes
    ----------
    dimension : int
        3 for a crystal, 2 for a layer.
    size : float
        Volume (Angstrom^3) or area (Angstrom^2) at the minimum.
    energy : float
        Energy there, eV.
    modulus : float
        Bulk modulus V d2E/dV2 in GPa, or layer modulus A d2E/dA2 in N/m.
    derivative : float
        Its derivative with respect to the pressure (for a layer, the force per length) at the
        minimum; no unit.
    residual : float
        Root mean square of the fit's deviations, eV.

    See Also
    --------
    fit_equation_of_state : Computes it; with an example.
    """

    dimension: int
    size: float
    energy: float
    modulus: float
    derivative: float
    residual: float


@dataclass(frozen=True, eq=False)
class EquationOfStateTensors:
    """The values of `EquationOfStateFit` as 0-d tensors in the graph of the energies.

    Attributes
    ----------
    dimension : int
        3 for a crystal, 2 for a layer.
    size, energy, modulus, derivative, residual : Tensor
        0-d, float64; units as in `EquationOfStateFit`.

    See Also
    --------
    fit_equation_of_state_tensors : Computes it; with an example.
    """

    dimension: int
    size: Tensor
    energy: Tensor
    modulus: Tensor
    derivative: Tensor
    residual: Tensor


def fit_equation_of_state(
    sizes: ArrayLike,
    energies: ArrayLike,
    dimension: int = 3,
    weights: ArrayLike | None = None,
) -> EquationOfStateFit:
    r"""Fit a third-order Birch-Murnaghan equation of state, or its form for layers.

    Parameters
    ----------
    sizes : array_like
        Volumes (Angstrom^3) or areas (Angstrom^2), at least five different ones in any order.
    energies : array_like
        Energies, eV.
    dimension : int, optional
        3 or 2.
    weights : array_like, optional
        Positive weights of the squared deviations; equal by default.

    Raises
    ------
    ValueError
        For fewer than five points, numbers that are not finite, equal sizes, weights that are not
        positive, or if the minimum does not lie between the points.

    Notes
    -----
    With :math:`x = (s_m/s)^p`, where s is the size, :math:`s_m` some reference and p = 2/3 for
    volumes [1]_ and 1 for areas, both equations are cubic polynomials in x: Birch's
    :math:`E = E_0 + \frac{9 V_0 B}{16} [(y-1)^3 B' + (y-1)^2 (6 - 4y)]` in
    :math:`y = (V_0/V)^{2/3}`, and :math:`E = E_0 + 2 A_0 B f^2 + c f^3` in the Eulerian strain
    :math:`f = (A_0/A - 1)/2` of a layer. The fit is therefore linear, and its minimum a root of a
    quadratic equation. There

    .. math:: s E'' = p^2 x^2 E_{xx} / s, \qquad B' = 3p + 2 + p x E_{xxx} / E_{xx}.

    References
    ----------
    .. [1] F. Birch, Phys. Rev. 71, 809 (1947).

    Examples
    --------
    A layer whose energy has exactly this form:

    >>> areas = np.linspace(4.9, 5.5, 7)
    >>> fit = fit_equation_of_state(areas, 2 * 5.2 * 13.0 * ((5.2 / areas - 1) / 2) ** 2, 2)
    >>> print(f"{fit.size:.3f} {fit.modulus * J / m**2:.3f}")
    5.200 13.000
    """
    values = torch.as_tensor(np.asarray(energies, dtype=np.float64))
    fit = fit_equation_of_state_tensors(sizes, values, dimension, weights)
    return EquationOfStateFit(
        dimension=dimension,
        size=float(fit.size),
        energy=float(fit.energy),
        modulus=float(fit.modulus),
        derivative=float(fit.derivative),
        residual=float(fit.residual),
    )


def fit_equation_of_state_tensors(
    sizes: ArrayLike,
    energies: Tensor,
    dimension: int = 3,
    weights: ArrayLike | None = None,
) -> EquationOfStateTensors:
    """`fit_equation_of_state` for energies in a graph.

    Parameters
    ----------
    sizes, dimension, weights
        As for `fit_equation_of_state`; they are constants.
    energies : Tensor
        (n,), float64, eV.

    Returns
    -------
    EquationOfStateTensors
        In the graph of `energies`; it can be differentiated any number of times.

    Raises
    ------
    ValueError
        As `fit_equation_of_state`.

    Examples
    --------
    Shifting all energies changes only the energy of the minimum:

    >>> volumes = np.array([15.0, 15.5, 16.0, 16.5, 17.0])
    >>> shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    >>> energies = torch.tensor([0.09, 0.025, 0.0, 0.02, 0.08], dtype=torch.float64) + shift
    >>> fit = fit_equation_of_state_tensors(volumes, energies)
    >>> for value in (fit.energy, fit.size):
    ...     print(f"{float(torch.autograd.grad(value, shift, retain_graph=True)[0]):.6f}")
    1.000000
    0.000000
    """
    size, energies, weight = _checked(sizes, energies, dimension, weights)
    power = _POWERS[dimension]
    middle = float(size.mean())
    # In z = x - 1, which is small, the polynomial's coefficients are well conditioned.
    z = (middle / size) ** power - 1.0
    powers = torch.as_tensor(np.vander(z, 4, increasing=True))
    root_weight = torch.as_tensor(np.sqrt(weight))[:, None]
    solve = torch.linalg.pinv(root_weight * powers) * root_weight.T
    coefficients = solve.to(energies.device) @ energies
    c0, c1, c2, c3 = coefficients
    discriminant = c2**2 - 3.0 * c1 * c3
    plain = energies.detach().cpu().numpy()
    lower = bool(plain[np.argmin(size)] < plain[np.argmax(size)])
    if not float(discriminant.detach()) > 0.0:
        raise _outside(dimension, size, "the fit has no minimum", lower)
    root = torch.sqrt(discriminant)
    # This form of the cubic's minimum stays accurate when c3 is (nearly) zero.
    lowest = -c1 / (c2 + root)
    x = 1.0 + lowest
    if not float(x.detach()) > 0.0:
        raise _outside(dimension, size, "the fit has no minimum", lower)
    minimum = middle * x ** (-1.0 / power)
    found = float(minimum.detach())
    if not float(size.min()) < found < float(size.max()):
        raise _outside(
            dimension, size, f"the fit puts it at {found:.3f}", found <= float(size.min())
        )
    curvature = 2.0 * root  # d2E/dx2
    deviations = powers.to(energies.device) @ coefficients - energies
    return EquationOfStateTensors(
        dimension=dimension,
        size=minimum,
        energy=c0 + lowest * (c1 + lowest * (c2 + lowest * c3)),
        modulus=power**2 * x**2 * curvature / minimum / _UNITS[dimension],
        derivative=3.0 * power + 2.0 + power * x * 6.0 * c3 / curvature,
        residual=_root_mean_square(deviations),
    )


def _checked(
    sizes: ArrayLike, energies: Tensor, dimension: int, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], Tensor, NDArray[np.float64]]:
    """Sizes, energies and weights in float64, or an error that says what is wrong."""
    if dimension not in _POWERS:
        raise ValueError(f"dimension must be 3 (crystal) or 2 (layer), got {dimension}.")
    what = "areas" if dimension == 2 else "volumes"
    size = np.asarray(sizes, dtype=np.float64)
    if size.ndim != 1 or size.shape != tuple(energies.shape):
        raise ValueError(
            f"{what} and energies must be two lists of the same length; got shapes {size.shape} "
            f"and {tuple(energies.shape)}."
        )
    if len(size) < MINIMUM_POINTS:
        raise ValueError(
            f"an equation of state needs at least {MINIMUM_POINTS} points, got {len(size)}."
        )
    energies = energies.to(torch.float64)
    plain = energies.detach().cpu().numpy()
    if not (np.isfinite(size).all() and np.isfinite(plain).all()):
        raise ValueError(f"the {what} or energies contain NaN or infinite numbers.")
    order = np.argsort(size)
    if size.min() <= 0 or np.any(np.diff(size[order]) <= 1e-9 * size.max()):
        raise ValueError(f"the {what} must be positive and different; got {size[order].tolist()}.")
    lowest = int(np.argmin(plain[order]))
    if lowest in (0, len(size) - 1):
        end = "lower" if lowest == 0 else "upper"
        raise _outside(dimension, size, f"the lowest energy is at its {end} end", lowest == 0)
    weight = np.ones_like(size) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != size.shape or not (np.isfinite(weight).all() and (weight > 0).all()):
        raise ValueError(
            f"weights must be {len(size)} positive numbers, one for each of the {what}; got "
            f"{weight.tolist()}."
        )
    return size, energies, weight


def _outside(dimension: int, size: NDArray[np.float64], why: str, smaller: bool) -> NoMinimumError:
    what, unit = ("areas", "Angstrom^2") if dimension == 2 else ("volumes", "Angstrom^3")
    return NoMinimumError(
        f"the range of {what} {size.min():.3f}..{size.max():.3f} {unit} does not enclose a minimum "
        f"of the energy ({why}); move the range to {'smaller' if smaller else 'larger'} {what}, "
        "or widen it."
    )


def _root_mean_square(deviations: Any) -> Tensor:
    """Root mean square; its derivative at zero is zero instead of NaN."""
    mean = deviations.square().mean()
    return torch.where(mean > 0, torch.sqrt(mean.clamp_min(1e-300)), mean)
