"""Compute CCSD(T) atomisation energies of molecules of ASE's g2 set with PySCF.

For each molecule and free atom, at the set's geometry, without relativity, 1s of Li to F and 1s to
2p of Na to Cl frozen, restricted for closed shells, unrestricted for others:

    E = HF(T, Q) + MP2(T, Q) + [CCSD(T) - MP2](D, T)

D, T and Q are cc-pVDZ, cc-pVTZ and cc-pVQZ, with one tight d function more on Si, P, S and Cl, and
each part is extrapolated from two bases: Hartree-Fock as by Karton and Martin, Theor. Chem. Acc.
115, 330 (2006), the others as the inverse third power of the basis (Halkier et al., Chem. Phys.
Lett. 286, 243 (1998)). Atoms and some diatomic molecules have CCSD(T) with Q as well, which tells
the error of the third part.

Every species is kept in the output folder, and an interrupted run resumes. The file is written when
all are there.

    python data/ccsd_g2.py --folder ccsd       # about 10 minutes of one processor
    python data/ccsd_g2.py --molecules H2,HF --output small.json
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
BASES = {"D": "cc-pVDZ", "T": "cc-pVTZ", "Q": "cc-pVQZ"}
#: Molecules with coupled clusters in the largest basis.
CHECKED = ("H2", "LiH", "HF", "LiF", "N2", "CO", "F2", "HCl")
#: Si2 is left out: <S^2> of its unrestricted reference is 2.60 instead of 2.
MOLECULES = tuple(name for name in (*SAMPLED, *HELD_OUT) if name != "Si2")
TIGHT_D = ("Si", "P", "S", "Cl")
KCAL_PER_MOL = Hartree / (kcal / mol)
# Energies in the file, Hartree: 1e-9 is far below what a basis leaves.
DIGITS = 9
# Ratio of exponents of d functions, as in cc-pVTZ of S.
_RATIO = 3.0
# Times that an open shell is led away from a saddle point.
_ATTEMPTS = 6


def basis_of(symbol: str, letter: str) -> Any:
    """Functions of an element in PySCF's format, with the tight d of a second-row atom.

    Its exponent continues the two largest of the basis in their ratio; cc-pVDZ has only one.
    """
    functions = gto.basis.load(BASES[letter], symbol)
    if symbol not in TIGHT_D:
        return functions
    exponents = sorted((shell[1][0] for shell in functions if shell[0] == 2), reverse=True)
    ratio = exponents[0] / exponents[1] if len(exponents) > 1 else _RATIO
    return [*functions, [2, [ratio * exponents[0], 1.0]]]


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
        max_memory=6000,
    )
    mf = scf.RHF(molecule) if molecule.spin == 0 else scf.UHF(molecule)
    mf.conv_tol = 1e-10
    mf.kernel()
    minimum = molecule.spin == 0
    for _ in range(_ATTEMPTS):
        if minimum:
            break
        orbitals, _, minimum, _ = mf.stability(return_status=True)
        if not minimum:
            mf = mf.newton()
            mf.kernel(orbitals, mf.mo_occ)
            mf = mf.undo_newton()
    if not (mf.converged and minimum):
        raise RuntimeError(f"Hartree-Fock of {name} in {BASES[letter]} does not reach a minimum.")
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
        correlated = sum(mf.mol.nelec) - 2 * frozen > 1
        found[f"MP2/{letter}"] = mp.MP2(mf, frozen=frozen).run().e_corr if correlated else 0.0
        if letter != "Q" or mf.mol.natm == 1 or name in CHECKED:
            found[f"CCSD(T)/{letter}"] = coupled_cluster(mf, frozen) if correlated else 0.0
    if mf.mol.spin:
        found["spin_square"] = float(mf.spin_square()[0])
    found = {key: round(float(value), DIGITS) for key, value in found.items()}
    return {**found, "cpu_seconds": round(time.process_time() - start, 1)}


def coupled_cluster(mf: Any, frozen: int) -> float:
    """Correlation energy of CCSD(T), Hartree."""
    calculation = cc.CCSD(mf, frozen=frozen)
    calculation.conv_tol = 1e-8
    calculation.kernel()
    if not calculation.converged:
        raise RuntimeError(f"CCSD does not converge: its last energy is {calculation.e_tot:.6f}.")
    # Two electrons have no triples.
    triples = calculation.ccsd_t() if sum(mf.mol.nelec) - 2 * frozen > 2 else 0.0
    return float(calculation.e_corr + triples)


def correlation_limit(smaller: float, larger: float, cardinal: int) -> float:
    """Correlation energy of large bases from two, of which the larger has this cardinal number.

    Examples
    --------
    >>> correlation_limit(-1.0 + 1.0 / 27.0, -1.0 + 1.0 / 64.0, 4)
    -1.0
    """
    one, other = float((cardinal - 1) ** 3), float(cardinal**3)
    return (other * larger - one * smaller) / (other - one)


def mean_field_limit(energies: Mapping[str, float]) -> float:
    """Hartree-Fock energy of large bases, Hartree."""
    ratio = 4.0 / 5.0 * math.exp(9.0 * (math.sqrt(4.0) - math.sqrt(3.0)))
    return energies["HF/Q"] + (energies["HF/Q"] - energies["HF/T"]) / (ratio - 1.0)


def total_energy(energies: Mapping[str, float]) -> float:
    """Energy at the limit of large bases, Hartree (see the head of this file)."""
    beyond = [energies[f"CCSD(T)/{letter}"] - energies[f"MP2/{letter}"] for letter in "DT"]
    return (
        mean_field_limit(energies)
        + correlation_limit(energies["MP2/T"], energies["MP2/Q"], 4)
        + correlation_limit(*beyond, 3)
    )


def checked_energy(energies: Mapping[str, float]) -> float:
    """The same where coupled clusters are extrapolated themselves, Hartree."""
    return mean_field_limit(energies) + correlation_limit(
        energies["CCSD(T)/T"], energies["CCSD(T)/Q"], 4
    )


def atomisation(
    found: Mapping[str, Mapping[str, float]], names: Sequence[str], energy: Any = total_energy
) -> dict[str, float]:
    """Energies that it takes to separate molecules into atoms, kcal/mol."""
    result = {}
    for name in names:
        parts = Counter(g2_molecule(name).get_chemical_symbols())
        apart = sum(count * energy(found[symbol]) for symbol, count in parts.items())
        result[name] = round((apart - energy(found[name])) * KCAL_PER_MOL, 3)
    return result


def content(found: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[str, Any]:
    """What the file holds."""
    return {
        "quantity": "CCSD(T) of molecules of ASE's g2 set at its geometries, without relativity "
        "and vibrations: atomisation energies in kcal/mol, energies of species in Hartree "
        "(Hartree-Fock, and of correlation). Frozen core (1s of Li to F, 1s to 2p of Na to Cl); "
        "RHF for closed shells, else UHF. HF(T, Q) + MP2(T, Q) + [CCSD(T) - MP2](D, T).",
        "bases": {**BASES, "tight d": list(TIGHT_D)},
        "pyscf": version("pyscf"),
        "atomisation": atomisation(found, names),
        "atomisation_checked": atomisation(
            found, [name for name in names if name in CHECKED], checked_energy
        ),
        "species": {name: dict(one) for name, one in found.items()},
    }


def main() -> None:
    """Compute what is missing, cheap ones first, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--molecules", default="", help="names of the g2 set, with commas")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-results/ccsd_g2"))
    parser.add_argument("--output", type=Path, default=HERE / "ccsd_g2.json")
    arguments = parser.parse_args()
    names = [name for name in arguments.molecules.split(",") if name] or list(MOLECULES)
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
    checked = whole["atomisation_checked"]
    rows = [
        [name, f"{one:.2f}", f"{checked[name]:.2f}" if name in checked else ""]
        for name, one in whole["atomisation"].items()
    ]
    print(as_table(rows, ["molecule", "kcal/mol", "CCSD(T)(T, Q)"], markdown=True))


if __name__ == "__main__":
    main()
