"""The loop: steps, second order where DIIS stalls, starts, and errors that carry the history."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from deepchem_xc.gaussian import MolecularResult, SCFConvergenceError, scf, self_consistency
from deepchem_xc.numerics.errors import DiagonalizationError
from deepchem_xc.results import Result
from deepchem_xc.xc import PBE
from tests.gaussian.molecules import distance

SMALL = {"basis": "6-31g", "grid_level": 0}


def stretched_fluorine() -> Atoms:
    """With whole pairs of electrons, its levels change places at every step."""
    return Atoms("F2", [[0.1, 0.0, 0.0], [0.0, 0.2, 2.5]])


@pytest.mark.parametrize(
    "atoms, keywords",
    [
        (stretched_fluorine(), {}),
        (molecule("OH"), {"spin": 1, "restricted": "open"}),
        (molecule("NO"), {"spin": 1, "restricted": "open"}),
    ],
)
def test_second_order_steps_end_where_diis_does_not(atoms, keywords):
    """Stretched bonds, and open shells whose levels would be filled in another order."""
    result = scf(atoms, **SMALL, **keywords)
    assert result.nsteps > 12
    assert result.history[-1]["commutator"] < 1e-7
    assert result.stability().internal.value > -1e-3


def test_a_saddle_is_left_where_diis_stalls():
    """Newton's steps keep the symmetry of the plane, and alone end in a curvature of -0.03 Ha."""
    ion = Atoms("OHCl", [[0, 0, 0.1], [0.95, 0, -0.2], [-1.6, 0, 0]])
    result = scf(ion, charge=2, basis="sto-3g", grid_level=0)
    assert result.stability().internal.value > 0.0


def test_a_saddle_that_cannot_be_left_is_a_warning(monkeypatch):
    def failing(*_):
        raise DiagonalizationError("60 vectors were not enough.")

    monkeypatch.setattr(self_consistency, "downhill", failing)
    ion = Atoms("OHCl", [[0, 0, 0.1], [0.95, 0, -0.2], [-1.6, 0, 0]])
    with pytest.warns(RuntimeWarning, match="saddle is unknown: 60 vectors .*stability"):
        result = scf(ion, charge=2, basis="sto-3g", grid_level=0)
    assert result.stability().internal.value < 0.0


def test_a_loop_that_does_not_converge_says_why_and_carries_its_history():
    with pytest.raises(SCFConvergenceError, match="in 4 steps: .*commutator.*maxiter") as caught:
        scf(stretched_fluorine(), convergence={"maxiter": 4}, **SMALL)
    assert [record["step"] for record in caught.value.history] == [1.0, 2.0, 3.0, 4.0]
    assert set(caught.value.history[0]) == {"step", "energy", "energy_change", "commutator", "gap"}
    again = pickle.loads(pickle.dumps(caught.value))
    assert len(again.history) == 4 and "smear" not in str(again)


@pytest.mark.parametrize("keywords", [{"level_shift": 0.3}, {"damping": 0.5}])
def test_helps_for_the_first_steps_do_not_change_the_ground_state(keywords):
    tight = {"convergence": {"commutator": 1e-9}}
    plain, helped = (scf(molecule("H2O"), **SMALL, **tight, **k) for k in ({}, keywords))
    assert abs(float(plain.energy - helped.energy)) < 1e-9
    assert distance(plain.density_matrix, helped.density_matrix) < 1e-7


def test_a_start_from_the_result_is_short():
    first = scf(molecule("H2O"), **SMALL)
    again = scf(molecule("H2O"), start=first, **SMALL)
    assert again.nsteps <= 3 < first.nsteps
    moved = molecule("H2O")
    moved.positions[1] += 0.01
    near = scf(moved, "PBE", start=first.density_matrix, **SMALL)
    assert near.nsteps < first.nsteps
    unrestricted = scf(molecule("H2O"), start=first, restricted=False, **SMALL)
    assert unrestricted.density_matrix.shape == (2, 13, 13)
    assert abs(float(unrestricted.energy - first.energy)) < 1e-8


def test_a_start_that_is_no_number_is_refused():
    broken = torch.full((1, 13, 13), torch.nan, dtype=torch.float64)
    with pytest.raises(ValueError, match="start contains NaN"):
        scf(molecule("H2O"), start=broken, **SMALL)


