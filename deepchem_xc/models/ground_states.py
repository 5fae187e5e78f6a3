"""Ground states of all cells of a data set, kept from epoch to epoch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.feat.cells import digest
from deepchem_xc.feat.files import check_digests, content_digests
from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.models.kept_states import KeptStates, Record
from deepchem_xc.models.solver_options import ENERGY_OPTIONS, checked_solver_options
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.pseudo import Pseudopotential, load_pseudopotentials
from deepchem_xc.planewave.restart import Restart
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.volume_scan import extrapolated_energy

if TYPE_CHECKING:
    from deepchem_xc.feat.cells import Cell
    from deepchem_xc.xc import XCFunctional
    from deepchem_xc.xc.identity import Identity


@dataclass
class RefreshReport:
    """Differences between energies at kept densities and self-consistent ones.

    Attributes
    ----------
    differences : list of float
        eV per atom, one for each cell that was refreshed.
    calculations : int
        Self-consistent calculations done.
    """

    differences: list[float] = field(default_factory=list)
    calculations: int = 0

    @property
    def largest(self) -> float | None:
        """Largest difference, eV per atom; None if nothing was refreshed."""
        return max((abs(x) for x in self.differences), default=None)


class GroundStates:
    """Self-consistent and frozen energies of cells, each started from what is known already.

    Parameters
    ----------
    functional : XCFunctional
        The one that is trained; its parameters are looked up at every call.
    interval : int, optional
        Epochs from one self-consistent calculation of a cell to the next; between them energies
        come from the density that is kept. 1 does without kept densities.
    options : mapping, optional
        Keywords of `planewave.scf` for all cells, those of `solver_options.SOLVER_OPTIONS`; a
        cell's own keywords take precedence, in ``convergence`` key by key. Energies that were kept
        with other options are not used any more, their densities are starts.
    entropy_response : bool, optional
        Exact gradients of smeared energies, one adjoint equation a cell; needs an interval of 1,
        where it is the default.
    cache_dir : path, optional
        Keep densities and orbitals in files there and not in memory; later runs start from them.

    Attributes
    ----------
    report : RefreshReport
        What was calculated since it was last replaced.
    on_calculation : callable or None
        Called with each cell that was calculated self-consistently, for a progress bar.

    Raises
    ------
    ValueError
        For an interval below 1, or one above it with `entropy_response`, and other options.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat.cells import single_cell
    >>> from deepchem_xc.planewave import Crystal
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> states = GroundStates(functional, interval=5)
    >>> cell = single_cell(Crystal.from_ase(bulk("Al")), {"ecut": 100.0}, "aluminium")
    >>> for epoch in range(6):
    ...     energy = states.energy(cell, epoch)
    ...     with torch.no_grad():
    ...         for parameter in functional.parameters():
    ...             _ = parameter.mul_(1.01)
    >>> states.report.calculations  # in epochs 0 and 5
    2
    >>> states.report.largest < 1e-3  # eV per atom
    True
    """

    def __init__(
        self,
        functional: XCFunctional,
        interval: int = 10,
        options: Mapping[str, Any] | None = None,
        entropy_response: bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f"scf_interval must be at least 1, got {interval}.")
        if entropy_response and interval != 1:
            raise ValueError(
                f"entropy_response=True differentiates self-consistent energies and needs "
                f"scf_interval=1, got {interval}."
            )
        self.functional = functional
        self.interval = interval
        self.options = checked_solver_options(options or {})
        self.entropy_response = interval == 1 if entropy_response is None else entropy_response
        self.report = RefreshReport()
        self.on_calculation: Callable[[Cell], None] | None = None
        self._kept = KeptStates(cache_dir)
        self._loaded: dict[tuple[Any, ...], dict[str, Pseudopotential]] = {}
        # Results of the present parameters, which entries of one batch share.
        self._results: dict[str, SCFResult] = {}
        self._results_of: Identity | None = None
        self._now: Identity | None = None
        # What the functional was after the last step of a training.
        self._left: Identity | None = None

    @property
    def cache_dir(self) -> Path | None:
        """Folder of the kept densities and orbitals; None if they are in memory."""
        return self._kept.cache_dir

    def energy(self, cell: Cell, epoch: int) -> Tensor:
        """Extrapolated energy for training, 0-d, eV per cell, in the functional's graph.

        Parameters
        ----------
        cell : Cell
            The structure.
        epoch : int
            Says whether the kept density is still good.

        Raises
        ------
        SCFConvergenceError
            From a self-consistent calculation; what was kept stays as it was.
        """
        if self.entropy_response:
            return extrapolated_energy(self.result(cell, epoch), True) * Hartree
        frozen = self._energy_kept(cell, epoch)
        if frozen is None:
            self._refresh(cell, epoch)
            frozen = self._energy_kept(cell, epoch)
            assert frozen is not None
        return frozen.at(self.functional) * Hartree

    def result(self, cell: Cell, epoch: int) -> SCFResult:
        """Ground state at the present parameters, in their graph; kept for later starts.

        Raises
        ------
        SCFConvergenceError
            What was kept stays as it was.
        """
        now = self._identity()
        if self._results_of is not now:
            self._results.clear()
            self._results_of = now
        if cell.key in self._results:
            return self._results[cell.key]
        result = self._refresh(cell, epoch)
        self._results[cell.key] = result
        return result

    def _refresh(self, cell: Cell, epoch: int) -> SCFResult:
        """Calculate a cell anew, and keep its density and orbitals but not the result itself."""
        now = self._identity()
        before = self._energy_kept(cell)
        result = self._solve(cell, self._kept.start(cell))
        self.report.calculations += 1
        if self.on_calculation is not None:
            self.on_calculation(cell)
        frozen = FrozenEnergy.of(result)
        if before is not None:
            with torch.no_grad():
                error = frozen.energy - float(before.at(self.functional))
            self.report.differences.append(error * Hartree / cell.crystal.natom)
        self._kept.keep(cell, Restart.of(result), frozen, epoch, now, self._options_of(cell))
        return result

    def energies(self, cells: Sequence[Cell], epoch: int) -> Tensor:
        """`energy` of several cells, (n,), eV; each is started from the one next to it."""
        found = {cell.key: self.energy(cell, epoch) for cell in _outwards(cells)}
        return torch.stack([found[cell.key] for cell in cells])

    def predicted(self, cell: Cell) -> SCFResult:
        """Ground state at the present parameters, in no graph; nothing is kept of it."""
        if cell.key in self._results and self._results_of is self._identity():
            return self._results[cell.key].detach()
        return self._solve(cell, self._kept.start(cell)).detach()

    def predicted_energies(self, cells: Sequence[Cell]) -> Tensor:
        """Self-consistent extrapolated energies at the present parameters, (n,), eV per cell."""
        found: dict[str, float] = {}
        now = self._identity()
        done: dict[str, dict[float, Restart]] = {}
        for cell in _outwards(cells):
            frozen, record = self._energy_kept(cell), self._kept.record(cell)
            if frozen and record and record.functional and record.functional.equals(now):
                found[cell.key] = frozen.energy * Hartree
                continue
            neighbours = done.setdefault(cell.group, {})
            result = self._solve(cell, self._kept.start(cell, neighbours)).detach()
            found[cell.key] = float(result.extrapolated_energy) * Hartree
            neighbours[cell.scale] = Restart.of(result)
        return torch.tensor([found[cell.key] for cell in cells], dtype=torch.float64)

    def end_batch(self) -> None:
        """Let go of the results that entries of a batch share."""
        self._results.clear()

    def begin_steps(self) -> None:
        """Before a training: kept energies follow a functional from step to step only.

        Where the functional is not what the last step left (`end_steps`), but another one, or has
        weights from elsewhere, kept densities are starts and nothing else.
        """
        self._results.clear()
        if not self._follows():
            self._kept.drop_energies()

    def end_steps(self) -> None:
        """After the last step of a training: this is what kept energies have followed."""
        self._results.clear()
        self._left = self._identity()

    @contextlib.contextmanager
    def between_steps(self) -> Iterator[None]:
        """Around callbacks: as `end_steps` and `begin_steps`, without evaluations."""
        from deepchem_xc.xc.identity import Identity

        self._left = Identity.read(self.functional)
        try:
            yield
        finally:
            if not self._follows():
                self._kept.drop_energies()

    def state_dict(self) -> dict[str, Any]:
        """Kept densities, without orbitals, for a checkpoint."""
        return self._kept.state_dict(self._follows())

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; the functional has the checkpoint's weights already."""
        self._kept.load_state_dict(states)
        self.end_steps()

    def _follows(self) -> bool:
        """Whether the functional is what the last step left."""
        return self._left is not None and self._left.holds(self.functional)

    def _energy_kept(self, cell: Cell, epoch: int | None = None) -> FrozenEnergy | None:
        """What is kept of a cell with the present options; None if it is too old for an epoch."""
        record = self._kept.record(cell)
        if record is None or record.frozen is None or record.options != self._options_of(cell):
            return None
        if not record.frozen.serves(self.functional):
            return None
        if epoch is None or 0 <= epoch - record.epoch < self.interval or self._fresh(record):
            return record.frozen
        return None

    def _fresh(self, record: Record) -> bool:
        """Whether a record was made with what the functional is now."""
        return record.functional is not None and record.functional.equals(self._identity())

    def _options_of(self, cell: Cell) -> str:
        """Digest of the options that the energy of a cell depends on."""
        keywords = self._keywords(cell)
        return digest({name: keywords.get(name) for name in ENERGY_OPTIONS})

    def _identity(self) -> Identity:
        """What the functional is now; the same object until it changes."""
        from deepchem_xc.xc.identity import Identity

        if self._now is None or not self._now.holds(self.functional):
            self._now = Identity.of(self.functional)
        return self._now

    def _keywords(self, cell: Cell) -> dict[str, Any]:
        """Of `planewave.scf`, for a cell."""
        keywords = {**self.options, **cell.keywords}
        keywords["convergence"] = {
            **(self.options.get("convergence") or {}),
            **(cell.keywords.get("convergence") or {}),
        }
        return keywords

    def _solve(self, cell: Cell, start: Restart | None) -> SCFResult:
        keywords = self._keywords(cell)
        keywords["pseudopotentials"] = self._potentials(cell)
        return scf(cell.crystal, self.functional, start=start, **keywords)

    def _potentials(self, cell: Cell) -> dict[str, Pseudopotential]:
        """Loaded once: their atoms and tables are a quarter of the time of a small cell.

        Files count by their content: another one may have come to stand at the same path.
        """
        given, species = cell.keywords.get("pseudopotentials", "gth-pbe"), cell.crystal.species
        sources = list(given.values()) if isinstance(given, Mapping) else [given]
        if not all(isinstance(source, str) for source in sources):
            return load_pseudopotentials(given, species)
        files = cell.files or content_digests(given)
        key = (repr(given), species, tuple(sorted(files.items())))
        if key not in self._loaded:
            check_digests(files)
            self._loaded[key] = load_pseudopotentials(given, species)
        return self._loaded[key]


def _outwards(cells: Sequence[Cell]) -> list[Cell]:
    """From the middle volume outwards: there the initial moments are most likely to be right."""
    return sorted(cells, key=lambda cell: abs(math.log(cell.scale)))
