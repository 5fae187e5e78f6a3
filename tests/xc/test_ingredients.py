"""What a functional needs of the density, and DeepChem's family: one follows from the other."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.xc import (
    PBE,
    BaseXC,
    HybridXC,
    Ingredients,
    OneOrbital,
    ValGrad,
    XCFunctional,
    get_xc,
)

LDA = Ingredients.DENSITY
GGA = Ingredients.DENSITY | Ingredients.GRADIENT
META_GGA = Ingredients.DENSITY | Ingredients.GRADIENT | Ingredients.TAU
PAIRS = [(1, LDA), (2, GGA), (4, META_GGA)]


def made(**attributes):
    """A functional whose class sets these."""
    return type("Mine", (XCFunctional,), attributes)()


@pytest.mark.parametrize(("family", "ingredients"), PAIRS)
def test_one_follows_from_the_other(family, ingredients):
    assert made(family=family).ingredients == ingredients
    assert made(ingredients=ingredients).family == family
    assert made(family=property(lambda self: family)).ingredients == ingredients
    later = made()
    later.family = family
    assert later.ingredients == ingredients
    later = made()
    later.ingredients = ingredients
    assert (later.family, later.ingredients) == (family, ingredients)


def test_a_derived_class_may_need_more_and_says_it_in_either_way():
    base = type("Base", (XCFunctional,), {"ingredients": LDA})
    assert type("More", (base,), {"family": 4})().ingredients == META_GGA
    assert type("More", (base,), {"ingredients": GGA})().family == 2
    assert type("Same", (base,), {})().ingredients == LDA


def test_the_gradient_alone_means_the_density_too():
    assert made(ingredients=Ingredients.TAU).ingredients == META_GGA


def test_contradictions_and_others_are_refused():
    with pytest.raises(ValueError, match="Mine has family = 1, but its ingredients are those of"):
        made(family=1, ingredients=GGA)
    for wrong in (("density",), 2, Ingredients(0)):
        with pytest.raises(ValueError, match=r"write Ingredients.DENSITY, Ingredients.GRADIENT"):
            made(ingredients=wrong)
    with pytest.raises(ValueError, match=r"Mine has family = 3: set it to 1 \(LDA\), 2 \(GGA\)"):
        made(family=3).ingredients  # noqa: B018
    density = ValGrad(value=torch.ones(1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"XCFunctional has family = 0: set it to 1"):
        XCFunctional().get_edensityxc(density)


@pytest.mark.parametrize("name", ["lda_x", "PBE", "r2SCAN", "mgga_x_tpss"])
def test_sums_and_multiples_need_what_their_parts_do(name):
    functional = get_xc(name)
    together = functional.ingredients | LDA
    assert (get_xc("lda_x") + functional).ingredients == together
    assert (0.5 * functional).ingredients == functional.ingredients
    assert OneOrbital(functional).ingredients == functional.ingredients & GGA
    network = torch.nn.Linear(2 if functional.family == 1 else 3, 1)
    assert HybridXC(functional, network).ingredients == functional.ingredients


def test_a_functional_of_deepchems_says_its_family():
    class Dirac(BaseXC):
        family = 1

        def get_edensityxc(self, densinfo):
            return -0.7386 * densinfo.value ** (4 / 3)

    assert get_xc(Dirac()).ingredients == LDA
    assert (PBE() + Dirac()).ingredients == GGA
