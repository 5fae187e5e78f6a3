"""Kinetic energies that diverge at the cutoff, so that total energies do not jump there."""

from __future__ import annotations

import math

from ase.units import Hartree
from torch import Tensor

# Smallest usable cutoff, Hartree.
_MINIMUM_ECUT = 0.5
# Closest distance to the cutoff, in units of the smoothing's width: keeps the kinetic energy finite
# (3e5 times its value); the coefficient of such a plane wave is negligible.
_CLOSEST = 1e-3


def check_cutoff(ecut: float) -> None:
    """Raise `ValueError` if a cutoff, Hartree, is not usable.

    Examples
    --------
    >>> check_cutoff(20.0)
    """
    if not math.isfinite(ecut) or ecut < _MINIMUM_ECUT:
        raise ValueError(
            f"ecut = {ecut:g} Ha ({ecut * Hartree:g} eV) is not usable: the plane-wave cutoff "
            "must be a finite number of "
            f"at least {_MINIMUM_ECUT} Ha ({_MINIMUM_ECUT * Hartree:.0f} eV); 15 to 50 Ha is "
            "usual for norm-conserving pseudopotentials, 6 to 30 Ha for PAW datasets."
        )


def smooth_kinetic(kinetic: Tensor, ecut: float, width: float) -> Tensor:
    r"""Kinetic energies, raised smoothly to infinity within `width` below the cutoff.

    At a fixed cutoff the number of plane waves, and with it the energy, jumps as the cell changes.
    With smoothing, new plane waves have infinite kinetic energy at first, and curves are smooth:

    .. math:: T \to T / [x^2 (3 + x - 6 x^2 + 3 x^3)], \quad x = (E_{cut} - T) / width < 1

    with a continuous second derivative (M. Bernasconi et al., J. Phys. Chem. Solids 56, 501
    (1995), in the form of ABINIT's `ecutsm`).

    Parameters
    ----------
    kinetic : Tensor
        |k + G|^2 / 2, Hartree.
    ecut : float
        Cutoff, Hartree.
    width : float
        Smoothing below the cutoff, Hartree; 0 leaves the energies as they are.

    Returns
    -------
    Tensor
        Hartree, differentiable.

    Examples
    --------
    >>> import torch
    >>> smooth_kinetic(torch.tensor([1.0, 8.0, 9.0], dtype=torch.float64), 10.0, 2.0)
    tensor([ 1.0000,  8.0000, 15.1579], dtype=torch.float64)
    """
    if width == 0.0:
        return kinetic
    x = ((ecut - kinetic) / width).clamp(_CLOSEST, 1.0)
    return kinetic / (x.square() * (3.0 + x * (1.0 + x * (3.0 * x - 6.0))))
