"""Delta, epsilon and nu against other implementations, published values and limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase.collections import dcdft
from ase.eos import birchmurnaghan
from ase.units import GPa, kJ
from ase.utils.deltacodesdft import delta as ase_delta
from scipy.integrate import quad

from deepchem_xc.eos.fits import fit_equation_of_state, fit_equation_of_state_tensors
from deepchem_xc.metrics import delta_gauge, epsilon, nu

MEASURES = [delta_gauge, epsilon, nu]
SILICON = (20.4530, 88.545, 4.31)


def _of(symbol: str, code: str) -> tuple[float, float, float]:
    """V0 (Angstrom^3/atom), B0 (GPa), B1 of an element."""
    data = dcdft.data[symbol]
    return data[f"{code}_volume"], data[f"{code}_B"], data[f"{code}_Bp"]


def _both(symbol: str) -> list[tuple[float, float, float]]:
    return [_of(symbol, "wien2k"), _of(symbol, "exp")]


@pytest.mark.parametrize(
    ("symbol", "published"),
    [("Pt", 35.9), ("Al", 3.6), ("Ni", 3.7), ("Au", 39.4), ("Pd", 29.0), ("Ag", 21.3), ("Cu", 9.5)],
)
def test_delta_of_experiment_and_wien2k_is_the_published_one(symbol: str, published: float) -> None:
    """The table in the documentation of ASE, "Calculating Delta-values"."""
    assert delta_gauge(*_both(symbol)) == pytest.approx(published, abs=0.05)


ELEMENTS = [s for s in dcdft.names if {"exp_volume", "exp_B", "exp_Bp"} <= set(dcdft.data[s])]


def test_delta_agrees_with_ase_for_all_elements() -> None:
    """ASE's sum over 100 volumes is itself off by 2e-4."""
    assert len(ELEMENTS) > 40
    for symbol in ELEMENTS:
        one, other = _both(symbol)
        theirs = ase_delta(
            one[0], one[1] * GPa, one[2], other[0], other[1] * GPa, other[2], symmetric=True
        )
        assert delta_gauge(one, other) == pytest.approx(1000.0 * theirs, rel=1e-3), symbol


def test_the_unit_of_moduli_is_gpa() -> None:
    """ASE's example, which has moduli in GPa times 1e-24 kJ."""
    assert pytest.approx(1e-24 * kJ, rel=1e-12) == GPa
    pair = (15.08, 278.67, 5.31), (15.64, 248.71, 5.46)
    assert delta_gauge(*pair) == pytest.approx(32.05389, rel=1e-3)


@pytest.mark.parametrize("symbol", ["Al", "Ni", "Ca", "Si", "Cs", "Os"])
def test_delta_and_epsilon_agree_with_adaptive_integration(symbol: str) -> None:
    one, other = _both(symbol)
    low, high = (0.5 * x * (one[0] + other[0]) for x in (0.94, 1.06))

    def energy(volume: float, of: tuple[float, float, float]) -> float:
        return birchmurnaghan(volume, 0.0, of[1] * GPa, of[2], of[0])

    def average(function: Any) -> float:
        return quad(function, low, high, epsabs=0.0, epsrel=1e-11, limit=200)[0] / (high - low)

    squared = average(lambda v: (energy(v, one) - energy(v, other)) ** 2)
    assert delta_gauge(one, other) == pytest.approx(1000.0 * np.sqrt(squared), rel=1e-9)
    variances = []
    for of in (one, other):
        mean = average(lambda v, of=of: energy(v, of))
        variances.append(average(lambda v, of=of, mean=mean: (energy(v, of) - mean) ** 2))
    wanted = np.sqrt(squared / np.sqrt(np.prod(variances)))
    assert epsilon(one, other) == pytest.approx(wanted, rel=1e-9)


def test_nu_weighs_relative_differences_as_published() -> None:
    """Bosoni et al. (2024): weights 1, 1/20 and 1/400 of V0, B0 and B1, inside the squares."""
    v, b, d = SILICON
    up, down = 1.005, 0.995  # 1 % of their mean apart
    assert nu((v * up, b, d), (v * down, b, d)) == pytest.approx(1.0, rel=1e-12)
    assert nu((v, b * up, d), (v, b * down, d)) == pytest.approx(1 / 20, rel=1e-12)
    assert nu((v, b, d * up), (v, b, d * down)) == pytest.approx(1 / 400, rel=1e-12)
    together = nu((v * up, b * down, d * up), (v * down, b * up, d * down))
    assert together == pytest.approx(np.sqrt(1 + 1 / 400 + 1 / 160000), rel=1e-12)


