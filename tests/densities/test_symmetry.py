"""Densities of networks move with the atoms: rotations, translations, permutations, supercells."""

from __future__ import annotations

import math

import pytest
import torch

from deepchem_xc.densities import AtomDensityNetwork, DensityNetwork, ProbeDensityNetwork
from deepchem_xc.planewave import Crystal
from tests.densities.shared import LATTICE, POSITIONS, crystal, network, rotation, sphere

MOMENTS = (0.4, -1.0, 2.0)
KINDS = [AtomDensityNetwork, ProbeDensityNetwork]
# Relative to the largest coefficient or value.
TOLERANCE = 1e-10


def _values(made: DensityNetwork, of: Crystal, points: torch.Tensor) -> torch.Tensor:
    """On the sphere, or at points; the first row alone has a sphere that others share."""
    with torch.no_grad():
        if isinstance(made, ProbeDensityNetwork):
            return made.at_points(of, points)
        basis = sphere(crystal()).with_geometry(of.lattice, of.positions)
        return made.density(basis) if of.magnetic_moments is None else _spin(made, basis, of)


def _spin(made: DensityNetwork, basis, of: Crystal) -> torch.Tensor:  # type: ignore[no-untyped-def]
    basis.crystal = of
    return made.density(basis)


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    size = expected.abs().max()
    assert (found - expected).abs().max() < TOLERANCE * size
    # A density that is the same everywhere would move with anything.
    assert expected[..., 1:].std() > 1e-3 * size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("improper", [False, True])
def test_a_rotated_crystal_has_the_rotated_density(
    kind: type[DensityNetwork], improper: bool
) -> None:
    """An inversion changes reduced coordinates, a proper rotation the lattice alone."""
    made = network(kind, spin=True)
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sign = -1.0 if improper else 1.0
    turned = Crystal(LATTICE @ rotation().T, ("Ga", "N", "N"), sign * POSITIONS, MOMENTS)
    expected = _values(made, crystal(MOMENTS), points)
    found = _values(made, turned, sign * points)
    if improper and kind is AtomDensityNetwork:
        expected = expected.conj()
    _close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shifted_crystal_has_the_shifted_density(kind: type[DensityNetwork]) -> None:
    """Also if single atoms are moved by lattice vectors."""
    made = network(kind)
    shift = torch.tensor([0.3, -0.6, 1.21], dtype=torch.float64)
    jumps = torch.tensor([[0, 0, 0], [1, -2, 0], [0, 0, 3]], dtype=torch.float64)
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = Crystal(LATTICE, ("Ga", "N", "N"), POSITIONS + shift + jumps)
    expected = _values(made, crystal(), points)
    if kind is AtomDensityNetwork:
        g = sphere(crystal()).g_vectors.double()
        angle = -2.0 * math.pi * g @ shift
        expected = expected * torch.polar(torch.ones_like(angle), angle)
    _close(_values(made, moved, points + shift), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_atoms_does_not_matter(kind: type[DensityNetwork]) -> None:
    made = network(kind, spin=True)
    order = [2, 0, 1]
    symbols = tuple(("Ga", "N", "N")[i] for i in order)
    other = Crystal(LATTICE, symbols, POSITIONS[order], tuple(MOMENTS[i] for i in order))
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _close(_values(made, other, points), _values(made, crystal(MOMENTS), points))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["difference", "total"])
def test_a_supercell_has_the_density_of_its_cell(kind: type[DensityNetwork], target: str) -> None:
    made = network(kind, target=target)
    double = torch.diag(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))
    positions = torch.cat([POSITIONS, POSITIONS + torch.tensor([1.0, 0.0, 0.0])])
    large = Crystal(double @ LATTICE, ("Ga", "N", "N") * 2, positions @ torch.inverse(double))
    with torch.no_grad():
        if isinstance(made, ProbeDensityNetwork):
            points = torch.rand(20, 3, dtype=torch.float64)
            found = made.at_points(large, points @ torch.inverse(double))
            _close(found, made.at_points(crystal(), points))
            return
        small = sphere(crystal())
        basis = sphere(large)
        density = dict(zip(map(tuple, basis.g_vectors.tolist()), made.density(basis)[0]))
        expected = made.density(small)
    found = torch.stack([density.pop((2 * a, b, c)) for a, b, c in small.g_vectors.tolist()])
    _close(found.unsqueeze(0), expected)
    rest = torch.stack(list(density.values()))
    assert rest.abs().max() < TOLERANCE * expected.abs().max()


def test_structures_computed_together_have_the_densities_of_each_alone() -> None:
    made = network()
    other = Crystal(LATTICE * 1.1, ("N", "Ga"), POSITIONS[1:])
    bases = [sphere(crystal()), sphere(other)]
    with torch.no_grad():
        for together, basis in zip(made.densities(bases), bases):
            torch.testing.assert_close(together, made.density(basis), rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_reversed_moments_exchange_the_channels_and_none_make_them_equal(
    kind: type[DensityNetwork],
) -> None:
    made = network(kind, spin=True, target="total")
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = _values(made, crystal(MOMENTS), points)
    other = _values(made, crystal(tuple(-m for m in MOMENTS)), points)
    none = _values(made, crystal(), points)
    size = one.abs().max()
    assert (one - other.flip(0)).abs().max() < TOLERANCE * size
    assert (none[0] - none[1]).abs().max() < TOLERANCE * size
    assert (one[0] - one[1]).abs().max() > 1e-3 * size
    assert (one.sum(0) - none.sum(0)).abs().max() > 1e-4 * size
