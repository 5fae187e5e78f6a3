"""What ASE and GPAW users ask of a calculator: levels, bands, databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.db import connect
from ase.dft.dos import DOS
from ase.io import read, write
from ase.io.jsonio import decode, encode
from scipy.integrate import trapezoid

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning
from deepchem_xc.xc import get_xc
from tests.calculators.systems import QUICK


def test_states_are_those_of_the_solver(computed: Atoms) -> None:
    calc = computed.calc
    result = calc.scf_result
    weights, k = calc.get_k_point_weights(), calc.get_ibz_k_points()
    assert weights.sum() == pytest.approx(1.0) and k.shape == (len(weights), 3)
    electrons = sum(w * calc.get_occupation_numbers(kpt=i).sum() for i, w in enumerate(weights))
    assert electrons == pytest.approx(8.0) and calc.get_number_of_electrons() == 8.0
    assert calc.get_number_of_bands() == result.eigenvalues.shape[2]
    x = (calc.get_eigenvalues(kpt=1) - calc.get_fermi_level()) / 0.1
    np.testing.assert_allclose(calc.get_occupation_numbers(kpt=1), 2 / (1 + np.exp(x)), atol=1e-9)
    assert calc.get_xc_functional() == "PBE" and not calc.get_spin_polarized()
    assert calc.get_number_of_iterations() == result.nsteps


@pytest.mark.parametrize("spec", [(2, 3, 2), {"size": (3, 3, 2), "gamma": True}])
def test_all_k_points_are_the_whole_mesh(spec: Any) -> None:
    atoms = bulk("Al")
    atoms.calc = PlaneWaveDFT(ecut=100.0, kpts=spec)
    atoms.get_potential_energy()
    size = spec if isinstance(spec, tuple) else spec["size"]
    k = atoms.calc.get_bz_k_points()
    assert len(k) == np.prod(size) > len(atoms.calc.get_ibz_k_points())
    # A mesh: times its divisions, all points are integers apart.
    steps = (k - k[0]) * size
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-7)


def test_levels_that_are_not_there_are_refused(computed: Atoms) -> None:
    count = len(computed.calc.get_ibz_k_points())
    for ask in (computed.calc.get_eigenvalues, computed.calc.get_occupation_numbers):
        with pytest.raises(IndexError, match="spin = 1 does not exist: the calculation has 1"):
            ask(spin=1)
        with pytest.raises(
            IndexError, match=f"kpt = 99 does not exist: the calculation has {count}"
        ):
            ask(kpt=99)
        np.testing.assert_array_equal(ask(kpt=-1), ask(kpt=count - 1))


def test_ase_makes_a_density_of_states_and_bands(computed: Atoms) -> None:
    dos = DOS(computed.calc, width=0.2, npts=801)
    states = trapezoid(dos.get_dos(), dos.get_energies())
    assert states == pytest.approx(2 * computed.calc.get_number_of_bands(), rel=0.02)
    bands = computed.calc.band_structure("GX", npoints=3, nbands=4)
    assert bands.energies.shape == (1, 3, 4)
    assert bands.reference == pytest.approx(computed.calc.get_fermi_level())
    gamma = computed.calc.get_eigenvalues(kpt=int(_gamma(computed.calc)))[:4]
    np.testing.assert_allclose(bands.energies[0, 0], gamma, atol=1e-5)


def _gamma(calc: PlaneWaveDFT) -> np.intp:
    return np.argmin(np.abs(calc.get_ibz_k_points()).sum(1))


def test_databases_and_trajectories_take_the_results(computed: Atoms, tmp_path: Path) -> None:
    with connect(tmp_path / "si.db") as database:
        database.write(computed)
    row = connect(tmp_path / "si.db").get(1)
    assert row.calculator == "planewavedft"
    assert row.energy == pytest.approx(computed.get_potential_energy(), abs=1e-12)
    assert row.calculator_parameters["ecut"] == QUICK["ecut"]
    assert "xc" not in row.calculator_parameters  # the default
    write(tmp_path / "si.traj", computed)
    again = read(tmp_path / "si.traj")
    np.testing.assert_array_equal(again.get_forces(), computed.get_forces())


def test_settings_with_objects_can_be_written_down() -> None:
    functional = get_xc("gga_x_pbe") * 0.9 + get_xc("gga_c_pbe")
    calc = PlaneWaveDFT(ecut=100.0, xc=functional, device=torch.device("cpu"), txt="-")
    settings = decode(encode(calc.todict()))
    assert settings["xc"] == functional.name and settings["device"] == "cpu"
    assert "txt" not in settings and "kpts" not in settings
    assert calc.todict(skip_default=False)["kpts"] == (1, 1, 1)


def test_a_molecule_has_no_band_path() -> None:
    atoms = Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.75)])
    atoms.center(vacuum=1.5)
    atoms.calc = PlaneWaveDFT(ecut=60.0)
    with pytest.warns(NonPeriodicWarning):
        atoms.get_potential_energy()
    for path in ("GX", None):
        with pytest.raises(ValueError, match=r"periodic in no direction .*get_eigenvalues\(\)"):
            atoms.calc.band_structure(path)
