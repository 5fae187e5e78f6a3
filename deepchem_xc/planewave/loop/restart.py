"""Starting a calculation from the density, and where possible the orbitals, of an earlier one.

Plane waves are matched by their integers (`carried_orbitals`), so the earlier calculation may have
had another cell, cutoff or grid.
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
from deepchem_xc.planewave.fields import split_fields
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
# Relative difference of numbers of electrons, from which on an earlier density is another system's.
_ELECTRON_TOLERANCE = 1e-6
# Leading axes of a density: spins, and density or kinetic energy density before them.
_SHAPES = {(1,), (2,), (2, 1), (2, 2)}


@dataclass(frozen=True, eq=False)
class Restart:
    """What an earlier calculation hands on.

    Attributes
    ----------
    crystal : Crystal
        The structure it was done for.
    density_g : Tensor
        Integer G, (nG, 3).
    density : Tensor
        Its coefficients, (nspin, nG), bohr^-3: total, or up and down; with the kinetic energy
        density of a meta-GGA (2, nspin, nG).
    orbitals : Orbitals or None
        Its orbitals, if they are kept.
    notes : str
        Anything else that shall stay with it in a file.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(1, 1, 1))
    >>> path = tempfile.mkdtemp() + "/si.npz"
    >>> Restart.of(result).save(path)
    >>> bool((Restart.load(path).density == result.density_g).all())
    True
    """

    crystal: Crystal
    density_g: Tensor
    density: Tensor = field(repr=False)
    orbitals: Orbitals | None = field(default=None, repr=False)
    notes: str = field(default="", repr=False)

    @classmethod
    def of(cls, result: SCFResult, orbitals: bool = True, notes: str = "") -> Restart:
        """What `result` hands on, with its orbitals or without."""
        basis = result.basis
        kept = None
        if orbitals:
            kept = Orbitals(basis.k_coordinates, basis.orbital_g, basis.mask, result.orbitals)
        return cls(basis.crystal, basis.density_g, result.converged.density_g, kept, notes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz file; ``path`` is replaced only once the new file is complete."""
        moments = self.crystal.magnetic_moments
        arrays = {
            "format": np.array(_FORMAT),
            "notes": np.array(self.notes),
            "lattice": _numpy(self.crystal.lattice),
            "positions": _numpy(self.crystal.positions),
            "symbols": np.array(self.crystal.symbols),
            "moments": np.array(() if moments is None else moments, dtype=np.float64),
            "pbc": np.array(self.crystal.pbc),
            "density_g": _numpy(self.density_g),
            "density": _numpy(self.density),
        }
        if self.orbitals is not None:
            for name in ("k_coordinates", "orbital_g", "mask", "coefficients"):
                arrays[f"orbitals_{name}"] = _numpy(getattr(self.orbitals, name))
        with replacing(path, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Restart:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If it is anything else, or a part of one.
        """
        try:
            # Reading every array checks the sums that the archive keeps of them.
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
                "write it anew with calc.write(...) or Restart.save(...)."
            ) from error

    def with_orbitals(self, orbitals: Orbitals | None) -> Restart:
        """The same density with other orbitals, or none."""
        return replace(self, orbitals=orbitals)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors of structure and density, for a checkpoint; no orbitals."""
        crystal = self.crystal
        return {
            "lattice": crystal.lattice,
            "symbols": list(crystal.symbols),
            "positions": crystal.positions,
            "moments": crystal.magnetic_moments,
            "pbc": crystal.pbc,
            "density_g": self.density_g,
            "density": self.density,
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
        return cls(crystal, state["density_g"], state["density"])

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
            names = ("k_coordinates", "orbital_g", "mask", "coefficients")
            orbitals = Orbitals(*(torch.from_numpy(arrays[f"orbitals_{name}"]) for name in names))
        return cls(crystal, g, density, orbitals, str(arrays["notes"]))


def starting_point(
    problem: KohnShamProblem, restart: Restart
) -> tuple[Tensor | None, Tensor | None]:
    """Density and orbitals with which to start `problem`.

    The density follows the atoms: the difference between the old density and superposed atoms in
    the old geometry is added to superposed atoms in the new one.

    Parameters
    ----------
    problem : KohnShamProblem
        What is to be solved.
    restart : Restart
        From an earlier calculation.

    Returns
    -------
    density : Tensor or None
        (nspin, nG), bohr^-3. None if the atoms or the number of electrons are others.
    orbitals : Tensor or None
        Orthonormal, (nspin, nk, nband, npw). None if there are none, or if k-points or spins are
        others.

    Examples
    --------
    A smaller cell holds the same electrons:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> old, new = (scf(bulk("Si", a=a), ecut=100.0) for a in (5.5, 5.4))
    >>> density, _ = starting_point(new.problem, Restart.of(old))
    >>> print(f"{density[0, 0].real * new.basis.volume:.9f}")
    8.000000000
    """
    if not _fits(problem, restart):
        return None, None
    basis = problem.basis
    old = restart.crystal.to(basis.device)
    density, found = _on_sphere(basis, restart)
    if density.ndim > 2 and not problem.needs_kinetic_density:
        density = density[0]
    before = replace(problem, basis=basis.with_geometry(old.lattice, old.positions))
    atoms = before.atomic_density() if density.ndim == 2 else before.starting_density()
    if density.shape[-2] != problem.nspin:
        # One channel says nothing of spins, and none is asked of two: totals are compared.
        density, atoms = (x.sum(-2, keepdim=True) / problem.nspin for x in (density, atoms))
    deformation = ((density - atoms) * found).expand(*density.shape[:-2], problem.nspin, -1)
    deformation = deformation * (old.volume / basis.volume).detach()
    start = problem.starting_density()
    if deformation.ndim < start.ndim:
        # From a GGA: the kinetic energy density starts from the model of the atoms.
        start[0] += deformation
    else:
        start = start + deformation
    start = basis.symmetrize(start)
    return start, carried_orbitals(problem, restart.orbitals)


def moments_of(problem: KohnShamProblem, restart: Restart) -> Tensor | None:
    """Moments of the atoms (Hirshfeld's) in the density of an earlier calculation.

    Parameters
    ----------
    problem : KohnShamProblem
        What is to be solved; its plane waves and pseudopotentials are used.
    restart : Restart
        From an earlier calculation.

    Returns
    -------
    Tensor or None
        (natom,), mu_B. None if the earlier one had no spin, or was of other atoms.

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
    if restart.density.shape[-2] == 1 or not _fits(problem, restart):
        return None
    old = restart.crystal.to(basis.device)
    density, _ = _on_sphere(basis, restart)
    before = basis.with_geometry(old.lattice, old.positions)
    return hirshfeld_moments(before, problem.pseudopotentials, split_fields(density)[0])


def _fits(problem: KohnShamProblem, restart: Restart) -> bool:
    """Whether the earlier calculation had the same atoms and electrons."""
    if restart.crystal.symbols != problem.basis.crystal.symbols:
        return False
    total = float(split_fields(restart.density)[0][:, 0].real.sum() * restart.crystal.volume)
    return abs(total - problem.nelectrons) <= _ELECTRON_TOLERANCE * problem.nelectrons


def _on_sphere(basis: PlaneWaveBasis, restart: Restart) -> tuple[Tensor, Tensor]:
    """The earlier density on the sphere of `basis`, and whether it had the plane waves, (nG,)."""
    density = restart.density.to(basis.device)
    index, found = match_plane_waves(
        restart.density_g.to(basis.device)[None], basis.density_g[None]
    )
    return density[..., index[0]] * found[0], found[0]


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
