from __future__ import annotations

import dataclasses
import os
from dataclasses import fields as members
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.occupations.occupy import make_smearing
from deepchem_xc.planewave import Crystal, DensityRecord, SCFResult, scf
from deepchem_xc.planewave.eigen.states import diagonalize
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.inputs import make_basis, make_problem
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.policies import Effort
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.record.starting_point import starting_point as start_of
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning

ECUT = 150.0


def problem(atoms: Atoms, ecut: float = ECUT, **keywords: Any) -> KohnShamProblem:
    basis = make_basis(
        atoms, Settings.of({"ecut": ecut, "kpts": {"size": (2, 2, 2), "gamma": True}})
    )
    return make_problem(basis, "PBE", "gth-pbe", energy_unit=1.0 / Hartree, **keywords)


def starting_point(
    new: KohnShamProblem, record: DensityRecord
) -> tuple[Fields, torch.Tensor | None]:
    found = start_of(new, record)
    assert found.is_converged
    return found.fields, found.orbitals


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return solve(problem(bulk("Si")), Convergence(energy=1e-10, density=1e-8))


def test_the_same_problem_starts_where_the_other_ended(silicon: SCFResult) -> None:
    fields, orbitals = starting_point(problem(bulk("Si")), DensityRecord.of(silicon))
    assert orbitals is not None
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
    fields, orbitals = starting_point(new, DensityRecord.of(silicon))
    assert orbitals is not None
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
    _, orbitals = starting_point(small.problem, DensityRecord.of(large))
    assert orbitals is not None
    potential, _ = small.problem.effective_potential(small.fields)
    hamiltonian = small.problem.hamiltonian(potential)
    residuals = diagonalize(hamiltonian, orbitals, expansions=0)[2]
    assert float(residuals.max()) < 0.1  # 1.05 without


def test_orbitals_are_improved_as_far_as_a_given_density_is_good(silicon: SCFResult) -> None:
    good = solve(problem(bulk("Si")), fields=silicon.fields).history[0]
    assert good["density_error"] < 1e-5 and good["orbital_error"] < 1e-5
    fields, orbitals = starting_point(problem(bulk("Si", a=5.5)), DensityRecord.of(silicon))
    fair = solve(problem(bulk("Si", a=5.5)), fields=fields, orbitals=orbitals).history[0]
    assert fair["density_error"] > 1e-3
    assert 1e-5 < fair["orbital_error"] < Effort().settling_residual(fair["density_error"])


def test_a_density_with_spin_starts_one_without_and_the_other_way_round(
    silicon: SCFResult,
) -> None:
    polarised = problem(bulk("Si"), spinpol=True)
    fields, orbitals = starting_point(polarised, DensityRecord.of(silicon))
    assert orbitals is None
    assert torch.allclose(fields.density[0], fields.density[1])
    assert torch.allclose(fields.density.sum(0), silicon.density_g[0], atol=1e-13)
    spins = solve(polarised, fields=fields)
    back, _ = starting_point(problem(bulk("Si")), DensityRecord.of(spins))
    assert torch.allclose(back.density[0], spins.density_g.sum(0), atol=1e-13)


def test_a_density_of_other_atoms_or_electrons_is_refused(silicon: SCFResult) -> None:
    record = DensityRecord.of(silicon, results=False)
    with pytest.raises(ValueError, match=r"other atoms: Si2, not C2\. Give a density of the same"):
        starting_point(problem(bulk("C")), record)
    compound = bulk("SiC", "zincblende", a=4.36)
    with pytest.raises(ValueError, match="other atoms: Si2, not SiC"):
        starting_point(problem(compound), record)
    charged = replace(record, fields=record.fields * 1.25)
    match = r"10\.000000 electrons per cell, but the pseudopotentials of this calculation have 8"
    with pytest.raises(ValueError, match=match):
        starting_point(problem(bulk("Si")), charged)
    swapped = replace(record, crystal=Crystal.from_ase(compound[[1, 0]]))
    with pytest.raises(ValueError, match="CSi, not SiC in this order"):
        starting_point(problem(compound), swapped)


def test_orbitals_at_other_k_points_are_left_behind(silicon: SCFResult) -> None:
    basis = make_basis(bulk("Si"), Settings.of({"ecut": ECUT, "kpts": (2, 2, 2)}))
    _, orbitals = starting_point(make_problem(basis, "PBE"), DensityRecord.of(silicon))
    assert orbitals is None


