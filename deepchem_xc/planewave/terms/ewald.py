"""Electrostatic energy of point charges in a uniform neutralising background."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.terms.base import IonTerm

# Value of x at which the sums end: in real space erfc(x) is then 3e-18, in reciprocal space
# exp(-x^2) is 4e-17.
_REACH = 6.15
# Pairs whose distances are screened at once, to bound the memory of large cells.
_CHUNK = 2_000_000


def ewald_energy(
    lattice: Tensor,
    positions: Tensor,
    charges: Tensor | Sequence[float],
    eta: float | None = None,
) -> Tensor:
    """Ewald energy per cell, Hartree.

    ``E = 1/2 sum'_{a,b,R} Z_a Z_b erfc(sqrt(eta) d) / d
    + 2 pi / V sum_{G != 0} exp(-G^2 / 4 eta) / G^2 |sum_a Z_a exp(i G . tau_a)|^2
    - sqrt(eta / pi) sum_a Z_a^2 - pi / (2 V eta) (sum_a Z_a)^2``.

    The detached geometry determines which vectors R and G enter. The terms left out are below 1e-16
    of a pair's energy, so that derivatives, too, are those of the infinite sums.

    Parameters
    ----------
    lattice : Tensor
        Rows, shape (3, 3), bohr.
    positions : Tensor
        Reduced, shape (natom, 3); anywhere, not only in the first cell.
    charges : Tensor or sequence of float
        Ionic charges Z, shape (natom,).
    eta : float, optional
        Splitting between the two sums, 1/bohr^2. The energy does not depend on it; the default
        balances their numbers of terms.

    Returns
    -------
    Tensor
        0-d, twice differentiable with respect to lattice, positions and charges.

    Raises
    ------
    ValueError
        For wrong shapes or an eta that is not positive.

    References
    ----------
    P. P. Ewald, Ann. Phys. 369, 253 (1921). M. P. Tosi, Solid State Phys. 16, 1 (1964).

    Examples
    --------
    >>> half = 0.5 * torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.float64)
    >>> salt = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5]], dtype=torch.float64)
    >>> round(-float(ewald_energy(2 * half, salt, [1.0, -1.0])), 9)  # Madelung, distance 1
    1.747564595
    """
    charges = torch.as_tensor(charges, dtype=lattice.dtype, device=lattice.device)
    if lattice.shape != (3, 3) or positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(
            "lattice and positions must have shapes (3, 3) and (natom, 3), got "
            f"{tuple(lattice.shape)} and {tuple(positions.shape)}."
        )
    if charges.shape != positions.shape[:1]:
        raise ValueError(
            f"charges must have shape ({len(positions)},), got {tuple(charges.shape)}."
        )
    volume = torch.linalg.det(lattice).abs()
    if eta is None:
        eta = _balanced_eta(len(positions), float(volume.detach()))
    elif not (math.isfinite(eta) and eta > 0):
        raise ValueError(f"eta must be positive, got {eta}.")
    background = math.pi / (2 * eta) * charges.sum() ** 2 / volume
    self_energy = math.sqrt(eta / math.pi) * (charges**2).sum()
    return (
        _real_space(lattice, positions, charges, eta)
        + _reciprocal_space(lattice, positions, charges, eta, volume)
        - self_energy
        - background
    )


def _balanced_eta(natom: int, volume: float) -> float:
    # Balance natom^2/2 pairs in a sphere of radius x/sqrt(eta) against natom phases for half the G
    # in a sphere of radius 2 sqrt(eta) x: equal for eta^3 = natom pi^3 / volume^2.
    return math.pi * (natom / volume**2) ** (1 / 3)


def _box(vectors: Tensor, radius: float, offset: float = 0.0) -> Tensor:
    """Integers n (m, 3) that include all ``|(n + d) @ vectors| <= radius`` for |d_i| <= offset."""
    # |n_i + d_i| is at most the radius over the distance between lattice planes.
    planes = torch.linalg.vector_norm(torch.linalg.inv(vectors), dim=0)
    reach = (radius * planes + offset).floor()
    axes = [torch.arange(-r, r + 1, device=vectors.device) for r in reach.long().tolist()]
    return torch.cartesian_prod(*axes).to(vectors.dtype)


def _real_space(lattice: Tensor, positions: Tensor, charges: Tensor, eta: float) -> Tensor:
    natom = len(positions)
    radius = _REACH / math.sqrt(eta)
    with torch.no_grad():
        first, second = torch.triu_indices(natom, natom, device=lattice.device)
        difference = positions[first] - positions[second]
        nearest = -torch.round(difference)  # shifts the difference into [-1/2, 1/2]
        shells = _box(lattice, radius, offset=0.5)
        pairs, shifts = [], []
        for part in range(0, len(first), max(1, _CHUNK // len(shells))):
            rows = slice(part, part + max(1, _CHUNK // len(shells)))
            shift = nearest[rows, None] + shells  # (npair, nshell, 3)
            distance = torch.linalg.vector_norm((difference[rows, None] + shift) @ lattice, dim=-1)
            itself = (first == second)[rows, None] & (shift == 0).all(dim=-1)
            pair, shell = ((distance <= radius) & ~itself).nonzero(as_tuple=True)
            pairs.append(pair + part)
            shifts.append(shift[pair, shell])
        pair, shift = torch.cat(pairs), torch.cat(shifts)
        first, second = first[pair], second[pair]
        # Pairs of different atoms stand for (a, b) and (b, a).
        factor = torch.where(first == second, 0.5, 1.0).to(lattice.dtype)
    vector = (positions[first] - positions[second] + shift) @ lattice
    distance = torch.linalg.vector_norm(vector, dim=-1)
    screened = torch.erfc(math.sqrt(eta) * distance) / distance
    return (factor * charges[first] * charges[second] * screened).sum()


def _reciprocal_space(
    lattice: Tensor, positions: Tensor, charges: Tensor, eta: float, volume: Tensor
) -> Tensor:
    reciprocal = 2 * math.pi * torch.linalg.inv(lattice).T
    with torch.no_grad():
        radius = 2 * math.sqrt(eta) * _REACH
        miller = _box(reciprocal, radius)
        miller = miller[len(miller) // 2 + 1 :]  # one of each pair G, -G, without zero
        miller = miller[torch.linalg.vector_norm(miller @ reciprocal, dim=-1) <= radius]
    square = ((miller @ reciprocal) ** 2).sum(dim=-1)
    phase = 2 * math.pi * (miller @ positions.T)  # (nG, natom)
    structure = (torch.cos(phase) @ charges) ** 2 + (torch.sin(phase) @ charges) ** 2
    return 4 * math.pi / volume * (torch.exp(-square / (4 * eta)) / square * structure).sum()


class Ewald(IonTerm):
    """Electrostatic energy of the ions.

    Parameters
    ----------
    charges : Tensor
        Valence charge of every atom, (natom,), in elementary charges.
    """

    name = "ewald"

    def __init__(self, charges: Tensor) -> None:
        self._charges = charges

    def energy(self, basis: PlaneWaveBasis) -> Tensor:
        """See `ewald_energy`."""
        return ewald_energy(basis.crystal.lattice, basis.crystal.positions, self._charges)
