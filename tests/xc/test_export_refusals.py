"""What cannot be exported is refused by name, with the reason and the next step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepchem_xc.xc import BaseXC, Ingredients, OneOrbital, XCFunctional, export_functional, get_xc
from deepchem_xc.xc.plain import PlainXC


class Dirac(BaseXC):
    """A functional of DeepChem's alone."""

    family = 1

    def get_edensityxc(self, densinfo: Any) -> Tensor:
        return -0.7386 * densinfo.value ** (4.0 / 3.0)


class Raw(XCFunctional):
    """Sees the density without screening."""

    name, ingredients = "raw", Ingredients.DENSITY

    def get_edensityxc(self, densinfo: Any) -> Tensor:
        value = (
            densinfo.value if hasattr(densinfo, "value") else densinfo.u.value + densinfo.d.value
        )
        return -0.7 * value.clamp(min=0.0) ** 1.5


class Branching(XCFunctional):
    """Looks at the values of the density."""

    name, ingredients = "branching", Ingredients.DENSITY

    def energy_density(self, variables: Any) -> Tensor:
        factor = -0.7 if bool((variables.density > 0.0).all()) else -0.8
        return factor * variables.density


class Converting(XCFunctional):
    """Makes a number of the density."""

    name, ingredients = "converting", Ingredients.DENSITY

    def energy_density(self, variables: Any) -> Tensor:
        return -0.7 * variables.density * float((variables.density >= 0.0).all())


class Vectorial(XCFunctional):
    """Reads components of the gradient."""

    name, ingredients = "vectorial", Ingredients.DENSITY | Ingredients.GRADIENT

    def energy_density(self, variables: Any) -> Tensor:
        return -variables.density - sum(g[..., 2, :].square() for g in variables.gradients)


class Counting(XCFunctional):
    """Does something else where there are many points."""

    name, ingredients = "counting", Ingredients.DENSITY

    def energy_density(self, variables: Any) -> Tensor:
        n = variables.density
        return -n if n.shape[-1] < 20 else -2.0 * n


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_xc("SCAN"), "SCAN cannot be exported: mgga_x_scan is evaluated by libxc.*let"),
        (lambda: get_xc("PBE") + 0.1 * get_xc("lda_c_pz"), r"lda_c_pz is evaluated by libxc"),
        (lambda: PlainXC(Dirac()), r"Dirac derives from DeepChem's BaseXC.*XCFunctional"),
        (lambda: Dirac(), r"Dirac derives from DeepChem's BaseXC.*XCFunctional"),
        (lambda: OneOrbital(get_xc("r2SCAN")), r"computes tau from the gradient.*sigma / \(8 rho"),
        (lambda: get_xc("PBE") + Raw(), r"raw overrides get_edensityxc.*energy_density\(variab"),
        (Branching, r"branching cannot be exported.*must not look at values.*torch\.where"),
        (Converting, r"converting cannot be exported.*float"),
        (Vectorial, r"vectorial cannot be exported.*variables\.sigma"),
    ],
    ids=lambda x: getattr(x, "__name__", None) if callable(x) else "",
)
def test_functionals_that_are_no_programs_are_refused(
    make: Callable[[], Any], message: str, tmp_path: Path
) -> None:
    own = [Raw, Branching, Converting, Vectorial]
    with pytest.raises(ValueError, match=message):
        export_functional(make(), tmp_path / "x.pt2", classes=own)
    assert not list(tmp_path.iterdir())


def test_a_dependence_on_the_number_of_points_is_refused(tmp_path: Path) -> None:
    """A recording would keep one of both branches without a word."""
    with pytest.raises(ValueError, match="counting"):
        export_functional(Counting(), tmp_path / "x.pt2", classes=[Counting])
    assert not list(tmp_path.iterdir())


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    functional = get_xc("lda_x") * torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    (factor,) = functional.parameters()
    factor.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        export_functional(functional, tmp_path / "x.pt2")


@pytest.mark.parametrize("nspin", [0, 3, "2", True, 1.5])
def test_other_numbers_of_channels_are_refused(nspin: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nspin must be 1 .* or 2 .*got"):
        export_functional(get_xc("LDA"), tmp_path / "x.pt2", nspin=nspin)


@pytest.mark.parametrize("name", ["x.safetensors", "x", "x.pt"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.pt2, got .*functional\.save"):
        export_functional(get_xc("LDA"), tmp_path / name)


def test_what_is_no_functional_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="get_xc"):
        export_functional("PBE", tmp_path / "x.pt2")  # type: ignore[arg-type]
