"""Compute CCSD(T) atomisation energies of molecules of ASE's g2 set with PySCF.

For each molecule and free atom, at the set's geometry, without relativity, 1s of Li to F and 1s to
2p of Na to Cl frozen, restricted for closed shells, unrestricted for others:

    E = HF(T, Q) + MP2(T, Q) + [CCSD(T) - MP2](T)

T and Q are cc-pVTZ and cc-pVQZ, with one tight d function more on Si, P, S and Cl. HF is
extrapolated as by Karton and Martin, Theor. Chem. Acc. 115, 330 (2006), eq. 2; correlation energies
of MP2 as the inverse third power of the basis (Halkier et al., Chem. Phys. Lett. 286, 243 (1998)).

Every species is kept in the output folder, and an interrupted run resumes. The file is written when
all are there.

    python data/cloning_ccsd.py --folder ccsd       # about 40 minutes of one processor
    python data/cloning_ccsd.py --molecules H2,HF --output small.json
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.units import Hartree, kcal, mol
from pyscf import cc, gto, mp, scf

from deepchem_xc._files import write_json
from deepchem_xc.cloning import HELD_OUT, SAMPLED, free_atoms
from deepchem_xc.cloning.molecules import g2_molecule, unpaired_electrons
from deepchem_xc.store import Store
from deepchem_xc.tables import as_table

HERE = Path(__file__).parent
BASES = {"T": "cc-pVTZ", "Q": "cc-pVQZ"}
TIGHT_D = ("Si", "P", "S", "Cl")
KCAL_PER_MOL = Hartree / (kcal / mol)
# Energies in the file, Hartree: 1e-9 is far below what a basis leaves.
DIGITS = 9


def basis_of(symbol: str, letter: str) -> Any:
    """Functions of an element in PySCF's format, with the tight d of a second-row atom.

    Its exponent continues the two largest of the basis in their ratio.
    """
    functions = gto.basis.load(BASES[letter], symbol)
    if symbol not in TIGHT_D:
        return functions
    first, second = sorted((shell[1][0] for shell in functions if shell[0] == 2), reverse=True)[:2]
    return [*functions, [2, [first * first / second, 1.0]]]


def frozen_orbitals(symbols: Sequence[str]) -> int:
    """Number of core orbitals: none of H, one of Li to F, five of Na to Cl."""
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    return sum(0 if number < 3 else 1 if number < 11 else 5 for number in numbers)


def hartree_fock(name: str, letter: str) -> Any:
    """Converged calculation; that of an open shell is a minimum among unrestricted ones."""
    atoms = g2_molecule(name)
    symbols = atoms.get_chemical_symbols()
    molecule = gto.M(
        atom=list(zip(symbols, atoms.positions.tolist())),
        basis={symbol: basis_of(symbol, letter) for symbol in set(symbols)},
        spin=unpaired_electrons(atoms),
        verbose=0,
        max_memory=5000,
    )
    mf = scf.RHF(molecule) if molecule.spin == 0 else scf.UHF(molecule)
    mf.conv_tol = 1e-10
    mf.kernel()
    for _ in range(5):
        if molecule.spin == 0:
            break
        orbitals, _, stable, _ = mf.stability(return_status=True)
        if stable:
            break
        mf = mf.newton()
        mf.kernel(orbitals, mf.mo_occ)
        mf = mf.undo_newton()
    if not mf.converged:
        raise RuntimeError(f"Hartree-Fock of {name} in {BASES[letter]} does not converge.")
    return mf


def species(name: str) -> dict[str, float]:
    """Energies of a molecule or atom, Hartree: Hartree-Fock, and of correlation."""
    start = time.process_time()
    frozen = frozen_orbitals(g2_molecule(name).get_chemical_symbols())
    found: dict[str, float] = {}
    for letter in BASES:
        mf = hartree_fock(name, letter)
        found[f"HF/{letter}"] = float(mf.e_tot)
        # A single valence electron has no correlation.
        electrons = sum(mf.mol.nelec) - 2 * frozen
        found[f"MP2/{letter}"] = 0.0
        if electrons > 1:
            found[f"MP2/{letter}"] = float(mp.MP2(mf, frozen=frozen).run().e_corr)
        if letter == "T":
            found["CCSD(T)/T"] = coupled_cluster(mf, frozen) if electrons > 1 else 0.0
            if mf.mol.spin:
                found["spin_square"] = float(mf.spin_square()[0])
    found = {key: round(value, DIGITS) for key, value in found.items()}
    return {**found, "cpu_seconds": round(time.process_time() - start, 1)}


def coupled_cluster(mf: Any, frozen: int) -> float:
    """Correlation energy of CCSD(T), Hartree."""
    calculation = cc.CCSD(mf, frozen=frozen)
    calculation.conv_tol = 1e-8
    calculation.kernel()
    if not calculation.converged:
        raise RuntimeError(
            f"CCSD does not converge; its last energy is {calculation.e_tot:.6f} Ha."
        )
    # Two electrons have no triples.
    triples = calculation.ccsd_t() if sum(mf.mol.nelec) - 2 * frozen > 2 else 0.0
    return float(calculation.e_corr + triples)


def total_energy(energies: Mapping[str, float]) -> float:
    """Energy at the limit of large bases, Hartree (see the head of this file).

    Examples
    --------
    >>> total_energy({"HF/T": -1.0, "HF/Q": -1.0, "MP2/T": -0.3, "MP2/Q": -0.3, "CCSD(T)/T": -0.4})
    -1.4
    """
    ratio = 4.0 / 5.0 * math.exp(9.0 * (math.sqrt(4.0) - math.sqrt(3.0)))
    limit = energies["HF/Q"] + (energies["HF/Q"] - energies["HF/T"]) / (ratio - 1.0)
    second = (64.0 * energies["MP2/Q"] - 27.0 * energies["MP2/T"]) / (64.0 - 27.0)
    return limit + second + energies["CCSD(T)/T"] - energies["MP2/T"]


def in_one_basis(energies: Mapping[str, float]) -> float:
    """Energy of CCSD(T) in cc-pVTZ alone, Hartree."""
    return energies["HF/T"] + energies["CCSD(T)/T"]


def atomisation(
    found: Mapping[str, Mapping[str, float]], names: Sequence[str], energy: Any = total_energy
) -> dict[str, float]:
    """Energies that it takes to separate molecules into atoms, kcal/mol."""
    energies = {name: energy(one) for name, one in found.items()}
    result = {}
    for name in names:
        parts = Counter(g2_molecule(name).get_chemical_symbols())
        apart = sum(count * energies[symbol] for symbol, count in parts.items())
        result[name] = round((apart - energies[name]) * KCAL_PER_MOL, 3)
    return result


def content(found: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[str, Any]:
    """What the file holds."""
    return {
        "quantity": "CCSD(T) of molecules of ASE's g2 set at its geometries, without relativity and "
        "vibrations: atomisation energies in kcal/mol, energies of species in Hartree "
        "(Hartree-Fock, and of correlation). Frozen core (1s of Li to F, 1s to 2p of Na to Cl); "
        "RHF for closed shells, else UHF. HF(T, Q) + MP2(T, Q) + [CCSD(T) - MP2](T).",
        "bases": {**BASES, "tight d": list(TIGHT_D)},
        "pyscf": version("pyscf"),
        "atomisation": atomisation(found, names),
        "atomisation_triple_zeta": atomisation(found, names, in_one_basis),
        "species": {name: dict(one) for name, one in found.items()},
    }


def main() -> None:
    """Compute what is missing, cheap ones first, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--molecules", default="", help="names of the g2 set, with commas")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-results/cloning_ccsd"))
    parser.add_argument("--output", type=Path, default=HERE / "cloning_ccsd.json")
    arguments = parser.parse_args()
    names = [name for name in arguments.molecules.split(",") if name] or [*SAMPLED, *HELD_OUT]
    store = Store(arguments.folder, print)
    found = {}
    every = [*free_atoms(tuple(names)), *names]
    for name in sorted(every, key=lambda name: float(np.sum(g2_molecule(name).numbers))):
        record = store.read(name, bases=BASES, tight_d=list(TIGHT_D))
        if record is None:
            record = {"bases": BASES, "tight_d": list(TIGHT_D), "energies": species(name)}
            store.write(name, record)
            print(f"{name}: {record['energies']['cpu_seconds']:.0f} CPU s", flush=True)
        found[name] = record["energies"]
    whole = content({name: found[name] for name in every}, names)
    write_json(arguments.output, whole)
    one, other = whole["atomisation"], whole["atomisation_triple_zeta"]
    rows = [[name, f"{one[name]:.2f}", f"{other[name]:.2f}"] for name in names]
    print(as_table(rows, ["molecule", "CCSD(T), limit (kcal/mol)", "in cc-pVTZ"], markdown=True))


if __name__ == "__main__":
    main()
