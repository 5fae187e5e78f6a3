"""Comparison of two devices: times and results of the same calculations.

::

    python benchmarks/devices.py                          # a GPU and the CPU of the same machine
    python benchmarks/devices.py --systems si,al64 --devices cuda:1 --threads 4

Printed, and written as JSON: seconds (wall clock, the better of two runs) of the self-consistent
field, of forces and stress, and of the gradient of a loss on the density with respect to PBE's
three constants; their ratios; and the differences of energies, forces and gradients.
Small crystals are those of ``gradients.py``; the large ones have displaced atoms and no symmetry.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from ase.build import bulk
from gradients import loss_of, settings
from scf_systems import ABINIT_SYSTEMS

from deepchem_xc._files import write_json
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.xc import PBE

Value = TypeVar("Value")
PARTS = ("scf", "forces_and_stress", "gradient")


def displaced(symbol: str) -> Any:
    """Two cubic cells along each axis, atoms moved by about 0.03 Angstrom."""
    atoms = bulk(symbol, cubic=True) * (2, 2, 2)
    atoms.rattle(0.03, seed=0)
    return atoms


# Name: structure or entry of `ABINIT_SYSTEMS`, keywords of `scf` (eV).
LARGE: dict[str, tuple[Any, dict[str, Any]]] = {
    "Al32": (displaced("Al"), {"ecut": 300.0, "kpts": (2, 2, 2)}),
    "Si64": (
        displaced("Si"),
        {"ecut": 300.0, "kpts": (1, 1, 1), "occupations": {"name": "fixed"}},
    ),
}


def calculation(name: str, device: str) -> Callable[[Any], SCFResult]:
    """The self-consistent field of a system, as a function of the functional."""
    if name in LARGE:
        structure, keywords = LARGE[name]
        return lambda functional: scf(structure, functional, device=device, **keywords)
    basis, keywords = settings(ABINIT_SYSTEMS[name], device)
    return lambda functional: scf(basis, functional, **keywords)


def timed(action: Callable[[], Value], device: str) -> tuple[Value, float]:
    """Result of the better of two runs and its seconds, including the device's work."""
    runs = []
    for _ in range(2):
        start = time.perf_counter()
        value = action()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        runs.append((value, time.perf_counter() - start))
    return min(runs, key=lambda run: run[1])


def measure(name: str, device: str) -> tuple[dict[str, Any], list[torch.Tensor]]:
    """Times and memory of one system on one device; energy, forces and gradient, on the CPU."""
    functional = PBE(trainable=True).to(device)
    solve = calculation(name, device)
    result, seconds = timed(lambda: solve(functional), device)
    entry: dict[str, Any] = {"steps": result.nsteps, "scf": seconds}
    plain = result.detach()

    def forces_and_stress() -> tuple[torch.Tensor, torch.Tensor]:
        fresh = replace(plain, _cache={})
        return fresh.forces, fresh.stress

    (forces, _), entry["forces_and_stress"] = timed(forces_and_stress, device)
    parameters = tuple(functional.parameters())
    gradient, entry["gradient"] = timed(
        lambda: torch.autograd.grad(loss_of(replace(result, _cache={})), parameters), device
    )
    if device.startswith("cuda"):
        entry["peak_GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
    found = (plain.free_energy, forces, torch.stack(gradient))
    return entry, [tensor.detach().cpu() for tensor in found]


def show(name: str, entry: dict[str, Any], devices: list[str]) -> None:
    """Print one system."""
    print(name)
    for device in devices:
        times = "  ".join(f"{part} {entry[device][part]:.2f} s" for part in PARTS)
        print(f"  {device:6} {times}  ({entry[device]['steps']} steps)")
    for part in PARTS:
        print(f"  {part}: {entry['ratios'][part]:.1f} times as fast on {devices[0]}")
    print("  apart: " + ", ".join(f"{k} {v:.0e}" for k, v in entry["apart"].items()), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*ABINIT_SYSTEMS, *LARGE]
    parser.add_argument("--systems", default=",".join(names), help="of " + ", ".join(names))
    parser.add_argument("--devices", default="cuda,cpu", help="two, the faster one first")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results/cuda.json"))
    options = parser.parse_args()
    devices = options.devices.split(",")
    wanted = options.systems.lower().split(",")
    if unknown := set(wanted) - {name.lower() for name in names}:
        parser.error(f"unknown systems {sorted(unknown)}; there are {', '.join(names)}")
    if len(devices) != 2:
        parser.error(f"--devices takes two, separated by a comma, got {options.devices}")
    if any(d.startswith("cuda") for d in devices) and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --devices names others")
    torch.set_num_threads(options.threads)
    for device in devices:
        scf(bulk("Si"), "PBE", ecut=100.0, device=device)  # warms up
    report: dict[str, Any] = {"threads": options.threads}
    for name in (n for n in names if n.lower() in wanted):
        (one, here), (other, there) = (measure(name, device) for device in devices)
        apart = (float((a - b).abs().max()) for a, b in zip(here, there, strict=True))
        labels = ("energy (Ha)", "forces (Ha/bohr)", "gradient")
        report[name] = {
            devices[0]: one,
            devices[1]: other,
            "ratios": {part: other[part] / one[part] for part in PARTS},
            "apart": dict(zip(labels, apart, strict=True)),
        }
        show(name, report[name], devices)
        write_json(options.output, report)
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
