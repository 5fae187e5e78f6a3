r"""How far two equations of state are apart.

Each is a Birch-Murnaghan curve E(V) with its minimum at E = 0, given by the volume an atom
:math:`V_0`, the bulk modulus :math:`B_0` there and its pressure derivative :math:`B_1`. Averages
:math:`\langle\cdot\rangle` are over volumes from 0.94 to 1.06 times the mean of both minima.

.. math::

    \Delta &= \sqrt{\langle (E_a - E_b)^2\rangle} \\
    \varepsilon &= \sqrt{\frac{\langle (E_a - E_b)^2\rangle}{\sqrt{
        \langle (E_a - \langle E_a\rangle)^2\rangle
        \langle (E_b - \langle E_b\rangle)^2\rangle}}} \\
    \nu &= 100 \sqrt{\sum_{Y = V_0, B_0, B_1} \left(w_Y \frac{Y_a - Y_b}{(Y_a + Y_b)/2}\right)^2},
        \quad w = 1, \tfrac{1}{20}, \tfrac{1}{400}

Delta is larger for stiffer crystals at the same relative error of the volume; epsilon and nu, which
have no unit, are not.

References
----------
K. Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39, 1 (2014), and Science 351, aad3000
(2016): Delta. E. Bosoni et al., Nat. Rev. Phys. 6, 45 (2024): epsilon and nu.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from deepchem_xc._values import real_number, whole_number
from deepchem_xc.eos.fits import EquationOfStateFit, EquationOfStateTensors

__all__ = ["delta_gauge", "epsilon", "nu"]

Equation = EquationOfStateFit | EquationOfStateTensors | Sequence[float]

#: Range of volumes, relative to the mean of both minima.
_RANGE = (0.94, 1.06)
#: Weights of V0, B0 and B1 in nu: a curve's sensitivity to each.
_WEIGHTS = (1.0, 1.0 / 20.0, 1.0 / 400.0)
#: Ratio of volumes from which on they must be those of different numbers of atoms.
_LARGEST_RATIO = 1.8
#: Points of the quadrature. Integrands are smooth: 10 points already give 14 digits.
_POINTS = 20


class _Curve(NamedTuple):
    """V0 (Angstrom^3, an atom unless said otherwise), B0 (GPa), B1."""

    volume: float
    modulus: float
    derivative: float

    def energy(self, volumes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energy above the minimum (eV)."""
        f = (self.volume / volumes) ** (2.0 / 3.0) - 1.0
        return (
            (9.0 / 16.0 * self.volume * self.modulus * GPa)
            * f**2
            * (2.0 + f * (self.derivative - 4.0))
        )


def delta_gauge(
    one: Equation, other: Equation, natoms: int | tuple[int, int] | None = None
) -> float:
    """Root mean square difference of two equations of state [meV/atom].

    Parameters
    ----------
    one, other : fit or sequence of 3 floats
        A fit of :func:`~deepchem_xc.eos.fits.fit_equation_of_state`, or volume (Angstrom^3 an
        atom), bulk modulus (GPa) and its pressure derivative.
    natoms : int or tuple of two int, optional
        Atoms in the cells whose energies were fitted, or one number for each of both. Fits need
        it; plain numbers are those of one atom.

    Returns
    -------
    float
        Not negative, and the same if both are exchanged. About 1 where two good codes agree.

    Raises
    ------
    ValueError
        For fits without `natoms` and fits of layers; for numbers that are not finite, volumes and
        moduli that are not positive, and volumes that differ as those of different numbers of
        atoms do.

    Examples
    --------
    Aluminium from WIEN2k and from experiment:

    >>> from deepchem_xc.metrics import delta_gauge
    >>> print(f"{delta_gauge((16.4796, 78.077, 4.57), (16.2686, 77.136, 4.45)):.1f}")
    3.6
    """
    a, b = _curves(one, other, natoms, per_atom=True)
    average, energy_a, energy_b = _sampled(a, b)
    return float(1000.0 * np.sqrt(average((energy_a - energy_b) ** 2)))


def epsilon(one: Equation, other: Equation, natoms: int | tuple[int, int] | None = None) -> float:
    """Difference of two equations of state relative to their variation [no unit].

    Parameters
    ----------
    one, other, natoms
        As for :func:`delta_gauge`. Two fits without `natoms` are those of equal numbers of atoms.

    Returns
    -------
    float
        Not negative. Bosoni et al. call an agreement excellent up to 0.06 and good up to 0.20.

    Raises
    ------
    ValueError
        As :func:`delta_gauge`.

    Examples
    --------
    >>> from deepchem_xc.metrics import epsilon
    >>> print(f"{epsilon((16.4796, 78.077, 4.57), (16.2686, 77.136, 4.45)):.2f}")
    0.77
    """
    a, b = _curves(one, other, natoms, per_atom=False)
    average, energy_a, energy_b = _sampled(a, b)
    variations = [average((energy - average(energy)) ** 2) for energy in (energy_a, energy_b)]
    squared = average((energy_a - energy_b) ** 2) / np.sqrt(variations[0] * variations[1])
    return float(np.sqrt(squared))