def test_small_differences_of_the_volume_have_their_harmonic_limits() -> None:
    """With E = B (V - V0)^2 / 2 V0 and a range of +-h, h = 0.06, to first order in x = dV / V0:

    Delta = B V0 x h / sqrt(3), epsilon = sqrt(15) x / h, nu = 100 x. Terms that are left out are
    of the order h^2 B1^2 / 4, a few per cent.
    """
    v, b, d = SILICON
    x, h = 1e-5, 0.06
    pair = (v * (1.0 + 0.5 * x), b, d), (v * (1.0 - 0.5 * x), b, d)
    assert delta_gauge(*pair) == pytest.approx(1e3 * b * GPa * v * x * h / np.sqrt(3.0), rel=0.03)
    assert epsilon(*pair) == pytest.approx(np.sqrt(15.0) * x / h, rel=0.03)
    assert nu(*pair) == pytest.approx(100.0 * x, rel=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_are_symmetric_and_zero_for_equal_curves(measure: Any) -> None:
    one, other = _both("Cu")
    assert measure(one, other) == pytest.approx(measure(other, one), rel=1e-12)
    assert measure(one, one) == 0.0
    closer = [x + 0.1 * (y - x) for x, y in zip(one, other)]
    assert 0.0 < measure(one, closer) < 0.2 * measure(one, other)


def test_stiffness_changes_delta_alone() -> None:
    (v, b, d), (w, c, e) = _both("Cu")
    soft, stiff = [(v, b, d), (w, c, e)], [(v, 3.0 * b, d), (w, 3.0 * c, e)]
    assert delta_gauge(*stiff) == pytest.approx(3.0 * delta_gauge(*soft), rel=1e-12)
    assert epsilon(*stiff) == pytest.approx(epsilon(*soft), rel=1e-12)
    assert nu(*stiff) == pytest.approx(nu(*soft), rel=1e-12)


@pytest.mark.parametrize("fit", [fit_equation_of_state, fit_equation_of_state_tensors])
def test_fits_of_cells_count_their_atoms(fit: Any) -> None:
    def fitted(of: tuple[float, float, float], natoms: int) -> Any:
        volumes = of[0] * np.linspace(0.94, 1.06, 7)
        energies = birchmurnaghan(volumes, -100.0, of[1] * GPa, of[2], of[0])
        energies = natoms * (torch.tensor(energies) if "tensors" in fit.__name__ else energies)
        return fit(natoms * volumes, energies)

    one, other = SILICON, (20.1, 93.0, 4.2)
    two, eight = fitted(one, 2), fitted(other, 8)
    for measure in MEASURES:
        wanted = measure(one, other)
        # A fit loses digits where it differentiates the energies three times.
        assert measure(two, eight, natoms=(2, 8)) == pytest.approx(wanted, rel=1e-6)
        assert measure(two, other, natoms=2) == pytest.approx(wanted, rel=1e-6)
        assert measure(two, fitted(other, 2), natoms=2) == pytest.approx(wanted, rel=1e-6)
    assert nu(two, fitted(other, 2)) == pytest.approx(nu(one, other), rel=1e-6)


def _fit(dimension: int = 3) -> Any:
    sizes = np.linspace(0.94, 1.06, 7) * 40.0
    return fit_equation_of_state(sizes, (sizes / 40.0 - 1.0) ** 2, dimension)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("one", "natoms", "message"),
    [
        ((-16.0, 78.0, 4.5), None, r"positive.*-16 Angstrom\^3"),
        ((0.0, 78.0, 4.5), None, "positive"),
        ((16.0, -78.0, 4.5), None, "positive.*-78 GPa"),
        ((16.0, float("nan"), 4.5), None, "finite"),
        ((16.0, 78.0, float("inf")), None, "finite"),
        ((16.0, 78.0), None, r"three numbers.*got \(16.0, 78.0\)"),
        ("Al ", None, "three numbers.*got 'Al '"),
        (16.0, None, "three numbers.*got 16.0"),
        ((16.0, "78", 4.5), None, "bulk modulus must be a number"),
        ((40.9, 88.0, 4.3), None, r"factor of 2\.\d\d.*volumes an atom"),
        ((20.0, 88.0, 4.3), 2, "natoms=2 is for fits"),
        (_fit(), None, "natoms=... must give the number of its atoms"),
        (_fit(), 0, "natoms must be a whole number of at least 1"),
        (_fit(), (2, 2, 2), "one number, or one for each"),
        (_fit(), 1, "factor of"),
        (_fit(dimension=2), 2, "layer"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    measure: Any, one: Any, natoms: Any, message: str
) -> None:
    for pair in ((one, SILICON), (SILICON, one)):
        with pytest.raises(ValueError, match=message):
            measure(*pair, natoms=natoms)


def test_delta_of_two_fits_needs_their_atoms() -> None:
    with pytest.raises(ValueError, match="natoms"):
        delta_gauge(_fit(), _fit())
    assert epsilon(_fit(), _fit()) == 0.0


def test_nu_refuses_derivatives_that_are_not_positive() -> None:
    with pytest.raises(ValueError, match="positive pressure derivatives.*-1"):
        nu(SILICON, (20.0, 88.0, -1.0))
    assert epsilon(SILICON, (20.0, 88.0, -1.0)) > 0.0
