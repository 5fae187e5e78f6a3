"""Crystals and codes of `three_codes.py`: what is computed, and how each code computes it.

A code is two functions in `CODES`. The first gives its settings for a crystal, everything its
energies depend on. The second takes a crystal, a volume and these settings, and returns a
function from the name of a functional to energies (eV): what functionals share is made once.
A further code is a further line in `CODES`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from ase import Atoms
from ase.units import Bohr, Hartree
from scipy.fft import next_fast_len

from deepchem_xc import __version__
from deepchem_xc._files import data_file
from deepchem_xc.against_gpaw import CASES
from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS, GpawSettings, load_gpaw_eos

if TYPE_CHECKING:
    from deepchem_xc.planewave import SCFResult
    from deepchem_xc.xc import XCFunctional

Settings = dict[str, Any]
Energies = dict[str, float]
# A functional's name, or file, to `energy` (extrapolated to zero width) and `free_energy`, eV.
Calculation = Callable[[str], Energies]

# Volumes relative to PBE's, the same for all codes and functionals, so that errors of the fit
# cancel in differences. PBE's minimum is near 1; functionals that give smaller crystals need room.
SMALLEST, LARGEST = 0.88, 1.06
# Self-consistency, relative to valence electrons where the code counts so: energy in eV.
ENERGY_TOLERANCE, DENSITY_TOLERANCE = 1e-6, 1e-5


@dataclass(frozen=True)
class System:
    """A crystal, and what its calculations with several codes have in common.

    Attributes
    ----------
    crystal : GpawSettings
        Structure, lattice constant at scale 1, mesh and width, and GPAW's cutoff, grid and bands.
    ecut, ecut_smoothing : float
        Cutoff of this package's calculations with GTH potentials, and its smoothing, eV; None if
        it is beyond reach. With PAW the cutoff is GPAW's.
    """

    crystal: GpawSettings
    ecut: float | None
    ecut_smoothing: float = 0.0

    @property
    def dimension(self) -> int:
        """2 for a layer, whose area changes, otherwise 3."""
        return 2 if self.crystal.layered else 3

    def size(self, scale: float = 1.0) -> float:
        """Volume (Angstrom^3), or area (Angstrom^2) of a layer."""
        atoms = self.crystal.atoms(scale)
        height = float(atoms.cell[2, 2]) if self.crystal.layered else 1.0
        return float(atoms.get_volume()) / height


def _with_mesh(crystal: GpawSettings, divisions: int) -> GpawSettings:
    mesh = (divisions, divisions, 1 if crystal.layered else divisions)
    return replace(crystal, kpts=mesh)


def _from_entries(
    name: str, file: str, divisions: int, ecut: tuple[int, int] | None = None
) -> System:
    """A crystal of the project's data, with its GTH entry's cutoff and smoothing, or others."""
    settings = load_gpaw_eos(data_file(f"{file}.json"))[name]["settings"]
    del settings["xc"]
    for key in ("kpts", "gpts"):
        settings[key] = tuple(settings[key])
    crystal = _with_mesh(GpawSettings(**settings), divisions)
    if ecut is not None:
        return System(crystal, *ecut)
    entries = yaml.safe_load(data_file(f"{file}_gth.yaml").read_text())
    for own in (entry["systems"][0] for entry in entries if entry["name"] == name):
        return System(crystal, own["ecut"], own["ecut_smoothing"])
    return System(crystal, None)


def _aluminium(divisions: int) -> System:
    return System(_with_mesh(GPAW_SETTINGS["Al"], divisions), CASES["gth"]["Al"].ecut)


def _graphene(divisions: int) -> System:
    """Graphene at the height of the benchmark's own cell, and GPAW's grid for that height."""
    crystal, case = GPAW_SETTINGS["graphene"], CASES["gth"]["graphene"]
    assert crystal.vacuum is not None and case.vacuum is not None
    across = 2 * round(crystal.gpts[2] * case.vacuum / crystal.vacuum / 2 + 0.5)
    grid = (*crystal.gpts[:2], across)
    crystal = replace(_with_mesh(crystal, divisions), vacuum=case.vacuum, gpts=grid)
    return System(crystal, case.ecut, case.ecut_smoothing)


# The meshes are what PySCF can do in this time: coarser than converged ones, and the same in all
# codes, so that their error cancels in comparisons between codes.
_MAKERS: Mapping[str, Callable[[], System]] = {
    "Al": partial(_aluminium, 8),
    "Si": partial(_from_entries, "Si", "gpaw_training", 4),
    "AlP": partial(_from_entries, "AlP", "solids_eos", 4),
    "SiC": partial(_from_entries, "SiC", "solids_eos", 4),
    # At its entry's 1600 eV differences of lattice constants err by up to 0.006 Angstrom: the 1s
    # electrons of lithium. From 2500 to 3800 eV they change by 0.0008.
    "LiCl": partial(_from_entries, "LiCl", "gpaw_training", 4, (2500, 175)),
    "graphene": partial(_graphene, 6),
    # With PAW only: their GTH potentials need more than 8000 eV.
    "NaCl": partial(_from_entries, "NaCl", "solids_eos", 4),
    "MgO": partial(_from_entries, "MgO", "solids_eos", 4),
}
#: Crystals, the cheap ones first.
SYSTEMS = tuple(_MAKERS)


@cache
def system_of(name: str) -> System:
    """The crystal of a name in `SYSTEMS`."""
    return _MAKERS[name]()


def gpaw_grid(length: float, ecut: float) -> int:
    """Points along a length (Angstrom) that GPAW chooses at a cutoff (eV), or a few more.

    GPAW evaluates functionals on a grid with twice as many.
    """
    plane_waves = 0.245 * length / Bohr * (2.0 * ecut / Hartree) ** 0.5
    return int(next_fast_len(2 * math.ceil(plane_waves), real=True))


def _common(system: System) -> Settings:
    crystal = system.crystal
    return {
        "structure": crystal.structure,
        "symbol": crystal.symbol,
        "a": crystal.a,
        "vacuum": crystal.vacuum,
        "kpts": list(crystal.kpts),
        "width": crystal.width,
    }


def paw_settings(system: System) -> Settings:
    """Settings of this package with GPAW's datasets at GPAW's cutoff (eV)."""
    return {
        **_common(system),
        "deepchem_xc": __version__,
        "pseudopotentials": "paw-pbe",
        "gpaw-data": version("gpaw-data"),
        "ecut": system.crystal.ecut,
        "ecut_smoothing": 0.0,
    }


def gth_settings(system: System) -> Settings:
    """Settings of this package with GTH potentials: cutoff (eV) and its smoothing."""
    return {
        **_common(system),
        "deepchem_xc": __version__,
        "pseudopotentials": "gth-pbe",
        "ecut": system.ecut,
        "ecut_smoothing": system.ecut_smoothing,
    }


def ground_state(
    system: System, scale: float, settings: Settings, functional: XCFunctional, start: Any = None
) -> SCFResult:
    """Ground state of this package, on one grid at all volumes.

    Parameters
    ----------
    system : System
        The crystal.
    scale : float
        Its relative volume.
    settings : Settings
        Those of `paw_settings` or `gth_settings`. With ``fft_size`` the functional is evaluated on
        this grid; otherwise on the smallest that the largest volume needs.
    functional : XCFunctional
        Any functional; PBE's potentials serve all.
    start : optional
        As in `planewave.scf`.
    """
    from deepchem_xc.planewave import scf
    from deepchem_xc.planewave.inputs import make_basis
    from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
    from deepchem_xc.planewave.settings import Settings as PlaneWaveSettings

    grid = settings.get("fft_size")
    if grid is None:
        largest = system.crystal.atoms(LARGEST)
        grid = make_basis(largest, PlaneWaveSettings.of({"ecut": settings["ecut"]})).fft_size
    with warnings.catch_warnings():
        # PBE's potentials serve every functional: what this does is the question.
        warnings.simplefilter("ignore", FunctionalMismatchWarning)
        return scf(
            system.crystal.atoms(scale),
            functional,
            kpts={"size": tuple(settings["kpts"]), "gamma": True},
            occupations={"name": "fermi-dirac", "width": settings["width"]},
            convergence={"energy": ENERGY_TOLERANCE, "density": DENSITY_TOLERANCE},
            fft_size=tuple(grid),
            start=start,
            **{name: settings[name] for name in ("ecut", "ecut_smoothing", "pseudopotentials")},
        )


def plane_waves(system: System, scale: float, settings: Settings) -> Calculation:
    """Calculation with this package."""
    from deepchem_xc.xc import get_xc

    def energies(functional: str) -> Energies:
        xc = get_xc(functional).requires_grad_(False)
        result = ground_state(system, scale, settings, xc)
        return {
            "energy": float(result.extrapolated_energy) * Hartree,
            "free_energy": float(result.free_energy) * Hartree,
        }

    return energies


def gpaw_settings(system: System) -> Settings:
    """Settings of GPAW: cutoff (eV), grid, bands; setups are those of PBE."""
    crystal = system.crystal
    return {
        **_common(system),
        **{name: version(name) for name in ("gpaw", "gpaw-data")},
        "ecut": crystal.ecut,
        "gpts": list(crystal.gpts),
        "nbands": crystal.nbands,
    }


def gpaw(system: System, scale: float, settings: Settings) -> Calculation:
    """GPAW in plane waves, every functional through `to_gpaw`, so that all constants are alike."""
    from gpaw import GPAW, PW, FermiDirac

    from deepchem_xc.calculators import to_gpaw

    def energies(functional: str) -> Energies:
        atoms = system.crystal.atoms(scale)
        atoms.calc = GPAW(
            mode=PW(settings["ecut"]),
            xc=to_gpaw(functional),
            kpts={"size": tuple(settings["kpts"]), "gamma": True},
            gpts=tuple(settings["gpts"]),
            nbands=settings["nbands"],
            occupations=FermiDirac(settings["width"]),
            convergence={"energy": ENERGY_TOLERANCE, "density": 1e-6},
            txt=None,
        )
        return {
            "energy": float(atoms.get_potential_energy()),
            "free_energy": float(atoms.get_potential_energy(force_consistent=True)),
        }

    return energies


def pyscf_settings(system: System, basis: str) -> Settings:
    """Settings of PySCF: basis, and cutoff of the grid of density and potential (Hartree).

    A grid that holds the whole density of orbitals of this package's cutoff has four times as
    much. 1.5 times bounds the memory of `keep_orbitals` to 3 GB.
    """
    return {
        **_common(system),
        "pyscf": version("pyscf"),
        "pseudopotentials": "gth-pbe",
        "basis": basis,
        "ke_cutoff": None if system.ecut is None else round(1.5 * system.ecut / Hartree, 1),
        "precision": 1e-7,
    }


def gaussian_cell(atoms: Atoms, settings: Settings, mesh: Any = None) -> Any:
    """PySCF's cell; on a given mesh, or that of the settings' cutoff.

    Bases that belong to a number of electrons are named after the potential's.
    """
    from pyscf.pbc import gto
    from pyscf.pbc.gto import pseudo

    basis = {}
    for symbol in set(atoms.get_chemical_symbols()):
        electrons = sum(pseudo.load(settings["pseudopotentials"], symbol)[0])
        basis[symbol] = settings["basis"].format(electrons=electrons)
    return gto.Cell(
        a=np.asarray(atoms.cell),
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
        basis=basis,
        pseudo=settings["pseudopotentials"],
        precision=settings["precision"],
        space_group_symmetry=True,
        verbose=0,
        **({"ke_cutoff": settings["ke_cutoff"]} if mesh is None else {"mesh": mesh}),
    ).build()


def keep_orbitals(integrator: Any, kept: dict[Any, list[Any]]) -> None:
    """Evaluate basis functions on the grid once: PySCF does so in every step, for most of its time.

    Parameters
    ----------
    integrator : pyscf.pbc.dft.numint.KNumInt
        Is changed; it serves one cell and one grid.
    kept : dict
        Where they are kept: gigabytes, for many k-points.
    """
    blocks = integrator.block_loop

    def block_loop(
        cell: Any,
        grids: Any,
        nao: Any = None,
        deriv: int = 0,
        kpts: Any = None,
        kpts_band: Any = None,
        *others: Any,
        **keywords: Any,
    ) -> Any:
        meshes = [None if k is None else np.asarray(k).tobytes() for k in (kpts, kpts_band)]
        key = (deriv, *meshes)
        if key not in kept:
            kept[key] = list(blocks(cell, grids, nao, deriv, kpts, kpts_band, *others, **keywords))
        yield from kept[key]

    integrator.block_loop = block_loop


def pyscf(system: System, scale: float, settings: Settings) -> Calculation:
    """PySCF's KRKS with integrals on a uniform grid (FFTDF), the same at all volumes.

    Each functional starts from the density of the one before.
    """
    from pyscf.pbc import dft
    from pyscf.pbc.scf import addons

    from deepchem_xc.calculators import to_pyscf

    mesh = gaussian_cell(system.crystal.atoms(LARGEST), settings).mesh
    cell = gaussian_cell(system.crystal.atoms(scale), settings, mesh)
    kpts = cell.make_kpts(settings["kpts"], space_group_symmetry=True, time_reversal_symmetry=True)
    mf = addons.smearing_(dft.KRKS(cell, kpts), settings["width"] / Hartree, method="fermi")
    mf.conv_tol = ENERGY_TOLERANCE / Hartree
    density: Any = None
    kept: dict[Any, list[Any]] = {}
    keep_orbitals(mf.with_df._numint, {})

    def energies(functional: str) -> Energies:
        nonlocal density
        to_pyscf(functional, mf)
        keep_orbitals(mf._numint, kept)
        mf.kernel(density)
        if not mf.converged:
            raise RuntimeError(f"PySCF did not converge in {mf.max_cycle} steps")
        density = mf.make_rdm1()
        return {
            "energy": float(mf.e_zero) * Hartree,
            "free_energy": float(mf.e_free) * Hartree,
        }

    return energies


@dataclass(frozen=True)
class Code:
    """A way to compute energies.

    Attributes
    ----------
    title : str
        Heading in tables.
    settings : callable
        Crystal to settings.
    calculation : callable
        Crystal, relative volume and settings to a `Calculation`.
    gth : bool
        Whether it uses GTH potentials.
    """

    title: str
    settings: Callable[[System], Settings]
    calculation: Callable[[System, float, Settings], Calculation]
    gth: bool = False

    def computes(self, system: System) -> bool:
        """Whether a crystal is within reach."""
        return system.ecut is not None or not self.gth


#: The codes by name.
CODES: Mapping[str, Code] = {
    "paw": Code("ours, PAW", paw_settings, plane_waves),
    "ours": Code("ours, GTH", gth_settings, plane_waves, gth=True),
    "gpaw": Code("GPAW, PAW", gpaw_settings, gpaw),
    "pyscf": Code(
        "PySCF, GTH",
        partial(pyscf_settings, basis="DZVP-MOLOPT-SR-GTH-q{electrons}"),
        pyscf,
        gth=True,
    ),
}
