"""Densities of other codes: CHGCAR (pymatgen), cube (ASE) and GPAW's files, in Angstrom.

Units are those of each format: values of a CHGCAR are electrons per cell, of a cube electrons per
bohr^3, of GPAW electrons per Angstrom^3. Whether a file keeps to them is checked by its number of
electrons. What bonding adds to atoms is the difference from the other code's own superposition of
atoms, which comes in a second file: the atoms of this package have other cores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from deepchem.data import NumpyDataset

from deepchem_xc._values import flag
from deepchem_xc.data.density_formats import (
    ELECTRONS,
    expected_electrons,
    file_format,
    read_grid,
)
from deepchem_xc.data.other_density import OtherDensity
from deepchem_xc.feat.density_grid import DensityGrid

# Lengths (Angstrom) by which two files of one structure may differ: formats round.
_LENGTH = 1e-3


def read_density(
    path: str | os.PathLike[str],
    *,
    superposition: str | os.PathLike[str] | None = None,
    format: str | None = None,
    electrons: float | Mapping[str, float] | None = None,
    all_electron: bool = False,
) -> OtherDensity:
    """Read the density of another code, with its superposition of atoms if there is a file of it.

    Parameters
    ----------
    path : path
        CHGCAR, cube file, or GPAW's ``.gpw``.
    superposition : path, optional
        The superposition of the same code's atoms, for the same structure on the same grid.
    format : {"chgcar", "cube", "gpaw"}, optional
        Format of both files; by default as their names say.
    electrons : float or mapping of str to float, optional
        Number of electrons of the density, or of each element in this code's files as for
        `DensityModel`, to check its units by; by default it must be whole, and not above the number
        of protons. GPAW's pseudo-density has no such number, because part of the electrons are in
        its spheres.
    all_electron : bool, optional
        GPAW's density with cores, interpolated to a grid twice as fine, instead of its
        pseudo-density.

    Returns
    -------
    OtherDensity
        Densities (nspin, n1, n2, n3), electrons per Angstrom^3.

    Raises
    ------
    DamagedFileError
        If a file is truncated or not of its format.
    ValueError
        If its density is not finite or not of the right number of electrons, or if the second
        file has another structure, grid, number of spins or of electrons.
    NotImplementedError
        If a density is not collinear or not periodic, or a CHGCAR does not name its elements.
    ImportError
        If GPAW is needed and not installed.

    Warns
    -----
    DroppedAugmentationWarning
        If a CHGCAR has augmentation occupancies.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf, write_density_cube
    >>> path = tempfile.mkdtemp() + "/si.cube"
    >>> write_density_cube(path, scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2)))
    >>> silicon = read_density(path, electrons={"Si": 4})
    >>> silicon.density.density.shape, round(silicon.density.electrons, 4)
    ((1, 15, 15, 15), 8.0)
    """
    if all_electron and file_format(path, format) != "gpaw":
        raise ValueError(f"all_electron=True is for GPAW's files, got {os.fspath(path)!r}.")
    density = read_grid(path, format, electrons, all_electron)
    other = None
    if superposition is not None:
        other = read_grid(superposition, format, electrons, all_electron)
        # GPAW's pseudo-density has part of its electrons in spheres.
        electrons_on_grid = all_electron or file_format(path, format) != "gpaw"
        names = os.fspath(path), os.fspath(superposition)
        _check_same(density, other, names, electrons_on_grid)
    found = file_format(path, format), os.fspath(path)
    expected = expected_electrons(density.symbols, electrons, os.fspath(path))
    return OtherDensity(density, other, *found, expected, all_electron)


class DensityFileLoader:
    """DeepChem's way to read densities of other codes: a data set of them.

    Parameters
    ----------
    format : str, optional
        As for `read_density`.
    all_electron : bool, optional
        As for `read_density`.
    records : bool, optional
        Whether X holds records, each at the largest cutoff of its grid, from which a
        `DensityModel` learns; `OtherDensity` objects by default.
    electrons : float or mapping of str to float, optional
        As for `read_density`: of every file, or of each element.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf, write_density_cube
    >>> path = tempfile.mkdtemp() + "/si.cube"
    >>> write_density_cube(path, scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2)))
    >>> loader = DensityFileLoader(records=True, electrons={"Si": 4})
    >>> record = loader.create_dataset([path], magmoms=[(0.6, -0.6)]).X[0]
    >>> record.other_code, record.crystal.magnetic_moments
    ('cube', (0.6, -0.6))
    >>> dataset = DensityFileLoader().create_dataset([path])
    >>> dataset.y.round(4).tolist(), dataset.X[0].format
    ([[8.0]], 'cube')
    """

    def __init__(
        self,
        format: str | None = None,
        all_electron: bool = False,
        *,
        records: bool = False,
        electrons: float | Mapping[str, float] | None = None,
    ) -> None:
        self.format, self.all_electron, self.electrons = format, all_electron, electrons
        self.records = flag(records, "records")

    def create_dataset(
        self,
        inputs: Sequence[str | os.PathLike[str] | Sequence[str | os.PathLike[str]]],
        *,
        magmoms: Sequence[Sequence[float] | None] | None = None,
    ) -> NumpyDataset:
        """Read files: X densities, y the number of electrons (n, 1), ids the names of files.

        Parameters
        ----------
        inputs : sequence
            Each the path of a density, or a pair with that of its superposition.
        magmoms : sequence, optional
            For each of them the initial moments of its atoms (mu_B) in the file's order, or None:
            files have none, and records need them for models with spin.

        Raises
        ------
        ValueError
            If there is no file, for moments that are not one list for each file or that no records
            take, and as for `read_density` and `OtherDensity.record`.
        """
        pairs = [(x,) if isinstance(x, str | os.PathLike) else tuple(x) for x in inputs]
        if not pairs or any(len(pair) not in (1, 2) for pair in pairs):
            raise ValueError(
                f"inputs must be paths, or pairs of density and superposition, got {inputs!r}."
            )
        if magmoms is not None and not self.records:
            raise ValueError(
                "magmoms are of records, and this loader makes none: DensityFileLoader(records=True"
                ", ...), or OtherDensity.record(magmoms=...) of a row."
            )
        moments = [None] * len(pairs) if magmoms is None else list(magmoms)
        if len(moments) != len(pairs):
            raise ValueError(
                f"magmoms must have one list of initial moments, or None, for each of the "
                f"{len(pairs)} files, got {len(moments)}."
            )
        found = [
            read_density(
                path,
                superposition=more[0] if more else None,
                format=self.format,
                electrons=self.electrons,
                all_electron=self.all_electron,
            )
            for path, *more in pairs
        ]
        x = np.empty(len(found), dtype=object)
        x[:] = found
        if self.records:
            x[:] = [one.record(magmoms=given) for one, given in zip(found, moments, strict=True)]
        y = np.array([[one.density.electrons] for one in found])
        return NumpyDataset(x, y, ids=np.array([one.path for one in found], dtype=object))


def _check_same(
    density: DensityGrid, other: DensityGrid, names: tuple[str, str], electrons: bool
) -> None:
    """Refuse a superposition of another structure, grid, or number of spins or electrons."""
    name, second = names

    def refuse(what: str, own: object, others: object) -> None:
        raise ValueError(
            f"the superposition {second!r} has another {what} than {name!r}: {others}, not {own}. "
            "Let the same code write both for the same structure with the same settings."
        )

    if density.symbols != other.symbols:
        refuse("sequence of atoms", density.symbols, other.symbols)
    if np.abs(density.cell - other.cell).max() > _LENGTH:
        refuse("cell", density.cell.tolist(), other.cell.tolist())
    shift = density.scaled_positions - other.scaled_positions
    distance = float(np.linalg.norm((shift - shift.round()) @ density.cell, axis=1).max())
    if distance > _LENGTH:
        refuse("structure", "the same", f"an atom is {distance:.3f} Angstrom away")
    if density.density.shape[0] != other.density.shape[0]:
        refuse("number of spin channels", density.density.shape[0], other.density.shape[0])
    if density.density.shape != other.density.shape:
        refuse("grid", density.density.shape[1:], other.density.shape[1:])
    own, others = density.electrons, other.electrons
    if electrons and abs(own - others) > ELECTRONS * own:
        refuse("number of electrons", f"{own:.4f}", f"{others:.4f}")
