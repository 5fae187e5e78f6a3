"""Systems with ``primitive: true``: their primitive cell, and the keywords that go with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from deepchem_xc.feat.files import structure_values
from deepchem_xc.feat.schema import CrystalSpec, StructureSpec
from deepchem_xc.planewave.structure.primitive import primitive_cell
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning


@dataclass(frozen=True)
class ReducedCell:
    """The primitive cell of a system.

    Attributes
    ----------
    spec : CrystalSpec
        The system with its primitive cell, as if this had been given.
    cells : int
        Number of primitive cells in the given one.
    sites : tuple of int or None
        For each given atom the index of its equivalent in the primitive cell; None if the given
        cell is primitive.
    """

    spec: CrystalSpec
    cells: int
    sites: tuple[int, ...] | None


def reduced_cell(spec: CrystalSpec) -> ReducedCell:
    """Primitive cell of a system.

    Parameters
    ----------
    spec : CrystalSpec
        The system in the given cell.

    Raises
    ------
    ValueError
        If the cell cannot be reduced, or a keyword refers to the given cell; the message begins
        with the key.

    Warns
    -----
    IgnoredInputWarning
        If the divisions of a k-point mesh now count on a smaller cell.

    Examples
    --------
    >>> from ase.build import bulk
    >>> given = CrystalSpec(structure=bulk("Al", cubic=True), ecut=200.0, primitive=True)
    >>> reduced = reduced_cell(given)
    >>> reduced.cells, reduced.spec.structure.symbols
    (4, ['Al'])
    """
    atoms = spec.structure.atoms()
    try:
        primitive, sites = primitive_cell(atoms)
    except ValueError as error:
        raise ValueError(f"structure: {error}") from error
    cells = len(atoms) // len(primitive)
    if cells == 1:
        return ReducedCell(spec.model_copy(update={"primitive": None}), 1, None)
    _check_keywords(spec, cells)
    structure = StructureSpec.model_validate(structure_values(primitive))
    changed: dict[str, Any] = {"structure": structure, "primitive": None}
    return ReducedCell(spec.model_copy(update=changed), cells, tuple(int(i) for i in sites))


def _check_keywords(spec: CrystalSpec, cells: int) -> None:
    """Refuse keywords that are meaningless in the smaller cell; warn of a mesh."""
    given, kpts = f"the given cell, which has {cells} primitive ones", spec.kpts
    if spec.fft_size is not None:
        raise ValueError(
            f"fft_size: it is the grid of {given}: leave it out, or leave 'primitive' out"
        )
    keys = set(kpts) if isinstance(kpts, dict) else set()
    listed = isinstance(kpts, list) and any(isinstance(k, list) for k in kpts)
    if listed or "kpts" in keys:
        raise ValueError(
            f"kpts: a list of points is in coordinates of {given}: give a density such as "
            "{density: 5.0}, or leave 'primitive' out"
        )
    if kpts is not None and "density" not in keys:
        warnings.warn(
            f"the k-point mesh {kpts} is that of the primitive cell, a {cells}th of the given one; "
            "kpts = {density: ...} is the same for any cell.",
            IgnoredInputWarning,
            stacklevel=4,
        )
