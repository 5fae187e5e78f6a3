"""The record of a density: what is kept of one calculation, and what starts the next one.

Contract: an `SCFResult` in, a `DensityRecord` out, in Hartree atomic units, which a file gives back
bit by bit and whose hash reveals damage; and, for another problem, its density moved with the
atoms to that problem's cell and sphere. `DensitySource` (``density_for(problem) -> Fields``) is all
that calculations know of records and of models; nothing here knows a network or a data set.

With PAW the density is the smooth one. `SphereOccupations` holds what it lacks: the occupations of
each atom's partial waves, which stay with the atoms and belong to their datasets alone.

Extension: the record holds the members of `Fields` on plane waves as they are, and files have one
array for each. A further one is therefore one line in `fields.py`; another sphere (`on_sphere`) and
the move with the atoms (`carried_density`) have to say what becomes of it. Anything else that a
record carries is a field of `DensityRecord` with the default None, and its name in `files.py`;
files without it are read as before.
"""

from __future__ import annotations

from deepchem_xc.planewave.record.density_record import DensityRecord
from deepchem_xc.planewave.record.sources import (
    DensitySource,
    density_source,
    state_selected_by,
)

__all__ = ["DensityRecord", "DensitySource", "density_source", "state_selected_by"]
