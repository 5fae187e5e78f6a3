"""Occupations, Fermi levels and entropies: against ABINIT, thermodynamics and exact limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deepchem_xc.planewave.occupations import (
    SMEARINGS,
    TooFewBandsError,
    check_enough_bands,
    make_smearing,
    occupy,
)

SMOOTH = [
    {"name": "fermi-dirac", "width": 0.01},
    {"name": "gaussian", "width": 0.01},
    {"name": "methfessel-paxton", "width": 0.01},
    {"name": "methfessel-paxton", "width": 0.01, "order": 2},
    {"name": "methfessel-paxton", "width": 0.01, "order": 3},
    {"name": "marzari-vanderbilt", "width": 0.01},
]
every_smearing = pytest.mark.parametrize(
    "spec", SMOOTH, ids=lambda s: s["name"] + str(s.get("order", ""))
)
ABINIT_NAMES = {1: "fixed", 3: "fermi-dirac", 6: "methfessel-paxton", 7: "gaussian"}


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


def random_bands(nspin=1, nk=7, nband=9, seed=0):
    """Metallic bands: random levels between -0.5 and 0.5 Ha, random weights."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.rand(nspin, nk, nband, generator=generator, dtype=torch.float64) - 0.5
    weights = torch.rand(nk, generator=generator, dtype=torch.float64) + 0.1
    return levels.sort(dim=-1).values, weights / weights.sum()


def count(occupations, weights):
    return float((occupations.numbers * weights[:, None]).sum())


# ---- against ABINIT ----------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["abinit_gth.json", "abinit_psp8.json"])
def test_fermi_level_occupations_and_entropy_equal_abinit(reference, file):
    """ABINIT's eigenvalues in, ABINIT's results out."""
    tested = set()
    for name, entry in reference(file).items():
        numbers = doubles(entry["occupations"])
        weights = doubles(entry["kwts"])
        weights = weights / weights.sum()  # printed with 11 digits
        spec = {"name": ABINIT_NAMES[entry["occopt"]]}
        if entry["occopt"] != 1:
            spec["width"] = entry["tsmear_Ha"]
        nelectrons = float((numbers * weights[:, None]).sum().round())
        result = occupy(doubles(entry["eigenvalues_Ha"]), weights, nelectrons, make_smearing(spec))
        energies = entry["energies_Ha"]
        assert result.fermi_level == pytest.approx(energies["e_fermie"], abs=1e-10), name
        torch.testing.assert_close(result.numbers, numbers, atol=2e-9, rtol=0)
        assert float(result.entropy_energy) == pytest.approx(energies["e_entropy"], abs=1e-11)
        assert count(result, weights) == pytest.approx(nelectrons, abs=1e-13)
        tested.add(spec["name"])
    assert {"fixed", "fermi-dirac"} <= tested


# ---- the functions -----------------------------------------------------------------------------


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
    assert torch.autograd.gradcheck(smearing.occupation, (x,))
    assert torch.autograd.gradcheck(smearing.entropy, (x,))


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


# ---- the Fermi level ---------------------------------------------------------------------------


@every_smearing
@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("width", [1e-5, 1e-3, 0.05])
def test_electrons_are_conserved_to_rounding(spec, nspin, width):
    smearing = make_smearing({**spec, "width": width})
    for seed, nelectrons in itertools.product(range(5), (0.3, 5.0, 8.7, 13.0)):
        levels, weights = random_bands(nspin, seed=seed)
        result = occupy(levels, weights, nelectrons, smearing)
        # The spacing of numbers around the Fermi level limits x to 1e-16 / width.
        tolerance = 2e-13 * nelectrons + 1e-15 / width * 0.1
        assert count(result, weights) == pytest.approx(nelectrons, abs=tolerance)


def test_fermi_level_of_fermi_dirac_equals_scipy_s_root():
    from scipy.optimize import brentq
    from scipy.special import expit

    levels, weights = random_bands()
    e, w = levels[0].numpy(), weights.numpy()[:, None]
    expected = brentq(lambda mu: (2 * w * expit((mu - e) / 0.02)).sum() - 7.0, -1, 1, xtol=1e-15)
    result = occupy(levels, weights, 7.0, make_smearing({"name": "fermi-dirac", "width": 0.02}))
    assert result.fermi_level == pytest.approx(expected, abs=1e-14)


