"""One call and its outcome: a value, or an error in words."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

Value = TypeVar("Value")
#: Value, error and traceback from another process; as text, because not every exception can be
#: sent.
Answer: TypeAlias = tuple[Any, str, str]


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """Result of one call.

    Attributes
    ----------
    name : str
        Name of the call.
    value : Any
        Return value of the function; None after an error.
    error : str
        Type and message of the exception, or what happened to the process; empty otherwise.
    details : str
        Traceback of the exception.
    """

    name: str
    value: Value | None
    error: str = ""
    details: str = ""


def attempt(function: Callable[..., Any], arguments: Sequence[Any], threads: int | None) -> Answer:
    """Make one call: value, error, traceback.

    Parameters
    ----------
    function : callable
        The function.
    arguments : sequence
        Positional arguments.
    threads : int, optional
        Threads of torch; by default those that are set.

    Examples
    --------
    >>> attempt(divmod, (7, 2), None)
    ((3, 1), '', '')
    """
    try:
        with nullcontext() if threads is None else torch_threads(threads):
            return function(*arguments), "", ""
    except (Exception, SystemExit) as error:
        return None, f"{type(error).__name__}: {error}", traceback.format_exc()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the number of torch's threads inside a block.

    Parameters
    ----------
    threads : int
        At least 1.

    Examples
    --------
    >>> import torch
    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
