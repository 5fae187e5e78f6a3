"""Enhancement factors against limits, libxc's own energies and the spin-scaling relation."""

from __future__ import annotations

import numpy as np
import pytest
from pyscf.dft import libxc

from deepchem_xc.xc import B88Exchange, LYPCorrelation, XCFunctional, get_xc
from deepchem_xc.xc.enhancement import enhancement, exchange_enhancement

S = np.linspace(0.0, 5.0, 26)


def pyscf_factor(xc: str, rs: float, s: np.ndarray, zeta: float, alpha: float) -> np.ndarray:
    """PySCF's energy per electron over that of uniform exchange, -0.458165 / rs."""
    n = 3 / (4 * np.pi * rs**3)
    slope = 2 * (3 * np.pi**2) ** (1 / 3) * n ** (4 / 3) * s
    channels = []
    for part in (0.5 * (1 + zeta), 0.5 * (1 - zeta)):
        density, gradient = part * n, part * slope
        tau = gradient**2 / (8 * density)
        tau = tau + alpha * 0.3 * (6 * np.pi**2) ** (2 / 3) * density ** (5 / 3)
        zero = np.zeros_like(s)
        channels.append([zero + density, gradient, zero, zero, tau])
    rho = np.array(channels)
    if libxc.xc_type(xc) == "GGA":
        rho = rho[:, :4]
    energy = libxc.eval_xc(xc, rho, spin=1)[0]
    return np.asarray(energy / (-0.75 * (9 / (4 * np.pi**2)) ** (1 / 3) / rs))


@pytest.mark.parametrize("xc", ["PBE", "PBEsol", "r2SCAN"])
@pytest.mark.parametrize("zeta", [0.0, 0.6])
def test_factors_are_those_of_libxc(xc: str, zeta: float) -> None:
    alpha = 0.4
    for rs in (0.5, 4.0):
        found = enhancement(get_xc(xc), rs, S, zeta, alpha)
        assert found == pytest.approx(pyscf_factor(xc, rs, S, zeta, alpha), abs=2e-6)


def test_exchange_of_pbe_goes_from_1_to_1_804() -> None:
    found = exchange_enhancement(get_xc("PBE"), [0.0, 1.0, 1e6])
    mu, kappa = 0.2195149727645171, 0.804
    assert found == pytest.approx([1.0, 1 + kappa - kappa / (1 + mu / kappa), 1.804], abs=1e-8)


def test_exchange_of_the_lda_is_constant() -> None:
    assert exchange_enhancement(get_xc("LDA"), S) == pytest.approx(1.0, abs=1e-7)
    # Of exchange alone no limit is taken.
    assert exchange_enhancement(get_xc("lda_x"), S) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_a_functional_that_does_not_separate_exchange_gives_that_of_its_limit(
    alpha: float,
) -> None:
    class Whole(XCFunctional):
        name, family = "whole", 4

        def energy_density(self, variables):  # type: ignore[no-untyped-def]
            return get_xc("r2SCAN").energy_density(variables)

    alone = exchange_enhancement(get_xc("mgga_x_r2scan"), S, alpha)
    assert exchange_enhancement(Whole(), S, alpha) == pytest.approx(alone, abs=1e-6)
    if alpha == 0.0:
        assert alone[0] == pytest.approx(1.174, abs=1e-10)  # h0, the bound of r2SCAN


def test_b88_with_lyp_is_b88() -> None:
    both = exchange_enhancement(B88Exchange() + LYPCorrelation(), S)
    assert both == pytest.approx(exchange_enhancement(B88Exchange(), S), abs=1e-7)


def test_full_polarisation_scales_exchange_by_the_spin_relation() -> None:
    """E_x[n, 0] = E_x[2 n] / 2: at the same total density and s of the spin's own density."""
    found = enhancement(get_xc("gga_x_pbe"), 2.0, S, zeta=1.0)
    # The channel's own s is s / 2^(1/3) of the total density.
    expected = 2 ** (1 / 3) * exchange_enhancement(get_xc("gga_x_pbe"), S / 2 ** (1 / 3))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_functional_without_the_scaling_is_refused() -> None:
    class Steep(XCFunctional):
        name, family = "steep", 1

        def energy_density(self, variables):  # type: ignore[no-untyped-def]
            return -(variables.density**1.5)

    with pytest.raises(ValueError, match="steep has no exchange by scaling"):
        exchange_enhancement(Steep(), [0.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rs": 0.0, "s": 1.0}, "rs must be above 0, got 0.0"),
        ({"rs": 1.0, "s": -1.0}, "s must be at least 0, got -1.0"),
        ({"rs": 1.0, "s": float("nan")}, "s must be at least 0, got nan"),
        ({"rs": 1.0, "s": 1.0, "zeta": 2.0}, "zeta must be from -1 to 1, got 2.0"),
        ({"rs": 1.0, "s": 1.0, "alpha": -0.5}, "alpha must be at least 0, got -0.5"),
    ],
)
def test_impossible_arguments_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        enhancement(get_xc("PBE"), **values)
