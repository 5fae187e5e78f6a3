"""Checks of a crystal, which raise a `ValueError` that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Smallest distance between atoms. The shortest bond in chemistry is H2's 0.74 Angstrom. No
# realistic equation of state or collision reaches less than half of it; duplicated sites, atoms
# repeated on the far face of the cell, and lengths in the wrong unit do.
MINIMUM_DISTANCE_ANGSTROM = 0.3

# Value of |det(a)| / (|a1| |a2| |a3|) below which three vectors count as coplanar.
_SINGULAR = 1e-6


def check_symbols(symbols: Sequence[str]) -> None:
    """Refuse an empty cell and unknown elements."""
    from ase.data import atomic_numbers

    if not symbols:
        raise ValueError("the cell holds no atoms; a crystal needs at least one.")
    unknown = sorted({s for s in symbols if atomic_numbers.get(s, 0) == 0})
    if unknown:
        raise ValueError(
            f"unknown element(s) {', '.join(map(repr, unknown))}: symbols must be chemical "
            "elements such as 'H', 'Si' or 'Ni' (ghost atoms are not supported)."
        )


def check_lattice(lattice: Tensor) -> None:
    """Refuse lattice vectors, (3, 3) rows, that are singular, left-handed or not finite."""
    if lattice.shape != (3, 3):
        raise ValueError(
            f"lattice must have shape (3, 3), one vector a row; got {tuple(lattice.shape)}."
        )
    cell = lattice.detach()
    if not bool(torch.isfinite(cell).all()):
        raise ValueError(f"the lattice contains NaN or infinite numbers: {cell.tolist()}.")
    determinant = float(torch.linalg.det(cell))
    if abs(determinant) <= _SINGULAR * float(torch.linalg.vector_norm(cell, dim=1).prod()):
        raise ValueError(
            f"the cell {cell.tolist()} is singular: its vectors lie in one plane or one has zero "
            "length. Give three independent vectors."
        )
    if determinant < 0:
        raise ValueError(
            f"the cell {cell.tolist()} is left-handed (a1 . (a2 x a3) < 0). Exchange two lattice "
            "vectors, and the same two components of reduced positions and k-points; with ASE: "
            "atoms.set_cell(atoms.cell[[1, 0, 2]])."
        )


def check_positions(positions: Tensor, natom: int) -> None:
    """Refuse positions that are not (natom, 3) finite numbers."""
    if positions.shape != (natom, 3):
        raise ValueError(
            f"positions must have shape ({natom}, 3), one row for each of the {natom} symbols; got "
            f"{tuple(positions.shape)}."
        )
    bad = (~torch.isfinite(positions.detach())).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"the positions of atoms {bad} contain NaN or infinite numbers.")


def check_moments(moments: np.ndarray, natom: int) -> None:
    """Refuse initial moments that are not one finite number for each atom."""
    if moments.shape != (natom,):
        raise ValueError(
            f"magnetic_moments must hold one number (mu_B) for each of the {natom} atoms; got "
            f"shape {moments.shape}. Non-collinear moments are not supported."
        )
    if not np.isfinite(moments).all():
        raise ValueError(f"magnetic_moments contain NaN or infinite numbers: {moments.tolist()}.")


def check_distances(lattice: Tensor, positions: Tensor, symbols: Sequence[str]) -> None:
    """Refuse atoms that overlap; lattice in bohr, positions reduced."""
    from ase.geometry import find_mic, minkowski_reduce
    from ase.units import Bohr

    sites = positions.detach().cpu().numpy()
    cell = lattice.detach().cpu().numpy() * Bohr
    # Each atom's own images are a lattice vector away.
    shortest_vectors, _ = minkowski_reduce(cell)
    distances = [float(np.linalg.norm(shortest_vectors, axis=1).min())]
    first, second = np.triu_indices(len(sites), k=1)
    if len(first):
        _, between = find_mic((sites[first] - sites[second]) @ cell, cell)
        distances += between.tolist()
    closest = int(np.argmin(distances))
    if distances[closest] >= MINIMUM_DISTANCE_ANGSTROM:
        return
    if closest == 0:
        pair = f"{symbols[0]}0 and its own periodic image"
    else:
        i, j = int(first[closest - 1]), int(second[closest - 1])
        pair = f"{symbols[i]}{i} and {symbols[j]}{j}"
    raise ValueError(
        f"atoms overlap: {pair} are {distances[closest]:.4f} Angstrom apart (periodic images "
        f"included), less than {MINIMUM_DISTANCE_ANGSTROM} Angstrom. Remove duplicated atoms, and "
        "check the units (bohr inside Crystal, Angstrom in ASE) and that positions are reduced."
    )
