"""Comparison of devices: times and results of the same calculations.

::

    python benchmarks/devices.py                          # a GPU, and all cores of its machine
    python benchmarks/devices.py --systems si,al-paw --devices cuda:1,cpu-4,cpu-1
    python benchmarks/devices.py --parts scf --devices cuda,cpu-16,cpu-1

Printed, and written as JSON: seconds (wall clock, the better of two runs where the first takes less
than five) of the self-consistent field, of forces and stress, and of the gradient of a loss on the
density with respect to PBE's three constants; and how far energies, forces and gradients are from
the first device's. ``cpu-4`` is the CPU with 4 threads.
Small crystals are those of ``gradients.py``, some with PAW datasets too; the large ones have
displaced atoms and no symmetry.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from ase import Atoms
from ase.build import bulk
from gradients import loss_of, settings
from scf_systems import ABINIT_SYSTEMS

from deepchem_xc._files import write_json
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.tables import as_table
from deepchem_xc.xc import PBE

Value = TypeVar("Value")
PARTS = ("scf", "forces and stress", "gradient")
_APART = ("energy (Ha)", "forces (Ha/bohr)", "gradient")
# Seconds of a first run above which there is no second one.
_ONE_RUN = 5.0


def displaced(symbol: str, times: int) -> Atoms:
    """Cubic cells along each axis, atoms moved by about 0.03 Angstrom."""
    atoms = bulk(symbol, cubic=True) * (times, times, times)
    atoms.rattle(0.03, seed=0)
    return atoms


def nickel() -> Atoms:
    """Ferromagnetic."""
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.7])
    return atoms


FIXED: dict[str, Any] = {"occupations": {"name": "fixed"}}
PAW: dict[str, Any] = {"pseudopotentials": "paw-pbe"}
# Name: structure, keywords of `scf` (eV).
STRUCTURES: dict[str, tuple[Atoms, dict[str, Any]]] = {
    "Al-PAW": (bulk("Al"), PAW | {"ecut": 400.0, "kpts": {"size": (8, 8, 8), "gamma": True}}),
    "Ni-PAW": (nickel(), PAW | {"ecut": 500.0, "kpts": {"size": (6, 6, 6), "gamma": True}}),
    "Si8": (displaced("Si", 1), FIXED | {"ecut": 300.0, "kpts": (2, 2, 2)}),
    "Al32": (displaced("Al", 2), {"ecut": 300.0, "kpts": (2, 2, 2)}),
    "Si64": (displaced("Si", 2), FIXED | {"ecut": 300.0, "kpts": (1, 1, 1)}),
}


@dataclass(frozen=True)
class Device:
    """A torch device and, if it is the CPU, its number of threads."""

    name: str

    @property
    def torch(self) -> str:
        """Name as torch knows it."""
        return self.name.partition("-")[0]

    def use(self) -> None:
        """Give torch this device's threads."""
        threads = self.name.partition("-")[2]
        if threads:
            torch.set_num_threads(int(threads))

    def wait(self) -> None:
        """Until its work is done."""
        if self.torch.startswith("cuda"):
            torch.cuda.synchronize(self.torch)


def calculation(name: str, device: Device) -> Callable[[Any], SCFResult]:
    """The self-consistent field of a system, as a function of the functional."""
    if name in STRUCTURES:
        structure, keywords = STRUCTURES[name]
        return lambda functional: scf(structure, functional, device=device.torch, **keywords)
    basis, keywords = settings(ABINIT_SYSTEMS[name], device.torch)
    return lambda functional: scf(basis, functional, **keywords)


def timed(action: Callable[[], Value], device: Device) -> tuple[Value, float]:
    """Result of the better of two runs and its seconds, including the device's work."""
    runs: list[tuple[Value, float]] = []
    while len(runs) < 2 and not (runs and runs[0][1] > _ONE_RUN):
        start = time.perf_counter()
        value = action()
        device.wait()
        runs.append((value, time.perf_counter() - start))
    return min(runs, key=lambda run: run[1])


