"""The volumes of entries that name none: wide enough to begin with, dense enough to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.data import DFTEntry
from deepchem_xc.eos.fits import NoMinimumError
from deepchem_xc.eos.scales import WIDE_VOLUME_SCALES
from deepchem_xc.planewave import equation_of_state
from tests.models.systems import aluminium, silicon

COARSE: dict[str, Any] = {"ecut": 250.0, "ecut_smoothing": 40.0, "kpts": (2, 2, 2)}


def test_a_functional_far_from_its_aim_still_has_a_minimum() -> None:
    """Exchange alone: silicon is 2.5 % too long, outside of the narrow range."""
    entry = DFTEntry.create("lattice_constant", 5.43, [silicon()])
    atoms = entry.systems[0].atoms
    curve = equation_of_state(atoms, "lda_x", **COARSE, scales=WIDE_VOLUME_SCALES)
    energies = {point.scale: point.energy for point in curve.points}
    value = entry.value(
        torch.tensor([energies[s] for s in WIDE_VOLUME_SCALES], dtype=torch.float64)
    )
    assert float(value) == pytest.approx(curve.a0, abs=1e-9)
    assert 5.5 < curve.a0 < 5.6
    narrow = [s for s in WIDE_VOLUME_SCALES if 0.93 < s < 1.07]
    inner = DFTEntry.create("lattice_constant", 5.43, [silicon()], scales=narrow)
    with pytest.raises(NoMinimumError, match=r"larger volumes.*'scales'.*\[0\.94, 0\.97, 1, "):
        inner.value(torch.tensor([energies[s] for s in narrow], dtype=torch.float64))


def test_the_wide_range_finds_the_minimum_of_the_narrow_one() -> None:
    """To a tenth of the 0.01 Angstrom that count as one in the loss."""
    narrow = [float(x) for x in np.linspace(0.94, 1.06, 7).round(12)]
    both = sorted({*WIDE_VOLUME_SCALES, *narrow})
    for system in (aluminium(), silicon()):
        entries = [
            DFTEntry.create("lattice_constant", 4.0, [system], scales=scales)
            for scales in (WIDE_VOLUME_SCALES, narrow)
        ]
        atoms = entries[0].systems[0].atoms
        curve = equation_of_state(atoms, "PBE", **COARSE, scales=both)
        energies = {point.scale: point.energy for point in curve.points}
        constants = [
            float(entry.value(torch.tensor([energies[s] for s in scales], dtype=torch.float64)))
            for entry, scales in zip(entries, (WIDE_VOLUME_SCALES, narrow), strict=True)
        ]
        assert constants[0] == pytest.approx(constants[1], abs=1e-3)
