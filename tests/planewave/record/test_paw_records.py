"""Records of PAW densities: the occupations of the spheres beside the smooth density."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave import DensityRecord, SCFResult, non_self_consistent, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.given_density import UnsymmetricDensityError, given_density
from deepchem_xc.planewave.inputs import make_basis, make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.record.starting_point import starting_point
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.store import digest_of_arrays

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")

GAMMA222 = {"size": (2, 2, 2), "gamma": True}
WORDS: dict[str, Any] = {"ecut": 150.0, "kpts": GAMMA222, "pseudopotentials": "paw-pbe"}
ELECTRONS = {"Si": 8.0, "Al": 3.0}


@pytest.fixture(scope="module", params=list(ELECTRONS))
def result(request: pytest.FixtureRequest) -> SCFResult:
    return scf(bulk(request.param), "PBE", **WORDS, convergence={"density": 1e-7})


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(low_silicon(), "PBE", **WORDS, convergence={"density": 1e-8})


@pytest.fixture(scope="module")
def light() -> SCFResult:
    """Norm-conserving silicon."""
    return scf(bulk("Si"), "PBE", ecut=100.0, kpts=(1, 1, 1))


def low_silicon() -> Atoms:
    atoms = bulk("Si")
    atoms.set_cell(
        atoms.cell[:] @ np.array([[1.0, 0.02, 0.0], [0.0, 1.01, 0.03], [0.0, 0.0, 0.98]])
    )
    atoms.positions[1] += [0.05, -0.03, 0.02]
    return atoms


def problem_of(atoms: Atoms, pseudopotentials: Any = "paw-pbe", **words: Any) -> KohnShamProblem:
    functional = words.pop("functional", "PBE")
    basis = make_basis(atoms, Settings.of({"ecut": 150.0, "kpts": GAMMA222, **words}))
    return make_problem(basis, functional, pseudopotentials, energy_unit=1.0 / Hartree)


def with_spin(crystal: Atoms, moment: float) -> Atoms:
    atoms = crystal.copy()
    atoms.set_initial_magnetic_moments([moment] * len(atoms))
    return atoms


def distance(problem: KohnShamProblem, fields: Fields, other: Fields) -> tuple[float, float]:
    """Norms of the differences of smooth densities and of occupations."""
    change = fields - other
    assert change.spheres is not None
    return float(change.density.norm() * problem.basis.volume), float(change.spheres.norm())


# -- contents and files ----------------------------------------------------------------------------


def test_a_record_holds_all_electrons_and_its_smooth_density_does_not(result: SCFResult) -> None:
    record = DensityRecord.of(result)
    wanted = ELECTRONS[record.crystal.symbols[0]]
    assert record.nelectrons == pytest.approx(wanted, abs=1e-9)
    smooth = float(record.fields.density[:, 0].real.sum() * record.crystal.volume)
    assert abs(smooth - wanted) > 0.02


def test_occupations_are_those_of_each_atom_and_name_their_dataset(silicon: SCFResult) -> None:
    record = DensityRecord.of(silicon)
    kept, spheres = record.spheres, silicon.problem.spheres
    assert kept is not None and spheres is not None and silicon.fields.spheres is not None
    projections = silicon.orbitals[0] @ silicon.problem.projectors.conj().mT
    weights = silicon.occupations[0] * silicon.weights[:, None]
    whole = torch.einsum(
        "kn,kni,knj->ij", weights.to(projections.dtype), projections.conj(), projections
    )
    count = len(kept.matrices[0][0])
    for atom, matrix in enumerate(kept.matrices):
        own = slice(atom * count, (atom + 1) * count)
        torch.testing.assert_close(matrix[0], whole.real[own, own], rtol=0, atol=1e-7)
    assert kept.datasets == {"Si": "Si.PBE"} and kept.momenta == {"Si": (0, 1, 0, 1, 2)}


def test_a_file_gives_it_back_bit_by_bit(silicon: SCFResult, tmp_path: Path) -> None:
    record = DensityRecord.of(silicon, notes="spheres")
    record.save(tmp_path / "si.npz")
    again = DensityRecord.load(tmp_path / "si.npz")
    assert again.digest == record.digest and again.nelectrons == record.nelectrons
    assert again.spheres is not None and record.spheres is not None
    for ours, theirs in zip(again.spheres.matrices, record.spheres.matrices, strict=True):
        assert torch.equal(ours, theirs)
    changed = replace(
        record,
        spheres=replace(record.spheres, matrices=tuple(1.01 * m for m in record.spheres.matrices)),
    )
    assert changed.digest != record.digest


def test_a_file_without_an_atoms_occupations_is_damaged(silicon: SCFResult, tmp_path: Path) -> None:
    record = DensityRecord.of(silicon, orbitals=False)
    assert record.spheres is not None
    with pytest.raises(ValueError, match="occupations of 1 atoms, but the crystal has 2"):
        replace(record, spheres=replace(record.spheres, matrices=record.spheres.matrices[:1]))
    with pytest.raises(ValueError, match="must say which datasets"):
        replace(record, potentials=None)
    double = tuple(matrix.repeat(2, 1, 1) for matrix in record.spheres.matrices)
    with pytest.raises(ValueError, match=r"shape \(2, 13, 13\).*need \(1, 13, 13\)"):
        replace(record, spheres=replace(record.spheres, matrices=double))
    record.save(tmp_path / "si.npz")
    with np.load(tmp_path / "si.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if name != "sphere_occupations_1"}
    arrays.pop("sha256")
    np.savez(tmp_path / "si.npz", sha256=np.array(digest_of_arrays(arrays)), **arrays)
    with pytest.raises(DamagedFileError, match="not a complete density file"):
        DensityRecord.load(tmp_path / "si.npz")


def test_a_checkpoint_keeps_spheres_and_datasets(silicon: SCFResult) -> None:
    record = DensityRecord.of(silicon)
    again = DensityRecord.from_state_dict(pickle.loads(pickle.dumps(record.state_dict())))
    assert again.nelectrons == record.nelectrons and again.potentials == record.potentials
    found = scf(low_silicon(), "PBE", start=again, **WORDS)
    assert found.nsteps < silicon.nsteps
    with pytest.raises(ValueError, match="belongs to other PAW datasets"):
        again.check_fits(problem_of(low_silicon(), "paw-lda"))


# -- other cutoffs, cells, spins -------------------------------------------------------------------


def test_another_cutoff_keeps_occupations_and_electrons(silicon: SCFResult) -> None:
    record = DensityRecord.of(silicon)
    for ecut in (4.0, 8.0):
        other = record.at(ecut)
        assert len(other.g_vectors) != len(record.g_vectors)
        assert other.nelectrons == pytest.approx(8.0, abs=1e-9)
        assert other.spheres is record.spheres


def test_a_moved_density_keeps_its_electrons_and_is_close_to_the_new_one(
    silicon: SCFResult,
) -> None:
    atoms = low_silicon()
    atoms.set_cell(1.02 * atoms.cell[:], scale_atoms=True)
    atoms.positions[1] += [0.03, 0.02, -0.04]
    new = scf(atoms, "PBE", **WORDS, convergence={"density": 1e-7})
    fields = DensityRecord.of(silicon).density_for(new.problem)
    assert float(new.problem.electrons(fields).sum()) == pytest.approx(8.0, abs=1e-10)
    assert fields.spheres is not None and silicon.fields.spheres is not None
    moved = distance(new.problem, fields, new.fields)
    atoms_alone = distance(new.problem, new.problem.starting_fields(), new.fields)
    assert moved[0] < 0.3 * atoms_alone[0] and moved[1] < 0.3 * atoms_alone[1]


def test_occupations_turn_with_the_crystal(silicon: SCFResult) -> None:
    """A turned crystal, computed from atoms, and the same density turned.

    The directions in which XC is integrated inside of spheres have the symmetry of a cube: another
    turn changes the ground state itself a little.
    """
    for degrees, axis, largest in ((90.0, (0, 0, 1), 1e-6), (37.0, (1.0, 2.0, -0.5), 1e-3)):
        atoms = low_silicon()
        atoms.rotate(degrees, axis, rotate_cell=True)
        new = scf(atoms, "PBE", **WORDS, convergence={"density": 1e-8})
        fields = DensityRecord.of(silicon).density_for(new.problem)
        waves, spheres = distance(new.problem, fields, new.fields)
        assert waves < largest and spheres < largest
        unturned = replace(fields, spheres=silicon.fields.spheres)
        assert distance(new.problem, unturned, new.fields)[1] > 0.1, "nothing turns"


def test_channels_are_added_and_halved_with_their_spheres(result: SCFResult) -> None:
    atoms = bulk(result.basis.crystal.symbols[0])
    wanted = ELECTRONS[result.basis.crystal.symbols[0]]
    record = DensityRecord.of(result)
    two = problem_of(with_spin(atoms, 0.4))
    both = record.density_for(two)
    electrons = two.electrons(both)
    moment = float(two.electrons(two.starting_fields()) @ torch.tensor([1.0, -1.0]).double())
    assert float(electrons.sum()) == pytest.approx(wanted, abs=1e-9)
    assert float(electrons[0] - electrons[1]) == pytest.approx(moment, abs=1e-9)
    assert both.spheres is not None and result.fields.spheres is not None
    torch.testing.assert_close(both.spheres.sum(0), result.fields.spheres[0], rtol=0, atol=1e-12)
    magnet = scf(with_spin(atoms, 0.4), "PBE", **WORDS, convergence={"density": 1e-3})
    back = DensityRecord.of(magnet, results=False).density_for(result.problem)
    assert float(result.problem.electrons(back)[0]) == pytest.approx(wanted, abs=1e-9)
    assert back.spheres is not None and magnet.fields.spheres is not None
    torch.testing.assert_close(back.spheres[0], magnet.fields.spheres.sum(0), rtol=0, atol=1e-12)


def test_occupations_are_symmetrised_with_the_density(result: SCFResult) -> None:
    problem, fields = result.problem, result.fields
    assert given_density(problem, fields).report.removed < 1e-9
    assert fields.spheres is not None and problem.spheres is not None
    lopsided = problem.spheres.matrices(fields.spheres)
    change = {key: torch.zeros_like(value) for key, value in lopsided.items()}
    for value in change.values():
        value[..., 1, 1] += 0.5  # one of three p states
        value[..., 2, 2] -= 0.5
    broken = replace(fields, spheres=fields.spheres + problem.spheres.flat(change))
    with pytest.raises(UnsymmetricDensityError, match="lacks the symmetry"):
        given_density(problem, broken)
    projected = given_density(problem, broken, moved=True).fields
    assert distance(problem, projected, fields)[1] < 1e-9


# -- starts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["result", "record", "path"])
def test_a_restart_takes_three_steps_at_most(result: SCFResult, tmp_path: Path, kind: str) -> None:
    record = DensityRecord.of(result)
    record.save(tmp_path / "kept.npz")
    start = {"result": result, "record": record, "path": tmp_path / "kept.npz"}[kind]
    again = scf(bulk(result.basis.crystal.symbols[0]), "PBE", start=start, **WORDS)
    assert again.nsteps <= 3 < result.nsteps
    assert float(again.free_energy) == pytest.approx(float(result.free_energy), abs=1e-8)
    assert again.start is not None and again.start.removed < 1e-9


def test_a_density_without_orbitals_and_one_of_another_volume_save_steps(
    silicon: SCFResult,
) -> None:
    record = DensityRecord.of(silicon, orbitals=False)
    assert scf(low_silicon(), "PBE", start=record, **WORDS).nsteps <= 4
    larger = low_silicon()
    larger.set_cell(1.01 * larger.cell[:], scale_atoms=True)
    from_atoms = scf(larger, "PBE", **WORDS)
    carried = scf(larger, "PBE", start=silicon, **WORDS)
    assert carried.nsteps < from_atoms.nsteps
    assert float(carried.free_energy) == pytest.approx(float(from_atoms.free_energy), abs=1e-8)


def test_a_meta_gga_starts_with_and_without_a_kinetic_energy_density(silicon: SCFResult) -> None:
    problem = problem_of(low_silicon(), functional="r2SCAN")
    start = starting_point(problem, DensityRecord.of(silicon))
    assert start.fields.tau is not None and start.fields.spheres is not None
    with_tau = replace(silicon.fields, tau=start.fields.tau)
    record = replace(DensityRecord.of(silicon), fields=replace(with_tau, spheres=None))
    torch.testing.assert_close(
        starting_point(problem, record).fields.tau, start.fields.tau, rtol=0, atol=1e-12
    )


# -- refusals --------------------------------------------------------------------------------------


def test_other_kinds_of_potential_and_other_datasets_are_refused(
    silicon: SCFResult, light: SCFResult
) -> None:
    paw, soft = DensityRecord.of(silicon), DensityRecord.of(light)
    with pytest.raises(
        ValueError, match=r"that of PAW datasets \(Si: Si.PBE\).*norm-conserving.*GTH.*start=None"
    ):
        paw.check_fits(light.problem)
    with pytest.raises(
        ValueError, match=r"no occupations inside of spheres.*PAW datasets \(Si: Si.PBE\).*Give a"
    ):
        scf(bulk("Si"), "PBE", start=soft, **WORDS)
    with pytest.raises(
        ValueError, match=r"other PAW datasets \(Si: Si.PBE\) than this.*\(Si: Si.LDA\).*Give a"
    ):
        scf(low_silicon(), "LDA", start=paw, **{**WORDS, "pseudopotentials": "paw-lda"})


class Smooth:
    """A source that knows the smooth density alone."""

    def density_for(self, problem: KohnShamProblem) -> Fields:
        return Fields(problem.atomic_density())


def test_a_density_without_occupations_is_refused_by_name(silicon: SCFResult) -> None:
    wanted = r"smooth density alone.*PAW datasets \(Si: Si.PBE\).*arrays and models.*Give an SCF"
    with pytest.raises(ValueError, match=wanted):
        scf(bulk("Si"), "PBE", start=Smooth(), **WORDS)
    with pytest.raises(ValueError, match=wanted):
        non_self_consistent(low_silicon(), "PBE", density=silicon.density, **WORDS)


def test_occupations_that_cannot_be_are_refused(silicon: SCFResult, light: SCFResult) -> None:
    problem, fields = silicon.problem, silicon.fields
    assert fields.spheres is not None
    with pytest.raises(
        ValueError, match=r"occupations inside of PAW spheres have shape \(2, 338\)"
    ):
        given_density(problem, replace(fields, spheres=fields.spheres.repeat(2, 1)))
    with pytest.raises(ValueError, match="occupations inside of PAW spheres contains NaN"):
        given_density(problem, replace(fields, spheres=torch.nan * fields.spheres))
    with pytest.raises(ValueError, match=r"has [0-9.]+ electrons per cell, but .* have 8"):
        given_density(problem, replace(fields, spheres=0.0 * fields.spheres))
    with pytest.raises(ValueError, match="norm-conserving potentials, which have none"):
        given_density(light.problem, replace(light.fields, spheres=fields.spheres))


# -- copies ----------------------------------------------------------------------------------------


def test_copies_of_results_and_problems_give_the_same_numbers(silicon: SCFResult) -> None:
    for again in (pickle.loads(pickle.dumps(silicon)), copy.deepcopy(silicon)):
        assert float(again.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-12)
        torch.testing.assert_close(again.forces, silicon.forces, rtol=0, atol=1e-12)
        restarted = scf(low_silicon(), "PBE", start=again, **WORDS)
        assert restarted.nsteps <= 3
    problem = pickle.loads(pickle.dumps(silicon.problem))
    assert torch.equal(problem.starting_fields().spheres, silicon.problem.starting_fields().spheres)
