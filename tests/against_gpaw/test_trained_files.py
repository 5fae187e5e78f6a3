"""The trained functionals that come with the package do what is said of them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from deepchem_xc._files import data_file
from deepchem_xc.planewave import equation_of_state
from deepchem_xc.xc import ValGrad, get_xc


def enhancement(xc: str) -> Tensor:
    """Energy over that of Slater's exchange, where valence electrons are: r_s 1.5 to 4, s to 1."""
    rs = torch.tensor([1.5, 2.0, 3.0, 4.0], dtype=torch.float64)[:, None]
    s = torch.linspace(0.0, 1.0, 11, dtype=torch.float64)
    density = (3 / (4 * math.pi * rs**3)).expand(4, 11).reshape(-1)
    gradient = 2 * (3 * math.pi**2 * density) ** (1 / 3) * density * s.repeat(4)
    point = ValGrad(value=density, grad=gradient * torch.eye(3, dtype=torch.float64)[:, :1])
    with torch.no_grad():
        return get_xc(xc).get_edensityxc(point) / get_xc("lda_x").get_edensityxc(point)


@pytest.mark.parametrize("name", ["recovered_paw", "recovered_gga"])
def test_a_gga_learned_from_energies_has_pbes_enhancement_factor(name: str) -> None:
    pbe = enhancement("PBE")
    learned = enhancement(str(data_file(f"{name}.safetensors")))
    assert float((learned - pbe).abs().max()) < 0.01
    assert float((enhancement("LDA") - pbe).abs().max()) > 0.05


@pytest.mark.slow
def test_what_was_learned_from_experiment_improves_on_pbe() -> None:
    measured = json.loads(data_file("experiment.json").read_text())["crystals"]["AlP"]["a"]
    pbe, learned = (
        equation_of_state(
            bulk("AlP", "zincblende", a=measured),
            xc,
            ecut=400.0,
            kpts=(4, 4, 4),
            scales=(0.94, 0.97, 1.0, 1.03, 1.06),
        ).a0
        for xc in ("PBE", str(data_file("experiment_gga.safetensors")))
    )
    assert abs(learned - measured) < abs(pbe - measured) / 2
