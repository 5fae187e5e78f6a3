"""Crystals of `cloning_solids.py` and `cloning_codes.py`, and energies of a clone in them.

A `Point` is a crystal at one volume with one kind of potentials. `parent_state` computes it with
the parent, and keeps energy, density, orbitals and the points at which functionals are integrated.
From these `clone_energies` has the clone's energy to first order at once, and its self-consistent
one in a few steps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import deepchem_xc  # noqa: F401  first: it keeps DeepChem's import notices quiet

# isort: split
import torch
from ase.units import Hartree
from three_codes_calculations import (
    Settings,
    System,
    gpaw_grid,
    ground_state,
    gth_settings,
    paw_settings,
)

from deepchem_xc._atomic import replacing
from deepchem_xc.against_gpaw.gpaw_reference import LAYERED, GpawSettings
from deepchem_xc.losses import FrozenEnergy
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave import DensityRecord
from deepchem_xc.store import Store, digest
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import content_digest

#: Potentials with which a crystal can be computed; "PAW-sharp" is PAW with a cutoff that is not
#: smoothed, as in GPAW.
METHODS = ("PAW", "GTH", "PAW-sharp")
# Width of smoothed cutoffs, as a part of them. Without it plane waves that enter as the volume
# changes move differences of moduli (of copper at 500 eV by 0.7 GPa).
_SMOOTHING = 0.07
#: Volumes (areas of layers) of a curve in steps of this part of PBE's, the first and their number.
STEP, FIRST, POINTS = 0.03, -3, 7
# Distance of a layer from its next image, Angstrom: 8 and 12 give the same differences.
_VACUUM = 8.0
# Relative volume that grids are made for.
_LARGEST = 1.0 + STEP * (FIRST + POINTS - 1)


def _grid(structure: str, a: float, ecut: float) -> tuple[int, int, int]:
    """GPAW's grid at a cutoff (eV), for the largest volume."""
    layer = structure in LAYERED
    edge = a * _LARGEST**0.5 if layer else a * 0.5**0.5 * _LARGEST ** (1 / 3)
    n = gpaw_grid(edge, ecut)
    return n, n, gpaw_grid(_VACUUM, ecut) if layer else n


def _system(
    structure: Any,
    symbol: str,
    a: float,
    ecut: float,
    nk: int,
    nbands: int,
    gth: float | None = None,
    magmom: float = 0.0,
) -> System:
    """A crystal; `ecut` (eV) of PAW, `gth` of GTH potentials, None where they are not used."""
    layer = structure in LAYERED
    mesh, grid = (nk, nk, 1 if layer else nk), _grid(structure, a, ecut)
    vacuum = _VACUUM if layer else None
    settings = GpawSettings(
        structure, symbol, a, ecut, mesh, grid, nbands, magmom=magmom, vacuum=vacuum
    )
    return System(settings, gth, round(_SMOOTHING * (gth or 0.0)))


#: Crystals that no clone was trained on: metals, covalent and ionic ones, an oxide, layers. Lattice
#: constants are near those of PBE. Cutoffs and meshes are those with which differences between
#: clone and parent are converged; k-points hardly change them (docs/cloning.md).
CRYSTALS: Mapping[str, System] = {
    "Al": _system("fcc", "Al", 4.04, 500, 16, 6, gth=600),
    "Cu": _system("fcc", "Cu", 3.65, 600, 8, 14),
    "Ni": _system("fcc", "Ni", 3.52, 600, 6, 14, magmom=0.7),
    "C": _system("diamond", "C", 3.575, 800, 4, 8, gth=1200),
    "Si": _system("diamond", "Si", 5.48, 400, 4, 8, gth=600),
    "NaCl": _system("rocksalt", "NaCl", 5.70, 500, 3, 12),
    "LiF": _system("rocksalt", "LiF", 4.09, 900, 3, 9),
    "MgO": _system("rocksalt", "MgO", 4.26, 800, 3, 12),
    "graphene": _system("graphene", "C", 2.467, 700, 6, 10, gth=1200),
    "hBN": _system("graphene", "BN", 2.513, 800, 6, 10),
}
# Parts of cutoffs, and meshes, of trials.
_COARSE_CUTOFF, _COARSE_MESH = 0.5, 2


@cache
def system_of(name: str, quick: bool = False) -> System:
    """The crystal of a name; coarse ones show that everything runs, no more.

    Raises
    ------
    ValueError
        For other names.
    """
    if name not in CRYSTALS:
        raise ValueError(f"no crystal {name!r}; valid: {', '.join(CRYSTALS)}")
    system = CRYSTALS[name]
    if not quick:
        return system
    crystal, gth = system.crystal, system.ecut
    return _system(
        crystal.structure,
        crystal.symbol,
        crystal.a,
        _COARSE_CUTOFF * crystal.ecut,
        _COARSE_MESH,
        crystal.nbands,
        None if gth is None else _COARSE_CUTOFF * gth,
        crystal.magmom,
    )


