"""Results that are kept on disk, so that an interrupted run resumes where it stopped.

Contract: records (dictionaries that JSON can hold), which include the settings they depend on, go
in under a name. They come out if they exist, are undamaged and have the requested settings;
otherwise None comes out. A record is one file, written completely or not at all. The meaning of the
numbers does not matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc._files import write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHECKSUM = "sha256"


def digest(content: Any) -> str:
    """SHA-256 of anything that JSON can hold, the same in every process.

    Parameters
    ----------
    content
        The content to hash; the order of keys does not matter.

    Examples
    --------
    >>> digest({"ecut": 400, "xc": "PBE"})[:12] == digest({"xc": "PBE", "ecut": 400})[:12]
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of named arrays: their names, types, shapes and bytes, in any order.

    Parameters
    ----------
    arrays
        Numbers or text.

    Examples
    --------
    >>> import numpy as np
    >>> one, other = {"a": np.zeros(2), "b": np.ones(1)}, {"b": np.ones(1), "a": np.zeros(2)}
    >>> digest_of_arrays(one) == digest_of_arrays(other)
    True
    >>> digest_of_arrays(one) == digest_of_arrays({**one, "b": np.ones((1, 1))})
    False
    """
    content = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        content.update(json.dumps([name, array.shape, array.dtype.str]).encode())
        content.update(array.tobytes())
    return content.hexdigest()


class Store:
    """A folder with one JSON file a record.

    Parameters
    ----------
    folder : path
        Location of the files; created with the first one.
    notify : callable, optional
        Called with one sentence about each file that is ignored.

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
            Name of the record; must be a valid file name.
        """
        return self.folder / f"{name}.json"

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a record with its checksum, replacing an earlier one.

        Parameters
        ----------
        name : str
            Name of the record.
        record : mapping
            Results and the settings they depend on.

        Raises
        ------
        ValueError
            If it holds NaN or infinity.
        OSError
            If the file cannot be written; an earlier one is kept.
        """
        write_json(self.path(name), {**record, _CHECKSUM: digest(dict(record))})

    def read(self, name: str, **expected: Any) -> dict[str, Any] | None:
        """Return a record, or None if it is missing, damaged or has other settings.

        Parameters
        ----------
        name : str
            Name of the record.
        **expected
            Items that it must have, with these values.
        """
        path = self.path(name)
        try:
            record = json.loads(path.read_text())
            # Without a checksum, it was written by hand or by an older version: valid if readable.
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
        """Delete a record, if it exists.

        Parameters
        ----------
        name : str
            Name of the record.
        """
        self.path(name).unlink(missing_ok=True)
