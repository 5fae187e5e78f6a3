"""The partial-wave occupations of all PAW spheres of a crystal in one flat array.

`Fields.spheres` holds, for each spin, the matrices D_ij = sum f Re <p_i|psi>* <p_j|psi> of all
atoms one after the other, (nspin, n) with n the sum of nstate^2; `Potential.spheres` holds the
derivatives dE/dD_ij in the same places. Only this file knows the places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.numerics.harmonics import solid_harmonics
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.structure.atom_symmetry import atom_permutations, cartesian_rotations
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup

# Directions from which rotations of harmonics are determined, more than the largest 2 l + 1.
_DIRECTIONS = 20


@dataclass(frozen=True, eq=False)
class Site:
    """An atom that stands for all atoms to which symmetry takes it.

    Parameters
    ----------
    species : str
        Its element.
    place : int
        Its position among the atoms of the element.
    count : int
        Number of equivalent atoms.
    operations : ndarray, shape (nop, 3, 3)
        Cartesian rotations and reflections that leave the atom in its place.
    """

    species: str
    place: int
    count: int
    operations: NDArray


class Spheres:
    """Places of each atom's matrix in a flat array, and what is done to all of them.

    Parameters
    ----------
    crystal : Crystal
        Atoms.
    potentials : mapping of str to PAWPotential
        One for every species.
    symmetry : SymmetryGroup
        The symmetry that reduced the k-points.

    Attributes
    ----------
    atoms : dict of str to list of int
        Atoms of each species.
    """

    def __init__(
        self, crystal: Crystal, potentials: Mapping[str, PAWPotential], symmetry: SymmetryGroup
    ) -> None:
        self._crystal, self._symmetry = crystal, symmetry
        self.potentials = potentials
        symbols = crystal.symbols
        self.atoms = {
            species: [i for i, symbol in enumerate(symbols) if symbol == species]
            for species in crystal.species
        }
        counts = [len(potentials[s].dataset.states) for s in symbols]
        device = crystal.lattice.device
        ends = torch.tensor([n * n for n in counts]).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        first = [0, *torch.tensor(counts).cumsum(0).tolist()[:-1]]
        self.size, self.nstate = ends[-1], sum(counts)
        self._flat: dict[str, Tensor] = {}
        self._states: dict[str, Tensor] = {}
        for species, atoms in self.atoms.items():
            n = counts[atoms[0]]
            at = torch.tensor([starts[a] for a in atoms]).view(-1, 1, 1)
            self._flat[species] = (at + torch.arange(n * n).view(n, n)).to(device)
            at = torch.tensor([first[a] for a in atoms]).view(-1, 1)
            self._states[species] = (at + torch.arange(n)).to(device)

    def matrices(self, flat: Tensor) -> dict[str, Tensor]:
        """Matrices of each species' atoms, (..., natom, nstate, nstate), from (..., n)."""
        return {species: flat[..., index] for species, index in self._flat.items()}

    def flat(self, matrices: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `matrices`."""
        leading = next(iter(matrices.values())).shape[:-3]
        columns = [matrices[s].reshape(*leading, -1) for s in self._flat]
        places = torch.cat([index.flatten() for index in self._flat.values()])
        return torch.cat(columns, dim=-1)[..., torch.argsort(places)]

    def by_atom(self, flat: Tensor) -> tuple[Tensor, ...]:
        """Matrix of every atom, (..., nstate, nstate), in the crystal's order, from (..., n)."""
        found: dict[int, Tensor] = {}
        for species, block in self.matrices(flat).items():
            found |= zip(self.atoms[species], block.unbind(-3), strict=True)
        return tuple(found[atom] for atom in sorted(found))

    def of_atoms(self, matrices: Sequence[Tensor]) -> Tensor:
        """The inverse of `by_atom`."""
        return self.flat(
            {s: torch.stack([matrices[a] for a in atoms], -3) for s, atoms in self.atoms.items()}
        )

    def rotated(self, flat: Tensor, rotation: Tensor) -> Tensor:
        """Occupations of a crystal that turns with all its atoms, (..., n).

        Parameters
        ----------
        flat : Tensor
            (..., n).
        rotation : Tensor
            R of r -> R r, Cartesian, (3, 3), orthogonal.
        """
        found = {}
        for species, block in self.matrices(flat).items():
            turn = _rotation(self.potentials[species].angular_momenta, rotation)
            found[species] = turn @ block @ turn.mT
        return self.flat(found)

    def same_for_all(self, values: Mapping[str, Tensor]) -> Tensor:
        """Flat array with one matrix, (nstate, nstate), for all atoms of a species."""
        device = self._crystal.lattice.device
        return self.flat(
            {s: values[s].to(device).expand(len(a), -1, -1) for s, a in self.atoms.items()}
        )

    def block_diagonal(self, flat: Tensor) -> Tensor:
        """Matrix between all projectors of the crystal, (..., nproj, nproj), from (..., n)."""
        full = flat.new_zeros((*flat.shape[:-1], self.nstate, self.nstate))
        for species, block in self.matrices(flat).items():
            rows = self._states[species]
            full[..., rows.unsqueeze(-1), rows.unsqueeze(-2)] = block
        return full

    def by_species(self, projections: Tensor) -> dict[str, Tensor]:
        """Projections on each species' atoms, (..., natom, nstate), from (..., nproj)."""
        return {species: projections[..., index] for species, index in self._states.items()}

    def of_projections(self, projections: Tensor, weighted_occupations: Tensor) -> Tensor:
        """Occupations D_ij = Re sum w P_i* P_j of the states of one spin, (nset, n).

        Parameters
        ----------
        projections : Tensor
            P_i = <p_i|psi>, (nk, nband, nproj).
        weighted_occupations : Tensor
            (nset, nk, nband), of any sign.
        """
        weights = weighted_occupations.flatten(1)
        return torch.stack([self.of_pairs(projections, projections, one) for one in weights])

    def of_pairs(self, left: Tensor, right: Tensor, weights: Tensor | None = None) -> Tensor:
        """Symmetric part of the sum of w Re(P_i* Q_j) over states, (n,).

        Parameters
        ----------
        left, right : Tensor
            Projections P and Q of two sets of states, (nk, nband, nproj).
        weights : Tensor, optional
            (nk * nband,), ones by default.
        """
        found = {}
        for species, index in self._states.items():
            # Real and imaginary parts are rows of their own: (natom, 2 nk nband, nstate).
            p, q = (
                torch.view_as_real(one[..., index]).flatten(0, 1).permute(1, 0, 3, 2).flatten(1, 2)
                for one in (left, right)
            )
            if weights is not None:
                p = p * weights.repeat_interleave(2).unsqueeze(-1)
            product = p.mT @ q
            found[species] = 0.5 * (product + product.mT)
        return self.flat(found)

    @cached_property
    def overlaps(self) -> Tensor:
        """Overlap of all-electron less that of smooth partial waves of all atoms, (n,)."""
        return self.same_for_all({s: self.potentials[s].tables.overlap for s in self.atoms})

    # -- symmetry ---------------------------------------------------------------------------------

    @cached_property
    def sites(self) -> list[Site]:
        """One atom of each set of equivalent ones."""
        crystal, symmetry = self._crystal, self._symmetry
        images = atom_permutations(crystal, symmetry)  # (nop, natom)
        turns = cartesian_rotations(crystal, symmetry).cpu().numpy()
        found = []
        for species, atoms in self.atoms.items():
            for place, atom in enumerate(atoms):
                equivalent = np.unique(images[:, atom])
                if equivalent[0] != atom:
                    continue
                own = np.unique(turns[images[:, atom] == atom].round(9), axis=0)
                found.append(Site(species, place, len(equivalent), own))
        return found

    def symmetrize(self, flat: Tensor) -> Tensor:
        """Average over the crystal's symmetry, D_p(a) <- mean of T(R) D_a T(R)^T, (..., n).

        Matrices become symmetric, too.
        """
        matrices = self.matrices(flat)
        flat = self.flat({species: 0.5 * (own + own.mT) for species, own in matrices.items()})
        for targets, rotations in self._operations:
            found = {}
            for species, block in self.matrices(flat).items():
                turn = rotations[species]  # (nop, nstate, nstate)
                total = torch.zeros_like(block)
                for matrix, target in zip(turn, targets[species], strict=True):
                    total = total.index_add(-3, target, matrix @ block @ matrix.mT)
                found[species] = total / len(turn)
            flat = self.flat(found)
        return flat

    @cached_property
    def _operations(self) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Targets (nop, natom) and rotations of the states, by species, of two parts of the group.

        The average over translations and then over the factor group equals that over the group.
        """
        symmetry, crystal = self._symmetry, self._crystal
        found = []
        for part in (symmetry.subset(symmetry.is_pure_translation), symmetry.one_per_rotation()):
            images = torch.as_tensor(atom_permutations(crystal, part))
            turns = cartesian_rotations(crystal, part)
            targets, rotations = {}, {}
            for species, atoms in self.atoms.items():
                place = {atom: i for i, atom in enumerate(atoms)}
                rows = [[place[int(t)] for t in row] for row in images[:, atoms]]
                targets[species] = torch.tensor(rows, device=turns.device)
                momenta = self.potentials[species].angular_momenta
                rotations[species] = torch.stack([_rotation(momenta, turn) for turn in turns])
            found.append((targets, rotations))
        return found


def _rotation(momenta: tuple[int, ...], rotation: Tensor) -> Tensor:
    """T with Y_i(R v) = sum T_ij Y_j(v) for the states of channels with these l."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(_DIRECTIONS, 3, dtype=torch.float64, generator=generator).to(rotation.device)
    blocks = {}
    for l in set(momenta):
        before, after = solid_harmonics(l, v), solid_harmonics(l, v @ rotation.T)
        blocks[l] = torch.linalg.lstsq(before.T, after.T).solution.T
    return torch.block_diag(*[blocks[l] for l in momenta])
