"""Four crystals in every format that the loader of crystals reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from deepchem_xc.data import PeriodicDFTLoader

SETTINGS = {"ecut": 150.0, "kpts": {"density": 1.0}}
CRYSTALS = {
    "Al": bulk("Al", a=4.05),
    "Si": bulk("Si", a=5.43),
    "GaAs": bulk("GaAs", "zincblende", a=5.65),
    "LiF": bulk("LiF", "rocksalt", a=4.03),
}


def loader(tasks: list[str] | None = None, **more: Any) -> PeriodicDFTLoader:
    more = {"e_type": "energy", "settings": SETTINGS, **more}
    return PeriodicDFTLoader(["energy"] if tasks is None else tasks, **more)


def with_results(atoms: Atoms, **results: Any) -> Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def record(crystal: str, /, **columns: Any) -> dict[str, Any]:
    atoms = CRYSTALS[crystal]
    structure = {
        "symbols": atoms.get_chemical_symbols(),
        "cell": atoms.cell.tolist(),
        "positions": atoms.positions.tolist(),
    }
    return {"structure": structure, **columns}


def solid_files(tmp_path: Path) -> dict[str, Path]:
    """The same four crystals with the same energies in every format with columns."""
    energies = {name: -50.0 - i for i, name in enumerate(CRYSTALS)}
    files: dict[str, Path] = {}
    images = [with_results(atoms, energy=energies[n]) for n, atoms in CRYSTALS.items()]
    files["extxyz"] = tmp_path / "solids.extxyz"
    write(files["extxyz"], images)
    files["database"] = tmp_path / "solids.db"
    files["ASE's JSON"] = tmp_path / "ase.json"
    for path in (files["database"], files["ASE's JSON"]):
        with connect(path) as database:
            for atoms in images:
                database.write(atoms)
    records = [record(name, energy=energies[name]) for name in CRYSTALS]
    files["lines"] = lines(tmp_path / "solids.jsonl", records)
    files["lines in .json"] = lines(tmp_path / "lines.json", records)
    files["list"] = tmp_path / "list.json"
    files["list"].write_text(json.dumps(records))
    files["table"] = tmp_path / "table.json"
    rows = [[r["structure"], r["energy"]] for r in records]
    files["table"].write_text(json.dumps({"columns": ["structure", "energy"], "data": rows}))
    cells = ["structure,energy"]
    for name, atoms in CRYSTALS.items():
        atoms.write(tmp_path / f"{name}.cif")
        cells.append(f"{name}.cif,{energies[name]}")
    files["csv"] = tmp_path / "solids.csv"
    files["csv"].write_text("\n".join(cells) + "\n")
    for name in ("lines", "extxyz"):
        files[f"{name} in gzip"] = tmp_path / (files[name].name + ".gz")
        files[f"{name} in gzip"].write_bytes(gzip.compress(files[name].read_bytes()))
    return files
