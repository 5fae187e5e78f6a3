"""Functionals by name: what is understood, what is refused and how."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepchem_xc.xc import (
    PBE,
    LibXC,
    SlaterExchange,
    SumXC,
    Teter93,
    exchange_shares,
    get_xc,
)

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
        ("1.2.3*PBE", r"cannot read the functional '1.2.3\*PBE' at '1.2.3\*PBE'"),
        (".*PBE", r"cannot read the functional '.\*PBE'"),
        ("pbe,nonsense", r"cannot read the functional 'pbe,nonsense' as PySCF's pair"),
        ("PBE-nonsense", r"unknown functional 'PBE-nonsense'"),
        ("9999", r"libxc has no functional with the number 9999"),
        ("lda_x+", r"cannot read the functional 'lda_x\+'"),
        ("0.5*", r"cannot read the functional '0.5\*'"),
        ("", r"cannot read the functional ''"),
    ],
)
def test_unreadable_or_unknown(name, message):
    with pytest.raises(ValueError, match=message):
        get_xc(name)


@pytest.mark.parametrize("xc", [1.5, True, None, ["PBE"]])
def test_neither_name_nor_functional(xc):
    with pytest.raises(TypeError, match=f"not {type(xc).__name__}: "):
        get_xc(xc)


@pytest.mark.parametrize(
    ("xc", "name"),
    [
        ("pbe,pbe", "PBE"),
        ("gga_x_pbe,gga_c_pbe", "PBE"),
        ("GGA_X_PBE , GGA_C_PBE", "PBE"),
        ("b88,lyp", "BLYP"),
        (",lyp", "gga_c_lyp"),
        ("pbe,", "gga_x_pbe"),
        ("lda,vwn", "lda_x+lda_c_vwn"),
        ("slater,pz", "lda_x+lda_c_pz"),
        ("101", "gga_x_pbe"),
        (101, "gga_x_pbe"),
        (np.int64(130), "gga_c_pbe"),
        ("101,130", "PBE"),
        ("101 + 130", "PBE"),
        ("0.5*101", "0.5*gga_x_pbe"),
        ("SVWN", "lda_x+lda_c_vwn"),
        ("pw91", "gga_x_pw91+gga_c_pw91"),
        ("AM05", "gga_x_am05+gga_c_am05"),
        ("wc", "gga_x_wc+gga_c_pbe"),
        ("BP86", "gga_x_b88+gga_c_p86"),
        ("M06-L", "mgga_x_m06_l+mgga_c_m06_l"),
        ("revTPSS", "mgga_x_revtpss+mgga_c_revtpss"),
        ("gga_xc_beefvdw", "gga_xc_beefvdw"),
        ("0.5*gga_xc_b97_d", "0.5*gga_xc_b97_d"),
        ("lda_x-lda_c_pw", "lda_x+-1*lda_c_pw"),
    ],
)
def test_names_of_other_programs(xc, name, capfd):
    assert get_xc(xc).name == name
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("xc", ["pbe,pbe", "b88,p86", "lda,vwn", "pw91", "M06-L", "revtpss"])
def test_other_names_mean_what_pyscf_means(xc, sample, densinfo):
    from pyscf.dft import libxc

    rho = sample(1, npoints=20, density=(1e-3, 1.0), s=(0.1, 2.0), alpha=(0.5, 5.0))
    rows = rho[:1][0] if xc == "lda,vwn" else rho[: 4 + (libxc.xc_type(xc) == "MGGA")]
    theirs = torch.tensor(libxc.eval_xc(xc, rows, deriv=0)[0] * rho[0])
    assert torch.allclose(energy(xc, rho, densinfo), theirs, rtol=1e-9, atol=0.0)


HYBRIDS = ["PBE0", "HSE06", "hse", "B3LYP", "b3lyp,", "CAM-B3LYP", "M06-2X", "TPSSh", "tpss0"]


@pytest.mark.parametrize("name", [*HYBRIDS, "hyb_gga_xc_wb97x", "SCAN0", "HF"])
def test_hybrids_are_pyscfs(name, sample, densinfo):
    from pyscf.dft import libxc

    theirs = {"hse": "hse06"}.get(name, name)
    omega, long, added = libxc.rsh_coeff(theirs)
    shares = exchange_shares(get_xc(name))
    assert shares.get(0.0, 0.0) == pytest.approx(long + added)
    assert shares.get(omega, 0.0) == pytest.approx(long + added if omega == 0.0 else -added)
    assert set(shares) <= {0.0, omega}
    if name == "HF":
        return
    rho = sample(1, npoints=20, density=(1e-3, 1.0), s=(0.1, 2.0), alpha=(0.5, 5.0))
    rows = rho[: 4 + (libxc.xc_type(theirs) == "MGGA")]
    expected = torch.tensor(libxc.eval_xc(theirs, rows, deriv=0)[0] * rho[0])
    assert torch.allclose(energy(name, rho, densinfo), expected, rtol=1e-9, atol=1e-14)


def test_factors_scale_exact_exchange():
    assert exchange_shares(get_xc("0.5*PBE0")) == {0.0: 0.125}
    assert exchange_shares(get_xc("0.1*exact_exchange + 0.9*gga_x_pbe")) == {0.0: 0.1}
    assert exchange_shares(get_xc("PBE")) == {}


def test_common_hybrids_are_written_in_torch():
    assert get_xc("pbe0").name == "PBE0"
    assert not any(isinstance(part, LibXC) for part in get_xc("pbe0").modules())


@pytest.mark.parametrize(
    "name",
    ["B2PLYP", "LC-BLYP", "lc-wpbe", "DSD-PBEP86", "PBE-QIDH", "XYG3", "PWPB95", "M08-HX"],
)
def test_hybrids_without_a_name_here_are_named_as_what_they_are(name):
    with pytest.raises(ValueError, match=f"'{name}' is a hybrid .* libxc identifier"):
        get_xc(name)


@pytest.mark.parametrize(
    "name",
    [
        "r2SCAN-3c",
        "PBE-dDsC",
        "B97M-rV",
        "rev-vdW-DF2",
        "vdW-DF",
        "PBE-D3",
        "PBE-D3(BJ)",
        "B97-D",
        "PBE+D4",
        "BEEF-vdW",
        "optB88-vdW",
    ]
    + ["SCAN+rVV10", "PBE-TS", "wB97X-V", "B97M-V", "PBE0-D3"],
)
def test_dispersion_is_named_as_what_it_is(name):
    expected = re.escape(f"{name!r} means a functional with dispersion (van der Waals) corrections")
    with pytest.raises(ValueError, match=expected):
        get_xc(name)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("PZ", "lda_c_pz"), ("VWN", "lda_c_vwn"), ("LYP", "gga_c_lyp"), ("slater", "lda_x")],
)
def test_exchange_or_correlation_alone(name, identifier):
    with pytest.raises(ValueError, match=f"'{name}' names exchange or .* {identifier}"):
        get_xc(name)


@pytest.mark.parametrize("name", ["PBE_sol", "r2scan01", "rge2", "tm"])
def test_a_name_of_exchange_and_correlation_says_their_sum(name):
    with pytest.raises(ValueError, match=f"'{name}' stands for exchange, .* and for") as error:
        get_xc(name)
    (advised,) = re.findall(r"the sum of both, '(.*?)'", str(error.value))
    exchange, correlation = advised.split("+")
    assert exchange.replace("_x_", "_c_") == correlation
    assert get_xc(advised).family in (2, 4)


def test_the_advice_for_a_part_is_what_people_mean():
    for name in ("b88", "LYP"):
        with pytest.raises(ValueError, match=r"such as 'gga_x_b88\+gga_c_lyp'"):
            get_xc(name)


@pytest.mark.parametrize("name", ["PBE+U", "LDA + U", "r2SCAN+U"])
def test_hubbard_corrections_are_named_as_what_they_are(name):
    expected = re.escape(f"{name!r} means a functional with Hubbard's U")
    with pytest.raises(ValueError, match=expected):
        get_xc(name)


@pytest.mark.parametrize("make", [Path, str, lambda path: path.upper().replace("/TMP", "/tmp")])
def test_files_by_path(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PBE(kappa=0.9, trainable=True).save("PBE.SAFETENSORS")
    (tmp_path / "pbe.safetensors").write_bytes((tmp_path / "PBE.SAFETENSORS").read_bytes())
    assert get_xc(make("pbe.safetensors")).terms[0].kappa.item() == 0.9


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
