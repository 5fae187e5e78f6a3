"""Energies of molecules with clones less those with their parents.

``energies/NAME/SPECIES.json`` holds self-consistent energies of molecules that are not sampled and
of what reacts with them. ``sets/SET/PARENT/SPECIES.json`` holds errors on a larger set: to first
order, at the parent's density, for all clones at a time; self-consistent on request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase import Atoms
from cloning_molecules import energy_with, rest_of_g2, tested, w4_11
from cloning_plan import Clone
from cloning_training import Data, clone_file, trained

from deepchem_xc.cloning import KeptDensity, KeptEnergies, free_atoms
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.store import Store
from deepchem_xc.xc import XCFunctional, get_xc

#: Name of the stage's folder for the large sets.
W4_11, G2 = "w4_11", "g2"
# Species of W4-11 in `--quick`.
_QUICK_W4_11 = ("h2", "oh")
# Level of the grid for energies to first order: clone and parent have the same points.
_LEVEL = 2


def evaluate(clone: Clone, data: Data, output: Path, deadline: float) -> bool:
    """Self-consistent energies of the molecules that test a clone, and of their atoms.

    Parameters
    ----------
    clone, data, output, deadline
        As for `cloning_training.train`.

    Returns
    -------
    bool
        Whether all are there.
    """
    done = trained(output, clone)
    if done is None:
        return False
    store, functional = Store(output / "energies" / clone.name), None
    for name in tested(clone.quick):
        if store.read(name, model=done["model"]) is not None:
            continue
        if time.monotonic() > deadline:
            return False
        functional = functional or get_xc(clone_file(output, clone))
        (kept,) = data.densities(clone, [name])
        found = self_consistent(kept, functional, clone.settings.grid_level)
        store.write(name, {"model": done["model"], **found})
    return True


def self_consistent(kept: KeptDensity, functional: XCFunctional, level: int) -> dict[str, Any]:
    """Energy with a clone less that of the parent (mHa), or why there is none."""
    began = time.process_time()
    found: dict[str, Any]
    try:
        error = 1e3 * (energy_with(functional, kept, level) - kept.energy)
        found = {"error": error, "failure": None}
    except SCFConvergenceError as failure:
        found = {"error": None, "failure": str(failure)}
    return {**found, "cpu_seconds": time.process_time() - began}


def errors(clone: Clone, output: Path) -> dict[str, float]:
    """Kept self-consistent errors of a clone by species, mHa; without those that failed."""
    done = trained(output, clone)
    if done is None:
        return {}
    store = Store(output / "energies" / clone.name)
    found = {name: store.read(name, model=done["model"]) for name in tested(clone.quick)}
    return {name: one["error"] for name, one in found.items() if one and one["error"] is not None}


def failures(clone: Clone, output: Path) -> list[str]:
    """Species that did not converge with a clone."""
    done = trained(output, clone)
    if done is None:
        return []
    store = Store(output / "energies" / clone.name)
    found = {name: store.read(name, model=done["model"]) for name in tested(clone.quick)}
    return [name for name, one in found.items() if one and one["error"] is None]


def evaluate_set(
    clones: list[Clone],
    data: Data,
    output: Path,
    deadline: float,
    reference: Path | None,
    is_self_consistent: bool = False,
) -> bool:
    """Errors of all clones of one parent on a larger set.

    Parameters
    ----------
    clones : list of Clone
        Of one parent; those that are not trained are left out.
    data, output, deadline
        As for `cloning_training.train`.
    reference : Path or None
        File of W4-11; without it the rest of the g2 set is taken.
    is_self_consistent : bool
        Whether energies are self-consistent instead of first order.

    Returns
    -------
    bool
        Whether all are there.
    """
    done = {clone: record for clone in clones if (record := trained(output, clone)) is not None}
    if not done:
        return False
    first = next(iter(done))
    store = set_store(first, output, reference, is_self_consistent)
    functionals: dict[Clone, XCFunctional] = {}
    for name, atoms in set_molecules(first.quick, reference).items():
        geometry = [atoms.numbers.tolist(), atoms.positions.tolist()]
        record = store.read(name, geometry=geometry) or {"geometry": geometry, "errors": {}}
        missing = [c for c in done if record["errors"].get(c.name, [None])[0] != done[c]["model"]]
        if not missing or "failure" in record:
            continue
        if time.monotonic() > deadline:
            return False
        try:
            (kept,) = data.densities(first, {name: atoms})
        except SCFConvergenceError as failure:
            store.write(name, {**record, "failure": str(failure)})
            continue
        for clone in missing:
            functionals.setdefault(clone, get_xc(clone_file(output, clone)))
        found = _errors_of(kept, data.parent(first), functionals, missing, is_self_consistent)
        for clone in missing:
            record["errors"][clone.name] = [done[clone]["model"], found[clone]]
        store.write(name, {**record, "energy": kept.energy})
    return True


def _errors_of(
    kept: KeptDensity,
    parent: XCFunctional,
    functionals: dict[Clone, XCFunctional],
    clones: list[Clone],
    is_self_consistent: bool,
) -> dict[Clone, float | None]:
    """Errors of one species by clone, mHa."""
    if is_self_consistent:
        return {
            c: self_consistent(kept, functionals[c], c.settings.grid_level)["error"] for c in clones
        }
    energies = KeptEnergies(parent, [kept], _LEVEL)
    return {c: 1e3 * float(energies.errors(functionals[c])[0]) for c in clones}


def set_molecules(quick: bool, reference: Path | None) -> dict[str, Atoms]:
    """Atoms and molecules of the larger set by name, the smallest first."""
    if reference is None:
        names = rest_of_g2(quick)
        return {name: g2_molecule(name) for name in (*free_atoms(tuple(names)), *names)}
    every = w4_11(reference)
    names = [name for one in set_reactions(quick, reference) for name in one["species"]]
    return {name: every[name] for name in sorted(set(names), key=lambda n: (len(every[n]), n))}


def set_reactions(quick: bool, reference: Path) -> list[dict[str, Any]]:
    """Reactions of a file of W4-11, each of which splits a molecule, that comes first."""
    found: list[dict[str, Any]] = json.loads(reference.read_text())["reactions"]
    return [one for one in found if not quick or one["species"][0] in _QUICK_W4_11]


def set_store(
    clone: Clone, output: Path, reference: Path | None, is_self_consistent: bool = False
) -> Store:
    """Where errors of the clones of a parent on the larger set are."""
    name = f"{G2 if reference is None else W4_11}{'-scf' if is_self_consistent else ''}"
    quick = "quick-" if clone.quick else ""
    return Store(output / "sets" / f"{quick}{name}" / clone.parent)


def set_errors(
    clones: list[Clone], output: Path, reference: Path | None, is_self_consistent: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kept records of the larger set by name of the molecule or atom.

    Yields
    ------
    (str, dict)
        "energy" is the parent's (Hartree), "errors" are those of finished clones (mHa) by name.
    """
    done = {c.name: record for c in clones if (record := trained(output, c)) is not None}
    if not done:
        return
    store = set_store(clones[0], output, reference, is_self_consistent)
    for name, atoms in set_molecules(clones[0].quick, reference).items():
        geometry = [atoms.numbers.tolist(), atoms.positions.tolist()]
        record = store.read(name, geometry=geometry)
        if record is None or "failure" in record:
            continue
        valid = {
            clone: error
            for clone, (model, error) in record["errors"].items()
            if clone in done and model == done[clone]["model"] and error is not None
        }
        yield name, {"energy": record["energy"], "errors": valid}
