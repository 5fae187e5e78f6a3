"""Compute with GPAW what this package's PAW solver is held against.

Small crystals with few k-points, on GPAW's PBE datasets, with PBE and the LDA, or with r2SCAN:
energies at five volumes (areas of graphene), and forces, stress, moment and eigenvalues of a
strained crystal whose last atom is displaced. Both codes have the errors of these coarse settings
alike, so that they are small and the comparison is sharp. Written: paw_gpaw.json, after every
calculation; an interrupted run resumes.

    python data/paw_gpaw.py                                # all, half an hour of one core
    python data/paw_gpaw.py --crystals Si Al --functionals PBE
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.build
import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from deepchem_xc._files import write_json

#: Volumes (areas of graphene) of a curve. PBE's minimum is near 1, the LDA's as low as 0.88.
SCALES = (0.88, 0.92, 0.96, 1.0, 1.04)
#: Functionals, as libxc names them. GPAW has PBE itself, with constants rounded otherwise.
FUNCTIONALS: Mapping[str, str | None] = {
    "PBE": None,
    "LDA": "LDA_X+LDA_C_PW",
    "r2SCAN": "MGGA_X_R2SCAN+MGGA_C_R2SCAN",
}
# Crystals of the meta-GGA, whose energies depend more on the grid: at twice the usual points.
# With some others, aluminium among them, GPAW's first step with r2SCAN gives NaN.
META_GGA = "r2SCAN"
FINE = ", fine grid"
WIDTH = 0.1  # Fermi-Dirac, eV
# eV and electrons for each valence electron; eV^2 for the residuals.
CONVERGENCE = {"energy": 1e-7, "density": 1e-7, "eigenstates": 1e-10}
# Electrons in a state below which it counts as empty.
LEAST = 1e-3
# Displacement (Angstrom) of the last atom of the strained crystal.
DISPLACEMENT = (0.08, -0.05, 0.03)
# Strains: one that leaves no symmetry, one for crystals with many k-points, one in the plane.
SHEAR = ((1.01, 0.02, -0.015), (0.02, 0.985, 0.01), (-0.015, 0.01, 1.02))
ORTHORHOMBIC = ((1.02, 0.0, 0.0), (0.0, 0.99, 0.0), (0.0, 0.0, 1.0))
PLANAR = ((1.01, 0.02, 0.0), (0.02, 0.985, 0.0), (0.0, 0.0, 1.0))


def crystal(
    atoms: Atoms,
    ecut: float,
    kpts: tuple[int, int, int],
    nbands: int,
    strain: tuple[tuple[float, ...], ...] = SHEAR,
    moment: float | Sequence[float] = 0.0,
    layer: bool = False,
    grid: float = 1.0,
) -> dict[str, Any]:
    """Settings of a crystal, as JSON gives them back.

    `moment` is that of all atoms, or one for each. ASE sets moments of its own for Ni and Fe, with
    which GPAW would polarise the electrons: they are replaced. GPAW's grid is the one that it
    chooses at the largest volume, or finer, times `grid`: its own choice aliases products of
    orbitals near the cutoff. In calcium this changes energy differences by up to 0.2 meV an atom.
    """
    reach = np.linalg.norm(atoms.cell, axis=1) / Bohr * math.sqrt(2.0 * ecut / Hartree)
    growth = max(SCALES) ** (0.5 if layer else 1.0 / 3.0) * np.array([1.0, 1.0, not layer or 1.0])
    points = [next_fast_len(2 * math.ceil(0.245 * grid * x), real=True) for x in reach * growth]
    settings = {
        "symbols": atoms.get_chemical_symbols(),
        "cell": np.asarray(atoms.cell).round(10).tolist(),
        "scaled_positions": atoms.get_scaled_positions().round(10).tolist(),
        "layer": layer,
        "moment": moment,
        "ecut": ecut,
        "kpts": kpts,
        "gpts": points,
        "nbands": nbands,
        "width": WIDTH,
        "strain": strain,
        "displacement": DISPLACEMENT if len(atoms) > 1 else (0.0, 0.0, 0.0),
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _without_symmetry(atoms: Atoms) -> Atoms:
    """The crystal in another strain, its last atom displaced the other way."""
    atoms.set_cell(np.asarray(atoms.cell) @ np.array(SHEAR).T @ np.array(SHEAR), scale_atoms=True)
    atoms.positions[-1] -= np.array(DISPLACEMENT)
    return atoms


def crystals() -> dict[str, dict[str, Any]]:
    """Settings by name, cheap ones first."""
    bulk = ase.build.bulk
    metal = {"strain": ORTHORHOMBIC}
    sheet = ase.build.graphene("C2", a=2.467, vacuum=4.0)
    return {
        "Si": crystal(bulk("Si", a=5.5), 300, (4, 4, 4), 8, ORTHORHOMBIC),
        "Al": crystal(bulk("Al", a=4.04), 300, (4, 4, 4), 8),
        "Na": crystal(bulk("Na", a=4.12), 300, (3, 3, 3), 10),
        "AlP, triclinic": crystal(_without_symmetry(bulk("AlP", "zincblende", a=5.6)), 300,
                                  (3, 3, 3), 8),
        "Ca": crystal(bulk("Ca", a=5.53), 400, (4, 4, 4), 12, grid=1.5, **metal),
        "NaCl": crystal(bulk("NaCl", "rocksalt", a=5.8), 700, (2, 2, 2), 12),
        "LiF": crystal(bulk("LiF", "rocksalt", a=4.22), 800, (2, 2, 2), 9),
        "MgO": crystal(bulk("MgO", "rocksalt", a=4.28), 800, (2, 2, 2), 12),
        "GaAs": crystal(bulk("GaAs", "zincblende", a=5.8), 500, (4, 4, 4), 14, ORTHORHOMBIC,
                        grid=1.5),
        "Cu": crystal(bulk("Cu", a=3.63), 500, (4, 4, 4), 12, **metal),
        "graphene": crystal(sheet, 700, (4, 4, 1), 10, PLANAR, layer=True),
        "Ni": crystal(bulk("Ni", a=3.52), 500, (4, 4, 4), 14, moment=0.7, **metal),
        "Fe": crystal(bulk("Fe", a=2.84), 500, (4, 4, 4), 14, moment=2.3, **metal),
        "BP": crystal(bulk("BP", "zincblende", a=4.7), 500, (2, 2, 2), 8),
        "ScN": crystal(bulk("ScN", "rocksalt", a=4.53), 600, (2, 2, 2), 14),
        "PdH": crystal(bulk("PdH", "rocksalt", a=4.2), 500, (4, 4, 4), 16, **metal),
        "HgTe": crystal(bulk("HgTe", "zincblende", a=6.65), 400, (4, 4, 4), 16, ORTHORHOMBIC,
                        grid=1.5),
        "CsCl": crystal(bulk("CsCl", "cesiumchloride", a=4.2), 500, (2, 2, 2), 14),
        "Cr, antiferromagnetic": crystal(bulk("Cr", a=2.95, cubic=True), 500, (4, 4, 4), 26,
                                         moment=(1.5, -1.5), **metal),
        "Si" + FINE: crystal(bulk("Si", a=5.5), 300, (4, 4, 4), 8, ORTHORHOMBIC, grid=2.0),
        "MgO" + FINE: crystal(bulk("MgO", "rocksalt", a=4.28), 800, (2, 2, 2), 12, grid=2.0),
        "Ni" + FINE: crystal(bulk("Ni", a=3.52), 500, (4, 4, 4), 14, moment=0.7, grid=2.0,
                             **metal),
    }  # fmt: skip


def functionals_of(name: str) -> tuple[str, ...]:
    """Functionals with which a crystal is computed."""
    return (META_GGA,) if name.endswith(FINE) else ("PBE", "LDA")


def atoms_of(settings: Mapping[str, Any], scale: float = 1.0, deformed: bool = False) -> Atoms:
    """The crystal at a volume (an area), or strained and with its last atom displaced."""
    atoms = Atoms(
        settings["symbols"],
        cell=settings["cell"],
        scaled_positions=settings["scaled_positions"],
        pbc=True,
    )
    factors = np.full(3, scale ** (0.5 if settings["layer"] else 1.0 / 3.0))
    if settings["layer"]:
        factors[2] = 1.0
    cell: NDArray[np.float64] = np.asarray(atoms.cell) * factors
    if deformed:
        cell = cell @ np.array(settings["strain"]).T
    atoms.set_cell(cell, scale_atoms=True)
    if deformed:
        atoms.positions[-1] += np.array(settings["displacement"])
    atoms.set_initial_magnetic_moments(np.broadcast_to(settings["moment"], len(atoms)))
    return atoms


def functional_of(name: str) -> Any:
    """What GPAW takes as xc: its own PBE, or libxc's functionals on the datasets of PBE."""
    from gpaw.dft import XC
    from gpaw.xc.lda import LDA
    from gpaw.xc.libxc import LibXC

    libxc = FUNCTIONALS[name]
    if libxc is None:
        return name
    if name == META_GGA:
        return libxc  # for which GPAW takes PBE's datasets
    kernel = LibXC(libxc)

    class OnPBEDatasets(LDA):  # type: ignore[misc]
        def get_setup_name(self) -> str:
            return "PBE"

    class Parameter(XC):  # type: ignore[misc]
        def functional(self, **_: Any) -> Any:
            return OnPBEDatasets(kernel)

    return Parameter(libxc)


