"""Derivatives remember the fixed point, not the way to it."""

from __future__ import annotations

import gc
from typing import Any

import torch
from ase.build import bulk
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.xc import PBE


class LiveBytes(TorchDispatchMode):
    """Largest number of bytes in tensors made while this is active, seen every few operations."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._calls = 0
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                self._known[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._calls += 1
        if self._calls % 10 == 0:
            self._known = {k: v for k, v in self._known.items() if not v[0].expired()}
            self.peak = max(self.peak, sum(size for _, size in self._known.values()))
        return result


def live() -> int:
    """Bytes in all tensors that anything refers to."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):
            storage = thing.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())


def measured(density: float) -> tuple[int, int, int, int]:
    """Steps; tensors saved for a backward pass in the loop; bytes kept; peak of the gradient."""
    saved = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal saved
        saved += 1
        return tensor

    before = live()
    functional = PBE(trainable=True)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        result: SCFResult = scf(
            bulk("Si"),
            functional,
            ecut=120.0,
            kpts=(2, 2, 2),
            convergence={"density": density, "energy": 1.0},
        )
    loop = saved
    kept = live() - before
    with LiveBytes() as memory:
        result.density.square().mean().backward()
    return result.nsteps, loop, kept, memory.peak


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    measured(1e-3)  # what is made once, such as tables of pseudopotentials
    few, many = measured(1e-3), measured(1e-10)
    assert many[0] >= few[0] + 6
    # In each step the potential is an autograd derivative; its graph goes at once.
    assert few[2] > 0 and many[2] < 1.02 * few[2]
    assert few[3] > 0 and many[3] < 1.05 * few[3]
