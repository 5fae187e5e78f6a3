"""Ground states of all calculations of a data set; their densities are kept between epochs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.feat.calculation import Calculation, Start
from deepchem_xc.feat.solver_options import checked_solver_options
from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.losses.observables import extrapolated_energy
from deepchem_xc.models.kept_densities import KeptDensities, KeptDensity
from deepchem_xc.models.side_by_side import outwards, solved
from deepchem_xc.parallel import Jobs, held
from deepchem_xc.results import Result

if TYPE_CHECKING:
    from deepchem_xc.feat.dft_data import DFTEntry
    from deepchem_xc.xc import XCFunctional
    from deepchem_xc.xc.identity import Identity

ResultT = TypeVar("ResultT", bound=Result)


@dataclass
class RefreshReport:
    """Differences between energies at kept densities and self-consistent ones.

    Attributes
    ----------
    differences : list of float
        eV per atom, one for each repeated calculation.
    calculations : int
        Number of self-consistent calculations.
    """

    differences: list[float] = field(default_factory=list)
    calculations: int = 0

    @property
    def largest(self) -> float | None:
        """Largest difference, eV per atom; None if nothing was refreshed."""
        return max((abs(x) for x in self.differences), default=None)


class GroundStates:
    """Self-consistent and frozen energies; each calculation starts from the kept densities.

    Parameters
    ----------
    functional : XCFunctional
        The functional that is trained; its parameters are read at every call.
    interval : int, optional
        Epochs after which a calculation is repeated; in between, its energy comes from the kept
        density. With 1, no energy comes from a kept density.
    options : mapping, optional
        Keywords for all calculations, those of `feat.solver_options.SOLVER_OPTIONS`; a
        calculation's own keywords take precedence, in ``convergence`` key by key. Energies that
        were kept with other options are no longer used; their densities only serve as starts.
    entropy_response : bool, optional
        Exact gradients of smeared energies, at one adjoint equation a calculation; needs an
        interval of 1, for which it is the default.
    cache_dir : path, optional
        Keep densities and orbitals in files there instead of memory; later runs start from them.

    Attributes
    ----------
    report : RefreshReport
        Calculations since it was last replaced.
    on_calculation : callable or None
        Called after each calculation, for a progress bar.
    jobs : int, str, distributed.Client or None
        Where calculations run side by side, as for `parallel_map`; by default each runs here when
        its entry asks for it.

    Raises
    ------
    ValueError
        For an interval below 1, or one above it with `entropy_response`, and other options.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat.crystal_calculation import single_calculation
    >>> from deepchem_xc.planewave import Crystal
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> ground_states = GroundStates(functional, interval=5)
    >>> aluminium = single_calculation(Crystal.from_ase(bulk("Al")), {"ecut": 100.0}, "aluminium")
    >>> for epoch in range(6):
    ...     energy = ground_states.energy(aluminium, epoch)
    ...     with torch.no_grad():
    ...         for parameter in functional.parameters():
    ...             _ = parameter.mul_(1.01)
    >>> ground_states.report.calculations  # in epochs 0 and 5
    2
    >>> ground_states.report.largest < 1e-3  # eV per atom
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
        self.on_calculation: Callable[[Calculation[Any, Any]], None] | None = None
        self.jobs: Jobs | None = None
        self._kept = KeptDensities(cache_dir)
        # Results for the present parameters, shared by the entries of a batch.
        self._results: dict[str, Any] = {}
        self._results_of: Identity | None = None
        self._now: Identity | None = None
        # Calculations of a batch that failed in other processes.
        self._failures: dict[str, Exception] = {}
        # State of the functional after the last training step.
        self._left: Identity | None = None

    @property
    def cache_dir(self) -> Path | None:
        """Folder of the kept densities and orbitals; None if they are in memory."""
        return self._kept.cache_dir

    @property
    def kept(self) -> KeptDensities:
        """Densities and orbitals from which the next calculations start."""
        return self._kept

    def energy(self, calculation: Calculation[Any, Any], epoch: int) -> Tensor:
        """Extrapolated energy for training, 0-d, eV, in the functional's graph.

        Parameters
        ----------
        calculation : Calculation
            The calculation.
        epoch : int
            Present epoch: it determines whether the kept density is still valid.

        Raises
        ------
        SCFConvergenceError
            If it does not converge; the kept density stays as it was.
        """
        if self.entropy_response:
            return extrapolated_energy(self.result(calculation, epoch), True)
        frozen = self._energy_kept(calculation, epoch)
        if frozen is None:
            self._refresh(calculation, epoch)
            frozen = self._energy_kept(calculation, epoch)
            assert frozen is not None
        return frozen.at(self.functional) * Hartree

    def result(self, calculation: Calculation[ResultT, Any], epoch: int) -> ResultT:
        """Ground state at the present parameters, in their graph; its density is kept.

        Raises
        ------
        SCFConvergenceError
            If it does not converge; the kept density stays as it was.
        """
        now = self._identity()
        if self._results_of is not now:
            self._results.clear()
            self._results_of = now
        if calculation.key not in self._results:
            self._results[calculation.key] = self._refresh(calculation, epoch)
        result: ResultT = self._results[calculation.key]
        return result

    @contextlib.contextmanager
    def workers(self) -> Iterator[None]:
        """Context that holds one connection to the cluster of `jobs`."""
        before = self.jobs
        with held(before) as self.jobs:
            try:
                yield
            finally:
                self.jobs = before

    def refresh(self, entries: Sequence[DFTEntry], epoch: int) -> None:
        """Repeat a batch's outdated calculations side by side, where `jobs` says so.

        Of entries that need more than energies, and with `entropy_response`, calculations are
        differentiated: these run here, when their entry asks for them.

        Parameters
        ----------
        entries : sequence of DFTEntry
            The batch.
        epoch : int
            Present epoch.

        Raises
        ------
        JobsError
            If calculations do not come back; the others are kept.
        """
        self._failures.clear()
        if self.jobs is None or self.entropy_response:
            return
        wanted = [entry for entry in entries if entry.kind.from_energies]
        keys = [
            one.key
            for entry in wanted
            for one in entry.calculations
            if self._energy_kept(one, epoch) is None
        ]
        found = solved(wanted, keys, self.functional, self._kept.start, self.options, self.jobs)
        with contextlib.closing(found):
            for one, answer in found:
                if isinstance(answer, Exception):
                    self._failures[one.key] = answer
                else:
                    self._keep(one, answer.start, answer.frozen, epoch)

    def _refresh(self, calculation: Calculation[ResultT, Any], epoch: int) -> ResultT:
        """Repeat a calculation; keep its density and orbitals, but not the result itself."""
        if calculation.key in self._failures:
            raise self._failures[calculation.key]
        result = self._solve(calculation, self._kept.start(calculation))
        self._keep(calculation, calculation.start_of(result), calculation.freeze(result), epoch)
        return result

    def _keep(
        self, calculation: Calculation[Any, Any], start: Start, frozen: FrozenEnergy, epoch: int
    ) -> None:
        """Count and keep a repeated calculation."""
        before = self._energy_kept(calculation)
        self.report.calculations += 1
        if self.on_calculation is not None:
            self.on_calculation(calculation)
        if before is not None:
            with torch.no_grad():
                error = frozen.energy - float(before.at(self.functional))
            self.report.differences.append(error * Hartree / calculation.natom)
        options = calculation.energy_options(self.options)
        self._kept.keep(calculation, start, frozen, epoch, self._identity(), options)

    def energies(self, calculations: Sequence[Calculation[Any, Any]], epoch: int) -> Tensor:
        """`energy` of several, (n,), eV; each calculation starts from the nearest one done."""
        found = {one.key: self.energy(one, epoch) for one in outwards(calculations)}
        return torch.stack([found[one.key] for one in calculations])

    def predicted(self, calculation: Calculation[Any, Any]) -> Any:
        """Ground state at the present parameters, without a graph; nothing of it is kept."""
        if calculation.key in self._results and self._results_of is self._identity():
            return self._results[calculation.key].detach()
        return self._solve(calculation, self._kept.start(calculation)).detach()

    def present_energy(self, calculation: Calculation[Any, Any]) -> float | None:
        """Kept energy (eV) of the functional in its present state."""
        frozen, kept = self._energy_kept(calculation), self._kept.of(calculation)
        return frozen.energy * Hartree if frozen and kept and self._fresh(kept) else None

    def predicted_energies(
        self,
        calculations: Sequence[Calculation[Any, Any]],
        known: Mapping[str, float | Exception] | None = None,
    ) -> Tensor:
        """Self-consistent extrapolated energies at the present parameters, (n,), eV.

        Parameters
        ----------
        calculations : sequence of Calculation
            The calculations.
        known : mapping, optional
            Energies, or failures, that are known already, see `ahead.known_ahead`.
        """
        found: dict[str, float] = {}
        done: dict[str, dict[float, Start]] = {}
        for one in outwards(calculations):
            energy = self.present_energy(one)
            if energy is None and known is not None and one.key in known:
                answer = known[one.key]
                if isinstance(answer, Exception):
                    raise answer
                energy = answer
            if energy is not None:
                found[one.key] = energy
                continue
            neighbours = done.setdefault(one.group, {})
            result = self._solve(one, self._kept.start(one, neighbours)).detach()
            found[one.key] = float(result.extrapolated_energy) * Hartree
            neighbours[one.scale] = one.start_of(result)
        return torch.tensor([found[one.key] for one in calculations], dtype=torch.float64)

    def end_batch(self) -> None:
        """Release the results that entries of a batch share."""
        self._results.clear()
        self._failures.clear()

    def begin_steps(self) -> None:
        """Prepare for training: kept energies stay valid only from one step to the next.

        If the functional or its weights were replaced since the last step (`end_steps`), kept
        densities only serve as starts.
        """
        self._results.clear()
        if not self._follows():
            self._kept.drop_energies()

    def end_steps(self) -> None:
        """Finish training: remember the functional that kept energies belong to."""
        self._results.clear()
        self._left = self._identity()

    @contextlib.contextmanager
    def between_steps(self) -> Iterator[None]:
        """Context for callbacks: as `end_steps` and `begin_steps`, without evaluations."""
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

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; the functional must already have the checkpoint's weights."""
        self._kept.load_state_dict(state)
        self.end_steps()

    def _follows(self) -> bool:
        """Whether the functional is unchanged since the last step."""
        return self._left is not None and self._left.holds(self.functional)

    def _energy_kept(
        self, calculation: Calculation[Any, Any], epoch: int | None = None
    ) -> FrozenEnergy | None:
        """Kept energy for the present options; None if it is too old for an epoch."""
        kept = self._kept.of(calculation)
        if kept is None or kept.frozen is None:
            return None
        # Checkpoints of 0.1.0 do not contain options: assume the same ones.
        if kept.options not in (None, calculation.energy_options(self.options)):
            return None
        if not kept.frozen.serves(self.functional):
            return None
        if epoch is None or 0 <= epoch - kept.epoch < self.interval or self._fresh(kept):
            return kept.frozen
        return None

    def _fresh(self, kept: KeptDensity) -> bool:
        """Whether a density was made with the functional in its present state."""
        return kept.functional is not None and kept.functional.equals(self._identity())

    def _identity(self) -> Identity:
        """Present state of the functional; the same object until it changes."""
        from deepchem_xc.xc.identity import Identity

        if self._now is None or not self._now.holds(self.functional):
            self._now = Identity.of(self.functional)
        return self._now

    def _solve(self, calculation: Calculation[ResultT, Any], start: Start | None) -> ResultT:
        return calculation.solve(self.functional, start, self.options)
