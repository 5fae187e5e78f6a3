"""The crystal: a lattice, the atoms in it and their initial magnetic moments."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.structure.crystal_checks import (
    check_distances,
    check_lattice,
    check_moments,
    check_positions,
    check_symbols,
)
from deepchem_xc.planewave.structure.files import read_atoms
from deepchem_xc.planewave.structure.full_sites import check_full_sites, check_full_structure
from deepchem_xc.planewave.structure.reading import (
    check_neutral,
    check_neutral_structure,
    collinear_moments,
    notice_unused_moments,
    notice_unused_spin,
    site_moments,
)

if TYPE_CHECKING:
    from ase import Atoms


class NonPeriodicWarning(UserWarning):
    """Atoms that are not periodic in all directions are treated as periodic images in a box."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """Lattice, species and positions of a periodic system, in atomic units.

    Parameters
    ----------
    lattice : Tensor
        Lattice vectors as rows, shape ``(3, 3)``, bohr, right-handed. It may require gradients.
    symbols : sequence of str
        Chemical symbols of the ``natom`` atoms.
    positions : Tensor
        Reduced coordinates, shape ``(natom, 3)``; not wrapped into the cell. They may require
        gradients.
    magnetic_moments : sequence of float, optional
        Initial moments in mu_B, one per atom. Atoms of one element with different moments are
        different species to the symmetry search.
    pbc : tuple of bool, optional
        Directions in which the input is periodic. The solver is always periodic; a k-point
        *density* gives one k-point along the other directions, as in ASE.

    Raises
    ------
    ValueError
        For an empty cell, an unknown element, wrong shapes, NaN or infinite numbers, a
        left-handed or singular cell, or atoms (or periodic images) closer than 0.3 Angstrom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal
    >>> silicon = Crystal.from_ase(bulk("Si", a=5.43))
    >>> silicon.symbols, silicon.species, silicon.natom
    (('Si', 'Si'), ('Si',), 2)
    >>> round(float(silicon.volume), 4)
    270.1072
    """

    lattice: Tensor
    symbols: tuple[str, ...]
    positions: Tensor
    magnetic_moments: tuple[float, ...] | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the only way to normalise a frozen dataclass
        set_field(self, "lattice", torch.as_tensor(self.lattice).to(torch.float64))
        positions = torch.as_tensor(self.positions, device=self.lattice.device)
        set_field(self, "positions", positions.to(torch.float64))
        symbols: object = self.symbols
        if isinstance(symbols, str):
            raise ValueError(
                f"symbols must be a sequence with one symbol per atom, got the string {symbols!r}; "
                "write e.g. ('Si', 'Si')."
            )
        set_field(self, "symbols", tuple(str(symbol) for symbol in self.symbols))
        if self.magnetic_moments is not None:
            moments = np.asarray(self.magnetic_moments, dtype=np.float64)
            check_moments(moments, len(self.symbols))
            set_field(self, "magnetic_moments", tuple(moments.tolist()))
        set_field(self, "pbc", _three_flags(self.pbc))
        check_symbols(self.symbols)
        check_lattice(self.lattice)
        check_positions(self.positions, self.natom)
        check_distances(self.lattice, self.positions, self.symbols)

    @property
    def natom(self) -> int:
        """Number of atoms in the cell."""
        return len(self.symbols)

    @property
    def species(self) -> tuple[str, ...]:
        """The different elements, sorted."""
        return tuple(sorted(set(self.symbols)))

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.lattice.device

    @property
    def requires_grad(self) -> bool:
        """Whether lattice or positions require gradients."""
        return self.lattice.requires_grad or self.positions.requires_grad

    @property
    def volume(self) -> Tensor:
        """Cell volume, 0-d tensor, bohr^3, differentiable with respect to the lattice."""
        a1, a2, a3 = self.lattice
        return torch.dot(a1, torch.linalg.cross(a2, a3))

    @property
    def reciprocal_lattice(self) -> Tensor:
        """Reciprocal vectors as rows, shape (3, 3), 1/bohr, ``a_i . b_j = 2 pi delta_ij``."""
        a1, a2, a3 = self.lattice
        crosses = (
            torch.linalg.cross(a2, a3),
            torch.linalg.cross(a3, a1),
            torch.linalg.cross(a1, a2),
        )
        return torch.stack(crosses) * (2 * math.pi / self.volume)

    def with_geometry(
        self, lattice: Tensor | None = None, positions: Tensor | None = None
    ) -> Crystal:
        """The same atoms in another geometry, without checks.

        Use it for strained or displaced tensors in a graph: nothing is converted, copied or
        validated.

        Parameters
        ----------
        lattice : Tensor, optional
            Shape (3, 3), bohr; the present one if omitted.
        positions : Tensor, optional
            Shape (natom, 3), reduced; the present ones if omitted.

        Examples
        --------
        The volume's derivative with respect to an isotropic strain is three volumes:

        >>> from deepchem_xc.planewave import Crystal
        >>> import torch
        >>> crystal = Crystal(torch.eye(3, dtype=torch.float64), ("H",), torch.zeros(1, 3))
        >>> strain = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
        >>> strained = crystal.with_geometry(crystal.lattice * (1.0 + strain))
        >>> torch.autograd.grad(strained.volume, strain)[0].item()
        3.0
        """
        crystal = object.__new__(Crystal)
        for name in ("symbols", "magnetic_moments", "pbc"):
            object.__setattr__(crystal, name, getattr(self, name))
        object.__setattr__(crystal, "lattice", self.lattice if lattice is None else lattice)
        object.__setattr__(crystal, "positions", self.positions if positions is None else positions)
        return crystal

    def to(self, device: torch.device | str) -> Crystal:
        """The crystal with its tensors on `device`."""
        return self.with_geometry(self.lattice.to(device), self.positions.to(device))

    @classmethod
    def from_ase(cls, atoms: Atoms) -> Crystal:
        """Convert ASE atoms; Angstrom become bohr with ``ase.units`` (CODATA 2014).

        Initial magnetic moments are used, also vectors if they are along one axis; if all are zero,
        there are none. Directions that are not periodic are treated as a box (the cell as it is),
        with a `NonPeriodicWarning`.

        Raises
        ------
        ValueError
            As for the class, and for a non-periodic direction without a cell vector, non-collinear
            moments, partially occupied sites (``info["occupancy"]``, which ASE's CIF reader sets,
            and anything else named after occupancies) and a charge (``info["charge"]``).

        Warns
        -----
        IgnoredInputWarning
            For initial charges that do not add up to zero, moments that are only results, and a
            spin or multiplicity in ``info``.

        Examples
        --------
        >>> from ase import Atoms
        >>> import warnings
        >>> from deepchem_xc.planewave import Crystal
        >>> from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning
        >>> h2 = Atoms("H2", [(0, 0, 0), (0, 0, 0.74)])
        >>> h2.center(vacuum=3.0)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", NonPeriodicWarning)
        ...     crystal = Crystal.from_ase(h2)
        >>> [round(float(x), 3) for x in crystal.lattice.diagonal()]
        [11.338, 11.338, 12.737]
        """
        from ase.units import Bohr

        check_symbols(atoms.get_chemical_symbols())
        cell = np.asarray(atoms.cell[:], dtype=np.float64)
        pbc = _three_flags(atoms.pbc)
        missing = [i for i in range(3) if not np.any(cell[i])]
        if missing and not all(pbc):
            raise ValueError(
                f"cell vector(s) {missing} of the atoms have zero length and pbc is {pbc}: a "
                "plane-wave calculation needs a box also around non-periodic atoms. Make one with "
                "atoms.center(vacuum=4.0) (Angstrom of vacuum on each side; for a slab "
                "atoms.center(vacuum=6.0, axis=2)) and check that energies do not change with it."
            )
        check_lattice(torch.from_numpy(cell))  # first, because reduced coordinates need it
        check_full_sites(atoms)
        check_neutral(atoms)
        notice_unused_moments(atoms)
        notice_unused_spin(atoms)
        _notice_box(pbc, cell)
        moments = collinear_moments(atoms.get_initial_magnetic_moments())
        positions = np.linalg.solve(cell.T, np.asarray(atoms.positions, dtype=np.float64).T).T
        return cls(
            lattice=torch.from_numpy(cell / Bohr),
            symbols=tuple(atoms.get_chemical_symbols()),
            positions=torch.from_numpy(np.ascontiguousarray(positions)),
            magnetic_moments=tuple(moments) if any(moments) else None,
            pbc=pbc,
        )

    @classmethod
    def from_pymatgen(cls, structure: Any) -> Crystal:
        """Convert a pymatgen ``Structure``.

        Initial moments are the site property ``magmom`` or the spins of the species; vectors must
        be along one axis. Oxidation states are not used. A lattice that is not periodic in all
        directions gives a `NonPeriodicWarning`. pymatgen itself is not imported.

        Raises
        ------
        ValueError
            As for the class, and for partially occupied (disordered) sites, a charge and
            non-collinear moments.
        TypeError
            For a Molecule, which has no cell.

        Examples
        --------
        >>> from pymatgen.core import Lattice, Structure
        >>> from deepchem_xc.planewave import Crystal
        >>> salt = Structure.from_spacegroup(
        ...     "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        >>> Crystal.from_pymatgen(salt).natom
        8
        """
        from ase.units import Bohr

        if not hasattr(structure, "lattice"):
            raise TypeError(
                f"{type(structure).__name__} is not a periodic structure: put a pymatgen Molecule "
                "into a box with molecule.get_boxed_structure(a, b, c) (Angstrom)."
            )
        check_full_structure(structure)
        check_neutral_structure(structure)
        moments = site_moments(structure) or ()
        cell = np.asarray(structure.lattice.matrix, dtype=np.float64)
        pbc = _three_flags(getattr(structure.lattice, "pbc", (True, True, True)))
        _notice_box(pbc, cell)
        return cls(
            lattice=torch.from_numpy(cell / Bohr),
            symbols=tuple(site.specie.symbol for site in structure),
            positions=torch.tensor(np.asarray(structure.frac_coords), dtype=torch.float64),
            magnetic_moments=tuple(moments) if any(moments) else None,
            pbc=pbc,
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Crystal:
        """Read any file ASE can read (CIF, POSCAR, extended XYZ, ...); the last image of several.

        Moments that are results of an earlier calculation become initial ones, with an
        `IgnoredInputWarning`.

        Raises
        ------
        ValueError
            If the file holds no structure, or an invalid one.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import Crystal
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "al.cif"
        >>> bulk("Al", cubic=True).write(path)
        >>> Crystal.read(path).natom
        4
        """
        return cls.from_ase(read_atoms(path))

    def to_ase(self) -> Atoms:
        """ASE atoms in Angstrom, with the initial moments and the original ``pbc``."""
        from ase import Atoms
        from ase.units import Bohr

        return Atoms(
            symbols=self.symbols,
            cell=self.lattice.detach().cpu().numpy() * Bohr,
            scaled_positions=self.positions.detach().cpu().numpy(),
            magmoms=self.magnetic_moments,
            pbc=self.pbc,
        )


def _three_flags(pbc: Sequence[Any]) -> tuple[bool, bool, bool]:
    if np.shape(pbc) != (3,):
        raise ValueError(f"pbc must hold three booleans, one per lattice vector; got {pbc!r}.")
    return bool(pbc[0]), bool(pbc[1]), bool(pbc[2])


def _notice_box(pbc: tuple[bool, bool, bool], cell: np.ndarray) -> None:
    if all(pbc):
        return
    lengths = ", ".join(f"{length:.2f}" for length in np.linalg.norm(cell, axis=1))
    warnings.warn(
        f"the atoms are not periodic in all directions (pbc={pbc}); they are treated as periodic "
        f"images in the given box of {lengths} Angstrom. Check that there is enough vacuum.",
        NonPeriodicWarning,
        stacklevel=users_stacklevel(),
    )
