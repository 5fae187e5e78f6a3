"""What a functional does to lattice constants: PAW, norm-conserving potentials and GPAW.

a(PBE) - a(LDA) and a(PBE) - a(PBEsol) of simple crystals, with GPAW's PBE datasets in this package,
with GTH-PBE potentials, with GPAW itself, and as published. Every volume with a code is a file of
its own; a run that was interrupted resumes. Written: functional_effect.md and
functional_effect.json in the output folder.

    python benchmarks/functional_effect.py --jobs 2
    python benchmarks/functional_effect.py --crystals Si,Al --codes PAW,GTH
    python benchmarks/functional_effect.py --report    # only from what there is
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import deepchem_xc  # noqa: F401  first: it keeps DeepChem's import notices quiet

# isort: split
from three_codes import chosen, curve_of
from three_codes_calculations import (
    System,
    gpaw,
    gpaw_grid,
    gpaw_settings,
    gth_settings,
    paw_settings,
    plane_waves,
)

from deepchem_xc._files import write_json
from deepchem_xc.against_gpaw.gpaw_reference import GpawSettings
from deepchem_xc.eos.fits import NoMinimumError
from deepchem_xc.parallel import default_jobs, parallel_map
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table

# Volumes of all codes and functionals: PBE's minimum is near 1, the LDA's usually above 0.9.
SCALES = (0.88, 0.92, 0.96, 1.0, 1.04)
# Crystals that the LDA shrinks more.
SOFT = ("NaCl", "NaF", "Ag")
FUNCTIONALS = ("PBE", "LDA", "PBEsol")
OTHERS = FUNCTIONALS[1:]
CODES = ("PAW", "GTH", "GPAW")
PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "references" / "functional_effect.json"
# Suffixes by which the published values name structures.
SUFFIXES = {"diamond": "diamond", "fcc": "fcc", "bcc": "bcc", "rocksalt": "b1", "zincblende": "b3"}


def crystal(
    structure: Any,
    symbol: str,
    a: float,
    ecut: float,
    nk: int,
    nbands: int,
    gth: float | None = None,
) -> System:
    """A cubic crystal; `ecut` (eV) of PAW, `gth` of GTH potentials, None where there are none.

    GPAW's grid is the one that it chooses at the largest volume, or finer.
    """
    side = a * (0.75 if structure == "bcc" else 0.5) ** 0.5 * max(SCALES) ** (1 / 3)
    n = gpaw_grid(side, ecut)
    settings = GpawSettings(structure, symbol, a, ecut, (nk,) * 3, (n, n, n), nbands)
    return System(settings, gth, 0.07 * (gth or 0.0))


# Cheap ones first. Lattice constants are near those of PBE.
CRYSTALS: Mapping[str, System] = {
    "Si": crystal("diamond", "Si", 5.48, 400, 4, 8, gth=750),
    "Al": crystal("fcc", "Al", 4.04, 400, 8, 6, gth=600),
    "Na": crystal("bcc", "Na", 4.20, 400, 6, 10),
    "AlP": crystal("zincblende", "AlP", 5.52, 400, 4, 8),
    "C": crystal("diamond", "C", 3.575, 600, 4, 8),
    "BN": crystal("zincblende", "BN", 3.63, 700, 4, 8),
    "NaCl": crystal("rocksalt", "NaCl", 5.69, 600, 3, 12),
    # Fluorine at 800 eV: energies jump by 1 meV where plane waves come in, a by 0.005 Angstrom.
    "LiF": crystal("rocksalt", "LiF", 4.09, 1300, 4, 9),
    "MgO": crystal("rocksalt", "MgO", 4.26, 800, 3, 12),
    "Ca": crystal("fcc", "Ca", 5.54, 500, 6, 12),
    "GaP": crystal("zincblende", "GaP", 5.54, 500, 4, 14),
    "GaAs": crystal("zincblende", "GaAs", 5.77, 500, 4, 14),
    "Ge": crystal("diamond", "Ge", 5.77, 500, 4, 20),
    "NaF": crystal("rocksalt", "NaF", 4.70, 800, 3, 12),
    "CaO": crystal("rocksalt", "CaO", 4.85, 800, 3, 14),
    "AlAs": crystal("zincblende", "AlAs", 5.74, 400, 4, 8),
    "W": crystal("bcc", "W", 3.19, 400, 8, 14),
    "Pd": crystal("fcc", "Pd", 3.95, 500, 8, 14),
    "Ag": crystal("fcc", "Ag", 4.16, 500, 8, 14),
}


def scales_of(name: str) -> tuple[float, ...]:
    """Volumes of a crystal's curves."""
    return (0.84, *SCALES) if name in SOFT else SCALES


def settings_of(code: str, name: str) -> dict[str, Any]:
    """Everything that the energies of a code depend on."""
    settings = {"GPAW": gpaw_settings, "GTH": gth_settings, "PAW": paw_settings}[code]
    return {**settings(CRYSTALS[name]), "scales": scales_of(name)}


