"""Results that are computed once, outside any graph or in the graph of their sources.

The solvers' results share these rules: a property is computed on first access, once without a graph
and once for each set of tensors that require gradients; nothing is computed with a functional that
has changed since the loop; pickles and copies hold what properties are computed from, and no
properties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.identity import Unchanged

T = TypeVar("T")
S = TypeVar("S", bound="KeptResults")


class HasFunctional(Protocol):
    """A problem, of which only the functional matters here."""

    @property
    def functional(self) -> XCFunctional:
        """The functional that results depend on."""


class KeptResults:
    """Base of frozen dataclasses whose properties are results of a converged loop.

    A subclass is a frozen dataclass with the fields below and defines `_sources`.

    Attributes
    ----------
    problem : HasFunctional
        What was solved.
    detached : bool
        Whether results stay out of any graph, even if inputs require gradients.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> isinstance(scf(bulk("Si"), ecut=80.0), KeptResults)
    True
    """

    problem: HasFunctional
    detached: bool
    _cache: dict[tuple[str, tuple[int, ...]], Any]
    _memory: list[Unchanged]

    def __post_init__(self) -> None:
        """Remember the functional's state; copies of a result keep the first memory."""
        if not self._memory:
            self._memory.append(Unchanged(self.problem.functional))

    def _check_functional(self) -> None:
        """Raise `RuntimeError` if the functional has changed since the loop."""
        self._memory[0].check()

    def __getstate__(self) -> dict[str, Any]:
        """State of pickles and deep copies: everything that results are computed from, no results.

        Results may be in graphs, which cannot be copied. The copy has its own functional.
        """
        self._check_functional()  # results depend on the functional as it was
        return {**self.__dict__, "_cache": {}, "_memory": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def __copy__(self: S) -> S:
        return self._replaced()

    def _replaced(self: S, **changes: Any) -> S:
        copied: S = replace(self, **changes)  # type: ignore[type-var]
        return copied

    @property
    def _sources(self) -> list[Tensor]:
        """Tensors that require gradients and that results depend on; none if detached."""
        raise NotImplementedError

    @property
    def is_differentiable(self) -> bool:
        """Whether any input requires gradients."""
        return bool(self._sources)

    @property
    def _in_graph(self) -> bool:
        return torch.is_grad_enabled() and self.is_differentiable

    def detach(self: S) -> S:
        """The same result outside any graph; it shares all computed results."""
        return self if self.detached else self._replaced(detached=True)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """Result of `make`, computed once without a graph, and once for each set of sources."""
        sources = self._sources if torch.is_grad_enabled() else []
        key = (name, tuple(map(id, sources)))
        if key not in self._cache:
            # Detached results must not carry the functional's parameters either: their graph would
            # hold only the explicit part of a derivative.
            with outside_inference_and_autocast(), torch.set_grad_enabled(bool(sources)):
                self._cache[key] = make()
        value: T = self._cache[key]
        return value
