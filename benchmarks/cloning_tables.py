"""Numbers and tables of `cloning.py`, from what its stages have kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from cloning_descriptors import EDGES as DESCRIPTOR_EDGES
from cloning_descriptors import KINDS, QUANTILES, overlap, unsampled
from cloning_molecules import atomisation, formula, held_out, reaction, reactions
from cloning_plan import Clone
from cloning_points import EDGES, QUANTITIES

from deepchem_xc.cloning.atomisation import KCAL_PER_MOL
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.tables import as_table

#: Measures of energies, with the title of their column.
MEASURES = {
    "atoms": "atoms, mean (mHa)",
    "worst atom": "largest",
    "molecules": "molecules, mean (mHa)",
    "atomisation": "atomisation, mean (kcal/mol)",
    "worst atomisation": "largest",
    "reactions": "reactions, mean (kcal/mol)",
    "worst reaction": "largest",
}
#: Quantities that are shown by bins of each place; the records hold the others too.
SHOWN = {"s": ("F_x", "de/dgrad"), "r_s": ("F_c", "de/dn")}
_UNITS = {"F_x": "", "F_c": "", "de/dn": " (mHa)", "de/dgrad": " (mHa)", "de/dtau": " (mHa)"}


def energies_by_name(errors: Mapping[str, float], quick: bool) -> dict[str, dict[str, float]]:
    """Errors of atoms and molecules (mHa), atomisation and reaction energies (kcal/mol), by name.

    Parameters
    ----------
    errors : mapping
        Errors of total energies by species, mHa; some may be missing.
    quick : bool
        Which molecules and reactions there are.
    """
    factor = 1e-3 * KCAL_PER_MOL
    atoms, molecules, apart = {}, {}, {}
    for name in held_out(quick):
        molecule = g2_molecule(name)
        symbols = molecule.get_chemical_symbols()
        atoms |= {symbol: errors[symbol] for symbol in symbols if symbol in errors}
        if name in errors:
            molecules[name] = errors[name]
            if all(symbol in errors for symbol in symbols):
                apart[name] = factor * atomisation(name, molecule, errors)
    found = {
        name: factor * reaction(parts, errors)
        for name, parts in reactions(quick).items()
        if all(part in errors for part in parts)
    }
    return {"atoms": atoms, "molecules": molecules, "atomisation": apart, "reactions": found}


def measures(named: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean and largest absolute errors of `energies_by_name`; those without a number are left out.

    Returns
    -------
    dict
        By the keys of `MEASURES`.
    """
    found = {}
    worst = {
        "atoms": "worst atom",
        "atomisation": "worst atomisation",
        "reactions": "worst reaction",
    }
    for kind, errors in named.items():
        if errors:
            sizes = np.abs(list(errors.values()))
            found[kind] = float(sizes.mean())
            if kind in worst:
                found[worst[kind]] = float(sizes.max())
    return found


def grouped(clones: Sequence[Clone], key: Callable[[Clone], Any]) -> dict[Any, list[Clone]]:
    """Clones by a key, in order."""
    found: dict[Any, list[Clone]] = {}
    for clone in clones:
        found.setdefault(key(clone), []).append(clone)
    return found


def over_seeds(values: Sequence[float]) -> str:
    """Mean, and of several seeds the worst."""
    if not values:
        return ""
    text = f"{np.mean(values):.3g}"
    return text if len(values) == 1 else f"{text} ({max(values):.3g})"


def plan_table(rows: Sequence[tuple[Clone, str]]) -> str:
    """Clones of the plan with their hours and state."""
    cells = []
    for clone, state in rows:
        made = clone.settings
        numbers = (made.steps, made.polish, made.energy_steps)
        phases = ", ".join(str(number) for number in numbers if number)
        cells.append([clone.name, clone.functional, phases, f"{clone.hours:.2f}", state])
    return as_table(cells, ["clone", "parent", "steps", "hours", "state"], left=3, markdown=True)


def clone_table(records: Mapping[Clone, Mapping[str, Any]]) -> str:
    """Finished clones: errors at the points of their training, time, and hash of their file."""
    rows = [
        [
            clone.name,
            f"{record['errors']['exchange']:.2e}",
            f"{record['errors']['correlation']:.2e}",
            f"{record['cpu_seconds'] / 60.0:.1f}",
            record["model"][:12],
        ]
        for clone, record in records.items()
    ]
    header = ["clone", "rms of F_x", "rms of F_c", "CPU minutes", "SHA-256"]
    return as_table(rows, header, markdown=True)