def settings_of(name: str, method: str, quick: bool = False) -> Settings:
    """Settings of this package's calculations of a crystal, as JSON gives them back.

    The functional is evaluated on a grid as fine as GPAW's at the same cutoff, because differences
    between clone and parent need a finer one than either alone (docs/cloning.md).

    Raises
    ------
    ValueError
        For other crystals and methods, and GTH potentials where they are not used.
    """
    system = system_of(name, quick)
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; valid: {', '.join(METHODS)}")
    if method != "GTH":
        settings = paw_settings(system)
        if method == "PAW":
            settings["ecut_smoothing"] = round(_SMOOTHING * settings["ecut"])
    elif system.ecut is None:
        valid = ", ".join(known for known, one in CRYSTALS.items() if one.ecut is not None)
        raise ValueError(f"{name} is not computed with GTH potentials; valid: {valid}")
    else:
        settings = gth_settings(system)
    crystal = system.crystal
    settings["fft_size"] = [2 * n for n in _grid(crystal.structure, crystal.a, settings["ecut"])]
    settings["magmom"] = crystal.magmom
    plain: Settings = json.loads(json.dumps(settings))
    return plain


@dataclass(frozen=True, order=True)
class Point:
    """A crystal at one volume.

    Attributes
    ----------
    crystal, method : str
        Its name, and one of `METHODS`.
    index : int
        Volume in units of `STEP`, from PBE's.
    quick : bool
        Whether it is computed coarsely.
    """

    crystal: str
    method: str
    index: int
    quick: bool = False

    @property
    def scale(self) -> float:
        """Relative volume, or area of a layer."""
        return round(1.0 + STEP * self.index, 6)

    @property
    def settings(self) -> Settings:
        """Everything that energies depend on, the volume and the functional excepted."""
        return settings_of(self.crystal, self.method, self.quick)

    @property
    def name(self) -> str:
        """Of the record, without functional."""
        hashed = digest(self.settings)[:8]
        return f"{self.crystal}-{self.method}-{self.scale:.2f}-{hashed}"


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


@dataclass(frozen=True)
class State:
    """What is kept of a parent's ground state.

    Attributes
    ----------
    record : dict
        ``energy`` (eV, extrapolated to zero width), ``steps`` and ``cpu_seconds``; or ``failed``, a
        sentence, alone.
    start : Path
        File of density and orbitals, from which other functionals start.
    points : Path
        File of the densities at which functionals are integrated.
    """

    record: Mapping[str, Any]
    start: Path
    points: Path


def parent_state(point: Point, parent: str, folder: Path) -> State:
    """The parent's ground state, computed where it is not kept.

    Parameters
    ----------
    point : Point
        Crystal and volume.
    parent : str
        Name, or file, of the parent.
    folder : Path
        Results; the states are in ``parents``, and serve all clones.
    """
    xc = get_xc(parent).requires_grad_(False)
    identity = content_digest(xc)
    store = Store(folder / "parents" / identity[:12], _complain)
    start, points = (store.path(point.name).with_suffix(end) for end in (".npz", ".pt"))
    expected = {"parent": identity, "scale": point.scale, "settings": point.settings}
    record = store.read(point.name, **expected)
    if record is not None and ("failed" in record or (start.exists() and points.exists())):
        return State(record, start, points)
    began = time.process_time()
    system = system_of(point.crystal, point.quick)
    try:
        result = ground_state(system, point.scale, point.settings, xc)
    except SCFConvergenceError as error:
        record = {"failed": _first_line(error)}
    else:
        frozen = FrozenEnergy.of(result)
        with replacing(points, "wb") as file:
            torch.save(frozen.state_dict(), file)
        DensityRecord.of(result, results=False).save(start)
        spent = round(time.process_time() - began, 2)
        record = {
            "energy": frozen.energy * Hartree,
            "steps": result.nsteps,
            "cpu_seconds": spent,
        }
    store.write(point.name, {**expected, **record})
    return State(record, start, points)


def clone_energies(
    point: Point, parent: str, clone: str, folder: Path, screen: bool = False
) -> dict[str, Any]:
    """Energies of a clone, from the parent's state.

    Parameters
    ----------
    point, parent, folder
        As for `parent_state`.
    clone : str
        File of the clone.
    screen : bool, optional
        Leave out the self-consistent energy.

    Returns
    -------
    dict
        ``first_order`` (eV): its energy in the parent's orbitals, extrapolated to zero width; None
        if it needs what the parent did not. ``energy`` (eV), ``steps`` and ``cpu_seconds`` of the
        self-consistent calculation, or ``failed``, a sentence.
    """
    state = parent_state(point, parent, folder)
    if "failed" in state.record:
        return {"first_order": None, "failed": f"the parent: {state.record['failed']}"}
    xc = get_xc(clone).requires_grad_(False)
    frozen = FrozenEnergy.from_state_dict(torch.load(state.points, weights_only=True))
    first = float(frozen.at(xc)) * Hartree if frozen.serves(xc) else None
    found: dict[str, Any] = {"first_order": first}
    if screen:
        return found
    began = time.process_time()
    system = system_of(point.crystal, point.quick)
    try:
        result = ground_state(system, point.scale, point.settings, xc, start=state.start)
    except SCFConvergenceError as error:
        return {**found, "failed": _first_line(error)}
    return {
        **found,
        "energy": float(result.extrapolated_energy) * Hartree,
        "steps": result.nsteps,
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
