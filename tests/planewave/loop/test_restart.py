from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.planewave import SCFResult
from deepchem_xc.planewave.eigen.states import diagonalize
from deepchem_xc.planewave.inputs import make_basis, make_problem
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.restart import DamagedFileError, Restart, starting_point
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.settings import Settings

ECUT = 150.0


def problem(atoms: Atoms, ecut: float = ECUT, **keywords: Any) -> KohnShamProblem:
    basis = make_basis(
        atoms, Settings.of({"ecut": ecut, "kpts": {"size": (2, 2, 2), "gamma": True}})
    )
    return make_problem(basis, "PBE", "gth-pbe", energy_unit=1.0 / Hartree, **keywords)


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return solve(problem(bulk("Si")), Convergence(energy=1e-10, density=1e-8))


def test_the_same_problem_starts_where_the_other_ended(silicon: SCFResult) -> None:
    fields, orbitals = starting_point(problem(bulk("Si")), Restart.of(silicon))
    assert fields is not None and orbitals is not None
    assert torch.allclose(fields.density, silicon.density_g, rtol=0.0, atol=1e-13)
    assert torch.equal(orbitals, silicon.orbitals)
    again = solve(problem(bulk("Si")), fields=fields, orbitals=orbitals)
    assert again.nsteps <= 2
    assert float(again.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-10)


@pytest.mark.parametrize("change", ["cell", "cutoff"])
def test_other_plane_waves_keep_electrons_and_save_steps(silicon: SCFResult, change: str) -> None:
    atoms, ecut = bulk("Si"), ECUT
    if change == "cell":
        atoms.set_cell(atoms.cell[:] * 1.02, scale_atoms=True)
    else:
        ecut = 180.0
    new = problem(atoms, ecut)
    assert new.basis.g_vectors.shape != silicon.basis.g_vectors.shape
    fields, orbitals = starting_point(new, Restart.of(silicon))
    assert fields is not None and orbitals is not None
    assert float(fields.density[0, 0].real * new.basis.volume) == pytest.approx(8.0, abs=1e-9)
    overlaps = orbitals @ orbitals.mH
    assert torch.allclose(overlaps, torch.eye(orbitals.shape[2]).to(overlaps), atol=1e-12)
    assert bool((orbitals * (1 - new.basis.mask)[None, :, None]).abs().max() == 0)

    converged = solve(new, Convergence(energy=1e-10, density=1e-8))
    distance = (fields.density - converged.density_g).abs().square().sum()
    atoms_distance = (new.atomic_density() - converged.density_g).abs().square().sum()
    assert float(distance) < 0.05 * float(atoms_distance)
    steps = Convergence(density=1e-6)
    warm = solve(new, steps, fields=fields, orbitals=orbitals)
    assert warm.nsteps < solve(new, steps).nsteps
    assert float(warm.free_energy) == pytest.approx(float(converged.free_energy), abs=1e-7)


def test_orbitals_of_a_larger_cell_are_damped_where_smoothing_raises_energies() -> None:
    def smoothed(a: float) -> KohnShamProblem:
        basis = make_basis(
            bulk("Si", a=a), Settings.of({"ecut": ECUT, "kpts": (2, 2, 2), "ecut_smoothing": 20.0})
        )
        return make_problem(basis, "PBE")

    large, small = (solve(smoothed(a)) for a in (5.5, 5.4))
    _, orbitals = starting_point(small.problem, Restart.of(large))
    assert orbitals is not None
    potential, _ = small.problem.effective_potential(small.fields)
    hamiltonian = small.problem.hamiltonian(potential)
    residuals = diagonalize(hamiltonian, orbitals, expansions=0)[2]
    assert float(residuals.max()) < 0.1  # 1.05 without


def test_orbitals_are_improved_as_far_as_a_given_density_is_good(silicon: SCFResult) -> None:
    good = solve(problem(bulk("Si")), fields=silicon.fields).history[0]
    assert good["density_error"] < 1e-5 and good["orbital_error"] < 1e-5
    fields, orbitals = starting_point(problem(bulk("Si", a=5.5)), Restart.of(silicon))
    fair = solve(problem(bulk("Si", a=5.5)), fields=fields, orbitals=orbitals).history[0]
    assert fair["density_error"] > 1e-3
    assert 1e-5 < fair["orbital_error"] < 0.03 * fair["density_error"]


