"""Rotations of orbitals: the preconditioner is the diagonal of the Hessian."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.gaussian.rotations import Projection, Rotations, pair_product

LEVELS = torch.tensor([[-2.0, -0.7, -0.1, 0.4], [-1.8, -0.5, 0.2, 0.6]], dtype=torch.float64)
# One set for both spins, one for each, and one with open shells: orbitals' number, filling.
KINDS = {
    "restricted": (1, [[2.0, 2.0, 0.0, 0.0]]),
    "unrestricted": (2, [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
    "open": (1, [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_curvature_of_a_pair_is_that_of_the_hessian_without_interaction(kind):
    nset, numbers = KINDS[kind]
    filling = torch.tensor(numbers, dtype=torch.float64)
    orbitals = torch.eye(4, dtype=torch.float64).repeat(nset, 1, 1)
    fock = torch.diag_embed(LEVELS[: len(filling)])
    rotations = Rotations(orbitals, filling, fock, torch.zeros_like)
    pairs = torch.triu(rotations.mixing, 1).nonzero().tolist()
    assert len(pairs) >= 4
    for s, p, q in pairs:
        unit = torch.zeros_like(rotations.gradient)
        unit[s, p, q], unit[s, q, p] = 1.0, -1.0
        exact = float(rotations.product(unit)[s, p, q])
        assert float(rotations.curvature[s, p, q]) == pytest.approx(max(abs(exact), 0.1))


def test_a_projection_leaves_out_its_directions_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((5, 1, 4, 4), generator=generator, dtype=torch.float64)
    *directions, vector = noise - noise.mT
    none = torch.zeros_like(vector)
    project = Projection(torch.stack([*directions, none]))
    left = project(vector)
    for direction in directions:
        assert abs(float(pair_product(direction, left))) < 1e-12
    assert torch.allclose(project(left), left)
    assert torch.allclose(project(vector + 2.0 * directions[0]), left)
    assert torch.equal(Projection(torch.stack(directions)[:0])(vector), vector)
