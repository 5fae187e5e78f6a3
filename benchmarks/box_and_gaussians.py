"""Reactions by both solvers with one Hamiltonian: plane waves in a box, and Gaussian functions.

Molecules and atoms have the same functional and the same GTH potentials in both, so that what
differs is the basis, and the periodic images of the box: its error is about what the energy changes
from a smaller box. Every energy is a record of its own; a run that was interrupted resumes.

    python benchmarks/box_and_gaussians.py --output results/box_and_gaussians
    python benchmarks/box_and_gaussians.py --boxes 6 --functionals LDA
    python benchmarks/box_and_gaussians.py --report      # only from what there is
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import deepchem_xc  # noqa: F401  first: it keeps DeepChem's import notices quiet

# isort: split
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.units import Hartree

from deepchem_xc import gaussian, planewave
from deepchem_xc._files import write_json
from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import name_or_content

#: Unpaired electrons of each molecule and atom of ASE's g2 set.
SPINS = {"H2": 0, "N2": 0, "NH3": 0, "H2O": 0, "O2": 2, "Si": 2, "Si2": 2}
#: Reactions: number of each product, negative for what reacts.
REACTIONS: dict[str, dict[str, int]] = {
    "N2 + 3 H2 -> 2 NH3": {"N2": -1, "H2": -3, "NH3": 2},
    "H2 + 1/2 O2 -> H2O": {"H2": -2, "O2": -1, "H2O": 2},
    "2 Si -> Si2": {"Si": -2, "Si2": 1},
}
# Reactions are written with whole numbers above; energies are those of one molecule of water.
_FACTORS = {"H2 + 1/2 O2 -> H2O": 0.5}
POTENTIALS = "gth-pbe"
#: Cutoff, eV, and size of a box in units of the others', for the molecules of an element: silicon's
#: potential is soft, and its atoms are large.
_SOFT = {"Si": (500.0, 1.75)}
# Sides of a box divided by its size: without the symmetry of a cube, the open p shell of an atom
# has one lowest filling.
_SIDES = (1.0, 1.02, 0.98)
# Width, eV, that holds whole occupations up to a gap of 0.1 eV.
_WIDTH = 0.01
# Exponents of even-tempered functions, 1/bohr^2, by angular momentum: smallest, ratio, number.
# Potentials have no cusp, and need no tight functions.
_TEMPERED = {
    "H": ((0.03, 2.0, 11), (0.08, 2.3, 5), (0.2, 2.5, 3), (0.5, 2.5, 2)),
    "others": ((0.03, 2.0, 11), (0.03, 2.0, 11), (0.1, 2.2, 5), (0.25, 2.4, 3)),
}
#: Basis sets: PySCF's largest that was made for the potentials, and even-tempered functions.
BASES = ("gth-qzv3p", "even-tempered")

Record = dict[str, Any]


def structure(name: str) -> Atoms:
    """A molecule or atom, at the origin."""
    return Atoms(name) if name == "Si" else molecule(name)


def functions(basis: str, symbols: Sequence[str]) -> Any:
    """Basis set as `gaussian.scf` takes it: PySCF's name, or even-tempered functions by element.

    Parameters
    ----------
    basis : str
        One of `BASES`.
    symbols : sequence of str
        Chemical symbols.
    """
    if basis != "even-tempered":
        return basis
    return {
        symbol: [
            [momentum, [smallest * ratio**power, 1.0]]
            for momentum, (smallest, ratio, number) in enumerate(
                _TEMPERED.get(symbol, _TEMPERED["others"])
            )
            for power in range(number)
        ]
        for symbol in set(symbols)
    }


def in_a_box(name: str, functional: str, box: float, ecut: float) -> float:
    """Energy, eV, with plane waves up to `ecut` (eV) in a box of about `box` Angstrom."""
    atoms = structure(name)
    atoms.set_cell(np.multiply(box, _SIDES))
    atoms.set_pbc(True)
    atoms.center()
    spin = SPINS[name]
    if spin:
        atoms.set_initial_magnetic_moments([spin / len(atoms)] * len(atoms))
    occupations: Any = "fixed"
    if spin:
        occupations = {"name": "fermi-dirac", "width": _WIDTH, "fixmagmom": True}
    with warnings.catch_warnings():
        # Both solvers have the same potentials, whatever the functional.
        warnings.simplefilter("ignore", FunctionalMismatchWarning)
        result = planewave.scf(
            atoms,
            functional,
            ecut=ecut,
            kpts=(1, 1, 1),
            pseudopotentials=POTENTIALS,
            occupations=occupations,
            convergence={"energy": 1e-5, "density": 1e-5},
        )
    return float(result.extrapolated_energy) * Hartree


def on_gaussians(name: str, functional: str, basis: str) -> float:
    """Energy, eV, on Gaussian functions."""
    atoms = structure(name)
    result = gaussian.scf(
        atoms,
        functional,
        basis=functions(basis, atoms.get_chemical_symbols()),
        spin=SPINS[name],
        pseudopotentials=POTENTIALS,
        grid_level=4,
        convergence={"energy": 1e-7, "commutator": 1e-5},
    )
    return float(result.energy) * Hartree


def tasks(functionals: Sequence[str], boxes: Sequence[float], ecut: float) -> Iterator[Record]:
    """Settings of all energies, one functional and one molecule after another."""
    for functional in functionals:
        for basis in BASES:
            for name in SPINS:
                yield on_basis(name, functional, basis)
        for name in SPINS:
            for box in sorted(boxes):
                yield in_box(name, functional, box, ecut)


def on_basis(name: str, functional: str, basis: str) -> Record:
    """Settings of an energy on Gaussian functions."""
    return {"molecule": name, "functional": functional, "basis": basis}


def in_box(name: str, functional: str, box: float, ecut: float) -> Record:
    """Settings of an energy with plane waves; `box` and `ecut` are those of light elements."""
    cutoff, factor = _SOFT.get(structure(name).get_chemical_symbols()[0], (ecut, 1.0))
    return {"molecule": name, "functional": functional, "box": factor * box, "ecut": cutoff}


def record_of(task: Record) -> tuple[str, Record]:
    """File name of a task's record, and the settings by which it is known."""
    settings = {**task, "functional": name_or_content(task["functional"])}
    place = task.get("basis") or f"{task['box']:g}A"
    return f"{task['molecule']}-{place}-{digest(settings)[:12]}", settings


