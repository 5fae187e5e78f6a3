from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotPresent
from ase.db import connect
from ase.dft.dos import DOS
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.io.jsonio import decode, encode
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, Hartree
from scipy.integrate import trapezoid

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import SCFConvergenceError, scf
from deepchem_xc.planewave.crystal import NonPeriodicWarning
from deepchem_xc.planewave.kpoints import MeshSymmetryWarning
from deepchem_xc.planewave.restart import DamagedFileError, Restart
from deepchem_xc.xc import get_xc
from tests.differences import assert_derivative

GAMMA_MESH = {"size": (2, 2, 2), "gamma": True}
QUICK: dict[str, Any] = {"ecut": 120.0, "kpts": GAMMA_MESH}
TIGHT: dict[str, Any] = {"convergence": {"energy": 1e-10, "density": 1e-9}}


def silicon(**keywords: Any) -> Atoms:
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(**{**QUICK, **keywords})
    return atoms


def distorted(**keywords: Any) -> Atoms:
    atoms = silicon(**keywords)
    atoms.positions[0] += [0.11, -0.05, 0.07]
    strain = np.array([[0.01, 0.004, 0.0], [0.004, -0.006, 0.003], [0.0, 0.003, 0.002]])
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


@pytest.fixture(scope="module")
def computed() -> Atoms:
    """Distorted silicon with all of its properties; tests that change it take a copy."""
    atoms = distorted(**TIGHT)
    atoms.get_forces()
    return atoms


# -- physics -----------------------------------------------------------------------------------


def test_energies_are_those_of_the_solver_in_electronvolt(computed: Atoms) -> None:
    alone = scf(computed, "PBE", **QUICK, **TIGHT)
    free = computed.get_potential_energy(force_consistent=True)
    assert free == pytest.approx(float(alone.free_energy) * 27.211386, rel=1e-7)
    assert free == pytest.approx(float(alone.free_energy) * Hartree, abs=1e-7)
    assert computed.get_potential_energy() == pytest.approx(
        float(alone.free_energy - 0.5 * alone.energies["entropy"]) * Hartree, abs=1e-7
    )
    np.testing.assert_allclose(
        computed.get_forces(), alone.forces.numpy() * Hartree / Bohr, atol=1e-5
    )


def test_forces_are_minus_the_derivative_of_the_free_energy(computed: Atoms) -> None:
    atoms = distorted(**TIGHT)
    # Not a rigid shift: that moves the XC grid along, and symmetrised forces have no sum.
    direction = np.array([[0.3, -0.5, 0.8], [-0.3, 0.5, -0.8]])
    positions = atoms.positions.copy()

    def energy(step: float) -> float:
        atoms.positions = positions + step * direction
        return atoms.get_potential_energy(force_consistent=True)

    work = (computed.get_forces() * direction).sum()
    assert abs(work) > 0.1
    assert_derivative(-work, energy, 0.002, rel=1e-6)


def test_stress_is_the_derivative_of_the_free_energy_with_strain(computed: Atoms) -> None:
    atoms = distorted(**TIGHT)
    cell = atoms.cell[:].copy()
    strain = np.array([[0.7, 0.3, -0.2], [0.3, -0.4, 0.5], [-0.2, 0.5, 0.9]])
    plane_waves = set()

    def energy(step: float) -> float:
        atoms.set_cell(cell @ (np.eye(3) + step * strain), scale_atoms=True)
        found = atoms.get_potential_energy(force_consistent=True)
        plane_waves.add(tuple(atoms.calc.scf_result.basis.npw_per_k))
        return found

    stress = computed.get_stress()  # xx yy zz yz xz xy, positive where the crystal is stretched
    work = (voigt_6_to_full_3x3_stress(stress) * strain).sum() * computed.get_volume()
    assert_derivative(work, energy, 2e-4, rel=1e-5)
    assert len(plane_waves) == 1, "the stress is that of a fixed set of plane waves"
    assert np.abs(stress[3:]).min() > 1e-3 * np.abs(stress[:3]).max()
    np.testing.assert_allclose(computed.get_stress(voigt=False)[1, 2], stress[3])


