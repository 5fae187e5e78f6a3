"""Small crystals with densities that are not self-consistent, Hartree atomic units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.fixed_density.outcome import NonSelfConsistentResult, at_given_density
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from tests.crystals import FIXED, SHEAR, SMEARED, bcc, cubic, doubles, fcc

# Residual, Hartree, of states whose energies are differentiated.
FINE = 1e-10


@dataclass(frozen=True)
class Case:
    """A crystal and its settings."""

    lattice: Tensor
    symbols: str
    positions: list[list[float]]
    ecut: float
    occupations: dict[str, Any]
    mesh: Any = ((0.0, 0.0, 0.0), (0.5, 0.25, -0.25))
    moments: tuple[float, ...] | None = None
    pseudopotentials: Any = "gth-pbe"
    symmetry: bool = False

    def problem(
        self, functional: Any = "PBE", paths: Callable[[str], Path] | None = None
    ) -> KohnShamProblem:
        """The Kohn-Sham problem."""
        symbols = tuple(self.symbols.split())
        crystal = Crystal(self.lattice, symbols, doubles(self.positions), self.moments)
        mesh = self.mesh if isinstance(self.mesh, dict) else [list(k) for k in self.mesh]
        basis = PlaneWaveBasis(crystal, self.ecut, mesh, symmetry=self.symmetry)
        pseudos = self.pseudopotentials
        if paths is not None:
            pseudos = {symbol: paths(f"pseudos/{symbol}.psp8") for symbol in crystal.species}
        return make_problem(basis, functional, pseudos, self.occupations)


LOW = [[0.01, 0.02, 0.03], [0.25, 0.25, 0.25]]
CASES: dict[str, Case] = {
    "low symmetry": Case(fcc(10.26) @ SHEAR, "Si Si", LOW, 5.0, FIXED),
    "smeared metal": Case(
        bcc(7.0) @ SHEAR,
        "Al Mg",
        [[0.0, 0.02, 0.01], [0.47, 0.52, 0.51]],
        5.0,
        {"name": "methfessel-paxton", "width": 0.02},
        pseudopotentials={"Al": "GTH-PBE-q3", "Mg": "GTH-PBE-q2"},
    ),
    "magnet": Case(
        cubic(5.6) @ SHEAR,
        "Fe Co",
        [[0.01, 0.0, -0.02], [0.51, 0.48, 0.5]],
        7.0,
        SMEARED,
        mesh=((0.25, 0.25, 0.25),),
        moments=(2.5, 1.5),
    ),
    # Superposed atoms of iron are negative in places at a low cutoff; those of aluminium are not.
    "soft magnet": Case(
        bcc(7.0) @ SHEAR,
        "Al Mg",
        [[0.0, 0.02, 0.01], [0.47, 0.52, 0.51]],
        5.0,
        SMEARED,
        moments=(0.8, 0.0),
        pseudopotentials={"Al": "GTH-PBE-q3", "Mg": "GTH-PBE-q2"},
    ),
    "reduced k-points": Case(
        fcc(10.26),
        "Si Si",
        [[0.0] * 3, [0.25] * 3],
        5.0,
        FIXED,
        mesh={"size": (2, 2, 2), "gamma": True},
        symmetry=True,
    ),
    "reduced metal": Case(
        fcc(7.65), "Al", [[0.0] * 3], 6.0, SMEARED, {"size": (3, 3, 3)}, symmetry=True
    ),
}


def rough_density(problem: KohnShamProblem) -> FixedDensity:
    """Density of the states of superposed atoms: positive, symmetric, not self-consistent."""
    states = at_given_density(problem, FixedDensity(problem.starting_fields()), tolerance=1e-4)
    return FixedDensity(states.converged.fields)


class BondModel(torch.nn.Module):
    """Superposed atoms, and charge that moves from where atoms are close to a wider shell.

    Its density depends on positions and lattice beyond a superposition of atoms.
    """

    def __init__(self) -> None:
        super().__init__()
        self.amount = torch.nn.Parameter(torch.tensor(0.35, dtype=torch.float64))
        self.reach = torch.nn.Parameter(torch.tensor(0.09, dtype=torch.float64))

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Density of a problem."""
        basis, crystal = problem.basis, problem.basis.crystal
        images = torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=torch.float64)] * 3)
        between = crystal.positions[:, None, None] - crystal.positions[None, :, None] + images
        squares = (between @ crystal.lattice).square().sum(-1)
        near = torch.exp(-self.reach * squares) * (squares.detach() > 1e-6)
        moved = self.amount * near.sum((1, 2))
        q2 = basis.density_q2
        shape = torch.exp(-0.4 * q2) - torch.exp(-0.8 * q2)
        phase = -2.0 * torch.pi * crystal.positions @ basis.g_vectors.T.to(torch.float64)
        waves = torch.polar(torch.ones_like(phase), phase)
        total = (moved.to(waves.dtype) @ waves) * shape / basis.volume
        share = doubles([1.0] if problem.nspin == 1 else [0.6, 0.4])
        return Fields(problem.atomic_density() + share[:, None] * total)


class OverPolarised(BondModel):
    """The same total density, with a spin-down density of minus a twentieth of it everywhere.

    Models of magnets and superposed atoms have such a channel in places. Where it crosses zero no
    functional is smooth, and differences tell nothing: here it is negative at all points.
    """

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Density of a problem."""
        total = super().density_for(problem).density.sum(0)
        return Fields(torch.stack([1.05 * total, -0.05 * total]))


def solved(
    problem: KohnShamProblem,
    given: FixedDensity,
    start: NonSelfConsistentResult | None = None,
    **keywords: Any,
) -> NonSelfConsistentResult:
    """States of a given density, converged for differences."""
    orbitals = None if start is None else start.orbitals
    keywords = {"tolerance": FINE, **keywords}
    return at_given_density(problem, given, orbitals=orbitals, **keywords)


def moved(problem: KohnShamProblem, displacement: Tensor, strain: Tensor) -> KohnShamProblem:
    """The problem with displaced atoms (bohr), strained at its plane waves."""
    lattice = problem.basis.crystal.lattice
    positions = problem.basis.crystal.positions + displacement @ torch.linalg.inv(lattice)
    lattice = lattice @ (torch.eye(3, dtype=torch.float64) + strain)
    return replace(problem, basis=problem.basis.with_geometry(lattice, positions))
