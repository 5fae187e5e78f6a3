"""Self-consistent all-electron densities of a parent: computed by PySCF, kept as matrices.

A density matrix in a Gaussian basis is small, and gives the density on any grid in a second. Each
is a record of a `Store`, under a folder that names the parent, and is recognised by parent, basis,
grid and geometry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.units import Bohr
from deepchem.utils.data_utils import get_data_dir
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning.molecules import g2_molecule, unpaired_electrons
from deepchem_xc.gaussian.basis_sets import basis_by_element
from deepchem_xc.gaussian.core_functions import holds_core
from deepchem_xc.gaussian.grid import checked_level
from deepchem_xc.gaussian.molecule_checks import check_atoms, check_spin
from deepchem_xc.models.progress_bar import progress_bar
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.store import Store, digest
from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional, get_xc
from deepchem_xc.xc.identity import content_digest

__all__ = [
    "BASIS",
    "GRID_LEVEL",
    "GridDensity",
    "KeptDensity",
    "grid_density",
    "parent_densities",
]

#: Basis and level of PySCF's grid in the protocol.
BASIS = "def2-TZVP"
GRID_LEVEL = 3
# Change of the energy between the last steps, Hartree.
_TOLERANCE = 1e-9
# Points at which orbitals are evaluated at a time: 100 functions then take 130 MB.
_BLOCK = 40_000


@dataclass(frozen=True)
class GridDensity:
    """A density at the points of a grid.

    Attributes
    ----------
    densinfo : SpinParam[ValGrad]
        Up and down: ``value`` (nr,), ``grad`` (3, nr), ``kin`` (nr,), atomic units.
    weights : Tensor
        Volumes of the points, (nr,), bohr^3.
    """

    densinfo: SpinParam
    weights: Tensor

    @property
    def nelectrons(self) -> float:
        """Number of electrons by quadrature."""
        total = self.densinfo.u.value + self.densinfo.d.value
        return float((self.weights * total).sum())


@dataclass(frozen=True, eq=False)
class KeptDensity:
    """The self-consistent state of one molecule.

    Attributes
    ----------
    name : str
        Name in ASE's g2 set, or the one that was given with the atoms.
    atoms : ase.Atoms
        The molecule; its initial magnetic moments add up to the unpaired electrons.
    basis : str
        Its Gaussian basis.
    density_matrix : ndarray
        Up and down, (2, nao, nao), in PySCF's order.
    energy : float
        Total energy, Hartree.
    """

    name: str
    atoms: Atoms
    basis: str
    density_matrix: NDArray[np.float64]
    energy: float

    @property
    def polarized(self) -> bool:
        """Whether it has unpaired electrons."""
        return unpaired_electrons(self.atoms) > 0

    def on_grid(self, level: int = GRID_LEVEL) -> GridDensity:
        """Density, gradient and kinetic energy density on PySCF's grid.

        Parameters
        ----------
        level : int, optional
            Level of the grid, 0 to 9.

        Examples
        --------
        >>> import tempfile
        >>> (h2,) = parent_densities("PBE", ["H2"], tempfile.mkdtemp(), basis="sto-3g")
        >>> h2.on_grid().nelectrons
        2.0000
        """
        return grid_density(pyscf_molecule(self.atoms, self.basis), self.density_matrix, level)


def grid_density(mol: Any, matrices: NDArray[np.float64], level: int) -> GridDensity:
    """Density, gradient and kinetic energy density of a density matrix on PySCF's grid.

    Parameters
    ----------
    mol : pyscf.gto.Mole
        Molecule with its basis.
    matrices : ndarray
        Density matrices, up and down, (2, nao, nao), in PySCF's order.
    level : int
        Level of the grid, 0 to 9.

    Examples
    --------
    >>> from pyscf import gto
    >>> atom = gto.M(atom="H", basis="sto-3g", spin=1)
    >>> matrices = np.array([[[1.0]], [[0.0]]])
    >>> grid_density(atom, matrices, 3).nelectrons
    1.0000
    """
    from pyscf import dft

    grids = dft.Grids(mol)
    grids.level = level
    grids.build()
    integrator = dft.numint.NumInt()
    blocks: list[list[NDArray[np.float64]]] = [[], []]
    for first in range(0, len(grids.weights), _BLOCK):
        orbitals = integrator.eval_ao(mol, grids.coords[first : first + _BLOCK], deriv=1)
        for channel, matrix in zip(blocks, matrices, strict=True):
            # Rows: n, its gradient, kinetic energy density.
            rows = integrator.eval_rho(
                mol, orbitals, matrix, xctype="MGGA", hermi=1, with_lapl=False
            )
            channel.append(rows)
    up, down = (_channel(np.concatenate(rows, axis=1)) for rows in blocks)
    return GridDensity(SpinParam(u=up, d=down), torch.as_tensor(grids.weights))


def _channel(rows: NDArray[np.float64]) -> ValGrad:
    value, kin = (torch.as_tensor(rows[i].copy()) for i in (0, 4))
    return ValGrad(value=value, grad=torch.as_tensor(rows[1:4].copy()), kin=kin)


def pyscf_molecule(atoms: Atoms, basis: str) -> Any:
    """PySCF's molecule, with spherical functions and all electrons.

    Raises
    ------
    ValueError
        For atoms that overlap, unknown basis sets, those that were made for core potentials, and
        numbers of unpaired electrons that are impossible.
    """
    from pyscf import gto

    symbols = atoms.get_chemical_symbols()
    check_atoms(symbols, atoms.positions / Bohr)
    functions = basis_by_element(basis, symbols)
    for symbol, shells in functions.items():
        if not holds_core(symbol, shells):
            raise ValueError(
                f"the basis set {basis!r} was made for a core potential of {symbol}, and densities "
                "of parents hold all electrons: take another one, such as 'ano-rcc' or 'sto-3g', "
                "or leave such molecules out."
            )
    places = list(zip(symbols, atoms.positions.tolist()))
    mol = gto.M(atom=places, basis=basis, spin=None, verbose=0)
    mol.spin = check_spin(unpaired_electrons(atoms), mol.nelectron, mol.nao)
    return mol


def kohn_sham(atoms: Atoms, basis: str, level: int) -> Any:
    """PySCF's calculation of a molecule: restricted without unpaired electrons, else not."""
    from pyscf import dft

    mol = pyscf_molecule(atoms, basis)
    mf = dft.RKS(mol) if mol.spin == 0 else dft.UKS(mol)
    mf.grids.level = level
    mf.conv_tol = _TOLERANCE
    return mf


