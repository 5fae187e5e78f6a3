"""Primitive cells, in the orientation of the given cell and with its initial moments."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.symmetry import find_symmetry, species_labels

if TYPE_CHECKING:
    from ase import Atoms

# Distance within which two atoms coincide, bohr; CIFs round to about 1e-4 of a cell vector.
_TOLERANCE = 2e-3
# Relative volume below which vectors count as dependent.
_DEPENDENT = 1e-3


def primitive_cell(atoms: Atoms) -> tuple[Atoms, NDArray[np.int64]]:
    """The smallest cell of the same crystal, and which of its atoms each given one is.

    Nothing is rotated, so that stress, forces and directions of moments keep their meaning. Atoms
    with different initial moments are not equivalent: the cell of an antiferromagnet stays as it
    is. Vectors along which the structure is not periodic stay as they are.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, in any of its cells.

    Returns
    -------
    primitive : ase.Atoms
        The first of each set of equivalent atoms, in the given order and at the given place; the
        given structure itself if its cell is primitive.
    sites : ndarray
        (natom,) index in `primitive` of each given atom.

    Raises
    ------
    ValueError
        As for `Crystal.from_ase`, and if equivalent atoms do not form a smaller cell.

    Examples
    --------
    >>> from ase.build import bulk
    >>> primitive, sites = primitive_cell(bulk("Al", cubic=True))
    >>> len(primitive), sites.tolist()
    (1, [0, 0, 0, 0])
    """
    crystal = Crystal.from_ase(atoms)
    group = find_symmetry(crystal, tolerance=_TOLERANCE)
    shifts = group.translations[group.is_pure_translation]
    shifts = shifts - np.rint(shifts)
    fixed = [axis for axis in range(3) if not atoms.pbc[axis]]
    cell = np.asarray(atoms.cell[:], dtype=np.float64)
    # A translation along a direction without periodicity would join separate images.
    lengths = np.linalg.norm(cell, axis=1)
    shifts = shifts[(np.abs(shifts[:, fixed] * lengths[fixed]) < 1e-3).all(axis=1)]
    shifts[:, fixed] = 0.0
    if len(shifts) <= 1:
        return atoms.copy(), np.arange(len(atoms))
    # The translations are fractions of the cell's vectors; the search leaves an error on them.
    exact = np.rint(shifts * len(shifts)) / len(shifts)
    basis = _shortest_basis(cell, exact, fixed) if fixed else _standard_basis(crystal)
    return _first_of_each(atoms, basis, len(shifts))


def _shortest_basis(
    cell: NDArray[np.float64], shifts: NDArray[np.float64], fixed: list[int]
) -> NDArray[np.float64]:
    """Reduced basis, (3, 3) rows, of the lattice that a cell and its translations span."""
    from ase.geometry import minkowski_reduce

    pbc = [axis not in fixed for axis in range(3)]
    compact = minkowski_reduce(cell, pbc=pbc)[0]
    steps = itertools.product(*[(-1, 0, 1) if free else (0,) for free in pbc])
    # Reduced coordinates refer to `cell`; a reduced cell has the same points modulo its vectors.
    inside = np.linalg.solve(compact.T, (shifts @ cell).T).T
    inside -= np.rint(inside)
    points = (inside[None] + np.array(list(steps), dtype=np.float64)[:, None]).reshape(-1, 3)
    points = points @ compact
    points = points[np.argsort(np.linalg.norm(points, axis=1).round(6), kind="stable")]
    # In up to three dimensions the shortest independent vectors are a basis.
    chosen = [cell[axis] for axis in fixed]
    free: list[NDArray[np.float64]] = []
    for point in points:
        if len(free) + len(fixed) == 3:
            break
        if _independent([*chosen, *free, point]):
            free.append(point)
    basis = cell.copy()
    basis[[axis for axis in range(3) if pbc[axis]]] = free
    if len(free) == 2 and free[0] @ free[1] > 1e-6:
        basis[[axis for axis in range(3) if pbc[axis]][1]] *= -1.0  # as usual in hexagonal cells
    if np.linalg.det(basis) < 0:
        first = next(axis for axis in range(3) if pbc[axis])
        last = [axis for axis in range(3) if pbc[axis]][-1]
        if first == last:
            basis[first] *= -1.0
        else:
            basis[[first, last]] = basis[[last, first]]
    return basis


def _standard_basis(crystal: Crystal) -> NDArray[np.float64]:
    """Spglib's primitive basis, (3, 3) rows, Angstrom.

    It is the usual one: in cubic and hexagonal lattices equivalent vectors have equal lengths, so
    that the divisions of a mesh keep the symmetry.
    """
    import spglib
    from ase.units import Bohr

    cell = (
        crystal.lattice.numpy().tolist(),
        crystal.positions.numpy().tolist(),
        species_labels(crystal),
    )
    with warnings.catch_warnings():  # spglib announces at every call how it will report errors
        warnings.simplefilter("ignore", DeprecationWarning)
        # Without idealisation it keeps the orientation.
        found = spglib.standardize_cell(
            cell, to_primitive=True, no_idealize=True, symprec=_TOLERANCE
        )
    assert found is not None  # it has found the translations
    return np.asarray(found[0], dtype=np.float64) * Bohr


def _independent(vectors: list[NDArray[np.float64]]) -> bool:
    """Whether unit vectors along these span a volume."""
    lengths = [float(np.linalg.norm(vector)) for vector in vectors]
    if min(lengths) < _DEPENDENT:
        return False
    units = np.array([v / length for v, length in zip(vectors, lengths, strict=True)])
    return bool(np.sqrt(abs(np.linalg.det(units @ units.T))) > _DEPENDENT)


def _first_of_each(
    atoms: Atoms, basis: NDArray[np.float64], ratio: int
) -> tuple[Atoms, NDArray[np.int64]]:
    """One atom of each set that the lattice of `basis` makes equivalent."""
    from ase.units import Bohr

    reduced = np.linalg.solve(basis.T, atoms.positions.T).T
    moments = atoms.get_initial_magnetic_moments().reshape(len(atoms), -1)
    firsts: list[int] = []
    sites = np.zeros(len(atoms), dtype=np.int64)
    for i, place in enumerate(reduced):
        apart = reduced[firsts] - place
        apart = np.linalg.norm((apart - np.rint(apart)) @ basis, axis=1)
        same = (apart < 2.0 * _TOLERANCE * Bohr) & (atoms.numbers[firsts] == atoms.numbers[i])
        same &= np.abs(moments[firsts] - moments[i]).max(axis=1, initial=0.0) < 2e-3
        if same.any():
            sites[i] = int(np.argmax(same))
        else:
            sites[i] = len(firsts)
            firsts.append(i)
    counted = np.linalg.solve(basis.T, atoms.cell[:].T)
    whole = np.abs(counted - np.rint(counted)).max() < 1e-3
    times = abs(round(float(np.linalg.det(np.rint(counted)))))
    if not whole or times != ratio or len(firsts) * ratio != len(atoms):
        raise ValueError(
            f"the {len(atoms)} atoms nearly repeat {ratio} times within the cell, but do not form "
            "a smaller one: their positions are too inaccurate. Give a primitive cell, or leave "
            "'primitive' out"
        )
    primitive = atoms[firsts]
    primitive.set_cell(basis)
    return primitive, sites
