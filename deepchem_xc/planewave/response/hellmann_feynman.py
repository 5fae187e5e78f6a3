"""Derivatives of the free energy are those at fixed orbitals (Hellmann and Feynman)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.numerics.implicit import attach_implicit, explicit_gradients
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import energy_terms
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import (
    SECOND_DERIVATIVES,
    functional_tensors,
    unchanged,
)
from deepchem_xc.planewave.terms.xc import xc_energy

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Unchanged


def stationary_energy(
    problem: KohnShamProblem,
    orbitals: Tensor,
    numbers: Tensor,
    electrons: Tensor,
    value: Tensor,
) -> Tensor:
    """Free energy in the graph of functional and geometry, at no more cost than an energy's.

    Parameters
    ----------
    problem : KohnShamProblem
        Its geometry may be in a graph.
    orbitals, numbers, electrons : Tensor
        Of the ground state: (nspin, nk, nband, npw), (nspin, nk, nband), and the density times the
        volume (nspin, nG).
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
        if crystal.lattice.requires_grad or crystal.positions.requires_grad:
            density = electrons / problem.basis.volume
            if problem.needs_kinetic_density:
                weighted = numbers * problem.basis.weights[:, None]
                tau = kinetic_density(problem.basis, orbitals, weighted)
                density = torch.stack([density[0], tau])
            zero = value.new_zeros(())
            energy = energy_terms(problem, orbitals, numbers, density, zero)["free"]
        else:
            basis = problem.basis
            energy = xc_energy(basis, problem.functional, electrons / basis.volume, problem.core)
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
