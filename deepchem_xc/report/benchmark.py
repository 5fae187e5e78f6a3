"""The page of a benchmark against GPAW."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepchem_xc.report.page import Page, Picture, Section, Table, Text
from deepchem_xc.report.reading import read_json, versions_section
from deepchem_xc.report.training import read_epochs, training_picture


def benchmark_page(folder: Path) -> Page:
    """Page of a folder that `deepchem-xc benchmark` wrote."""
    content = read_json(folder / "benchmark.json")
    systems = content["systems"]
    sections = [
        Section("Agreement with GPAW", [_agreement(systems)]),
        Section("Energy curves", [_curves(systems)]),
        *_functionals(folder),
        *_trainings(folder),
        Section("Settings", [_settings(systems)]),
        versions_section(content, "This benchmark"),
    ]
    notes = ["Coarse settings (--quick)."] if content.get("quick") else []
    notes.append(
        "GPAW's numbers were computed in the same run."
        if content.get("live_gpaw")
        else "GPAW's numbers are those that come with the project."
    )
    if "seconds" in content:
        notes.append(f"The run took {float(content['seconds']):.0f} s.")
    return Page("Equations of state with PBE, beside GPAW's", " ".join(notes), sections)


def _agreement(systems: Mapping[str, Any]) -> Table:
    rows = []
    for name, system in systems.items():
        ours, theirs, errors = system["ours"], system["gpaw"], system["errors"]
        layer = ours["fit"]["dimension"] == 2
        rows.append(
            [
                name,
                f"{ours['a']:.4f}",
                f"{theirs['a']:.4f}" if theirs else "-",
                _percent(errors["a"]),
                f"{ours['fit']['modulus']:.1f} {'N/m' if layer else 'GPa'}",
                f"{theirs['fit']['modulus']:.1f}" if theirs else "-",
                _percent(errors["modulus"]),
                "-" if errors["moment"] is None else f"{errors['moment']:+.3f}",
                ", ".join(system["beyond_expectation"]) or "none",
            ]
        )
    header = ["system", "a (Å)", "GPAW", "error", "B", "GPAW", "error", "moment error (μB)"]
    return Table([*header, "beyond the expected agreement"], rows)


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:+.2f} %"


def _curves(systems: Mapping[str, Any]) -> Picture:
    from deepchem_xc.eos.fits import EquationOfStateFit
    from deepchem_xc.plotting import EosCurve, EosPanel, plot_equations_of_state

    panels = []
    for name, system in systems.items():
        codes = {"deepchem_xc": system["ours"], "GPAW": system["gpaw"]}
        curves = [
            EosCurve(code, curve["sizes"], curve["energies"], EquationOfStateFit(**curve["fit"]))
            for code, curve in codes.items()
            if curve is not None
        ]
        panels.append(EosPanel(name, curves))
    caption = "Energies (rings) and their fits (lines), from the minimum of each."
    return Picture.of(plot_equations_of_state(panels), caption)


def _functionals(folder: Path) -> list[Section]:
    from deepchem_xc.plotting import plot_lattice_errors

    path = folder / "functionals.json"
    if not path.exists():
        return []
    content = read_json(path)
    names = list(content["mean_errors"])
    rows: list[list[str]] = []
    errors: dict[str, list[float | None]] = {name: [] for name in names}
    for system, row in content["systems"].items():
        cells = [system, f"{row['reference']:.4f}" if row["reference"] else "-"]
        for name in names:
            a, reference = row["constants"].get(name), row["reference"]
            error = a / reference - 1 if a and reference else None
            errors[name].append(error)
            cells.append("-" if a is None else f"{a:.4f} ({_percent(error)})")
        rows.append(cells)
    means = [content["mean_errors"][name] for name in names]
    last = ["mean of absolute errors", ""]
    rows.append(last + ["-" if m is None else f"{100 * m:.2f} %" for m in means])
    table = Table(
        ["system", "GPAW, PBE", *names], rows, caption="Lattice constants in Å, errors against GPAW"
    )
    figure = plot_lattice_errors(list(content["systems"]), errors)
    caption = "Errors of lattice constants against GPAW's with PBE."
    return [Section("Functionals", [table, Picture.of(figure, caption)])]


def _trainings(folder: Path) -> list[Section]:
    blocks: list[Text | Table | Picture] = []
    for path in sorted(folder.glob("training-*")):
        if not (path / "log.csv").exists():
            continue
        epochs = read_epochs(path)
        blocks.append(Text(f"{path.name}: {len(epochs)} epochs, loss {epochs[-1].loss:.4g}"))
        blocks.append(training_picture(path, epochs))
    return [Section("Trainings", blocks)] if blocks else []


def _settings(systems: Mapping[str, Any]) -> Table:
    names = list(dict.fromkeys(name for s in systems.values() for name in s["settings"]))
    rows = [
        [_setting(system["settings"].get(name)) for name in names] for system in systems.values()
    ]
    caption = "Energies and widths in eV, vacuum in Å, moments in μB"
    return Table(names, rows, caption=caption)


def _setting(value: Any) -> str:
    if value is None:
        return "-"
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
