"""Derivatives of the free energy are those at fixed orbitals (Hellmann and Feynman)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import energy_terms
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import functional_tensors, once, unchanged
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
    """Free energy in the graph of functional and geometry, at no more cost than an energy's.

    Parameters
    ----------
    problem : KohnShamProblem
        Its geometry may be in a graph.
    orbitals, occupations : Tensor
        Of the ground state: (nspin, nk, nband, npw), (nspin, nk, nband).
    electrons : Fields
        Of the ground state, as `Fields.to_electrons` returns them.
    value : Tensor
        The free energy, 0-d, Hartree.

    Returns
    -------
    Tensor
        `value`, with first derivatives; second ones raise `NotImplementedError`, and all raise
        `RuntimeError` once the functional is another one.
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
    wanted = [x for x in inputs if x.requires_grad]
    gradients = torch.autograd.grad(energy, wanted, allow_unused=True)
    return _Stationary.apply(value, list(gradients), unchanged(problem), *wanted)


class _Stationary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        value: Tensor,
        gradients: list[Tensor | None],
        unchanged: Unchanged,
        *inputs: Tensor,
    ) -> Tensor:
        ctx.gradients, ctx.unchanged, ctx.sources = gradients, unchanged, inputs
        return value.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Any, ...]:
        ctx.unchanged.check()
        scaled = [None if g is None else g * cotangent.detach() for g in ctx.gradients]
        return (None, None, None, *once(scaled, (cotangent, *ctx.sources)))
