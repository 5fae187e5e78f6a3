"""Occupations and entropies: against ABINIT, thermodynamics and exact limits."""

from __future__ import annotations

import math

import pytest
import torch

from deepchem_xc.occupations.occupy import (
    TooFewBandsError,
    check_enough_bands,
    make_smearing,
    occupy,
)
from tests.devices import GPU
from tests.differences import assert_exact_derivatives
from tests.occupations.random_bands import count, doubles, every_smearing, random_bands

ABINIT_NAMES = {1: "fixed", 3: "fermi-dirac", 6: "methfessel-paxton", 7: "gaussian"}


@pytest.mark.parametrize("file", ["abinit_gth.json", "abinit_psp8.json"])
def test_fermi_level_occupations_and_entropy_equal_abinit(reference, file):
    """ABINIT's eigenvalues in, ABINIT's results out."""
    tested = set()
    for name, entry in reference(file).items():
        occupations = doubles(entry["occupations"])
        weights = doubles(entry["kwts"])
        weights = weights / weights.sum()  # printed with 11 digits
        spec = {"name": ABINIT_NAMES[entry["occopt"]]}
        if entry["occopt"] != 1:
            spec["width"] = entry["tsmear_Ha"]
        nelectrons = float((occupations * weights[:, None]).sum().round())
        result = occupy(doubles(entry["eigenvalues_Ha"]), weights, nelectrons, make_smearing(spec))
        energies = entry["energies_Ha"]
        assert result.fermi_level == pytest.approx(energies["e_fermie"], abs=1e-10), name
        torch.testing.assert_close(result.occupations, occupations, atol=2e-9, rtol=0)
        assert float(result.entropy_energy) == pytest.approx(energies["e_entropy"], abs=1e-11)
        assert count(result, weights) == pytest.approx(nelectrons, abs=1e-13)
        tested.add(spec["name"])
    assert {"fixed", "fermi-dirac"} <= tested


@every_smearing
@pytest.mark.parametrize("moment", [None, 1.5])
def test_occupations_and_entropy_have_exact_derivatives(spec, moment):
    """Shift of the Fermi level included: no occupation responds to a rigid shift."""
    levels, weights = random_bands(nspin=2, nk=2, nband=4)
    levels.requires_grad_()
    smearing = make_smearing({**spec, "width": 0.1})

    def function(eigenvalues):
        result = occupy(eigenvalues, weights, 3.5, smearing, moment)
        return result.occupations, result.entropy_energy

    assert_exact_derivatives(function, levels)
    (slope,) = torch.autograd.grad(function(levels)[0][0, 0, 1], levels)
    assert abs(float(slope.sum())) < 1e-12
    assert slope.abs().max() > 1e-3


@every_smearing
def test_free_energy_has_occupations_as_its_gradient(spec):
    """d(sum w f e - TS)/de = w f at fixed number of electrons (Hellmann-Feynman for bands)."""
    levels, weights = random_bands()
    levels.requires_grad_()
    result = occupy(levels, weights, 7.0, make_smearing(spec))
    free = (weights[:, None] * result.occupations * levels).sum() + result.entropy_energy
    (slope,) = torch.autograd.grad(free, levels)
    torch.testing.assert_close(
        slope, (weights[:, None] * result.occupations).detach(), atol=1e-12, rtol=0
    )


def test_fixed_occupations_of_an_insulator():
    levels = doubles([[[-0.3, -0.2, 0.2], [-0.25, -0.1, 0.3]]])
    result = occupy(levels, doubles([0.25, 0.75]), 4, make_smearing("fixed"))
    assert result.occupations.tolist() == [[[2, 2, 0], [2, 2, 0]]]
    assert result.fermi_level == -0.1  # highest occupied, as ABINIT
    assert (float(result.entropy_energy), result.width) == (0.0, 0.0)


def test_hund_s_rule_in_oxygen_levels():
    """Free two-channel fixed occupations fill both spins from below: O2's triplet."""
    up = [-1.5, -1.0, -0.6, -0.55, -0.55, -0.3, -0.3, 0.1]
    down = [-1.4, -0.9, -0.5, -0.5, -0.5, -0.1, -0.1, 0.2]
    levels = doubles([[up], [down]])
    result = occupy(levels, doubles([1.0]), 12, make_smearing(None))
    assert result.occupations.sum((1, 2)).tolist() == [7, 5]
    assert result.fermi_level == -0.3
    fixed = occupy(levels, doubles([1.0]), 12, make_smearing(None), magnetic_moment=0)
    assert fixed.occupations.sum((1, 2)).tolist() == [6, 6]
    assert fixed.fermi_level == (-0.3, -0.1)


def test_hydrogen_atom_has_one_electron_and_an_empty_channel():
    levels = doubles([[[-0.5, 0.0]], [[-0.4, 0.1]]])
    assert occupy(levels, doubles([1.0]), 1, make_smearing(None)).occupations.tolist() == [
        [[1, 0]],
        [[0, 0]],
    ]
    fixed = occupy(levels, doubles([1.0]), 1, make_smearing(None), magnetic_moment=1)
    assert fixed.fermi_level == (-0.5, -math.inf)


def test_unsorted_levels_are_filled_from_below():
    levels = doubles([[[0.3, -0.2, -0.4]]])
    assert occupy(levels, doubles([1.0]), 2, make_smearing(None)).occupations.tolist() == [
        [[0, 0, 2]]
    ]


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


@pytest.mark.gpu
@every_smearing
def test_occupations_on_the_device_equal_the_cpu(spec):
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing(spec)
    cpu = occupy(levels, weights, 9.0, smearing)
    gpu = occupy(levels.to(GPU), weights.to(GPU), 9.0, smearing)
    assert gpu.occupations.device.type == GPU
    assert gpu.fermi_level == pytest.approx(cpu.fermi_level, abs=1e-12)
    torch.testing.assert_close(gpu.occupations.cpu(), cpu.occupations, atol=1e-11, rtol=0)


@every_smearing
@pytest.mark.parametrize("width", [1e-5, 4e-4, 5e-4, 6e-4, 1e-2])
def test_derivatives_across_a_gap_are_finite_however_wide_it_is(spec, width):
    """Slopes that underflow make quotients of which autograd makes NaN."""
    levels = doubles([[[-0.4, 0.295, 0.2951, 0.4]]]).requires_grad_()
    smearing = make_smearing({**spec, "width": width})
    result = occupy(levels, doubles([1.0]), 2.0, smearing)
    weights = doubles([[[0.3, -0.2, 0.5, 0.1]]])
    loss = (result.occupations * weights).sum() + result.entropy_energy
    (gradient,) = torch.autograd.grad(loss, levels)
    assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) < 1e-6
