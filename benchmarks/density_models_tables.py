"""Tables of `density_models.py`: from kept numbers to Markdown, without computing anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepchem_xc.tables import as_table

#: A training is flat if its last third lowers the best validation error by less than this part.
FLAT = 0.05
#: Validations that there must be before and in the last third for a verdict.
_LEAST = 2
#: Largest errors that count as accurate: meV/atom, meV/Angstrom, meV.
LIMITS = {"free_energy": 1.0, "kohn_sham_free_energy": 1.0, "forces": 30.0, "gap": 43.0}
LIMITS |= {"bands": 43.0}
#: Titles of the quantities of energies, with their units.
QUANTITIES = {
    "free_energy": "Harris-Foulkes (meV/atom)",
    "kohn_sham_free_energy": "Kohn-Sham (meV/atom)",
    "forces": "forces (meV/Angstrom)",
    "gap": "gap (meV)",
    "bands": "bands (meV)",
}


def improvement(curve: Sequence[Sequence[float | None]]) -> float | None:
    """Part by which the last third of a training lowers the best validation error.

    Parameters
    ----------
    curve : sequence
        Of each epoch its number from 1, the loss, and the validation error or None.

    Returns
    -------
    float or None
        None if either part of the training has fewer than two validations.
    """
    if not curve:
        return None
    border = 2.0 * float(curve[-1][0] or 0) / 3.0
    judged = [(float(e or 0), v) for e, _, v in curve if v is not None]
    before = [v for e, v in judged if e <= border]
    after = [v for e, v in judged if e > border]
    if min(len(before), len(after)) < _LEAST:
        return None
    return max(0.0, 1.0 - min(after) / min(before))


def is_flat(curve: Sequence[Sequence[float | None]]) -> bool | None:
    """Whether the last third lowers the best validation error by less than `FLAT`."""
    found = improvement(curve)
    return None if found is None else found < FLAT


def training_table(trainings: Sequence[Mapping[str, Any]]) -> str:
    """What was trained, for how long, and whether the curve is flat.

    Parameters
    ----------
    trainings : sequence of mapping
        ``set``, ``network``, ``target``, ``seed``, ``fraction`` and what `train` keeps.
    """
    rows = []
    for one in trainings:
        judged = [v for _, _, v in one["curve"] if v is not None]
        gained = improvement(one["curve"])
        flat = "" if gained is None else f"{'yes' if gained < FLAT else 'no'}, {100 * gained:.1f} %"
        done = one["curve"][-1][0] if one["curve"] else 0
        state = f"{done}" if one["finished"] else f"{done} of {one['epochs']}"
        rows.append(
            [
                *(str(one[name]) for name in ("set", "network", "target", "seed", "fraction")),
                str(one["structures"]),
                str(one["parameters"]),
                state,
                str(done * one["structures"]),
                f"{one['cpu_seconds'] / 3600.0:.2f}",
                f"{min(judged):.3g}" if judged else "",
                flat if one["finished"] else "",
            ]
        )
    header = ["set", "network", "target", "seed", "part", "structures", "parameters", "epochs"]
    header += ["steps", "processor hours", "best validation (%)", "flat, last third gains"]
    return as_table(rows, header, left=5, markdown=True)


def means(errors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean error of each structure over several seeds, of the structures that all have."""
    common = [name for name in errors[0] if all(name in one for one in errors)]
    return {name: float(np.mean([one[name] for one in errors])) for name in common}


def share_better(errors: Mapping[str, float], others: Mapping[str, float]) -> tuple[int, int]:
    """Number of structures with a smaller error than the other's, and of those that both have."""
    common = [name for name in errors if name in others]
    return sum(errors[name] < others[name] for name in common), len(common)


def error_table(
    errors: Mapping[str, Sequence[Mapping[str, float]]],
    pairs: Mapping[str, str],
    electrons: Mapping[str, float] | None = None,
) -> str:
    """Errors of models on unseen structures.

    Parameters
    ----------
    errors : mapping
        For each model, one with each seed: ``{structure: error}``, per cent.
    pairs : mapping
        ``{model with the difference: the same with the total density}``.
    electrons : mapping, optional
        Error of the number of electrons with the largest size, signed, where a model has one.
    """
    rows = []
    for name, seeds in errors.items():
        each = means(seeds)
        values = np.array(list(each.values()))
        by_seed = [float(np.mean(list(one.values()))) for one in seeds]
        spread = f" ({min(by_seed):.3g} to {max(by_seed):.3g})" if len(seeds) > 1 else ""
        better = ""
        if name in pairs and pairs[name] in errors:
            less, count = share_better(each, means(errors[pairs[name]]))
            better = f"{less} of {count} ({100.0 * less / count:.0f} %)" if count else ""
        largest = max(each, key=lambda key: each[key])
        wrong = (electrons or {}).get(name)
        rows.append(
            [
                name,
                str(len(seeds)) if name in pairs or name in pairs.values() else "",
                f"{values.mean():.3g}{spread}",
                f"{np.median(values):.3g}",
                f"{values.max():.3g} ({largest})",
                better,
                "" if wrong is None else f"{wrong:+.1g}",
            ]
        )
    header = ["model", "seeds", "mean (%)", "median (%)", "largest (%)"]
    header += ["difference better than total", "electrons, largest error (signed)"]
    return as_table(rows, header, markdown=True)


