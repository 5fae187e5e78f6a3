"""Orbitals of Kohn-Sham matrices, filled with electrons, and their density matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_xc.gaussian.problem import MolecularProblem
from deepchem_xc.occupations.occupy import Occupations, occupy


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


def occupied(problem: MolecularProblem, eigenvalues: Tensor) -> Occupations:
    """Occupations of levels (nspin, norbital), in their graph; the number of each spin is held."""
    up, down = problem.molecule.nelectrons
    moment = None if problem.kind == "restricted" else float(up - down)
    weights = eigenvalues.new_ones(1)
    return occupy(eigenvalues[:, None], weights, float(up + down), problem.smearing, moment)
