"""Orbitals of Kohn-Sham matrices, filled with electrons, and their density matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepchem_xc.gaussian.problem import MolecularProblem
from deepchem_xc.occupations.occupy import Occupations, occupy

# Largest difference from density matrices with whole occupations: what files keep of digits.
_WHOLE = 1e-5


@dataclass(frozen=True, eq=False)
class States:
    """Filled orbitals.

    Attributes
    ----------
    orbitals : Tensor
        Coefficients, (nset, nao, norbital), columns orthonormal in the overlap. There is one set,
        or one for each spin.
    eigenvalues : Tensor
        (nset, norbital), Hartree, ascending.
    filling : Tensor
        Electrons in each orbital, for each density matrix, (nspin, norbital).
    occupation : Occupations or None
        Fermi level and entropy of a smearing; None for integer occupations of open shells.
    """

    orbitals: Tensor
    eigenvalues: Tensor
    filling: Tensor
    occupation: Occupations | None

    @property
    def density(self) -> Tensor:
        """Density matrices, (nspin, nao, nao)."""
        return (self.orbitals * self.filling[:, None, :]) @ self.orbitals.mT

    @property
    def entropy_energy(self) -> float:
        """-TS, Hartree."""
        return 0.0 if self.occupation is None else float(self.occupation.entropy_energy)


def diagonalised(problem: MolecularProblem, fock: Tensor) -> States:
    """Orbitals of Kohn-Sham matrices, filled.

    Parameters
    ----------
    problem : MolecularProblem
        Overlap, electrons, smearing.
    fock : Tensor
        (nset, nao, nao), symmetric, Hartree.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem
    >>> problem = make_problem(Atoms("He"), "PBE", basis="sto-3g")
    >>> diagonalised(problem, problem.core[None]).filling
    tensor([[2.]], dtype=torch.float64)
    """
    x = problem.orthogonaliser
    eigenvalues, vectors = torch.linalg.eigh(x @ fock @ x)
    return filled(problem, x @ vectors, eigenvalues)


def of_density(problem: MolecularProblem, density: Tensor) -> States | None:
    """The filled orbitals of a density at whole occupations; None for other densities.

    Parameters
    ----------
    problem : MolecularProblem
        Overlap, electrons, without smearing.
    density : Tensor
        Density matrices, (nspin, nao, nao).

    Returns
    -------
    States or None
        Its eigenvalues have no meaning before `canonical`.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem, starting_density
    >>> problem = make_problem(Atoms("Li"), "PBE", basis="sto-3g", spin=1)
    >>> pair = diagonalised(problem, problem.core.repeat(2, 1, 1)).density
    >>> of_density(problem, pair).filling.sum(1)
    tensor([2., 1.], dtype=torch.float64)
    >>> print(of_density(problem, starting_density(problem)))
    None
    """
    x = problem.orthogonaliser
    root = problem.overlap @ x
    total = density.sum(0, keepdim=True) if problem.kind == "open" else density
    occupations, vectors = torch.linalg.eigh(-(root.T @ total @ root))
    states = filled(problem, x @ vectors, occupations)
    return states if bool((states.density - density).abs().max() < _WHOLE) else None


def filled(problem: MolecularProblem, orbitals: Tensor, eigenvalues: Tensor) -> States:
    """Orbitals with electrons in the lowest levels, or spread by the smearing.

    Parameters
    ----------
    problem : MolecularProblem
        Electrons, smearing.
    orbitals, eigenvalues : Tensor
        As in `States`.
    """
    if problem.kind == "open":
        filling = torch.zeros_like(eigenvalues).repeat(2, 1)
        for spin, count in enumerate(problem.molecule.nelectrons):
            filling[spin, :count] = 1.0
        return States(orbitals, eigenvalues, filling, None)
    occupation = occupied(problem, eigenvalues)
    return States(orbitals, eigenvalues, occupation.occupations[:, 0], occupation)


def canonical(states: States, matrix: Tensor) -> States:
    """The same density matrices, with orbitals that diagonalise a matrix in each space.

    Parameters
    ----------
    states : States
        With integer occupations.
    matrix : Tensor
        Kohn-Sham matrices, (nset, nao, nao); between the spaces of equal filling they vanish.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem
    >>> problem = make_problem(Atoms("He"), "PBE", basis="6-31g")
    >>> canonical(diagonalised(problem, problem.core[None]), problem.core[None]).filling
    tensor([[2., 0.]], dtype=torch.float64)
    """
    orbitals, levels = torch.empty_like(states.orbitals), torch.empty_like(states.eigenvalues)
    filling = states.filling.clone()
    for i, (vectors, one) in enumerate(zip(states.orbitals, matrix, strict=True)):
        spins = slice(i, i + 1) if len(matrix) == len(filling) else slice(None)
        own = filling[spins].clone()
        spaces = own.sum(0)
        found, values = torch.empty_like(vectors), torch.empty_like(levels[i])
        for space in spaces.unique():
            (index,) = torch.nonzero(spaces == space, as_tuple=True)
            values[index], turned = torch.linalg.eigh(vectors[:, index].T @ one @ vectors[:, index])
            found[:, index] = vectors[:, index] @ turned
        order = values.argsort(stable=True)
        orbitals[i], levels[i], filling[spins] = found[:, order], values[order], own[:, order]
    occupation = states.occupation
    if occupation is not None:
        level = [
            float(e[n > 0.0].max()) if bool((n > 0.0).any()) else -math.inf
            for e, n in zip(levels, filling, strict=True)
        ]
        fermi = level[0] if len(level) == 1 else (level[0], level[1])
        occupation = replace(occupation, occupations=filling[:, None], fermi_level=fermi)
    return States(orbitals, levels, filling, occupation)


def occupied(problem: MolecularProblem, eigenvalues: Tensor) -> Occupations:
    """Occupations of levels (nspin, norbital), in their graph; the number of each spin is held."""
    up, down = problem.molecule.nelectrons
    moment = None if problem.kind == "restricted" else float(up - down)
    weights = eigenvalues.new_ones(1)
    return occupy(eigenvalues[:, None], weights, float(up + down), problem.smearing, moment)
