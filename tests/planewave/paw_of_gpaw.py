"""Crystals of data/paw_gpaw.json as this package computes them, beside GPAW's numbers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, GPa, Hartree
from numpy.typing import NDArray

from deepchem_xc._files import data_file
from deepchem_xc.eos.fits import fit_equation_of_state
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.properties.volume_series import volume_series
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.xc import Ingredients, XCFunctional, get_xc
from tests.planewave.paw.gpaw_pbe import pbe_of_gpaw
from tests.planewave.test_reference_abinit import same_kpoint

REFERENCE: Mapping[str, Any] = json.loads(data_file("paw_gpaw.json").read_text())
# Relative to the valence electrons; the energy in eV.
CONVERGENCE = {"energy": 1e-8, "density": 1e-7}


@dataclass(frozen=True)
class Differences:
    """This package minus GPAW.

    Attributes
    ----------
    energies : ndarray
        Free energies of the volumes, and last of the strained crystal, (nvolume + 1,), meV/atom.
    sizes : list of float
        Volumes, Angstrom^3, or areas, Angstrom^2.
    curves : tuple of list of float
        Energies extrapolated to zero width there, of this package and of GPAW, eV.
    dimension : int
        2 for areas.
    forces, stress, moments, levels : float
        Largest differences: eV/Angstrom; GPa; mu_B; eigenvalues of occupied states in eV.
    """

    energies: NDArray[np.float64]
    sizes: list[float]
    curves: tuple[list[float], list[float]]
    dimension: int
    forces: float
    stress: float
    moments: float
    levels: float

    @property
    def spread(self) -> float:
        """Largest minus smallest difference of the energies, meV/atom.

        Of the strained crystal and of volumes within 4 % in the lattice constant.
        """
        largest = max(self.sizes)
        near = [size > 0.88 * largest for size in self.sizes]
        return float(np.ptp(self.energies[[*near, True]]))

    def of_fits(self) -> tuple[float, float]:
        """Relative differences of lattice constants and of moduli."""
        ours, theirs = (
            fit_equation_of_state(self.sizes, curve, self.dimension) for curve in self.curves
        )
        length = (ours.size / theirs.size) ** (1.0 / self.dimension)
        return length - 1.0, ours.modulus / theirs.modulus - 1.0


def functional_of(name: str) -> XCFunctional:
    """PBE with GPAW's constants, and the others as everyone has them."""
    return pbe_of_gpaw() if name == "PBE" else get_xc(name)


def atoms_of(settings: Mapping[str, Any], deformed: bool) -> Atoms:
    """The crystal at scale 1, or strained and with its last atom displaced."""
    atoms = Atoms(
        settings["symbols"],
        cell=settings["cell"],
        scaled_positions=settings["scaled_positions"],
        magmoms=np.broadcast_to(settings["moment"], len(settings["symbols"])),
        pbc=True,
    )
    if deformed:
        atoms.set_cell(np.asarray(atoms.cell) @ np.array(settings["strain"]).T, scale_atoms=True)
        atoms.positions[-1] += settings["displacement"]
    return atoms


def keywords_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `scf` with which it computes what GPAW did."""
    return {
        "ecut": float(settings["ecut"]),
        "kpts": {"size": settings["kpts"], "gamma": True},
        "occupations": {"name": "fermi-dirac", "width": settings["width"]},
        "pseudopotentials": "paw-pbe",
        "spinpol": bool(np.any(settings["moment"])),
        "convergence": CONVERGENCE,
    }


def moments_apart(result: SCFResult, expected: Mapping[str, Any]) -> float:
    """Largest difference of the cell's moment, and of the atoms' where they differ, mu_B."""
    apart = [float(result.magnetic_moment) - expected["moment"]]
    if "moments" in expected:
        apart.extend(result.atom_moments.numpy() - np.array(expected["moments"]))
    return float(np.abs(apart).max())


def levels_apart(result: SCFResult, expected: Mapping[str, Any]) -> float:
    """Largest difference of the eigenvalues of states that hold electrons, eV."""
    theirs, ours = np.array(expected["eigenvalues"]), result.eigenvalues.numpy() * Hartree
    occupied = np.array(expected["occupations"]) > 1e-3
    worst = 0.0
    for index, k in enumerate(expected["kpts"]):
        nband = min(ours.shape[2], theirs.shape[2])
        assert not occupied[:, index, nband:].any()
        apart = np.abs(ours[:, same_kpoint(result, k), :nband] - theirs[:, index, :nband])
        worst = max(worst, float(apart[occupied[:, index, :nband]].max()))
    return worst


@functools.cache
def differences_to_gpaw(name: str, functional: str) -> Differences:
    """Energies of all volumes, and everything of the strained crystal."""
    settings = REFERENCE[name]["settings"]
    expected = REFERENCE[name]["results"][functional]
    keywords, xc = keywords_of(settings), functional_of(functional)
    meta_gga = bool(xc.ingredients & Ingredients.TAU)
    if meta_gga:  # GPAW's own grid, with which its energies were found converged
        keywords["fft_size"] = settings["gpts"]
    points, strained = expected["points"], expected["deformed"]
    series = volume_series(
        atoms_of(settings, deformed=False),
        Settings.of(keywords),
        [point["scale"] for point in points],
        2 if settings["layer"] else 3,
    )
    # One grid and one mesh at all volumes, as GPAW has.
    fft_size = settings["gpts"] if meta_gga else series.fft_size
    shared = {**keywords, "kpts": series.kpoints, "fft_size": fft_size, "symmetry": None}
    volumes = [scf(series.crystal(scale), xc, **shared) for scale in series.scales]
    result = scf(atoms_of(settings, deformed=True), xc, **keywords)
    free = [float(each.free_energy) * Hartree for each in (*volumes, result)]
    gpaw_free = [point["free_energy"] for point in (*points, strained)]
    pairs = zip((*volumes, result), (*points, strained), strict=True)
    energies = [float(each.extrapolated_energy) * Hartree for each in volumes]
    sizes = [series.size(scale) for scale in series.scales]
    stress = result.stress.numpy() * Hartree / Bohr**3 - np.array(strained["stress"])
    forces = result.forces.numpy() * Hartree / Bohr - np.array(strained["forces"])
    return Differences(
        energies=1e3 * (np.array(free) - np.array(gpaw_free)) / len(settings["symbols"]),
        sizes=sizes,
        curves=(energies, [point["energy"] for point in points]),
        dimension=series.dimension,
        forces=float(np.abs(forces).max()),
        stress=float(np.abs(stress).max()) / GPa,
        moments=max(moments_apart(ours, theirs) for ours, theirs in pairs),
        levels=levels_apart(result, strained),
    )
