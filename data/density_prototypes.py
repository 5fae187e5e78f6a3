"""Crystals in the shapes of known ones: the AFLOW prototypes that come with pymatgen.

The library: M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017), and D. Hicks et al., Comput.
Mater. Sci. 161, S1 (2019); pymatgen, which distributes 288 of its structures, has the MIT licence.
A prototype is named by its AFLOW label, after a slash by its Strukturbericht symbol or mineral
where several share the label.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

from ase import Atoms


@cache
def _library() -> dict[str, list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
    found: dict[str, list[Any]] = {}
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        found.setdefault(entry["tags"]["aflow"], []).append(entry)
    return found


def prototype(name: str, elements: str | Mapping[str, str]) -> Atoms:
    """The prototype with other elements, primitive, in its own size.

    Parameters
    ----------
    name
        AFLOW label; ``label/A17`` where several have the same.
    elements
        The new element for each of the original ones, or one for all sites.

    Raises
    ------
    ValueError
        If the name does not say which prototype, or an original element is not named.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    label, _, which = name.partition("/")
    entries = [
        entry
        for entry in _library().get(label, [])
        if which in ("", entry["tags"]["strukturbericht"], entry["tags"]["mineral"])
    ]
    if len(entries) != 1:
        raise ValueError(f"{len(entries)} prototypes have the name {name!r}.")
    structure = entries[0]["snl"].structure
    originals = [site.specie.symbol for site in structure]
    new = dict.fromkeys(originals, elements) if isinstance(elements, str) else dict(elements)
    if set(new) != set(originals):
        raise ValueError(f"{name} has the elements {sorted(set(originals))}, got {sorted(new)}.")
    atoms = AseAtomsAdaptor.get_atoms(structure)
    plain = Atoms(
        [new[symbol] for symbol in originals],
        cell=atoms.cell,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )
    if plain.cell.handedness < 0:
        plain.set_cell(-plain.cell.array, scale_atoms=True)
    plain.wrap()
    return plain
