"""Densities and orbitals of calculations, kept in memory or files to start the next ones."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc.feat.calculation import Calculation, Start
from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.numerics.errors import DamagedFileError

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Identity


@dataclass(frozen=True)
class KeptDensity:
    """Density and energy kept from one calculation.

    Attributes
    ----------
    scale : float
        Volume, or area, in units of the structure's.
    group : str
        Key shared by all volumes of a structure.
    start : Start or None
        Density and orbitals; None if they are in a file, or only in `saved`.
    frozen : FrozenEnergy or None
        Energy at the kept density; None if that density only serves as a start.
    epoch : int
        Epoch in which it was calculated.
    functional : Identity or None
        State of the functional at that time; None after a checkpoint was read.
    options : str or None
        Digest of the options that the energy depends on; None in checkpoints of 0.1.0.
    saved : mapping or None
        State of the start in a checkpoint, which only a calculation can read.
    """

    scale: float
    group: str
    start: Start | None
    frozen: FrozenEnergy | None
    epoch: int
    functional: Identity | None = None
    options: str | None = None
    saved: Mapping[str, Any] | None = None


class KeptDensities:
    """Densities from which the next calculations, and those at other volumes, start.

    Parameters
    ----------
    cache_dir : path, optional
        Keep densities and orbitals in files there instead of memory; later runs start from them.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat.crystal_calculation import single_calculation
    >>> from deepchem_xc.planewave import Crystal
    >>> from deepchem_xc.xc import get_xc
    >>> crystal = Crystal.from_ase(bulk("Al"))
    >>> aluminium, kept = single_calculation(crystal, {"ecut": 100.0}, "Al"), KeptDensities()
    >>> kept.start(aluminium) is None
    True
    >>> result = aluminium.solve(get_xc("PBE"))
    >>> kept.keep(aluminium, aluminium.start_of(result), aluminium.freeze(result), epoch=0)
    >>> kept.start(aluminium).fields.density.shape == result.density_g.shape
    True
    """

    def __init__(self, cache_dir: str | Path | None = None) -> None:
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._kept: dict[str, KeptDensity] = {}

    def of(self, calculation: Calculation[Any, Any]) -> KeptDensity | None:
        """Kept density of a calculation; None before it was first done."""
        return self._kept.get(calculation.key)

    def keep(
        self,
        calculation: Calculation[Any, Any],
        start: Start,
        frozen: FrozenEnergy,
        epoch: int,
        functional: Identity | None = None,
        options: str | None = None,
    ) -> None:
        """Keep a calculation's new density instead of its last one."""
        in_memory: Start | None = start
        if self.cache_dir is not None:
            start.save(self._file(calculation.key))
            in_memory = None
        self._kept[calculation.key] = KeptDensity(
            calculation.scale, calculation.group, in_memory, frozen, epoch, functional, options
        )

    def drop_energies(self) -> None:
        """Keep densities and orbitals only as starts."""
        self._kept = {key: replace(density, frozen=None) for key, density in self._kept.items()}

    def start(
        self, calculation: Calculation[Any, Any], done: Mapping[float, Start] | None = None
    ) -> Start | None:
        """Last density of the calculation itself or, the first time, of the nearest volume.

        Checkpoints contain no orbitals: they come from the nearest volume that has them.

        Parameters
        ----------
        calculation : Calculation
            The calculation to start.
        done : mapping, optional
            Starts of its group in addition to the kept ones, by volume.
        """

        def distance(scale: float) -> float:
            return abs(scale - calculation.scale)

        near = {
            key: distance(density.scale)
            for key, density in self._kept.items()
            if density.group == calculation.group and key != calculation.key
        }
        keys = (calculation.key, *sorted(near, key=near.__getitem__))
        kept = (self._read(key, calculation) for key in keys)
        more = (done[scale] for scale in sorted(done, key=distance)) if done else ()
        start: Start | None = None
        for found in itertools.chain(kept, more):
            if found is None:
                continue
            start = start or found
            if found.orbitals is not None:
                return start.with_orbitals(found.orbitals)
        return start

    @property
    def densities(self) -> Mapping[str, KeptDensity]:
        """Kept densities by the keys of their calculations."""
        return self._kept

    def state_dict(
        self, energies: bool = True, keys: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Kept densities, without orbitals, for a checkpoint or another process.

        Parameters
        ----------
        energies : bool, optional
            Whether to include the energies at these densities.
        keys : collection of str, optional
            Only these calculations.
        """
        return {
            key: {
                "scale": density.scale,
                "group": density.group,
                "epoch": density.epoch,
                "frozen": density.frozen.state_dict() if energies and density.frozen else None,
                "options": density.options,
                "restart": density.saved if density.start is None else density.start.state_dict(),
            }
            for key, density in self._kept.items()
            if keys is None or key in keys
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._kept = {}
        self.update_state(state)

    def update_state(self, state: Mapping[str, Any]) -> None:
        """Keep the densities of a `state_dict` beside the others."""
        self._kept |= {
            key: KeptDensity(
                scale=density["scale"],
                group=density["group"],
                start=None,
                frozen=density["frozen"] and FrozenEnergy.from_state_dict(density["frozen"]),
                epoch=density["epoch"],
                options=density.get("options"),
                saved=density["restart"],
            )
            for key, density in state.items()
        }

    def _read(self, key: str, calculation: Calculation[Any, Any]) -> Start | None:
        """Density of a key, read by `calculation`, which is of the same kind."""
        density = self._kept.get(key)
        if density is not None and density.start is not None:
            return density.start
        if density is not None and density.saved is not None:
            return calculation.start_from_state(density.saved)
        if self.cache_dir is None or not self._file(key).exists():
            return None
        try:
            return calculation.read_start(self._file(key))
        except DamagedFileError as error:
            raise DamagedFileError(
                f"{error} It belongs to the cache of a training run: delete it, and the "
                "calculation will start from atoms."
            ) from error

    def _file(self, key: str) -> Path:
        assert self.cache_dir is not None
        return self.cache_dir / f"{key}.npz"
