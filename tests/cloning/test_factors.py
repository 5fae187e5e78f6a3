"""Factors of parents: known ones, and that a student that contains its parent is exact."""

from __future__ import annotations

import math

import pytest
import torch

from deepchem_xc.cloning.factors import FactorPoints, check_student, exchange_and_correlation
from deepchem_xc.xc import ConstrainedGGA, LibXC, UnconstrainedGGA, XCFunctional, get_xc
from deepchem_xc.xc.ingredients import Ingredients
from deepchem_xc.xc.sampling import sample_points
from deepchem_xc.xc.variables import DensityVariables


def test_the_factor_of_pbe_exchange_is_the_published_one() -> None:
    densinfo = sample_points(2, 50)
    points = FactorPoints(get_xc("PBE"), ConstrainedGGA(), densinfo)
    n = densinfo.u.value + densinfo.d.value
    slope = (densinfo.u.grad + densinfo.d.grad).norm(dim=0)
    s = slope / (2.0 * (3.0 * math.pi**2) ** (1.0 / 3.0) * n ** (4.0 / 3.0))
    wanted = 1.0 + 0.804 - 0.804 / (1.0 + 0.2195149727645171 * s**2 / 0.804)
    torch.testing.assert_close(points.wanted[0], wanted, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(
    "name", ["PBE", "gga_x_pbe+gga_c_pbe", "0.5*gga_x_b88+0.5*lda_x+gga_c_lyp"]
)
def test_energies_follow_from_the_factors(name: str) -> None:
    """With both channels together the parent's energy is Slater's and PW92's times the factors."""
    densinfo, parent = sample_points(2, 50), get_xc(name)
    found = FactorPoints(parent, UnconstrainedGGA(), densinfo).wanted
    exchange = get_xc("lda_x").get_edensityxc(densinfo) * found[0]
    correlation = get_xc("lda_c_pw").get_edensityxc(densinfo) * found[1]
    wanted = parent.get_edensityxc(densinfo)
    torch.testing.assert_close(exchange + correlation, wanted, rtol=1e-9, atol=1e-14)


def test_libxcs_parent_has_the_factors_of_ours() -> None:
    densinfo, student = sample_points(2, 50), ConstrainedGGA()
    theirs = LibXC("gga_x_pbe") + LibXC("gga_c_pbe")
    ours = FactorPoints(get_xc("PBE"), student, densinfo).wanted
    # Correlation of rapidly varying densities is a difference of large numbers in both.
    torch.testing.assert_close(
        FactorPoints(theirs, student, densinfo).wanted, ours, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(
    ("parent", "student"),
    [
        ("PBE", ConstrainedGGA(base="pbe", high_gradient=False)),
        ("LDA", ConstrainedGGA(high_gradient=False)),
        ("LDA", UnconstrainedGGA()),
    ],
)
def test_a_student_that_contains_its_parent_has_no_error(
    parent: str, student: XCFunctional
) -> None:
    points = FactorPoints(get_xc(parent), student, sample_points(2, 100))
    assert float((points.factors(student).detach() - points.wanted).abs().max()) < 1e-10


def test_factors_are_in_the_graph_of_the_weights() -> None:
    student = ConstrainedGGA(start="random", seed=0, high_gradient=False)
    points = FactorPoints(get_xc("PBE"), student, sample_points(2, 20))
    weights = [p for p in student.parameters() if p.numel() > 1]

    def loss() -> torch.Tensor:
        return (points.factors(student) - points.wanted).square().mean()

    gradients = torch.autograd.grad(loss(), weights)
    for weight, gradient in zip(weights, gradients):
        flat, at, step = weight.data.view(-1), int(gradient.abs().argmax()), 1e-5
        values = []
        for sign in (1.0, -1.0):
            flat[at] += sign * step
            values.append(loss().item())
            flat[at] -= sign * step
        # Rounding of the loss, about 1e-15 over 2e-5, and the third derivative times 1e-10.
        wanted = (values[0] - values[1]) / (2.0 * step)
        assert float(gradient.view(-1)[at]) == pytest.approx(wanted, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ("gga_x_pbe", "has no correlation, and a clone has both parts: add one, such as lda_c_pw"),
        ("PBE0", "PBE0 is a hybrid: .* no energy density of a student"),
        ("lda_c_pw", "has no exchange, .* such as lda_x"),
    ],
)
def test_parents_without_both_parts_are_refused(parent: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exchange_and_correlation(get_xc(parent))


def test_a_parent_whose_exchange_has_no_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="UnconstrainedGGA cannot be told apart: for small r_s"):
        exchange_and_correlation(UnconstrainedGGA(start="random", seed=0))


class Whole(XCFunctional):
    """PBE and its correlation as one term."""

    name, ingredients = "whole PBE", Ingredients.DENSITY | Ingredients.GRADIENT

    def energy_density(self, variables: DensityVariables) -> torch.Tensor:
        return sum(term.energy_density(variables) for term in get_xc("PBE").terms)


def test_exchange_and_correlation_in_one_term_are_told_apart() -> None:
    points = sample_points(2, 200)
    whole, known = exchange_and_correlation(Whole()), exchange_and_correlation(get_xc("PBE"))
    # What is left of correlation grows with r_s, up to 1e-6 of the exchange in thin tails.
    exchange = [one.exchange.get_edensityxc(points) for one in (whole, known)]
    assert torch.allclose(*exchange, rtol=3e-6, atol=0.0)
    correlation = [one.correlation.get_edensityxc(points) for one in (whole, known)]
    assert torch.allclose(*correlation, rtol=1e-4, atol=0.0)


def test_a_clone_can_be_cloned_again() -> None:
    """Its own factors are the parts that are found."""
    points, clone = sample_points(2, 100), get_xc("cloned_pbe")
    found = FactorPoints(clone, clone, points)
    with torch.no_grad():
        assert torch.allclose(found.factors(clone), found.wanted, rtol=1e-4)


def test_students_without_what_the_parent_sees_are_refused() -> None:
    with pytest.raises(ValueError, match="r2SCAN sees the kinetic energy density"):
        check_student(ConstrainedGGA(), get_xc("r2SCAN"))
    with pytest.raises(ValueError, match="a functional with factors"):
        check_student(get_xc("PBE"), get_xc("PBE"))
