"""Partial-wave occupations of a kept density, atom by atom, and the datasets that they belong to.

With PAW a plane-wave density is smooth inside of spheres around the atoms, and does not hold all
electrons. The rest is in the occupations of each atom's partial waves, which belong to its dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.planewave.spheres import Spheres

# Names in files: of an atom's matrix, with its number, and of an element's overlap.
_MATRIX, _OVERLAP = "sphere_occupations_", "sphere_overlap_"
# Largest element of a rotation minus one that counts as no rotation: rounding.
_SAME_TURN = 1e-12


@dataclass(frozen=True, eq=False)
class SphereOccupations:
    r"""Occupations of all atoms' partial waves, and what says which datasets they belong to.

    .. math:: D_{ij} = \sum_n f_n \mathrm{Re}
        \langle \psi_n | p_i \rangle \langle p_j | \psi_n \rangle

    Attributes
    ----------
    matrices : tuple of Tensor
        One for each atom in the crystal's order, (nspin, nstate, nstate), electrons, symmetric:
        the total, or up and down. States are in the order of `momenta`, and for each l in that of
        `numerics.harmonics.solid_harmonics`.
    datasets : mapping of str to str
        Name of each element's dataset; `DensityRecord.potentials` holds the hash of its content.
    momenta : mapping of str to tuple of int
        l of each channel of partial waves, by element.
    overlaps : mapping of str to Tensor
        Overlap of all-electron less that of smooth partial waves, by element, (nstate, nstate). Its
        product with the occupations is what the smooth density lacks of the electrons.

    Examples
    --------
    An s and three p states of one element, and one electron in s of which 0.3 is inside:

    >>> occupations = torch.zeros(1, 4, 4, dtype=torch.float64)
    >>> occupations[0, 0, 0] = 1.0
    >>> overlap = 0.3 * torch.eye(4, dtype=torch.float64)
    >>> kept = SphereOccupations(
    ...     (occupations,), {"H": "H.PBE"}, {"H": (0, 1)}, {"H": overlap})
    >>> kept.electrons(("H",)).tolist()
    [0.3]
    """

    matrices: tuple[Tensor, ...] = field(repr=False)
    datasets: Mapping[str, str]
    momenta: Mapping[str, tuple[int, ...]]
    overlaps: Mapping[str, Tensor] = field(repr=False)

    @classmethod
    def of(cls, spheres: Spheres, occupations: Tensor) -> SphereOccupations:
        """From the flat array of a problem, (nspin, n)."""
        potentials = {species: spheres.potentials[species] for species in spheres.atoms}
        return cls(
            spheres.by_atom(occupations),
            {species: potential.name for species, potential in potentials.items()},
            {species: tuple(p.angular_momenta) for species, p in potentials.items()},
            {species: potential.tables.overlap for species, potential in potentials.items()},
        )

    def flat(self, spheres: Spheres, device: torch.device) -> Tensor:
        """The flat array of a problem with the same atoms and datasets, (nspin, n)."""
        return spheres.of_atoms([matrix.to(device) for matrix in self.matrices])

    def electrons(self, symbols: tuple[str, ...]) -> Tensor:
        """Electrons that the smooth density lacks, of each channel, (nspin,)."""
        held = [
            (matrix * self.overlaps[symbol].to(matrix.device)).sum((-2, -1))
            for symbol, matrix in zip(symbols, self.matrices, strict=True)
        ]
        return torch.stack(held).sum(0)

    # -- files and checkpoints --------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by its name in files."""
        matrices = {f"{_MATRIX}{i}": matrix for i, matrix in enumerate(self.matrices)}
        return matrices | {f"{_OVERLAP}{key}": value for key, value in self.overlaps.items()}

    def about(self) -> dict[str, Any]:
        """Everything else, as JSON values."""
        return {
            "datasets": dict(self.datasets),
            "momenta": {species: list(l) for species, l in self.momenta.items()},
        }

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any], natom: int
    ) -> SphereOccupations:
        """The inverse of `tensors` and `about`, from a mapping that may hold other names too.

        Raises
        ------
        KeyError
            If an atom or an element is missing.
        ValueError
            If a matrix has another shape than its element's states need.
        """
        momenta = {species: tuple(l) for species, l in about["momenta"].items()}
        overlaps = {species: tensors[f"{_OVERLAP}{species}"] for species in momenta}
        matrices = tuple(tensors[f"{_MATRIX}{i}"] for i in range(natom))
        return cls(matrices, dict(about["datasets"]), momenta, overlaps)

    def check(self, symbols: tuple[str, ...], nspin: int) -> None:
        """Raise ValueError unless each atom has a matrix of its element's states and channels."""
        if len(self.matrices) != len(symbols):
            raise ValueError(
                f"there are occupations of {len(self.matrices)} atoms, but the crystal has "
                f"{len(symbols)}"
            )
        counts = {species: sum(2 * l + 1 for l in found) for species, found in self.momenta.items()}
        for i, (symbol, matrix) in enumerate(zip(symbols, self.matrices, strict=True)):
            wanted = (nspin, counts[symbol], counts[symbol])
            if tuple(matrix.shape) != wanted:
                raise ValueError(
                    f"the occupations of atom {i} ({symbol}) have shape {tuple(matrix.shape)}, but "
                    f"{nspin} spin channel(s) and {counts[symbol]} partial waves need {wanted}"
                )


def turn_between(old: Tensor, new: Tensor) -> Tensor | None:
    """Rotation with which a lattice turns into another one; None without a rotation.

    The lattice vectors are strained as well as turned: the orthogonal factor of the polar
    decomposition of the deformation is the turn.

    Parameters
    ----------
    old, new : Tensor
        Lattice vectors in rows, (3, 3), bohr.

    Returns
    -------
    Tensor or None
        R of r -> R r, Cartesian, (3, 3).

    Examples
    --------
    >>> old = torch.eye(3, dtype=torch.float64)
    >>> turn_between(old, 1.1 * old) is None
    True
    >>> turn_between(old, 1.1 * old.roll(1, 1)).round().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    deformation = torch.linalg.solve(old.detach(), new.detach()).T
    left, _, right = torch.linalg.svd(deformation)
    turn = left @ right
    same = torch.eye(3, dtype=turn.dtype, device=turn.device)
    return None if bool((turn - same).abs().max() < _SAME_TURN) else turn
