"""Derivatives of the free energy: those at fixed orbitals (Hellmann and Feynman)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.numerics.implicit import attach_implicit, explicit_gradients
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import energy_terms
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import functional_tensors, unchanged
from deepchem_xc.planewave.response.independent import SECOND_DERIVATIVES
from deepchem_xc.planewave.terms.xc import core_density, xc_energy

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Unchanged


def stationary_energy(
    problem: KohnShamProblem,
    orbitals: Tensor,
    occupations: Tensor,
    electrons: Fields,
    value: Tensor,
) -> Tensor:
    """Free energy in the graph of functional and geometry, at the cost of one energy.

    Parameters
    ----------
    problem : KohnShamProblem
        Its geometry may be in a graph.
    orbitals, occupations : Tensor
        Those of the ground state: (nspin, nk, nband, npw), (nspin, nk, nband).
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
            if problem.needs_kinetic_density:
                weighted_occupations = occupations * basis.weights[:, None]
                tau = kinetic_density(basis, orbitals, weighted_occupations)
                fields = replace(fields, tau=tau)
            zero = value.new_zeros(())
            energy = energy_terms(problem, orbitals, occupations, fields, zero)["free"]
        else:
            core = core_density(basis, problem.pseudopotentials)
            energy = xc_energy(basis, problem.functional, fields, core)
    stationary = _Stationary(value, explicit_gradients(energy, inputs), unchanged(problem))
    return attach_implicit(stationary, inputs, SECOND_DERIVATIVES)[0]


class _Stationary:
    """A value whose derivatives are known, an `ImplicitSolution`."""

    def __init__(self, value: Tensor, gradients: list[Tensor | None], unchanged: Unchanged) -> None:
        self._value, self._gradients, self._unchanged = value, gradients, unchanged

    def values(self) -> tuple[Tensor, ...]:
        return (self._value.clone(),)

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> list[Tensor | None]:
        self._unchanged.check()
        return [None if g is None else g * cotangents[0] for g in self._gradients]
