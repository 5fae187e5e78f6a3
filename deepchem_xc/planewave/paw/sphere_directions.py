"""Directions along which the points of a PAW sphere lie, and fewer of them on symmetric sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.numerics.harmonics import directions

__all__ = ["SphereDirections", "all_directions", "reduced_directions"]

# Degree of the quadrature: 50 directions, with which GPAW's datasets were made.
_DEGREE = 11
# Distance between a rotated direction and another one up to which both are the same.
_SAME_DIRECTION = 1e-6
# Difference between elements of matrices up to which both are the same: operations of a crystal are
# orthogonal only as well as its lattice has the symmetry that was found.
_SAME_MATRIX = 1e-3


@dataclass(frozen=True, eq=False)
class SphereDirections:
    """A quadrature on the unit sphere.

    Parameters
    ----------
    vectors : ndarray, shape (nv, 3)
        Unit vectors, Cartesian.
    weights : ndarray, shape (nv,)
        They sum to 1.

    Raises
    ------
    ValueError
        If shapes do not fit, vectors are not of length 1, or weights do not sum to 1.

    Examples
    --------
    >>> SphereDirections(np.array([[0.0, 0.0, 2.0]]), np.ones(1))
    Traceback (most recent call last):
    ...
    ValueError: directions must be unit vectors, got one of length 2
    """

    vectors: NDArray
    weights: NDArray

    def __post_init__(self) -> None:
        vectors, weights = self.vectors, self.weights
        if weights.ndim != 1 or vectors.shape != (len(weights), 3):
            raise ValueError(
                f"directions have the shape {vectors.shape} and weights {weights.shape}; they must "
                "be (nv, 3) and (nv,)"
            )
        lengths = np.linalg.norm(vectors, axis=1)
        worst = float(lengths[np.argmax(np.abs(lengths - 1.0))])
        if abs(worst - 1.0) > 1e-10:
            raise ValueError(f"directions must be unit vectors, got one of length {worst:g}")
        if abs(weights.sum() - 1.0) > 1e-10:
            raise ValueError(f"the weights of directions must sum to 1, not {weights.sum():g}")

    def __len__(self) -> int:
        return len(self.weights)


def all_directions() -> SphereDirections:
    """The 50 directions of a site without symmetry, exact for polynomials of degree 11.

    V. I. Lebedev, USSR Comput. Math. Math. Phys. 16, 10 (1976). The 48 operations of a cube along
    the Cartesian axes map them onto themselves.

    Examples
    --------
    >>> len(all_directions())
    50
    """
    return SphereDirections(*directions(_DEGREE))


def reduced_directions(operations: NDArray) -> SphereDirections:
    """One direction of each set of equivalent ones, with the weight of the set.

    For an atom whose occupations have the symmetry of its site, the XC energy of the sphere is that
    of all directions. So is its derivative with respect to the occupations, once it is symmetrised
    with the operations of the site.

    Parameters
    ----------
    operations : ndarray, shape (nop, 3, 3)
        The site's group: rotations and reflections of Cartesian vectors that leave the atom and its
        surroundings unchanged. Those that do not map the 50 directions onto themselves, such as a
        threefold axis along z, are not used; the others are a group as well.

    Returns
    -------
    SphereDirections
        4 for the group of a cube, 50 for the identity alone.

    Raises
    ------
    ValueError
        If `operations` are not orthogonal matrices, or not a group.

    Examples
    --------
    The eight products of reflections at the planes between axes leave one octant:

    >>> signs = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)])
    >>> reduced = reduced_directions(np.array([np.diag(s) for s in signs]).astype(float))
    >>> len(reduced), round(float(reduced.weights.sum()), 12)
    (10, 1.0)
    """
    _check_group(operations)
    full = all_directions()
    first = np.arange(len(full))
    for operation in operations:
        distances = np.linalg.norm((full.vectors @ operation.T)[:, None] - full.vectors, axis=2)
        if distances.min(axis=1).max() < _SAME_DIRECTION:
            first = np.minimum(first, distances.argmin(axis=1))
    chosen, members = np.unique(first, return_inverse=True)
    return SphereDirections(full.vectors[chosen], np.bincount(members, full.weights))


def _check_group(operations: NDArray) -> None:
    if operations.ndim != 3 or operations.shape[1:] != (3, 3) or len(operations) == 0:
        raise ValueError(f"operations must have the shape (nop, 3, 3), not {operations.shape}")
    if not np.allclose(operations @ operations.transpose(0, 2, 1), np.eye(3), atol=_SAME_MATRIX):
        raise ValueError(
            "operations must be orthogonal matrices of Cartesian vectors; convert those that act "
            "on coordinates of the lattice"
        )
    products = np.einsum("aij,bjk->abik", operations, operations)
    # A finite set that contains its products is a group.
    differences = np.abs(products[:, :, None] - operations).max(axis=(3, 4))
    if differences.min(axis=2).max() > _SAME_MATRIX:
        raise ValueError(
            f"the {len(operations)} operations are not a group: products of two are missing; give "
            "all operations of the site"
        )