@pytest.mark.parametrize("number", [0, 3])
def test_a_start_has_a_density_matrix_for_each_spin_or_one(number):
    given = torch.eye(13, dtype=torch.float64).repeat(number, 1, 1)
    with pytest.raises(ValueError, match=r"start must be a MolecularResult or density matrices"):
        scf(molecule("H2O"), start=given, restricted=False, **SMALL)


def test_none_selects_the_default_of_every_keyword():
    none = dict.fromkeys(set(inspect.signature(scf).parameters) - {"structure", "functional"})
    result, plain = (scf(Atoms("He"), **{**k, "basis": "6-31g"}) for k in (none, {}))
    assert float(result.energy) == float(plain.energy)


def test_one_electron_and_no_electron_of_one_spin():
    hydrogen = scf(Atoms("H"), spin=1, **SMALL)
    assert hydrogen.occupations.tolist()[1] == [0.0, 0.0]
    assert float(hydrogen.density_matrix[1].abs().max()) == 0.0
    helium = scf(Atoms("He"), spin=2, **SMALL)
    assert float(helium.occupations.sum()) == 2.0


def test_callback_sees_each_step():
    seen: list[dict[str, float]] = []
    result = scf(molecule("H2O"), callback=seen.append, **SMALL)
    assert seen == result.history


# results ------------------------------------------------------------------------------------------


def test_the_density_holds_the_electrons():
    result = scf(molecule("O2"), spin=2, basis="6-31g", grid_level=3)
    counts = (result.density * result.weights).sum(1)
    assert torch.allclose(counts, torch.tensor([9.0, 7.0], dtype=torch.float64), atol=1e-4)
    assert float(result.magnetic_moment) == 2.0
    up, down = result.density_matrix
    assert float((up * result.problem.overlap).sum()) == pytest.approx(9.0)
    assert float((down * result.problem.overlap).sum()) == pytest.approx(7.0)


def test_results_keep_what_all_solvers_promise_except_forces():
    promised = {name for name in vars(Result) if not name.startswith("_")} - {"forces"}
    result = scf(Atoms("He"), **SMALL)
    assert all(getattr(result, name) is not None for name in promised)
    assert not result.is_differentiable


def test_detached_results_have_no_graph():
    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, **SMALL)
    assert result.is_differentiable and result.density_matrix.requires_grad
    detached = result.detach()
    assert not detached.density_matrix.requires_grad and not detached.energy.requires_grad
    assert torch.equal(detached.density_matrix, result.density_matrix.detach())
    with torch.no_grad():
        assert not result.dipole.requires_grad


def test_a_changed_functional_is_noticed():
    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, **SMALL)
    loss = result.dipole.sum()
    functional.terms[0].kappa.data += 0.1
    with pytest.raises(RuntimeError, match="was changed after this calculation"):
        loss.backward()
    with pytest.raises(RuntimeError, match="was changed after this calculation"):
        _ = result.energies


def test_pickles_and_copies_give_the_same_results():
    result = scf(molecule("H2O"), PBE(trainable=True), **SMALL)
    _ = result.dipole
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert isinstance(again, MolecularResult)
        assert torch.allclose(again.dipole, result.dipole)
        again.dipole.sum().backward()
        kappa = again.problem.functional.terms[0].kappa
        assert kappa.grad is not None
    assert result.problem.functional.terms[0].kappa.grad is None


def test_a_gap_needs_an_empty_level():
    with pytest.raises(ValueError, match="no empty level: take a larger basis set"):
        _ = scf(Atoms("He"), basis="sto-3g").band_gap


@pytest.mark.parametrize("restricted", [False, "open"])
def test_frontier_levels_enclose_the_gap_of_each_spin(restricted):
    result = scf(molecule("O2"), basis="sto-3g", spin=2, grid_level=1, restricted=restricted)
    levels = result.eigenvalues.expand(2, -1)
    for spin, count in enumerate((9, 7)):
        expected = levels[spin, count - 1 : count + 1]
        assert torch.equal(result.frontier_levels[spin], expected)
    assert result.band_gap == result.frontier_levels.diff().min()
    empty = scf(Atoms("H"), basis="6-31g", spin=1, grid_level=1).frontier_levels
    assert empty[1, 0] == -torch.inf and empty[1, 1].isfinite()
