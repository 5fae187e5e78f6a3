"""One clone in four codes: our Gaussians, PySCF, our plane waves and GPAW.

Molecules: total energies by `deepchem_xc.gaussian` and by PySCF with `to_pyscf`, on the same grid.
Crystals: equations of state with the same PAW datasets, cutoff, grid and k-points here and in GPAW
with `to_gpaw`; and clone less parent with PAW and with GTH potentials. Everything is kept, the
plane waves' results together with those of `cloning_solids.py`, and an interrupted run resumes.

    python benchmarks/cloning_codes.py clone.safetensors --parent PBE --output results/cloning
    python benchmarks/cloning_codes.py clone.safetensors --parts molecules
    python benchmarks/cloning_codes.py --report          # only from what there is
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cloning_solids
from cloning_crystals import CRYSTALS, Point, system_of
from cloning_solids import Curve, Window, search
from cloning_solids_tables import changes
from three_codes import chosen
from three_codes_calculations import gpaw, gpaw_settings

from deepchem_xc._files import file_digest
from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning.densities import GRID_LEVEL, converge, kohn_sham
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.gaussian import scf
from deepchem_xc.parallel import Jobs, parallel_map
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import name_or_content

PARTS = ("molecules", "GPAW", "GTH")
#: Molecules of ASE's g2 set, closed and open shells, and their basis.
MOLECULES, BASIS = ("H2O", "CO2", "LiF", "CH3", "O2"), "def2-svp"
QUICK_MOLECULES = ("H2O", "CH3")
#: Crystals computed in GPAW, too, and with GTH potentials, too.
GPAW_CRYSTALS = ("Al", "Si", "MgO")
GTH_CRYSTALS = tuple(name for name, system in CRYSTALS.items() if system.ecut is not None)
QUICK_CRYSTALS = ("Si",)
#: Potentials here beside GPAW's, and beside GTH potentials.
SHARP = "PAW-sharp"
_OURS = {"GPAW": (SHARP,), "GTH": ("PAW", "GTH")}
#: What should be reached: total energies (Hartree), lattice constants relative to GPAW's.
AIMS = (1e-7, 2e-4)


def molecule_energies(name: str, functional: str) -> dict[str, float]:
    """Total energies by this package, ``ours``, and by PySCF, ``pyscf``, Hartree."""
    mf = kohn_sham(g2_molecule(name), BASIS, GRID_LEVEL)
    xc = get_xc(functional).requires_grad_(False)
    theirs = converge(to_pyscf(xc, mf), name)
    ours = float(scf(mf.mol, xc, grid_level=GRID_LEVEL).energy)
    return {"ours": ours, "pyscf": theirs}


def _gpaw_energy(point: Point, functional: str) -> float:
    """Energy by GPAW, extrapolated to zero width, eV."""
    system = system_of(point.crystal, point.quick)
    return gpaw(system, point.scale, gpaw_settings(system))(functional)["energy"]


class GpawEnergies:
    """Energies of functionals by GPAW, kept in a folder; as `Calculations` has our own."""

    def __init__(self, functional: str, folder: Path, jobs: Jobs | None) -> None:
        self.functional, self.jobs = functional, jobs
        self.identity = name_or_content(functional)
        self.store = Store(folder / "gpaw", partial(print, file=sys.stderr))

    def energies(self, points: Sequence[Point]) -> dict[Point, float | str]:
        """Energies (eV), or what failed."""
        found: dict[Point, float | str] = {}
        missing = {}
        for point in points:
            record = self.store.read(self._name(point), **self._expected(point))
            if record is None:
                missing[self._name(point)] = point
            else:
                found[point] = record["energy"]
        calls = {name: (point, self.functional) for name, point in missing.items()}
        with closing(parallel_map(_gpaw_energy, calls, jobs=self.jobs)) as outcomes:
            for outcome in outcomes:
                point = missing[outcome.name]
                if outcome.value is None:
                    print(f"{outcome.name} failed: {outcome.error}", file=sys.stderr)
                    found[point] = outcome.error.splitlines()[0]
                    continue
                found[point] = outcome.value
                self.store.write(outcome.name, {**self._expected(point), "energy": outcome.value})
        return found

    def _expected(self, point: Point) -> dict[str, Any]:
        settings = gpaw_settings(system_of(point.crystal, point.quick))
        plain = json.loads(json.dumps(settings))
        magmom = system_of(point.crystal, point.quick).crystal.magmom
        content = {"functional": self.identity, "scale": point.scale, "magmom": magmom}
        return {**content, "settings": plain}

    def _name(self, point: Point) -> str:
        hashed = digest(self._expected(point))[:12]
        return f"{point.crystal}-{point.scale:.2f}-{hashed}"


def _molecules(
    clone: str, names: Sequence[str], folder: Path, jobs: Jobs | None
) -> dict[str, dict[str, Any]]:
    """Energies of molecules with a clone, or ``failed``, a sentence."""
    store = Store(folder / "molecules", partial(print, file=sys.stderr))
    hashed = file_digest(clone)
    settings = {"basis": BASIS, "grid_level": GRID_LEVEL, "pyscf": version("pyscf")}
    expected = {"clone": hashed, "settings": settings}
    records = {name: store.read(f"{hashed[:12]}-{name}", **expected) for name in names}
    calls = {name: (name, clone) for name, record in records.items() if record is None}
    found: dict[str, dict[str, Any]] = {n: dict(r) for n, r in records.items() if r is not None}
    with closing(parallel_map(molecule_energies, calls, jobs=jobs)) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                print(f"{outcome.name} failed: {outcome.error}", file=sys.stderr)
                found[outcome.name] = {"failed": outcome.error.splitlines()[0]}
                continue
            store.write(f"{hashed[:12]}-{outcome.name}", {**expected, **outcome.value})
            found[outcome.name] = outcome.value
    return {
        name: {key: value for key, value in found[name].items() if key not in expected}
        for name in names
    }


def _fits(
    clone: str,
    parent: str,
    crystals: Sequence[str],
    folder: Path,
    *,
    other: str,
    quick: bool,
    jobs: Jobs | None,
) -> dict[str, Any]:
    """Fits with clone and parent by crystal and code; GPAW's volumes are those of our own PAW."""
    solids = cloning_solids.run(
        clone, parent, crystals, folder, methods=_OURS[other], quick=quick, jobs=jobs
    )
    found: dict[str, Any] = {name: {} for name in crystals}
    for curve in solids["curves"]:
        fits = {"parent": curve["parent_fit"], "clone": curve["clone_fit"]}
        found[curve["crystal"]][curve["method"]] = fits
    if other == "GPAW":
        for role, functional in {"parent": parent, "clone": clone}.items():
            energies = GpawEnergies(functional, folder, jobs).energies
            windows = {
                Curve(name, SHARP): Window(found[name][SHARP][role]["first"])
                for name in crystals
                if "failed" not in found[name][SHARP][role]
            }
            theirs = search(windows, energies, quick)
            for name in crystals:
                without = {"failed": "our own curve has no minimum"}
                fit = theirs.get(Curve(name, SHARP), without)
                found[name].setdefault("GPAW", {})[role] = fit
    return found


