"""Points of an energy curve on disk, so that an interrupted curve goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc import __version__
from deepchem_xc._files import plain, source_digest
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.potentials import load_potentials
from deepchem_xc.planewave.properties.volume_series import VolumeSeries
from deepchem_xc.planewave.pseudo import potential_digest
from deepchem_xc.planewave.record import DensityRecord, state_selected_by
from deepchem_xc.store import Store, digest

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

# Keywords that say where or how a calculation runs, and those that are described otherwise. A start
# counts by its content, and where it may select a magnetic state.
_NOT_DESCRIBED = ("device", "kpts", "pseudopotentials", "symmetry", "start")


class KeptPoints:
    """A folder with the finished points of energy curves, and the density of each middle volume.

    The names of files contain a hash of everything that the numbers depend on: the source of the
    package, the crystal, k-points, grid, keywords, and the content of functional and
    pseudopotentials; with two spin channels also of ``start``, which may select another magnetic
    state. A folder can therefore be common to many curves.

    Parameters
    ----------
    folder : path
        Location of the files; created with the first one.
    series : VolumeSeries
        The volumes.
    functional : str
        Name or file of the functional.
    keywords : mapping
        Those of `scf`.

    Raises
    ------
    ValueError
        If the functional is not given by its name or as a file, and for a model in memory as the
        start of a calculation with two spin channels.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.properties.volume_series import volume_series
    >>> from deepchem_xc.planewave.settings import Settings
    >>> series = volume_series(bulk("Si"), Settings.of({"ecut": 100.0, "kpts": (1, 1, 1)}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = KeptPoints(folder, series, "PBE", {"ecut": 100.0})
    ...     kept.write(1.0, {"energy": -214.0})
    ...     other = KeptPoints(folder, series, "LDA", {"ecut": 100.0})
    ...     kept.read(1.0), kept.read(0.98), other.read(1.0)
    ({'energy': -214.0}, None, None)
    """

    def __init__(
        self,
        folder: str | Path,
        series: VolumeSeries,
        functional: str | XCFunctional,
        keywords: Mapping[str, Any],
    ) -> None:
        if not isinstance(functional, str):
            raise ValueError(
                "keep_in= needs a functional that is given by its name or as a file, got "
                f"the object {functional.name}, which another run cannot compare: write it with "
                "functional.save('mine.xc.safetensors') and give that name."
            )
        self._store = Store(folder)
        self._settings = _described(series, functional, keywords)
        self._name = f"{series.atoms.symbols}-{digest(self._settings)[:12]}"

    @property
    def folder(self) -> Path:
        """Location of the files."""
        return self._store.folder

    @property
    def _start(self) -> Path:
        return self.folder / f"{self._name}.npz"

    def _point(self, scale: float) -> str:
        # All digits: volumes may lie close together.
        return f"{self._name}-{scale!r}"

    def read(self, scale: float) -> dict[str, Any] | None:
        """Values of a point; None if it is not kept."""
        found = self._store.read(self._point(scale), settings=self._settings)
        return None if found is None else found["point"]

    def write(
        self, scale: float, point: Mapping[str, Any], start: DensityRecord | None = None
    ) -> None:
        """Keep a point and, if it is the middle one, the density from which others start."""
        if start is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            start.save(self._start)  # first: without it, the middle volume is computed again
        record = {"settings": self._settings, "point": dict(point)}
        self._store.write(self._point(scale), record)

    def start(self) -> DensityRecord | None:
        """Density of the middle volume; None if it is not there, or damaged."""
        try:
            return DensityRecord.load(self._start)
        except (FileNotFoundError, DamagedFileError):
            return None


def _described(
    series: VolumeSeries, functional: str, keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the points of a curve depend on, except for their scale."""
    # Functionals import DeepChem, which takes seconds.
    from deepchem_xc.xc.identity import name_or_content

    atoms = series.atoms
    species = series.crystal(1.0).species
    potentials = load_potentials(keywords.get("pseudopotentials", "gth-pbe"), species)
    others = {
        name: value
        for name, value in keywords.items()
        if value is not None and name not in _NOT_DESCRIBED
    }
    moments = atoms.get_initial_magnetic_moments()
    described = {
        # Development versions share a number.
        "version": [__version__, source_digest()],
        "symbols": atoms.get_chemical_symbols(),
        "cell": atoms.cell.array,
        "positions": atoms.positions,
        "moments": moments,
        "pbc": atoms.pbc,
        "axis": series.axis,
        "kpoints": [series.kpoints.coordinates, series.kpoints.weights],
        "operations": len(series.kpoints.symmetry),
        "fft_size": series.fft_size,
        "functional": name_or_content(functional),
        "pseudopotentials": {
            one: potential_digest(potentials[one]) for one in sorted(set(species))
        },
        "keywords": others,
    }
    state = state_selected_by(keywords.get("start"), moments, keywords)
    if state is not None:
        described["start"] = state
    # As a file gives it back; an object counts by what it prints.
    found: dict[str, Any] = json.loads(json.dumps(plain(described), default=repr))
    return found
