"""Starting a calculation from the density, and if possible the orbitals, of an earlier one.

Plane waves are matched by their integers (`carried_orbitals`), so the earlier calculation may have
used another cell, cutoff or grid.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_xc._atomic import replacing
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.loop.carried_orbitals import (
    Orbitals,
    carried_orbitals,
    match_plane_waves,
)
from deepchem_xc.planewave.observables.hirshfeld import hirshfeld_moments
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.structure.crystal import Crystal

_FORMAT = "deepchem_xc density 1"
# Relative difference in the number of electrons above which a density belongs to another system.
_ELECTRON_TOLERANCE = 1e-6
# Leading axes of the density in a file: spin, or (density and kinetic energy density, spin).
_SHAPES = {(1,), (2,), (2, 1), (2, 2)}
# Names in files and names of attributes of `Orbitals`.
_ORBITALS = {
    "orbitals_k_coordinates": "k_coordinates",
    "orbitals_orbital_g": "g_vectors",
    "orbitals_mask": "mask",
    "orbitals_coefficients": "coefficients",
}


@dataclass(frozen=True, eq=False)
class Restart:
    """The state of an earlier calculation that a new one can start from.

    Attributes
    ----------
    crystal : Crystal
        Its structure.
    g_vectors : Tensor
        Integer G, (nG, 3).
    fields : Fields
        Coefficients of its density, with the kinetic energy density of a meta-GGA.
    orbitals : Orbitals or None
        Its orbitals, if kept.
    notes : str
        Any text to keep with it in a file.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(1, 1, 1))
    >>> path = tempfile.mkdtemp() + "/si.npz"
    >>> Restart.of(result).save(path)
    >>> bool((Restart.load(path).fields.density == result.density_g).all())
    True
    """

    crystal: Crystal
    g_vectors: Tensor
    fields: Fields = field(repr=False)
    orbitals: Orbitals | None = field(default=None, repr=False)
    notes: str = field(default="", repr=False)

    @classmethod
    def of(cls, result: SCFResult, orbitals: bool = True, notes: str = "") -> Restart:
        """Make it from a result, with or without the orbitals."""
        basis = result.basis
        kept = None
        if orbitals:
            kept = Orbitals(
                basis.k_coordinates, basis.orbital_g_vectors, basis.mask, result.orbitals
            )
        return cls(basis.crystal, basis.g_vectors, result.converged.fields, kept, notes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz file; ``path`` is replaced only when the new file is complete."""
        moments = self.crystal.magnetic_moments
        arrays = {
            "format": np.array(_FORMAT),
            "notes": np.array(self.notes),
            "lattice": _numpy(self.crystal.lattice),
            "positions": _numpy(self.crystal.positions),
            "symbols": np.array(self.crystal.symbols),
            "moments": np.array(() if moments is None else moments, dtype=np.float64),
            "pbc": np.array(self.crystal.pbc),
            "density_g": _numpy(self.g_vectors),
            "density": _numpy(_stacked(self.fields)),
        }
        if self.orbitals is not None:
            arrays |= {key: _numpy(getattr(self.orbitals, name)) for key, name in _ORBITALS.items()}
        with replacing(path, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Restart:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        DamagedFileError
            If it is incomplete or not a density file.
        """
        try:
            # Reading every array verifies the archive's checksums.
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            if str(arrays["format"]) != _FORMAT:
                raise ValueError(f"its format is {str(arrays['format'])!r}, not {_FORMAT!r}")
            return cls._from_arrays(arrays)
        except FileNotFoundError:
            raise
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DamagedFileError(
                f"{os.fspath(path)!r} is not a complete density file ({error}). Delete it and "
                "write it again with calc.write(...) or Restart.save(...)."
            ) from error

    def with_orbitals(self, orbitals: Orbitals | None) -> Restart:
        """The same density with other orbitals, or none."""
        return replace(self, orbitals=orbitals)

    def state_dict(self) -> dict[str, Any]:
        """Structure and density as plain numbers and tensors for a checkpoint, without orbitals."""
        crystal = self.crystal
        return {
            "lattice": crystal.lattice,
            "symbols": list(crystal.symbols),
            "positions": crystal.positions,
            "moments": crystal.magnetic_moments,
            "pbc": crystal.pbc,
            "density_g": self.g_vectors,
            "density": _stacked(self.fields),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Restart:
        """The inverse of `state_dict`."""
        crystal = Crystal(
            state["lattice"],
            tuple(state["symbols"]),
            state["positions"],
            state["moments"],
            state["pbc"],
        )
        return cls(crystal, state["density_g"], _unstacked(state["density"]))

    @classmethod
    def _from_arrays(cls, arrays: dict[str, np.ndarray]) -> Restart:
        crystal = Crystal(
            lattice=torch.from_numpy(arrays["lattice"]),
            symbols=tuple(str(symbol) for symbol in arrays["symbols"]),
            positions=torch.from_numpy(arrays["positions"]),
            magnetic_moments=tuple(arrays["moments"].tolist()) or None,
            pbc=tuple(arrays["pbc"].tolist()),
        )
        g, density = torch.from_numpy(arrays["density_g"]), torch.from_numpy(arrays["density"])
        if g.shape != (density.shape[-1], 3) or tuple(density.shape[:-1]) not in _SHAPES:
            raise ValueError(f"its arrays have shapes {tuple(g.shape)} and {tuple(density.shape)}")
        orbitals = None
        if "orbitals_coefficients" in arrays:
            orbitals = Orbitals(
                **{name: torch.from_numpy(arrays[key]) for key, name in _ORBITALS.items()}
            )
        return cls(crystal, g, _unstacked(density), orbitals, str(arrays["notes"]))


def starting_point(
    problem: KohnShamProblem, restart: Restart
) -> tuple[Fields | None, Tensor | None]:
    """Fields and orbitals with which to start `problem`.

    The density follows the atoms: the difference between the old density and superposed atoms in
    the old geometry is added to superposed atoms in the new one.

    Parameters
    ----------
    problem : KohnShamProblem
        The problem to solve.
    restart : Restart
        State of an earlier calculation.

    Returns
    -------
    fields : Fields or None
        None if the atoms or the number of electrons differ.
    orbitals : Tensor or None
        Orthonormal, (nspin, nk, nband, npw). None if there are none, or if k-points or number of
        spins differ.

    Examples
    --------
    A smaller cell holds the same electrons:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> old, new = (scf(bulk("Si", a=a), ecut=100.0) for a in (5.5, 5.4))
    >>> fields, _ = starting_point(new.problem, Restart.of(old))
    >>> print(f"{fields.density[0, 0].real * new.basis.volume:.9f}")
    8.000000000
    """
    if not _fits(problem, restart):
        return None, None
    basis = problem.basis
    old = restart.crystal.to(basis.device)
    fields, found = _on_sphere(basis, restart)
    before = replace(problem, basis=basis.with_geometry(old.lattice, old.positions))
    atoms = before.starting_fields()
    # Unless both functionals need the kinetic energy density, take that of superposed atoms.
    if fields.tau is None or atoms.tau is None:
        fields, atoms = Fields(fields.density), Fields(atoms.density)
    if fields.density.shape[0] != problem.nspin:
        # With different numbers of channels only totals can be compared.
        fields, atoms = (
            x.map(lambda leaf: leaf.sum(0, keepdim=True) / problem.nspin) for x in (fields, atoms)
        )
    deformation = ((fields - atoms) * found).map(lambda leaf: leaf.expand(problem.nspin, -1))
    deformation = deformation * (old.volume / basis.volume).detach()
    start = (problem.starting_fields() + deformation).symmetrized(basis)
    return start, carried_orbitals(problem, restart.orbitals)


def moments_of(problem: KohnShamProblem, restart: Restart) -> Tensor | None:
    """Hirshfeld moments of the atoms in the density of an earlier calculation.

    Parameters
    ----------
    problem : KohnShamProblem
        The problem to solve; provides plane waves and pseudopotentials.
    restart : Restart
        State of an earlier calculation.

    Returns
    -------
    Tensor or None
        (natom,), mu_B. None if the earlier calculation had no spin or other atoms.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import scf
    >>> atom = Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[1])
    >>> result = scf(atom, ecut=100.0)
    >>> print(f"{moments_of(result.problem, Restart.of(result))[0]:.3f}")
    1.000
    """
    basis = problem.basis
    if restart.fields.density.shape[0] == 1 or not _fits(problem, restart):
        return None
    old = restart.crystal.to(basis.device)
    fields, _ = _on_sphere(basis, restart)
    before = basis.with_geometry(old.lattice, old.positions)
    return hirshfeld_moments(before, problem.pseudopotentials, fields.density)


def _fits(problem: KohnShamProblem, restart: Restart) -> bool:
    """Whether the earlier calculation had the same atoms and electrons."""
    if restart.crystal.symbols != problem.basis.crystal.symbols:
        return False
    total = float(restart.fields.density[:, 0].real.sum() * restart.crystal.volume)
    return abs(total - problem.nelectrons) <= _ELECTRON_TOLERANCE * problem.nelectrons


def _on_sphere(basis: PlaneWaveBasis, restart: Restart) -> tuple[Fields, Tensor]:
    """Earlier fields on the sphere of `basis`, and which of its plane waves they had, (nG,)."""
    index, found = match_plane_waves(
        restart.g_vectors.to(basis.device)[None], basis.g_vectors[None]
    )
    fields = restart.fields.map(lambda leaf: leaf.to(basis.device)[:, index[0]])
    return fields * found[0], found[0]


def _stacked(fields: Fields) -> Tensor:
    """Fields as in files: (nspin, nG), or (2, nspin, nG) with the kinetic energy density."""
    return fields.density if fields.tau is None else torch.stack([fields.density, fields.tau])


def _unstacked(array: Tensor) -> Fields:
    """The inverse of `_stacked`."""
    return Fields(array) if array.ndim == 2 else Fields(*array)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
