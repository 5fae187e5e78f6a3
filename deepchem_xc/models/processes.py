"""The processes that `torchrun` started: exchange between them, the same weights in all.

`distributed` builds on this what is particular to a training.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from deepchem_xc.models.failures import sendable

if TYPE_CHECKING:
    from deepchem_xc.models.resumable import ResumableModel

# A process may wait long for another one's calculation. If that process dies, torchrun ends all.
_PATIENCE = timedelta(days=30)
# Relative difference of weights (Euclidean norm) that rounding in one step stays far below.
_ROUNDING = 1e-6

Value = TypeVar("Value")


class Processes:
    """The processes of a program, of which this is one; alone, it exchanges nothing.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and of all.

    Examples
    --------
    >>> processes = Processes()
    >>> processes.once("number", lambda: 3), processes.any(False)
    (3, False)
    """

    def __init__(self) -> None:
        self.rank, self.size = _launched()
        self._group: Any = None

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
        sent = None if own is None else sendable(own)
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

    def check_weights(self, functional: torch.nn.Module) -> None:
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

    def any(self, condition: bool) -> bool:
        """Whether a condition holds in any process."""
        return any(self.exchange("condition", condition))


def _launched() -> tuple[int, int]:
    """Rank of this process, and number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if dist.is_available() and dist.is_torchelastic_launched():
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in state.items()}
