"""Training on a CUDA device is training on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import XCModel
from deepchem_xc.xc import PBE, load_functional
from tests.devices import DEVICES
from tests.models.systems import (
    LOOSE,
    SCALES,
    Enhanced,
    aluminium,
    dataset,
    make,
    quick,
    weights,
)
from tests.models.test_gradients import ENTRIES, loss_of

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("e_type", list(ENTRIES))
def test_gradient_of_every_entry_type(e_type: str) -> None:
    label, systems, more = ENTRIES[e_type]
    gradients = []
    for device in DEVICES:
        entry = DFTEntry.create(e_type, label, systems, **more)
        functional = PBE(trainable=True)
        loss = loss_of(entry, functional, device=device)
        assert loss.device.type == device
        loss.backward()
        found = [parameter.grad for parameter in functional.parameters()]
        assert all(gradient.device.type == device for gradient in found)
        gradients.append(torch.stack(found).cpu())
    here, there = gradients
    assert float((there - here).abs().max()) < 1e-4 * float(here.abs().max())


def test_a_training_with_kept_densities_and_a_checkpoint(tmp_path: Path) -> None:
    entries = [
        DFTEntry.create(
            "eos", [0.06, 0.015, 0, 0.01, 0.04], [aluminium(convergence=LOOSE)], scales=SCALES
        ),
        DFTEntry.create("energy", -215.0, [quick()]),
        DFTEntry.create("band_gap", 1.1, [quick(kpts=[1, 1, 1], nbands=9)]),
    ]
    ends = []
    for device in DEVICES:
        model = make(tmp_path / device, device=device)
        model.fit(dataset(*entries), nb_epoch=2)
        other = make(tmp_path / device, device=device)
        other.fit(dataset(*entries), nb_epoch=2, restore=True)
        ends.append(weights(other).cpu())
        predicted = other.predict(dataset(*entries))
    assert predicted.shape == (3, 1)
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=1e-6)
    # The trained functional is at home on either device.
    other.functional.save(tmp_path / "mine.safetensors", classes=[Enhanced])
    loaded = load_functional(tmp_path / "mine.safetensors", classes=[Enhanced])
    assert all(parameter.device.type == "cpu" for parameter in loaded.parameters())
    again = XCModel(functional=loaded, solver={"convergence": LOOSE})
    assert again.predict(dataset(*entries)) == pytest.approx(predicted, abs=1e-4)
