"""From settings to what is solved: basis, problem, and how its loop runs; units change here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree

from deepchem_xc._modes import refuse_inference_tensors
from deepchem_xc.keywords import standard
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.one_orbital import as_one_orbital
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.pseudo import check_functional, load_pseudopotentials
from deepchem_xc.planewave.response.adjoint import Geometry, functional_tensors
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.kept_symmetry import check_symmetry
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from deepchem_xc.planewave.values import (
    band_count,
    flag,
    make_occupations,
    symmetry_choice,
    with_defaults,
)

if TYPE_CHECKING:
    from torch import Tensor

    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional

DEFAULT_FUNCTIONAL = "PBE"
# What belongs to a basis, and cannot be given beside one.
_OF_THE_BASIS = ("ecut", "kpts", "fft_size", "symmetry", "device", "ecut_smoothing")
# The loop's integrated density error in electrons per valence electron where gradients are wanted,
# unless asked for otherwise. Derivatives with respect to the geometry are small differences of
# large terms: docs/derivatives.md has the errors that follow.
_GRADIENT_DENSITY, _GEOMETRY_GRADIENT_DENSITY = 1e-7, 1e-8

_SYMMETRIC = (
    "positions or lattice require gradients, and displacements and strains may break the symmetry "
    "that reduced the k-points: leave symmetry out, or give symmetry=False."
)


@dataclass(frozen=True, eq=False)
class Setup:
    """A problem, and how its loop runs: all that `solve` takes.

    Attributes
    ----------
    problem : KohnShamProblem
        Basis, functional, potentials and occupations.
    convergence : Convergence
        When the loop stops.
    nbands : int or None
        Number of bands; None leaves it to the loop.
    mixing : Mixing
        How densities are mixed.
    gradient_tolerance : float
        Relative residual of the adjoint equation.
    geometry : Geometry or None
        Lattice and positions that the result's derivatives are taken with respect to.

    See Also
    --------
    set_up : Makes it, with an example.
    """

    problem: KohnShamProblem
    convergence: Convergence
    nbands: int | None
    mixing: Mixing
    gradient_tolerance: float
    geometry: Geometry | None

    def solve(
        self,
        density: Tensor | None = None,
        orbitals: Tensor | None = None,
        callback: Callable[[dict[str, float]], None] | None = None,
    ) -> SCFResult:
        """Ground state; parameters and errors as of `loop.self_consistency.solve`."""
        result = solve(
            self.problem,
            self.convergence,
            self.nbands,
            density,
            orbitals,
            callback,
            self.mixing,
        )
        tolerance = self.gradient_tolerance
        return replace(result, geometry=self.geometry, gradient_tolerance=tolerance)


def set_up(target: Any, functional: str | XCFunctional | None, settings: Settings) -> Setup:
    """The problem that settings mean, and how its loop runs.

    Parameters
    ----------
    target : ase.Atoms, pymatgen Structure, Crystal or PlaneWaveBasis
        With a basis, energies of `settings` are in Hartree, and the keywords of a basis are not
        valid.
    functional : str or XCFunctional, optional
        Anything `get_xc` takes; PBE by default.
    settings : Settings
        Keywords of the calculation.

    Raises
    ------
    ValueError
        For settings that make no sense for this structure.

    Examples
    --------
    >>> from ase.build import bulk
    >>> setup = set_up(bulk("Si"), "PBE", Settings.of({"ecut": 100.0, "nbands": -2}))
    >>> setup.problem.nelectrons, setup.nbands, setup.convergence.density
    (8.0, 6, 1e-06)
    """
    if isinstance(functional, torch.nn.Module):
        tensors = (*functional.parameters(), *functional.buffers())
        refuse_inference_tensors("the functional", tensors)
    if isinstance(target, PlaneWaveBasis):
        refuse_inference_tensors("the basis", [target.crystal.lattice, target.weights])
        given = [name for name in _OF_THE_BASIS if getattr(settings, name) is not None]
        if given:
            raise ValueError(f"{sorted(given)} belong to the PlaneWaveBasis that was given.")
        basis, unit = target, 1.0
        moves = basis.crystal.requires_grad
        if moves and len(basis.kpoints.symmetry) > 1:
            raise ValueError(_SYMMETRIC)
    else:
        crystal = as_crystal(target)
        refuse_inference_tensors("the crystal", [crystal.lattice, crystal.positions])
        moves = crystal.requires_grad
        basis, unit = make_basis(crystal, settings), 1.0 / Hartree
    geometry = Geometry(basis.crystal.lattice, basis.crystal.positions) if moves else None
    basis = basis.with_geometry(*(x.detach() for x in geometry)) if geometry else basis
    problem = make_problem(
        basis, functional, settings.pseudopotentials, settings.occupations, settings.spinpol, unit
    )
    tolerance = settings.gradient_tolerance
    return Setup(
        problem=problem,
        convergence=_convergence(problem, settings.convergence, unit, moves),
        nbands=number_of_bands(settings.nbands, problem),
        mixing=Mixing.of(settings.mixing),
        gradient_tolerance=GRADIENT_TOLERANCE if tolerance is None else tolerance,
        geometry=geometry,
    )


def make_basis(structure: Any, settings: Settings) -> PlaneWaveBasis:
    """Plane waves for a structure.

    Parameters
    ----------
    structure : ase.Atoms, pymatgen Structure or Crystal
        Where positions or lattice of a `Crystal` require gradients, time reversal alone reduces
        the k-points.
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
            "ecut is missing: give the plane-wave cutoff in eV, for example ecut=540.0. What is "
            "enough depends on the pseudopotentials; docs/convergence.md shows how to find out."
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
    """Symmetry to use; displacements may break all but time reversal.

    Raises
    ------
    ValueError
        If a symmetry is asked for that displacements may break.
    """
    if not moves or isinstance(asked, SymmetryGroup):
        if moves and len(asked) > 1:
            raise ValueError(_SYMMETRIC)
        return asked
    by_default = asked is None or (isinstance(asked, Mapping) and not asked)
    choice = symmetry_choice(asked)
    if choice.point_group and not by_default:
        raise ValueError(_SYMMETRIC)
    return SymmetryGroup.trivial(time_reversal=choice.time_reversal)


