"""Results that are kept on disk, so that an interrupted run goes on where it was.

Contract: records (dictionaries that JSON can hold) in, under a name, with what they depend on
inside; out, if they are there, whole and of the settings that are asked for, or None. A record is
one file, which appears whole or not at all. What the numbers mean does not matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepchem_xc._files import write_json

_CHECKSUM = "sha256"


def digest(content: Any) -> str:
    """SHA-256 of anything that JSON can hold, the same in every process.

    Parameters
    ----------
    content
        What is hashed; the order of keys does not matter.

    Examples
    --------
    >>> digest({"ecut": 400, "xc": "PBE"})[:12] == digest({"xc": "PBE", "ecut": 400})[:12]
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Store:
    """A folder with one JSON file a record.

    Parameters
    ----------
    folder : path
        Where the files are; made when the first one is written.
    notify : callable, optional
        Called with one sentence about every file that is ignored.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     store.write("Al", {"ecut": 400, "energy": -56.4})
    ...     store.read("Al", ecut=400), store.read("Al", ecut=500), store.read("Ni")
    ({'ecut': 400, 'energy': -56.4}, None, None)
    """

    def __init__(self, folder: str | Path, notify: Callable[[str], None] | None = None) -> None:
        self.folder = Path(folder)
        self._notify = notify or (lambda message: None)

    def path(self, name: str) -> Path:
        """File of a record.

        Parameters
        ----------
        name : str
            Of the record; a file's name.
        """
        return self.folder / f"{name}.json"

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep a record in place of what was there, with a checksum beside it.

        Parameters
        ----------
        name : str
            Of the record.
        record : mapping
            What it holds and what it depends on.

        Raises
        ------
        ValueError
            If it holds NaN or infinity.
        OSError
            If the file cannot be written; what was there stays.
        """
        write_json(self.path(name), {**record, _CHECKSUM: digest(dict(record))})

    def read(self, name: str, **expected: Any) -> dict[str, Any] | None:
        """Return a record, or None if it is not there, damaged or of something else.

        Parameters
        ----------
        name : str
            Of the record.
        **expected
            Items that it must have with these values.
        """
        path = self.path(name)
        try:
            record = json.loads(path.read_text())
            # Written by hand, or by a version that kept no checksums: whole, as it can be read.
            if _CHECKSUM in record and record.pop(_CHECKSUM) != digest(record):
                raise ValueError("its checksum does not match")
            found: dict[str, Any] = dict(record)
            same = all(found[key] == value for key, value in expected.items())
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._notify(f"{path} is damaged ({error or type(error).__name__}): computed again")
            return None
        if not same:
            self._notify(f"{path} holds other settings than its name says: computed again")
            return None
        return found

    def discard(self, name: str) -> None:
        """Forget a record, if there is one.

        Parameters
        ----------
        name : str
            Of the record.
        """
        self.path(name).unlink(missing_ok=True)
