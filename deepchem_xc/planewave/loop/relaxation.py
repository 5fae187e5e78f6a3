"""Self-consistency among the current orbitals, for partly filled localised levels.

A partly filled localised level, such as the d shell of an isolated atom, gains or loses whole
electrons when the potential changes by the smearing's width. No linear model describes that
response, and a loop that mixes densities wanders. Instead, the free energy of the current orbitals
is minimised (`subspace`) before the potential is updated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.loop.policies import LocalisedLevels
from deepchem_xc.planewave.loop.subspace import SubspaceFreeEnergy
from deepchem_xc.planewave.problem import KohnShamProblem


@dataclass(frozen=True)
class Relaxed:
    """Orbitals that are self-consistent among each other.

    Parameters
    ----------
    fields : Fields
        Fields of the filled orbitals.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    levels : Tensor
        Levels that determine the occupations, (nspin, nk, nband), Hartree.
    free_energy : float
        Free energy without `KohnShamProblem.constant_energy`, Hartree.
    gain : float
        Decrease of the free energy, Hartree.

    Examples
    --------
    The filling is diagonal in the orbitals themselves:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Al"), ecut=100.0, convergence={"density": 1e-4})
    >>> filling = Relaxed(r.fields, r.orbitals, r.eigenvalues, 0.0, 0.0).filling_of(
    ...     r.problem, r.orbitals)
    >>> bool(torch.allclose(filling.real, torch.diag_embed(r.eigenvalues)))
    True
    """

    fields: Fields
    orbitals: Tensor
    levels: Tensor
    free_energy: float
    gain: float

    def filling_of(self, problem: KohnShamProblem, orbitals: Tensor) -> Tensor:
        """Filling of other orbitals that matches this one, (nspin, nk, nband, nband), Hartree.

        Both are orthonormal in the problem's overlap.
        Directions outside the span of these orbitals are as empty as the highest of them.
        """
        top = self.levels.amax(-1, keepdim=True)
        overlap = problem.overlaps(orbitals, self.orbitals)
        below = (overlap * (self.levels - top).unsqueeze(-2)) @ overlap.mH
        return below + torch.diag_embed(top.expand(orbitals.shape[:3])).to(overlap.dtype)


def relax_in_subspace(
    problem: KohnShamProblem,
    potential: Potential,
    eigenvalues: Tensor,
    orbitals: Tensor,
    moment: float | None = None,
    before: Relaxed | None = None,
    reduction: float = LocalisedLevels.slope,
    evaluations: int = LocalisedLevels.evaluations,
    rounds: int = LocalisedLevels.rounds,
) -> Relaxed:
    """Rotate and fill given orbitals to minimise their free energy.

    Parameters
    ----------
    problem : KohnShamProblem
        Energy terms, electrons, smearing.
    potential : Potential
        Potential whose states the orbitals are, as `KohnShamProblem.effective_potential` returns
        it.
    eigenvalues : Tensor
        Eigenvalues of the orbitals in this potential, (nspin, nk, nband), Hartree.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    moment : float, optional
        Magnetic moment to hold, mu_B; the problem's by default.
    before : Relaxed, optional
        Relaxed orbitals of the last step, whose filling is the start.
    reduction : float, optional
        Fraction of its initial value to which the gradient is reduced.
    evaluations : int, optional
        Densities to try before the variables are rescaled.
    rounds : int, optional
        Largest number of such rounds.

    Returns
    -------
    Relaxed
        Fields, orbitals and their levels.

    Examples
    --------
    The density of a converged calculation does not change:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2), convergence={"density": 1e-7})
    >>> fields = relax_in_subspace(r.problem, r.potential, r.eigenvalues, r.orbitals).fields
    >>> bool(torch.allclose(fields.density, r.density_g, atol=1e-7))
    True
    """
    hamiltonian = torch.diag_embed(eigenvalues).to(orbitals.dtype)
    filling = hamiltonian if before is None else before.filling_of(problem, orbitals)
    best = SubspaceFreeEnergy(problem, potential, hamiltonian, orbitals, filling, moment)
    first, goal = best.lowest, 0.0
    for _ in range(rounds):
        best = best.damped()
        goal = goal or reduction * best.slope
        best = best.minimised(goal, evaluations)
        if best.slope <= goal:
            break
    return Relaxed(best.fields, best.orbitals, best.levels, best.lowest, first - best.lowest)
