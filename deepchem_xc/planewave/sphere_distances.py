"""Whether the spheres of PAW datasets overlap more than they may."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from ase.units import Bohr

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.structure.crystal import Crystal

# Smallest distance of two atoms, in units of the sum of their spheres' radii, that is computed
# without a warning. Molecules that the datasets are used for have 0.78 (H2) and 0.86 (N2).
_CLOSEST = 0.75


class OverlappingSpheresWarning(UserWarning):
    """Two PAW spheres overlap so much that corrections in both are counted where one is meant."""


def check_spheres(crystal: Crystal, potentials: Mapping[str, PAWPotential]) -> None:
    """Warn of spheres that overlap too much, with the atoms and their distance.

    Parameters
    ----------
    crystal : Crystal
        Atoms.
    potentials : mapping of str to PAWPotential
        One for every species.

    Warns
    -----
    OverlappingSpheresWarning
        Of the pair that overlaps most.
    """
    from ase.neighborlist import neighbor_list

    atoms = crystal.to_ase()
    radii = np.array([potentials[s].dataset.sphere_radius * Bohr for s in crystal.symbols])
    first, second, distances = neighbor_list("ijd", atoms, radii * _CLOSEST)
    if len(distances) == 0:
        return
    worst = int(np.argmin(distances / (radii[first] + radii[second])))
    i, j = int(first[worst]), int(second[worst])
    warnings.warn(
        f"the PAW spheres of atoms {crystal.symbols[i]}{i} and {crystal.symbols[j]}{j} overlap: "
        f"they are {distances[worst]:.3f} Angstrom apart, and their radii are {radii[i]:.3f} and "
        f"{radii[j]:.3f}. Energies are uncertain below {_CLOSEST} of the sum of the radii: check "
        "the structure, or choose datasets with smaller spheres.",
        OverlappingSpheresWarning,
        stacklevel=users_stacklevel(),
    )