def run(
    clone: str | Path,
    parent: str,
    folder: Path,
    *,
    parts: Sequence[str] = PARTS,
    molecules: Sequence[str] | None = None,
    crystals: Sequence[str] | None = None,
    quick: bool = False,
    jobs: Jobs | None = None,
) -> dict[str, Any]:
    """Compute a clone in all codes; what is kept is not computed again.

    Parameters
    ----------
    clone, parent, folder, jobs
        As for `cloning_solids.run`. ``codes/HASH.json`` gets the results, which `tables` reads.
    parts : sequence of str, optional
        Some of `PARTS`.
    molecules : sequence of str, optional
        Molecules of ASE's g2 set; `MOLECULES` by default.
    crystals : sequence of str, optional
        Crystals of both other parts; `GPAW_CRYSTALS` and `GTH_CRYSTALS` by default.
    quick : bool, optional
        Two molecules, and silicon coarsely, to see that everything runs.

    Returns
    -------
    dict
        ``molecules``: energies by name, Hartree, as of `molecule_energies`; ``GPAW``, ``GTH``: fits
        by crystal, code and role (``parent``, ``clone``), as of `cloning_solids.search`.

    Raises
    ------
    ImportError
        Without GPAW, if it is wanted.
    """
    if "GPAW" in parts and find_spec("gpaw") is None:
        raise ImportError("GPAW is not installed: install it, or choose other parts")
    clone = Path(clone)
    results: dict[str, Any] = {}
    if "molecules" in parts:
        names = molecules or (QUICK_MOLECULES if quick else MOLECULES)
        results["molecules"] = _molecules(str(clone), names, folder, jobs)
    for part, usual in {"GPAW": GPAW_CRYSTALS, "GTH": GTH_CRYSTALS}.items():
        if part in parts:
            results[part] = _fits(
                str(clone),
                parent,
                crystals or (QUICK_CRYSTALS if quick else usual),
                folder,
                other=part,
                quick=quick,
                jobs=jobs,
            )
    hashed = file_digest(clone)
    identity = {"clone": hashed, "parent": name_or_content(parent), "quick": quick}
    store = Store(folder / "codes", partial(print, file=sys.stderr))
    name = f"{hashed[:12]}-{digest(identity)[:8]}"
    kept = store.read(name, **identity) or {}
    store.write(name, {**kept, "name": clone.stem, "parent_name": parent, **identity, **results})
    return results


