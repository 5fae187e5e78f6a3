"""Every keyword of a calculation stands in one list, and is known wherever keywords are taken."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ase.build import bulk

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.cli.calculation import WITHOUT_EFFECT, options_of
from deepchem_xc.cli.commands import app
from deepchem_xc.feat import DFTSystem
from deepchem_xc.feat.schema import CrystalSpec
from deepchem_xc.feat.solver_options import (
    ENERGY_OPTIONS,
    SOLVER_OPTIONS,
    SolverSpec,
    checked_solver_options,
)
from deepchem_xc.keywords import Keywords, StructureKeywords, field, standard, valid_values
from deepchem_xc.models.config import TrainingSpec
from deepchem_xc.planewave import equation_of_state, scf
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.settings import Settings
from tests.models.systems import silicon

KEYWORDS = tuple(Keywords.model_fields)
#: A value that makes no sense, for each keyword whose values need no crystal to be judged.
WRONG: dict[str, Any] = {
    "ecut": -5.0,
    "fft_size": [24, 24, 0],
    "symmetry": {"pointgroup": False},
    "convergence": {"forces": 1e-3},
    "occupations": {"name": "fermi"},
    "nbands": "many",
    "spinpol": "maybe",
    "ecut_smoothing": -1.0,
    "mixing": {"beta": 2.0},
    "gradient_tolerance": 2.0,
    "device": "gpu",
    "start": 5,
}
# They need one: k-points and pseudopotentials.
JUDGED_LATER = ("kpts", "pseudopotentials")


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_keyword_is_known_wherever_keywords_are_taken(name: str) -> None:
    for function in (scf, equation_of_state):
        parameter = inspect.signature(function).parameters[name]
        assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None
    for documented in (scf, PlaneWaveDFT):
        assert f"\n    {name} : " in (documented.__doc__ or "")
    assert name in PlaneWaveDFT.default_parameters
    assert PlaneWaveDFT(**{name: None}).parameters[name] is None
    of_one_structure = name in StructureKeywords.model_fields
    assert (name in SOLVER_OPTIONS) is not of_one_structure
    assert (name in CrystalSpec.model_fields) is (of_one_structure or name in ENERGY_OPTIONS)
    # The device of a training is the command's.
    assert (name in SolverSpec.model_fields) is (name in SOLVER_OPTIONS and name != "device")


@pytest.mark.parametrize("command", ["scf", "eos", "bands"])
def test_a_keyword_is_an_option_of_the_commands(command: str) -> None:
    options = {option.name: option for option in commands()[command].params}
    for name in KEYWORDS:
        if name in WITHOUT_EFFECT:
            assert name not in options
        for parameter in options_of(name) if name not in WITHOUT_EFFECT else ():
            assert options[parameter.name].help
        if name in options and name not in ("kpts", "pseudopotentials"):  # spelled otherwise
            description = field(name).description or ""
            assert options[name].help.lower().startswith(description.lower())


def commands() -> dict[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_keyword_says_what_it_is(name: str) -> None:
    about = field(name)
    assert about.default is None
    assert about.description and valid_values(about)
    more = about.json_schema_extra
    assert isinstance(more, dict)
    assert "eV" not in str(more["unit"]) or "eV" in f"{about.description} {valid_values(about)}"
    assert name in Keywords.model_json_schema()["properties"]
    if (value := standard(name)) is not None:
        assert Settings.of({name: value, "ecut": 300.0}) is not None


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_judged_in_one_place(name: str) -> None:
    """Whoever takes the keyword gives the same answer, before anything is computed."""
    wrong = {"ecut": 100.0, name: WRONG[name]}
    with pytest.raises(ValueError, match=name) as caught:
        Settings.of(wrong)
    answer = str(caught.value)
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(**wrong)
    calls: list[Any] = [
        lambda: scf(bulk("Si"), "PBE", **wrong),
        lambda: equation_of_state(bulk("Si"), "PBE", **wrong),
        atoms.get_potential_energy,
    ]
    if name in SOLVER_OPTIONS:
        calls.append(lambda: checked_solver_options({name: WRONG[name]}))
    for call in calls:
        with pytest.raises(ValueError) as caught:
            call()
        assert answer in str(caught.value)
    if name in CrystalSpec.model_fields:
        with pytest.raises(ValueError, match=rf"systems\[0\]\.{name}.*: .*; give "):
            DFTSystem({**silicon(), name: WRONG[name]})
    if name in SolverSpec.model_fields:
        with pytest.raises(ValueError, match=f"solver\n?.*{name}"):
            TrainingSpec(
                dataset=["data.yaml"], functional={"type": "PBE"}, solver={name: WRONG[name]}
            )


def test_every_keyword_is_judged() -> None:
    assert set(WRONG) | set(JUDGED_LATER) == set(KEYWORDS)


def test_several_mistakes_are_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)ecut must be a number.*nbands = 0 is not a number"):
        scf(bulk("Si"), ecut="300", nbands=0)


def test_settings_hold_what_python_users_give() -> None:
    settings = Settings.of({"ecut": 300, "mixing": {"beta": 0.3}, "fft_size": 24, "spinpol": 1})
    assert (settings.ecut, settings.fft_size, settings.spinpol) == (300.0, (24, 24, 24), True)
    assert settings.mixing == Mixing(beta=0.3)
    with pytest.raises(ValueError, match="frozen"):
        settings.ecut = 200.0


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("encut", r"encut: did you mean ecut\?"),
        ("xc", "xc: functional"),
        ("charge", "only neutral cells"),
        ("verbose", "callback=print"),
        ("something", "valid ones are"),
    ],
)
def test_unknown_keywords_of_functions_have_an_answer(keyword: str, hint: str) -> None:
    for function in (scf, equation_of_state):
        match = rf"unknown keyword\(s\) {keyword} of {function.__name__}.*{hint}.*ecut, kpts"
        with pytest.raises(TypeError, match=match):
            function(bulk("Si"), "PBE", ecut=100.0, **{keyword: 1})


def test_values_that_are_no_single_number_are_given_as_yaml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    given: dict[str, Any] = {}

    def noted(atoms: Any, **keywords: Any) -> None:
        given.update(keywords)
        raise ValueError("seen")

    monkeypatch.setattr("deepchem_xc.planewave.scf", noted)
    bulk("Al").write(tmp_path / "al.xyz")
    options = ["--ecut", "150", "--fft-size", "[18, 18, 20]", "--mixing", "{beta: 0.3}"]
    run = CliRunner().invoke(app, ["scf", str(tmp_path / "al.xyz"), *options])
    assert "seen" in run.stderr
    assert (given["fft_size"], given["mixing"]) == ([18, 18, 20], {"beta": 0.3})
    known = set(Settings.model_fields) | {"functional", "callback"}
    assert set(given) == known - set(WITHOUT_EFFECT)
