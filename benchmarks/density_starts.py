"""What a supplied density saves in the self-consistency loop, by its error.

For each crystal: steps, applications of H to a band, and processor time from the superposition of
atoms, from densities of known error, from the converged density (the ceiling of what a density can
save), and from density and orbitals. With --model the supplied density is a trained model's, for
structures of a set of densities. A density with an error is the superposition plus most of the
difference plus smooth noise where the electrons are, half of the error from each, with the right
number of electrons. The table that this prints is behind "Starting the loop" in docs/densities.md.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from torch import Tensor

from deepchem_xc.planewave import DensityRecord, SCFResult, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.problem import KohnShamProblem

#: Errors of the supplied densities, per cent of the electrons.
ERRORS = (2.0, 1.0, 0.5, 0.2)
_SMOOTH = 1.0  # length of the noise, bohr


def rattled(atoms: Atoms, stdev: float, ecut: float, kpts: tuple[int, ...]) -> dict[str, Any]:
    """A crystal with displaced atoms, in Angstrom."""
    atoms.rattle(stdev, seed=1)
    return {"target": atoms, "ecut": ecut, "kpts": kpts}


def hexagonal_silicon(kind: str) -> Atoms:
    """Lonsdaleite, or simple hexagonal silicon."""
    if kind == "simple":
        a = 2.65
        cell = [[a, 0, 0], [-a / 2, a * 0.75**0.5, 0], [0, 0, 0.94 * a]]
        return Atoms("Si", cell=cell, pbc=True)
    a, c, u = 3.86, 6.31, 0.0625
    cell = [[a, 0, 0], [-a / 2, a * 0.75**0.5, 0], [0, 0, c]]
    third = [[1 / 3, 2 / 3, u], [2 / 3, 1 / 3, 0.5 + u]]
    places = [*third, *([x, y, 0.5 - z if z < 0.3 else 1.5 - z] for x, y, z in third)]
    return Atoms("Si4", scaled_positions=places, cell=cell, pbc=True)


def vacancy() -> Atoms:
    """Seven of eight atoms of aluminium."""
    atoms = make_supercell(bulk("Al"), 2 * np.eye(3, dtype=int))
    del atoms[0]
    return atoms


def magnet(symbol: str, moment: float, ecut: float) -> dict[str, Any]:
    """A ferromagnet on a coarse mesh."""
    atoms = bulk(symbol)
    atoms.set_initial_magnetic_moments([moment])
    return {"target": atoms, "ecut": ecut, "kpts": (3, 3, 3)}


SYSTEMS: dict[str, Callable[[], dict[str, Any]]] = {
    "Si, 8 atoms rattled": lambda: rattled(bulk("Si", cubic=True), 0.1, 150.0, (1, 1, 1)),
    "Si lonsdaleite": lambda: rattled(hexagonal_silicon("lonsdaleite"), 0.0, 200.0, (2, 2, 2)),
    "Si simple hexagonal": lambda: rattled(hexagonal_silicon("simple"), 0.0, 200.0, (4, 4, 4)),
    "AlP": lambda: rattled(bulk("AlP", "zincblende", a=5.45), 0.05, 200.0, (2, 2, 2)),
    "AlAs": lambda: rattled(bulk("AlAs", "zincblende", a=5.66), 0.05, 200.0, (2, 2, 2)),
    "LiCl": lambda: rattled(bulk("LiCl", "rocksalt", a=5.13), 0.05, 300.0, (2, 2, 2)),
    "Al": lambda: rattled(bulk("Al"), 0.0, 200.0, (6, 6, 6)),
    "Al, vacancy": lambda: rattled(vacancy(), 0.05, 120.0, (2, 2, 2)),
    "Mg": lambda: rattled(bulk("Mg"), 0.05, 120.0, (4, 4, 3)),
    "Na": lambda: rattled(bulk("Na", cubic=True), 0.1, 200.0, (3, 3, 3)),
    "Ni": lambda: magnet("Ni", 0.6, 300.0),
    "Fe": lambda: magnet("Fe", 2.2, 300.0),
}


class Supplied(NamedTuple):
    """A source of densities that always returns the same one."""

    fields: Fields

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """The density, whatever the problem."""
        return self.fields


class Cost(NamedTuple):
    """Steps, applications of H to a band (in double precision), seconds, Hartree, and mu_B.

    `seconds` are the processor's and `wall` those from structure to converged energy, both with the
    prediction of the density.
    """

    steps: int
    applications: float
    double: float
    seconds: float
    wall: float
    energy: float
    moment: float
    sweeps: list[float]


def distance(result: SCFResult, change: Tensor) -> float:
    """Integral of the absolute value of a change of the density, per cent of the electrons."""
    basis = result.basis
    grid = basis.to_grid(change.sum(0))
    return 100.0 * float(grid.abs().mean() * basis.volume) / result.problem.nelectrons


def with_error(result: SCFResult, percent: float) -> Supplied:
    """The converged density with an error like a model's."""
    problem, basis = result.problem, result.basis
    atoms, density = problem.starting_fields().density, result.fields.density
    generator = torch.Generator().manual_seed(7)
    wave = basis.to_sphere(torch.randn(basis.fft_size, dtype=torch.float64, generator=generator))
    wave = wave * torch.exp(-0.5 * _SMOOTH**2 * basis.density_q2)
    noise = basis.to_sphere(basis.to_grid(wave) * basis.to_grid(atoms))
    noise = noise - atoms * (noise[:, :1] / atoms[:, :1])
    noise = basis.symmetrize(noise)
    parts = [part / distance(result, part) for part in (atoms - density, noise)]
    error = parts[0] + parts[1]
    return Supplied(Fields(density + error * percent / distance(result, error)))


