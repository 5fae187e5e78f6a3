"""Functionals by name: what is understood, what is refused and how."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from deepchem_xc.xc import PBE, LibXC, SlaterExchange, SumXC, Teter93, get_xc

FAMILY = {
    "LDA": 1,
    "Teter93": 1,
    "PBE": 2,
    "PBEsol": 2,
    "revPBE": 2,
    "RPBE": 2,
    "BLYP": 2,
    "TPSS": 4,
    "SCAN": 4,
    "r2SCAN": 4,
}


def energy(name, rho, densinfo):
    return get_xc(name).get_edensityxc(densinfo(rho))


@pytest.mark.parametrize("name", FAMILY)
def test_common_names_in_any_case(name):
    for spelling in (name, name.lower(), name.upper()):
        functional = get_xc(spelling)
        assert functional.name == name
        assert functional.family == FAMILY[name]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("gga_x_pbe+gga_c_pbe", {"gga_x_pbe": 1.0, "gga_c_pbe": 1.0}),
        ("GGA_X_PBE + GGA_C_PBE", {"gga_x_pbe": 1.0, "gga_c_pbe": 1.0}),
        ("0.5*lda_x", {"lda_x": 0.5}),
        (" 0.75 * gga_x_pbe + gga_c_pbe - 1e-1*lda_x ", None),
        ("-lda_x", {"lda_x": -1.0}),
        ("5e-1*lda_x+5E-1*lda_x", {"lda_x": 1.0}),
        (".5*pbe+0.5*PBE", {"pbe": 1.0}),
        ("lda_x+lda_c_pz", {"lda_x": 1.0, "lda_c_pz": 1.0}),
    ],
)
def test_sums(text, terms, sample, densinfo):
    rho = sample(1, npoints=30)
    terms = terms or {"gga_x_pbe": 0.75, "gga_c_pbe": 1.0, "lda_x": -0.1}
    expected = sum(factor * energy(name, rho, densinfo) for name, factor in terms.items())
    assert torch.allclose(energy(text, rho, densinfo), expected, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize(
    ("identifiers", "name"),
    [
        ("gga_x_pbe+gga_c_pbe", "PBE"),
        ("GGA_C_PBE + GGA_X_PBE", "PBE"),
        ("lda_x+lda_c_pw", "LDA"),
        ("gga_x_pbe_sol+gga_c_pbe_sol", "PBEsol"),
        ("gga_x_pbe_r+gga_c_pbe", "revPBE"),
        ("gga_x_rpbe+gga_c_pbe", "RPBE"),
        ("gga_x_b88+gga_c_lyp", "BLYP"),
    ],
)
def test_sums_with_a_common_name(identifiers, name, sample, densinfo):
    rho = sample(2, npoints=30)
    assert get_xc(identifiers).name == name
    apart = sum(energy(term, rho, densinfo) for term in identifiers.split("+"))
    assert torch.allclose(energy(name, rho, densinfo), apart, rtol=1e-14, atol=0.0)
    assert get_xc("0.5*" + identifiers).name != name
    assert get_xc(identifiers + "+lda_x").name != name


def test_native_where_there_is_one():
    assert isinstance(get_xc("LDA_X"), SlaterExchange)
    assert isinstance(get_xc("lda_xc_teter93"), Teter93)
    assert isinstance(get_xc("pbe"), PBE)
    assert isinstance(get_xc("lda_c_pz"), LibXC)
    assert isinstance(get_xc("gga_x_pbe+lda_c_pz"), SumXC)


def test_a_functional_passes_through():
    functional = PBE(trainable=True)
    assert get_xc(functional) is functional


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PBBE", r"unknown functional 'PBBE'. Did you mean .*PBE.* Valid are LDA, .*PBE.*"),
        ("gga_x_pbee", r"Did you mean .*gga_x_pbe"),
        ("blub", r"unknown functional 'blub'.* Valid are LDA"),
        ("gga_x_pbe+nonsense", r"unknown functional 'nonsense'"),
        ("lda_x lda_c_pw", r"cannot read the functional .* at 'lda_c_pw'"),
        ("lda,vwn", r"cannot read the functional 'lda,vwn' at ',vwn'"),
        ("lda_x+", r"cannot read the functional 'lda_x\+'"),
        ("0.5*", r"cannot read the functional '0.5\*'"),
        ("", r"cannot read the functional ''"),
    ],
)
def test_unreadable_or_unknown(name, message):
    with pytest.raises(ValueError, match=message):
        get_xc(name)


def test_neither_name_nor_functional():
    with pytest.raises(TypeError, match="not int: 101"):
        get_xc(101)


def test_import_prints_nothing_and_leaves_logging_alone():
    script = (
        "import logging, warnings; "
        "before = (logging.root.level, list(logging.root.handlers), logging.root.manager.disable, "
        "list(warnings.filters)); "
        "import deepchem_xc.xc; "
        "assert before[:3] == (logging.root.level, list(logging.root.handlers), "
        "logging.root.manager.disable); "
        "deepchem_xc.xc.get_xc('PBE')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""
