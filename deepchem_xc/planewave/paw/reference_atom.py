"""The reference atom of a dataset, from which the self-consistent field starts."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.planewave.pseudo.radial import RadialTransform

from .dataset import PartialWave, PAWDataset
from .radial_grid import RadialGrid
from .tables import OnSiteTables

__all__ = ["ReferenceAtom", "damped_tail", "radial_transform"]

# Radii, bohr, between which densities and orbitals are brought smoothly to zero: those of a free
# atom decay slowly, and a start does not need their tails.
_TAIL = (5.0, 9.0)


def radial_transform(grid: RadialGrid, function: NDArray, l: int = 0) -> RadialTransform:
    """Form factor of a function f(r) Y_lm of a dataset, by plain sums like all its integrals."""
    return RadialTransform(l, grid.r, grid.dr, (grid.r**2 * function)[None])


class ReferenceAtom:
    """Smooth density, partial-wave occupations and orbitals of a free atom.

    Parameters
    ----------
    dataset : PAWDataset
        Its bound partial waves are the atom's orbitals.
    tables : OnSiteTables
        Overlaps of its sphere.

    Attributes
    ----------
    unpaired : float
        Electrons that can be unpaired in the open shell, the largest starting moment.

    Notes
    -----
    Smooth density and occupations together hold exactly `valence` electrons.
    """

    def __init__(self, dataset: PAWDataset, tables: OnSiteTables) -> None:
        self._dataset, self._overlap = dataset, tables.overlap
        self._bound = [wave for wave in dataset.waves if wave.occupation > 0.0]
        # A file's closed-shell atom can only open its outermost s shell.
        open_shells = [wave for wave in self._bound if _room(wave) > 0.0]
        shells = open_shells or [wave for wave in self._bound if wave.l == 0]
        self._carrier = max(shells or self._bound, key=lambda wave: (wave.l, wave.energy))
        electrons, room = self._carrier.occupation, _room(self._carrier)
        self.unpaired = min(electrons, room) if room > 0.0 else min(electrons, 2.0)

    def occupations(self, wave: PartialWave | None = None) -> Tensor:
        """Partial-wave occupations, (nstate, nstate), electrons.

        Parameters
        ----------
        wave : PartialWave, optional
            One electron spread over this wave's m; by default all electrons of the atom.
        """
        counts = []
        for channel, _ in self._dataset.states:
            own = self._dataset.waves[channel]
            if wave is None:
                counts.append(own.occupation / (2 * own.l + 1))
            else:
                counts.append(1.0 / (2 * own.l + 1) if own is wave else 0.0)
        return torch.diag(torch.tensor(counts, dtype=torch.float64))

    @property
    def open_shell_occupations(self) -> Tensor:
        """`occupations` of one electron in the shell that carries a magnetic moment."""
        return self.occupations(self._carrier)

    @cached_property
    def density(self) -> RadialTransform:
        """Form factor of the smooth valence density."""
        smooth = sum(wave.occupation * wave.smooth**2 for wave in self._bound)
        return self._scaled(np.asarray(smooth), self._dataset.valence, self.occupations())

    @cached_property
    def open_shell(self) -> RadialTransform:
        """Form factor of the smooth density of one electron in the open shell."""
        return self._scaled(self._carrier.smooth**2, 1.0, self.open_shell_occupations)

    def _scaled(self, density: NDArray, electrons: float, occupations: Tensor) -> RadialTransform:
        """Transform of a density that holds, with the sphere, a number of electrons."""
        grid = self._dataset.grid
        density = damped_tail(grid.r) * density
        held = float((occupations * self._overlap.cpu()).sum())
        scale = (electrons - held) / (4.0 * math.pi * float(grid.integrate(density)))
        return radial_transform(grid, scale * density)

    @cached_property
    def _orbitals(self) -> list[tuple[int, RadialTransform]]:
        grid = self._dataset.grid
        tail = damped_tail(grid.r)
        return [(w.l, radial_transform(grid, tail * w.smooth, w.l)) for w in self._bound]

    def orbitals(self, q2: Tensor) -> list[tuple[int, Tensor]]:
        """Angular momentum, and form factor over q^l of each smooth wave, ``(1, *q2.shape)``."""
        return [(l, transform(q2)) for l, transform in self._orbitals]


def _room(wave: PartialWave) -> float:
    """Electrons that are missing in a shell."""
    return 2.0 * (2 * wave.l + 1) - wave.occupation


def damped_tail(r: NDArray) -> NDArray:
    """A factor that falls smoothly from 1 to 0 in the tail."""
    x = np.clip((r - _TAIL[0]) / (_TAIL[1] - _TAIL[0]), 0.0, 1.0)
    factor: NDArray = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    return factor
