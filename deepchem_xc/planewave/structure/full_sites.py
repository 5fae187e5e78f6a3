"""Checks that every site is full, with one element: no calculation can treat others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

# Largest deviation from 1 at which a site still counts as full, because files round.
_FULL = 1e-3
# Common part of the names that programs give occupancies.
_OCCUPANCY = "occupanc"
# Values in a CIF for an unspecified occupancy, which means full.
_UNSAID = ("", "?", ".")


def check_full_sites(atoms: Atoms) -> None:
    """Raise if ASE atoms have sites that are partially occupied or shared by several elements.

    ASE reads such a site of a CIF as one full atom of its first element and keeps the occupancies
    in ``atoms.info["occupancy"]``; other formats and programs keep numbers, one for each atom, in
    ``atoms.info`` or ``atoms.arrays``.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure. Occupancies of sites that no longer exist (after slicing) do not count.

    Raises
    ------
    ValueError
        If there are such sites; the message names the occupancies and what to do.

    Examples
    --------
    >>> from ase.build import bulk
    >>> alloy = bulk("Al")
    >>> alloy.info["occupancy"] = {"0": {"Al": 0.6, "Mg": 0.4}}
    >>> check_full_sites(alloy)
    Traceback (most recent call last):
    ValueError: the structure has partially occupied sites (Al 0.6, Mg 0.4): ...
    """
    for key, value in _said_about_occupancies(atoms.info):
        where = f"atoms.info[{key!r}]".replace("'", '"')
        _refuse_partial(_mixed_sites(atoms, value, where), where)
    for name in sorted(atoms.arrays):
        if _OCCUPANCY in name.lower():
            where = f'atoms.arrays["{name}"]'
            rows = np.asarray(atoms.arrays[name]).reshape(len(atoms), -1)
            parts = [[_part(value, where) for value in row] for row in rows]
            partial = [
                f"{atoms.symbols[i]}{i} {row[0]:g}" for i, row in enumerate(parts) if not _full(row)
            ]
            _refuse_partial(partial, where)


def _said_about_occupancies(info: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries of ``atoms.info`` named after occupancies, also in the data of a database's row."""
    for key, value in info.items():
        if isinstance(key, str) and _OCCUPANCY in key.lower():
            yield key, value
        elif key in ("data", "key_value_pairs") and isinstance(value, Mapping):
            yield from _said_about_occupancies(value)


def _refuse_partial(partial: Sequence[str], where: str) -> None:
    if partial:
        some = "; ".join(dict.fromkeys(partial[:4])) + ("; ..." if len(partial) > 4 else "")
        raise ValueError(
            f"the structure has partially occupied sites ({some}): a calculation needs every site "
            "full or empty. Make an ordered cell of that composition, for example with pymatgen's "
            "OrderDisorderedStructureTransformation. If these atoms are one already, remove "
            f"{where}."
        )


def _mixed_sites(atoms: Atoms, occupancy: Any, where: str) -> list[str]:
    """Occupancies of the sites of `atoms` that are not full with a single element."""
    if isinstance(occupancy, str) and occupancy.strip()[:1] in ("{", "["):
        try:
            occupancy = json.loads(occupancy)
        except ValueError as error:
            raise ValueError(_unreadable(occupancy, where)) from error
    if not isinstance(occupancy, Mapping):
        values = np.asarray([] if occupancy is None else occupancy, dtype=object).ravel()
        return [f"{part:g}" for part in (_part(v, where) for v in values) if not _full([part])]
    kinds = atoms.arrays.get("spacegroup_kinds")
    symbols = atoms.get_chemical_symbols()
    mixed = []
    for kind, site in occupancy.items():
        if not isinstance(site, Mapping):
            if not _full([part := _part(site, where)]):
                mixed.append(f"{kind} {part:g}")
            continue
        own = symbols
        if kinds is not None:
            own = [s for s, k in zip(symbols, kinds, strict=True) if str(k) == str(kind)]
        parts = {str(species): _part(part, where) for species, part in site.items()}
        there = {species: part for species, part in parts.items() if part != 0.0} or parts
        # Kinds of atoms that were added later are meaningless; their elements tell them apart.
        if not (len(there) == 1 and _full(list(there.values()))) and set(own) & set(there):
            mixed.append(", ".join(f"{species} {part:g}" for species, part in there.items()))
    return mixed


def _full(parts: Sequence[float]) -> bool:
    return all(abs(part - 1.0) <= _FULL for part in parts)


def _part(value: Any, where: str) -> float:
    """Occupancy as a number; sites without one are full."""
    if value is None or (isinstance(value, str) and value.strip() in _UNSAID):
        return 1.0
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(_unreadable(value, where)) from error


def _unreadable(value: Any, where: str) -> str:
    return (
        f"{where} holds {value!r}, which is not an occupancy: a site is full (1) or empty. Remove "
        f"{where} if all of the atoms are present."
    )


def check_full_structure(structure: Any) -> None:
    """Raise if a pymatgen Structure has partially occupied sites, or sites shared by species.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> check_full_structure(Structure(Lattice.cubic(3.6), [{"Al": 0.6, "Mg": 0.4}], [[0, 0, 0]]))
    Traceback (most recent call last):
    ValueError: the structure 'Mg0.4 Al0.6' has partially occupied sites; order it first, ...
    """
    if not structure.is_ordered:
        raise ValueError(
            f"the structure {structure.composition.formula!r} has partially occupied sites; "
            "order it first, e.g. with pymatgen's OrderDisorderedStructureTransformation."
        )
    for name, values in structure.site_properties.items():
        if _OCCUPANCY in name.lower():
            where = f"structure.site_properties[{name!r}]"
            parts = [_part(value, where) for value in values]
            _refuse_partial(
                [
                    f"{site.specie.symbol}{i} {part:g}"
                    for i, (site, part) in enumerate(zip(structure, parts, strict=True))
                    if not _full([part])
                ],
                where,
            )