def _convergence(
    problem: KohnShamProblem, options: Any, energy_unit: float, moves: bool
) -> Convergence:
    """`Convergence`, with a tighter density where derivatives may be asked for.

    A gradient's error is of first order in the density's, an energy's of second. `moves` says that
    positions or lattice require gradients.
    """
    if moves or functional_tensors(problem):
        density = _GEOMETRY_GRADIENT_DENSITY if moves else _GRADIENT_DENSITY
        options = with_defaults(options, {"density": density})
    return Convergence.of(options, energy_unit)


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
    from deepchem_xc.xc import Ingredients, get_xc
    from deepchem_xc.xc.trial import check_functional as try_functional

    chosen = get_xc(DEFAULT_FUNCTIONAL if functional is None else functional)
    try_functional(chosen)
    if basis.device.type != "cpu":
        chosen = chosen.to(basis.device)
    crystal = basis.crystal
    check_symmetry(crystal, basis.kpoints.symmetry)
    if pseudopotentials is None:
        pseudopotentials = standard("pseudopotentials")
    pseudos = load_pseudopotentials(pseudopotentials, crystal.species)
    check_functional(pseudos, chosen.name)
    cored = any(pseudos[symbol].has_core_density for symbol in crystal.species)
    if cored and Ingredients.TAU in chosen.ingredients:
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


def number_of_bands(nbands: Any, problem: KohnShamProblem) -> int | None:
    """Bands that ``nbands=`` means for a problem; None leaves the choice to the calculation.

    Parameters
    ----------
    nbands : int, str or None
        See `values.band_count`.
    problem : KohnShamProblem
        Says how many are occupied.
    """
    moment = problem.moment if problem.moment is not None else problem.initial_moment
    return band_count(nbands, 0.5 * (problem.nelectrons + abs(moment or 0.0)))
