"""Finished points on disk: a killed run loses at most the points that were being computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepchem_xc._files import write_json
from deepchem_xc.benchmark.cases import Case


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class PointStore:
    """A folder with one file a point.

    The name of a file holds the hash of the settings, so that results of other settings are never
    read; its content carries a checksum, so that a damaged file is never read either.

    Parameters
    ----------
    folder : Path
        Where the files are; made when the first one is written.
    notify : callable, optional
        Called with one sentence about every file that is ignored.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.benchmark import CASES
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = PointStore(Path(folder))
    ...     store.write(CASES["Al"], 1.0, {"energy": -56.4})
    ...     store.read(CASES["Al"], 1.0), store.read(CASES["Al"], 0.98)
    ({'energy': -56.4}, None)
    """

    def __init__(self, folder: Path, notify: Callable[[str], None] | None = None) -> None:
        self.folder = Path(folder)
        self._notify = notify or (lambda message: None)

    def path(self, case: Case, scale: float) -> Path:
        """File of one point."""
        return self.folder / f"{case.system}-{case.key()}-{scale:.4f}.json"

    def write(self, case: Case, scale: float, point: dict[str, Any]) -> None:
        """Keep a point; the file appears whole or not at all."""
        content = {"settings": case.settings(), "scale": scale, "point": point}
        write_json(self.path(case, scale), {**content, "sha256": _checksum(content)})

    def read(self, case: Case, scale: float) -> dict[str, Any] | None:
        """Return a point, or None if it is not there, damaged or of other settings."""
        path = self.path(case, scale)
        try:
            content = json.loads(path.read_text())
            checksum = content.pop("sha256")
            if checksum != _checksum(content):
                raise ValueError("its checksum does not match")
            point: dict[str, Any] = content["point"]
            settings, stored_scale = content["settings"], content["scale"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._notify(f"{path} is damaged ({error or type(error).__name__}): computed again")
            return None
        if settings != case.settings() or stored_scale != scale:
            self._notify(f"{path} holds other settings than its name says: computed again")
            return None
        return point

    def discard(self, case: Case, scale: float) -> None:
        """Forget a point."""
        self.path(case, scale).unlink(missing_ok=True)
