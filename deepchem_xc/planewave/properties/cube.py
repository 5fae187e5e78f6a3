"""Densities and potentials as Gaussian cube files, which most visualisation programs read."""

from __future__ import annotations

import os
from typing import Any

from ase.io.cube import write_cube
from torch import Tensor

from deepchem_xc._atomic import replacing
from deepchem_xc.planewave.properties.all_electron import all_electron_density
from deepchem_xc.planewave.record import DensityRecord
from deepchem_xc.planewave.result import SCFResult

_PARTS = ("total", "up", "down", "magnetization")


def density_part(
    result: SCFResult | DensityRecord, part: str = "total", density: Tensor | None = None
) -> Tensor:
    """Total density, density of one spin, or magnetisation, on the grid (bohr^-3).

    Parameters
    ----------
    result : SCFResult or DensityRecord
        Ground state, or the record of a density.
    part : {"total", "up", "down", "magnetization"}, optional
        Which density. Without spin polarisation, up and down are each half of the total.
    density : Tensor, optional
        (nspin, n1, n2, n3); by default that of `result`, with PAW the smooth one.

    Returns
    -------
    Tensor
        (n1, n2, n3), bohr^-3.

    Raises
    ------
    ValueError
        For any other `part`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=60.0, convergence={"density": 1e-3})
    >>> print(f"{density_part(result, 'up').mean() * result.basis.volume:.6f}")  # electrons
    4.000000
    """
    density = result.density if density is None else density
    up, down = density if len(density) == 2 else (0.5 * density[0], 0.5 * density[0])
    choices = {"total": up + down, "up": up, "down": down, "magnetization": up - down}
    if part not in choices:
        raise ValueError(f"unknown part {part!r} of the density; valid are {_PARTS}.")
    return choices[part]


def write_density_cube(
    path: str | os.PathLike[str],
    result: SCFResult,
    part: str = "total",
    all_electron: bool = False,
    size: Any = None,
    core: bool = True,
) -> None:
    """Write a density to a cube file, in electrons per bohr^3.

    By default it is the valence density on the FFT grid: with PAW the smooth one, whose integral
    is not the number of electrons.

    Parameters
    ----------
    path : str or path
        File to write; it is replaced only once the new one is complete.
    result : SCFResult
        Ground state.
    part : {"total", "up", "down", "magnetization"}, optional
        Which density.
    all_electron : bool, optional
        Write the density of all electrons, `all_electron_density`. Needs PAW datasets.
    size, core : optional
        Grid and core of the density of all electrons, as for `all_electron_density`.

    Raises
    ------
    ValueError
        If `size` or ``core=False`` are given without `all_electron`.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from ase.io.cube import read_cube_data
    >>> from deepchem_xc.planewave import scf, write_density_cube
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> path = tempfile.mkdtemp() + "/si.cube"
    >>> write_density_cube(path, result)
    >>> data, atoms = read_cube_data(path)
    >>> print(f"{data.mean() * float(result.basis.volume):.4f} electrons")
    8.0000 electrons
    """
    if not all_electron and (size is not None or not core):
        raise ValueError(
            "size and core=False belong to the density of all electrons: give "
            "all_electron=True as well."
        )
    density = all_electron_density(result, size, core) if all_electron else None
    data = density_part(result.detach(), part, density)
    kind = "all-electron" if all_electron and core else "valence"
    _write(path, result, data, f"{part} {kind} density of", "electrons per bohr^3")


def write_potential_cube(path: str | os.PathLike[str], result: SCFResult) -> None:
    """Write the electrostatic potential to a cube file, in Hartree on the FFT grid.

    Parameters
    ----------
    path : str or path
        File to write; it is replaced only once the new one is complete.
    result : SCFResult
        Ground state. The file contains the potential energy of an electron,
        `SCFResult.electrostatic_potential`; the potential for a positive test charge is its
        negative.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from ase.io.cube import read_cube_data
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> path = tempfile.mkdtemp() + "/si.cube"
    >>> write_potential_cube(path, result)
    >>> bool(abs(read_cube_data(path)[0].mean()) < 1e-5)
    True
    """
    data = result.detach().electrostatic_potential
    _write(path, result, data, "potential energy of an electron in", "Hartree")


def _write(
    path: str | os.PathLike[str], result: SCFResult, data: Tensor, what: str, unit: str
) -> None:
    atoms = result.basis.crystal.to_ase()
    comment = f"{what} {atoms.get_chemical_formula()}, {unit}"
    with replacing(path) as file:
        write_cube(file, atoms, data.cpu().numpy(), comment=comment)