def energy_of(task: Record) -> float:
    """Energy of a task, eV."""
    if "basis" in task:
        return on_gaussians(task["molecule"], task["functional"], task["basis"])
    return in_a_box(task["molecule"], task["functional"], task["box"], task["ecut"])


def found_energies(todo: list[Record], store: Store, compute: bool) -> dict[str, float]:
    """Energies by the name of their record, eV, from the store or computed."""
    energies: dict[str, float] = {}
    for number, task in enumerate(todo, start=1):
        name, settings = record_of(task)
        kept = store.read(name, **settings)
        if kept is None and compute:
            start = time.process_time()
            energy = energy_of(task)
            kept = {**settings, "energy_eV": energy, "cpu_s": time.process_time() - start}
            store.write(name, kept)
            print(
                f"{number}/{len(todo)} {name}: {energy:.4f} eV, {kept['cpu_s']:.0f} s", flush=True
            )
        if kept is not None:
            energies[name] = kept["energy_eV"]
    return energies


def reaction_energy(reaction: str, energies: Mapping[str, float]) -> float | None:
    """Energy of a reaction, eV, from those of its molecules; None if one is missing.

    Examples
    --------
    >>> reaction_energy("2 Si -> Si2", {"Si": -1.0, "Si2": -5.0})
    -3.0
    >>> reaction_energy("2 Si -> Si2", {"Si": -1.0}) is None
    True
    """
    numbers = REACTIONS[reaction]
    if not set(numbers) <= set(energies):
        return None
    total = sum(number * energies[name] for name, number in numbers.items())
    return _FACTORS.get(reaction, 1.0) * total


def report(
    functionals: Sequence[str], boxes: Sequence[float], ecut: float, energies: Mapping[str, float]
) -> tuple[str, list[Record]]:
    """Table of reaction energies, eV, and the same as records; those that are complete.

    Differences are those between the largest box and even-tempered functions.
    """
    rows, records = [], []
    for functional in functionals:
        for reaction in REACTIONS:

            def value(settings: Callable[[str], Record], reaction: str = reaction) -> float | None:
                names = {name: record_of(settings(name))[0] for name in REACTIONS[reaction]}
                found = {name: energies[file] for name, file in names.items() if file in energies}
                return reaction_energy(reaction, found)

            in_boxes = {
                box: value(partial(in_box, functional=functional, box=box, ecut=ecut))
                for box in sorted(boxes)
            }
            gaussians = {
                basis: value(partial(on_basis, functional=functional, basis=basis))
                for basis in BASES
            }
            known = {box: energy for box, energy in in_boxes.items() if energy is not None}
            if not known or None in gaussians.values():
                continue
            difference = known[max(known)] - gaussians[BASES[-1]]
            numbers = [*in_boxes.values(), *gaussians.values()]
            shown = ["" if number is None else f"{number:.3f}" for number in numbers]
            rows.append([reaction, functional, *shown, f"{difference:+.3f}"])
            records.append(
                {
                    "reaction": reaction,
                    "functional": functional,
                    "boxes": {f"{box:g}": energy for box, energy in in_boxes.items()},
                    "gaussians": gaussians,
                    "difference": difference,
                }
            )
    head = ["reaction (eV)", "functional", *(f"{box:g} Angstrom" for box in sorted(boxes))]
    head += [*BASES, "difference"]
    return as_table(rows, head, left=2, markdown=True), records


def main(arguments: list[str] | None = None) -> int:
    """Compute and print the table; returns 1 if a reaction is missing."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--functionals", default="PBE,LDA", help="with commas")
    parser.add_argument(
        "--boxes", default="6,8", help="Angstrom, with commas; silicon's are 1.75 times as large"
    )
    parser.add_argument("--ecut", type=float, default=2700.0, help="cutoff, eV; silicon 500")
    parser.add_argument("--output", type=Path, default=Path("results/box_and_gaussians"))
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    functionals = [name.strip() for name in options.functionals.split(",")]
    boxes = [float(box) for box in options.boxes.split(",")]
    for name in functionals:
        get_xc(name)  # before minutes of work
    store = Store(options.output / "energies", lambda text: print(text, file=sys.stderr))
    todo = list(tasks(functionals, boxes, options.ecut))
    energies = found_energies(todo, store, compute=not options.report)
    table, records = report(functionals, boxes, options.ecut, energies)
    print(table)
    (options.output / "box_and_gaussians.md").write_text(table + "\n")
    write_json(
        options.output / "box_and_gaussians.json",
        {"units": "eV", "ecut": options.ecut, "pseudopotentials": POTENTIALS, "reactions": records},
    )
    return 0 if len(records) == len(functionals) * len(REACTIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
