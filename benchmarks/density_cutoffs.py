"""What a low cutoff costs densities of molecules: the table in docs/datasets.md.

    python benchmarks/density_cutoffs.py --folder cutoffs
    python benchmarks/density_cutoffs.py --folder cutoffs --report

Small molecules in a box, at their geometry in ASE and with one bond a tenth longer, are computed at
several cutoffs with the settings of the molecules' set. Records are kept in the folder, and the
same command goes on there. Everything is compared with the highest cutoff.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree

from deepchem_xc.metrics import density_error
from deepchem_xc.molnet import DensitySet
from deepchem_xc.planewave import DensityRecord, PlaneWaveBasis, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.pseudo import load_pseudopotentials
from deepchem_xc.planewave.terms.superposed import superposition

# The atoms of the bond that is stretched; the second one moves.
MOLECULES = {"H2": (0, 1), "H2O": (0, 1), "CH4": (0, 1), "N2": (0, 1), "CO": (0, 1)}
BOX = 5.0  # Angstrom
STRETCH = 1.1
CUTOFFS = (800.0, 1600.0, 2400.0)  # eV


def structures(molecules: Sequence[str]) -> Iterator[tuple[str, Atoms]]:
    """Names and structures."""
    for name in molecules:
        first, second = MOLECULES[name]
        for stretched in (False, True):
            atoms = molecule(name, cell=[BOX] * 3, pbc=True)
            atoms.center()
            if stretched:
                length = atoms.get_distance(first, second)
                atoms.set_distance(first, second, STRETCH * length, fix=0)
            yield f"{name}{' stretched' if stretched else ''}", atoms


def path_of(folder: Path, name: str, ecut: float) -> Path:
    """File of a record."""
    return folder / f"{name.replace(' ', '_')}_{ecut:.0f}.npz"


def compute(folder: Path, molecules: Sequence[str], cutoffs: Sequence[float]) -> None:
    """Compute what is missing; each cutoff starts from the density of the one below."""
    folder.mkdir(parents=True, exist_ok=True)
    some = next(iter(DensitySet.read("molecules").structures.values()))
    keywords = {key: value for key, value in some.keywords.items() if key != "ecut"}
    for ecut in sorted(cutoffs):
        for name, atoms in structures(molecules):
            path = path_of(folder, name, ecut)
            if path.exists():
                continue
            lower = [path_of(folder, name, other) for other in sorted(cutoffs) if other < ecut]
            start = lower[-1] if lower else None
            result = scf(atoms, "PBE", ecut=ecut, start=start, **keywords)
            DensityRecord.of(result, orbitals=False).save(path)
            print(path.name, flush=True)


def atoms_of(record: DensityRecord) -> DensityRecord:
    """Superposed atoms on the sphere of a record."""
    basis = PlaneWaveBasis(
        record.crystal, record.ecut, (1, 1, 1), fft_size=record.fft_size, symmetry=False
    )
    pseudos = load_pseudopotentials("gth-pbe", record.crystal.species)
    return replace(record, fields=Fields(superposition(basis, pseudos, 1)), forces=None)


def errors(low: DensityRecord, high: DensityRecord) -> tuple[float, float, float, float]:
    """Of a density: on the common sphere, on the higher one's; of the difference on both [%]."""
    found = []
    atoms = atoms_of(high)
    size = low.fft_size
    common = [one.at(low.ecut, size).density for one in (low, high, atoms)]
    whole = [one.at(high.ecut, high.fft_size).density for one in (low, high, atoms)]
    for one, reference, superposed in (common, whole):
        change = float((one - reference).abs().mean())
        bonding = float((reference - superposed).abs().mean())
        found += [density_error(one, reference), 100.0 * change / bonding]
    return found[0], found[2], found[1], found[3]


def report(folder: Path, molecules: Sequence[str], cutoffs: Sequence[float]) -> None:
    """Print the table; rows compare with the highest cutoff."""
    *lower, highest = sorted(cutoffs)
    print("| molecule | cutoff | density, common G | all G | difference, common G | all G", end="")
    print(" | stretching (meV) | force (eV/Angstrom) |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in molecules:
        pairs = {
            ecut: [
                DensityRecord.load(path_of(folder, one, ecut))
                for one in (name, f"{name} stretched")
            ]
            for ecut in cutoffs
        }
        for ecut in lower:
            values = errors(pairs[ecut][0], pairs[highest][0])
            stretch = [
                (pair[1].free_energy - pair[0].free_energy) * Hartree
                for pair in (pairs[ecut], pairs[highest])
            ]
            forces = [
                pair[1].forces.numpy() * Hartree / Bohr for pair in (pairs[ecut], pairs[highest])
            ]
            cells = [name, f"{ecut:.0f}", *(f"{value:.2f} %" for value in values)]
            cells.append(f"{1e3 * stretch[1]:.0f}, {1e3 * (stretch[0] - stretch[1]):+.0f}")
            size = float(np.linalg.norm(forces[1], axis=1).max())
            change = float(np.linalg.norm(forces[0] - forces[1], axis=1).max())
            print(f"| {' | '.join([*cells, f'{size:.2f}, {change:.2f}'])} |")


def main() -> None:
    """Compute, or report."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where records are kept")
    parser.add_argument("--cutoffs", type=float, nargs="+", default=CUTOFFS, help="eV")
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--report", action="store_true", help="print the table of what there is")
    given = parser.parse_args()
    if not given.report:
        compute(given.folder, given.molecules, given.cutoffs)
    report(given.folder, given.molecules, given.cutoffs)


if __name__ == "__main__":
    main()