def energies_of(name: str, code: str, scale: float) -> dict[str, Any]:
    """Energies (eV) by functional, and seconds of processor."""
    system, start = CRYSTALS[name], time.process_time()
    calculation = (gpaw if code == "GPAW" else plane_waves)(system, scale, settings_of(code, name))
    energies = {xc: calculation(xc)["energy"] for xc in FUNCTIONALS}
    return {"energies": energies, "cpu_seconds": round(time.process_time() - start, 2)}


def tasks_of(names: Sequence[str], codes: Sequence[str]) -> list[tuple[str, str]]:
    """Curves to compute, in order: crystals one after another, each with its codes."""
    return [
        (name, code) for name in names for code in codes if code != "GTH" or CRYSTALS[name].ecut
    ]


def record_of(name: str, code: str, scale: float) -> tuple[str, dict[str, Any]]:
    """Name of a file, and what the file must agree in."""
    settings = json.loads(json.dumps(settings_of(code, name)))
    expected = {"settings": settings, "scale": scale}
    return f"{name}-{code}-{scale:.2f}-{digest(expected)[:12]}", expected


def compute(store: Store, tasks: Sequence[tuple[str, str]], jobs: int) -> None:
    """Compute and keep what is missing; failures are reported and stay missing."""
    records = {}
    for name, code in tasks:
        for scale in scales_of(name):
            record, expected = record_of(name, code, scale)
            if store.read(record, **expected) is None:
                records[record] = ((name, code, scale), expected)
    calls = {record: arguments for record, (arguments, _) in records.items()}
    with closing(parallel_map(energies_of, calls, jobs=jobs)) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                print(f"{outcome.name} failed: {outcome.error}", file=sys.stderr)
                continue
            store.write(outcome.name, {**records[outcome.name][1], **outcome.value})
            print(f"{outcome.name}: {outcome.value['cpu_seconds']:.1f} CPU s", flush=True)


def curves(store: Store, tasks: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Fits by crystal, code and functional, of the complete curves with a minimum."""
    found: dict[str, Any] = {}
    for name, code in tasks:
        kept = []
        for scale in scales_of(name):
            record, expected = record_of(name, code, scale)
            kept.append(store.read(record, **expected))
        points = [record for record in kept if record is not None]
        if len(points) < len(scales_of(name)):
            continue
        for functional in FUNCTIONALS:
            energies = [point["energies"][functional] for point in points]
            try:
                curve = curve_of(CRYSTALS[name], scales_of(name), energies)
            except NoMinimumError as error:
                print(f"{name} {code} {functional}: {error}", file=sys.stderr)
                continue
            found.setdefault(name, {}).setdefault(code, {})[functional] = curve
    return found


def effect(constants: Mapping[str, float], other: str) -> str:
    """a(PBE) - a(other) in mA, or a dash if one of them is missing."""
    if "PBE" not in constants or other not in constants:
        return "-"
    return f"{1e3 * (constants['PBE'] - constants[other]):+.1f}"


def published(path: Path, name: str) -> dict[str, float] | None:
    """Published lattice constants (Angstrom), or None where the file or the crystal is missing."""
    if not path.exists():
        return None
    structure = SUFFIXES[CRYSTALS[name].crystal.structure]
    solids: dict[str, Any] = json.loads(path.read_text())["solids"]
    return solids.get(f"{name}_{structure}")


def table(found: Mapping[str, Any], path: Path) -> str:
    """Differences of lattice constants in mA, in Markdown."""
    rows = []
    for name, by_code in found.items():
        constants = {
            code: {xc: curve["a"] for xc, curve in of_code.items()}
            for code, of_code in by_code.items()
        }
        reference = published(path, name)
        if reference is not None:
            constants["published"] = reference
        for other in OTHERS:
            cells = [effect(constants.get(code, {}), other) for code in ("published", *CODES)]
            rows.append([name, f"a(PBE) - a({other})", *cells])
    if not rows:
        return "no curve is complete yet"
    header = ["crystal", "difference (mA)", "published", *CODES]
    return as_table(rows, header, left=2, markdown=True)


def main(arguments: list[str] | None = None) -> int:
    """Compute and print the table; returns 1 if a curve is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crystals", default="", help=f"some of {', '.join(CRYSTALS)}")
    parser.add_argument("--codes", default="", help=f"some of {', '.join(CODES)}, with commas")
    parser.add_argument("--jobs", type=int, default=None, help="calculations at a time")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="values to print beside")
    parser.add_argument("--output", type=Path, default=Path("results/functional_effect"))
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    names = chosen(options.crystals, list(CRYSTALS), "crystals")
    tasks = tasks_of(names, chosen(options.codes, CODES, "codes"))
    store = Store(options.output / "energies", lambda text: print(text, file=sys.stderr))
    if not options.report:
        compute(store, tasks, options.jobs or default_jobs())
    found = curves(store, tasks)
    text = table(found, options.published)
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "functional_effect.md").write_text(text + "\n")
    settings = {name: {c: settings_of(c, name) for n, c in tasks if n == name}
                for name in names}  # fmt: skip
    write_json(options.output / "functional_effect.json", {"settings": settings, "curves": found})
    complete = sum(len(fits) for by_code in found.values() for fits in by_code.values())
    return 0 if complete == len(tasks) * len(FUNCTIONALS) else 1


if __name__ == "__main__":
    sys.exit(main())
