"""Values of an entry with other settings of its calculations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.feat.dft_system import DFTSystem

# Keys of an entry that say how it is computed.
_OF_ENTRY = ("scales", "dimension")
# Keys that are the structure or the meaning of the label.
_KEPT = (
    *("structure", "number", "moldesc", "spin", "charge"),
    *("e_type", "true_val", "systems", "weight", "name"),
)


class Changeable(Protocol):
    """What `changed_values` needs of an entry."""

    name: str
    systems: list[DFTSystem]
    scales: tuple[float, ...] | None
    _e_type: str
    _dimension: Any
    _weight: float
    _label: NDArray[np.float64] | None


def changed_values(entry: Changeable, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values for `validate_entry`: those of an entry, with other settings.

    Parameters
    ----------
    entry : DFTEntry
        The entry.
    settings : mapping
        As for `DFTEntry.with_settings`.

    Raises
    ------
    ValueError
        If a setting would change the structure or the label, or a potential's file has changed.
    """
    for key in settings:
        if key in _KEPT:
            raise ValueError(
                f"{key}: with_settings changes how an entry is computed, not its structure or "
                "label; make another entry with DFTEntry.create"
            )
    if settings.get("scales") is not None and entry._e_type == "eos" and entry._label is not None:
        raise ValueError(
            "scales: the label of type eos has one energy for each of its own scales; make another "
            "entry with DFTEntry.create"
        )
    if settings.get("primitive") is False and any(system.cells > 1 for system in entry.systems):
        raise ValueError(
            "primitive: the entry holds the primitive cell, not the given one; make another entry "
            "with DFTEntry.create"
        )
    more = {key: value for key, value in settings.items() if key not in _OF_ENTRY}
    own: dict[str, Any] = {"scales": entry.scales, "dimension": entry._dimension}
    own |= {key: value for key, value in settings.items() if key in _OF_ENTRY}
    return {
        "e_type": entry._e_type,
        "true_val": None if entry._label is None else entry._label.tolist(),
        "systems": [_changed_system(entry.systems, system, more) for system in entry.systems],
        "weight": entry._weight,
        "name": entry.name,
        **{key: value for key, value in own.items() if value is not None},
    }


def _changed_system(
    systems: Sequence[DFTSystem], system: DFTSystem, settings: Mapping[str, Any]
) -> dict[str, Any]:
    if "pseudopotentials" not in settings:
        system.check_files()
    values = {**system.system, **settings}
    potentials = values.get("pseudopotentials")
    if isinstance(potentials, Mapping) and len(systems) > 1 and system.is_crystal:
        # A potential may be that of another system's element; one of no system is a mistake.
        others = {s for one in systems if one.is_crystal for s in one.atoms.symbols}
        absent = others - set(system.atoms.symbols)
        values["pseudopotentials"] = {k: v for k, v in potentials.items() if k not in absent}
    return {key: value for key, value in values.items() if value is not None}
