"""Calculations and functionals that `to_pyscf` refuses, and what it leaves unchanged then."""

from __future__ import annotations

import pytest
from pyscf import dft, mcscf, scf

from deepchem_xc.calculators import pyscf_functional, to_pyscf
from deepchem_xc.xc import ExactExchange, Ingredients, get_xc
from tests.calculators.pyscf_systems import amidogen, fast, hydrogen_fluoride


def made(kind, molecule=hydrogen_fluoride, **keywords):
    return kind(molecule(), **keywords)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: made(scf.RHF), "RHF, which has no functional: mf.to_ks"),
        (lambda: made(scf.UHF), "UHF, which has no functional"),
        (lambda: mcscf.CASSCF(made(scf.RHF), 2, 2), "CASSCF, which is made from one"),
        (lambda: made(dft.RKS).nuc_grad_method(), r"Gradients, .* call to_pyscf\(RKS"),
        (lambda: get_xc("PBE"), "give the functional first, to_pyscf"),
        (lambda: made(dft.RKS).TDA(), r"TDA, .* call to_pyscf\(RKS"),
        (lambda: made(dft.GKS), "GKS has noncollinear spin"),
        (lambda: made(dft.DKS), "DKS has noncollinear spin"),
        (lambda: dft.RKS, "function"),
        (lambda: None, "NoneType"),
    ],
)
def test_kinds_that_cannot_work_are_refused_by_name(make, message):
    with pytest.raises(TypeError, match=message):
        to_pyscf("PBE", make())


@pytest.mark.parametrize(
    "functional, message",
    [
        ("b2plyp", "hybrid"),
        ("wb97x-v", "."),
        ("no_such_name", "unknown functional"),
        (
            get_xc("HSE06") + ExactExchange(omega=0.3, part="long"),
            r"exact exchange of the ranges omega = \[0.0, 0.11, 0.3\]",
        ),
    ],
)
def test_functionals_that_cannot_work_are_refused_and_change_nothing(functional, message):
    mf = made(dft.RKS, xc="b3lyp")
    before = dict(vars(mf))
    with pytest.raises(ValueError, match=message):
        to_pyscf(functional, mf)
    assert vars(mf) == before


def test_ingredients_that_pyscf_does_not_provide_are_refused(monkeypatch):
    monkeypatch.setattr(pyscf_functional, "_PROVIDED", (Ingredients.DENSITY, Ingredients.GRADIENT))
    with pytest.raises(ValueError, match="r2SCAN needs TAU"):
        to_pyscf("r2SCAN", made(dft.RKS))


@pytest.mark.parametrize("addition", [{"nlc": "vv10"}, {"disp": "d3bj"}])
def test_additions_to_any_functional_are_refused(addition):
    mf = made(dft.RKS).set(**addition)
    with pytest.raises(ValueError, match=f"mf.{next(iter(addition))} = "):
        to_pyscf("PBE", mf)
    assert mf.xc == "LDA,VWN"


def test_a_lost_functional_is_an_error_and_no_other_functional():
    mf = to_pyscf("PBE", fast(made(dft.RKS)))
    with pytest.raises(KeyError, match="DEEPCHEM_XC"):
        mf.to_gks().kernel()
    other = fast(made(dft.RKS))
    other.xc = mf.xc
    with pytest.raises(KeyError, match="DEEPCHEM_XC"):
        other.kernel()
    with pytest.raises(NotImplementedError, match="make a new mf"):
        mf.define_xc_("b3lyp")


def test_derivatives_that_do_not_exist_are_refused():
    mf = to_pyscf("TPSS", fast(made(dft.UKS, amidogen)))  # evaluated by libxc here too
    library = mf._numint.libxc
    assert library.max_deriv_order(mf.xc) == 2 and library.test_deriv_order(mf.xc, 2)
    with pytest.raises(NotImplementedError, match="order 3.*mf.xc"):
        library.test_deriv_order(mf.xc, 3, raise_error=True)
    with pytest.raises(NotImplementedError, match="electron-phonon"):
        mf._numint.eval_xc(mf.xc, [[1.0]] * 5)