def molecule_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Total energy by PySCF (Hartree), and what ours differs by (1e-9 Hartree)."""
    rows = []
    for name, one in found.get("molecules", {}).items():
        if "failed" in one:
            rows.append([found["name"], name, "-", one["failed"]])
            continue
        difference = 1e9 * (one["ours"] - one["pyscf"])
        rows.append([found["name"], name, f"{one['pyscf']:.8f}", f"{difference:+.1f}"])
    return rows


def gpaw_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Lattice constants and moduli here and in GPAW, and clone less parent in both."""
    rows = []
    for crystal, codes in found.get("GPAW", {}).items():
        for role in ("parent", "clone"):
            fits = [codes[code][role] for code in (SHARP, "GPAW")]
            label = found["parent_name"] if role == "parent" else found["name"]
            failed = [fit["failed"] for fit in fits if "failed" in fit]
            if failed:
                rows.append([crystal, label, *["-"] * 7, failed[0]])
                continue
            ours, theirs = fits
            row = [crystal, label, f"{ours['a']:.4f}", f"{theirs['a']:.4f}"]
            row.append(f"{100 * (ours['a'] / theirs['a'] - 1):+.3f}")
            pairs = [changes(codes[code][role], codes[code]["parent"]) for code in (SHARP, "GPAW")]
            known = role == "clone"
            row += [f"{pair[0]:+.4f}" if known and pair else "" for pair in pairs]
            row += [f"{ours['modulus']:.1f}", f"{theirs['modulus']:.1f}", ""]
            rows.append(row)
    return rows


def gth_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Clone less parent with PAW and with GTH potentials."""
    rows = []
    for crystal, codes in found.get("GTH", {}).items():
        pairs = [changes(codes[code]["clone"], codes[code]["parent"]) for code in _OURS["GTH"]]
        row = [crystal, found["name"]]
        row += ["-" if pair is None else f"{pair[0]:+.4f}" for pair in pairs]
        row += ["-" if pair is None else f"{pair[1]:+.2f}" for pair in pairs]
        rows.append(row)
    return rows


def tables(folder: Path) -> str:
    """Tables of all clones in a folder of results, in Markdown; empty if there are none."""
    clones = [json.loads(path.read_text()) for path in sorted((folder / "codes").glob("*.json"))]
    clones = [{**c, "name": c["name"] + (" (coarse)" if c["quick"] else "")} for c in clones]
    clones.sort(key=lambda found: (found["parent_name"], found["name"]))
    kinds = (
        (
            f"Total energies of molecules ({BASIS}); aim: {AIMS[0]:.0e} Hartree.",
            molecule_rows,
            ["clone", "molecule", "PySCF (Hartree)", "ours less PySCF (1e-9 Hartree)"],
        ),
        (
            f"The same PAW datasets here and in GPAW; aim: {100 * AIMS[1]:g} % (Angstrom, GPa).",
            gpaw_rows,
            [
                *("crystal", "functional", "a, here", "a, GPAW", "difference (%)"),
                *("da, here", "da, GPAW", "B, here", "B, GPAW", "remark"),
            ],
        ),
        (
            "Clone less parent with PAW and with GTH potentials (Angstrom, GPa; N/m of graphene).",
            gth_rows,
            ["crystal", "clone", "da, PAW", "da, GTH", "dB, PAW", "dB, GTH"],
        ),
    )
    parts = []
    for title, rows_of, header in kinds:
        rows = [row for found in clones for row in rows_of(found)]
        if rows:
            parts += [title, as_table(rows, header, left=2, markdown=True)]
    return "\n\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Compute and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clones", nargs="*", type=Path, help="files")
    parser.add_argument("--parent", default="PBE", help="name or file")
    parser.add_argument("--parts", default="", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--crystals", default="", help=f"some of {', '.join(CRYSTALS)}")
    parser.add_argument("--quick", action="store_true", help="two molecules, coarse silicon")
    parser.add_argument("--jobs", type=int, default=None, help="calculations at a time")
    parser.add_argument("--output", type=Path, default=Path("results/cloning"))
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    parts = chosen(options.parts, PARTS, "parts")
    crystals = chosen(options.crystals, list(CRYSTALS), "crystals") if options.crystals else None
    for clone in [] if options.report else options.clones:
        run(
            clone,
            options.parent,
            options.output,
            parts=parts,
            crystals=crystals,
            quick=options.quick,
            jobs=options.jobs,
        )
    text = tables(options.output)
    print(text or "no clone has been computed yet")
    if text:
        (options.output / "codes.md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
