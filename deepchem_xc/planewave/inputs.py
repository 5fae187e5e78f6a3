"""From what a user types to a `KohnShamProblem`: the keywords of GPAW and ASE, and their units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.kept_symmetry import check_symmetry
from deepchem_xc.planewave.occupations import Smearing, make_smearing, smearing_kind
from deepchem_xc.planewave.one_orbital import as_one_orbital
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.pseudo import check_functional, load_pseudopotentials
from deepchem_xc.planewave.scf import Convergence
from deepchem_xc.planewave.settings import (
    band_count,
    flag,
    real_number,
    torch_device,
    whole_number,
)

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

DEFAULT_FUNCTIONAL = "PBE"
DEFAULT_PSEUDOPOTENTIALS = "gth-pbe"
DEFAULT_OCCUPATIONS = {"name": "fermi-dirac", "width": 0.1}  # eV
_CONVERGENCE_KEYS = ("energy", "density", "orbitals", "maxiter")
# What GPAW's users write, and what there is instead.
_GPAW_KEYS = {
    "eigenstates": "'orbitals' is the largest residual of an occupied band here.",
    "maximum iterations": "'maxiter' is the largest number of steps here.",
    "bands": "Empty bands are always converged at the end.",
    "forces": "Forces follow from 'density'.",
}


def make_basis(
    atoms: Any,
    ecut: float | None,
    kpts: Any = (1, 1, 1),
    fft_size: Sequence[int] | int | None = None,
    symmetry: Any = None,
    device: torch.device | str | None = None,
    ecut_smoothing: float | None = None,
) -> PlaneWaveBasis:
    """Plane waves for ASE Atoms, a pymatgen Structure or a `Crystal`; energies in eV."""
    if ecut is None:
        raise ValueError(
            "ecut is missing: give the plane-wave cutoff in eV, for example ecut=540.0. What is "
            "enough depends on the pseudopotentials; docs/convergence.md shows how to find out."
        )
    smoothing = 0.0 if ecut_smoothing is None else ecut_smoothing
    return PlaneWaveBasis(
        as_crystal(atoms),
        real_number(ecut, "ecut", "eV") / Hartree,
        kpts,
        fft_size=fft_size,
        symmetry=symmetry,
        device=torch_device(device),
        ecut_smoothing=real_number(smoothing, "ecut_smoothing", "eV") / Hartree,
    )


def as_crystal(structure: Any) -> Crystal:
    """Crystal from ASE Atoms, a pymatgen Structure or a `Crystal`."""
    if isinstance(structure, Crystal):
        return structure
    if hasattr(structure, "get_scaled_positions"):
        return Crystal.from_ase(structure)
    if hasattr(structure, "lattice") and hasattr(structure, "frac_coords"):
        return Crystal.from_pymatgen(structure)
    raise TypeError(
        f"{type(structure).__name__} is not a structure: give ASE Atoms, a pymatgen Structure, a "
        "Crystal or a PlaneWaveBasis. Crystal.read(path) reads a file; "
        "molecule.get_boxed_structure(a, b, c) puts a pymatgen Molecule into a box."
    )


def make_problem(
    basis: PlaneWaveBasis,
    functional: str | XCFunctional | None = None,
    pseudopotentials: Any = None,
    occupations: Mapping[str, Any] | str | None = None,
    spinpol: bool | None = None,
    energy_unit: float = 1.0,
) -> KohnShamProblem:
    """Put a basis, a functional, pseudopotentials and occupations together.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    functional : str or XCFunctional, optional
        Anything `get_xc` takes; PBE by default.
    pseudopotentials : str, mapping, optional
        Anything `load_pseudopotentials` takes; "gth-pbe" by default.
    occupations : mapping or str, optional
        See `make_occupations`.
    spinpol : bool, optional
        Two spin channels; by default if the crystal has initial magnetic moments.
    energy_unit : float, optional
        Hartree per unit in which the width is given: 1 for Hartree, 1/27.2 for eV.

    Raises
    ------
    ValueError
        If a name is unknown (the message lists the valid ones), the electrons cannot be placed, or
        the crystal lacks the symmetry that its k-points were reduced by.
    """
    from deepchem_xc.xc import get_xc
    from deepchem_xc.xc.trial import check_functional as try_functional

    chosen = get_xc(DEFAULT_FUNCTIONAL if functional is None else functional)
    try_functional(chosen)
    if basis.device.type != "cpu":
        chosen = chosen.to(basis.device)
    crystal = basis.crystal
    check_symmetry(crystal, basis.kpoints.symmetry)
    potentials = DEFAULT_PSEUDOPOTENTIALS if pseudopotentials is None else pseudopotentials
    pseudos = load_pseudopotentials(potentials, crystal.species)
    check_functional(pseudos, chosen.name)
    if chosen.family >= 4 and any(pseudos[symbol].has_core_density for symbol in crystal.species):
        raise ValueError(
            f"{chosen.name} needs the kinetic energy density of the core electrons, which "
            "potentials with a core correction do not hold: choose potentials without one (the GTH "
            "families)."
        )

    smearing, fixed_moment = make_occupations(occupations, energy_unit)
    if spinpol is not None:
        spinpol = flag(spinpol, "spinpol")
    moments = crystal.magnetic_moments
    magnetic = moments is not None and any(m != 0.0 for m in moments)
    if spinpol is None:
        spinpol = magnetic or fixed_moment
    if fixed_moment and not spinpol:
        raise ValueError("fixmagmom needs two spin channels, but spinpol=False was given.")
    if magnetic and not spinpol:
        raise ValueError(
            "the atoms have initial magnetic moments, but spinpol=False was given: leave spinpol "
            "out, or remove the moments with atoms.set_initial_magnetic_moments()."
        )
    problem = KohnShamProblem(
        basis=basis,
        functional=chosen,
        pseudopotentials=pseudos,
        smearing=smearing,
        nspin=2 if spinpol else 1,
        moment=float(sum(moments or ())) if fixed_moment else None,
    )
    return as_one_orbital(problem)


def make_occupations(
    spec: Mapping[str, Any] | str | Smearing | None, energy_unit: float = 1.0
) -> tuple[Smearing, bool]:
    """Smearing, and whether the moment is fixed, from what ``occupations=`` says.

    Parameters
    ----------
    spec : mapping, str, Smearing or None
        ``{"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}``, or a name. Without a name it
        is Fermi-Dirac, without a width 0.1 eV.
    energy_unit : float, optional
        Hartree per unit in which a width is given.

    Raises
    ------
    ValueError
        For an unknown name or key, and a width that is no positive number.

    Examples
    --------
    >>> make_occupations("fixed")
    (FixedOccupations(width=0.0), False)
    >>> smearing, fixed = make_occupations({"width": 0.2, "fixmagmom": True}, 1 / Hartree)
    >>> smearing.name, round(smearing.width * Hartree, 9), fixed
    ('fermi-dirac', 0.2, True)
    """
    if isinstance(spec, Smearing):
        return spec, False
    if isinstance(spec, str):
        spec = {"name": spec}
    if spec is not None and not isinstance(spec, Mapping):
        raise ValueError(
            f"occupations = {spec!r} is neither a name nor a dictionary: write for example "
            "{'name': 'fermi-dirac', 'width': 0.1}."
        )
    # None is the default of every key.
    options = {key: value for key, value in dict(spec or {}).items() if value is not None}
    fixed_moment = flag(options.pop("fixmagmom", False), "occupations['fixmagmom']")
    options.setdefault("name", DEFAULT_OCCUPATIONS["name"])
    if "width" in options:
        width = real_number(options["width"], "occupations['width']")
        if not (math.isfinite(width) and width > 0):
            raise ValueError(
                f"occupations['width'] must be a positive number, got {width:g}; for integer "
                "occupations use {'name': 'fixed'}."
            )
        options["width"] = width * energy_unit
    elif smearing_kind(options["name"]) != "fixed":
        options["width"] = real_number(DEFAULT_OCCUPATIONS["width"], "width") / Hartree
    return make_smearing(options), fixed_moment


def number_of_bands(nbands: Any, problem: KohnShamProblem) -> int | None:
    """Bands that ``nbands=`` means for a problem; None leaves the choice to the calculation.

    Parameters
    ----------
    nbands : int, str or None
        See `settings.band_count`.
    problem : KohnShamProblem
        Says how many are occupied.
    """
    moment = problem.moment if problem.moment is not None else problem.initial_moment
    return band_count(nbands, 0.5 * (problem.nelectrons + abs(moment or 0.0)))


def make_convergence(options: Mapping[str, Any] | None, energy_unit: float = 1.0) -> Convergence:
    """`Convergence` from a mapping; energies in units of `energy_unit` Hartree.

    Raises
    ------
    ValueError
        For unknown keys, and values that are not positive numbers.

    Examples
    --------
    >>> make_convergence({"density": 1e-7, "energy": None}).density
    1e-07
    """
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(
            f"convergence = {options!r} is no dictionary: say what has to converge, for example "
            f"{{'energy': 1e-6}} (per valence electron); the keys are {list(_CONVERGENCE_KEYS)}."
        )
    unknown = sorted(map(str, set(options or {}) - set(_CONVERGENCE_KEYS)))
    if unknown:
        hints = "".join(f" {_GPAW_KEYS[key]}" for key in unknown if key in _GPAW_KEYS)
        raise ValueError(
            f"unknown convergence keys {unknown}; the valid ones are {list(_CONVERGENCE_KEYS)}."
            + hints
        )
    values: dict[str, Any] = {}
    for name, given in (options or {}).items():
        if given is None:
            continue
        value = real_number(given, f"convergence[{name!r}]")
        if not value > 0:
            raise ValueError(f"convergence[{name!r}] must be positive, got {given}.")
        values[name] = value * (energy_unit if name in ("energy", "orbitals") else 1.0)
    if "maxiter" in values:
        values["maxiter"] = whole_number((options or {})["maxiter"], "convergence['maxiter']")
    return Convergence(**values)