@every_smearing
@pytest.mark.parametrize("width", [1e-4, 1e-3])
def test_fermi_level_of_an_insulator_is_in_the_gap(spec, width):
    levels = doubles([[[-0.3, -0.2, 0.2, 0.4]], [[-0.25, -0.22, 0.2, 0.3]]]).transpose(0, 1)
    weights = doubles([0.5, 0.5])
    result = occupy(levels, weights, 4.0, make_smearing({**spec, "width": width}))
    torch.testing.assert_close(result.numbers, doubles([[[2.0, 2, 0, 0]] * 2]), atol=1e-13, rtol=0)
    assert result.fermi_level == pytest.approx(0.0, abs=0.05)  # near the middle
    assert abs(float(result.entropy_energy)) < 1e-13


@pytest.mark.parametrize("name", ["methfessel-paxton", "marzari-vanderbilt"])
def test_several_solutions_of_non_monotonic_smearing_are_resolved_near_gaussian_s(name):
    """One level below, one above: N(mu) = 1 has more than one solution; ours rises through the
    one nearest to Gaussian smearing's, found here by scanning."""
    width = 0.01
    smearing = make_smearing({"name": name, "width": width})
    gaussian = make_smearing({"name": "gaussian", "width": width})
    several = 0
    for gap in np.linspace(0.5, 8, 31):
        levels = doubles([[[-gap / 2 * width, gap / 2 * width, 2 * gap * width]]])
        weights = torch.ones(1, dtype=torch.float64)
        centre = occupy(levels, weights, 2.0, gaussian).fermi_level
        mu = torch.linspace(-0.1, 0.1, 200001, dtype=torch.float64)
        excess = 2 * smearing.occupation((levels.reshape(-1, 1) - mu) / width).sum(0) - 2
        several += len(torch.nonzero(excess[:-1] * excess[1:] < 0)) > 1
        rising = torch.nonzero((excess[:-1] < 0) & (excess[1:] >= 0)).flatten()
        result = occupy(levels, weights, 2.0, smearing)
        assert abs(count(result, weights) - 2) < 1e-13
        if gap < 6:  # else N is flat in the gap
            # Near symmetry the roots on both sides of the centre are equally near.
            distance = float((mu[rising] - centre).abs().min())
            assert abs(result.fermi_level - centre) == pytest.approx(distance, abs=2e-6)
            slope = smearing.occupation_derivative((levels - result.fermi_level) / width).sum()
            assert float(slope) < 0
    if name == "methfessel-paxton":
        assert several > 0  # or the test would say nothing


def test_rigid_shift_of_the_levels_moves_only_the_fermi_level():
    levels, weights = random_bands()
    for spec in SMOOTH:
        smearing = make_smearing(spec)
        here = occupy(levels, weights, 6.0, smearing)
        there = occupy(levels + 3.0, weights, 6.0, smearing)
        assert there.fermi_level - here.fermi_level == pytest.approx(3.0, abs=1e-12)
        torch.testing.assert_close(there.numbers, here.numbers, atol=1e-11, rtol=0)


@every_smearing
def test_closed_shell_is_the_same_in_one_and_two_channels(spec):
    levels, weights = random_bands()
    smearing = make_smearing(spec)
    one = occupy(levels, weights, 7.0, smearing)
    two = occupy(levels.expand(2, -1, -1), weights, 7.0, smearing)
    assert two.fermi_level == pytest.approx(one.fermi_level, abs=1e-13)
    torch.testing.assert_close(2 * two.numbers[:1], one.numbers, atol=1e-12, rtol=0)
    assert float(two.entropy_energy) == pytest.approx(float(one.entropy_energy), abs=1e-14)


def test_fixed_moment_has_a_fermi_level_for_each_spin():
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing({"name": "fermi-dirac", "width": 0.02})
    result = occupy(levels, weights, 9.0, smearing, magnetic_moment=2.5)
    per_spin = (result.numbers * weights[:, None]).sum((1, 2))
    torch.testing.assert_close(per_spin, doubles([5.75, 3.25]), atol=1e-13, rtol=0)
    for s, electrons in enumerate((5.75, 3.25)):
        alone = occupy(levels[s : s + 1], weights, 2 * electrons, smearing)
        assert result.fermi_level[s] == pytest.approx(alone.fermi_level, abs=1e-13)


