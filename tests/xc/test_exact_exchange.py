"""Fractions of exact exchange that functionals declare, through sums, factors and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ase.build import bulk
from deepchem.data import NumpyDataset

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import (
    PBE,
    ExactExchange,
    HybridXC,
    Ingredients,
    OneOrbital,
    XCFunctional,
    exchange_shares,
    export_functional,
    get_xc,
)
from deepchem_xc.xc.export import HEADER
from deepchem_xc.xc.identity import content_digest
from deepchem_xc.xc.trial import check_trainable


def trained_hybrid() -> XCFunctional:
    share = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    return share * ExactExchange() + (1 - share) * get_xc("gga_x_pbe") + get_xc("gga_c_pbe")


class Declared(XCFunctional):
    name, ingredients = "declared", Ingredients.DENSITY

    def __init__(self) -> None:
        super().__init__()
        self.exact_exchange = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def energy_density(self, variables):
        return -0.3 * variables.density


def test_a_trained_fraction_follows_its_parameter():
    functional = trained_hybrid()
    check_trainable(functional)
    (parameter,) = functional.parameters()
    parameter.data.fill_(0.4)
    (share,) = exchange_shares(functional).values()
    assert share.item() == pytest.approx(0.4)
    (slope,) = torch.autograd.grad(3.0 * share, [parameter])
    assert float(slope) == 3.0


def test_an_attribute_of_a_class_declares_all_of_it():
    functional = 0.5 * Declared() + 0.1 * ExactExchange()
    assert float(exchange_shares(functional)[0.0]) == pytest.approx(0.35)


def test_networks_and_one_orbital_pass_it_on():
    network = torch.nn.Linear(3, 1)
    mixed = HybridXC("PBE0", network, aweight0=0.1, bweight0=0.8)
    assert float(exchange_shares(mixed)[0.0]) == pytest.approx(0.2)
    assert exchange_shares(OneOrbital(get_xc("TPSSh"))) == {0.0: 0.1}


def test_ranges_add_up_to_all():
    short, long = (ExactExchange(omega=0.2, part=part) for part in ("short", "long"))
    assert exchange_shares(short + long) == {0.0: 1.0}


@pytest.mark.parametrize("arguments", [(0.0, "short"), (0.2, "all"), (-0.1, "long"), (0.2, "far")])
def test_ranges_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="exact exchange of omega = .*: give"):
        ExactExchange(*arguments)


@pytest.mark.parametrize("make", [trained_hybrid, lambda: get_xc("PBE0"), lambda: get_xc("HSE06")])
def test_files_keep_it(make, tmp_path: Path):
    functional = make()
    functional.save(tmp_path / "hybrid.xc.safetensors")
    again = exchange_shares(get_xc(str(tmp_path / "hybrid.xc.safetensors")))
    before = exchange_shares(functional)
    assert {w: float(a) for w, a in again.items()} == {w: float(a) for w, a in before.items()}


def test_exported_programs_name_fraction_and_range(tmp_path: Path):
    functional = get_xc("PBE") + 0.25 * ExactExchange(omega=0.11, part="short")
    export_functional(functional, tmp_path / "hybrid.pt2")
    texts = {HEADER: ""}
    torch.export.load(tmp_path / "hybrid.pt2", extra_files=texts)
    assert json.loads(texts[HEADER])["exact_exchange"] == [[0.0, 0.25], [0.11, -0.25]]


def crystal():
    entry = DFTEntry.create("energy", -214.0, [{"structure": bulk("Si"), "ecut": 80.0}])
    return NumpyDataset(*entry_arrays([entry]))


def test_crystals_refuse_it():
    for compute in (
        lambda: scf(bulk("Si"), "PBE0", ecut=80.0),
        lambda: scf(bulk("Si"), PBE() + 0.1 * ExactExchange(), ecut=80.0),
        lambda: PlaneWaveDFT(xc="B3LYP", ecut=80.0).get_potential_energy(bulk("Si")),
        lambda: XCModel(functional=trained_hybrid()).fit(crystal()),
        lambda: XCModel(functional=trained_hybrid()).predict(crystal()),
    ):
        with pytest.raises(ValueError, match="is a hybrid: it needs exact exchange"):
            compute()


def test_functionals_that_differ_in_exact_exchange_alone_have_different_content() -> None:
    semilocal = get_xc("PBE")
    others = [
        semilocal,
        semilocal + 0.25 * ExactExchange(),
        semilocal + 0.5 * ExactExchange(),
        semilocal + 0.25 * ExactExchange(omega=0.11, part="short"),
        semilocal + 0.25 * ExactExchange(omega=0.11, part="long"),
    ]
    assert len({content_digest(functional) for functional in others}) == len(others)
    nothing = semilocal + 0.0 * ExactExchange()
    assert content_digest(nothing) == content_digest(semilocal)
