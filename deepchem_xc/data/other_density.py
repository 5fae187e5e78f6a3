"""`OtherDensity`: the density of another code on its grid, and as a record for models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from ase.units import Bohr, Hartree
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._values import real_number
from deepchem_xc.data.density_formats import WHOLE
from deepchem_xc.feat.density_grid import DensityGrid
from deepchem_xc.planewave.basis.other_grids import from_any_grid, largest_cutoff
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.record import DensityRecord
from deepchem_xc.planewave.structure.crystal import Crystal

# Part of the electrons that plane waves outside the sphere may hold without a warning.
_OUTSIDE = 1e-3


class TruncatedDensityWarning(UserWarning):
    """Plane waves of a file outside the record's cutoff hold a part of the density that counts.

    Examples
    --------
    >>> issubclass(TruncatedDensityWarning, UserWarning)
    True
    """


@dataclass(frozen=True, eq=False)
class OtherDensity:
    """The density of another code, and that code's superposition of atoms.

    Attributes
    ----------
    density : DensityGrid
        Density on that code's grid, electrons per Angstrom^3.
    superposition : DensityGrid or None
        Superposition of that code's atoms on the same grid.
    format : {"chgcar", "cube", "gpaw"}
        Format of the file.
    path : str
        The file.
    electrons : float or None
        Number of electrons that it was said to have.
    all_electron : bool
        Whether it has the cores of GPAW's atoms.

    Examples
    --------
    >>> import numpy as np
    >>> half = DensityGrid(np.full((1, 2, 2, 2), 1 / 64), 4 * np.eye(3), ("H",), np.zeros((1, 3)))
    >>> hydrogen = OtherDensity(half, half, "cube", "h.cube")
    >>> hydrogen.density.electrons, hydrogen.difference.electrons
    (1.0, 0.0)
    """

    density: DensityGrid = field(repr=False)
    superposition: DensityGrid | None = field(repr=False)
    format: str
    path: str
    electrons: float | None = None
    all_electron: bool = False

    @property
    def difference(self) -> DensityGrid:
        """What bonding adds to the superposition of atoms, electrons per Angstrom^3.

        Raises
        ------
        ValueError
            If there is no superposition.
        """
        if self.superposition is None:
            raise ValueError(
                f"{self.path} came without the superposition of its code's atoms. Let that code "
                "write it (in VASP: ICHARG = 12, NELM = 0), and read both by "
                "read_density(path, superposition=other_path)."
            )
        return replace(self.density, density=self.density.density - self.superposition.density)

    def record(
        self, ecut: float | None = None, magmoms: Sequence[float] | None = None
    ) -> DensityRecord:
        """Density and superposition on a sphere of plane waves, for models to learn from.

        The number of electrons of both, G = 0, is that of the density: the whole number where it is
        one but for rounding. Potentials are None, and calculations refuse the record
        (`DensityRecord.other_code`).

        Parameters
        ----------
        ecut : float, optional
            Cutoff of orbitals, eV; the density has four times as much. By default the largest whose
            density the grid holds.
        magmoms : sequence of float, optional
            Initial moments of the atoms, mu_B, for models of densities with spin; files have none.

        Returns
        -------
        DensityRecord
            In Hartree atomic units, with `superposition_fields` if there was a second file.

        Raises
        ------
        ValueError
            If the grid does not hold the cutoff, for moments that are not one for each atom, and
            for GPAW's pseudo-density, which has no number of electrons.

        Warns
        -----
        TruncatedDensityWarning
            If plane waves outside the sphere hold more than 1e-3 of the electrons.

        Examples
        --------
        >>> import tempfile
        >>> from ase.build import bulk
        >>> from deepchem_xc.data import read_density
        >>> from deepchem_xc.planewave import scf, write_density_cube
        >>> path = tempfile.mkdtemp() + "/si.cube"
        >>> write_density_cube(path, scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2)))
        >>> record = read_density(path).record()
        >>> round(record.nelectrons, 9), record.other_code, record.potentials is None
        (8.0, 'cube', True)
        """
        grid, atoms = self.density, self.superposition
        if self.format == "gpaw" and not self.all_electron:
            raise ValueError(
                f"{self.path} was read as GPAW's pseudo-density, which lacks the electrons in the "
                "spheres of the atoms: no number of electrons belongs to it. Read both files with "
                "all_electron=True."
            )
        structure = grid.atoms
        if magmoms is not None:
            if len(magmoms) != len(structure):
                raise ValueError(
                    f"magmoms must have one number for each of the {len(structure)} atoms of "
                    f"{self.path} ({', '.join(grid.symbols)}), got {len(magmoms)}."
                )
            structure.set_initial_magnetic_moments(magmoms)
        crystal = Crystal.from_ase(structure)
        size = grid.density.shape[1:]
        held = largest_cutoff(crystal.lattice.numpy(), size)
        cutoff = held if ecut is None else real_number(ecut, "ecut", "eV") / Hartree
        if not 0.0 < cutoff <= held * (1.0 + 1e-9):
            raise ValueError(
                f"ecut = {cutoff * Hartree:g} eV: the grid {tuple(size)} of {self.path} holds the "
                f"density of cutoffs up to {held * Hartree:.1f} eV. Leave ecut out, or let the "
                "other code write a finer grid."
            )
        basis = PlaneWaveBasis(crystal, cutoff, (1, 1, 1), fft_size=size, symmetry=False)
        electrons = grid.electrons if self.electrons is None else self.electrons
        if self.electrons is None and abs(electrons - round(electrons)) <= WHOLE:
            electrons = float(round(electrons))  # files round
        density, outside = _on_sphere(basis, grid, electrons)
        atomic = None if atoms is None else Fields(_on_sphere(basis, atoms, electrons)[0])
        if outside > _OUTSIDE:
            finer = "let the other code write a finer grid"
            if cutoff < 0.99 * held:
                finer = f"give a higher ecut (up to {held * Hartree:.0f} eV), or {finer}"
            warnings.warn(
                f"plane waves above the cutoff of {cutoff * Hartree:.0f} eV hold {outside:.1e} of "
                f"the electrons of {self.path}, and are left out: {finer}.",
                TruncatedDensityWarning,
                stacklevel=users_stacklevel(),
            )
        return DensityRecord(
            crystal,
            basis.g_vectors,
            Fields(density),
            notes=f"read from {self.path}; above the cutoff: {outside:.1e} of the electrons",
            ecut=cutoff,
            fft_size=basis.fft_size,
            other_code=self.format,
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