def test_moment_of_the_free_solution_fixed_changes_nothing():
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing({"name": "gaussian", "width": 0.02})
    free = occupy(levels, weights, 9.0, smearing)
    moment = float(((free.numbers[0] - free.numbers[1]) * weights[:, None]).sum())
    fixed = occupy(levels, weights, 9.0, smearing, magnetic_moment=moment)
    assert fixed.fermi_level == pytest.approx((free.fermi_level,) * 2, abs=1e-11)
    torch.testing.assert_close(fixed.numbers, free.numbers, atol=1e-10, rtol=0)


def test_full_polarisation_empties_a_channel():
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing({"name": "fermi-dirac", "width": 0.02})
    result = occupy(levels, weights, 3.0, smearing, magnetic_moment=-3.0)
    assert result.fermi_level[0] == -math.inf
    assert result.numbers[0].abs().max() == 0
    assert torch.isfinite(result.entropy_energy)


# ---- derivatives -------------------------------------------------------------------------------


@every_smearing
@pytest.mark.parametrize("moment", [None, 1.5])
def test_occupations_and_entropy_have_exact_derivatives(spec, moment):
    """Shift of the Fermi level included: no occupation responds to a rigid shift."""
    levels, weights = random_bands(nspin=2, nk=2, nband=4)
    levels.requires_grad_()
    smearing = make_smearing({**spec, "width": 0.1})

    def function(eigenvalues):
        result = occupy(eigenvalues, weights, 3.5, smearing, moment)
        return result.numbers, result.entropy_energy

    assert torch.autograd.gradcheck(function, (levels,), atol=1e-6)
    (slope,) = torch.autograd.grad(function(levels)[0][0, 0, 1], levels)
    assert abs(float(slope.sum())) < 1e-12
    assert slope.abs().max() > 1e-3


@every_smearing
def test_free_energy_has_occupations_as_its_gradient(spec):
    """d(sum w f e - TS)/de = w f at fixed number of electrons (Hellmann-Feynman for bands)."""
    levels, weights = random_bands()
    levels.requires_grad_()
    result = occupy(levels, weights, 7.0, make_smearing(spec))
    free = (weights[:, None] * result.numbers * levels).sum() + result.entropy_energy
    (slope,) = torch.autograd.grad(free, levels)
    torch.testing.assert_close(
        slope, (weights[:, None] * result.numbers).detach(), atol=1e-12, rtol=0
    )


# ---- energies at zero width --------------------------------------------------------------------


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
        band = (weights[:, None] * result.numbers * levels).sum()
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


# ---- fixed occupations -------------------------------------------------------------------------


def test_fixed_occupations_of_an_insulator():
    levels = doubles([[[-0.3, -0.2, 0.2], [-0.25, -0.1, 0.3]]])
    result = occupy(levels, doubles([0.25, 0.75]), 4, make_smearing("fixed"))
    assert result.numbers.tolist() == [[[2, 2, 0], [2, 2, 0]]]
    assert result.fermi_level == -0.1  # highest occupied, as ABINIT
    assert (float(result.entropy_energy), result.width) == (0.0, 0.0)


def test_hund_s_rule_in_oxygen_levels():
    """Free two-channel fixed occupations fill both spins from below: O2's triplet."""
    up = [-1.5, -1.0, -0.6, -0.55, -0.55, -0.3, -0.3, 0.1]
    down = [-1.4, -0.9, -0.5, -0.5, -0.5, -0.1, -0.1, 0.2]
    levels = doubles([[up], [down]])
    result = occupy(levels, doubles([1.0]), 12, make_smearing(None))
    assert result.numbers.sum((1, 2)).tolist() == [7, 5]
    assert result.fermi_level == -0.3
    fixed = occupy(levels, doubles([1.0]), 12, make_smearing(None), magnetic_moment=0)
    assert fixed.numbers.sum((1, 2)).tolist() == [6, 6]
    assert fixed.fermi_level == (-0.3, -0.1)


def test_hydrogen_atom_has_one_electron_and_an_empty_channel():
    levels = doubles([[[-0.5, 0.0]], [[-0.4, 0.1]]])
    assert occupy(levels, doubles([1.0]), 1, make_smearing(None)).numbers.tolist() == [
        [[1, 0]],
        [[0, 0]],
    ]
    fixed = occupy(levels, doubles([1.0]), 1, make_smearing(None), magnetic_moment=1)
    assert fixed.fermi_level == (-0.5, -math.inf)