def energy_table(errors: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    """Energies, forces and states at predicted densities.

    Parameters
    ----------
    errors : mapping
        ``{model: {structure: {quantity: error or None}}}``.
    """
    rows = []
    for name, structures in errors.items():
        for quantity, title in QUANTITIES.items():
            values = {
                key: abs(value)
                for key, one in structures.items()
                if (value := one[quantity]) is not None
            }
            if not values:
                continue
            limit = LIMITS[quantity]
            within = sum(value <= limit for value in values.values())
            largest = max(values, key=lambda key: values[key])
            rows.append(
                [
                    name,
                    title,
                    f"{within} of {len(values)} within {limit:g}",
                    f"{np.mean(list(values.values())):.3g}",
                    f"{values[largest]:.3g} ({largest})",
                ]
            )
    header = ["density", "quantity", "accurate", "mean", "largest"]
    return as_table(rows, header, left=2, markdown=True)


def start_table(costs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """What starts save, relative to superposed atoms, summed over structures.

    Parameters
    ----------
    costs : mapping
        ``{structure: {start: {steps, applications, seconds, wall, energy, moment}}}``, of which
        "superposition" is the default.
    """
    rows = []
    kinds = [kind for kind in next(iter(costs.values())) if kind != "superposition"]
    for kind in kinds:
        cells = [kind]
        worse: dict[str, int] = {}
        for what in ("steps", "applications", "seconds", "wall"):
            pairs = [(one[kind][what], one["superposition"][what]) for one in costs.values()]
            saved = [1.0 - new / old for new, old in pairs]
            cells.append(f"{100 * np.mean(saved):.0f} % ({100 * min(saved):.0f} %)")
            worse[what] = sum(new > old for new, old in pairs)
        other = [
            abs(one[kind]["energy"] - one["superposition"]["energy"]) for one in costs.values()
        ]
        moments = [
            abs(one[kind]["moment"] - one["superposition"]["moment"]) for one in costs.values()
        ]
        cells += [f"{worse['steps']}, {worse['applications']} of {len(costs)}"]
        cells += [f"{max(other):.0e}", f"{max(moments):.0e}"]
        rows.append(cells)
    header = ["start", "steps saved (least)", "applications", "processor time", "wall time"]
    header += ["more steps, applications", "energy differs (Ha)", "moment (mu_B)"]
    return as_table(rows, header, markdown=True)


def each_start_table(costs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Steps, and in brackets applications of H to a band, of each structure and start."""
    kinds = list(next(iter(costs.values())))
    rows = [
        [name, *(f"{one[k]['steps']:.0f} ({one[k]['applications']:.1f})" for k in kinds)]
        for name, one in costs.items()
    ]
    return as_table(rows, ["structure", *kinds], markdown=True)


def inference_table(
    found: Sequence[Mapping[str, Any]], loops: Mapping[int, Mapping[str, Any]]
) -> str:
    """Processor time and memory of predictions, and their part of the loop's.

    Parameters
    ----------
    found : sequence of mapping
        What `density_models_inference.measure` returns for each cell.
    loops : mapping
        The same of the loop, by the number of atoms.
    """
    rows = []
    for one in found:
        parts = [one[name] for name in ("superposition", "network", "sum")]
        total = sum(part["seconds"] for part in parts)
        loop = loops.get(one["number"])
        if loop is None:
            share, time = "", ""
        elif "stopped" in loop:
            time = f"over {loop['stopped']:.0f}"
            share = f"below {100 * total / loop['stopped']:.2g} %"
        else:
            time, share = f"{loop['seconds']:.3g}", f"{100 * total / loop['seconds']:.2g} %"
        cells = [f"{part['seconds']:.2g} ({part['MiB']:.0f})" for part in parts]
        rows.append([str(one["number"]), str(one["plane_waves"]), *cells, time, share])
    header = ["atoms", "plane waves", "superposition, s (MiB)", "network, s (MiB)"]
    header += ["sum over the sphere, s (MiB)", "loop, s", "part of the loop"]
    return as_table(rows, header, markdown=True)


def plan_table(rows: Sequence[tuple[Any, str]]) -> str:
    """Trainings of the plan with their settings, hours and state."""
    cells = []
    for training, state in rows:
        made = training.settings
        cells.append(
            [
                training.name,
                str(made.steps),
                f"{made.rate:g} to {made.rate * made.last_rate:g}",
                "" if made.points is None else str(made.points),
                f"{made.seconds:g}",
                f"{training.hours:.2f}",
                state,
            ]
        )
    header = ["training", "steps", "learning rate", "points", "s a step", "hours", "state"]
    return as_table(cells, header, markdown=True)
