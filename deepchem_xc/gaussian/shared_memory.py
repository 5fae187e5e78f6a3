"""Bytes that several calculations may keep together, such as those of a batch in a training.

What is kept can be computed again: where a limit is reached, those who began to keep something
first release it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol


class Keeper(Protocol):
    """Something that keeps values that it can compute again."""

    def release(self) -> None:
        """Forget them."""


class SharedMemory:
    """A limit for all keepers together, in one process.

    Parameters
    ----------
    limit : int
        Bytes.

    Examples
    --------
    >>> class Kept:
    ...     released = False
    ...     def release(self):
    ...         self.released = True
    >>> memory, first, second, third = SharedMemory(limit=100), Kept(), Kept(), Kept()
    >>> for keeper in (first, second, third):
    ...     memory.keep(keeper, 40)
    >>> first.released, second.released, third.released, memory.used
    (True, False, False, 80)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sizes: weakref.WeakKeyDictionary[Keeper, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes that are held at present."""
        with self._lock:
            return sum(self._sizes.values())

    def keep(self, keeper: Keeper, size: int) -> None:
        """Count what a keeper holds, in bytes, instead of what it held before.

        Others release theirs, the oldest first, until all fits; `keeper` itself never does.
        """
        with self._lock:
            self._sizes.pop(keeper, None)
            others = list(self._sizes.items())
            used = size + sum(other for _, other in others)
            for oldest, freed in others:
                if used <= self.limit:
                    break
                oldest.release()
                del self._sizes[oldest]
                used -= freed
            self._sizes[keeper] = size
