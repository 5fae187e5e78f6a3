"""From what a user types to a `KohnShamProblem`: the keywords of GPAW and ASE, and their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.occupations import make_smearing
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.pseudo import check_functional, load_pseudopotentials
from deepchem_xc.planewave.scf import Convergence
from deepchem_xc.planewave.symmetry import SymmetryGroup

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

DEFAULT_OCCUPATIONS = {"name": "fermi-dirac", "width": 0.1}  # eV
_CONVERGENCE_KEYS = ("energy", "density", "orbitals", "maxiter")


def make_basis(
    atoms: Any,
    ecut: float | None,
    kpts: Any = (1, 1, 1),
    fft_size: Sequence[int] | None = None,
    symmetry: bool | SymmetryGroup = True,
    device: torch.device | str | None = None,
    ecut_smoothing: float = 0.0,
) -> PlaneWaveBasis:
    """Plane waves for ASE Atoms, a pymatgen Structure or a `Crystal`; energies in eV."""
    if ecut is None:
        raise ValueError(
            "ecut is missing: give the plane-wave cutoff in eV, for example ecut=540.0. What is "
            "enough depends on the pseudopotentials; docs/convergence.md shows how to find out."
        )
    return PlaneWaveBasis(
        as_crystal(atoms),
        ecut / Hartree,
        kpts,
        fft_size=fft_size,
        symmetry=symmetry,
        device=device,
        ecut_smoothing=ecut_smoothing / Hartree,
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
        "Crystal or a PlaneWaveBasis."
    )


def make_problem(
    basis: PlaneWaveBasis,
    functional: str | XCFunctional = "PBE",
    pseudopotentials: Any = "gth-pbe",
    occupations: Mapping[str, Any] | None = None,
    spinpol: bool | None = None,
    energy_unit: float = 1.0,
) -> KohnShamProblem:
    """Put a basis, a functional, pseudopotentials and occupations together.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    functional : str or XCFunctional
        Anything `get_xc` takes.
    pseudopotentials : str, mapping
        Anything `load_pseudopotentials` takes.
    occupations : mapping, optional
        ``{"name": ..., "width": ...}`` and, for two spins, ``"fixmagmom": True`` to keep the sum
        of the initial moments. Fermi-Dirac of 0.1 eV by default.
    spinpol : bool, optional
        Two spin channels; by default if the crystal has initial magnetic moments.
    energy_unit : float, optional
        Hartree per unit in which the width is given: 1 for Hartree, 1/27.2 for eV.

    Raises
    ------
    ValueError
        If a name is unknown (the message lists the valid ones), or the electrons cannot be placed.
    """
    from deepchem_xc.xc import get_xc
    from deepchem_xc.xc.trial import check_functional as try_functional

    chosen = get_xc(functional)
    try_functional(chosen)
    if basis.device.type != "cpu":
        chosen = chosen.to(basis.device)
    crystal = basis.crystal
    pseudos = load_pseudopotentials(pseudopotentials, crystal.species)
    check_functional(pseudos, chosen.name)
    if chosen.family >= 4 and any(pseudos[symbol].has_core_density for symbol in crystal.species):
        raise ValueError(
            f"{chosen.name} needs the kinetic energy density of the core electrons, which "
            "potentials with a core correction do not hold: choose potentials without one (the GTH "
            "families)."
        )

    if occupations is None:
        occupations, energy_unit = DEFAULT_OCCUPATIONS, 1.0 / Hartree
    options = dict(occupations)
    fixed_moment = bool(options.pop("fixmagmom", False))
    if "width" in options:
        options["width"] = float(options["width"]) * energy_unit
    smearing = make_smearing(options)

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
    return KohnShamProblem(
        basis=basis,
        functional=chosen,
        pseudopotentials=pseudos,
        smearing=smearing,
        nspin=2 if spinpol else 1,
        moment=float(sum(moments or ())) if fixed_moment else None,
    )


def make_convergence(options: Mapping[str, Any] | None, energy_unit: float = 1.0) -> Convergence:
    """`Convergence` from a mapping; energies in units of `energy_unit` Hartree."""
    options = dict(options or {})
    unknown = sorted(set(options) - set(_CONVERGENCE_KEYS))
    if unknown:
        raise ValueError(
            f"unknown convergence keys {unknown}; the valid ones are {list(_CONVERGENCE_KEYS)}."
        )
    for name in ("energy", "orbitals"):
        if options.get(name) is not None:
            options[name] = float(options[name]) * energy_unit
    for name, value in options.items():
        if value is not None and not value > 0:
            raise ValueError(f"convergence[{name!r}] must be positive, got {value}.")
    return Convergence(**options)