def cost(keywords: dict[str, Any]) -> tuple[Cost, SCFResult]:
    """What one calculation costs."""
    every, double = 0, 0
    after: list[int] = []
    original = Hamiltonian.apply

    def counted(self: Hamiltonian, block: Tensor, *arguments: Any) -> Tensor:
        nonlocal every, double
        rows = block[..., 0].numel()
        every += rows
        double += rows * (block.dtype in (torch.float64, torch.complex128))
        return original(self, block, *arguments)

    began, wall = time.process_time(), time.perf_counter()
    with patch.object(Hamiltonian, "apply", counted):
        result = scf(**keywords, callback=lambda step: after.append(every))
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    bands = result.eigenvalues.numel()
    sweeps = [float(x) / bands for x in np.diff([0, *after, every])]
    moment = result.history[-1].get("moment", 0.0)
    free = float(result.free_energy)
    numbers = (every / bands, double / bands, seconds, wall, free, moment, sweeps)
    return Cost(result.nsteps, *numbers), result


def warm_up(keywords: dict[str, Any]) -> None:
    """Read files and fill caches, which the first calculation would pay for."""
    cost(keywords | {"convergence": {"density": 1e-2}})


def from_model(keywords: dict[str, Any], model: Any) -> dict[str, Cost]:
    """Costs from superposed atoms, a model's density, and both ceilings."""
    warm_up(keywords | {"start": model})
    found = {}
    found["superposition"], result = cost(keywords)
    found["model"] = cost(keywords | {"start": model})[0]
    found["density"] = cost(keywords | {"start": DensityRecord.of(result, orbitals=False)})[0]
    found["density, orbitals"] = cost(keywords | {"start": result})[0]
    return found


def starts(keywords: dict[str, Any], errors: tuple[float, ...]) -> dict[str, Cost]:
    """Costs of all starts of one crystal."""
    warm_up(keywords)
    first, result = cost(keywords)
    atoms = distance(result, result.problem.starting_fields().density - result.fields.density)
    found = {f"atoms ({atoms:.1f} %)": first}
    for percent in errors:
        if percent < 0.8 * atoms:
            found[f"{percent:g} %"] = cost(keywords | {"start": with_error(result, percent)})[0]
    found["density"] = cost(keywords | {"start": DensityRecord.of(result, orbitals=False)})[0]
    found["density, orbitals"] = cost(keywords | {"start": result})[0]
    return found


def chosen(name: str, structures: str) -> dict[str, dict[str, Any]]:
    """Keywords of test structures of a set of densities, all or some of them."""
    from deepchem_xc.molnet import DensitySet

    found = DensitySet.read(name).select(parts=("test",))
    names = structures.split(";") if structures else list(found)
    return {key: {"target": found[key].atoms, **found[key].keywords} for key in names}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", default="", help="some, with semicolons; all by default")
    parser.add_argument("--errors", default=",".join(map(str, ERRORS)), help="per cent")
    parser.add_argument("--model", help="file of a density model, or the name of a shipped one")
    parser.add_argument("--set", default="silicon", help="with --model: the set of its structures")
    parser.add_argument("--trace", action="store_true", help="applications of every step, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    errors = tuple(float(text) for text in options.errors.split(",") if text)
    model, keywords = None, {}
    if options.model:
        from deepchem_xc.models import DensityModel

        model = DensityModel.load(options.model, progress=False)
        keywords = chosen(options.set, options.systems)
    else:
        names = options.systems.split(";") if options.systems else list(SYSTEMS)
        keywords = {name: SYSTEMS[name]() for name in names}
    print(
        "| crystal | start | steps | applications | in double | s | wall, s | energy, Ha | moment |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, given in keywords.items():
        rows = starts(given, errors) if model is None else from_model(given, model)
        first = next(iter(rows.values()))
        for label, row in rows.items():
            energy = f"{row.energy - first.energy:.0e}" if row is not first else f"{row.energy:.6f}"
            line = f"| {name} | {label} | {row.steps} | {row.applications:.1f} | {row.double:.1f} |"
            line += f" {row.seconds:.1f} | {row.wall:.1f} | {energy} | {row.moment:.3f} |"
            print(line, flush=True)
            if options.trace:
                print("   ", *(f"{x:.1f}" for x in row.sweeps))


if __name__ == "__main__":
    main()
