"""Functionals in the form in which GPAW asks for them: laws of the kernel, without GPAW."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.calculators.gpaw_kernel import FunctionalKernel
from deepchem_xc.calculators.gpaw_points import distinct_points
from deepchem_xc.xc import (
    ConstrainedMetaGGA,
    FunctionalValueError,
    HybridXC,
    Ingredients,
    SpinParam,
    ValGrad,
    XCFunctional,
    get_xc,
)
from tests.differences import assert_derivative

NPOINTS = 40
Fields = list[np.ndarray]


def network() -> HybridXC:
    """PBE and a network with random weights."""
    torch.manual_seed(3)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    return HybridXC("PBE", layers, aweight0=0.1)


FUNCTIONALS = {
    "LDA": lambda: get_xc("LDA"),
    "PBE": lambda: get_xc("PBE"),
    "BLYP": lambda: get_xc("BLYP"),
    "network": network,
    "r2SCAN": lambda: get_xc("r2SCAN"),
    "TPSS": lambda: get_xc("TPSS"),
    "learned meta-GGA": lambda: ConstrainedMetaGGA(start="random", seed=2),
}


def gradients_of(spins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Densities, their gradients (zero, parallel and equal ones too), and tau above its bound."""
    random = np.random.default_rng(5)
    n = 10.0 ** random.uniform(-3, 1, (spins, NPOINTS))
    s = 10.0 ** random.uniform(-1, 0.5, (spins, 1, NPOINTS))
    gradient = random.normal(size=(spins, 3, NPOINTS)) * s * 3.0 * n[:, None] ** (4 / 3)
    gradient[:, :, :3] = 0.0
    gradient[0, :, 3:6] = 0.0
    if spins == 2:
        gradient[1, :, 6:9] = 0.0
        gradient[1, :, 9:12] = gradient[0, :, 9:12]
        gradient[1, :, 12:15] = -0.3 * gradient[0, :, 12:15]
    least = (gradient**2).sum(1) / (8.0 * n)
    return n, gradient, least + n ** (5 / 3) * random.uniform(0.3, 3.0, n.shape)


def products_of(gradient: np.ndarray) -> np.ndarray:
    pairs = [(0, 0)] if len(gradient) == 1 else [(0, 0), (0, 1), (1, 1)]
    return np.stack([(gradient[i] * gradient[j]).sum(0) for i, j in pairs])


def evaluated(kernel: FunctionalKernel, *fields: np.ndarray) -> list[np.ndarray]:
    """Energies and derivatives of a kernel for as many fields as it takes."""
    fields = fields[: {"LDA": 1, "GGA": 2, "MGGA": 3}[kernel.type]]
    energies, first = np.full(fields[0].shape[1:], np.nan), np.zeros_like(fields[0])
    arguments = [fields[0], first]
    for field in fields[1:]:
        arguments += [field, np.full_like(field, np.nan)]
    kernel.calculate(energies, *arguments)
    return [energies, *arguments[1::2]]


