"""Densities to evaluate functionals on, and derivatives with respect to n, sigma and tau."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.xc import DensityVariables, SpinParam, ValGrad, XCFunctional

Range = tuple[float, float]
TWO_KF = 2.0 * (3.0 * np.pi**2) ** (1.0 / 3.0)


def _log_uniform(rng: np.random.Generator, limits: Range, npoints: int) -> np.ndarray:
    low, high = np.log10(limits)
    return 10.0 ** rng.uniform(low, high, npoints)


def _sample(
    nspin: int,
    npoints: int = 400,
    density: Range = (1e-7, 1e4),
    s: Range = (1e-4, 5.0),
    zeta: float = 0.98,
    seed: int = 0,
    alpha: Range | None = None,
) -> np.ndarray:
    """Random n, grad n, tau as PySCF takes them: (4 or 5, npoints) or (2, 4 or 5, npoints).

    Log-uniform in the density, in the reduced gradient of each channel and in its (tau - tau_W) /
    tau_unif, if that is given; uniform in the polarisation and in the gradients' directions.
    """
    rng = np.random.default_rng(seed)
    total = _log_uniform(rng, density, npoints)
    polarisation = rng.uniform(-zeta, zeta, npoints)
    channels = []
    for sign in (0,) if nspin == 1 else (1, -1):
        n = total * (1.0 + sign * polarisation) / nspin
        direction = rng.normal(size=(3, npoints))
        direction /= np.linalg.norm(direction, axis=0)
        length = _log_uniform(rng, s, npoints) * TWO_KF * n ** (4.0 / 3.0)
        channels.append(np.vstack((n, direction * length)))
    rho = channels[0] if nspin == 1 else np.stack(channels)
    if alpha is None:
        return rho
    n = rho[..., 0, :]
    uniform = 0.3 * (3.0 * np.pi**2 * nspin) ** (2.0 / 3.0) * n ** (5.0 / 3.0)
    weizsaecker = (rho[..., 1:, :] ** 2).sum(-2) / (8.0 * n)
    tau = weizsaecker + uniform * _log_uniform(rng, alpha, n.size).reshape(n.shape)
    return np.concatenate((rho, tau[..., None, :]), axis=-2)


class _Contracted(DensityVariables):
    """Variables whose squared gradients are independent of the gradients."""

    def __init__(self, packed: Tensor, threshold: float) -> None:
        rows = packed.unbind(0)
        if len(rows) < 4:
            super().__init__(ValGrad(value=rows[0]), threshold)
            names = ("sigma", "raw_tau")
            self.__dict__.update(zip(names, rows[1:]))
        else:
            up, down, up_up, up_down, down_down, *taus = rows
            super().__init__(SpinParam(u=ValGrad(value=up), d=ValGrad(value=down)), threshold)
            self.__dict__["spin_sigma"] = torch.stack((up_up, down_down))
            self.__dict__["sigma_up_down"] = up_down
            if taus:
                self.__dict__["raw_tau"] = torch.stack(taus)


def _contract(rho: np.ndarray) -> np.ndarray:
    """(n, sigma, tau), or (n_up, n_down, sigma_uu, sigma_ud, sigma_dd, tau_up, tau_down)."""
    if rho.ndim == 2:
        return np.stack((rho[0], (rho[1:4] ** 2).sum(0), *rho[4:]))
    up, down = rho[:, 1:4]
    sigmas = (up * up).sum(0), (up * down).sum(0), (down * down).sum(0)
    return np.stack((rho[0, 0], rho[1, 0], *sigmas, *rho[:, 4:].reshape(-1, rho.shape[-1])))


def _derivatives(functional: XCFunctional, rho: np.ndarray) -> np.ndarray:
    """Energy density, then all first and second derivatives with respect to n, sigma and tau.

    In the order of pyscf.dft.libxc.eval_xc1: the upper triangle of the second derivatives row by
    row. An LDA has the densities alone as its variables.
    """
    packed = torch.tensor(_contract(rho), requires_grad=True)
    variables = _Contracted(packed, functional.density_threshold)
    energy = functional.energy_density(variables)
    nvariables = rho.ndim - 1 if functional.family == 1 else len(packed)
    (first,) = torch.autograd.grad(energy.sum(), packed, create_graph=True)
    rows = [energy, *first[:nvariables]]
    for i in range(nvariables):
        if first[i].requires_grad:
            (second,) = torch.autograd.grad(first[i].sum(), packed, retain_graph=True)
        else:
            second = torch.zeros_like(packed)
        rows += list(second[i:nvariables])
    return torch.stack(rows).detach().numpy()


def _densinfo(rho: np.ndarray | Tensor) -> ValGrad | SpinParam:
    """(4 or 5, nr) or (2, 4 or 5, nr) as the functionals take it."""
    rho = torch.as_tensor(rho)
    if rho.ndim == 2:
        return ValGrad(value=rho[0], grad=rho[1:4], kin=rho[4] if len(rho) > 4 else None)
    return SpinParam(u=_densinfo(rho[0]), d=_densinfo(rho[1]))


@pytest.fixture
def sample() -> Callable[..., np.ndarray]:
    return _sample


@pytest.fixture
def contract() -> Callable[[np.ndarray], np.ndarray]:
    return _contract


@pytest.fixture
def derivatives() -> Callable[[XCFunctional, np.ndarray], np.ndarray]:
    return _derivatives


@pytest.fixture
def densinfo() -> Callable[..., ValGrad | SpinParam]:
    return _densinfo


def _random(cls: type[XCFunctional], seed: int = 0, factor: float = 1.0, **options) -> XCFunctional:
    """A neural functional with random weights times a factor, also in the last layers."""
    functional = cls(start="random", seed=seed, **options)
    with torch.no_grad():
        for parameter in functional.parameters():
            parameter.mul_(factor)
    return functional


@pytest.fixture
def random() -> Callable[..., XCFunctional]:
    return _random


@pytest.fixture
def tensor() -> Callable[..., Tensor]:
    """Random densities as a tensor, with a kinetic energy density."""

    def make(*args, alpha=(0.1, 10.0), **kwargs):
        return torch.tensor(_sample(*args, alpha=alpha, **kwargs))

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a functional is saved."""
    return tmp_path / "mine.xc.safetensors"
