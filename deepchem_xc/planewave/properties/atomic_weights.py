r"""Weights of states on atoms and angular momenta, from the projectors of PAW datasets.

.. math:: w_{al}(n) = \sum_{i \in a, l,\ bound} |\langle \tilde p_i | \tilde\psi_n \rangle|^2

sums over the bound partial waves of an atom: the squared coefficients of the state in the orbitals
of the free atom. The weights of a state do not add up to one: there is space between the spheres,
and atomic orbitals of neighbours overlap. Where the only bound wave of an l belongs to a deep
shell, such as 3p of nickel, weights of empty states far above it can exceed one and mean little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.paw import PAWDataset
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.structure.atom_symmetry import atom_permutations
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup


def bound_momenta(dataset: PAWDataset) -> list[int]:
    """Angular momenta of the bound partial waves of a dataset, ascending."""
    return sorted({wave.l for wave in dataset.waves if wave.n is not None})


def atomic_weights(spheres: Spheres, projectors: Tensor, orbitals: Tensor) -> Tensor:
    """Weights of states on the atoms, by angular momentum.

    Parameters
    ----------
    spheres : Spheres
        Datasets, and the places of their projectors.
    projectors : Tensor
        (nk, nproj, npw).
    orbitals : Tensor
        (nspin, nk, nband, npw).

    Returns
    -------
    Tensor
        (nspin, nk, nband, natom, nl), zero for l without bound waves.
    """
    squares = (orbitals @ projectors.conj().mT).abs().square()
    datasets = {species: spheres.potentials[species].dataset for species in spheres.atoms}
    nl = 1 + max(max(bound_momenta(dataset)) for dataset in datasets.values())
    natom = sum(map(len, spheres.atoms.values()))
    weights = squares.new_zeros((*squares.shape[:-1], natom, nl))
    for species, own in spheres.by_species(squares).items():
        waves = datasets[species].waves
        for i, (channel, _) in enumerate(datasets[species].states):
            if waves[channel].n is not None:
                weights[..., spheres.atoms[species], waves[channel].l] += own[..., i]
    return weights


def symmetric_weights(weights: Tensor, crystal: Crystal, symmetry: SymmetryGroup) -> Tensor:
    """Mean of `atomic_weights`, (..., natom, nl), over all k-points that each one stands for.

    An operation maps a state onto one at an equivalent k-point, with the same weights at the images
    of the atoms.
    """
    images = torch.as_tensor(atom_permutations(crystal, symmetry), device=weights.device)
    total = torch.zeros_like(weights)
    for image in images:
        total = total.index_add(-2, image, weights)
    return total / len(images)
