"""From users' input to a basis and a `KohnShamProblem`; units are converted here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ase.units import Hartree

from deepchem_xc.keywords import standard
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.loop.one_orbital import as_one_orbital
from deepchem_xc.planewave.low_cutoff import check_cutoff
from deepchem_xc.planewave.potentials import load_potentials
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.pseudo import check_functional
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.sphere_distances import check_spheres
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.kept_symmetry import check_symmetry
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from deepchem_xc.planewave.values import band_count, flag, make_occupations, symmetry_choice

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

DEFAULT_FUNCTIONAL = "PBE"
# Message if displacements or strains may break a requested symmetry.
BROKEN_SYMMETRY = (
    "positions or lattice require gradients, and displacements and strains may break the symmetry "
    "that reduced the k-points: leave symmetry out, or give symmetry=False."
)


def make_basis(structure: Any, settings: Settings) -> PlaneWaveBasis:
    """Plane waves for a structure.

    Parameters
    ----------
    structure : ase.Atoms, pymatgen Structure or Crystal
        If positions or lattice of a `Crystal` require gradients, only time reversal reduces the
        k-points.
    settings : Settings
        Cutoff, k-points, grid, symmetry, device.

    Examples
    --------
    >>> from ase.build import bulk
    >>> make_basis(bulk("Si"), Settings.of({"ecut": 100.0})).fft_size
    (15, 15, 15)
    """
    if settings.ecut is None:
        raise ValueError(
            "ecut is missing: give the plane-wave cutoff in eV, for example ecut=540.0. The "
            "pseudopotentials determine what is enough; docs/settings.md shows how to find out."
        )
    crystal = as_crystal(structure)
    return PlaneWaveBasis(
        crystal,
        settings.ecut / Hartree,
        settings.kpts,
        fft_size=settings.fft_size,
        symmetry=_symmetry(settings.symmetry, crystal.requires_grad),
        device=settings.device,
        ecut_smoothing=(settings.ecut_smoothing or 0.0) / Hartree,
    )


def _symmetry(asked: Any, moves: bool) -> Any:
    """Symmetry to use; displacements may break every symmetry except time reversal.

    Raises
    ------
    ValueError
        If displacements may break the requested symmetry.
    """
    if not moves or isinstance(asked, SymmetryGroup):
        if moves and len(asked) > 1:
            raise ValueError(BROKEN_SYMMETRY)
        return asked
    by_default = asked is None or (isinstance(asked, Mapping) and not asked)
    choice = symmetry_choice(asked)
    if choice.point_group and not by_default:
        raise ValueError(BROKEN_SYMMETRY)
    return SymmetryGroup.trivial(time_reversal=choice.time_reversal)


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
    """Combine a basis, a functional, pseudopotentials and occupations.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    functional : str or XCFunctional, optional
        Anything `get_xc` takes; PBE by default.
    pseudopotentials : str, mapping, optional
        Anything `load_potentials` takes; "gth-pbe" by default.
    occupations : mapping or str, optional
        See `make_occupations`.
    spinpol : bool, optional
        Two spin channels; by default if the crystal has initial magnetic moments.
    energy_unit : float, optional
        Unit of the width, Hartree: 1 for Hartree, 1/27.2 for eV.

    Raises
    ------
    ValueError
        If a name is unknown (the message lists the valid ones), the functional is a hybrid, the
        electrons cannot be placed, or the crystal lacks the symmetry that reduced its k-points.

    Warns
    -----
    FunctionalMismatchWarning
        If potentials were made with another functional.
    OverlappingSpheresWarning, LowCutoffWarning
        If PAW spheres overlap too much, or the cutoff is too low for the datasets.
    """
    from deepchem_xc.xc import Ingredients, get_xc, refuse_exact_exchange
    from deepchem_xc.xc.trial import check_functional as try_functional

    chosen = get_xc(DEFAULT_FUNCTIONAL if functional is None else functional)
    refuse_exact_exchange(
        chosen,
        "plane waves here do not compute. Take a GGA or meta-GGA, such as 'PBE' or 'r2SCAN'; "
        "molecules have it: deepchem_xc.gaussian.scf",
    )
    try_functional(chosen)
    if basis.device.type != "cpu":
        chosen = chosen.to(basis.device)
    crystal = basis.crystal
    check_symmetry(crystal, basis.kpoints.symmetry)
    if pseudopotentials is None:
        pseudopotentials = standard("pseudopotentials")
    pseudos = load_potentials(pseudopotentials, crystal.species)
    check_functional(pseudos, chosen.name)
    cored = [
        symbol
        for symbol in crystal.species
        if pseudos[symbol].has_core_density and not pseudos[symbol].has_core_kinetic_density
    ]
    if cored and Ingredients.TAU in chosen.ingredients:
        raise ValueError(
            f"{chosen.name} needs the kinetic energy density of the core electrons, which the "
            f"potential {pseudos[cored[0]].name!r} of {cored[0]} does not hold: choose potentials "
            "without a core correction (the GTH families), or PAW datasets ('paw-pbe')."
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
    if problem.spheres is not None:
        check_spheres(crystal, problem.spheres.potentials)
        check_cutoff(basis.ecut, problem.spheres.potentials)
    return as_one_orbital(problem)


def number_of_bands(nbands: Any, problem: KohnShamProblem) -> int | None:
    """Number of bands from ``nbands=`` for a problem; None leaves the choice to the calculation.

    Parameters
    ----------
    nbands : int, str or None
        See `values.band_count`.
    problem : KohnShamProblem
        Determines how many are occupied.
    """
    moment = problem.moment if problem.moment is not None else problem.initial_moment
    return band_count(nbands, 0.5 * (problem.nelectrons + abs(moment or 0.0)))
