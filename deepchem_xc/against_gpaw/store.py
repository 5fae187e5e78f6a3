"""Finished points on disk: a killed run loses only the points that it was computing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepchem_xc.against_gpaw.cases import Case
from deepchem_xc.store import Store


class PointStore:
    """A folder with one file for each point.

    The name of a file contains a hash of the settings, so that results of other settings are never
    read. Its content includes a checksum, so that a damaged file is never read either.

    Parameters
    ----------
    folder : Path
        Location of the files; created with the first one.
    notify : callable, optional
        Called with one sentence about each file that is ignored.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.against_gpaw import CASES
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = PointStore(Path(folder))
    ...     store.write(CASES["gth"]["Al"], 1.0, {"energy": -56.4})
    ...     store.read(CASES["gth"]["Al"], 1.0), store.read(CASES["gth"]["Al"], 0.98)
    ({'energy': -56.4}, None)
    """

    def __init__(self, folder: Path, notify: Callable[[str], None] | None = None) -> None:
        self._store = Store(folder, notify)
        self.folder = self._store.folder

    @staticmethod
    def _name(case: Case, scale: float) -> str:
        return f"{case.system}-{case.key()}-{scale:.4f}"

    def path(self, case: Case, scale: float) -> Path:
        """File of one point."""
        return self._store.path(self._name(case, scale))

    def write(self, case: Case, scale: float, point: dict[str, Any]) -> None:
        """Write a point; the file is complete, or does not appear."""
        record = {"settings": case.settings(), "scale": scale, "point": point}
        self._store.write(self._name(case, scale), record)

    def read(self, case: Case, scale: float) -> dict[str, Any] | None:
        """Return a point, or None if it is missing, damaged or has other settings."""
        name = self._name(case, scale)
        record = self._store.read(name, settings=case.settings(), scale=scale)
        return None if record is None else record.get("point")

    def discard(self, case: Case, scale: float) -> None:
        """Delete a point."""
        self._store.discard(self._name(case, scale))
