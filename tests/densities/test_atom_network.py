"""The network with functions around atoms: electrons, derivatives, what it can represent."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk

from deepchem_xc.densities import AtomDensityNetwork, DensityLoss
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from tests.crystals import cubic, doubles
from tests.densities.shared import LATTICE, POSITIONS, crystal, network, sphere
from tests.differences import assert_derivative

MOMENTS = (0.4, -1.0, 2.0)


def _charges(made: AtomDensityNetwork, of: Crystal) -> torch.Tensor:
    """Electrons that the atoms have gained."""
    with torch.no_grad():
        features, edges, _ = made._features(made.message_passing, [of], None)
        gained: torch.Tensor = made.flow(features[-1].even[..., 0], edges)
    return gained


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("target", ["difference", "total"])
def test_electrons_are_right_for_any_parameters(target: str, spin: bool) -> None:
    """To 1e-10 of the valence electrons, while charge moves between atoms."""
    made = network(target=target, spin=spin)
    of = crystal(MOMENTS if spin else None)
    basis = sphere(of)
    with torch.no_grad():
        density = made.density(basis)
    electrons = float((density[:, 0].sum() * basis.volume).real)
    assert abs(electrons - (13.0 if target == "total" else 0.0)) < 1e-10 * 13.0
    assert made.nelectrons(of) == (13.0 if target == "total" else 0.0)
    assert _charges(made, of).abs().min() > 1e-4


def test_fragments_that_see_nothing_of_each_other_add_up() -> None:
    """Each stays neutral, although both would exchange charge if they met."""
    made = network(cutoff=3.0)
    box = cubic(30.0)
    one = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.02, -0.03]], dtype=torch.float64)
    other = one @ torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64) + 0.5
    both = Crystal(box, ("Ga", "N", "N", "N"), torch.cat([one, other]))
    gained = _charges(made, both)
    assert gained.abs()[:2].min() > 1e-4
    assert gained[:2].sum().abs() < 1e-14 and gained[2:].sum().abs() < 1e-14
    basis = sphere(both, 0.5)
    parts = [Crystal(box, ("Ga", "N"), one), Crystal(box, ("N", "N"), other)]
    with torch.no_grad():
        sum_of_parts = sum(made.density(sphere(part, 0.5)) for part in parts)
        torch.testing.assert_close(made.density(basis), sum_of_parts, rtol=0.0, atol=1e-15)


def test_an_atom_without_neighbours_is_spherical() -> None:
    basis = sphere(Crystal(cubic(30.0), ("Ga",), doubles([[0.0, 0.0, 0.0]])), 0.5)
    with torch.no_grad():
        density = network(target="total").density(basis)[0]
    along = [basis.g_vectors.tolist().index(g) for g in ([3, 0, 0], [0, 3, 0], [2, 2, 1])]
    values = density[along]
    torch.testing.assert_close(values, values[:1].expand(3), rtol=1e-10, atol=0.0)
    assert values.imag.abs().max() < 1e-15 < values.real.abs().min()


def _probe(made: AtomDensityNetwork, basis: PlaneWaveBasis) -> torch.Tensor:
    """A number that depends on every plane wave of every channel."""
    weights = torch.rand(
        made.nspin, len(basis.g_vectors), generator=torch.Generator().manual_seed(0)
    ).double()
    density = made.density(basis) * basis.volume
    return ((density.real + 0.5 * density.imag) * weights).sum()


def test_derivatives_with_respect_to_positions_and_lattice() -> None:
    made = network(spin=True)
    basis = sphere(crystal(MOMENTS))
    generator = torch.Generator().manual_seed(5)
    shift, strain = (torch.randn(3, 3, generator=generator).double() * 0.1 for _ in range(2))
    positions = POSITIONS.clone().requires_grad_()
    lattice = LATTICE.clone().requires_grad_()
    derivatives = torch.autograd.grad(
        _probe(made, basis.with_geometry(lattice, positions)), [lattice, positions]
    )

    def along(x: float) -> torch.Tensor:
        moved = basis.with_geometry(LATTICE + x * strain @ LATTICE, POSITIONS + x * shift)
        with torch.no_grad():
            return _probe(made, moved)

    slope = (derivatives[0] * (strain @ LATTICE)).sum() + (derivatives[1] * shift).sum()
    assert_derivative(slope, along, 1e-3, rel=1e-6)


def test_forces_of_the_density_are_smooth_where_an_atom_passes_the_cutoff() -> None:
    """Value and slope exactly there; messages and charges come from this one pair alone."""
    made = network(cutoff=3.0)
    box, distance = 24.0, made.cutoff
    basis = sphere(Crystal(cubic(box), ("Ga", "N"), doubles([[0, 0, 0], [0.1, 0, 0]])), 0.5)

    def at(x: float) -> tuple[float, float]:
        positions = doubles([[0, 0, 0], [(distance + x) / box, 0.0, 0.0]]).requires_grad_()
        value = _probe(made, basis.with_geometry(positions=positions))
        return float(value.detach()), float(torch.autograd.grad(value, positions)[0][1, 0]) / box

    # What the pair's message adds is of third order in the distance to the cutoff, on one side.
    step = 2e-4
    slope = at(0.0)[1]
    assert_derivative(slope, lambda x: at(x)[0], step, rel=1e-5)
    inside, outside = at(-1e-4)[1], at(1e-4)[1]
    assert inside == pytest.approx(slope, rel=1e-3) and outside == pytest.approx(slope, rel=1e-3)
    assert abs(at(-0.5)[0] - at(0.0)[0] + 0.5 * slope) > 1e-4 * abs(at(0.0)[0])


@pytest.mark.parametrize("target", ["difference", "total"])
def test_every_parameter_has_a_gradient(target: str) -> None:
    made = network(target=target, spin=True)
    of = crystal(MOMENTS)
    _probe(made, sphere(of)).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0.0, name


def test_without_spin_nothing_is_computed_for_it() -> None:
    plain = {name for name, _ in network().named_parameters()}
    spin = {name for name, _ in network(spin=True).named_parameters()}
    assert plain < spin
    assert all("odd" in name or "moments" in name for name in spin - plain)


def test_a_seed_makes_the_same_network_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second = network(), network()
    assert torch.equal(torch.rand(3), expected)
    for one, other in zip(first.parameters(), second.parameters()):
        assert torch.equal(one, other) and one.dtype == torch.float64
    again = AtomDensityNetwork(**first.hyperparameters)
    again.load_state_dict(first.state_dict())
    basis = sphere(crystal())
    assert torch.equal(again.density(basis), first.density(basis))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "delta"}, "'difference' or 'total', got 'delta'"),
        ({"widths": [0.5]}, "at least two different ones"),
        ({"widths": [0.5, -1.0]}, "widths must be positive"),
        ({"cutoff": 0.0}, "cutoff must be positive, got 0"),
        ({"l_density": 7}, "l_density must be at most 6"),
        ({"layers": 0}, "layers must be a whole number of at least 1"),
    ],
)
def test_impossible_networks_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AtomDensityNetwork({"Si": 4}, **options)


def test_unknown_elements_and_unexpected_moments_are_refused() -> None:
    made = network()
    with pytest.raises(ValueError, match="does not know C; it was made for Ga, N"):
        made.density(sphere(Crystal(LATTICE, ("C",), POSITIONS[:1])))
    with pytest.raises(ValueError, match="made without spin"):
        made.density(sphere(crystal(MOMENTS)))
    with pytest.raises(ValueError, match="at least one element"):
        AtomDensityNetwork({})


@pytest.fixture(scope="module")
def silicon() -> tuple[SCFResult, torch.Tensor]:
    """Two displaced atoms in a strained cell, and their density less that of superposed atoms."""
    atoms = bulk("Si", a=5.43)
    atoms.set_cell(atoms.cell[:] @ [[1.02, 0.01, 0], [0.01, 0.98, 0.02], [0, 0.02, 1]], True)
    atoms.positions[1] += [0.1, -0.05, 0.07]
    result = scf(atoms, "PBE", ecut=120.0, kpts=(2, 2, 2), convergence={"density": 1e-5})
    change = result.converged.fields.density - result.problem.atomic_density()
    return result, change.detach()


def _percent(found: torch.Tensor, silicon: tuple[SCFResult, torch.Tensor]) -> float:
    result, change = silicon
    loss = DensityLoss("absolute")
    return 100.0 * float(loss([result.basis], [found.detach()], [change], [8.0]))


def test_the_functions_represent_the_bonds_of_silicon(
    silicon: tuple[SCFResult, torch.Tensor],
) -> None:
    """Least squares, with coefficients of the size that a network gives: 0.1 % of the electrons.

    The superposition is 17 % off.
    """
    result, change = silicon
    basis, of = result.basis, result.basis.crystal
    shapes = AtomDensityNetwork({"Si": 4}, channels=1).shapes
    blocks = []
    for l in range(5):
        number = shapes.counts(l) * (2 * l + 1)
        parts = [torch.zeros(number, shapes.counts(k), 2 * k + 1).double() for k in range(5)]
        parts[l] = torch.eye(number).double().unflatten(-1, (-1, 2 * l + 1))
        blocks.append(shapes.neutral(parts))
    each = torch.cat(blocks)
    nothing = torch.zeros_like(each)
    pairs = torch.cat([torch.stack([each, nothing], 1), torch.stack([nothing, each], 1)])
    waves = shapes.on_sphere(pairs, of.positions, of.reciprocal_lattice, basis.g_vectors)
    columns = torch.view_as_real(waves / of.volume).flatten(1).T
    target = torch.view_as_real(change[0]).flatten()
    ridge = 1e-4 * float(target.norm())
    normal = columns.T @ columns + ridge**2 * torch.eye(columns.shape[1]).double()
    solution = torch.linalg.solve(normal, columns.T @ target)
    fitted = (solution.to(waves.dtype) @ waves / of.volume).unsqueeze(0)
    assert solution.abs().max() < 20.0
    assert _percent(torch.zeros_like(change), silicon) > 10.0
    assert _percent(fitted, silicon) < 0.3


@pytest.mark.slow
def test_a_network_learns_one_density(silicon: tuple[SCFResult, torch.Tensor]) -> None:
    result, change = silicon
    made = AtomDensityNetwork({"Si": 4}, seed=0)
    loss = DensityLoss("squared")
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    pairs = [made.neighbours(result.basis.crystal)]
    for _ in range(150):
        optimizer.zero_grad()
        found = made.densities([result.basis], pairs)
        loss([result.basis], found, [change], [8.0]).backward()
        optimizer.step()
        schedule.step()
    assert _percent(made.density(result.basis), silicon) < 1.0
