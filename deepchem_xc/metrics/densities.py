"""How far two densities are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepchem_xc.results import Result

__all__ = ["density_error"]

#: Relative difference of the numbers of electrons from which on two densities are not comparable.
_ELECTRONS = 1e-3
#: Relative difference of lattice vectors that is rounding.
_SAME_CELL = 1e-8


def density_error(
    density: Result | ArrayLike,
    reference: Result | ArrayLike,
    weights: ArrayLike | None = None,
) -> float:
    """Integral of the absolute difference of two densities, per electron [%].

    Parameters
    ----------
    density, reference : SCFResult or array_like
        Results in one cell and on one grid, with PAW their smooth densities, which leave out what
        differs inside of the spheres: give `all_electron_density(result, core=False)` of both for
        the true ones. Or densities at the same points, of one unit: on a
        uniform grid (n1, n2, n3), with `weights` of any other shape. A first axis more, of length
        1 or 2, holds channels, which are added up.
    weights : array_like, optional
        Volume of each point, of the shape of the points; equal for all by default.

    Returns
    -------
    float
        From 0 to 200: that of densities which nowhere overlap.

    Raises
    ------
    ValueError
        For results in different cells, different grids, other shapes, NaN, infinity, negative
        weights, and if the numbers of electrons differ by more than 0.1 %, as with another cell,
        or with core electrons in one of both.

    Notes
    -----
    The sum over points is as exact as the grid is fine: the absolute value has kinks.

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem_xc.metrics import density_error
    >>> flat, wave = np.ones((4, 1, 1)), np.array([1.1, 1.0, 0.9, 1.0]).reshape(4, 1, 1)
    >>> print(f"{density_error(wave, flat):.1f} %")
    5.0 %
    """
    _same_cell(density, reference)
    weight = None if weights is None else _array(weights, "weights")
    if weight is not None and (weight < 0.0).any():
        raise ValueError(f"weights must not be negative, got {weight.min():g}")
    n = _total(density, "density", weight)
    n_reference = _total(reference, "reference", weight)
    if n.shape != n_reference.shape:
        raise ValueError(
            f"the density has {n.shape} points and the reference {n_reference.shape}: compute "
            "both on one grid, as with fft_size=(n1, n2, n3)"
        )
    volume: Any = 1.0 if weight is None else weight
    electrons, expected = float((volume * n).sum()), float((volume * n_reference).sum())
    if expected <= 0.0:
        raise ValueError(f"the reference must hold electrons, but its integral is {expected:g}")
    if not abs(electrons / expected - 1.0) <= _ELECTRONS:
        raise ValueError(
            f"the density holds {electrons / expected:.4g} times the electrons of the reference: "
            "compare densities of the same electrons (with or without cores) in the same cell; of "
            "results with PAW, all_electron_density(result, core=False) of both"
        )
    return float(100.0 * (volume * np.abs(n - n_reference)).sum() / expected)


def _total(given: Any, name: str, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Total density at the points."""
    values = _array(given.density if _is_result(given) else given, name)
    ndim = 3 if weights is None else weights.ndim
    if values.ndim == ndim + 1 and values.shape[0] in (1, 2):
        values = values.sum(0)
    fits = values.ndim == 3 if weights is None else values.shape == weights.shape
    if not fits or values.size == 0:
        wanted = (
            "(n1, n2, n3), or (nspin, n1, n2, n3); points of another shape need weights"
            if weights is None
            else f"that of the weights, {weights.shape}, or with channels as its first axis"
        )
        raise ValueError(f"{name} has the shape {values.shape}; it must be {wanted}")
    return values


def _array(values: Any, name: str) -> NDArray[np.float64]:
    plain = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array = np.asarray(plain)
        if array.dtype.kind not in "fiu":
            raise TypeError
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of real numbers, got {values!r}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity")
    return array.astype(np.float64)


def _is_result(given: Any) -> bool:
    return hasattr(given, "density") and hasattr(given, "energies")


def _same_cell(one: Any, other: Any) -> None:
    """Raise ``ValueError`` for results in different cells."""
    lattices = []
    for given in (one, other):
        crystal = getattr(getattr(given, "basis", None), "crystal", None)
        if crystal is None:
            return
        lattices.append(crystal.lattice.detach().cpu().numpy())
    first, second = lattices
    if not np.abs(first - second).max() <= _SAME_CELL * np.abs(first).max():
        raise ValueError(
            "the densities are in different cells, with lattice vectors (bohr) "
            f"{first.tolist()} and {second.tolist()}: compare results of one cell"
        )