def test_a_density_with_spin_starts_one_without_and_the_other_way_round(
    silicon: SCFResult,
) -> None:
    polarised = problem(bulk("Si"), spinpol=True)
    fields, orbitals = starting_point(polarised, Restart.of(silicon))
    assert fields is not None and orbitals is None
    assert torch.allclose(fields.density[0], fields.density[1])
    assert torch.allclose(fields.density.sum(0), silicon.density_g[0], atol=1e-13)
    spins = solve(polarised, fields=fields)
    back, _ = starting_point(problem(bulk("Si")), Restart.of(spins))
    assert back is not None
    assert torch.allclose(back.density[0], spins.density_g.sum(0), atol=1e-13)


def test_other_atoms_electrons_or_k_points_are_not_started_from(silicon: SCFResult) -> None:
    restart = Restart.of(silicon)
    assert starting_point(problem(bulk("C")), restart) == (None, None)
    carbon_in_its_place = Restart(
        restart.crystal, restart.g_vectors, restart.fields * 1.25, restart.orbitals
    )
    assert starting_point(problem(bulk("Si")), carbon_in_its_place) == (None, None)
    basis = make_basis(bulk("Si"), Settings.of({"ecut": ECUT, "kpts": (2, 2, 2)}))
    fields, orbitals = starting_point(make_problem(basis, "PBE"), restart)
    assert fields is not None and orbitals is None


def test_a_moved_atom_takes_its_density_along(silicon: SCFResult) -> None:
    moved = bulk("Si")
    moved.positions[0] += [0.10, 0.03, -0.05]
    new = solve(problem(moved))
    fields, _ = starting_point(new.problem, Restart.of(silicon))
    assert fields is not None

    def distance(start: torch.Tensor) -> float:
        return float((start - new.density_g).abs().square().sum())

    assert distance(fields.density) < 0.3 * distance(silicon.density_g)
    assert distance(fields.density) < 0.3 * distance(new.problem.atomic_density())


@pytest.mark.parametrize("orbitals", [False, True])
def test_a_file_gives_back_what_was_written(
    silicon: SCFResult, tmp_path: Path, orbitals: bool
) -> None:
    written = Restart.of(silicon, orbitals, notes="Zr\u00fcck")
    path = tmp_path / "new folder" / "si.npz"
    written.save(path)
    read = Restart.load(path)
    assert torch.equal(read.fields.density, silicon.density_g) and read.notes == written.notes
    assert torch.equal(read.g_vectors, silicon.basis.g_vectors)
    assert torch.equal(read.crystal.lattice, silicon.basis.crystal.lattice)
    assert read.crystal.symbols == ("Si", "Si") and read.crystal.magnetic_moments is None
    if orbitals:
        assert read.orbitals is not None
        assert torch.equal(read.orbitals.coefficients, silicon.orbitals)
    else:
        assert read.orbitals is None


@pytest.mark.parametrize("damage", ["cut", "bit", "text", "empty", "other"])
def test_a_damaged_file_is_recognised(silicon: SCFResult, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "si.npz"
    Restart.of(silicon).save(path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "bit":
        content[len(content) // 2] ^= 1
    elif damage == "text":
        content = bytearray(b"not a density")
    elif damage == "empty":
        content = bytearray()
    path.write_bytes(content)
    if damage == "other":
        import numpy as np

        np.savez(path, density=np.zeros(3))
    with pytest.raises(DamagedFileError, match=r"si\.npz.*not a complete density file"):
        Restart.load(path)
    with pytest.raises(FileNotFoundError):
        Restart.load(tmp_path / "absent.npz")


def test_an_interrupted_write_leaves_the_old_file(
    silicon: SCFResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "si.npz"
    Restart.of(silicon).save(path)
    before = path.read_bytes()

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        Restart.of(silicon, orbitals=False).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["si.npz"]