def point_table(records: Mapping[Clone, Mapping[str, Any]]) -> str:
    """Root mean squares over all electrons by kind: mean over seeds, and the worst seed."""
    rows = []
    for (parent, kind), clones in grouped(list(records), lambda c: (c.parent, c.kind)).items():
        cells = [
            over_seeds([found[q] for c in clones if q in (found := records[c]["all"])])
            for q in QUANTITIES
        ]
        rows.append([parent, kind, str(len(clones)), *cells])
    header = ["parent", "clone", "seeds", *(f"{q}{_UNITS[q]}" for q in QUANTITIES)]
    return as_table(rows, header, left=2, markdown=True)


def bin_table(records: Mapping[Clone, Mapping[str, Any]], place: str, quantity: str) -> str:
    """Root mean squares by bins of one parent's clones; the mean over seeds."""
    kinds = grouped(list(records), lambda clone: clone.kind)
    edges = EDGES[place]
    shares = next(iter(records.values()))["bins"][place]["electrons"]
    rows = []
    for i, share in enumerate(shares):
        last = not np.isfinite(edges[i + 1])
        label = f"above {edges[i]:g}" if last else f"{edges[i]:g} to {edges[i + 1]:g}"
        cells = []
        for clones in kinds.values():
            values = [records[clone]["bins"][place][quantity][i] for clone in clones]
            known = [value for value in values if value is not None]
            cells.append(f"{np.mean(known):.2e}" if known else "")
        rows.append([label, f"{100 * share:.2g}", *cells])
    unit = "bohr" if place == "r_s" else ""
    title = f"{quantity}{_UNITS[quantity]} by {place}{f' ({unit})' if unit else ''}"
    return as_table(rows, [title, "electrons (%)", *kinds], markdown=True)


def energy_table(found: Mapping[Clone, Mapping[str, float]]) -> str:
    """Measures of energies by kind: mean over seeds, and the worst seed."""
    rows = []
    for (parent, kind), clones in grouped(list(found), lambda c: (c.parent, c.kind)).items():
        cells = [over_seeds([found[c][m] for c in clones if m in found[c]]) for m in MEASURES]
        rows.append([parent, kind, str(len(clones)), *cells])
    return as_table(rows, ["parent", "clone", "seeds", *MEASURES.values()], left=2, markdown=True)


def name_table(named: Mapping[Clone, Mapping[str, Mapping[str, float]]], what: str) -> str:
    """Mean absolute errors over seeds of each molecule or reaction, by kind."""
    kinds = grouped(list(named), lambda clone: clone.kind)
    names = list(dict.fromkeys(name for one in named.values() for name in one[what]))
    rows = []
    for name in names:
        cells = []
        for clones in kinds.values():
            values = [
                abs(named[clone][what][name]) for clone in clones if name in named[clone][what]
            ]
            cells.append(f"{np.mean(values):.3f}" if values else "")
        rows.append([name, *cells])
    unit = "mHa" if what in ("atoms", "molecules") else "kcal/mol"
    return as_table(rows, [f"{what} ({unit})", *kinds], markdown=True)


def pair_table(
    found: Mapping[Clone, Mapping[str, float]], attribute: str, one: str, other: str
) -> str:
    """In how many pairs, alike except for one attribute, the first is more accurate.

    Parameters
    ----------
    found : mapping
        Measures by clone.
    attribute : str
        "student" or "recipe".
    one, other : str
        The two values that are compared.
    """
    rest = [name for name in ("parent", "student", "recipe", "seed") if name != attribute]
    pairs: dict[tuple[Any, ...], dict[str, Mapping[str, float]]] = {}
    for clone, values in found.items():
        key = tuple(getattr(clone, name) for name in rest)
        pairs.setdefault(key, {})[getattr(clone, attribute)] = values
    rows = []
    for group in dict.fromkeys(key[:2] for key in pairs):
        both = [p for key, p in pairs.items() if key[:2] == group and {one, other} <= p.keys()]
        if not both:
            continue
        cells = []
        for measure in ("atoms", "atomisation", "reactions"):
            known = [
                (p[one][measure], p[other][measure])
                for p in both
                if measure in p[one] and measure in p[other]
            ]
            better = sum(first < second for first, second in known)
            cells.append(f"{better} of {len(known)}" if known else "")
        rows.append([*map(str, group), *cells])
    if not rows:
        return ""
    header = [f"{one} better than {other}", rest[1], "atoms", "atomisation", "reactions"]
    return as_table(rows, header, left=2, markdown=True)


