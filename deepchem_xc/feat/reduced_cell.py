"""Systems with ``primitive: true``: their primitive cell, and the keywords that go with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.feat.files import structure_values
from deepchem_xc.feat.schema import CrystalSpec, StructureSpec
from deepchem_xc.planewave.structure.primitive import primitive_cell
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning

_SAME_FOR_ALL = "kpts = {density: ...} is the same for any cell."
# Meshes of which one warning is given later; None where each has its own.
_noticed: ContextVar[list[str] | None] = ContextVar("_noticed", default=None)


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
    check_keywords(spec, cells)
    structure = StructureSpec.model_validate(structure_values(primitive))
    changed: dict[str, Any] = {"structure": structure, "primitive": None}
    return ReducedCell(spec.model_copy(update=changed), cells, tuple(int(i) for i in sites))


def check_keywords(spec: CrystalSpec, cells: int) -> None:
    """Refuse keywords that are meaningless in the smaller cell; warn of a mesh.

    Parameters
    ----------
    spec : CrystalSpec
        The system.
    cells : int
        Number of primitive cells in the given one.

    Raises
    ------
    ValueError
        The message begins with the key.

    Warns
    -----
    IgnoredInputWarning
        Of a mesh.
    """
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
    if kpts is None or "density" in keys:
        return
    if (noticed := _noticed.get()) is not None:
        noticed.append(str(kpts))
        return
    warnings.warn(
        f"the k-point mesh {kpts} is that of the primitive cell, {cells} times smaller than the "
        f"given one; {_SAME_FOR_ALL}",
        IgnoredInputWarning,
        stacklevel=users_stacklevel(),
    )


@contextmanager
def meshes_noticed_once() -> Iterator[None]:
    """Join the warnings of meshes of primitive cells to one, for many systems.

    Warns
    -----
    IgnoredInputWarning
        At the end, at the user's line.

    Examples
    --------
    >>> with meshes_noticed_once():
    ...     pass
    """
    if _noticed.get() is not None:  # within another one, which warns
        yield
        return
    noticed: list[str] = []
    token = _noticed.set(noticed)
    try:
        yield
    finally:
        _noticed.reset(token)
    if noticed:
        warnings.warn(
            f"the k-point mesh {', '.join(dict.fromkeys(noticed))} is that of the primitive cell, "
            f"which is smaller than the given one in {len(noticed)} of the calculations; "
            f"{_SAME_FOR_ALL}",
            IgnoredInputWarning,
            stacklevel=users_stacklevel(),
        )
