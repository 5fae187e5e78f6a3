"""The sum of atomic densities in a crystal, with initial moments in the atoms' open shells."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.pseudo import AtomicPotential
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.terms.local import superpose_atoms


def limited_moments(crystal: Crystal, pseudos: Mapping[str, AtomicPotential]) -> list[float]:
    """Initial moments, limited to the electrons that can be unpaired in an open shell [mu_B].

    Parameters
    ----------
    crystal : Crystal
        Atoms and their initial moments.
    pseudos : mapping of str to AtomicPotential
        One for every species.

    Returns
    -------
    list of float
        One for each atom; empty if the crystal has no moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> atom = Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[3])
    >>> limited_moments(Crystal.from_ase(atom), load_pseudopotentials("gth-pbe", ["H"]))
    [1.0]
    """
    moments = []
    for symbol, m in zip(crystal.symbols, crystal.magnetic_moments or (), strict=False):
        limit = pseudos[symbol].atom.unpaired
        moments.append(float(max(-limit, min(limit, m))))
    return moments


def superposition(
    basis: PlaneWaveBasis, pseudos: Mapping[str, AtomicPotential], nspin: int
) -> Tensor:
    """Superposed atoms with the crystal's initial moments, (nspin, nG), bohr^-3.

    Not symmetrised: the structure has its symmetry only to a tolerance.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, positions and volume.
    pseudos : mapping of str to AtomicPotential
        One for every species.
    nspin : int
        1, or 2 for up and down.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> density = superposition(basis, load_pseudopotentials("gth-pbe", ["Si"]), 1)
    >>> round(float(density[0, 0].real * basis.volume), 9)  # electrons
    8.0
    """

    def form_factor(pseudo: AtomicPotential, q2: Tensor) -> Tensor:
        return pseudo.atomic_density(q2)

    total = superpose_atoms(basis, pseudos, form_factor)
    if nspin == 1:
        return total.unsqueeze(0)

    def open_shell(pseudo: AtomicPotential, q2: Tensor) -> Tensor:
        return pseudo.atom.open_shell(q2)[0]

    moments = limited_moments(basis.crystal, pseudos)
    if not any(moments):
        return 0.5 * torch.stack([total, total])
    scale = torch.tensor(moments, dtype=torch.float64, device=basis.device)
    moment = superpose_atoms(basis, pseudos, open_shell, scale)
    return 0.5 * torch.stack([total + moment, total - moment])


def superposed_occupations(crystal: Crystal, spheres: Spheres, nspin: int) -> Tensor:
    """Partial-wave occupations of superposed atoms with the initial moments, (nspin, n).

    Parameters
    ----------
    crystal : Crystal
        Atoms and their initial moments.
    spheres : Spheres
        Datasets, and the places of their matrices.
    nspin : int
        1, or 2 for up and down.
    """
    total = spheres.same_for_all({s: p.atom.occupations() for s, p in spheres.potentials.items()})
    if nspin == 1:
        return total.unsqueeze(0)
    one = spheres.same_for_all(
        {s: p.atom.open_shell_occupations for s, p in spheres.potentials.items()}
    )
    moments = limited_moments(crystal, spheres.potentials) or [0.0] * crystal.natom
    matrices = {
        species: block
        * torch.tensor([moments[a] for a in spheres.atoms[species]]).view(-1, 1, 1).to(block)
        for species, block in spheres.matrices(one).items()
    }
    moment = spheres.flat(matrices)
    return 0.5 * torch.stack([total + moment, total - moment])


def core_density(basis: PlaneWaveBasis, pseudos: Mapping[str, AtomicPotential]) -> Tensor:
    """Core density of all atoms, with PAW the smooth one, (nG,), bohr^-3; zero without cores."""

    def form_factor(pseudo: AtomicPotential, q2: Tensor) -> Tensor:
        return pseudo.core_density(q2) if pseudo.has_core_density else torch.zeros_like(q2)

    return superpose_atoms(basis, pseudos, form_factor)
