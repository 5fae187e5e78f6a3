"""Functions of a distance that vanish smoothly at the cutoff."""

from __future__ import annotations

from torch import Tensor


def smooth_cutoff(distances: Tensor, cutoff: float) -> Tensor:
    """Factor from 1 at zero to 0 at the cutoff, where two derivatives vanish too.

    The polynomial of sixth order of J. Gasteiger, J. Gross, S. Guennemann, arXiv 2003.03123, so
    that densities and forces are smooth when an atom passes the cutoff.

    Parameters
    ----------
    distances : Tensor
        Any shape and unit.
    cutoff : float
        In the same unit.

    Examples
    --------
    >>> import torch
    >>> smooth_cutoff(torch.tensor([0.0, 5.0, 10.0, 12.0]), 10.0)
    tensor([1.0000, 0.8555, 0.0000, 0.0000])
    """
    x = (distances / cutoff).clamp(max=1.0)
    return 1.0 - x**6 * (28.0 - 48.0 * x + 21.0 * x.square())


def radial_basis(distances: Tensor, cutoff: float, number: int) -> Tensor:
    """Spherical Bessel functions of order 0 with nodes at the cutoff, of unit size, (..., number).

    Parameters
    ----------
    distances : Tensor
        (...), bohr.
    cutoff : float
        bohr.
    number : int
        How many.
    """
    from e3nn.math import bessel

    scaled: Tensor = bessel(distances / cutoff, number, 1.0)
    return scaled