def converge(mf: Any, name: str, start: NDArray[np.float64] | None = None) -> float:
    """Converge a calculation; return its total energy (Hartree).

    Parameters
    ----------
    mf : pyscf object
        Calculation with its functional.
    name : str
        Molecule, for the message.
    start : ndarray, optional
        First density matrices, up and down.

    Raises
    ------
    SCFConvergenceError
        If neither DIIS nor the second-order solver converges.
    """
    if start is not None and mf.mol.spin == 0:
        start = start.sum(0)
    mf.kernel(start)
    if not mf.converged:
        second = mf.newton()
        second.kernel(mf.mo_coeff, mf.mo_occ)
        mf.mo_coeff, mf.mo_occ = second.mo_coeff, second.mo_occ
        mf.e_tot, mf.converged = second.e_tot, second.converged
    if not mf.converged:
        raise SCFConvergenceError(
            f"{name} does not converge with {mf.xc}: its last energy is {mf.e_tot:.6f} Ha. Leave "
            "it out of the molecules."
        )
    return float(mf.e_tot)


def parent_densities(
    parent: str | os.PathLike[str] | XCFunctional,
    names: Sequence[str] | Mapping[str, Atoms],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    basis: str = BASIS,
    grid_level: int = GRID_LEVEL,
    progress: bool | None = None,
) -> list[KeptDensity]:
    """Densities of molecules with a parent; those that are not kept yet are computed and kept.

    A run that is interrupted goes on with the first molecule that is missing.

    Parameters
    ----------
    parent : str, path-like or XCFunctional
        Anything that `get_xc` takes.
    names : sequence of str, or mapping of str to ase.Atoms
        Molecules of ASE's g2 set, or any others by names that files may have. Initial magnetic
        moments of other ones must add up to the number of unpaired electrons.
    data_dir : path, optional
        Folder in which ``clone_<parent>_<hash>/`` holds the files; DeepChem's data folder by
        default.
    basis : str, optional
        Gaussian basis.
    grid_level : int, optional
        Level of PySCF's grid.
    progress : bool, optional
        Show a progress bar; by default on a terminal and in notebooks.

    Returns
    -------
    list of KeptDensity
        In the order of the names.

    Raises
    ------
    ValueError
        For no molecules, unknown ones, one that occurs twice, basis sets that do not hold all
        electrons, impossible numbers of unpaired electrons, and functionals that `to_pyscf`
        refuses.
    SCFConvergenceError
        If a molecule does not converge; the others before it are kept.

    Examples
    --------
    >>> import tempfile
    >>> (h2,) = parent_densities("LDA", ["H2"], tempfile.mkdtemp(), basis="sto-3g")
    >>> h2.energy
    -1.1210
    >>> from ase import Atoms
    >>> (longer,) = parent_densities(
    ...     "LDA", {"H2-1.0": Atoms("H2", [[0, 0, 0], [0, 0, 1.0]])}, tempfile.mkdtemp(),
    ...     basis="sto-3g",
    ... )
    >>> longer.energy
    -1.0847
    """
    functional, level = get_xc(parent), checked_level(grid_level)
    if isinstance(names, str):
        raise ValueError(f"names is the text {names!r}: give a list of names, [{names!r}].")
    wanted = list(names)
    if not wanted:
        raise ValueError("there are no molecules: give names of ASE's g2 set, such as ['H2O'].")
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"each molecule must occur once, got {', '.join(wanted)}.")
    molecules = (
        dict(names) if isinstance(names, Mapping) else {name: g2_molecule(name) for name in wanted}
    )
    identity = content_digest(functional)
    label = re.sub(r"[^A-Za-z0-9]+", "_", functional.name or "functional")
    folder = Path(data_dir or get_data_dir()) / f"clone_{label}_{identity[:12]}"
    store = Store(folder)
    found = []
    with progress_bar(progress, iterable=wanted, desc="densities", unit="molecule") as bar:
        for name in bar:
            atoms = molecules[name]
            request = digest(
                {
                    "parent": identity,
                    "basis": basis,
                    "grid_level": level,
                    "numbers": atoms.numbers.tolist(),
                    "positions": atoms.positions.tolist(),
                    "unpaired": unpaired_electrons(atoms),
                }
            )
            # Two bases of one molecule are two files.
            key = f"{name}_{request[:12]}"
            record = store.read(key, request=request)
            if record is None:
                mf = to_pyscf(functional, kohn_sham(atoms, basis, level))
                energy = converge(mf, name)
                matrix = np.asarray(mf.make_rdm1())
                pair = np.stack([matrix / 2.0] * 2) if matrix.ndim == 2 else matrix
                record = {"request": request, "energy": energy, "density_matrix": pair.tolist()}
                store.write(key, record)
            pair = np.array(record["density_matrix"], dtype=np.float64)
            found.append(KeptDensity(name, atoms, basis, pair, float(record["energy"])))
    return found
