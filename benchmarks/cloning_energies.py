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

from cloning_plan import Clone
from cloning_species import Species, SpeciesDensity, density_of, g2_densities, rest_of_g2, tested
from cloning_training import Data, clone_file, trained

from deepchem_xc.cloning import KeptEnergies
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
        (kept,) = g2_densities(clone, [name], data).values()
        found = self_consistent(kept, functional)
        store.write(name, {"model": done["model"], **found})
    return True


def self_consistent(kept: SpeciesDensity, functional: XCFunctional) -> dict[str, Any]:
    """Energy with a clone less that of the parent (mHa), or why there is none."""
    began = time.process_time()
    found: dict[str, Any]
    try:
        error = 1e3 * (kept.energy_with(functional) - kept.energy)
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
    for species in set_species(first.quick, reference):
        record = store.read(species.name, geometry=species.positions_list) or {
            "geometry": species.positions_list,
            "errors": {},
        }
        missing = [c for c in done if record["errors"].get(c.name, [None])[0] != done[c]["model"]]
        if not missing or "failure" in record:
            continue
        if time.monotonic() > deadline:
            return False
        try:
            kept = _density(species, first, data, output, reference)
        except SCFConvergenceError as failure:
            store.write(species.name, {**record, "failure": str(failure)})
            continue
        for clone in missing:
            functionals.setdefault(clone, get_xc(clone_file(output, clone)))
        found = _errors_of(kept, data.parent(first), functionals, missing, is_self_consistent)
        for clone in missing:
            record["errors"][clone.name] = [done[clone]["model"], found[clone]]
        store.write(species.name, {**record, "energy": kept.energy})
    return True


def _errors_of(
    kept: SpeciesDensity,
    parent: XCFunctional,
    functionals: dict[Clone, XCFunctional],
    clones: list[Clone],
    is_self_consistent: bool,
) -> dict[Clone, float | None]:
    """Errors of one species by clone, mHa."""
    if is_self_consistent:
        return {c: self_consistent(kept, functionals[c])["error"] for c in clones}
    energies = KeptEnergies(parent, [kept], _LEVEL)
    return {c: 1e3 * float(energies.errors(functionals[c])[0]) for c in clones}


def _density(
    species: Species, clone: Clone, data: Data, output: Path, reference: Path | None
) -> SpeciesDensity:
    if reference is None:
        return g2_densities(clone, [species.name], data)[species.name]
    return density_of(species, clone, data, data.folder or output / "densities")


def set_species(quick: bool, reference: Path | None) -> list[Species]:
    """Species of the larger set: atoms, then molecules."""
    if reference is None:
        molecules = [Species.of_g2(name) for name in rest_of_g2(quick)]
        symbols = sorted({symbol for one in molecules for symbol in one.symbols})
        return [*map(Species.of_g2, symbols), *molecules]
    every = Species.read(reference)
    names = [
        name for one in set_reactions(quick, reference) for name in one["species"]
    ]  # in the order of the file, the molecule first
    found = [every[name] for name in dict.fromkeys(names)]
    return sorted(found, key=lambda one: not one.is_atom)


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
) -> Iterator[tuple[Species, dict[str, Any]]]:
    """Kept records of the larger set by species.

    Yields
    ------
    (Species, dict)
        "energy" is the parent's (Hartree), "errors" are those of finished clones (mHa) by name.
    """
    done = {c.name: record for c in clones if (record := trained(output, c)) is not None}
    if not done:
        return
    store = set_store(clones[0], output, reference, is_self_consistent)
    for species in set_species(clones[0].quick, reference):
        record = store.read(species.name, geometry=species.positions_list)
        if record is None or "failure" in record:
            continue
        valid = {
            name: error
            for name, (model, error) in record["errors"].items()
            if name in done and model == done[name]["model"] and error is not None
        }
        yield species, {"energy": record["energy"], "errors": valid}
