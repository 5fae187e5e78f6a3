"""One functional in several codes: potentials, curves, resumption, and PySCF's energies."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase.units import Hartree

from deepchem_xc.parallel import Outcome
from deepchem_xc.planewave.pseudo import load_pseudopotential

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("three_codes")


@pytest.fixture
def calculations(script: ModuleType) -> ModuleType:
    return sys.modules["three_codes_calculations"]


def directly(function: Any, calls: Any, **_: Any) -> Any:
    """As `parallel_map`, in this process."""
    for name, arguments in calls.items():
        yield Outcome(name, function(*arguments))


def test_all_codes_compute_the_same_crystal_on_the_same_points(
    script: ModuleType, calculations: ModuleType
) -> None:
    common = ("structure", "symbol", "a", "vacuum", "kpts", "width")
    for name in script.SYSTEMS:
        system = script.system_of(name)
        settings = [code.settings(system) for code in script.CODES.values()]
        for key in common:
            assert all(other[key] == settings[0][key] for other in settings)
        grid = np.array(settings[list(script.CODES).index("gpaw")]["gpts"])
        # As fine as the data's other calculations at the largest volume.
        heights = 1 / np.linalg.norm(system.crystal.atoms(script.LARGEST).cell.reciprocal(), axis=1)
        assert (heights / grid < 0.22).all()


def test_crystals_beyond_the_reach_of_gth_potentials_are_computed_with_paw(
    script: ModuleType,
) -> None:
    tasks = list(script.tasks_of(["Si", "NaCl", "MgO"], list(script.CODES), 7))
    for name in ("NaCl", "MgO"):
        assert {task.code for task in tasks if task.system == name} == {"paw", "gpaw"}
    assert {task.code for task in tasks if task.system == "Si"} == set(script.CODES)


@pytest.mark.parametrize("symbol", ["Al", "Si", "P", "C", "Li", "Cl"])
def test_pyscf_has_the_same_potentials(symbol: str) -> None:
    from pyscf.pbc.gto import pseudo

    electrons, radius, _, local, _, *projectors = pseudo.load("gth-pbe", symbol)
    ours = load_pseudopotential("gth-pbe", symbol).parameters
    assert list(ours.electrons) == electrons
    assert (ours.local_radius, list(ours.local_coefficients)) == (radius, local)
    # PySCF also lists channels without projectors.
    theirs = [(radius, matrix) for radius, number, matrix in projectors if number]
    assert [(r, [list(row) for row in h]) for _, r, h in ours.projectors] == theirs


def test_curves_give_their_minima_and_a_second_run_computes_nothing(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    minima = {"PBE": 1.0, "PBEsol": 0.97}
    computed: list[tuple[float, str]] = []
    broken = {"PBEsol"}

    def calculation(system: Any, scale: float, settings: Any) -> Any:
        def energies(functional: str) -> dict[str, float]:
            computed.append((scale, functional))
            if scale == script.LARGEST and functional in broken:
                raise RuntimeError("did not converge")
            energy = 50.0 * ((minima[functional] / scale) ** (2 / 3) - 1) ** 2
            return {"energy": energy, "free_energy": energy}

        return energies

    code = script.CODES["ours"]
    monkeypatch.setattr(script, "CODES", {"made up": replace(code, calculation=calculation)})
    monkeypatch.setattr(script, "parallel_map", directly)
    options = ["--systems", "si", "--functionals", "PBE,PBEsol", "--output", str(tmp_path)]
    assert script.main(options) == 1
    assert "did not converge" in capsys.readouterr().err
    assert len(computed) == 14
    broken.clear()
    # Only what is missing.
    assert script.main(options) == 0
    assert computed[14:] == [(script.LARGEST, "PBEsol")]
    assert script.main([*options, "--report"]) == 0
    assert len(computed) == 15
    (curves,) = json.loads((tmp_path / "three_codes.json").read_text())["curves"].values()
    a = script.system_of("Si").crystal.a
    for functional, minimum in minima.items():
        found = curves[functional]["made up"]["a"]
        assert found == pytest.approx(a * minimum ** (1 / 3), abs=1e-9)
    shift = a * (0.97 ** (1 / 3) - 1)
    assert f"{shift:+.4f}" in (tmp_path / "three_codes.md").read_text()
    assert (tmp_path / "three_codes.png").stat().st_size > 1000


def test_names_that_do_not_exist_are_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="--codes: no vasp; valid: paw, ours, gpaw, pyscf"):
        script.main(["--codes", "vasp"])
    with pytest.raises(SystemExit, match="--points must be at least 5, got 4"):
        script.main(["--points", "4"])


def small(calculations: ModuleType) -> tuple[Any, Any]:
    """Silicon with few k-points and functions."""
    system = calculations.system_of("Si")
    system = replace(system, crystal=replace(system.crystal, kpts=(2, 1, 1)))
    settings = calculations.pyscf_settings(system, "SZV-MOLOPT-SR-GTH-q{electrons}")
    return system, {**settings, "ke_cutoff": 15.0, "precision": 1e-6}


def test_kept_orbitals_do_not_change_pyscfs_energies(calculations: ModuleType) -> None:
    from pyscf.pbc import dft
    from pyscf.pbc.scf import addons

    system, settings = small(calculations)
    energies = calculations.pyscf(system, 1.0, settings)
    for functional, name in (("PBE", "pbe"), ("PBEsol", "pbesol")):
        mesh = calculations.gaussian_cell(system.crystal.atoms(1.06), settings).mesh
        cell = calculations.gaussian_cell(system.crystal.atoms(), settings, mesh)
        kpts = cell.make_kpts([2, 1, 1], space_group_symmetry=True, time_reversal_symmetry=True)
        mf = addons.smearing_(dft.KRKS(cell, kpts, xc=name), 0.1 / Hartree, method="fermi")
        mf.conv_tol = 1e-9
        mf.kernel()
        found = energies(functional)
        assert found["free_energy"] == pytest.approx(mf.e_free * Hartree, abs=1e-5)
        assert found["energy"] == pytest.approx(mf.e_zero * Hartree, abs=1e-5)


@pytest.mark.slow
def test_a_functionals_energy_beyond_pbes_is_the_same_in_both_bases(
    calculations: ModuleType,
) -> None:
    """Most of the Gaussians' error is PBE's too: 0.14 eV in the energies, 3 meV in differences."""
    system, settings = small(calculations)
    settings["basis"], settings["ke_cutoff"] = "DZVP-MOLOPT-SR-GTH-q{electrons}", 40.0
    gaussians = calculations.pyscf(system, 1.0, settings)
    own = calculations.CODES["ours"].settings(system)
    waves = calculations.plane_waves(system, 1.0, own)
    pbe, pbesol = ([f(name)["energy"] for f in (gaussians, waves)] for name in ("PBE", "PBEsol"))
    # Gaussians are a part of all functions: their energy is higher.
    assert 0.0 < pbe[0] - pbe[1] < 0.2
    assert abs((pbesol[0] - pbe[0]) - (pbesol[1] - pbe[1])) < 0.01