def test_unsorted_levels_are_filled_from_below():
    levels = doubles([[[0.3, -0.2, -0.4]]])
    assert occupy(levels, doubles([1.0]), 2, make_smearing(None)).numbers.tolist() == [[[0, 0, 2]]]


# ---- bad input ---------------------------------------------------------------------------------

LEVELS, WEIGHTS = random_bands(nband=4)
FERMI = make_smearing({"name": "fermi-dirac", "width": 0.01})


def test_odd_electrons_without_spin_or_smearing_are_refused():
    with pytest.raises(ValueError, match="3 electrons cannot fill whole bands.*spinpol=True"):
        occupy(LEVELS, WEIGHTS, 3, make_smearing(None))


def test_impossible_moments_are_refused():
    two = LEVELS.expand(2, -1, -1)
    with pytest.raises(ValueError, match="needs two spin channels"):
        occupy(LEVELS, WEIGHTS, 4, FERMI, magnetic_moment=1.0)
    with pytest.raises(ValueError, match="cannot make a magnetic moment of 5"):
        occupy(two, WEIGHTS, 4, FERMI, magnetic_moment=5)
    with pytest.raises(ValueError, match="fraction of an electron"):
        occupy(two, WEIGHTS, 4, make_smearing(None), magnetic_moment=1)
    with pytest.raises(ValueError, match="cannot make a magnetic moment of nan"):
        occupy(two, WEIGHTS, 4, FERMI, magnetic_moment=math.nan)


def test_too_few_bands_are_refused():
    two = LEVELS.expand(2, -1, -1)
    with pytest.raises(TooFewBandsError, match="4 bands hold at most 8 electrons.*at least 5"):
        occupy(LEVELS, WEIGHTS, 10, make_smearing(None))
    with pytest.raises(TooFewBandsError, match="needs empty bands"):
        occupy(LEVELS, WEIGHTS, 8, FERMI)
    with pytest.raises(TooFewBandsError, match="cannot hold 5 electrons of one spin"):
        occupy(two, WEIGHTS, 6, make_smearing(None), magnetic_moment=4)
    with pytest.raises(TooFewBandsError, match="needs empty bands"):
        occupy(two, WEIGHTS, 6, FERMI, magnetic_moment=3)


def test_occupied_top_band_is_found_and_empty_one_passes():
    levels = doubles([[[-0.3, -0.1, 0.0, 0.5]]])
    check_enough_bands(occupy(levels, doubles([1.0]), 5.0, FERMI))
    check_enough_bands(occupy(levels[..., :2], doubles([1.0]), 4.0, make_smearing(None)))
    with pytest.raises(TooFewBandsError, match="highest of 3 bands.*fermi-dirac.*Raise nbands"):
        check_enough_bands(occupy(levels[..., :3], doubles([1.0]), 5.0, FERMI))


def test_wrong_numbers_and_shapes_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        occupy(LEVELS * math.nan, WEIGHTS, 4, FERMI)
    with pytest.raises(ValueError, match="must be positive, got nan"):
        occupy(LEVELS, WEIGHTS, math.nan, FERMI)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        occupy(LEVELS, WEIGHTS, 0, FERMI)
    with pytest.raises(ValueError, match=r"\(nspin, nk, nband\)"):
        occupy(LEVELS[0], WEIGHTS, 4, FERMI)
    with pytest.raises(ValueError, match=r"weights must have shape \(7,\)"):
        occupy(LEVELS, WEIGHTS[:2], 4, FERMI)


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
    assert make_smearing(FERMI) is FERMI
    assert make_smearing({"name": "Methfessel_Paxton", "width": 1}).name == "methfessel-paxton"


@pytest.mark.gpu
@every_smearing
def test_occupations_on_the_device_equal_the_cpu(spec):
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing(spec)
    cpu = occupy(levels, weights, 9.0, smearing)
    gpu = occupy(levels.cuda(), weights.cuda(), 9.0, smearing)
    assert gpu.numbers.is_cuda
    assert gpu.fermi_level == pytest.approx(cpu.fermi_level, abs=1e-12)
    torch.testing.assert_close(gpu.numbers.cpu(), cpu.numbers, atol=1e-11, rtol=0)
