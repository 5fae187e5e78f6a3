r"""Magnetic moments of atoms inside their PAW spheres.

The magnetisation is integrated where the partial waves describe it. It leaves out what is between
the spheres and counts twice where spheres overlap, so that moments of atoms do not add up to the
moment of the cell: in nickel, whose magnetisation between the atoms is negative, they are larger.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.paw import PAWDataset
from deepchem_xc.planewave.spheres import Spheres


def electrons_inside(dataset: PAWDataset) -> Tensor:
    r"""Electrons inside a sphere for each pair of partial waves, (nstate, nstate).

    .. math:: N_{ij} = \delta_{l_i l_j} \delta_{m_i m_j}
        \int_0^{\min(r_i, r_j)} \phi_i(r)\, \phi_j(r)\, r^2\, dr

    with all-electron partial waves and their cutoff radii r_i. That each pair ends at the smaller
    of its two radii is the definition of GPAW, which takes it from the dataset: its tables for Ni,
    Fe, O and Si equal these integrals to the last digit.

    Parameters
    ----------
    dataset : PAWDataset
        Of the atom.
    """
    grid, waves = dataset.grid, dataset.waves
    radial = np.array(
        [
            [
                grid.integrate(
                    np.where(
                        grid.r < min(one.cutoff, other.cutoff),
                        one.all_electron * other.all_electron,
                        0.0,
                    )
                )
                for other in waves
            ]
            for one in waves
        ]
    )
    channel = np.array([j for j, _ in dataset.states])
    harmonic = np.array([waves[j].l ** 2 + m for j, m in dataset.states])
    same = harmonic[:, None] == harmonic[None]
    return torch.from_numpy(np.where(same, radial[np.ix_(channel, channel)], 0.0))


def sphere_moments(spheres: Spheres, occupations: Tensor) -> Tensor:
    """Magnetic moments of the atoms, up less down inside of their spheres.

    Parameters
    ----------
    spheres : Spheres
        Datasets, and the places of their matrices.
    occupations : Tensor
        `Fields.spheres`, (nspin, n).

    Returns
    -------
    Tensor
        (natom,), mu_B, zero without spin polarisation; in the graph of the occupations. See
        `electrons_inside`.
    """
    # Zero without spin, but still in the graph.
    moment = occupations[0] - occupations[-1]
    found = moment.new_zeros(sum(map(len, spheres.atoms.values())))
    for species, matrices in spheres.matrices(moment).items():
        inside = electrons_inside(spheres.potentials[species].dataset).to(moment)
        atoms = torch.tensor(spheres.atoms[species], device=moment.device)
        found = found.index_copy(0, atoms, (matrices * inside).sum((-1, -2)))
    return found
