"""`scf`: one call from a structure, or a basis, to its ground state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc._modes import outside_inference_mode, refuse_inference_tensors
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.inputs import (
    as_crystal,
    make_basis,
    make_convergence,
    make_problem,
    number_of_bands,
)
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.loop.restart import Restart, moments_of, starting_point
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.response.adjoint import Geometry, functional_tensors
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE, SCFResult
from deepchem_xc.planewave.settings import real_number, symmetry_choice
from deepchem_xc.planewave.structure.kept_symmetry import operations_that_keep
from deepchem_xc.planewave.structure.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem
    from deepchem_xc.xc import XCFunctional

_SMALLEST_TOLERANCE = 1e-12
# The loop's integrated density error in electrons per valence electron where gradients are wanted,
# unless asked for otherwise. Derivatives with respect to the geometry are small differences of
# large terms: docs/derivatives.md has the errors that follow.
_GRADIENT_DENSITY, _GEOMETRY_GRADIENT_DENSITY = 1e-7, 1e-8

# Magnetic moment of an atom that is not to be lost without a word, mu_B; and moments in messages.
_NOTICEABLE = 0.02
_SHOWN = 8

_SYMMETRIC = (
    "positions or lattice require gradients, and displacements and strains may break the symmetry "
    "that reduced the k-points: leave symmetry out, or give symmetry=False."
)


class LostMomentsWarning(UserWarning):
    """A calculation without spin starts from a magnetic one."""


@outside_inference_mode()
def scf(
    target: Any,
    functional: str | XCFunctional | None = "PBE",
    *,
    ecut: float | None = None,
    kpts: Any = None,
    pseudopotentials: Any = "gth-pbe",
    occupations: Mapping[str, Any] | str | None = None,
    spinpol: bool | None = None,
    convergence: Mapping[str, Any] | None = None,
    nbands: int | str | None = None,
    fft_size: Sequence[int] | int | None = None,
    symmetry: bool | str | Mapping[str, bool] | None = None,
    device: torch.device | str | None = None,
    ecut_smoothing: float | None = None,
    start: SCFResult | Restart | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    mixing: Mixing | Mapping[str, Any] | None = None,
    policies: Policies | None = None,
    gradient_tolerance: float | None = GRADIENT_TOLERANCE,
) -> SCFResult:
    """Self-consistent ground state of a crystal.

    None is the default of every keyword.

    Parameters
    ----------
    target : ase.Atoms, pymatgen Structure, Crystal or PlaneWaveBasis
        With a structure, `ecut`, the width of `occupations` and the energies of `convergence` are
        in eV, as in `PlaneWaveDFT`. With a basis they are in Hartree, and `ecut`, `kpts`,
        `fft_size`, `symmetry`, `device` and `ecut_smoothing` are the basis's.
    functional : str or XCFunctional, optional
        A name (``"PBE"``), libxc identifiers (``"gga_x_pbe+gga_c_pbe"``), a functional, or the
        path of a functional's file (``.safetensors``).
    ecut : float
        Plane-wave cutoff, eV.
    kpts : optional
        ``(4, 4, 4)`` or 4 (Monkhorst-Pack), ``{"size": (4, 4, 4), "gamma": True}``,
        ``{"density": 3.5}`` (points per 1/Angstrom) or a list of reduced coordinates. Gamma by
        default.
    pseudopotentials : optional
        A family (``"gth-pbe"``; the others are ``planewave.pseudo.loader.FAMILIES``), a name
        (``"GTH-PBE-q4"``) or file, or a mapping from symbols to these, in which ``"default"``
        stands for all that are not named.
    occupations : mapping or str, optional
        ``{"name": "fermi-dirac", "width": 0.1}``; also fixed, gaussian, methfessel-paxton and
        marzari-vanderbilt, ``"order"`` of Methfessel-Paxton (1 by default), and
        ``"fixmagmom": True``. Fermi-Dirac by default, of 0.1 eV as all where no width is given.
    spinpol : bool, optional
        Two spin channels; by default if there are initial magnetic moments.
    convergence : mapping, optional
        ``energy`` (change in a step per valence electron; 1e-8 Ha by default), ``density``
        (integrated error, electrons per valence electron; 1e-6, or 1e-7 if the functional and 1e-8
        if positions or lattice require gradients), ``orbitals`` (residuals of occupied bands; 10
        times ``density`` in Hartree) and ``maxiter`` (100).
    nbands : int or str, optional
        Number of bands; -10 are ten more than the occupied ones, ``"120%"`` a fifth more. Chosen,
        and raised where needed, by default.
    fft_size : (int, int, int) or int, optional
        Real-space grid.
    symmetry : bool, str or mapping, optional
        Use the crystal's symmetry (default) or none (False, ``"off"``);
        ``{"point_group": False}`` leaves time reversal (`settings.symmetry_choice`).
    device : optional
        ``"cuda"`` runs everything there.
    ecut_smoothing : float, optional
        Width below the cutoff within which kinetic energies rise without bound, eV: makes curves
        of energy against volume smooth at lower cutoffs (`smooth_kinetic`); none by default.
    start : SCFResult or Restart, optional
        Start from this result's density and orbitals; its cell, positions and cutoff may differ.
        With two spin channels, symmetry operations that its magnetic moments do not have are not
        used.
    callback : callable, optional
        Called after every step with a dict of its energy (Hartree) and errors.
    mixing : Mixing or mapping, optional
        How densities are mixed, for example ``{"beta": 0.3, "preconditioner": None}``; see
        `Mixing`.
    policies : Policies, optional
        What else steers the loop: effort, single precision, held moment, localised levels; see
        `Policies` in ``planewave.loop.policies``. It changes the way, not the ground state.
    gradient_tolerance : float, optional
        Relative residual to which the adjoint equation is solved when gradients are asked for. The
        default keeps errors of derivatives below 1e-5. 1e-6 takes about two thirds of the time:
        errors of losses on the density are 1e-6, the largest ones 4e-4 (docs/derivatives.md).

    Returns
    -------
    SCFResult
        Energies, eigenvalues, density, forces, stress ... in Hartree atomic units.

    Raises
    ------
    SCFConvergenceError
        If the loop does not converge; it carries the history.
    ValueError
        For input that makes no sense; the message says what is valid.

    Warns
    -----
    LostMomentsWarning
        If `start` is magnetic and neither `spinpol` nor initial moments say whether this is.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), "PBE", ecut=200.0, kpts=(2, 2, 2))
    >>> result.density.shape
    torch.Size([1, 18, 18, 18])
    >>> bool(result.free_energy < -7.5)
    True
    """
    if gradient_tolerance is None:
        gradient_tolerance = GRADIENT_TOLERANCE
    gradient_tolerance = real_number(gradient_tolerance, "gradient_tolerance")
    if not _SMALLEST_TOLERANCE <= gradient_tolerance < 1.0:
        raise ValueError(
            f"gradient_tolerance = {gradient_tolerance} cannot be met: give a relative residual "
            f"between {_SMALLEST_TOLERANCE:g}, which rounding allows, and 1; "
            f"{GRADIENT_TOLERANCE:g} is the default."
        )
    if isinstance(functional, torch.nn.Module):
        tensors = (*functional.parameters(), *functional.buffers())
        refuse_inference_tensors("the functional", tensors)
    if isinstance(target, PlaneWaveBasis):
        refuse_inference_tensors("the basis", [target.crystal.lattice, target.weights])
        given = {
            name: value
            for name, value in {
                "ecut": ecut,
                "kpts": kpts,
                "fft_size": fft_size,
                "symmetry": symmetry,
                "device": device,
                "ecut_smoothing": ecut_smoothing,
            }.items()
            if value is not None
        }
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
        basis = make_basis(
            crystal,
            ecut,
            kpts,
            fft_size=fft_size,
            symmetry=_symmetry(symmetry, moves),
            device=device,
            ecut_smoothing=ecut_smoothing,
        )
        unit = 1.0 / Hartree
    geometry = Geometry(basis.crystal.lattice, basis.crystal.positions) if moves else None
    basis = basis.with_geometry(*(x.detach() for x in geometry)) if geometry else basis
    problem = make_problem(basis, functional, pseudopotentials, occupations, spinpol, unit)
    if isinstance(start, SCFResult):
        start = Restart.of(start)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback = {callback!r} is no function of the dict of a step.")
    if start is not None and not isinstance(start, Restart):
        raise ValueError(
            f"start = {start!r} is no earlier result: give an SCFResult, or Restart.load(path) of "
            "a file."
        )
    if start is not None:
        if spinpol is None and problem.nspin == 1:
            _notice_moments(problem, start)
        fixed = isinstance(target, PlaneWaveBasis) or isinstance(kpts, KPoints)
        fixed = fixed or isinstance(symmetry, SymmetryGroup)
        problem = _keeping_moments(problem, start, kpts, fixed)
    density, orbitals = (None, None) if start is None else starting_point(problem, start)
    result = solve(
        problem,
        convergence_of(problem, convergence, unit, moves),
        nbands=number_of_bands(nbands, problem),
        density=density,
        orbitals=orbitals,
        callback=callback,
        mixing=Mixing.of(mixing),
        policies=policies,
    )
    return replace(result, geometry=geometry, gradient_tolerance=gradient_tolerance)


def convergence_of(
    problem: KohnShamProblem,
    options: Mapping[str, Any] | None,
    energy_unit: float,
    moves: bool = False,
) -> Convergence:
    """`make_convergence`, with a tighter density where derivatives may be asked for.

    A gradient's error is of first order in the density's, an energy's of second. `moves` says that
    positions or lattice require gradients.
    """
    if moves or functional_tensors(problem):
        density = _GEOMETRY_GRADIENT_DENSITY if moves else _GRADIENT_DENSITY
        options = with_defaults(options, {"density": density})
    return make_convergence(options, energy_unit)


def with_defaults(options: Any, defaults: Mapping[str, Any]) -> Any:
    """A mapping with `defaults` for the keys that it lacks, or that are None in it.

    Anything else is returned as it is, for `make_convergence` to refuse.

    Examples
    --------
    >>> with_defaults({"energy": 1e-5, "maxiter": None}, {"energy": 1e-6, "maxiter": 100})
    {'energy': 1e-05, 'maxiter': 100}
    """
    if options is not None and not isinstance(options, Mapping):
        return options
    given = {key: value for key, value in (options or {}).items() if value is not None}
    return {**defaults, **given}


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


def _notice_moments(problem: KohnShamProblem, start: Restart) -> None:
    """Warn of a start whose magnetic moments a calculation without spin leaves out."""
    moments = moments_of(problem, start)
    if moments is not None and float(moments.abs().max()) > _NOTICEABLE:
        warnings.warn(
            f"the start has magnetic moments of {_listed(moments)} mu_B, and this calculation has "
            "no spin, as its atoms have no initial moments: give spinpol=True to keep them, or "
            "spinpol=False to leave them out without this warning.",
            LostMomentsWarning,
            stacklevel=4,
        )


def _keeping_moments(
    problem: KohnShamProblem, start: Restart, kpts: Any, fixed: bool
) -> KohnShamProblem:
    """The problem with that part of its symmetry which the start's magnetic moments have.

    The symmetry of a structure knows initial moments alone, and averaging over operations that
    exchange the sublattices of an antiferromagnet leaves it none. `fixed` says that the symmetry
    was not chosen here.
    """
    basis = problem.basis
    symmetry = basis.kpoints.symmetry
    moments = moments_of(problem, start) if problem.nspin == 2 and len(symmetry) > 1 else None
    if moments is None:
        return problem
    kept = operations_that_keep(moments, basis.crystal, symmetry)
    if kept.all():
        return problem
    if fixed:
        raise ValueError(
            f"the start has magnetic moments of {_listed(moments)} mu_B, which only {kept.sum()} "
            f"of the {len(symmetry)} symmetry operations that reduced the k-points keep: they "
            "would be lost. Give the atoms such initial moments before the basis or the k-points "
            "are made, or make these without symmetry (symmetry=False)."
        )
    kpoints = make_kpoints(kpts, basis.crystal, symmetry=symmetry.subset(kept))
    kpoints = replace(kpoints, dropped=basis.kpoints.dropped)
    return replace(problem, basis=basis.with_kpoints(kpoints))


def _listed(moments: Tensor) -> str:
    shown = [f"{moment:.2f}" for moment in moments[:_SHOWN].tolist()]
    return ", ".join(shown) + (", ..." if len(moments) > _SHOWN else "")
