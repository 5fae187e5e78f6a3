"""Densities and orbitals of cells, kept in memory or in files for the next calculation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.restart import DamagedFileError, Restart

if TYPE_CHECKING:
    from deepchem_xc.feat.cells import Cell
    from deepchem_xc.xc.identity import Identity


@dataclass(frozen=True)
class Record:
    """What is known of one cell.

    Attributes
    ----------
    scale : float
        Volume, or area, in units of the structure's.
    group : str
        The same for one crystal at all volumes.
    restart : Restart or None
        Density and orbitals; None if they are in a file.
    frozen : FrozenEnergy or None
        Energy at the kept density; None where that density is a start and nothing else.
    epoch : int
        Epoch in which it was calculated.
    functional : Identity or None
        What the functional was then; None after a checkpoint was read.
    options : str or None
        Digest of the calculation's options; None if a checkpoint did not hold it.
    """

    scale: float
    group: str
    restart: Restart | None
    frozen: FrozenEnergy | None
    epoch: int
    functional: Identity | None = None
    options: str | None = None


class KeptStates:
    """Records of cells, from which the next calculations of them and their neighbours start.

    Parameters
    ----------
    cache_dir : path, optional
        Keep densities and orbitals in files there and not in memory; later runs start from them.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat.cells import single_cell
    >>> from deepchem_xc.planewave import Crystal, scf
    >>> crystal = Crystal.from_ase(bulk("Al"))
    >>> cell, kept = single_cell(crystal, {"ecut": 100.0}, "aluminium"), KeptStates()
    >>> kept.start(cell) is None
    True
    >>> result = scf(crystal, ecut=100.0)
    >>> kept.keep(cell, Restart.of(result), FrozenEnergy.of(result), epoch=0)
    >>> kept.start(cell).density.shape == result.density_g.shape
    True
    """

    def __init__(self, cache_dir: str | Path | None = None) -> None:
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._records: dict[str, Record] = {}

    def record(self, cell: Cell) -> Record | None:
        """What is known of a cell; None before its first calculation."""
        return self._records.get(cell.key)

    def keep(
        self,
        cell: Cell,
        restart: Restart,
        frozen: FrozenEnergy,
        epoch: int,
        functional: Identity | None = None,
        options: str | None = None,
    ) -> None:
        """Keep a new state of a cell in place of the last one."""
        kept: Restart | None = restart
        if self.cache_dir is not None:
            restart.save(self._file(cell.key))
            kept = None
        self._records[cell.key] = Record(
            cell.scale, cell.group, kept, frozen, epoch, functional, options
        )

    def drop_energies(self) -> None:
        """Keep densities and orbitals as starts only."""
        self._records = {key: replace(record, frozen=None) for key, record in self._records.items()}

    def start(self, cell: Cell, done: Mapping[float, Restart] | None = None) -> Restart | None:
        """The cell's own last state or, the first time, that of the nearest volume.

        Orbitals, which no checkpoint holds, are those of the nearest volume that has them.
        """

        def distance(scale: float) -> float:
            return abs(scale - cell.scale)

        near = {
            key: distance(record.scale)
            for key, record in self._records.items()
            if record.group == cell.group and key != cell.key
        }
        kept = (self._restart(key) for key in (cell.key, *sorted(near, key=near.__getitem__)))
        more = (done[scale] for scale in sorted(done, key=distance)) if done else ()
        start = None
        for state in itertools.chain(kept, more):
            if state is None:
                continue
            start = start or state
            if state.orbitals is not None:
                return replace(start, orbitals=state.orbitals)
        return start

    def state_dict(self, energies: bool = True) -> dict[str, Any]:
        """Kept densities, without orbitals, for a checkpoint.

        Parameters
        ----------
        energies : bool, optional
            Whether the energies at these densities are kept, too.
        """
        return {
            key: {
                "scale": record.scale,
                "group": record.group,
                "epoch": record.epoch,
                "frozen": record.frozen.state_dict() if energies and record.frozen else None,
                "options": record.options,
                "restart": None if record.restart is None else _restart_state(record.restart),
            }
            for key, record in self._records.items()
        }

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._records = {
            key: Record(
                scale=state["scale"],
                group=state["group"],
                restart=None if state["restart"] is None else _restart_of(state["restart"]),
                frozen=state["frozen"] and FrozenEnergy.from_state_dict(state["frozen"]),
                epoch=state["epoch"],
                options=state.get("options"),
            )
            for key, state in states.items()
        }

    def _restart(self, key: str) -> Restart | None:
        record = self._records.get(key)
        if record is not None and record.restart is not None:
            return record.restart
        if self.cache_dir is None or not self._file(key).exists():
            return None
        try:
            return Restart.load(self._file(key))
        except DamagedFileError as error:
            raise DamagedFileError(
                f"{error} It belongs to the cache of a training run: delete it, and the "
                "calculation starts from atoms."
            ) from error

    def _file(self, key: str) -> Path:
        assert self.cache_dir is not None
        return self.cache_dir / f"{key}.npz"


def _restart_state(restart: Restart) -> dict[str, Any]:
    crystal = restart.crystal
    return {
        "lattice": crystal.lattice,
        "symbols": list(crystal.symbols),
        "positions": crystal.positions,
        "moments": crystal.magnetic_moments,
        "pbc": crystal.pbc,
        "density_g": restart.density_g,
        "density": restart.density,
    }


def _restart_of(state: Mapping[str, Any]) -> Restart:
    crystal = Crystal(
        state["lattice"],
        tuple(state["symbols"]),
        state["positions"],
        state["moments"],
        state["pbc"],
    )
    return Restart(crystal, state["density_g"], state["density"])
