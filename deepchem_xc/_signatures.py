"""Signatures and docstrings of functions that take another function's keywords."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def takes_keywords_of(other: Callable[..., Any], names: Collection[str]) -> Callable[[F], F]:
    """Show another function's keywords in the signature of one that passes them on.

    Parameters
    ----------
    other : callable
        The function that defines the keywords.
    names : collection of str
        The keywords that replace ``**keywords``.

    Examples
    --------
    >>> def area(*, width=1.0, height=1.0):
    ...     return width * height
    >>> @takes_keywords_of(area, ["width", "height"])
    ... def volume(depth, **keywords):
    ...     return depth * area(**keywords)
    >>> inspect.signature(volume)
    <Signature (depth, *, width=1.0, height=1.0)>
    """

    def shown(function: F) -> F:
        own = inspect.signature(function).parameters.values()
        has = inspect.signature(other).parameters
        parameters = [p for p in own if p.kind is not p.VAR_KEYWORD]
        signature = inspect.Signature([*parameters, *(has[name] for name in names)])
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return shown


def documents_keywords_of(other: Callable[..., Any], names: Collection[str]) -> Callable[[F], F]:
    """Replace ``**keywords`` in a docstring by descriptions of another function's keywords.

    Parameters
    ----------
    other : callable
        Its docstring is numpydoc.
    names : collection of str
        The keywords.

    Examples
    --------
    >>> def area(*, width=1.0):
    ...     '''Area.
    ...
    ...     Parameters
    ...     ----------
    ...     width : float
    ...         In metres.
    ...     '''
    >>> @documents_keywords_of(area, ["width"])
    ... def volume(**keywords):
    ...     '''Volume.
    ...
    ...     Parameters
    ...     ----------
    ...     **keywords
    ...         Those of `area`.
    ...     '''
    >>> "In metres." in inspect.getdoc(volume)
    True
    """
    described = _parameters(other)

    def documented(function: F) -> F:
        if function.__doc__ is not None:  # python -OO drops docstrings
            text = "".join(described[name] for name in names)
            function.__doc__ = _KEYWORDS.sub(lambda _: text, function.__doc__)
        return function

    return documented


# A parameter and its description: one line at the margin of the docstring, and the indented lines
# below it.
_PARAMETER = re.compile(r"^    (\w+) : .*\n(?:        .*\n|\n(?=        ))+", re.MULTILINE)
_KEYWORDS = re.compile(r"^    \*\*keywords\n(?:        .*\n)+", re.MULTILINE)


def _parameters(function: Callable[..., Any]) -> dict[str, str]:
    """Descriptions of parameters in a numpydoc docstring, by name."""
    return {found[1]: found[0] for found in _PARAMETER.finditer(function.__doc__ or "")}
