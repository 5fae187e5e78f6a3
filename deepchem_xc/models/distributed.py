"""One training in several processes, as `torchrun` starts them: who computes what, and their sums.

All processes hold the same functional and see the same batches. Each group of calculations (the
volumes of one structure) belongs to one process, which keeps its densities from epoch to epoch.
Energies and values are exchanged as numbers, so that every process knows the whole loss, and
differentiates it with respect to its own calculations; the sum of these gradients is that of a
single process. In a single process nothing is exchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepchem_xc.feat.calculation import digest
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.models.dft_xc import DFTXC, EntryError
from deepchem_xc.models.failures import EXPECTED_FAILURES, sendable
from deepchem_xc.models.processes import Processes

if TYPE_CHECKING:
    from deepchem_xc.models.ground_states import GroundStates, RefreshReport


@dataclass
class _Share:
    """What one process computed for a batch, as numbers."""

    batch: str
    energies: dict[str, float] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)
    failures: dict[int, Exception] = field(default_factory=dict)
    error: Exception | None = None


class Team(Processes):
    """The processes of a training and what each computes; one process alone is a team too.

    Examples
    --------
    >>> team = Team()
    >>> team.join()
    >>> team.leads, team.size, team.exchange("numbers", 3)
    (True, 1, [3])
    """

    def __init__(self) -> None:
        super().__init__()
        # Process of each group of calculations, and the number of calculations of each process.
        self._owners: dict[str, int] = {}
        self._loads: list[int] = [0] * self.size
        # Kept densities that all processes have.
        self._shared: dict[str, Any] = {}

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
        self.check_weights(module.functional)
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
                        share.failures[i] = sendable(value.error)
                    else:
                        values[i] = value
                continue
            todo = [one for one in own if one.key not in graphs]
            if not todo:
                continue
            try:
                found = module.ground_states.energies(todo, epoch)
            except EXPECTED_FAILURES as error:
                share.failures[i] = sendable(error)
            else:
                graphs.update(zip((one.key for one in todo), found, strict=True))

    def _received(self, share: _Share) -> list[_Share]:
        """Parts of all processes, checked."""
        own = share.error
        if own is not None:
            share.error = sendable(own)
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
        sent = None if own is None else sendable(own)
        found = self.exchange("gradients", (gradients, float(total.detach()), sent))
        for rank, (_, _, failure) in enumerate(found):
            if failure is not None:
                raise own if own is not None and rank == self.rank else failure
        for parameter, *parts in zip(known, *(theirs for theirs, _, _ in found), strict=True):
            given = [part for part in parts if part is not None]
            # In the order of the processes, so that all of them get the same digits.
            parameter.grad = sum(given[1:], given[0]).to(parameter.device) if given else None
        return torch.full_like(total.detach(), found[0][1])

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


def _attempt(
    module: DFTXC, entry: DFTEntry, epoch: int, energies: Tensor | None = None
) -> Tensor | EntryError:
    try:
        if energies is None:
            return module.training_value(entry, epoch)
        return module.training_value(entry, epoch, energies)
    except EntryError as error:
        return error
