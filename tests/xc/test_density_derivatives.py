"""Derivatives of energy densities for other codes: libxc's, and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from pyscf.dft import numint

from deepchem_xc.calculators.pyscf_integrators import INTEGRATORS, XCCode
from deepchem_xc.xc import (
    NNPBE,
    ConstrainedMetaGGA,
    FunctionalValueError,
    Ingredients,
    ValGrad,
    XCFunctional,
    density_derivatives,
    get_xc,
)
from deepchem_xc.xc.density_derivatives import energy_derivatives, number_of_rows
from deepchem_xc.xc.sampling import sample_points
from tests.differences import assert_agreement, differences

PAIRS = [("LDA", "lda,pw"), ("PBE", "pbe"), ("BLYP", "blyp"), ("r2SCAN", "r2scan")]


def rows(functional: XCFunctional, spins: int, npoint: int, seed: int = 0) -> np.ndarray:
    """Random densities with everything that the functional reads, (spins, nrow, npoint)."""
    points = sample_points(spins, npoint, seed)
    channels = [points] if isinstance(points, ValGrad) else [points.u, points.d]
    stacked = [torch.cat([c.value[None], c.grad, c.kin[None]]).numpy() for c in channels]
    return np.stack(stacked)[:, : number_of_rows(functional.ingredients)]


def network(kind: type[XCFunctional]) -> XCFunctional:
    torch.manual_seed(3)
    if kind is NNPBE:
        layers = torch.nn.Linear(3, 6), torch.nn.Softplus(), torch.nn.Linear(6, 1)
        return NNPBE(torch.nn.Sequential(*layers).double())
    functional = kind()
    with torch.no_grad():
        for weight in functional.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return functional


@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_kernels_are_those_of_libxc_in_pyscf(ours, theirs, spins):
    functional = get_xc(ours)
    density = rows(functional, spins, 24)
    rho = density if spins == 2 else density[0]
    rho = rho[..., 0, :] if rho.shape[-2] == 1 else rho
    order = 2 if ours == "r2SCAN" else 3
    found = INTEGRATORS[numint.NumInt]().eval_xc_eff(XCCode(functional), rho, order, spin=spins - 1)
    expected = numint.NumInt().eval_xc_eff(theirs, rho, order, spin=spins - 1)
    for values, reference in itertools.zip_longest(found, expected):
        if reference is None:
            assert values is None
            continue
        assert values.shape == reference.shape
        # Of a channel with less than 1e-8 of the other one the gradient is screened, here alone.
        size = np.abs(reference).reshape(-1, 24).max(0)
        assert np.all(np.abs(values - reference) <= 1e-8 * np.abs(reference) + 1e-9 * size)


@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("kind", [NNPBE, ConstrainedMetaGGA])
def test_each_order_is_the_derivative_of_the_one_below(kind, spins):
    functional = network(kind)
    density = rows(functional, spins, 3, seed=5)
    derivatives = energy_derivatives(functional, density, 3)
    rng = np.random.default_rng(0)
    along = density * rng.choice([-1.0, 1.0], density.shape) * rng.uniform(0.5, 1, density.shape)
    flat = along.reshape(-1, density.shape[-1])
    for order in (1, 2, 3):
        found = differences(
            lambda h, order=order: energy_derivatives(functional, density + h * along, order - 1)[
                -1
            ],
            2e-3,
        )
        product = np.einsum("...ip,ip->...p", derivatives[order], flat)
        scale = np.einsum("...ip,ip->...p", np.abs(derivatives[order]), np.abs(flat))
        assert_agreement(product, found, rel=1e-5, scale=scale, name=f"order {order}")


@pytest.mark.parametrize("name", ["LDA", "PBE", "r2SCAN", "BLYP", "experiment_gga"])
@pytest.mark.parametrize("spins", [1, 2])
def test_nothing_diverges_in_vacuum(name, spins):
    functional = get_xc(name)
    rng = np.random.default_rng(1)
    density = 10.0 ** rng.uniform(-30, -6, (spins, 60))
    density[:, ::9] = 0.0
    density[0, 4::11] *= -1e-3  # rounding
    density[-1, 5::7] = 1e-3  # a full channel beside an empty one
    direction = rng.normal(size=(spins, 3, 60))
    slope = 6.0 * 10.0 ** rng.uniform(-3, 3, (spins, 1, 60)) * np.abs(density[:, None]) ** (4 / 3)
    gradient = slope * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    tau = (gradient**2).sum(1) / np.maximum(8.0 * np.abs(density), 1e-300) + 0.1 * np.abs(density)
    full = np.concatenate([density[:, None], gradient, tau[:, None]], 1)
    number = number_of_rows(functional.ingredients)
    for values in energy_derivatives(functional, full[:, :number], 3):
        assert np.isfinite(values).all()
    empty = np.zeros((spins, number, 2))
    for values in energy_derivatives(functional, empty, 3):
        assert not values.any()


def test_pieces_change_no_number(monkeypatch):
    functional = get_xc("PBE")
    density = rows(functional, 2, 25)
    whole = energy_derivatives(functional, density, 2)
    monkeypatch.setitem(density_derivatives._PIECES, 2, 7)
    for values, expected in zip(energy_derivatives(functional, density, 2), whole, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_callers_may_have_switched_gradients_off():
    functional = network(NNPBE)
    density = rows(functional, 1, 3)
    expected = energy_derivatives(functional, density, 2)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            found = energy_derivatives(functional, density, 2)
        for values, reference in zip(found, expected, strict=True):
            np.testing.assert_array_equal(values, reference)
    assert all(weight.grad is None for weight in functional.parameters())
    assert all(weight.requires_grad for weight in functional.parameters())


def test_a_constant_or_linear_functional_has_zero_derivatives():
    class Linear(XCFunctional):
        name, ingredients = "linear", Ingredients.DENSITY

        def energy_density(self, variables):
            return -0.25 * variables.density

    energy, potential, kernel, third = energy_derivatives(Linear(), np.full((1, 1, 2), 0.5), 3)
    np.testing.assert_allclose(energy, -0.125)
    np.testing.assert_allclose(potential, -0.25)
    assert not kernel.any() and not third.any()


def test_derivatives_that_are_not_finite_are_reported_with_the_density():
    class Kink(XCFunctional):
        name, ingredients = "kink", Ingredients.DENSITY

        def energy_density(self, variables):
            x = variables.density - 0.5
            return (x * x) ** 1.25  # its third derivative diverges at 0.5

    density = np.array([[[0.3, 0.5]]])
    energy_derivatives(Kink(), density, 1)
    with pytest.raises(FunctionalValueError, match="kink.*0.5"):
        energy_derivatives(Kink(), density, 3)


def test_shapes_and_orders_that_cannot_be_right_are_refused():
    with pytest.raises(ValueError, match=r"\(nspin, 4, npoint\)"):
        energy_derivatives(get_xc("PBE"), np.ones((1, 5, 3)), 1)
    with pytest.raises(ValueError, match="0, 1, 2 or 3"):
        energy_derivatives(get_xc("LDA"), np.ones((1, 1, 3)), 4)
    with pytest.raises(NotImplementedError, match="libxc"):
        energy_derivatives(get_xc("TPSS"), rows(get_xc("TPSS"), 1, 2), 3)
