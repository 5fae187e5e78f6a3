"""Tables and pictures of what `density_models.py` has kept so far; computes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import density_models_energies as energies
import density_models_pictures as pictures
import density_models_tables as tables
from density_models_errors import ATOMS, paths_of, results
from density_models_inference import SIZES
from density_models_plan import SETS, Training
from density_models_training import Data, key_of

from deepchem_xc.store import Store


def write_report(trainings: list[Training], data: Data, output: Path) -> str:
    """Write ``report.md`` and the pictures into the folder of results; return the text.

    Parameters
    ----------
    trainings : list of Training
        Those of the plan.
    data : Data
        Their densities, none of which is read.
    output : Path
        Folder of all results.
    """
    sections = []
    kept = _trainings(trainings, data, output)
    if kept:
        sections += ["## Trainings", tables.training_table(list(kept.values()))]
    for name in SETS:
        done = [one for one in trainings if one.set == name and one.name in kept]
        if not done:
            continue
        curves = {one.name: kept[one.name]["curve"] for one in done}
        pictures.plot_curves(curves, output / f"curves-{name}.png")
        finished = [one for one in done if kept[one.name]["finished"]]
        for title, make in _SECTIONS.items():
            found = make(finished, data, output, name)
            if found:
                sections += [f"## {title}: {name}", found]
    learning = _learning(trainings, kept, data, output)
    if learning:
        sections += ["## Learning curves: silicon", learning]
    inference = _inference(output)
    if inference:
        sections += ["## Inference: rattled silicon", inference]
    text = "\n\n".join(sections) + "\n" if sections else "There are no results yet.\n"
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.md").write_text(text)
    return text


def _trainings(trainings: list[Training], data: Data, output: Path) -> dict[str, dict[str, Any]]:
    store = Store(output / "trainings", print)
    kept = {}
    for one in trainings:
        if store.path(one.name).exists():
            found = store.read(one.name, key=key_of(data, one))
            if found is not None:
                about = ("set", "network", "target", "seed", "fraction")
                kept[one.name] = {**found, **{name: getattr(one, name) for name in about}}
    return kept


def _read(
    training: Training | str, data: Data, output: Path, kind: str, name: str
) -> dict[str, dict[str, Any]]:
    """Kept records of a model by structure."""
    store, identity, _ = results(training, data, output, kind)
    if store is None or not store.folder.exists():
        return {}
    found = {key: store.read(p.stem, model=identity) for key, p in paths_of(data, name).items()}
    return {key: record for key, record in found.items() if record is not None}


def _label(training: Training) -> str:
    return f"{training.network}, {training.target}"


def _errors(trainings: list[Training], data: Data, output: Path, name: str) -> str:
    atoms = _read(name, data, output, "errors", name)
    if not atoms:
        return ""
    errors = {ATOMS: [{key: one["error"] for key, one in atoms.items()}]}
    samples: dict[str, list[list[float]]] = {}
    electrons: dict[str, float] = {}
    for training in trainings:
        found = _read(training, data, output, "errors", name)
        if training.fraction != "1" or not found:
            continue
        label = _label(training)
        errors.setdefault(label, []).append({key: one["error"] for key, one in found.items()})
        if training.network == "points":
            # Its own density, without the constant, is what is published.
            own = f"{label}, as published"
            errors.setdefault(own, []).append({k: one["published"] for k, one in found.items()})
            label = own
        signed = [electrons.get(label, 0.0), *(one["electrons"] for one in found.values())]
        electrons[label] = max(signed, key=abs)
        if training.seed == 0 and training.network == "atoms":
            samples[_label(training)] = [pair for one in found.values() for pair in one["sample"]]
    pairs = {key: key.replace("difference", "total") for key in errors if "difference" in key}
    each = {label: tables.means(seeds) for label, seeds in errors.items()}
    pictures.plot_violins(each, output / f"violins-{name}.png")
    if samples:
        pictures.plot_bonding(samples, output / f"parity-{name}.png")
    elements = {key: one["elements"] for key, one in atoms.items()}
    if len({symbol for one in elements.values() for symbol in one}) > 1:
        shown = {k: v for k, v in each.items() if "published" not in k}
        pictures.plot_by_element(shown, elements, output / f"elements-{name}.png")
    return tables.error_table(errors, pairs, electrons)


def _energies(trainings: list[Training], data: Data, output: Path, name: str) -> str:
    store = energies.converged_store(name, data, output)
    if not store.folder.exists():
        return ""
    given = data.structures(name, "test")
    exact = {
        key: store.read(path.stem, model=given[key].digest)
        for key, path in paths_of(data, name).items()
    }
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    models: list[Training | str] = [name, *(t for t in trainings if t.fraction == "1")]
    for training in models:
        records = _read(training, data, output, "energies", name)
        label = ATOMS if isinstance(training, str) else f"{_label(training)}, {training.seed}"
        errors = {
            key: energies.errors(record, reference)
            for key, record in records.items()
            if (reference := exact[key]) is not None
        }
        if errors:
            found[label] = errors
    return tables.energy_table(found) if found else ""


def _starts(trainings: list[Training], data: Data, output: Path, name: str) -> str:
    parts = []
    for training in trainings:
        records = _read(training, data, output, "starts", name)
        if records:
            costs = {key: one["starts"] for key, one in records.items()}
            parts += [f"{_label(training)}, seed {training.seed}:", tables.start_table(costs)]
            parts.append(tables.each_start_table(costs))
    return "\n\n".join(parts)


def _learning(trainings: list[Training], kept: Mapping[str, Any], data: Data, output: Path) -> str:
    curves: dict[str, dict[int, float]] = {}
    for training in trainings:
        wanted = training.set == "silicon" and training.network == "atoms" and training.seed == 0
        if not wanted or not kept.get(training.name, {}).get("finished"):
            continue
        found = _read(training, data, output, "errors", "silicon")
        if found:
            mean = sum(one["error"] for one in found.values()) / len(found)
            number = kept[training.name]["structures"]
            curves.setdefault(training.target, {})[number] = mean
    if max((len(one) for one in curves.values()), default=0) < 2:
        return ""
    numbers = sorted({number for one in curves.values() for number in one})
    atoms = _read("silicon", data, output, "errors", "silicon")
    if atoms:
        mean = sum(one["error"] for one in atoms.values()) / len(atoms)
        curves = {ATOMS: dict.fromkeys(numbers, mean), **curves}
    pictures.plot_learning(curves, output / "learning.png")
    rows = [
        [target, *(f"{one[n]:.3g}" if n in one else "" for n in numbers)]
        for target, one in curves.items()
    ]
    header = ["mean error on allotropes (%), by training structures", *map(str, numbers)]
    return tables.as_table(rows, header, markdown=True)


def _inference(output: Path) -> str:
    store = Store(output / "inference")
    found = [one for n in SIZES if (one := store.read(f"{n}")) is not None]
    loops = {n: one for n in SIZES if (one := store.read(f"loop-{n}")) is not None}
    if not found:
        return ""
    imported, loaded = (min(one[key] for one in found) for key in ("import", "load"))
    once = "Times are the processor's, by one thread unless --threads says otherwise. "
    once += f"Once a process: {imported:.1f} s to import e3nn, {loaded:.1f} s to load the model."
    return f"{tables.inference_table(found, loops)}\n\n{once}"


_SECTIONS: dict[str, Callable[[list[Training], Data, Path, str], str]] = {
    "Unseen structures": _errors,
    "Energies without a loop": _energies,
    "Starts of the loop": _starts,
}
