"""Equations of state: how the energy depends on the volume of a crystal or the area of a layer.

Units are those of ASE: eV, Angstrom, GPa, N/m, mu_B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.eos import EquationOfState as BirchMurnaghan
from ase.units import GPa, J, m
from numpy.typing import ArrayLike, NDArray

#: A third-order fit has four parameters; fewer points than this leave no residual to judge it by.
MINIMUM_POINTS = 5


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
    fit_equation_of_state : Makes it, with an example.
    """

    dimension: int
    size: float
    energy: float
    modulus: float
    derivative: float
    residual: float


def fit_equation_of_state(
    sizes: ArrayLike, energies: ArrayLike, dimension: int = 3
) -> EquationOfStateFit:
    r"""Fit a third-order Birch-Murnaghan equation of state, or its form for layers.

    For crystals this is ASE's fit of [1]_. For layers, with the Eulerian strain
    :math:`f = (A_0/A - 1)/2`, it is :math:`E = E_0 + 2 A_0 B f^2 + c f^3`, a cubic polynomial in
    :math:`1/A`.

    Parameters
    ----------
    sizes : array_like
        Volumes (Angstrom^3) or areas (Angstrom^2), at least five different ones in any order.
    energies : array_like
        Energies, eV.
    dimension : int, optional
        3 or 2.

    Raises
    ------
    ValueError
        For fewer than five points, numbers that are not finite, equal sizes, or where the minimum
        does not lie between the points.

    References
    ----------
    .. [1] F. Birch, Phys. Rev. 71, 809 (1947).

    Examples
    --------
    A layer whose energy is exactly of this form:

    >>> areas = np.linspace(4.9, 5.5, 7)
    >>> fit = fit_equation_of_state(areas, 2 * 5.2 * 13.0 * ((5.2 / areas - 1) / 2) ** 2, 2)
    >>> print(f"{fit.size:.3f} {fit.modulus * J / m**2:.3f}")
    5.200 13.000
    """
    size, energy = (np.asarray(values, dtype=np.float64) for values in (sizes, energies))
    if dimension not in (2, 3):
        raise ValueError(f"dimension must be 3 (crystal) or 2 (layer), got {dimension}.")
    what = "areas" if dimension == 2 else "volumes"
    if size.ndim != 1 or size.shape != energy.shape:
        raise ValueError(
            f"{what} and energies must be two lists of the same length; got shapes {size.shape} "
            f"and {energy.shape}."
        )
    if len(size) < MINIMUM_POINTS:
        raise ValueError(
            f"an equation of state needs at least {MINIMUM_POINTS} points, {len(size)} given."
        )
    if not (np.isfinite(size).all() and np.isfinite(energy).all()):
        raise ValueError(f"the {what} or energies contain NaN or infinite numbers.")
    order = np.argsort(size)
    size, energy = size[order], energy[order]
    if size[0] <= 0 or np.any(np.diff(size) <= 1e-9 * size[-1]):
        raise ValueError(f"the {what} must be positive and different; got {size.tolist()}.")
    if np.argmin(energy) in (0, len(size) - 1):
        raise _outside(what, size, "the lowest energy is at its end")
    fit = _fit_crystal(size, energy) if dimension == 3 else _fit_layer(size, energy)
    if not (size[0] < fit.size < size[-1] and fit.modulus > 0):
        raise _outside(what, size, f"the fit puts it at {fit.size:.3f}")
    return fit


def _outside(what: str, size: NDArray[np.float64], why: str) -> ValueError:
    return ValueError(
        f"the range of {what} {size[0]:.3f}..{size[-1]:.3f} does not enclose a minimum of the "
        f"energy ({why}); move the range so that it does."
    )


def _fit_crystal(volumes: NDArray[np.float64], energies: NDArray[np.float64]) -> EquationOfStateFit:
    fit = BirchMurnaghan(volumes, energies, eos="birchmurnaghan")
    try:
        volume, energy, modulus = fit.fit(warn=False)
    except RuntimeError as error:  # scipy's least squares gave up
        raise ValueError(
            f"no Birch-Murnaghan curve goes through the energies {energies.tolist()} at the "
            f"volumes {volumes.tolist()}: look for a point that did not converge like the others."
        ) from error
    deviations = fit.func(volumes, *fit.eos_parameters) - energies
    return EquationOfStateFit(
        dimension=3,
        size=float(volume),
        energy=float(energy),
        modulus=float(modulus / GPa),
        derivative=float(fit.eos_parameters[2]),
        residual=_root_mean_square(deviations),
    )


def _fit_layer(areas: NDArray[np.float64], energies: NDArray[np.float64]) -> EquationOfStateFit:
    # x is small, so that the polynomial's coefficients are well conditioned.
    middle = float(areas.mean())
    x = middle / areas - 1
    coefficients = np.polynomial.polynomial.polyfit(x, energies, 3)
    _, c1, c2, c3 = coefficients
    discriminant = c2**2 - 3 * c1 * c3
    if discriminant <= 0:
        raise _outside("areas", areas, "the fit has no minimum")
    root = np.sqrt(discriminant)
    # The minimum of the cubic in the form that stays accurate when c3 is (nearly) zero.
    lowest = -c1 / (c2 + root)
    # With u = 1/A: A d2E/dA2 = u^3 d2E/du2, and d2E/dx2 = 2 root.
    modulus = (1 + lowest) ** 3 * 2 * root / middle
    # dB/dP = -1 - A E'''/E'' with derivatives in A, = 5 + u E'''/E'' in u.
    derivative = 5 + (1 + lowest) * 3 * c3 / root
    deviations = np.polynomial.polynomial.polyval(x, coefficients) - energies
    return EquationOfStateFit(
        dimension=2,
        size=float(middle / (1 + lowest)),
        energy=float(np.polynomial.polynomial.polyval(lowest, coefficients)),
        modulus=float(modulus / (J / m**2)),
        derivative=float(derivative),
        residual=_root_mean_square(deviations),
    )


def _root_mean_square(deviations: Any) -> float:
    return float(np.sqrt(np.mean(np.square(deviations))))
