"""Files of GPAW's calculations with functionals of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deepchem_xc.calculators import read_gpw, to_gpaw
from deepchem_xc.xc import Ingredients, XCFunctional, get_xc
from tests.calculators.gpaw_systems import functional_of, silicon
from tests.calculators.test_gpaw_kernel import network

pytestmark = pytest.mark.gpaw


class Own(XCFunctional):
    """A functional that no file can hold without its class."""

    name, ingredients = "own", Ingredients.DENSITY

    def energy_density(self, variables: Any) -> torch.Tensor:
        return -0.9 * variables.density * variables.inverse_rs


@pytest.mark.parametrize("legacy_gpaw", [False, True], ids=["new", "old"])
def test_files_bring_their_functional_and_go_on_with_it(legacy_gpaw: bool, tmp_path: Path) -> None:
    atoms = silicon(to_gpaw(network()), legacy_gpaw=legacy_gpaw)
    energy = atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.gpw", "all")

    calculator = read_gpw(tmp_path / "si.gpw")
    read = calculator.get_atoms()
    assert read.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    assert functional_of(calculator).kernel.functional.name == "a*NNPBE+b*PBE"
    for moved in (atoms, read):
        moved.set_cell(1.02 * moved.cell, scale_atoms=True)
    assert read.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert abs(read.get_potential_energy() - energy) > 1e-3

    read.calc.write(tmp_path / "again.gpw")  # what was read can be written
    assert read_gpw(tmp_path / "again.gpw").get_potential_energy() == read.get_potential_energy()


def test_meta_ggas_are_read_from_files_of_the_new_interface_alone(tmp_path: Path) -> None:
    new, old = (silicon(to_gpaw("r2SCAN"), legacy_gpaw=legacy) for legacy in (False, True))
    energy = new.get_potential_energy()
    new.calc.write(tmp_path / "new.gpw", "all")
    read = read_gpw(tmp_path / "new.gpw").get_atoms()
    assert read.get_potential_energy() == energy
    assert read.get_stress() == pytest.approx(new.get_stress(), abs=1e-8)

    assert old.get_potential_energy() == pytest.approx(energy, abs=1e-4)
    old.calc.write(tmp_path / "old.gpw")
    with pytest.raises(ValueError, match="old interface, which leaves out the kinetic energy"):
        read_gpw(tmp_path / "old.gpw")


@pytest.mark.parametrize("legacy_gpaw", [False, True, None], ids=["new", "old", "either"])
def test_gpaw_itself_says_how_to_open_such_files(legacy_gpaw: Any, tmp_path: Path) -> None:
    from gpaw.dft import GPAW

    atoms = silicon(to_gpaw("PBE"))
    atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.gpw")
    with pytest.raises(NameError, match=r"open the file with deepchem_xc\.calculators\.read_gpw"):
        GPAW(tmp_path / "si.gpw", legacy_gpaw=legacy_gpaw, txt=None)


def test_functionals_that_no_file_holds_have_to_be_given(tmp_path: Path) -> None:
    atoms = silicon(to_gpaw(Own(), setup_name="LDA"))
    energy = atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.gpw")
    with pytest.raises(ValueError, match=r"no copy of its functional own.*read_gpw\(path, func"):
        read_gpw(tmp_path / "si.gpw")
    calculator = read_gpw(tmp_path / "si.gpw", Own())
    assert calculator.get_potential_energy() == energy
    assert functional_of(calculator).get_setup_name() == "LDA"
    with pytest.raises(ValueError, match="written with the functional own, and PBE gives other"):
        read_gpw(tmp_path / "si.gpw", "PBE")


def test_files_with_functionals_of_gpaw_are_left_to_it(tmp_path: Path) -> None:
    for xc in ("PBE", None):
        atoms = silicon(xc)
        atoms.get_potential_energy()
        atoms.calc.write(tmp_path / "si.gpw")
        with pytest.raises(ValueError, match=f"GPAW's functional '{xc or 'LDA'}'.*gpaw.GPAW"):
            read_gpw(tmp_path / "si.gpw", get_xc("PBE"))


def test_the_old_interface_is_refused_for_reading() -> None:
    with pytest.raises(ValueError, match="leave legacy_gpaw"):
        read_gpw("si.gpw", legacy_gpaw=True)
