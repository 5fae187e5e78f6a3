"""Which plane waves the smooth partial waves of a dataset need."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .dataset import PAWDataset
from .reference_atom import damped_tail

__all__ = ["cutoff_of_tail", "kinetic_tail"]

# Mesh of radii, and of wave numbers (1/bohr), for the transforms. Meshes of files are too coarse
# beyond the spheres for the largest wave numbers. The end of the wave numbers is 2670 eV.
_RADII = 0.02 * np.arange(1, 450)
_WAVE_NUMBERS = 0.02 * np.arange(1, 701)


def kinetic_tail(dataset: PAWDataset) -> tuple[NDArray, NDArray]:
    """Kinetic energy of the free smooth atom in plane waves beyond a cutoff (Hartree).

    An atom needs plane waves up to a cutoff beyond which little of its kinetic energy is left
    (A. M. Rappe, K. M. Rabe, E. Kaxiras and J. D. Joannopoulos, Phys. Rev. B 41, 1227 (1990)).

    Parameters
    ----------
    dataset : PAWDataset
        Its bound smooth partial waves are the atom's orbitals, damped beyond 5 bohr.

    Returns
    -------
    cutoffs, tails : ndarray, shape (n,)
        Cutoffs, and the energies beyond them, of all valence electrons, both in Hartree.

    Examples
    --------
    One electron in exp(-r^2 / 2), whose kinetic energy is 3/4 Ha:

    >>> from deepchem_xc.planewave.paw import (
    ...     PartialWave, PAWDataset, RadialGrid, ReferenceEnergies
    ... )
    >>> grid = RadialGrid(0.02 * np.arange(500), np.full(500, 0.02))
    >>> wave, zero = 2.0 * np.pi**-0.25 * np.exp(-0.5 * grid.r**2), np.zeros(500)
    >>> dataset = PAWDataset(
    ...     symbol="H", name="H", functional=None, charge=1.0, core=0.0, valence=1.0, grid=grid,
    ...     waves=(PartialWave(0, 1, 1.0, -0.5, 1.0, wave, wave, zero),),
    ...     shape="gauss", shape_radius=0.3, core_density=zero, smooth_core_density=zero,
    ...     core_kinetic_density=None, smooth_core_kinetic_density=None, zero_potential=zero,
    ...     kinetic_differences=np.zeros((1, 1)), reference=ReferenceEnergies(0.0, 0.0, 0.0, 0.0),
    ... )
    >>> cutoffs, tails = kinetic_tail(dataset)
    >>> round(float(tails[0]), 6)
    0.75
    """
    from scipy.interpolate import CubicSpline

    q = _WAVE_NUMBERS
    spectrum = np.zeros(len(q))
    for wave in dataset.waves:
        if wave.occupation > 0.0:
            smooth = CubicSpline(dataset.grid.r, wave.smooth, extrapolate=False)(_RADII)
            smooth = damped_tail(_RADII) * np.nan_to_num(smooth)
            transform = _bessel(wave.l) @ (_RADII**2 * smooth)
            spectrum += wave.occupation * transform**2
    spacing = (q[1] - q[0]) * (_RADII[1] - _RADII[0]) ** 2
    energies = 2.0 / math.pi * spacing * spectrum * q**2 * (0.5 * q**2)
    return 0.5 * q**2, energies[::-1].cumsum()[::-1]


@cache
def _bessel(l: int) -> NDArray:
    """j_l(qr), (nq, nr)."""
    from scipy.special import spherical_jn

    found: NDArray = spherical_jn(l, _WAVE_NUMBERS[:, None] * _RADII)
    return found


def cutoff_of_tail(dataset: PAWDataset, energy: float) -> float:
    """Smallest cutoff beyond which no more than an energy is left, see `kinetic_tail` (Hartree).

    Parameters
    ----------
    dataset : PAWDataset
        Any.
    energy : float
        Kinetic energy of all valence electrons, Hartree.

    Returns
    -------
    float
        Infinity if more is left beyond the largest cutoff that is examined, 98 Ha.
    """
    cutoffs, tails = kinetic_tail(dataset)
    enough = np.flatnonzero(tails <= energy)
    return float(cutoffs[enough[0]]) if len(enough) else math.inf
