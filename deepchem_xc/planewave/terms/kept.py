"""Cache of a function's value for the last basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

T = TypeVar("T")


class KeptForBasis(Generic[T]):
    """Keeps one value, because a loop needs that of the same basis in every step.

    Parameters
    ----------
    make : callable
        ``make(basis)`` computes the value for a new basis.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> phases = KeptForBasis(lambda basis: basis.density_q2.exp())
    >>> phases.of(basis) is phases.of(basis)
    True
    """

    def __init__(self, make: Callable[[PlaneWaveBasis], T]) -> None:
        self._make = make
        self._kept: tuple[PlaneWaveBasis, T] | None = None

    def of(self, basis: PlaneWaveBasis) -> T:
        """The value for this basis."""
        if self._kept is None or self._kept[0] is not basis:
            self._kept = basis, self._make(basis)
        return self._kept[1]