def nu(one: Equation, other: Equation, natoms: int | tuple[int, int] | None = None) -> float:
    """Weighted relative difference of volume, bulk modulus and its derivative [no unit].

    Parameters
    ----------
    one, other, natoms
        As for :func:`epsilon`.

    Returns
    -------
    float
        Not negative; 1 for volumes that differ by 1 %. Bosoni et al. call an agreement excellent
        up to 0.10 and good up to 0.33.

    Raises
    ------
    ValueError
        As :func:`delta_gauge`, and for pressure derivatives that are not positive.

    Examples
    --------
    >>> from deepchem_xc.metrics import nu
    >>> print(f"{nu((16.4796, 78.077, 4.57), (16.2686, 77.136, 4.45)):.2f}")
    1.29
    """
    a, b = _curves(one, other, natoms, per_atom=False)
    if min(a.derivative, b.derivative) <= 0.0:
        raise ValueError(
            "nu compares relative differences and needs positive pressure derivatives of the bulk "
            f"moduli, got {a.derivative} and {b.derivative}: fit more or wider volumes, or use "
            "epsilon"
        )
    relative = [2.0 * (x - y) / (x + y) for x, y in zip(a, b)]
    return float(100.0 * np.sqrt(sum((w * x) ** 2 for w, x in zip(_WEIGHTS, relative))))


def _sampled(
    a: _Curve, b: _Curve
) -> tuple[Callable[[Any], float], NDArray[np.float64], NDArray[np.float64]]:
    """Average over the range of volumes, and the energies (eV) at its quadrature's points."""
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    low, high = _RANGE
    volumes = 0.5 * (a.volume + b.volume) * (0.5 * (low + high) + 0.5 * (high - low) * nodes)
    return lambda values: float(0.5 * (weights @ values)), a.energy(volumes), b.energy(volumes)


def _curves(
    one: Equation, other: Equation, natoms: int | tuple[int, int] | None, per_atom: bool
) -> tuple[_Curve, _Curve]:
    fits = [hasattr(given, "modulus") for given in (one, other)]
    numbers = _numbers_of_atoms(natoms, fits, per_atom)
    a, b = (_curve(given, number) for given, number in zip((one, other), numbers))
    ratio = max(a.volume, b.volume) / min(a.volume, b.volume)
    if ratio > _LARGEST_RATIO:
        raise ValueError(
            f"the volumes {a.volume:g} and {b.volume:g} Angstrom^3 differ by a factor of "
            f"{ratio:.2f}, as those of different numbers of atoms do: give volumes an atom, or "
            "natoms=(number, number) with fits"
        )
    return a, b


def _numbers_of_atoms(
    natoms: int | tuple[int, int] | None, fits: list[bool], per_atom: bool
) -> tuple[int, int]:
    if natoms is None:
        if any(fits) and (per_atom or not all(fits)):
            raise ValueError(
                "a fit holds the volume of a cell: natoms=... must give the number of its atoms"
            )
        return 1, 1
    if not any(fits):
        raise ValueError(
            f"natoms={natoms!r} is for fits; plain numbers are those of one atom: divide the "
            "volumes by the number of atoms, and leave natoms out"
        )
    pair = natoms if isinstance(natoms, (tuple, list)) else (natoms, natoms)
    if len(pair) != 2:
        raise ValueError(f"natoms must be one number, or one for each of both, got {natoms!r}")
    first, second = (
        whole_number(number, "natoms") if fit else 1 for number, fit in zip(pair, fits)
    )
    return first, second


def _curve(given: Any, natoms: int) -> _Curve:
    if hasattr(given, "modulus"):
        if given.dimension != 3:
            raise ValueError(
                "Delta, epsilon and nu compare volumes of crystals, and this is the fit of a "
                "layer: compare areas and moduli with mean_absolute_relative_error"
            )
        values = [given.size, given.modulus, given.derivative]
        values = [x.detach() if hasattr(x, "detach") else x for x in values]
    else:
        try:
            values = list(given)
        except TypeError:
            values = []
        if isinstance(given, str) or len(values) != 3:
            raise ValueError(
                "an equation of state must be a fit, or three numbers: volume (Angstrom^3 an "
                f"atom), bulk modulus (GPa) and its pressure derivative; got {given!r}"
            )
    names = ("volume", "bulk modulus", "pressure derivative of the bulk modulus")
    units = ("Angstrom^3", "GPa", "")
    volume, modulus, derivative = (
        real_number(value, name, unit) for value, name, unit in zip(values, names, units)
    )
    if not (np.isfinite([volume, modulus, derivative]).all() and volume > 0.0 and modulus > 0.0):
        raise ValueError(
            "volume and bulk modulus must be positive and all three numbers finite, got "
            f"{volume:g} Angstrom^3, {modulus:g} GPa and {derivative:g}"
        )
    return _Curve(volume / natoms, modulus, derivative)
