"""`scf`: one call from a structure, or a basis, to its ground state."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc.planewave.assembly import set_up
from deepchem_xc.planewave.loop.magnetic_start import LostMomentsWarning
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.other_keywords import names_similar_keywords
from deepchem_xc.planewave.record import DensitySource, density_source
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.settings import Settings

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

__all__ = ["LostMomentsWarning", "scf"]


@names_similar_keywords
@outside_inference_and_autocast()
def scf(
    target: Any,
    functional: str | XCFunctional | None = "PBE",
    *,
    ecut: float | None = None,
    kpts: Any = None,
    pseudopotentials: Any = None,
    occupations: Mapping[str, Any] | str | None = None,
    spinpol: bool | None = None,
    convergence: Mapping[str, Any] | None = None,
    nbands: int | str | None = None,
    fft_size: Sequence[int] | int | None = None,
    symmetry: bool | str | Mapping[str, bool] | None = None,
    device: torch.device | str | None = None,
    ecut_smoothing: float | None = None,
    start: SCFResult | DensitySource | str | os.PathLike[str] | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    mixing: Mixing | Mapping[str, Any] | None = None,
    policies: Policies | None = None,
    gradient_tolerance: float | None = None,
) -> SCFResult:
    """Self-consistent ground state of a crystal.

    None selects the default of every keyword.

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
        A family (``"gth-pbe"``; ``planewave.pseudo.loader.FAMILIES`` lists the others), a name
        (``"GTH-PBE-q4"``), file or folder with one file for each element, or a mapping from symbols
        to these, in which ``"default"`` stands for all other symbols.
    occupations : mapping or str, optional
        ``{"name": "fermi-dirac", "width": 0.1}``; also fixed, gaussian, methfessel-paxton and
        marzari-vanderbilt, ``"order"`` of Methfessel-Paxton (1 by default), and
        ``"fixmagmom": True``. Fermi-Dirac by default. Without ``"width"`` it is 0.1 eV.
    spinpol : bool, optional
        Two spin channels; by default if there are initial magnetic moments.
    convergence : mapping, optional
        ``energy`` (change in a step per valence electron; 1e-8 Ha by default), ``density``
        (integrated error, electrons per valence electron; 1e-6, or 1e-7 if the functional and 1e-8
        if positions or lattice require gradients), ``orbitals`` (residuals of occupied bands; 10
        times ``density`` in Hartree) and ``maxiter`` (100).
    nbands : int or str, optional
        Number of bands; -10 means ten more than the occupied ones, ``"120%"`` a fifth more. By
        default chosen, and raised if needed.
    fft_size : (int, int, int) or int, optional
        Real-space grid.
    symmetry : bool, str or mapping, optional
        Use the crystal's symmetry (default) or none (False, ``"off"``);
        ``{"point_group": False}`` uses only time reversal (`values.symmetry_choice`).
    device : optional
        ``"cuda"`` runs everything there.
    ecut_smoothing : float, optional
        Width below the cutoff within which kinetic energies rise without bound, eV: smooths curves
        of energy against volume at lower cutoffs (`smooth_kinetic`); none by default.
    start : SCFResult, DensityRecord, path or DensitySource, optional
        Start from this density, and the orbitals kept with it: a result, a record or its file, or
        an object with ``density_for(problem)``, such as a model of densities, its file, or the name
        of one that is shipped. Cell, positions and cutoff may differ, atoms and electrons may not.
        With two spin channels, symmetry operations that the moments of an earlier calculation lack
        are not used. `SCFResult.start` says what projecting it on the symmetry removed.
    callback : callable, optional
        Called after every step with a dict of its energy (Hartree) and errors.
    mixing : Mixing or mapping, optional
        How densities are mixed, for example ``{"beta": 0.3, "preconditioner": None}``; see
        `Mixing`.
    policies : Policies, optional
        Other rules of the loop: effort, single precision, held moment, localised levels; see
        `Policies` in ``planewave.loop.policies``. They do not change the ground state.
    gradient_tolerance : float, optional
        Relative residual of the adjoint equation, which a backward pass solves. The default keeps
        errors of derivatives below 1e-5. 1e-6 takes about two thirds of the time: errors of losses
        on the density are then 1e-6, the largest ones 4e-4 (docs/derivatives.md).

    Returns
    -------
    SCFResult
        Energies, eigenvalues, density, forces, stress ... in Hartree atomic units.

    Raises
    ------
    SCFConvergenceError
        If the loop does not converge; it carries the history.
    ValueError
        For input that is not valid; the message says what is. Also for a `start` with other atoms,
        another number of electrons or NaN, and for one that lacks the symmetry that reduced the
        k-points (`UnsymmetricDensityError`): more than 1e-3 of its electrons would be lost.
    FileNotFoundError, DamagedFileError
        If `start` is a path, and there is no file, or not a complete record.

    Warns
    -----
    LostMomentsWarning
        If `start` is magnetic, but neither `spinpol` nor initial moments are given.
    NegativeDensityWarning
        If more than 1e-3 of the electrons of `start` are negative.
    FunctionalMismatchWarning, OverlappingSpheresWarning, LowCutoffWarning
        If potentials were made with another functional, PAW spheres overlap too much, or the
        cutoff is too low for PAW datasets.

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
    given = locals()
    settings = Settings.of({name: given[name] for name in Settings.model_fields})
    if callback is not None and not callable(callback):
        raise ValueError(f"callback = {callback!r} is not a function: give one of a step's dict.")
    setup = replace(set_up(target, functional, settings), policies=Policies.of(policies))
    if start is None:
        return setup.solve(None, callback)
    setup, found = setup.started_from(density_source(start), settings)
    return setup.solve(found, callback)