def along_gradients(by_sigma: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Derivative with respect to the gradients, which alone enters a potential."""
    if len(gradient) == 1:
        return 2.0 * by_sigma[:, None] * gradient
    return 2.0 * by_sigma[::2, None] * gradient + by_sigma[1] * gradient[::-1]


@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_energies_and_derivatives_are_those_of_the_functional(name: str, spins: int) -> None:
    functional = FUNCTIONALS[name]()
    n, gradient, tau = gradients_of(spins)
    energy, *found = evaluated(FunctionalKernel(functional, ""), n, products_of(gradient), tau)

    leaves = [torch.tensor(x).requires_grad_() for x in (n, gradient, tau)]
    channels = [ValGrad(*(x[s] for x in leaves[:2]), kin=leaves[2][s]) for s in range(spins)]
    expected = functional.get_edensityxc(channels[0] if spins == 1 else SpinParam(*channels))
    slopes = torch.autograd.grad(expected.sum(), leaves, materialize_grads=True)

    np.testing.assert_allclose(energy, expected.detach().numpy(), rtol=1e-12)
    if len(found) > 1:
        found[1] = along_gradients(found[1], gradient)
    for derivative, slope in zip(found, slopes, strict=False):
        size = np.abs(slope.numpy()).max()
        np.testing.assert_allclose(derivative, slope.numpy(), rtol=1e-9, atol=1e-12 * size)


@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_derivatives_are_those_of_the_energy_where_tau_is_too_small(name: str, spins: int) -> None:
    kernel = FunctionalKernel(FUNCTIONALS[name](), "")
    n, gradient, _ = gradients_of(spins)
    n, gradient = n[:, 15:], gradient[:, :, 15:]
    sigma = products_of(gradient)
    least = (gradient**2).sum(1) / (8.0 * n)
    tau = least * np.linspace(0.0, 0.9, n.shape[1])
    fields = [n, sigma, tau]
    random = np.random.default_rng(6)
    directions = [x * random.uniform(0.2, 1.0, x.shape) for x in fields]

    def moved(step: float) -> np.ndarray:
        return evaluated(kernel, *(x + step * d for x, d in zip(fields, directions)))[0]

    _, *slopes = evaluated(kernel, *fields)
    slope = sum((x * d).sum(0) for x, d in zip(slopes, directions))
    assert_derivative(slope, moved, 2e-3, rel=1e-5, scale=np.abs(slope).max())
    if kernel.type == "MGGA":
        assert not slopes[2].any()  # the bound holds tau
        raised = evaluated(kernel, n, sigma, least)[0]
        np.testing.assert_allclose(evaluated(kernel, *fields)[0], raised, rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_closed_shells_have_one_energy_in_either_form(name: str) -> None:
    kernel = FunctionalKernel(FUNCTIONALS[name](), "")
    n, gradient, tau = gradients_of(1)
    sigma = products_of(gradient)
    one = evaluated(kernel, n, sigma, tau)
    two = evaluated(kernel, *(np.tile(x / d, (k, 1)) for x, d, k in
                              ((n, 2, 2), (sigma, 4, 3), (tau, 2, 2))))  # fmt: skip
    np.testing.assert_allclose(two[0], one[0], rtol=1e-10)
    np.testing.assert_allclose(two[1], np.tile(one[1], (2, 1)), rtol=1e-8, atol=1e-10)
    if len(one) > 2:  # all three products are a quarter of the total's
        np.testing.assert_allclose(two[2].sum(0) / 4, one[2][0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_vacuum_and_negative_densities_have_no_energy(name: str, spins: int) -> None:
    kernel = FunctionalKernel(FUNCTIONALS[name](), "")
    n = np.tile([0.0, -1e-6, 1e-21, -1e-14], (spins, 1))
    sigma = np.tile([0.0, 1e-10, 1e-35, 1e-20], (2 * spins - 1, 1))
    for values in evaluated(kernel, n, sigma, np.zeros_like(n)):
        np.testing.assert_array_equal(values, 0.0)


def test_an_emptied_channel_beside_a_full_one_is_finite() -> None:
    for make in FUNCTIONALS.values():
        n = np.array([[0.3, 0.2], [-1e-7, 0.0]])
        sigma = np.array([[0.1, 0.0], [1e-9, 0.0], [1e-17, 0.0]])
        for values in evaluated(FunctionalKernel(make(), ""), n, sigma, 0.0 * n):
            assert np.isfinite(values).all()


def test_potentials_are_added_and_other_derivatives_written() -> None:
    kernel = FunctionalKernel(get_xc("PBE"), "")
    n, gradient, _ = gradients_of(1)
    sigma = products_of(gradient)
    energy, once, by_sigma = evaluated(kernel, n, sigma)
    twice, again = once.copy(), np.full_like(sigma, 7.0)
    kernel.calculate(energy, n, twice, sigma, again)
    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-14)
    np.testing.assert_array_equal(again, by_sigma)


def test_shapes_of_grids_are_kept() -> None:
    kernel = FunctionalKernel(get_xc("PBE"), "")
    n, gradient, _ = gradients_of(2)
    sigma = products_of(gradient)
    flat = evaluated(kernel, n, sigma)
    on_grid = evaluated(kernel, n.reshape(2, 5, 4, 2), sigma.reshape(3, 5, 4, 2))
    for a, b in zip(flat, on_grid, strict=True):
        np.testing.assert_array_equal(a.ravel(), b.ravel())


@pytest.mark.parametrize("spins", [1, 2])
def test_large_grids_in_pieces_are_the_same(spins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FunctionalKernel(network(), "")
    n, gradient, _ = gradients_of(spins)
    whole = evaluated(kernel, n, products_of(gradient))
    monkeypatch.setattr("deepchem_xc.calculators.gpaw_kernel._PIECE", 7)
    for a, b in zip(whole, evaluated(kernel, n, products_of(gradient)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_equivalent_points_are_evaluated_once_and_others_are_not_merged() -> None:
    seen = []

    class Counted(XCFunctional):
        name, ingredients = "counted", Ingredients.DENSITY | Ingredients.GRADIENT

        def energy_density(self, variables: Any) -> torch.Tensor:
            seen.append(variables.density.numel())
            return -variables.density * variables.inverse_rs * (1.0 + variables.s2)

    kernel = FunctionalKernel(Counted(), "")
    n, gradient, _ = gradients_of(1)
    sigma = products_of(gradient)
    noise = 1.0 + 1e-15 * np.arange(-2, 3)[:, None]
    seen.clear()
    many = evaluated(kernel, (noise * n)[None], (noise * sigma)[None])
    assert NPOINTS in seen and 5 * NPOINTS not in seen
    for a, b in zip(many, evaluated(kernel, n, sigma), strict=True):
        np.testing.assert_allclose(a.reshape(5, -1), np.tile(b.reshape(1, -1), (5, 1)), rtol=1e-10)
    # The same density with another gradient, or with the channels exchanged, is another point.
    assert len(distinct_points(np.ones((1, 2)), np.array([[0.1, 0.2]]))[0]) == 2
    assert len(distinct_points(np.array([[0.1, 0.2], [0.2, 0.1]]))[0]) == 2
    assert len(distinct_points(np.ones((1, 2)), np.ones((1, 2)), np.array([[1.0, 2.0]]))[0]) == 2


def test_weights_that_changed_are_refused() -> None:
    functional = network()
    kernel = FunctionalKernel(functional, "")
    n, gradient, _ = gradients_of(1)
    evaluated(kernel, n, products_of(gradient))
    before = functional.aweight.item()
    functional.aweight.data += 0.1
    with pytest.raises(RuntimeError, match=r"changed since to_gpaw was called \(aweight\).*again"):
        evaluated(kernel, n, products_of(gradient))
    functional.aweight.data.fill_(before)
    evaluated(kernel, n, products_of(gradient))


def test_changes_that_are_no_weights_are_refused_at_the_next_grid() -> None:
    factor = [1.0]

    class Closure(XCFunctional):
        name, ingredients = "closure", Ingredients.DENSITY

        def energy_density(self, variables: Any) -> torch.Tensor:
            return -factor[0] * variables.density * variables.inverse_rs

    kernel = FunctionalKernel(Closure(), "")
    n = gradients_of(1)[0].reshape(1, 4, 5, 2)
    evaluated(kernel, n)
    factor[0] = 2.0
    with pytest.raises(RuntimeError, match="its energy density"):
        evaluated(kernel, n)


def test_densities_of_non_collinear_magnets_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="not the 4 of a non-collinear magnet"):
        evaluated(FunctionalKernel(get_xc("LDA"), ""), np.ones((4, 3)))


def test_a_functional_that_is_not_finite_is_named_with_the_density() -> None:
    class Broken(XCFunctional):
        name, ingredients = "broken", Ingredients.DENSITY

        def energy_density(self, variables: Any) -> torch.Tensor:
            return torch.log(variables.density - 1.0)

    kernel = FunctionalKernel(Broken(), "")
    with pytest.raises(FunctionalValueError, match="broken gives nan as energy at n = 0.5"):
        evaluated(kernel, np.array([[2.0, 0.5]]))


def test_modes_of_torch_around_gpaw_do_not_matter() -> None:
    kernel = FunctionalKernel(network(), "")
    n, gradient, _ = gradients_of(1)
    expected = evaluated(kernel, n, products_of(gradient))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = evaluated(kernel, n, products_of(gradient))
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)