def set_table(
    rows: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], has_reference: bool
) -> str:
    """Atomisation energies of the larger set by parent and kind.

    Parameters
    ----------
    rows : mapping
        Of each (parent, kind) a list over seeds of what `set_measures` returns.
    has_reference : bool
        Whether deviations from reference energies are known.
    """
    cells = []
    for (parent, kind), seeds in rows.items():
        worst = max(seeds, key=lambda one: one["largest"])
        row = [parent, kind, str(len(seeds)), str(worst["number"])]
        row += [over_seeds([one[key] for one in seeds]) for key in ("mean", "unsampled")]
        row.append(f"{worst['largest']:.3g} ({worst['name']})")
        if has_reference:
            row += [
                f"{seeds[0]['parent']:.2f}",
                over_seeds([one["clone"] for one in seeds]),
            ]
        cells.append(row)
    header = ["parent", "clone", "seeds", "molecules", "mean (kcal/mol)", "formula not sampled"]
    header.append("largest")
    if has_reference:
        header += ["parent to W4-11", "clone to W4-11"]
    return as_table(cells, header, left=2, markdown=True)


def set_measures(
    errors: Mapping[str, float],
    molecules: Mapping[str, Atoms],
    sampled: set[str],
    deviations: Mapping[str, float] | None = None,
) -> dict[str, Any] | None:
    """Mean and largest errors of atomisation energies of the larger set, kcal/mol.

    Parameters
    ----------
    errors : mapping
        Atomisation energy of the clone less the parent's by molecule, kcal/mol.
    molecules : mapping
        They themselves, by name.
    sampled : set of str
        Sum formulas of molecules that are sampled.
    deviations : mapping, optional
        The parent's atomisation energies less the reference, kcal/mol.

    Returns
    -------
    dict or None
        None without any molecule.
    """
    if not errors:
        return None
    name = max(errors, key=lambda one: abs(errors[one]))
    new = [abs(error) for one, error in errors.items() if formula(molecules[one]) not in sampled]
    found: dict[str, Any] = {
        "number": len(errors),
        "mean": float(np.mean(np.abs(list(errors.values())))),
        "unsampled": float(np.mean(new)) if new else 0.0,
        "largest": abs(errors[name]),
        "name": name,
    }
    if deviations is not None:
        found["parent"] = float(np.mean([abs(deviations[one]) for one in errors]))
        found["clone"] = float(np.mean([abs(deviations[one] + errors[one]) for one in errors]))
    return found


def descriptor_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """How much distributions of all electrons and with pseudopotentials have in common.

    Parameters
    ----------
    found : mapping
        Kinds of densities by molecule, as `cloning_descriptors.evaluate` keeps them.
    """
    rows = []
    for name, kinds in found.items():
        every, valence = (kinds[kind] for kind in KINDS)
        common = [overlap(every["shares"][key], valence["shares"][key]) for key in DESCRIPTOR_EDGES]
        common.append(overlap(every["joint"], valence["joint"]))
        electrons = f"{every['electrons']:.0f}, {valence['electrons']:.0f}"
        missing = 100.0 * unsampled(every["joint"], valence["joint"])
        rows.append([name, electrons, *(f"{one:.2f}" for one in common), f"{missing:.1f}"])
    header = ["molecule", "electrons", *DESCRIPTOR_EDGES, "r_s and s", "GTH alone (%)"]
    return as_table(rows, header, markdown=True)


def quantile_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Quantiles of descriptors over electrons, means over molecules."""
    rows = []
    for key in DESCRIPTOR_EDGES:
        for kind in KINDS:
            values = np.mean([kinds[kind]["quantiles"][key] for kinds in found.values()], axis=0)
            rows.append([key, kind, *(f"{value:.3f}" for value in values)])
    header = ["", "density", *(f"{100 * q:g} %" for q in QUANTILES)]
    return as_table(rows, header, left=2, markdown=True)
