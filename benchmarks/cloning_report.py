"""Tables and pictures of what `cloning.py` has kept so far; computes nothing else."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import cloning_descriptors as descriptors
import cloning_elsewhere as elsewhere
import cloning_energies as energies
import cloning_pictures as pictures
import cloning_points as points
import cloning_tables as tables
import numpy as np
from ase import Atoms
from cloning_molecules import formula, held_out
from cloning_plan import STUDENTS, Clone
from cloning_training import trained

from deepchem_xc.cloning.atomisation import KCAL_PER_MOL
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.store import Store

Sections = list[str]


def write_report(clones: list[Clone], output: Path, reference: Path | None) -> str:
    """Write ``report.md`` and the pictures into the folder of results; return the text.

    Parameters
    ----------
    clones : list of Clone
        Those of the plan.
    output : Path
        Folder of all results.
    reference : Path or None
        File of W4-11, if it was computed.
    """
    done = {clone: record for clone in clones if (record := trained(output, clone)) is not None}
    sections: Sections = []
    if done:
        sections += ["## Clones", tables.clone_table(done)]
        sections += _points(list(done), done, output)
        sections += _energies(list(done), output)
        for own in (False, True):
            sections += _set(list(done), output, reference, own)
    sections += _descriptors(clones, output)
    sections += elsewhere.sections(output)
    text = "\n\n".join(sections) + "\n" if sections else "There are no results yet.\n"
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.md").write_text(text)
    return text


def _points(clones: list[Clone], done: dict[Clone, Any], output: Path) -> Sections:
    store = Store(output / "points")
    read = {clone: store.read(clone.name, model=done[clone]["model"]) for clone in clones}
    found = {clone: record for clone, record in read.items() if record is not None}
    if not found:
        return []
    about = (
        "At the parent's densities of molecules that were not sampled, root mean squares over "
        "electrons: mean over seeds, in brackets the worst. Derivatives of the energy density are "
        "the parts of the potential; those with respect to gradient and tau are multiplied by "
        "|grad n| / n and tau / n."
    )
    sections = ["## Points", about, tables.point_table(found)]
    for parent, members in tables.grouped(list(found), lambda clone: clone.parent).items():
        here = {clone: found[clone] for clone in members}
        sections.append(f"### {parent}")
        firsts = {
            kind: found[some[0]]["curves"]
            for kind, some in tables.grouped(members, lambda c: c.kind).items()
        }
        pictures.plot_factor(firsts, output / f"factor-{parent}.png")
        sections.append(
            f"![F_x of {parent} and its clones at r_s = {points.CURVE_RS:g}](factor-{parent}.png)"
        )
        for place, quantities in tables.SHOWN.items():
            _draw_bins(here, place, output / f"points-{parent}-{place}.png")
            sections.append(f"![errors by {place}](points-{parent}-{place}.png)")
            sections += [tables.bin_table(here, place, quantity) for quantity in quantities]
    return sections


def _draw_bins(found: dict[Clone, Any], place: str, path: Path) -> None:
    kinds = tables.grouped(list(found), lambda clone: clone.kind)
    first = next(iter(found.values()))["bins"][place]
    values: dict[str, dict[str, list[float | None]]] = {}
    for quantity in (q for q in points.QUANTITIES if q in first):
        for kind, members in kinds.items():
            rows = [found[clone]["bins"][place][quantity] for clone in members]
            known = [[one for one in column if one is not None] for column in zip(*rows)]
            means = [float(np.mean(one)) if one else None for one in known]
            values.setdefault(quantity, {})[kind] = means
    pictures.plot_bins(values, first["electrons"], place, path)


def _energies(clones: list[Clone], output: Path) -> Sections:
    errors = {clone: energies.errors(clone, output) for clone in clones}
    named = {
        clone: tables.energies_by_name(one, clone.quick) for clone, one in errors.items() if one
    }
    if not named:
        return []
    found = {clone: tables.measures(one) for clone, one in named.items()}
    about = (
        "Self-consistent energies of clones less those of their parents, molecules that were not "
        "sampled: absolute errors, mean over seeds, in brackets the worst seed."
    )
    sections = ["## Molecules", about, tables.energy_table(found)]
    failed = {clone.name: energies.failures(clone, output) for clone in clones}
    texts = [f"{name} ({', '.join(some)})" for name, some in failed.items() if some]
    if texts:
        sections.append(f"Not converged: {'; '.join(texts)}.")
    by_parent = tables.grouped(list(found), lambda clone: clone.parent)
    for measure in ("atoms", "atomisation"):
        seeds = {
            parent: {
                kind: [found[c][measure] for c in some if found[c].get(measure, 0.0) > 0.0]
                for kind, some in tables.grouped(members, lambda c: c.kind).items()
            }
            for parent, members in by_parent.items()
        }
        title = f"{tables.MEASURES[measure]}"
        pictures.plot_seeds(seeds, title, output / f"seeds-{measure}.png")
        sections.append(f"![{title} by seed](seeds-{measure}.png)")
    for attribute, one, other in (
        *(("student", *pair) for pair in itertools.combinations(STUDENTS, 2)),
        ("recipe", "polished", "protocol"),
    ):
        pairs = tables.pair_table(found, attribute, one, other)
        sections += [pairs] if pairs else []
    for parent, members in by_parent.items():
        here = {clone: named[clone] for clone in members}
        sections.append(f"### {parent}: each molecule")
        sections += [
            tables.name_table(here, what) for what in ("atoms", "atomisation", "reactions")
        ]
    return sections


def _set(
    clones: list[Clone], output: Path, reference: Path | None, is_self_consistent: bool
) -> Sections:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for parent, members in tables.grouped(clones, lambda clone: clone.parent).items():
        for clone, found in _set_of(members, output, reference, is_self_consistent).items():
            rows.setdefault((parent, clone.kind), []).append(found)
    if not rows:
        return []
    what = "the rest of the g2 set" if reference is None else "W4-11"
    how = "self-consistent" if is_self_consistent else "first order, at the parent's densities"
    return [f"## Atomisation energies of {what}: {how}", tables.set_table(rows, bool(reference))]


def _set_of(
    clones: list[Clone], output: Path, reference: Path | None, is_self_consistent: bool
) -> dict[Clone, dict[str, Any]]:
    """Measures of the clones of one parent on the larger set."""
    read = dict(energies.set_errors(clones, output, reference, is_self_consistent))
    molecules = energies.set_molecules(clones[0].quick, reference)
    parts = _parts(molecules, clones[0].quick, reference)
    sampled = {formula(g2_molecule(name)) for name in clones[0].settings.molecules}
    total = {name: record["energy"] for name, record in read.items()}
    deviations: dict[str, float] | None = None
    if reference is not None:
        deviations = {}
        for one in energies.set_reactions(clones[0].quick, reference):
            counts = dict(zip(one["species"], one["stoichiometry"], strict=True))
            if counts.keys() <= total.keys():
                energy = KCAL_PER_MOL * sum(n * total[name] for name, n in counts.items())
                deviations[one["species"][0]] = energy - one["reference_kcal_mol"]
    found = {}
    for clone in clones:
        errors = {
            name: record["errors"][clone.name]
            for name, record in read.items()
            if clone.name in record["errors"]
        }
        apart = {
            name: 1e-3 * KCAL_PER_MOL * sum(n * errors[part] for part, n in counts.items())
            for name, counts in parts.items()
            if counts.keys() <= errors.keys()
        }
        measured = tables.set_measures(apart, molecules, sampled, deviations)
        if measured is not None:
            found[clone] = measured
    return found


def _parts(
    molecules: dict[str, Atoms], quick: bool, reference: Path | None
) -> dict[str, dict[str, int]]:
    """Number of each product of atomisation by molecule, negative for the molecule itself."""
    if reference is not None:
        return {
            one["species"][0]: dict(zip(one["species"], one["stoichiometry"], strict=True))
            for one in energies.set_reactions(quick, reference)
        }
    return {
        name: {name: -1, **Counter(atoms.get_chemical_symbols())}
        for name, atoms in molecules.items()
        if len(atoms) > 1
    }


def _descriptors(clones: list[Clone], output: Path) -> Sections:
    some = [clone for clone in clones if clone.parent == descriptors.PARENT]
    if not some:
        return []
    store, key = descriptors.store_of(some[0].quick, output), descriptors.key_of(some[0])
    read = {name: store.read(name, key=key) for name in held_out(some[0].quick)}
    found = {name: record["kinds"] for name, record in read.items() if record is not None}
    if not found:
        return []
    pictures.plot_descriptors(found, output / "descriptors.png")
    about = (
        f"Densities of {descriptors.PARENT} with all electrons, and with {descriptors.POTENTIALS} "
        f"({descriptors.BASIS}). Common part of the distributions of electrons, 1 if they are the "
        "same, and the share of the valence electrons where, by r_s and s, the density of all "
        "electrons has less than a tenth of it."
    )
    return [
        "## Descriptors",
        about,
        tables.descriptor_table(found),
        "Quantiles, means over molecules (r_s in bohr):",
        tables.quantile_table(found),
        "![descriptors](descriptors.png)",
    ]
