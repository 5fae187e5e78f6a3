"""Self-consistency among the present orbitals: what partly filled levels do to each other.

A partly filled, localised level, such as the d shell of an isolated atom, answers with whole
electrons to a change of the potential by the smearing's width. No linear model of the response
holds there, and a loop that mixes densities wanders. Instead the free energy of the present
orbitals is minimised (`subspace`) before the potential is renewed.
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
        Theirs.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    levels : Tensor
        What they are filled by, (nspin, nk, nband), Hartree.
    free_energy : float
        Without `KohnShamProblem.constant_energy`, Hartree.
    gain : float
        By how much it fell, Hartree.

    Examples
    --------
    Between the orbitals themselves the filling is diagonal:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Al"), ecut=100.0, convergence={"density": 1e-4})
    >>> filling = Relaxed(r.fields, r.orbitals, r.eigenvalues, 0.0, 0.0).filling_of(r.orbitals)
    >>> bool(torch.allclose(filling.real, torch.diag_embed(r.eigenvalues)))
    True
    """

    fields: Fields
    orbitals: Tensor
    levels: Tensor
    free_energy: float
    gain: float

    def filling_of(self, orbitals: Tensor) -> Tensor:
        """Matrix that fills other orbitals as these are filled, (nspin, nk, nband, nband), Hartree.

        Directions that these orbitals do not have are as empty as the highest of them.
        """
        top = self.levels.amax(-1, keepdim=True)
        overlap = orbitals @ self.orbitals.mH
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
    """Rotate and fill given orbitals so that their free energy is least.

    Parameters
    ----------
    problem : KohnShamProblem
        Energy terms, electrons, smearing.
    potential : Potential
        The potential that the orbitals are states of, as `KohnShamProblem.effective_potential`
        returns it.
    eigenvalues : Tensor
        Their eigenvalues there, (nspin, nk, nband), Hartree.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    moment : float, optional
        Magnetic moment to hold, mu_B; the problem's by default.
    before : Relaxed, optional
        A start is made from its filling, too.
    reduction : float, optional
        Fraction of its first value that the gradient is reduced to.
    evaluations : int, optional
        Densities that are tried before the scales of the variables are looked at again.
    rounds : int, optional
        How often that is done.

    Returns
    -------
    Relaxed
        Fields, orbitals and their levels.

    Examples
    --------
    Electrons of a converged calculation stay where they are:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2), convergence={"density": 1e-7})
    >>> fields = relax_in_subspace(r.problem, r.potential, r.eigenvalues, r.orbitals).fields
    >>> bool(torch.allclose(fields.density, r.density_g, atol=1e-7))
    True
    """
    hamiltonian = torch.diag_embed(eigenvalues).to(orbitals.dtype)
    filling = hamiltonian if before is None else before.filling_of(orbitals)
    best = SubspaceFreeEnergy(problem, potential, hamiltonian, orbitals, filling, moment)
    first, goal = best.lowest, 0.0
    for _ in range(rounds):
        best = best.damped()
        goal = goal or reduction * best.slope
        best = best.minimised(goal, evaluations)
        if best.slope <= goal:
            break
    return Relaxed(best.fields, best.orbitals, best.levels, best.lowest, first - best.lowest)
