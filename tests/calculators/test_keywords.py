"""What the calculator's keywords mean, and which are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from tests.calculators.systems import TIGHT, distorted, silicon


def test_an_unknown_keyword_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(TypeError, match=r"encut .*valid ones are xc, ecut, kpts, pseudopotentials"):
        PlaneWaveDFT(encut=300.0)
    calc = PlaneWaveDFT(ecut=300.0)
    with pytest.raises(TypeError, match="kpoints"):
        calc.set(kpoints=(2, 2, 2))
    assert calc.parameters["ecut"] == 300.0


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"ecut": None}, "ecut is missing"),
        ({"ecut": -10.0}, "not usable"),
        ({"xc": "PBX"}, "PBX"),
        ({"pseudopotentials": "gth-pbx"}, "gth-pbe"),
        ({"occupations": {"name": "fermi", "width": 0.1}}, "fermi-dirac"),
        ({"convergence": {"forces": 1e-3}}, "unknown convergence keys"),
        ({"nbands": 3}, "3 bands hold at most 6 electrons"),
        ({"kpts": (0, 1, 1)}, "three positive integers"),
        ({"occupations": 0.1}, "occupations = 0.1 is neither a name nor a dictionary"),
        ({"convergence": 1e-6}, "convergence = 1e-06 is not valid"),
        ({"ecut": "300"}, r"ecut must be a number \(eV\), got '300'"),
        ({"symmetry": "none"}, "symmetry = 'none' is not known"),
        ({"device": "gpu"}, "device = 'gpu' is not known"),
        ({"nbands": "many"}, "nbands = 'many' is not a number of bands"),
    ],
)
def test_settings_that_make_no_sense_are_refused(keywords: dict[str, Any], message: str) -> None:
    atoms = silicon(**keywords)
    with pytest.raises(ValueError, match=message):
        atoms.get_potential_energy()
    assert atoms.calc.results == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("charge", "only neutral cells"),
        ("mode", r"PW\(400\) is ecut=400"),
        ("setups", "pseudopotentials"),
        ("width", "occupations="),
        ("hund", "set_initial_magnetic_moments"),
        ("spin", "spinpol=True"),
        ("nspins", "spinpol"),
        ("maxiter", "convergence="),
        ("conv_tol", "convergence="),
        ("eigensolver", "block Davidson"),
        ("basis", "plane waves only"),
        ("h", "fft_size"),
        ("gpts", "fft_size"),
        ("verbose", "txt="),
        ("encut", r"did you mean ecut\?"),
        ("smearings", "valid ones are"),
    ],
)
def test_keywords_of_other_codes_that_are_others_here_say_which(name: str, hint: str) -> None:
    shown = "" if hint.startswith("valid") else rf" \({name}: "
    with pytest.raises(TypeError, match=rf"{name} of PlaneWaveDFT{shown}.*{hint}"):
        PlaneWaveDFT(ecut=100.0, **{name: 1})


def test_none_is_the_default_of_every_keyword(computed: Atoms) -> None:
    defaults = PlaneWaveDFT.default_parameters
    nothing = dict.fromkeys(
        name for name in defaults if name not in ("ecut", "kpts", "convergence")
    )
    atoms = distorted(**TIGHT, **nothing)
    assert atoms.get_potential_energy() == pytest.approx(computed.get_potential_energy(), abs=1e-7)
    quick = silicon(ecut=80.0, kpts=None, convergence=None, symmetry=None)
    quick.get_potential_energy()
    assert len(quick.calc.get_ibz_k_points()) == 1


@pytest.mark.parametrize(
    ("symmetry", "number"),
    [
        *((value, 2) for value in (True, None, {}, "on")),
        *((value, 8) for value in (False, "off")),
        ({"point_group": False}, 4),
        ({"point_group": False, "time_reversal": False}, 8),
    ],
)
def test_symmetry_changes_the_k_points_and_not_the_energy(symmetry: Any, number: int) -> None:
    """The mesh avoids Gamma: all of its eight points are different."""
    atoms = silicon(ecut=80.0, kpts=2, symmetry=symmetry)
    energy = atoms.get_potential_energy()
    assert len(atoms.calc.get_ibz_k_points()) == number
    assert energy == pytest.approx(
        silicon(ecut=80.0, kpts=(2, 2, 2)).get_potential_energy(), abs=1e-4
    )


@pytest.mark.parametrize(("asked", "number"), [(np.int64(9), 9), (-5, 9), ("225%", 9)])
def test_bands_are_counted_as_in_gpaw(asked: Any, number: int) -> None:
    atoms = silicon(ecut=80.0, nbands=asked)
    atoms.get_potential_energy()
    assert atoms.calc.get_number_of_bands() == number


def test_the_adjoint_is_solved_as_well_as_is_asked_for() -> None:
    for given, used in ({}, GRADIENT_TOLERANCE), ({"gradient_tolerance": 1e-5}, 1e-5):
        atoms = silicon(ecut=80.0, **given)
        atoms.get_potential_energy()
        assert atoms.calc.scf_result.gradient_tolerance == used


def test_txt_must_be_something_to_write_to() -> None:
    with pytest.raises(ValueError, match="txt must be None"):
        PlaneWaveDFT(ecut=100.0, txt=3)


def test_convergence_follows_what_is_asked_for() -> None:
    """Keys that are left out keep their defaults; derivatives need a better density."""
    from deepchem_xc.xc import PBE

    loose, plain, trained = (
        silicon(ecut=80.0, **more)
        for more in ({"convergence": {"density": 1e-3}}, {}, {"xc": PBE(trainable=True)})
    )
    exact = silicon(ecut=80.0, convergence={"energy": 1e-9, "density": 1e-9})
    errors = []
    for atoms in (loose, plain, trained):
        difference = atoms.get_potential_energy() - exact.get_potential_energy()
        assert abs(difference) / 8.0 < 1e-6  # eV per valence electron
        errors.append(atoms.calc.scf_result.history[-1]["density_error"])
    assert 1e-6 < errors[0] < 1e-3
    assert 1e-7 < errors[1] < 1e-6
    assert errors[2] < 1e-7
