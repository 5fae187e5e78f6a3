"""`PeriodicSystemFeaturizer`: from structures to calculations, or to entries of a data set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepchem_xc.feat.crystal_calculation import CrystalCalculation
from deepchem_xc.feat.crystal_featurizer import Array, CrystalFeaturizer
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_types import ENTRY_TYPES, MOLECULAR_TYPES
from deepchem_xc.feat.protocols import ProtocolTable

_NUMBER = ENTRY_TYPES["energy"].label_shape
#: Kinds of entries of one crystal whose label is a number, which a column of y can hold.
COLUMN_TYPES = tuple(
    name
    for name, kind in ENTRY_TYPES.items()
    if kind.label_shape is _NUMBER and kind.systems[0] == 1 and name not in MOLECULAR_TYPES
)


class PeriodicSystemFeaturizer(CrystalFeaturizer):
    """Calculations of crystals, or entries whose labels are the data set's y.

    Cutoff and k-points are those of a protocol: the errors of lattice constants from the basis,
    and from the mesh, are below 0.5 % ("fast"), 0.1 % ("balanced") or 0.02 % ("precise"), as
    measured for each potential and kind of crystal (data/protocols.json). The two may add up.

    Parameters
    ----------
    e_type : str or sequence of str, optional
        Kind of entry: energy, lattice_constant, bulk_modulus, band_gap or magnetic_moment. Several
        make one entry for each task, in the order of y's columns. By default calculations are made,
        not entries.
    protocol : str, optional
        "fast", "balanced" or "precise".
    kind : str, optional
        "metal", whose mesh serves for all, or "insulator", whose mesh is coarser.
    pseudopotentials : str or mapping, optional
        As for `scf`.
    ecut : float, optional
        Cutoff, eV, instead of the protocol's; it is smoothed only if `ecut_smoothing` is given.
    kpts : optional
        k-points instead of the protocol's, as in a system of an entry.
    scales, dimension : optional
        Volumes of lattice_constant and bulk_modulus, as for `DFTEntry.create`.
    folder : path, optional
        Folder to which relative paths of structures and potentials refer; the working directory by
        default.
    table : ProtocolTable or path, optional
        Another table of protocols.
    on_error : str, optional
        "raise" an error for datapoints that cannot be featurized, or "skip" them with a
        `FeaturizationWarning`.
    **keywords
        Other keys of an entry's system: spinpol, nbands, occupations, convergence, ...

    Raises
    ------
    ValueError
        For settings that are not valid.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat import PeriodicSystemFeaturizer
    >>> featurizer = PeriodicSystemFeaturizer(protocol="fast")
    >>> (silicon,) = featurizer.featurize([bulk("Si")])
    >>> print(f"{float(silicon.solve('PBE').free_energy):.1f} Ha")
    -7.9 Ha

    With DeepChem's loaders, for example labels in a table:

    >>> import deepchem as dc
    >>> featurizer = PeriodicSystemFeaturizer("lattice_constant", protocol="fast")
    >>> loader = dc.data.InMemoryLoader(tasks=["a"], featurizer=featurizer)
    >>> dataset = loader.create_dataset([(bulk("Al"), 4.02), (bulk("Si"), 5.42)])
    >>> dataset.X, dataset.y.tolist()
    (array([DFTEntry(lattice_constant, Al), DFTEntry(lattice_constant, Si2)],
          dtype=object), [4.02, 5.42])
    """

    def __init__(
        self,
        e_type: str | Sequence[str] | None = None,
        protocol: str = "balanced",
        kind: str = "metal",
        pseudopotentials: str | Mapping[str, str] = "gth-pbe",
        ecut: float | None = None,
        kpts: Any = None,
        scales: Sequence[float] | None = None,
        dimension: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        table: str | os.PathLike[str] | ProtocolTable | None = None,
        on_error: str = "raise",
        **keywords: Any,
    ) -> None:
        self.e_type, self.scales, self.dimension = e_type, scales, dimension
        self._types = _checked_types(e_type)
        if e_type is None and not (scales is None and dimension is None):
            raise ValueError("scales and dimension are those of entries: give e_type, too.")
        super().__init__(
            protocol, kind, pseudopotentials, ecut, kpts, folder, table, on_error, keywords
        )

    def _read(self, given: Any) -> DFTSystem | list[DFTEntry]:
        if not self._types:
            system: DFTSystem = super()._read(given)
            return system
        structure, settings = self._structure_and_settings(given)
        entries = []
        for e_type in self._types:
            words = {"structure": structure, **settings}
            values: dict[str, Any] = {"e_type": e_type, "systems": [words]}
            if ENTRY_TYPES[e_type].volumes:
                more = {"scales": self.scales, "dimension": self.dimension}
                values |= {key: value for key, value in more.items() if value is not None}
            entries.append(DFTEntry.from_mapping(values, "the datapoint", self._path))
        return entries

    def _featurize_system(
        self, system: DFTSystem | list[DFTEntry]
    ) -> CrystalCalculation | DFTEntry | Array:
        if isinstance(system, DFTSystem):
            return system.crystal_calculation()
        if isinstance(self.e_type, str):
            return system[0]
        row = np.empty(len(system), dtype=object)
        row[:] = system
        return row

    def _stacked(self, features: list[Any]) -> Array:
        if self.e_type is None or isinstance(self.e_type, str):
            return super()._stacked(features)
        if features and all(len(row) for row in features):
            return np.stack(features)
        return super()._stacked(features) if features else np.empty((0, len(self._types)), object)


def _checked_types(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Kinds of entries, one for each column of y."""
    types = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    if given is not None and not types:
        raise ValueError(f"e_type must name at least one of {', '.join(COLUMN_TYPES)}, got none.")
    for e_type in types:
        if e_type not in COLUMN_TYPES:
            why = (
                ", whose label is not one number of one crystal: make such entries with "
                "DFTEntry.create or DFTYamlLoader"
                if e_type in ENTRY_TYPES
                else ""
            )
            raise ValueError(f"e_type must be of {', '.join(COLUMN_TYPES)}, got {e_type!r}{why}.")
    return types
