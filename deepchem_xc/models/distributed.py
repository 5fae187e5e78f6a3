"""One training in several processes, as `torchrun` starts them: who computes what, and their sums.

All processes hold the same functional and see the same batches. Each group of calculations (the
volumes of one structure) belongs to one process, which keeps its densities from epoch to epoch.
Energies and values are exchanged as numbers, so that every process knows the whole loss, and
differentiates it with respect to its own calculations; the sum of these gradients is that of a
single process. In a single process nothing is exchanged.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch import distributed as dist

from deepchem_xc.feat.calculation import digest
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.models.dft_xc import DFTXC, EXPECTED_FAILURES, EntryError

if TYPE_CHECKING:
    from deepchem_xc.models.ground_states import GroundStates, RefreshReport
    from deepchem_xc.models.resumable import ResumableModel

# A process may wait long for another one's calculation. If that process dies, torchrun ends all.
_PATIENCE = timedelta(days=30)
# Relative difference of weights (Euclidean norm) that rounding in one step stays far below.
_ROUNDING = 1e-6

Value = TypeVar("Value")


@dataclass
class _Share:
    """What one process computed for a batch, as numbers."""

    batch: str
    energies: dict[str, float] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)
    failures: dict[int, Exception] = field(default_factory=dict)
    error: Exception | None = None


class Team:
    """The processes of a training; one process alone is a team too.

    Examples
    --------
    >>> team = Team()
    >>> team.join()
    >>> team.leads, team.size, team.exchange("numbers", 3)
    (True, 1, [3])
    """

    def __init__(self) -> None:
        self.rank, self.size = _launched()
        self._group: Any = None
        # Process of each group of calculations, and the number of calculations of each process.
        self._owners: dict[str, int] = {}
        self._loads: list[int] = [0] * self.size
        # Kept densities that all processes have.
        self._shared: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: Any) -> None:
        self.__init__()  # type: ignore[misc]

    @property
    def leads(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def join(self) -> None:
        """Connect to the other processes, if `torchrun` started more than one."""
        rank, size = _launched()
        if size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo", timeout=_PATIENCE)
        if (rank, size) != (self.rank, self.size):
            self.__init__()  # type: ignore[misc]
        if size > 1 and self._group is None:
            gloo = dist.get_backend() == "gloo"
            group = dist.group.WORLD if gloo else dist.new_group(backend="gloo", timeout=_PATIENCE)
            self._group = group

    def exchange(self, what: str, content: Any) -> list[Any]:
        """Content of all processes, in their order; all of them must call this.

        Parameters
        ----------
        what : str
            Name of the content, the same in all processes.
        content : object
            Anything that can be pickled.

        Raises
        ------
        RuntimeError
            If the processes are not at the same place.
        """
        if self.size == 1:
            return [content]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, (what, content), group=self._group)
        places = {name for name, _ in found}
        if len(places) > 1:
            raise RuntimeError(
                "the processes of this training are at different places "
                f"({', '.join(sorted(places))}): give all of them the same data set, options and "
                "callbacks."
            )
        return [theirs for _, theirs in found]

    def once(self, what: str, compute: Callable[[], Value]) -> Value:
        """Compute something in the first process, for all; all of them must call this.

        Parameters
        ----------
        what : str
            Its name, the same in all processes.
        compute : callable
            Called in the first process; returns anything that can be pickled.

        Raises
        ------
        Exception
            The first process's error, in all processes.
        """
        found: Any = None
        own: Exception | None = None
        if self.leads:
            try:
                found = compute()
            except Exception as error:
                if self.size == 1:
                    raise
                own = error
        sent = None if own is None else _sendable(own)
        first, failure = self.exchange(what, (found, sent))[0]
        if own is not None:
            raise own
        if failure is not None:
            raise failure
        value: Value = first
        return value

    def same_weights(self, functional: torch.nn.Module) -> None:
        """Give all processes the first one's parameters and buffers.

        Raises
        ------
        ValueError
            If their names or shapes differ between processes.
        """
        if self.size == 1:
            return
        state = functional.state_dict()
        shapes = [(name, tuple(value.shape)) for name, value in state.items()]
        found = self.exchange("weights", (shapes, _on_cpu(state) if self.leads else None))
        for rank, (theirs, _) in enumerate(found):
            if theirs != found[0][0]:
                raise ValueError(
                    f"process {rank} trains another functional than process 0: the parameters are "
                    f"{theirs} and {found[0][0]}. All processes must make the same model."
                )
        first = found[0][1]
        # Only what differs: kept energies belong to the present weights.
        with torch.no_grad():
            for name, value in state.items():
                if not torch.equal(value.cpu(), first[name]):
                    value.copy_(first[name])

    def restore(self, model: ResumableModel) -> None:
        """Restore the latest checkpoint in the first process, and give all of them its state."""

        def state() -> dict[str, Any] | None:
            model.restore()
            return model.training_state().state_dict() if self.size > 1 else None

        first = self.once("state", state)
        if first is not None and not self.leads:
            model.load_training_state(first, "the state of process 0")

    def values(
        self,
        module: DFTXC,
        entries: Sequence[DFTEntry],
        epoch: int,
        numbers: Sequence[ArrayLike] = (),
    ) -> Iterator[Tensor | EntryError]:
        """Values of a batch's entries, or their errors, in the order of the entries.

        The graph of each value leads to those calculations that are this process's own.

        Parameters
        ----------
        module : DFTXC
            Computes values.
        entries : sequence of DFTEntry
            The batch.
        epoch : int
            Present epoch.
        numbers : sequence of array_like, optional
            Labels and weights of the batch, which must be the same in all processes.

        Raises
        ------
        RuntimeError
            If another process failed, or has another batch or other weights.
        """
        if self.size == 1:
            yield from (_attempt(module, entry, epoch) for entry in entries)
            return
        self._check_weights(module.functional)
        self._assign(entries)
        keys = [[one.key for one in entry.calculations] for entry in entries]
        content = hashlib.sha256()
        for array in numbers:
            content.update(np.asarray(array, dtype=np.float64).tobytes())
        types = [entry.entry_type for entry in entries]
        share = _Share(digest([keys, types, epoch, content.hexdigest()]))
        graphs: dict[str, Tensor] = {}
        values: dict[int, Tensor] = {}
        try:
            self._compute(module, entries, epoch, graphs, values, share)
        except Exception as error:
            share.error = error
        share.energies = {key: float(energy.detach()) for key, energy in graphs.items()}
        share.values = {i: value.detach().cpu() for i, value in values.items()}
        shares = self._received(share)
        energies = {key: value for one in shares for key, value in one.energies.items()}
        known = {i: value for one in shares for i, value in one.values.items()}
        failures = {i: error for one in reversed(shares) for i, error in one.failures.items()}
        device = next(module.functional.parameters()).device

        def energy(key: str) -> Tensor:
            if key in graphs:
                return graphs[key]
            return torch.tensor(energies[key], dtype=torch.float64, device=device)

        for i, entry in enumerate(entries):
            if i in failures:
                yield EntryError([entry], failures[i], epoch)
            elif entry.kind.from_energies:
                found = torch.stack([energy(key) for key in keys[i]])
                yield _attempt(module, entry, epoch, found)
            else:
                yield values[i] if i in values else known[i].to(device)

    def _compute(
        self,
        module: DFTXC,
        entries: Sequence[DFTEntry],
        epoch: int,
        graphs: dict[str, Tensor],
        values: dict[int, Tensor],
        share: _Share,
    ) -> None:
        """Compute this process's part of a batch: energies by key, values and failures by entry."""
        for i, entry in enumerate(entries):
            own = [one for one in entry.calculations if self._owners[one.group] == self.rank]
            if not entry.kind.from_energies:
                if self._owners[entry.calculations[0].group] == self.rank:
                    value = _attempt(module, entry, epoch)
                    if isinstance(value, EntryError):
                        share.failures[i] = _sendable(value.error)
                    else:
                        values[i] = value
                continue
            todo = [one for one in own if one.key not in graphs]
            if not todo:
                continue
            try:
                found = module.ground_states.energies(todo, epoch)
            except EXPECTED_FAILURES as error:
                share.failures[i] = _sendable(error)
            else:
                graphs.update(zip((one.key for one in todo), found, strict=True))

    def _received(self, share: _Share) -> list[_Share]:
        """Parts of all processes, checked."""
        own = share.error
        if own is not None:
            share.error = _sendable(own)
        shares: list[_Share] = self.exchange("values", share)
        for rank, one in enumerate(shares):
            if one.error is not None:
                if rank == self.rank and own is not None:
                    raise own
                # All processes must take the same way: a line search turns back at a ValueError.
                kind = ValueError if isinstance(one.error, ValueError) else RuntimeError
                raise kind(
                    f"process {rank} failed: {type(one.error).__name__}: {one.error}"
                ) from one.error
            if one.batch != shares[0].batch:
                raise RuntimeError(
                    f"process {rank} has another batch than process 0: all processes must train on "
                    "the same data set with the same seed and batch_size. If they are trainings of "
                    "their own, start them without torchrun."
                )
        return shares

    def _check_weights(self, functional: torch.nn.Module) -> None:
        """Give all processes the first one's parameters if rounding made them differ.

        Other processors may round a step in another way.

        Raises
        ------
        RuntimeError
            If they differ by more.
        """
        named = {name: value.detach() for name, value in functional.named_parameters()}
        own = _on_cpu(named)
        content = hashlib.sha256()
        for value in own.values():
            content.update(value.numpy().tobytes())
        digests = self.exchange("digests of weights", content.hexdigest())
        if len(set(digests)) == 1:
            return
        found = self.exchange("present weights", own)
        for rank, theirs in enumerate(found):
            for name, first in found[0].items():
                if float((theirs[name] - first).norm()) > _ROUNDING * float(first.norm()):
                    raise RuntimeError(
                        f"process {rank} has other weights than process 0 ({name}): callbacks that "
                        "change weights must run in all processes, and do the same."
                    )
        for name, value in named.items():
            value.copy_(found[0][name])

    def _assign(self, entries: Sequence[DFTEntry]) -> None:
        """Choose a process for each new group, the same in all processes: the largest first."""
        sizes: dict[str, set[str]] = {}
        for entry in entries:
            for one in entry.calculations:
                if one.group not in self._owners:
                    sizes.setdefault(one.group, set()).add(one.key)
        for group, keys in sorted(sizes.items(), key=lambda item: -len(item[1])):
            rank = self._loads.index(min(self._loads))
            self._owners[group] = rank
            self._loads[rank] += len(keys)

    def backward(self, total: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        """Store the gradients of the whole loss in the parameters of every process.

        Parameters
        ----------
        total : Tensor
            Loss, 0-d; its graph leads to this process's own calculations.
        parameters : iterable of Tensor
            All parameters of the functional, without gradients before.

        Returns
        -------
        Tensor
            The first process's loss, 0-d, without a graph: all decide by the same number.

        Raises
        ------
        Exception
            The first process's error, in all processes.
        """
        if self.size == 1:
            total.backward()
            return total.detach()
        own: Exception | None = None
        try:
            if total.requires_grad:
                total.backward()
        except Exception as error:
            own = error
        known = list(parameters)
        gradients = [None if p.grad is None else p.grad.cpu() for p in known]
        sent = None if own is None else _sendable(own)
        found = self.exchange("gradients", (gradients, float(total.detach()), sent))
        for rank, (_, _, failure) in enumerate(found):
            if failure is not None:
                raise own if own is not None and rank == self.rank else failure
        for parameter, *parts in zip(known, *(theirs for theirs, _, _ in found), strict=True):
            given = [part for part in parts if part is not None]
            # In the order of the processes, so that all of them get the same digits.
            parameter.grad = sum(given[1:], given[0]).to(parameter.device) if given else None
        return torch.full_like(total.detach(), found[0][1])

    def any(self, condition: bool) -> bool:
        """Whether a condition holds in any process."""
        return any(self.exchange("condition", condition))

    def merged(self, report: RefreshReport) -> RefreshReport:
        """Report of the calculations of all processes."""
        if self.size == 1:
            return report
        found = self.exchange("report", report)
        differences = [x for one in found for x in one.differences]
        return type(report)(differences, sum(one.calculations for one in found))

    def share_densities(self, ground_states: GroundStates) -> None:
        """Give all processes the kept densities of the others, without orbitals."""
        if self.size == 1:
            return
        kept = ground_states.kept
        new = [
            key
            for key, density in kept.densities.items()
            if self._owners.get(density.group) == self.rank and self._shared.get(key) is not density
        ]
        for rank, theirs in enumerate(self.exchange("densities", kept.state_dict(keys=new))):
            if rank != self.rank:
                kept.update_state(theirs)
        self._shared = dict(kept.densities)


def _launched() -> tuple[int, int]:
    """Rank of this process, and number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if dist.is_available() and dist.is_torchelastic_launched():
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def _attempt(
    module: DFTXC, entry: DFTEntry, epoch: int, energies: Tensor | None = None
) -> Tensor | EntryError:
    try:
        return module.training_value(entry, epoch, energies)
    except EntryError as error:
        return error


def _sendable(error: Exception) -> Exception:
    """An error that can be pickled; what is expected stays expected."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = FloatingPointError if isinstance(error, EXPECTED_FAILURES) else RuntimeError
        return kind(f"{type(error).__name__}: {error}")
    return error


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in state.items()}