def calculated(atoms: Atoms, settings: Mapping[str, Any], functional: str) -> Any:
    """GPAW's calculator of converged atoms."""
    from gpaw.dft import GPAW

    if not settings["moment"]:
        atoms.set_initial_magnetic_moments(None)
    atoms.calc = GPAW(
        mode={"name": "pw", "ecut": settings["ecut"]},
        xc=functional_of(functional),
        kpts={"size": settings["kpts"], "gamma": True},
        gpts=settings["gpts"],
        nbands=settings["nbands"],
        occupations={"name": "fermi-dirac", "width": settings["width"]},
        convergence=CONVERGENCE,
        txt=None,
    )
    atoms.get_potential_energy()
    return atoms.calc


def energies(atoms: Atoms, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Energy extrapolated to zero width and free energy (eV), moment (mu_B).

    Where atoms have different moments, also theirs: those inside of the PAW spheres.
    """
    found = {
        "energy": round(float(atoms.get_potential_energy()), 8),
        "free_energy": round(float(atoms.get_potential_energy(force_consistent=True)), 8),
        "moment": round(float(atoms.get_magnetic_moment()), 6) if settings["moment"] else 0.0,
    }
    if isinstance(settings["moment"], list):
        found["moments"] = atoms.get_magnetic_moments().round(6).tolist()
    return found


def point(settings: Mapping[str, Any], functional: str, scale: float) -> dict[str, Any]:
    """Energies at a volume."""
    atoms = atoms_of(settings, scale)
    calculated(atoms, settings, functional)
    return {"scale": scale, **energies(atoms, settings)}


def deformed(settings: Mapping[str, Any], functional: str) -> dict[str, Any]:
    """Energies, forces (eV/Angstrom), stress (eV/Angstrom^3) and levels of the strained crystal.

    Eigenvalues (eV), and electrons in each state without the weight of its k-point, are
    (nspin, nk, nband), up to the highest band that holds electrons.
    """
    atoms = atoms_of(settings, deformed=True)
    calculator = calculated(atoms, settings, functional)
    found: dict[str, Any] = energies(atoms, settings)
    found["forces"] = atoms.get_forces().round(6).tolist()
    found["stress"] = atoms.get_stress(voigt=False).round(8).tolist()
    spins, weights = range(calculator.get_number_of_spins()), calculator.get_k_point_weights()
    levels = [[calculator.get_eigenvalues(k, s) for k in range(len(weights))] for s in spins]
    filled = [
        [calculator.get_occupation_numbers(k, s) / weight for k, weight in enumerate(weights)]
        for s in spins
    ]
    last = int(np.nonzero(np.array(filled) > LEAST)[2].max()) + 1
    found["kpts"] = calculator.get_ibz_k_points().round(10).tolist()
    found["eigenvalues"] = np.array(levels)[:, :, :last].round(6).tolist()
    found["occupations"] = np.array(filled)[:, :, :last].round(6).tolist()
    return found


def main() -> None:
    """Parse the command line, and compute what the file lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = crystals()
    parser.add_argument("--crystals", nargs="+", default=list(known), choices=list(known))
    parser.add_argument(
        "--functionals", nargs="+", default=list(FUNCTIONALS), choices=list(FUNCTIONALS)
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    path = arguments.output
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    versions = {name: version(name) for name in ("gpaw", "gpaw-data", "ase", "numpy")}

    for functional in arguments.functionals:
        for name in arguments.crystals:
            if functional not in functionals_of(name):
                continue
            given = {"settings": known[name], "convergence": CONVERGENCE, "versions": versions}
            entry = results.get(name, {})
            if any(entry.get(key) != value for key, value in given.items()):
                entry = {**given, "results": {}}
            results[name] = entry
            own = entry["results"].setdefault(functional, {"points": []})
            start = time.process_time()
            for scale in SCALES:
                if scale in [known_point["scale"] for known_point in own["points"]]:
                    continue
                own["points"].append(point(known[name], functional, scale))
                write_json(path, results)
            if "deformed" not in own:
                own["deformed"] = deformed(known[name], functional)
                write_json(path, results)
            print(f"{functional:6s} {name:15s} {own['points'][3]['free_energy']:14.6f} eV, "
                  f"{time.process_time() - start:.1f} CPU s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
