"""Kinetic energies that rise at the cutoff."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave.basis.cutoff import smooth_kinetic


def test_energies_below_the_smoothing_stay() -> None:
    kinetic = torch.linspace(0.0, 8.0, 50, dtype=torch.float64)
    assert torch.equal(smooth_kinetic(kinetic, 10.0, 2.0), kinetic)
    above = torch.linspace(0.0, 10.0, 50, dtype=torch.float64)
    assert torch.equal(smooth_kinetic(above, 10.0, 0.0), above)


def test_the_rise_is_smooth_and_has_no_bound() -> None:
    kinetic = torch.linspace(7.5, 9.5, 2001, dtype=torch.float64)
    smoothed = smooth_kinetic(kinetic, 10.0, 2.0)
    slope = torch.diff(smoothed) / 0.001
    assert bool((slope > 0.0).all())
    # Value, slope and curvature are continuous where the smoothing begins, at 8 Ha.
    curvature = torch.diff(slope) / 0.001
    assert float(curvature[500 - 3 : 500 + 1].abs().max()) < 0.2
    assert float(smooth_kinetic(torch.tensor(9.99999), 10.0, 2.0)) > 1e5


def test_gradients_are_finite_on_the_edge() -> None:
    kinetic = torch.tensor([0.0, 8.0, 9.0, 9.999, 10.0], dtype=torch.float64, requires_grad=True)
    smooth_kinetic(kinetic, 10.0, 2.0).sum().backward()
    assert kinetic.grad is not None and bool(kinetic.grad.isfinite().all())


def test_energy_is_smooth_in_volume() -> None:
    """Second differences of the energy, where plane waves come in one shell after the other."""
    lengths = np.linspace(5.3, 5.5, 9)

    def roughness(smoothing: float) -> float:
        options = {"ecut": 120.0, "ecut_smoothing": smoothing, "fft_size": (18, 18, 18)}
        energies = [float(scf(bulk("Si", a=a), **options).free_energy) for a in lengths]
        return float(np.abs(np.diff(energies, 3)).max())

    assert roughness(50.0) < 0.1 * roughness(0.0)


@pytest.mark.parametrize("width", [-1.0, 10.0, float("nan")])
def test_widths_without_meaning_are_refused(width: float) -> None:
    crystal = Crystal.from_ase(bulk("Si"))
    with pytest.raises(ValueError, match="ecut_smoothing = .* between 0"):
        PlaneWaveBasis(crystal, 10.0, (1, 1, 1), ecut_smoothing=width)
