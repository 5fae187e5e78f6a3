"""Hamiltonians whose couplings mix angular momenta, with and without an overlap, for tests.

The couplings are random, the same at every call, and have no symmetry, except that of the inversion
where the crystal has a centre.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.basis.inversion_gauge import inversion_centre
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from tests.crystals import FIXED, SMEARED, doubles, fcc, gallium_nitride

SHIFT = 0.07
# Atoms of the cell and, for each, which one the inversion makes of it.
DIAMOND = ("Si", "Si"), [[0.0] * 3, [0.25] * 3], (1, 0)
FLUORITE = ("Al", "Si", "Si"), [[0.0] * 3, [0.25] * 3, [0.75] * 3], (0, 2, 1)
ROCK_SALT = ("Al", "Al"), [[0.0] * 3, [0.5] * 3], (0, 1)
CENTRED = {"diamond": DIAMOND, "fluorite": FLUORITE, "rock salt": ROCK_SALT}
CRYSTALS = ("GaN", *CENTRED)


def problem_of(name: str) -> KohnShamProblem:
    """GaN has no symmetry, two spins and three k-points; the others have centres of inversion."""
    if name == "GaN":
        points = [[0.0, 0.0, 0.0], [0.31, -0.17, 0.42], [0.5, 0.5, 0.5]]
        basis = PlaneWaveBasis(gallium_nitride(), 4.0, points, symmetry=False)
        return make_problem(basis, "PBE", "gth-pbe", SMEARED)
    symbols, positions, _ = CENTRED[name]
    crystal = Crystal(fcc(10.26), symbols, doubles(positions) + SHIFT)
    basis = PlaneWaveBasis(crystal, 5.0, {"size": (2, 2, 2), "gamma": True})
    assert inversion_centre(basis) is not None
    return make_problem(basis, "PBE", "gth-pbe", FIXED if name == "diamond" else SMEARED)


def momenta(problem: KohnShamProblem, atom: int) -> Tensor:
    """Angular momentum of every projector of an atom, (n,)."""
    pseudo = problem.pseudopotentials[problem.basis.crystal.symbols[atom]]
    each = [[c.l] * ((2 * c.l + 1) * len(c.coupling)) for c in pseudo.channels]
    return torch.tensor([l for channel in each for l in channel])


def _vectors(problem: KohnShamProblem, name: str, seed: int) -> list[Tensor]:
    """A random vector of every atom's projectors, with the symmetry of the inversion."""
    generator = torch.Generator().manual_seed(seed)
    natom = len(problem.basis.crystal.symbols)
    images = CENTRED[name][2] if name in CENTRED else (None,) * natom
    found: list[Tensor] = []
    for atom, image in enumerate(images):
        l = momenta(problem, atom)
        parity = 1.0 - 2.0 * (l % 2).double()
        vector = torch.randn(len(l), dtype=torch.float64, generator=generator)
        if image == atom:
            vector = vector * (parity == 1.0 - 2.0 * (seed % 2))  # a coupling has one parity
        elif image is not None and image < atom:
            vector = parity * found[image]
        found.append(vector)
    return found


def _dyads(vectors: list[Tensor]) -> Tensor:
    return torch.block_diag(*[torch.outer(v, v) for v in vectors])


def mixing_coupling(problem: KohnShamProblem, name: str) -> Tensor:
    """Another coupling for each spin that mixes angular momenta, (nspin, nproj, nproj), Ha."""
    random = [
        0.3 * (_dyads(_vectors(problem, name, seed)) - _dyads(_vectors(problem, name, seed + 51)))
        for seed in range(problem.nspin)
    ]
    return problem.fixed_coupling + torch.stack(random)


def overlap_matrix(problem: KohnShamProblem, name: str, largest: float) -> Tensor:
    """An overlap matrix (nproj, nproj) with which S is between about 0.25 and `largest`."""
    up, down = (_vectors(problem, name, seed) for seed in (101, 102))
    waves = problem.projectors
    metric = (waves @ waves.mH).real.mean(0)
    # Orthogonal to each other as functions, or the small eigenvalues would be lost.
    first = 0
    for atom, vector in enumerate(up):
        block = metric[first : first + len(vector), first : first + len(vector)]
        down[atom] = down[atom] - (down[atom] @ block @ vector) / (vector @ block @ vector) * vector
        first += len(vector)
    strengths = []
    for vectors in (up, down):
        shapes = torch.block_diag(*[v[None] for v in vectors]).to(torch.complex128) @ waves
        strengths.append(float(torch.linalg.eigvalsh(shapes @ shapes.mH).max()))
    return (largest - 1.0) / strengths[0] * _dyads(up) - 0.75 / strengths[1] * _dyads(down)


def hamiltonian_of(
    problem: KohnShamProblem, coupling: Tensor, overlap: Tensor | None = None
) -> Hamiltonian:
    """Superposed atoms' potential with any coupling and overlap matrix."""
    potential, _ = problem.effective_potential(problem.starting_fields())
    return Hamiltonian(
        problem.basis,
        potential,
        problem.projectors,
        coupling,
        problem.pieces,
        problem.gauge,
        overlap,
    )


def dense(hamiltonian: Hamiltonian, spin: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """H and S in all plane waves of a k-point."""
    matrix, chosen = hamiltonian.dense(spin, k, hamiltonian.basis.npw_per_k[k])
    return matrix.numpy(), hamiltonian.dense_overlap(k, chosen).numpy()