def test_a_displaced_atom_relaxes_to_the_diamond_structure() -> None:
    atoms = silicon()
    ideal = atoms.get_potential_energy()
    atoms.positions[1] += [0.10, -0.06, 0.03]
    assert atoms.get_potential_energy() > ideal + 0.01
    optimizer = BFGS(atoms, logfile=None)
    assert optimizer.run(fmax=0.01, steps=12)
    difference = atoms.positions[1] - atoms.positions[0]
    np.testing.assert_allclose(difference, 5.43 / 4, atol=2e-3)
    assert atoms.get_potential_energy() == pytest.approx(ideal, abs=1e-4)


def test_a_distorted_cell_relaxes_to_the_cube() -> None:
    # Along [111], which keeps enough symmetry to be quick and lets cell and atoms relax together.
    atoms = silicon(ecut=150.0, kpts={"size": (3, 3, 3), "gamma": True})
    atoms.positions[1] += 0.05
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.012), scale_atoms=True)
    assert np.abs(atoms.cell.angles() - 60.0).min() > 1.0
    optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
    assert optimizer.run(fmax=0.02, steps=20)
    np.testing.assert_allclose(atoms.cell.angles(), 60.0, atol=0.05)
    separation = atoms.get_scaled_positions()[1] - atoms.get_scaled_positions()[0]
    np.testing.assert_allclose(separation, 0.25, atol=5e-4)
    assert np.abs(atoms.get_stress()).max() < 0.02 / atoms.get_volume()


def test_an_atom_in_a_box_keeps_its_moment_and_its_box_is_noticed() -> None:
    atom = Atoms("H", cell=[4.0, 4.2, 4.4], magmoms=[1.0])
    atom.calc = PlaneWaveDFT(ecut=150.0)
    with pytest.warns(NonPeriodicWarning, match="treated as periodic images"):
        assert atom.get_magnetic_moment() == pytest.approx(1.0, abs=1e-3)
    assert atom.calc.get_spin_polarized() and atom.calc.get_number_of_spins() == 2
    up = atom.calc.get_occupation_numbers(kpt=0, spin=0).sum()
    down = atom.calc.get_occupation_numbers(kpt=0, spin=1).sum()
    assert up - down == pytest.approx(1.0, abs=1e-3)
    # One electron alone: only its spin has a density.
    voxel = atom.get_volume() / np.prod(atom.calc.scf_result.basis.fft_size)
    density = atom.calc.get_pseudo_density()
    assert density.sum() * voxel == pytest.approx(1.0, abs=1e-8)
    assert atom.calc.get_pseudo_density(spin=0).sum() * voxel == pytest.approx(1.0, abs=1e-3)
    assert atom.get_magnetic_moments() == pytest.approx([atom.get_magnetic_moment()], abs=1e-9)


def test_fixed_moments_have_two_fermi_levels() -> None:
    atoms = bulk("Si")
    atoms.set_initial_magnetic_moments([1.0, 1.0])
    occupations = {"name": "fermi-dirac", "width": 0.2, "fixmagmom": True}
    atoms.calc = PlaneWaveDFT(ecut=100.0, occupations=occupations)
    assert atoms.get_magnetic_moment() == pytest.approx(2.0, abs=1e-6)
    up, down = atoms.calc.get_fermi_levels()
    assert up > down
    with pytest.raises(ValueError, match="get_fermi_levels"):
        atoms.calc.get_fermi_level()


def test_one_spin_with_all_electrons_has_the_fermi_level(tmp_path: Path) -> None:
    atom = Atoms("H", cell=[3.5, 3.6, 3.7], pbc=True, magmoms=[1.0])
    occupations = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    log = tmp_path / "h.txt"
    atom.calc = PlaneWaveDFT(ecut=150.0, occupations=occupations, txt=log)
    atom.get_potential_energy()
    up, down = atom.calc.get_fermi_levels()
    assert atom.calc.get_fermi_level() == up and down == -np.inf
    assert f"{up:.5f} eV (up), none (down)" in log.read_text()


# -- what ASE and GPAW users ask ---------------------------------------------------------------


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
        with pytest.raises(IndexError, match="spin = 1 is not there: the calculation has 1"):
            ask(spin=1)
        with pytest.raises(IndexError, match=f"kpt = 99 is not there: the calculation has {count}"):
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


# -- when it computes, and from what -----------------------------------------------------------


