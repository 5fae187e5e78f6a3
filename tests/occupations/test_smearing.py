"""Smeared steps and their entropies, and the energy at zero width."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepchem_xc.occupations.occupy import (
    SMEARINGS,
    make_smearing,
    occupy,
)
from tests.differences import assert_exact_derivatives
from tests.occupations.random_bands import doubles, every_smearing


@every_smearing
def test_occupation_goes_from_one_to_zero(spec):
    smearing = make_smearing(spec)
    f = smearing.occupation(doubles([-45.0, -1e3, 45.0, 1e3]))
    torch.testing.assert_close(f, doubles([1.0, 1, 0, 0]), atol=1e-18, rtol=0)


@every_smearing
def test_derivative_of_the_occupation(spec):
    smearing = make_smearing(spec)
    x = torch.linspace(-9, 9, 181, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smearing.occupation(x).sum(), x)
    torch.testing.assert_close(smearing.occupation_derivative(x), slope, atol=1e-14, rtol=1e-12)
    assert_exact_derivatives(smearing.occupation, x)
    assert_exact_derivatives(smearing.entropy, x)


@every_smearing
def test_free_energy_is_stationary_in_the_occupations(spec):
    """T dS = (e - mu) df, without which forces would need the response of the occupations."""
    smearing = make_smearing(spec)
    x = torch.linspace(-9, 9, 181, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smearing.entropy(x).sum(), x)
    expected = x * smearing.occupation_derivative(x)
    torch.testing.assert_close(slope, expected, atol=1e-14, rtol=1e-12)


@every_smearing
def test_smeared_delta_integrates_low_polynomials_exactly(spec):
    """Methfessel-Paxton of order N to degree 2N + 1, cold smearing to degree 2, others to 1; this
    is what makes their energies nearly independent of the width."""
    smearing = make_smearing(spec)
    exact = {"methfessel-paxton": 2 * spec.get("order", 1) + 1, "marzari-vanderbilt": 2}
    degree = exact.get(spec["name"], 1)
    x = torch.linspace(-60, 60, 240001, dtype=torch.float64)
    delta = -smearing.occupation_derivative(x)
    moments = [float(torch.trapezoid(delta * x**n, x)) for n in range(degree + 2)]
    assert moments[0] == pytest.approx(1.0, abs=1e-10)
    assert np.abs(moments[1:-1]).max() < 1e-9
    assert abs(moments[-1]) > 0.1


def test_functions_equal_their_formulas_in_scipy():
    from scipy.special import erf, expit, xlogy

    x = np.linspace(-6, 6, 49)
    fermi = expit(-x)
    gauss = np.exp(-(x**2)) / math.sqrt(math.pi)
    y = x + math.sqrt(0.5)
    formulas = {
        "fermi-dirac": (fermi, -xlogy(fermi, fermi) - xlogy(1 - fermi, 1 - fermi)),
        "gaussian": (0.5 * (1 - erf(x)), gauss / 2),
        # Methfessel, Paxton (1989), order 1: A_1 = -1/(4 sqrt(pi)), H_1 = 2x, H_2 = 4x^2 - 2
        "methfessel-paxton": (0.5 * (1 - erf(x)) - x * gauss / 2, (1 - 2 * x**2) * gauss / 4),
        # Marzari et al. (1999) as in GPAW: s = e^{-y^2} (1 + sqrt(2) x) / (2 sqrt(pi))
        "marzari-vanderbilt": (
            0.5 * (1 - erf(y)) + np.exp(-(y**2)) / math.sqrt(2 * math.pi),
            np.exp(-(y**2)) * (1 + math.sqrt(2) * x) / (2 * math.sqrt(math.pi)),
        ),
    }
    for name, (occupation, entropy) in formulas.items():
        smearing = make_smearing({"name": name, "width": 0.01})
        x_torch = torch.from_numpy(x)
        np.testing.assert_allclose(smearing.occupation(x_torch), occupation, atol=1e-15)
        np.testing.assert_allclose(smearing.entropy(x_torch), entropy, atol=1e-15)


def test_methfessel_paxton_of_order_zero_is_gaussian():
    x = torch.linspace(-5, 5, 21, dtype=torch.float64)
    zeroth = make_smearing({"name": "methfessel-paxton", "width": 0.01, "order": 0})
    gaussian = make_smearing({"name": "gaussian", "width": 0.01})
    assert torch.equal(zeroth.occupation(x), gaussian.occupation(x))
    assert torch.equal(zeroth.entropy(x), gaussian.entropy(x))
    assert zeroth.extrapolation_factor == gaussian.extrapolation_factor


@every_smearing
def test_huge_arguments_are_harmless(spec):
    smearing = make_smearing(spec)
    x = doubles([-math.inf, -1e300, -1e5, -800, 0, 800, 1e5, 1e300, math.inf]).requires_grad_()
    for function in (smearing.occupation, smearing.entropy, smearing.occupation_derivative):
        value = function(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        assert torch.isfinite(value).all()
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("spec", "widths", "power"),
    [
        ({"name": "fermi-dirac"}, (0.02, 0.01), 4),
        ({"name": "gaussian"}, (0.08, 0.04), 4),
        ({"name": "methfessel-paxton"}, (0.08, 0.04), 4),
        ({"name": "marzari-vanderbilt"}, (0.08, 0.04), 3),
    ],
)
def test_extrapolated_energy_of_free_electrons(spec, widths, power):
    """The band e = k^2/2 in three dimensions, 3/5 e_F per electron: the error of the extrapolated
    energy falls with the power of the width that theory gives."""
    k = torch.linspace(0, 3, 30001, dtype=torch.float64)
    weights = k * k
    weights[-1] /= 2  # trapezoidal rule
    weights /= weights.sum()
    levels = torch.stack([k * k / 2, k * k / 2 + 100], dim=-1)[None]  # and an empty band
    nelectrons = 2 / 27  # up to k = 1, in a ball of radius 3
    errors = []
    for width in widths:
        smearing = make_smearing({**spec, "width": width})
        result = occupy(levels, weights, nelectrons, smearing)
        band = (weights[:, None] * result.occupations * levels).sum()
        zero = smearing.extrapolate(band + result.entropy_energy, result.entropy_energy)
        errors.append(abs(float(zero) / (0.3 * nelectrons) - 1))
    assert errors[1] < 1e-4
    assert 0.7 < errors[0] / errors[1] / 2**power < 1.5, errors


@pytest.mark.parametrize(
    ("spec", "energy", "expected"),
    [
        # GPAW 26.7: extrapolate_factor of each distribution, applied to e_entropy = -TS = -0.2
        ({"name": "fermi-dirac", "width": 0.01}, -1.0, -0.9),
        ({"name": "methfessel-paxton", "width": 0.01, "order": 0}, -1.0, -0.9),
        ({"name": "methfessel-paxton", "width": 0.01, "order": 1}, -1.0, -1.0 + 0.2 / 3),
        ({"name": "marzari-vanderbilt", "width": 0.01}, -1.0, -1.0),
        ({"name": "fixed"}, -1.0, -1.0),
    ],
)
def test_extrapolation_means_the_same_as_in_gpaw(spec, energy, expected):
    assert float(make_smearing(spec).extrapolate(doubles(energy), doubles(-0.2))) == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "fermi"}, "unknown occupations 'fermi'.*" + ", ".join(SMEARINGS)),
        ({"width": 0.1}, "dictionary with a 'name'.*fermi-dirac"),
        (0.1, "dictionary with a 'name'"),
        ({"name": "fermi-dirac"}, "need a 'width'"),
        ({"name": "fermi-dirac", "width": "wide"}, "need a 'width'"),
        ({"name": "fermi-dirac", "width": 0.0}, "width must be a positive.*'fixed'"),
        ({"name": "gaussian", "width": math.nan}, "width must be a positive"),
        ({"name": "gaussian", "width": 0.1, "order": 1}, "unknown key.*'order'.*name, width"),
        ({"name": "fixed", "width": 0.1}, "unknown key.*'width'"),
        ({"name": "methfessel-paxton", "width": 0.1, "order": -1}, "integer >= 0"),
        ({"name": "methfessel-paxton", "width": 0.1, "order": 0.5}, "integer >= 0"),
    ],
)
def test_unknown_smearing_is_refused_by_name(spec, message):
    with pytest.raises(ValueError, match=message):
        make_smearing(spec)


def test_smearing_passes_through_and_names_are_forgiving():
    fermi = make_smearing({"name": "fermi-dirac", "width": 0.01})
    assert make_smearing(fermi) is fermi
    assert make_smearing({"name": "Methfessel_Paxton", "width": 1}).name == "methfessel-paxton"
