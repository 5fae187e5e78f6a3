"""Eigenvalues at any k-points from a converged potential, and band structures along a path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.numerics.errors import DiagonalizationError
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.eigen.first_orbitals import more_bands, starting_orbitals
from deepchem_xc.planewave.eigen.states import diagonalize
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.inputs import number_of_bands
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.structure.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from deepchem_xc.planewave.values import real_number, whole_number

if TYPE_CHECKING:
    from ase import Atoms
    from ase.cell import Cell
    from ase.dft.kpoints import BandPath
    from ase.spectrum.band_structure import BandStructure

__all__ = ["DiagonalizationError", "band_structure", "eigenvalues_at", "named_path", "states_at"]

# Number of k-points diagonalised together; more gains nothing and hides the progress.
_TOGETHER = 8
_MAXIMUM_SWEEPS = 40
# Tolerance of spare bands in units of the tolerance; unconverged ones would help little.
_SPARE = 10.0
# Number of sweeps without convergence after which spare bands are added.
_PATIENCE = 6
# Number of k-points above which a progress bar is shown.
_LONG = 4 * _TOGETHER
# Tolerance for relative lengths and cosines of angles when a path's cell is compared with that of
# the calculation. ASE makes paths for the exact Bravais lattice within 2e-4 of a cell, such as one
# read from a file with few digits.
_SAME_CELL = 1e-3


def eigenvalues_at(
    result: SCFResult,
    kpoints: KPoints | Any,
    nbands: int | str | None = None,
    tolerance: float = 1e-5,
    progress: bool | None = None,
) -> Tensor:
    """Eigenvalues at given k-points in the potential of a ground state (Hartree).

    Parameters
    ----------
    result : SCFResult
        Converged ground state.
    kpoints : KPoints, BandPath or list
        Reduced coordinates, (nk, 3).
    nbands : int, optional
        Number of bands; as many as `result` has by default.
    tolerance : float, optional
        Largest residual norm of a band, Hartree. The error of an eigenvalue is of the order of the
        squared residual divided by the distance to the next eigenvalue.
    progress : bool, optional
        Show a progress bar; by default for more than 32 k-points.

    Returns
    -------
    Tensor
        (nspin, nk, nbands), ascending, Hartree.

    Raises
    ------
    DiagonalizationError
        If the tolerance is not reached.
    ValueError
        If there are more bands than plane waves, the k-points are invalid, or the tolerance is not
        positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> gamma, x = eigenvalues_at(result, [[0, 0, 0], [0.5, 0.0, 0.5]])[0]
    >>> bool(gamma[3] > x[3])
    True
    """
    found = states_at(result, kpoints, nbands, tolerance, progress)
    return torch.cat([eigenvalues for _, eigenvalues, _ in found], dim=1)


def states_at(
    result: SCFResult,
    kpoints: KPoints | Any,
    nbands: int | str | None = None,
    tolerance: float = 1e-5,
    progress: bool | None = None,
) -> Iterator[tuple[Hamiltonian, Tensor, Tensor]]:
    """States at given k-points in the potential of a ground state, a few k-points at a time.

    Parameters and errors are those of `eigenvalues_at`.

    Yields
    ------
    hamiltonian : Hamiltonian
        At the next k-points.
    eigenvalues : Tensor
        (nspin, nk, nbands), ascending, Hartree.
    orbitals : Tensor
        (nspin, nk, nbands, npw).
    """
    from ase.dft.kpoints import BandPath
    from tqdm import tqdm

    crystal = result.basis.crystal
    tolerance = real_number(tolerance, "tolerance", "Ha")
    if not tolerance > 0:
        raise ValueError(
            f"tolerance must be positive (Ha), got {tolerance:g}; 1e-5 is the default."
        )
    if isinstance(kpoints, BandPath):
        _check_cell(kpoints, crystal.to_ase().cell)
        kpoints = kpoints.kpts
    points = make_kpoints(kpoints, crystal, symmetry=False).coordinates
    nbands = number_of_bands(nbands, result.problem) or result.orbitals.shape[2]
    hidden = not (len(points) > _LONG if progress is None else progress)
    with torch.no_grad(), tqdm(total=len(points), unit="k", disable=hidden) as bar:
        for some in points.split(_TOGETHER):
            weights = torch.full((len(some),), 1.0 / len(some), dtype=torch.float64)
            listed = KPoints(some, weights, SymmetryGroup.trivial())
            # The potential belongs to the plane waves of the result's basis.
            basis = result.basis.with_kpoints(listed)
            yield _diagonalize(result, basis, nbands, tolerance)
            bar.update(len(some))


def _diagonalize(
    result: SCFResult, basis: PlaneWaveBasis, nbands: int, tolerance: float
) -> tuple[Hamiltonian, Tensor, Tensor]:
    room = min(basis.npw_per_k)
    if nbands > room:
        raise ValueError(
            f"{nbands} bands do not fit into {room} plane waves: raise ecut "
            f"(now {basis.ecut:g} Ha, {basis.ecut * Hartree:g} eV) or ask for fewer bands."
        )
    hamiltonian = replace(result.problem, basis=basis).hamiltonian(result.potential)
    # The larger the gap to the highest spare band, the faster the wanted bands converge. The number
    # of spare bands needed to reach past a multiplet, or a bundle of close bands, is not known
    # beforehand.
    total = min(room, nbands + max(4, nbands // 4))
    orbitals = starting_orbitals(hamiltonian, result.problem.pseudopotentials, total)
    for sweep in range(1, _MAXIMUM_SWEEPS + 1):
        goal = torch.full((total,), _SPARE * tolerance, dtype=torch.float64, device=basis.device)
        goal[:nbands] = tolerance
        eigenvalues, orbitals, residuals = diagonalize(
            hamiltonian, orbitals, expansions=3, tolerance=goal
        )
        worst = float(residuals[:, :, :nbands].max())
        if worst < tolerance:
            return hamiltonian, eigenvalues[:, :, :nbands], orbitals[:, :, :nbands]
        if sweep % _PATIENCE == 0 and total < room:
            extra = min(room - total, max(4, total // 2))
            orbitals = more_bands(hamiltonian, orbitals, extra)
            total += extra
    raise DiagonalizationError(
        f"the largest residual of the {nbands} bands is still {worst:.1e} Ha after "
        f"{_MAXIMUM_SWEEPS} sweeps (wanted {tolerance:.1e}): ask for less accuracy (tolerance=), "
        "or for a few bands more or fewer, so that the highest one is not close to the next."
    )


def band_structure(
    result: SCFResult,
    path: BandPath | str | None = None,
    npoints: int = 60,
    nbands: int | str | None = None,
    tolerance: float = 1e-5,
    progress: bool | None = None,
) -> BandStructure:
    """Bands along a path through the Brillouin zone.

    Parameters
    ----------
    result : SCFResult
        Converged ground state.
    path : BandPath or str, optional
        From ``atoms.cell.bandpath(...)``, or special points such as ``"GXWKL"``; ASE's choice for
        the cell by default. Its points are reduced coordinates: a path for the same cell in another
        orientation is the same path.
    npoints : int, optional
        Number of k-points, if `path` is not a `BandPath`.
    nbands, tolerance, progress : optional
        See `eigenvalues_at`.

    Returns
    -------
    ase.spectrum.band_structure.BandStructure
        In eV, with `SCFResult.reference_level` as its reference. At a jump of the path, the points
        of both sides are adjacent: `band_path.path_axis` tells where.

    Raises
    ------
    ValueError
        If the path was made for another cell (other lengths or angles, or another order of the
        vectors), is neither text nor a `BandPath`, or names a point that the lattice does not have,
        or one without a line to it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import band_structure, scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> bands = band_structure(result, "GX", npoints=5)
    >>> bands.energies.shape
    (1, 5, 7)
    """
    from ase.dft.kpoints import BandPath
    from ase.spectrum.band_structure import BandStructure

    atoms = result.basis.crystal.to_ase()
    if isinstance(path, BandPath):
        band_path: Any = path
        _check_cell(band_path, atoms.cell)
    else:
        band_path = named_path(atoms, path, npoints)
    energies = eigenvalues_at(result, band_path.kpts, nbands, tolerance, progress)
    reference = float(result.detach().reference_level) * Hartree
    return BandStructure(band_path, energies.cpu().numpy() * Hartree, reference=reference)


def named_path(atoms: Atoms, path: str | None, npoints: int) -> BandPath:
    """Path through named points, ASE's choice by default; see `band_structure`."""
    from ase.dft.kpoints import parse_path_string

    if not any(atoms.pbc):
        raise ValueError(
            "atoms that are periodic in no direction (pbc=False) have no path through a Brillouin "
            "zone: their levels are calc.get_eigenvalues(), or result.eigenvalues. If they "
            "are a crystal, set atoms.pbc = True."
        )
    if path is not None and not isinstance(path, str):
        raise ValueError(
            f"the path {path!r} is neither text, such as 'GXMGRX,MR' (a comma is a jump), nor a "
            "BandPath of atoms.cell.bandpath(...). For levels at your own k-points use "
            "eigenvalues_at."
        )
    npoints = whole_number(npoints, "npoints")
    # The special points are those of the lattice that ASE recognises in the cell.
    known = atoms.cell.bandpath(npoints=0, pbc=atoms.pbc)
    text = known.path if path is None else path
    sections = parse_path_string(text)
    unknown = sorted({name for names in sections for name in names} - set(known.special_points))
    if unknown or not text:
        raise ValueError(
            f"the path {text!r} names {unknown or 'no points'}; the special points of this lattice "
            f"are {sorted(known.special_points)}, for example {known.path!r} (a comma is a jump)."
        )
    short = [names for names in sections if len(names) < 2]
    if short and len(sections) > 1:
        raise ValueError(
            f"the path {text!r} has a part with fewer than two points, {short[0]}: lines lead from "
            "point to point, and a comma ends one part and begins the next, as in 'GXMGRX,MR'."
        )
    return atoms.cell.bandpath(text, npoints=npoints, pbc=atoms.pbc)


def _check_cell(path: BandPath, cell: Cell) -> None:
    """Raise ValueError unless reduced coordinates of the path's cell are those of `cell`.

    They are if all products of lattice vectors agree: the metric does not depend on orientation.
    """
    # The path of a layer has no vector and no k along the direction that is not periodic.
    periodic = path.cell.mask()
    theirs, ours = (
        vectors[periodic] @ vectors[periodic].T for vectors in (path.cell.array, cell.array)
    )
    lengths = np.sqrt(np.diag(ours))
    if np.abs((theirs - ours) / np.outer(lengths, lengths)).max(initial=0.0) > _SAME_CELL:
        raise ValueError(
            "the path belongs to a cell with lengths and angles "
            f"{path.cell.cellpar().round(6).tolist()}, but the calculation to one with "
            f"{cell.cellpar().round(6).tolist()} (Angstrom, degrees): make it with "
            "atoms.cell.bandpath(...) of the atoms that were computed."
        )
