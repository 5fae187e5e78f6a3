"""Atomisation energies of molecules with functionals of this package, computed by PySCF.

Each molecule and atom is converged with PBE. The energies of all functionals are evaluated at this
density, so that one calculation serves them all: errors of the density are small beside those of
the energy (Kim, Sim and Burke, Phys. Rev. Lett. 111, 073003 (2013)). Results are kept, one file a
molecule; a run that was interrupted resumes.

    python benchmarks/atomization.py --output results/atomization
    python benchmarks/atomization.py --molecules h2,ch4,hf --functionals PBE,mine.safetensors
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyscf
from pyscf import dft, gto
from tqdm import tqdm

from deepchem_xc._files import write_json
from deepchem_xc.calculators import to_pyscf
from deepchem_xc.parallel import default_jobs, parallel_map
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import name_or_content

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT.parent / "shared" / "references" / "molecules" / "w4_11.json"
FUNCTIONALS = ("PBE", "PBEsol", "RPBE", "experiment_gga", "recovered_gga")
DENSITY = "PBE"
# CODATA 2018.
KCAL_PER_MOL = 627.5094740631

Reaction = dict[str, Any]


def converged(species: dict[str, Any], settings: dict[str, Any]) -> Any:
    """PySCF's calculation of a molecule or atom with PBE.

    Parameters
    ----------
    species : dict
        ``symbols``, ``positions`` (Angstrom), ``charge``, and ``spin``, the unpaired electrons.
    settings : dict
        ``basis`` and ``grid``, PySCF's level of the grid.

    Raises
    ------
    RuntimeError
        If neither the usual nor the second-order method converges.
    """
    molecule = gto.M(
        atom=list(zip(species["symbols"], species["positions"], strict=True)),
        basis=settings["basis"],
        charge=species["charge"],
        spin=species["spin"],
        verbose=0,
    )
    kind = dft.UKS if species["spin"] else dft.RKS
    mf = to_pyscf(DENSITY, kind(molecule).density_fit())
    mf.grids.level = settings["grid"]
    mf.conv_tol = 1e-9
    mf.kernel()
    if not mf.converged:
        second = mf.newton()
        second.max_cycle = 200
        second.kernel(mf.mo_coeff, mf.mo_occ)
        if not second.converged:
            raise RuntimeError("PBE did not converge, nor did the second-order method")
        mf = second.undo_newton()
    return mf


def energies(species: dict[str, Any], functionals: list[str], settings: dict[str, Any]) -> Any:
    """Total energies at PBE's density by functional, Hartree.

    Parameters
    ----------
    species, settings
        As in `converged`.
    functionals : list of str
        What `get_xc` takes.
    """
    mf = converged(species, settings)
    density = mf.make_rdm1()
    return {name: float(to_pyscf(name, mf).energy_tot(density)) for name in functionals}


def atomisation_energy(reaction: Reaction, energy: dict[str, float]) -> float:
    """Energy of the atoms minus that of the molecule, kcal/mol.

    Parameters
    ----------
    reaction : dict
        ``species`` and ``stoichiometry``, negative for the molecule.
    energy : dict
        Hartree, by species.
    """
    pairs = zip(reaction["species"], reaction["stoichiometry"], strict=True)
    return KCAL_PER_MOL * math.fsum(count * energy[name] for name, count in pairs)


def chosen(reactions: list[Reaction], molecules: str) -> list[Reaction]:
    """Reactions of the molecules asked for, all for an empty string.

    Parameters
    ----------
    reactions : list of dict
        Those of the file; the molecule comes first in each.
    molecules : str
        Names with commas between them.

    Raises
    ------
    SystemExit
        For a name that the file does not have.
    """
    by_name = {reaction["species"][0]: reaction for reaction in reactions}
    names = [name.strip() for name in molecules.split(",") if name.strip()] or list(by_name)
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise SystemExit(f"no molecule {', '.join(unknown)}; valid: {', '.join(by_name)}")
    return [by_name[name] for name in names]


def computed(
    species: dict[str, Any],
    names: list[str],
    functionals: list[str],
    settings: dict[str, Any],
    store: Store,
    jobs: int,
) -> dict[str, dict[str, float]]:
    """Energies by species and functional, from the store or computed; failures are reported."""
    depends = {
        "functionals": {name: name_or_content(name) for name in functionals},
        "pyscf": pyscf.__version__,
        **settings,
    }
    found: dict[str, dict[str, float]] = {}
    records: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in names:
        expected = {**depends, "species": species[name]}
        records[name] = (f"{name}-{digest(expected)[:12]}", expected)
        kept = store.read(records[name][0], **expected)
        if kept is not None:
            found[name] = kept["energies"]
    calls = {n: (species[n], functionals, settings) for n in names if n not in found}
    # The largest first, so that none is left for the end.
    order = sorted(calls, key=lambda name: -len(species[name]["symbols"]))
    bar = tqdm(total=len(calls), desc="molecules and atoms", disable=not calls)
    with closing(
        parallel_map(energies, {name: calls[name] for name in order}, jobs=jobs, bar=bar)
    ) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                print(f"{outcome.name} failed: {outcome.error}", file=sys.stderr)
                continue
            file, expected = records[outcome.name]
            store.write(file, {**expected, "energies": outcome.value})
            found[outcome.name] = outcome.value
    return found


def report(
    reactions: list[Reaction], found: dict[str, dict[str, float]], functionals: list[str]
) -> tuple[str, dict[str, Any]]:
    """Table and content of the result; errors are computed minus reference, kcal/mol."""
    errors: dict[str, dict[str, float]] = {}
    for reaction in reactions:
        if all(name in found for name in reaction["species"]):
            errors[reaction["species"][0]] = {
                xc: atomisation_energy(reaction, {n: found[n][xc] for n in reaction["species"]})
                - reaction["reference_kcal_mol"]
                for xc in functionals
            }
    missing = [r["species"][0] for r in reactions if r["species"][0] not in errors]
    reference = {r["species"][0]: r["reference_kcal_mol"] for r in reactions}
    rows = [
        [name, f"{reference[name]:.1f}", *(f"{row[xc]:+.1f}" for xc in functionals)]
        for name, row in errors.items()
    ]
    means: dict[str, Any] = {"mean_absolute_errors": {}, "mean_errors": {}}
    if errors:
        for xc in functionals:
            of_one = np.array([row[xc] for row in errors.values()])
            means["mean_absolute_errors"][xc] = float(np.abs(of_one).mean())
            means["mean_errors"][xc] = float(of_one.mean())
        for label, values, sign in (
            ("mean absolute", means["mean_absolute_errors"], ""),
            ("mean", means["mean_errors"], "+"),
        ):
            rows.append([label, "", *(f"{values[xc]:{sign}.1f}" for xc in functionals)])
    table = as_table(rows, ["kcal/mol", "reference", *functionals], markdown=True)
    if missing:
        table += f"\n\nnot computed: {', '.join(missing)}"
    return table, {"units": "kcal/mol", **means, "errors": errors, "missing": missing}


def main(arguments: list[str] | None = None) -> int:
    """Compute and print the table; returns 1 if a molecule is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="file of the molecules")
    parser.add_argument("--molecules", default="", help="some of them, with commas")
    parser.add_argument("--functionals", default=",".join(FUNCTIONALS), help="with commas")
    parser.add_argument("--basis", default="def2-tzvp")
    parser.add_argument("--grid", type=int, default=4, help="PySCF's level of the grid, 0 to 9")
    parser.add_argument("--jobs", type=int, default=None, help="calculations at a time")
    parser.add_argument("--output", type=Path, default=Path("results/atomization"))
    options = parser.parse_args(arguments)
    content = json.loads(options.reference.read_text())
    functionals = [name.strip() for name in options.functionals.split(",")]
    for name in functionals:
        get_xc(name)  # before hours of work
    reactions = chosen(content["reactions"], options.molecules)
    names = list(dict.fromkeys(name for reaction in reactions for name in reaction["species"]))
    settings = {"basis": options.basis, "grid": options.grid, "density": DENSITY}
    found = computed(
        content["species"],
        names,
        functionals,
        settings,
        Store(options.output / "species", lambda text: print(text, file=sys.stderr)),
        options.jobs or default_jobs(),
    )
    table, result = report(reactions, found, functionals)
    print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "atomization.md").write_text(table + "\n")
    write_json(options.output / "atomization.json", {"settings": settings, **result})
    return 1 if result["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
