"""What cannot be differentiated, or not well enough, says so: no gradient is silently wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.numerics.implicit import solve_adjoint
from deepchem_xc.occupations.occupy import TooFewBandsError
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.eigen import states
from deepchem_xc.planewave.response import adjoint as response
from deepchem_xc.planewave.response import perturbation, sternheimer
from deepchem_xc.planewave.response.multiplets import DegenerateStatesError
from deepchem_xc.xc import PBE, get_xc


def silicon(**kw: Any) -> tuple[SCFResult, PBE]:
    functional = PBE(trainable=True)
    return scf(bulk("Si"), functional, ecut=100.0, kpts=(1, 1, 1), **kw), functional


def test_too_few_iterations_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    result, functional = silicon()
    loss = result.density.square().mean()
    with monkeypatch.context() as patch:
        patch.setattr(sternheimer, "_MAXITER", 3)
        with pytest.raises(ResponseConvergenceError, match="Sternheimer's equation"):
            loss.backward(retain_graph=True)
    monkeypatch.setattr(response, "solve_adjoint", partial(solve_adjoint, maxiter=2))
    with pytest.raises(ResponseConvergenceError, match="in 2 iterations") as error:
        loss.backward()
    assert len(error.value.history) == 3 and error.value.history[-1] > 1e-6
    assert all(p.grad is None for p in functional.parameters())


def test_orbitals_that_are_no_states_are_an_error() -> None:
    """The response refuses to perturb states that do not belong to the potential."""
    result, _ = silicon()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "_FINE_SWEEPS", 1)
        patch.setattr(states, "_FINE_EXPANSIONS", 1)
        noise = torch.randn_like(result.orbitals) * result.basis.mask[:, None]
        noise = torch.linalg.qr(noise.mT)[0].mT
        with pytest.raises(ResponseConvergenceError, match="too large to differentiate"):
            perturbation.PerturbedStates(result.problem, result.potential, noise)


@pytest.mark.parametrize("quantity", ["free_energy", "density", "forces"])
def test_second_derivatives_say_that_they_are_missing(quantity: str) -> None:
    result, functional = silicon()
    value = getattr(result, quantity).square().sum()
    gradient = torch.autograd.grad(value, functional.parameters(), create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        sum(g.square() for g in gradient).backward()


def test_a_graph_that_is_kept_but_not_used_does_no_harm() -> None:
    result, functional = silicon()
    value = result.density.square().mean()
    plain = torch.autograd.grad(value, functional.parameters(), retain_graph=True)
    kept = torch.autograd.grad(value, functional.parameters(), create_graph=True)
    for a, b in zip(plain, kept, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-12, atol=0.0)


def step(functional: PBE) -> None:
    for parameter in functional.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(functional.parameters(), lr=1e-3).step()


def test_parameters_that_changed_after_the_loop_are_an_error() -> None:
    result, functional = silicon()
    step(functional)
    for quantity in ("free_energy", "density", "energies", "forces"):
        with pytest.raises(RuntimeError, match="functional PBE was changed"):
            getattr(result, quantity)


@pytest.mark.parametrize("quantity", ["free_energy", "density"])
def test_parameters_that_changed_before_the_backward_pass_are_an_error(quantity: str) -> None:
    result, functional = silicon()
    value = getattr(result, quantity).square().mean()
    step(functional)
    with pytest.raises(RuntimeError, match="modified by an inplace operation|was changed"):
        value.backward()


def test_parameters_that_are_not_trained_must_not_change_either() -> None:
    functional = PBE(trainable=True)
    exchange, correlation = functional.terms
    correlation.beta.requires_grad_(False)
    result = scf(bulk("Si"), functional, ecut=100.0, kpts=(1, 1, 1))
    value = result.density.square().mean()
    with torch.no_grad():
        correlation.beta.mul_(1.1)
    with pytest.raises(RuntimeError, match="functional PBE was changed"):
        value.backward()


def test_another_parameter_in_the_place_of_the_old_one_is_an_error() -> None:
    result, functional = silicon()
    value = result.density.square().mean()
    functional.terms[0].mu = torch.nn.Parameter(functional.terms[0].mu.detach() + 0.1)
    with pytest.raises(RuntimeError, match="functional PBE was changed"):
        value.backward()


def test_moving_atoms_and_symmetry_exclude_each_other() -> None:
    crystal = Crystal.from_ase(bulk("Si"))
    moving = crystal.with_geometry(positions=crystal.positions.clone().requires_grad_())
    strained = crystal.with_geometry(lattice=crystal.lattice.clone().requires_grad_())
    for target in (moving, strained):
        with pytest.raises(ValueError, match="symmetry=False"):
            scf(target, ecut=100.0, kpts=(2, 2, 2), symmetry=True)


def test_one_eigenvalue_of_a_degenerate_set_has_no_derivative() -> None:
    result, functional = silicon()
    levels = result.eigenvalues[0, 0]
    assert (
        float((levels[3] - levels[1]).detach()) < 1e-7
    )  # the top of the valence band is threefold
    with pytest.raises(DegenerateStatesError, match="multiplet_eigenvalues"):
        levels[3].backward(retain_graph=True)
    levels[1:4].sum().backward(retain_graph=True)
    together = [p.grad.clone() for p in functional.parameters()]
    functional.zero_grad()
    (3.0 * result.multiplet_eigenvalues[0, 0, 2]).backward()
    for a, p in zip(together, functional.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-6, atol=0.0)


def test_one_occupation_of_a_degenerate_set_has_no_derivative() -> None:
    """Three states at the Fermi level of an isotropic crystal that a strain is about to part."""
    lattice = 5.5 * torch.eye(3, dtype=torch.float64)
    basis = PlaneWaveBasis(
        Crystal(lattice, ("Al",), torch.zeros(1, 3, dtype=torch.float64)),
        3.0,
        (1, 1, 1),
        symmetry=False,
    )
    strain = torch.zeros((), dtype=torch.float64, requires_grad=True)
    tensor = torch.diag(torch.tensor([1.0, -0.5, -0.5], dtype=torch.float64))
    moved = basis.with_geometry(lattice @ (torch.eye(3) + strain * tensor))
    result = scf(moved, "LDA", occupations={"name": "fermi-dirac", "width": 0.02})

    def derivative(value: Tensor) -> float:
        return float(torch.autograd.grad(value, strain, retain_graph=True)[0])

    for band in (1, 3):
        for each in (result.eigenvalues, result.occupations):
            with pytest.raises(DegenerateStatesError, match="degenerate"):
                derivative(each[0, 0, band])
    # The set as a whole does not answer to a strain without volume; a full state never does.
    assert abs(derivative(result.occupations[0, 0, 1:4].sum())) < 1e-5
    assert abs(derivative(result.occupations[0, 0, 1] + result.occupations[0, 0, 2:4].sum())) < 1e-5
    assert abs(derivative(result.occupations[0, 0, 0])) < 1e-8
    # Terms of the energy may weigh the numbers of a set as they like.
    assert abs(derivative(result.energies["kinetic"])) < 1e-4


def test_bands_that_leave_out_electrons_have_no_derivatives_of_their_density() -> None:
    """Values in a graph would be those of more bands than the loop had."""
    crystal = Crystal(
        torch.diag(torch.tensor([6.0, 7.0, 8.0], dtype=torch.float64)),
        ("H",),
        torch.zeros(1, 3, dtype=torch.float64),
    )
    basis = PlaneWaveBasis(crystal, 3.0, (1, 1, 1), symmetry=False)
    functional = PBE(trainable=True)
    settings = {"nbands": 4, "convergence": {"density": 1e-9}}
    wide = {"name": "fermi-dirac", "width": 0.045}
    result = scf(basis, functional, occupations=wide, **settings)
    assert 1e-6 < float(result.detach().occupations[0, 0, 3]) < 1e-4
    with pytest.raises(TooFewBandsError, match="safe for derivatives.*Raise nbands"):
        _ = result.energies
    result.free_energy.backward()  # needs no response
    narrow = {"name": "fermi-dirac", "width": 0.03}
    result = scf(basis, functional, occupations=narrow, **settings)
    assert result.density.requires_grad
    assert float(result.occupations.detach().sum()) == pytest.approx(1.0, abs=1e-12)
    plain = result.detach()
    for name, term in plain.energies.items():
        assert float(result.energies[name].detach()) == pytest.approx(float(term), abs=1e-9)
    assert float(result.fermi_level.detach()) == pytest.approx(float(plain.fermi_level), abs=1e-9)


def test_what_is_released_later_gets_a_gradient() -> None:
    """Graphs are kept for the parameters that were in them, not for those that are now."""
    result, functional = silicon()
    expected = torch.autograd.grad(result.density.square().mean(), functional.parameters())
    for parameter in list(functional.parameters())[1:]:
        parameter.requires_grad_(False)
    result = SCFResult(result.problem, result.converged, result.history)
    for quantity in ("density", "eigenvalues", "forces", "free_energy", "volume"):
        getattr(result, quantity)
    functional.requires_grad_(True)
    found = torch.autograd.grad(result.density.square().mean(), functional.parameters())
    for new, old in zip(found, expected, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-7, atol=0.0)
    assert len(torch.autograd.grad(result.free_energy, functional.parameters())) == 3


def test_a_degenerate_set_that_is_cut_has_no_derivative() -> None:
    """Two of three conduction bands at Gamma: the response looks at the third."""
    result, _ = silicon(nbands=6, occupations={"name": "fixed"})
    with pytest.raises(DegenerateStatesError, match="more bands"):
        result.multiplet_eigenvalues[0, 0].square().sum().backward()


def test_the_highest_band_is_converged_where_it_is_needed() -> None:
    found = []
    for nbands in (6, 10):
        functional = PBE(trainable=True)
        result = scf(
            bulk("Si"),
            functional,
            ecut=120.0,
            kpts=[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]],
            nbands=nbands,
            occupations={"name": "fixed"},
            convergence={"density": 1e-9},
        )
        # At X the two lowest empty bands are partners.
        result.multiplet_eigenvalues[0, 0, 4:6].sum().backward()
        found.append(torch.stack([p.grad for p in functional.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("tolerance", [0.0, 1e-17, 1.0, float("nan")])
def test_a_tolerance_that_cannot_be_met_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="gradient_tolerance = "):
        silicon(gradient_tolerance=tolerance)


def test_a_detached_copy_remembers_the_first_functional() -> None:
    result, functional = silicon()
    with torch.no_grad():
        for parameter in functional.parameters():
            parameter.mul_(1.01)
    copy = result.detach()
    for changed in (copy, result):
        with pytest.raises(RuntimeError, match="was changed"):
            _ = changed.energies


@pytest.mark.parametrize("beside", ["LDA", "r2SCAN"])
def test_a_detached_result_holds_no_part_of_a_graph(beside: str) -> None:
    """Energies depend on the parameters explicitly too: that part alone is no derivative."""
    functional = 0.5 * get_xc(beside) + 0.5 * PBE(trainable=True)
    result = scf(bulk("Al"), functional, ecut=100.0, kpts=[(0.1, 0.2, 0.3)])
    values = {
        name: getattr(result.detach(), name)
        for name, attribute in vars(SCFResult).items()
        if isinstance(attribute, property) and name != "dipole"  # which crystals do not have
    }
    tensors = values.pop("energies")
    tensors |= {name: x for name, x in values.items() if isinstance(x, torch.Tensor)}
    assert {"xc", "free_energy", "forces", "stress", "eigenvalues", "band_gap"} <= set(tensors)
    assert [name for name, tensor in tensors.items() if tensor.requires_grad] == []
    assert result.energies["xc"].requires_grad
