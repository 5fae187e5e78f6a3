"""Densities of other codes as `DensityRecord`, from which models learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from ase.units import Bohr, Hartree
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._values import real_number
from deepchem_xc.data.density_formats import WHOLE
from deepchem_xc.planewave.basis.other_grids import from_any_grid, largest_cutoff
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.record import DensityRecord
from deepchem_xc.planewave.structure.crystal import Crystal

if TYPE_CHECKING:
    from deepchem_xc.data.density_files import OtherDensity
    from deepchem_xc.feat.density_grid import DensityGrid

# Part of the electrons that plane waves outside the sphere may hold without a warning.
_OUTSIDE = 1e-3


class TruncatedDensityWarning(UserWarning):
    """Plane waves of a file outside the record's cutoff hold a part of the density that counts.

    Examples
    --------
    >>> issubclass(TruncatedDensityWarning, UserWarning)
    True
    """


def record_of(
    other: OtherDensity, ecut: float | None = None, magmoms: Sequence[float] | None = None
) -> DensityRecord:
    """The record of another code's density: see `OtherDensity.record`."""
    grid, atoms = other.density, other.superposition
    if other.format == "gpaw" and not other.all_electron:
        raise ValueError(
            f"{other.path} was read as GPAW's pseudo-density, which lacks the electrons in the "
            "spheres of the atoms: no number of electrons belongs to it. Read both files with "
            "all_electron=True."
        )
    structure = grid.atoms
    if magmoms is not None:
        structure.set_initial_magnetic_moments(magmoms)
    crystal = Crystal.from_ase(structure)
    size = grid.density.shape[1:]
    held = largest_cutoff(crystal.lattice.numpy(), size)
    cutoff = held if ecut is None else real_number(ecut, "ecut", "eV") / Hartree
    if not 0.0 < cutoff <= held * (1.0 + 1e-9):
        raise ValueError(
            f"ecut = {cutoff * Hartree:g} eV: the grid {tuple(size)} of {other.path} holds the "
            f"density of cutoffs up to {held * Hartree:.1f} eV. Leave ecut out, or let the other "
            "code write a finer grid."
        )
    basis = PlaneWaveBasis(crystal, cutoff, (1, 1, 1), fft_size=size, symmetry=False)
    electrons = grid.electrons if other.electrons is None else other.electrons
    if other.electrons is None and abs(electrons - round(electrons)) <= WHOLE:
        electrons = float(round(electrons))  # files round
    density, outside = _on_sphere(basis, grid, electrons)
    atomic = None if atoms is None else Fields(_on_sphere(basis, atoms, electrons)[0])
    if outside > _OUTSIDE:
        warnings.warn(
            f"plane waves above the cutoff of {cutoff * Hartree:.0f} eV hold {outside:.1e} of the "
            f"electrons of {other.path} and are left out, of which {_OUTSIDE:g} may come from "
            "rounding: raise ecut, or let the other code write a finer grid.",
            TruncatedDensityWarning,
            stacklevel=users_stacklevel(),
        )
    return DensityRecord(
        crystal,
        basis.g_vectors,
        Fields(density),
        notes=f"read from {other.path}; above the cutoff: {outside:.1e} of the electrons",
        ecut=cutoff,
        fft_size=basis.fft_size,
        other_code=other.format,
        superposition_fields=atomic,
    )


def _on_sphere(basis: PlaneWaveBasis, grid: DensityGrid, electrons: float) -> tuple[Tensor, float]:
    """Coefficients (nspin, nG), bohr^-3, with this many electrons, and the part left out.

    That part is the integral of its absolute value per electron, channels added.
    """
    values = torch.as_tensor(grid.density * Bohr**3, dtype=torch.float64)
    density = from_any_grid(basis, values)
    volume = float(basis.volume)
    outside = float((values - basis.to_grid(density)).abs().mean((1, 2, 3)).sum()) * volume
    missing = electrons / volume - float(density[:, 0].real.sum())
    density[:, 0] += missing / len(density)
    return density, outside / electrons
