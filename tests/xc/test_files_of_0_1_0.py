"""Files of functionals that release 0.1.0 wrote are read, and written again as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from deepchem_xc.xc import SpinParam, ValGrad, get_xc

FILES = Path(__file__).parents[1] / "data" / "functionals_0.1.0"
NAMES = ("sum", "network", "constrained")


def content(path):
    """Definition and tensors of a file."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["deepchem_xc"])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_what_it_did(name):
    kept = json.loads((FILES / "energies.json").read_text())
    channels = [
        ValGrad(**{key: torch.tensor(x, dtype=torch.float64) for key, x in channel.items()})
        for channel in kept["density"]
    ]
    functional = get_xc(FILES / f"{name}.xc.safetensors")
    energy = functional.get_edensityxc(SpinParam(u=channels[0], d=channels[1])).detach()
    expected = torch.tensor(kept["energies"][name], dtype=torch.float64)
    # Between machines there is rounding.
    assert_close(energy, expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_written_as_it_was(name, tmp_path):
    given = FILES / f"{name}.xc.safetensors"
    get_xc(given).save(tmp_path / "again.safetensors")
    (old, weights), (new, again) = content(given), content(tmp_path / "again.safetensors")
    for header in (old, new):
        del header["package"], header["sha256"]
    assert new == old
    assert_close(again, weights, rtol=0.0, atol=0.0)


def test_the_sums_factors_are_of_one_parameter():
    functional = get_xc(FILES / "sum.xc.safetensors")
    (factor,) = functional.parameters()
    factor.data.fill_(0.25)
    assert [term.factor.item() for term in functional.terms[:2]] == [0.25, 0.75]
