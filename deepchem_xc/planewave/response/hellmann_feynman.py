"""Derivatives of the free energy: those at fixed orbitals (Hellmann and Feynman)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deepchem_xc.numerics.implicit import KnownGradients, attach_implicit, explicit_gradients
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import terms_of_orbitals
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import functional_tensors, unchanged
from deepchem_xc.planewave.response.independent import SECOND_DERIVATIVES
from deepchem_xc.planewave.terms.base import DensityTerm, IonTerm


def stationary_energy(
    problem: KohnShamProblem,
    orbitals: Tensor,
    occupations: Tensor,
    eigenvalues: Tensor,
    potential: Potential,
    electrons: Fields,
    value: Tensor,
) -> Tensor:
    """Free energy in the graph of functional and geometry, at the cost of one energy.

    Parameters
    ----------
    problem : KohnShamProblem
        Its geometry may be in a graph.
    orbitals, occupations, eigenvalues : Tensor
        Those of the ground state: (nspin, nk, nband, npw), (nspin, nk, nband) in electrons and
        Hartree.
    potential : Potential
        That of the ground state.
    electrons : Fields
        Those of the ground state, as `Fields.to_electrons` returns them.
    value : Tensor
        The free energy, 0-d, Hartree.

    Returns
    -------
    Tensor
        `value`, with first derivatives. Second derivatives raise `NotImplementedError`, and all
        derivatives raise `RuntimeError` after the functional has changed.
    """
    crystal = problem.basis.crystal
    inputs = [crystal.lattice, crystal.positions, *functional_tensors(problem)]
    with torch.enable_grad():
        basis = problem.basis
        fields = electrons.to_densities(basis.volume)
        if crystal.lattice.requires_grad or crystal.positions.requires_grad:
            weighted_occupations = occupations * basis.weights[:, None]
            if problem.needs_kinetic_density:
                tau = kinetic_density(basis, orbitals, weighted_occupations)
                fields = replace(fields, tau=tau)
            parts = [t.energy(basis, fields) for t in problem.terms if isinstance(t, DensityTerm)]
            parts += [t.energy(basis) for t in problem.terms if isinstance(t, IonTerm)]
            for term in terms_of_orbitals(problem, potential, eigenvalues):
                for ks in term.chunks(basis):
                    parts.append(term.energy(basis, orbitals, weighted_occupations, ks))
            energy = torch.stack(parts).sum()
        else:
            terms = [t for t in problem.terms if isinstance(t, DensityTerm) and t.name == "xc"]
            energy = torch.stack([term.energy(basis, fields) for term in terms]).sum()
    check = unchanged(problem).check
    stationary = KnownGradients(value, explicit_gradients(energy, inputs), check)
    return attach_implicit(stationary, inputs, SECOND_DERIVATIVES)[0]