def test_a_moved_atom_takes_its_density_along(silicon: SCFResult) -> None:
    moved = bulk("Si")
    moved.positions[0] += [0.10, 0.03, -0.05]
    new = solve(problem(moved))
    fields, _ = starting_point(new.problem, DensityRecord.of(silicon))

    def distance(start: torch.Tensor) -> float:
        return float((start - new.density_g).abs().square().sum())

    assert distance(fields.density) < 0.3 * distance(silicon.density_g)
    assert distance(fields.density) < 0.3 * distance(new.problem.atomic_density())


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if dataclasses.is_dataclass(one):
        names = [member.name for member in members(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other) and type(one) is type(other)


@pytest.fixture(scope="module")
def magnet() -> SCFResult:
    """A magnet with everything that a record can hold: two spins, tau, three levels of moments."""
    atoms = Atoms("H2", [[0, 0, 0], [0.1, 0, 2.5]], cell=[4, 4, 5], pbc=[True, True, False])
    atoms.set_initial_magnetic_moments([0.9, 0.3])
    with pytest.warns(NonPeriodicWarning):
        return scf(
            atoms,
            "SCAN",
            ecut=100.0,
            kpts=(1, 1, 2),
            occupations={"name": "methfessel-paxton", "width": 0.2, "order": 2, "fixmagmom": True},
            ecut_smoothing=10.0,
            convergence={"density": 1e-4, "energy": 1e-3},
        )


@pytest.mark.parametrize("orbitals", [False, True])
def test_a_file_gives_back_every_bit(magnet: SCFResult, tmp_path: Path, orbitals: bool) -> None:
    written = DensityRecord.of(magnet, orbitals, notes="Zr\u00fcck")
    absent = [member.name for member in members(written) if getattr(written, member.name) is None]
    # Not of our own densities, and only with PAW.
    others = ["other_code", "superposition_fields", "spheres"]
    assert absent == (others if orbitals else ["orbitals", *others])
    path = tmp_path / "new folder" / "h2.npz"
    written.save(path)
    read = DensityRecord.load(path)
    assert [m.name for m in members(read) if not same_of(read, written, m.name)] == []
    assert read.digest == written.digest
    assert read.crystal.magnetic_moments == (0.9, 0.3) and read.fields.tau is not None
    assert read.free_energy == pytest.approx(float(magnet.free_energy), abs=1e-12)
    assert read.smearing is not None and make_smearing(read.smearing) == magnet.problem.smearing
    assert torch.equal(read.density, magnet.density)


def same_of(one: DensityRecord, other: DensityRecord, name: str) -> bool:
    return same(getattr(one, name), getattr(other, name))


def test_a_record_is_not_written_under_the_ending_of_models(
    silicon: SCFResult, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        DensityRecord.of(silicon).save(tmp_path / "si.safetensors")
    assert not any(tmp_path.iterdir())


def test_the_hash_of_a_record_tells_any_change(magnet: SCFResult) -> None:
    record = DensityRecord.of(magnet)
    rounded = record.fields.map(lambda leaf: leaf.to(torch.complex64).to(leaf.dtype))
    others = [
        replace(record, notes="other"),
        replace(record, fields=rounded),
        replace(record, functional="PBE"),
        replace(record, crystal=replace(record.crystal, magnetic_moments=(0.9, 0.4))),
        record.with_orbitals(None),
    ]
    assert len({record.digest, *(other.digest for other in others)}) == 6


def test_another_cutoff_keeps_the_electrons_exactly(silicon: SCFResult) -> None:
    record = DensityRecord.of(silicon)
    for ecut, fft_size in ((3.0, None), (9.0, 32)):
        other = record.at(ecut, fft_size)
        assert torch.equal(other.fields.density[:, 0], record.fields.density[:, 0])
        assert other.nelectrons == record.nelectrons
        assert other.free_energy is None and other.forces is None and other.ecut == ecut
        assert other.density.mean() == pytest.approx(float(record.density.mean()), abs=1e-15)
    assert other.density.shape == (1, 32, 32, 32)
    back = other.on(silicon.basis)
    assert torch.equal(back.fields.density, record.fields.density)
    assert record.on(silicon.basis).free_energy == record.free_energy
    wider = problem(bulk("Si"), 200.0)  # calculations pad it with zeros too
    padded = record.on(wider.basis).fields.density
    torch.testing.assert_close(record.density_for(wider).density, padded, rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="give a basis of the same cell"):
        record.on(problem(bulk("Si", a=5.5)).basis)


@pytest.mark.parametrize("damage", ["cut", "bit", "text", "empty", "other", "swapped"])
def test_a_damaged_file_is_recognised(silicon: SCFResult, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "si.npz"
    DensityRecord.of(silicon).save(path)
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
    if damage == "swapped":  # a complete archive, whose density is that of another calculation
        import numpy as np

        DensityRecord.of(silicon).save(path)
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        np.savez(path, **{**arrays, "density": arrays["density"] * 1.0001})
    with pytest.raises(DamagedFileError, match=r"si\.npz.*not a complete density file"):
        DensityRecord.load(path)
    with pytest.raises(FileNotFoundError):
        DensityRecord.load(tmp_path / "absent.npz")


def test_an_interrupted_write_leaves_the_old_file(
    silicon: SCFResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "si.npz"
    DensityRecord.of(silicon).save(path)
    before = path.read_bytes()

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        DensityRecord.of(silicon, orbitals=False).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["si.npz"]


def test_a_record_has_a_coefficient_for_each_plane_wave() -> None:
    record = DensityRecord.of(scf(bulk("Si"), ecut=80.0, kpts=(1, 1, 1)), results=False)
    fewer = record.fields.map(lambda leaf: leaf[:, :-1])
    for change in ({"fields": fewer}, {"superposition_fields": fewer}):
        with pytest.raises(
            ValueError, match=r"has coefficients \(1, \d+\), but there are \d+ plane"
        ):
            replace(record, **change)
    with pytest.raises(ValueError, match=r"coefficients \(3, \d+\)"):
        replace(record, fields=record.fields.map(lambda leaf: leaf.repeat(3, 1)))
    nan = replace(record, fields=record.fields * torch.nan)
    with pytest.raises(ValueError, match="the given density contains NaN or infinite numbers"):
        scf(bulk("Si"), ecut=80.0, kpts=(1, 1, 1), start=nan)