def measure(
    name: str, device: Device, parts: list[str]
) -> tuple[dict[str, Any], list[torch.Tensor]]:
    """Times and memory of one system on one device; what it computed, on the CPU."""
    device.use()
    functional = PBE(trainable=True).to(device.torch)
    solve = calculation(name, device)
    result, seconds = timed(lambda: solve(functional), device)
    entry: dict[str, Any] = {"steps": result.nsteps, "scf": seconds}
    plain = result.detach()
    found = [plain.free_energy]

    def forces_and_stress() -> tuple[torch.Tensor, torch.Tensor]:
        fresh = replace(plain, _cache={})
        return fresh.forces, fresh.stress

    if "forces and stress" in parts:
        (forces, _), entry["forces and stress"] = timed(forces_and_stress, device)
        found.append(forces)
    if "gradient" in parts:
        parameters = tuple(functional.parameters())
        gradient, entry["gradient"] = timed(
            lambda: torch.autograd.grad(loss_of(replace(result, _cache={})), parameters), device
        )
        found.append(torch.stack(gradient))
    if device.torch.startswith("cuda"):
        entry["peak_GiB"] = torch.cuda.max_memory_allocated(device.torch) / 2**30
        torch.cuda.reset_peak_memory_stats(device.torch)
    return entry, [tensor.detach().cpu() for tensor in found]


def compare(name: str, devices: list[Device], parts: list[str]) -> dict[str, Any]:
    """One system on all devices."""
    report: dict[str, Any] = {}
    reference: list[torch.Tensor] = []
    for device in devices:
        entry, found = measure(name, device, parts)
        if reference:
            apart = (float((a - b).abs().max()) for a, b in zip(reference, found, strict=True))
            entry["apart"] = dict(zip(_APART, apart, strict=False))
        reference = reference or found
        report[device.name] = entry
    return report


def table(report: dict[str, Any], devices: list[Device], parts: list[str]) -> str:
    """Seconds of all systems, and their ratios to the first device's."""
    rows = []
    for name, entries in report.items():
        row: list[Any] = [name]
        for part in parts:
            seconds = [entries[device.name][part] for device in devices]
            row += [f"{x:.2f}" for x in seconds]
            row += [f"{x / seconds[0]:.1f}" for x in seconds[1:]]
        rows.append(row)
    headers = ["system"]
    for part in parts:
        headers += [f"{part}, {device.name} (s)" for device in devices]
        headers += [f"{device.name} / {devices[0].name}" for device in devices[1:]]
    return as_table(rows, headers)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*ABINIT_SYSTEMS, *STRUCTURES]
    usual = f"cuda,cpu-{torch.get_num_threads()}"
    parser.add_argument("--systems", default=",".join(names), help="of " + ", ".join(names))
    parser.add_argument("--devices", default=usual, help="such as cuda, cuda:1, cpu-4")
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--output", type=Path, default=Path("benchmark-results/devices.json"))
    options = parser.parse_args()
    devices = [Device(name) for name in options.devices.split(",")]
    parts = [part for part in PARTS if part in options.parts.split(",")]
    wanted = options.systems.lower().split(",")
    if unknown := set(wanted) - {name.lower() for name in names}:
        parser.error(f"unknown systems {sorted(unknown)}; there are {', '.join(names)}")
    if "scf" not in parts or len(parts) != len(options.parts.split(",")):
        parser.error(f"--parts takes {', '.join(PARTS)}, scf among them, got {options.parts}")
    for device in devices:
        if not re.fullmatch(r"cpu(-[1-9]\d*)?|cuda(:\d+)?", device.name):
            parser.error(f"--devices takes cuda, cuda:1, cpu or cpu-4, got {device.name}")
    if any(d.torch.startswith("cuda") for d in devices) and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --devices names others")
    for device in devices:
        scf(bulk("Si"), "PBE", ecut=100.0, device=device.torch)  # warms up
    report: dict[str, Any] = {}
    for name in (n for n in names if n.lower() in wanted):
        report[name] = compare(name, devices, parts)
        print(name, report[name], flush=True)
        write_json(options.output, {"torch": torch.__version__, "systems": report})
    print(table(report, devices, parts))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
