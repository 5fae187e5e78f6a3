"""Tables and figure of `cloning_ccsd.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_xc.cloning.atomisation import KCAL_PER_MOL
from deepchem_xc.plotting.style import COLORS, panels_or_new, save
from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = ("clone", "random")
SETS = ("training", "validation", "W4-11")

# kcal/mol in a milli-Hartree.
MHA = 1e-3 * KCAL_PER_MOL

Records = Mapping[str, Mapping[str, Any]]


def mean_error(errors: Mapping[str, float]) -> float:
    """Mean absolute error.

    Examples
    --------
    >>> mean_error({"H2": -1.0, "HF": 3.0})
    2.0
    """
    return float(np.mean(np.abs(list(errors.values()))))


def scatter(values: Sequence[float]) -> str:
    """Mean, and the range where there are several.

    Examples
    --------
    >>> scatter([1.0, 2.0]), scatter([1.0])
    ('1.50 (1.00 to 2.00)', '1.00')
    """
    mean = f"{np.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


def of_start(records: Records, start: str) -> list[Mapping[str, Any]]:
    """Records of one kind of start, in the order of the seeds."""
    names = sorted(name for name in records if name.startswith(f"{start}-"))
    return [records[name] for name in names]


def table(records: Records) -> str:
    """Everything there is, in Markdown."""
    return "\n\n".join([summary(records), by_seed(records), self_consistent(records)])


def summary(records: Records) -> str:
    """Mean absolute errors before and after, over seeds."""
    parent = records["parent"]
    there = [name for name in SETS if name in parent["errors"]]
    rows = [["parent", "", *(f"{mean_error(parent['errors'][name]):.2f}" for name in there), ""]]
    for start in STARTS:
        found = of_start(records, start)
        for when in ("before", "after") if found else ():
            cells = [scatter([mean_error(one[when][name]) for one in found]) for name in there]
            moved = scatter([mean_error(one["atoms"]) / MHA for one in found])
            label = f"{start}, {when} training"
            rows.append([label, str(len(found)), *cells, moved if when == "after" else ""])
    numbers = {name: len(parent["errors"][name]) for name in there}
    columns = [f"{name} ({number} molecules)" for name, number in numbers.items()]
    text = (
        "Mean absolute errors of atomisation energies at the parent's densities (kcal/mol), mean "
        "and range over seeds, and mean change of the free atoms' total energies (mHa):\n\n"
    )
    text += as_table(rows, ["functional", "seeds", *columns, "atoms"], markdown=True)
    if "W4-11" not in there:
        text += "\n\nW4-11 was not evaluated: its file was not there."
    elif parent["left_out"]:
        text += f"\n\nNot converged with the parent: {', '.join(parent['left_out'])}."
    return text


def by_seed(records: Records) -> str:
    """Mean absolute errors after training of every seed, and what was chosen."""
    rows = []
    for start in STARTS:
        for name in sorted(name for name in records if name.startswith(f"{start}-")):
            one = records[name]
            stiffness, distance, *_ = min(one["path"], key=lambda point: point[3])
            cells = [f"{mean_error(one['after'][s]):.2f}" for s in SETS if s in one["after"]]
            worst = max(one["after"]["validation"].items(), key=lambda item: abs(item[1]))
            seconds = f"{one['cpu_seconds']:.0f}"
            rows.append(
                [name, f"{stiffness:.0e}", f"{distance:.2f}", *cells, _signed(worst), seconds]
            )
    if not rows:
        return "no training is finished yet"
    sets = [name for name in SETS if name in records["parent"]["errors"]]
    header = ["start", "stiffness", "distance", *sets, "largest in validation", "CPU s"]
    return "Each seed after training (kcal/mol):\n\n" + as_table(rows, header, markdown=True)


def _signed(item: tuple[str, float]) -> str:
    return f"{item[1]:+.1f} ({item[0]})"


def self_consistent(records: Records) -> str:
    """Errors of single molecules, to first order and self-consistently."""
    prefix = "self-consistent-"
    found = {name.removeprefix(prefix): r for name, r in records.items() if name.startswith(prefix)}
    if not found:
        return "nothing was computed self-consistently yet"
    parent = records["parent"]["errors"]
    rows, failures = [], []
    for molecule in next(iter(found.values()))["first_order"]:
        known = [one[molecule] for one in parent.values() if molecule in one]
        cells = [f"{known[0]:+.2f}" if known else ""]
        for record in found.values():
            cells.append(f"{record['first_order'][molecule]:+.2f}")
            cells.append(f"{record['errors'][molecule]:+.2f}" if "errors" in record else "-")
        rows.append([molecule, *cells])
    header = ["molecule", "parent"]
    for name, record in found.items():
        header += [f"{name}, first order", f"{name}, self-consistent"]
        failures += [record["error"]] if "error" in record else []
    text = "Errors of single molecules after training (kcal/mol):\n\n"
    return "\n\n".join([text + as_table(rows, header, markdown=True), *failures])


def plot(records: Records, path: Path | None = None) -> Figure:
    """Errors along the paths of all seeds, and of all sets before and after.

    Parameters
    ----------
    records : mapping
        Kept results by name.
    path : path, optional
        Image file.
    """
    axes = panels_or_new(None, 1, 2, (5.0, 4.0))[0]
    for start, color in zip(STARTS, COLORS):
        for i, one in enumerate(of_start(records, start)):
            stiffness, _, training, validation, _ = np.array(one["path"]).T
            label = start if i == 0 else None
            axes[0].plot(stiffness, validation, color=color, label=label, lw=1)
            axes[0].plot(stiffness, training, color=color, ls="--", lw=1)
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    axes[0].invert_xaxis()
    axes[0].set_xlabel("stiffness ((kcal/mol)$^2$), falling")
    axes[0].set_ylabel("mean absolute error (kcal/mol)")
    axes[0].set_title("validation (lines), training (dashed)", fontsize="small")
    axes[0].legend(fontsize="small", frameon=False)
    _draw_sets(axes[1], records)
    save(axes[0].figure, path)
    figure: Figure = axes[0].figure
    return figure


def _draw_sets(ax: Any, records: Records) -> None:
    parent = records["parent"]["errors"]
    there = [name for name in SETS if name in parent]
    for place, name in enumerate(there):
        level = mean_error(parent[name])
        label = "parent" if place == 0 else None
        ax.plot([place - 0.4, place + 0.4], [level, level], color="0.6", label=label)
        for shift, start, color in zip((-0.15, 0.15), STARTS, COLORS):
            after = [mean_error(one["after"][name]) for one in of_start(records, start)]
            places = np.full(len(after), place + shift)
            ax.plot(places, after, ls="none", marker="o", ms=4, color=color, alpha=0.7)
    ax.set_xticks(range(len(there)), there)
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("mean absolute error after training (kcal/mol)")
    ax.legend(fontsize="small", frameon=False)