class Count:
    """How many self-consistency loops were run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from deepchem_xc.calculators import plane_wave

        self.loops = 0
        solve = plane_wave.solve

        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.loops += 1
            return solve(*arguments, **keywords)

        monkeypatch.setattr(plane_wave, "solve", counted)


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Count(monkeypatch)
    atoms = silicon(ecut=80.0)
    for _ in range(2):
        atoms.get_potential_energy()
        atoms.get_forces()
        atoms.get_stress()
        atoms.get_magnetic_moment()
        atoms.calc.get_fermi_level()
    atoms.calc.set(txt=None, ecut=80.0)
    atoms.set_initial_charges([0.1, -0.1])
    atoms.get_potential_energy()
    assert count.loops == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    atoms.get_potential_energy()
    assert count.loops == 2
    atoms.calc.set(ecut=90.0)
    with pytest.raises(PropertyNotPresent):
        _ = atoms.calc.scf_result
    atoms.get_potential_energy()
    assert count.loops == 3


def test_a_functional_that_learns_makes_results_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Count(monkeypatch)
    parameter = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    functional = get_xc("gga_x_pbe") * parameter + get_xc("gga_c_pbe")
    atoms = silicon(ecut=80.0, xc=functional)
    before = atoms.get_potential_energy()
    with torch.no_grad():
        parameter.mul_(1.02)
    after = atoms.calc.get_potential_energy()
    assert count.loops == 2 and abs(after - before) > 1e-3
    fresh = silicon(ecut=80.0, xc=functional)
    assert fresh.get_potential_energy() == pytest.approx(after, abs=1e-5)


def test_a_small_move_saves_steps_and_changes_nothing_else() -> None:
    atoms = distorted(**TIGHT)
    atoms.get_potential_energy()
    cold = atoms.calc.get_number_of_iterations()
    atoms.positions[0] += [0.01, 0.02, -0.01]
    warm_energy, warm_forces = atoms.get_potential_energy(), atoms.get_forces()
    assert atoms.calc.get_number_of_iterations() < cold
    fresh = atoms.copy()
    fresh.calc = PlaneWaveDFT(**QUICK, **TIGHT)
    assert fresh.get_potential_energy() == pytest.approx(warm_energy, abs=1e-8)
    np.testing.assert_allclose(fresh.get_forces(), warm_forces, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ("move", "density and orbitals"),
        ("strain", "density and orbitals"),
        ("far", "superposed atoms"),
        ("stretch", "superposed atoms"),
        ("moments", "superposed atoms"),
        ("element", "superposed atoms"),
        ("nbands", "density and orbitals"),
        ("kpts", "density of"),
    ],
)
def test_what_the_next_calculation_starts_from(tmp_path: Path, change: str, start: str) -> None:
    text = tmp_path / "si.txt"
    atoms = bulk("Si")
    atoms.positions[0] += [0.11, -0.05, 0.07]  # so that the k-points stay the same
    atoms.calc = PlaneWaveDFT(ecut=80.0, kpts=GAMMA_MESH, txt=text)
    atoms.get_potential_energy()
    if change == "move":
        atoms.positions[0] += 0.02
    elif change == "strain":
        atoms.set_cell(atoms.cell[:] * 1.01, scale_atoms=True)
    elif change == "far":
        atoms.positions[0] += [0.8, 0.0, 0.0]
    elif change == "stretch":
        atoms.set_cell(atoms.cell[:] * 1.2, scale_atoms=True)
    elif change == "moments":
        atoms.set_initial_magnetic_moments([0.5, 0.5])
    elif change == "element":
        atoms.symbols[0] = "C"
    elif change == "nbands":
        atoms.calc.set(nbands=9)
    else:
        atoms.calc.set(kpts=(2, 2, 1))
    atoms.get_potential_energy()
    first, second = [
        line.split(maxsplit=1)[1]
        for line in text.read_text().splitlines()
        if line.startswith("start ")
    ]
    assert first == "superposed atoms"
    assert second.startswith(start)


def test_a_failing_calculation_raises_and_leaves_no_results(tmp_path: Path) -> None:
    text = tmp_path / "si.txt"
    atoms = silicon(txt=text)
    atoms.get_potential_energy()
    atoms.calc.set(convergence={"density": 1e-13, "energy": 1e-13, "maxiter": 2})
    atoms.positions[0] += 0.05
    for _ in range(2):
        with pytest.raises(SCFConvergenceError) as failure:
            atoms.get_potential_energy()
        assert len(failure.value.history) == 2
        assert atoms.calc.results == {}
        with pytest.raises(PropertyNotPresent, match="no converged calculation"):
            _ = atoms.calc.scf_result
    assert "failed: the self-consistency loop did not converge" in text.read_text()
    # The first failure started from the density before; the second one does not repeat that.
    starts = [line for line in text.read_text().splitlines() if line.startswith("start ")]
    assert ["superposed" in line for line in starts] == [True, False, True]
    atoms.calc.set(convergence={})
    assert atoms.get_potential_energy() < -200.0


def test_before_any_calculation_there_is_nothing_to_ask_for() -> None:
    calc = PlaneWaveDFT(**QUICK)
    with pytest.raises(PropertyNotPresent, match="no converged calculation"):
        calc.get_fermi_level()
    with pytest.raises(PropertyNotPresent, match="no atoms are known"):
        calc.get_potential_energy()


# -- bad input ---------------------------------------------------------------------------------


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
        ({"convergence": 1e-6}, "convergence = 1e-06 is no dictionary"),
        ({"ecut": "300"}, r"ecut must be a number \(eV\), got '300'"),
        ({"symmetry": "none"}, "symmetry = 'none' is not known"),
        ({"device": "gpu"}, "device = 'gpu' is not known"),
        ({"nbands": "many"}, "nbands = 'many' is no number of bands"),
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


def test_a_molecule_has_no_band_path() -> None:
    atoms = Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.75)])
    atoms.center(vacuum=1.5)
    atoms.calc = PlaneWaveDFT(ecut=60.0)
    with pytest.warns(NonPeriodicWarning):
        atoms.get_potential_energy()
    for path in ("GX", None):
        with pytest.raises(ValueError, match=r"periodic in no direction .*get_eigenvalues\(\)"):
            atoms.calc.band_structure(path)


def test_txt_must_be_something_to_write_to() -> None:
    with pytest.raises(ValueError, match="txt must be None"):
        PlaneWaveDFT(ecut=100.0, txt=3)


# -- text and files ----------------------------------------------------------------------------


def test_the_text_tells_settings_steps_and_energies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "si.txt"
    path.write_text("of an earlier run")
    atoms = silicon(txt=path)
    energy, free = atoms.get_potential_energy(), atoms.get_potential_energy(force_consistent=True)
    atoms.get_forces()
    text = path.read_text()
    assert "of an earlier run" not in text
    for words in ("Si2", "functional       PBE", "GTH-PBE-q4", "120.00 eV", "mesh (2, 2, 2)"):
        assert words in text
    assert f"extrapolated     {energy:18.9f} eV" in text
    assert f"free energy      {free:18.9f} eV" in text
    assert "forces (eV/Angstrom)" in text and "band gap" in text
    steps = [line for line in text.splitlines() if line[:5].strip().isdigit()]
    assert len(steps) == atoms.calc.get_number_of_iterations()
    assert float(steps[-1].split()[1]) == pytest.approx(free, abs=1e-5)
    assert capsys.readouterr().out == ""

    atoms.calc.set(txt="-", ecut=90.0)
    atoms.get_potential_energy()
    assert "converged in" in capsys.readouterr().out
    assert path.read_text() == text
    with open(tmp_path / "opened.txt", "w") as file:
        atoms.calc.set(txt=file, ecut=80.0)
        atoms.get_potential_energy()
    assert "converged in" in (tmp_path / "opened.txt").read_text()


def test_a_file_brings_back_settings_results_and_density(
    computed: Atoms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "si.npz"
    computed.calc.write(path)
    count = Count(monkeypatch)
    calc = PlaneWaveDFT(restart=path)
    atoms = calc.get_atoms()
    assert atoms == computed
    assert atoms.get_potential_energy() == computed.get_potential_energy()
    np.testing.assert_array_equal(atoms.get_forces(), computed.get_forces())
    assert calc.parameters["ecut"] == QUICK["ecut"]
    assert calc.parameters["convergence"] == TIGHT["convergence"]
    assert count.loops == 0
    # Eigenvalues are not in the file: they are computed from its density.
    assert calc.get_fermi_level() == pytest.approx(computed.calc.get_fermi_level(), abs=1e-6)
    assert count.loops == 1
    assert atoms.get_potential_energy() == pytest.approx(computed.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), computed.get_forces(), atol=1e-6)


def test_orbitals_in_the_file_make_the_next_start_immediate(
    computed: Atoms, tmp_path: Path
) -> None:
    path = tmp_path / "si.npz"
    computed.calc.write(path, orbitals=True)
    calc = PlaneWaveDFT(restart=path)
    assert calc.scf_result.nsteps <= 2 < computed.calc.scf_result.nsteps


def test_other_settings_than_the_files_drop_its_results_but_not_its_density(
    computed: Atoms, tmp_path: Path
) -> None:
    path, text = tmp_path / "si.npz", tmp_path / "si.txt"
    computed.calc.write(path)
    atoms = computed.copy()
    PlaneWaveDFT(restart=path, atoms=atoms, ecut=130.0, txt=text)
    energy = atoms.get_potential_energy()
    assert energy < computed.get_potential_energy() - 1e-3
    assert "density of an earlier calculation" in text.read_text()
    fresh = computed.copy()
    fresh.calc = PlaneWaveDFT(**{**QUICK, **TIGHT, "ecut": 130.0})
    assert fresh.get_potential_energy() == pytest.approx(energy, abs=1e-8)


def test_a_functional_given_as_an_object_must_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    functional = get_xc("gga_x_pbe") * 0.9 + get_xc("gga_c_pbe")
    atoms = silicon(ecut=80.0, xc=functional)
    energy = atoms.get_potential_energy()
    atoms.calc.write(path)
    without = PlaneWaveDFT(restart=path).get_atoms()
    with pytest.raises(ValueError, match="xc is missing.*Give it again"):
        without.get_potential_energy()
    again = PlaneWaveDFT(restart=path, xc=functional).get_atoms()
    assert again.get_potential_energy() == pytest.approx(energy, abs=1e-5)


def test_an_object_that_is_missing_is_not_replaced_by_the_default(tmp_path: Path) -> None:
    atoms = silicon(ecut=80.0, xc=get_xc("gga_x_pbe") * 0.9 + get_xc("gga_c_pbe"))
    atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.npz")
    without = PlaneWaveDFT(restart=tmp_path / "si.npz", xc=None)
    with pytest.raises(ValueError, match="xc is missing: the file"):
        without.get_potential_energy()
    without.set(xc="PBE")
    assert without.get_potential_energy() == pytest.approx(
        silicon(ecut=80.0).get_potential_energy(), abs=1e-4
    )


def test_the_text_says_which_symmetry_a_mesh_lacks(tmp_path: Path) -> None:
    atoms = silicon(ecut=80.0, kpts=(2, 2, 2), txt=tmp_path / "si.txt")
    with pytest.warns(MeshSymmetryWarning):
        atoms.get_potential_energy()
    (line,) = [x for x in (tmp_path / "si.txt").read_text().splitlines() if "k-points" in x]
    assert "12 symmetry operations (36 more but for the mesh, which avoids Gamma)" in line


def test_pseudopotentials_by_name_are_in_the_file_and_objects_are_not(tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    by_name = silicon(ecut=80.0, pseudopotentials={"Si": "GTH-PBE-q4"})
    energy = by_name.get_potential_energy()
    by_name.calc.write(path)
    again = PlaneWaveDFT(restart=path)
    assert again.parameters["pseudopotentials"] == {"Si": "GTH-PBE-q4"}
    assert again.get_potential_energy() == energy
    potentials = by_name.calc.scf_result.problem.pseudopotentials
    as_object = silicon(ecut=80.0, pseudopotentials=dict(potentials))
    assert as_object.get_potential_energy() == pytest.approx(energy, abs=1e-5)
    as_object.calc.write(path)
    with pytest.raises(ValueError, match="pseudopotentials is missing"):
        PlaneWaveDFT(restart=path).get_potential_energy()


def test_damaged_and_foreign_files_are_refused(computed: Atoms, tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    computed.calc.write(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(DamagedFileError, match="not a complete density file"):
        PlaneWaveDFT(restart=path)
    Restart.of(computed.calc.scf_result).save(path)
    with pytest.raises(DamagedFileError, match="not a calculator's settings"):
        PlaneWaveDFT(restart=path)
    with pytest.raises(FileNotFoundError):
        PlaneWaveDFT(restart=tmp_path / "absent.npz")
    with pytest.raises(PropertyNotPresent):
        PlaneWaveDFT(ecut=100.0).write(path)


def test_importing_the_calculator_does_not_import_deepchem() -> None:
    code = "import sys, deepchem_xc.calculators; sys.exit('deepchem' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "" and finished.stderr == ""


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
