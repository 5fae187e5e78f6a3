"""What follows from a ground state does not know whether its orbitals were real.

At k-points that time reversal keeps, orbitals are real in any crystal. Here the same calculations
run with complex ones as well, in crystals without an inversion centre.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io.cube import read_cube_data
from ase.units import Hartree

from deepchem_xc.planewave import (
    DensityRecord,
    SCFResult,
    band_structure,
    density_of_states,
    scf,
    write_density_cube,
)
from deepchem_xc.planewave import problem as problem_module
from deepchem_xc.planewave.basis.time_reversal_gauge import TimeReversalGauge
from deepchem_xc.planewave.properties.bands import eigenvalues_at
from deepchem_xc.planewave.properties.cube import write_potential_cube

GAMMA = (1, 1, 1)
# eV, and the same with electrons instead of it.
CONVERGENCE = {"energy": 1e-10, "density": 1e-9}
# Whole and half coordinates, where orbitals are real, and others, where they are not.
REAL_POINTS = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5]]
OTHER_POINTS = [[0.25, 0.0, 0.0], [0.5, 0.125, -0.2]]


def displaced(moments: tuple[float, float] | None = None) -> Atoms:
    atoms = bulk("BP", "zincblende", a=4.6)
    atoms.set_cell(atoms.cell @ [[1.0, 0.02, 0.0], [0.0, 1.01, 0.0], [0.0, 0.03, 0.98]], True)
    atoms.positions[1] += [0.05, -0.08, 0.03]
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    return atoms


@dataclass(frozen=True)
class Case:
    """A crystal and what its calculation needs."""

    pseudopotentials: str
    moment: float = 0.0
    mesh: tuple[int, int, int] = GAMMA
    is_displaced: bool = True

    def run(self, **options: Any) -> SCFResult:
        """Ground state, of a held moment if there is one."""
        moments = (0.5 * self.moment,) * 2 if self.moment else None
        atoms = displaced(moments) if self.is_displaced else bulk("GaAs", "zincblende", a=5.7)
        occupations = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": self.moment != 0.0}
        keywords = {
            "ecut": 200.0,
            "kpts": {"size": self.mesh, "gamma": True},
            "occupations": occupations,
            "pseudopotentials": self.pseudopotentials,
            "convergence": CONVERGENCE,
        }
        return scf(atoms, "PBE", **keywords, **options)


SLOW = "PAW, spin"
CASES = {
    "norm-conserving": Case("gth-pbe"),
    "norm-conserving, spin": Case("gth-pbe", moment=2.0),
    "PAW": Case("paw-pbe"),
    SLOW: Case("paw-pbe", moment=2.0),
    # Of a mesh of 2x2x2 symmetry leaves points that time reversal keeps.
    "PAW, symmetry": Case("paw-pbe", mesh=(2, 2, 2), is_displaced=False),
}


@contextmanager
def complex_orbitals() -> Iterator[None]:
    """Inside, no k-point counts as one that time reversal keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem_module, "is_reversible", lambda basis: False)
        yield


@dataclass(frozen=True)
class Pair:
    """One ground state with real and with complex orbitals."""

    case: Case
    real: SCFResult
    complex_: SCFResult

    @property
    def is_paw(self) -> bool:
        return self.case.pseudopotentials.startswith("paw")


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.slow if n == SLOW else ()) for n in CASES],
)
def pair(request: pytest.FixtureRequest) -> Pair:
    case = CASES[request.param]
    if case.pseudopotentials == "paw-pbe":
        pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    real = case.run()
    with complex_orbitals():
        complex_ = case.run()
        assert complex_.problem.gauge is None
    assert isinstance(real.problem.gauge, TimeReversalGauge)
    return Pair(case, real, complex_)


def close(found: Any, expected: Any, atol: float) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0.0, atol=atol)


def levels(result: SCFResult) -> torch.Tensor:
    """Eigenvalues of the occupied states, and zero elsewhere: empty ones are rough."""
    return torch.where(result.occupations > 1e-3, result.eigenvalues, 0.0)


def test_ground_states_are_the_same(pair: Pair) -> None:
    found, expected = pair.real, pair.complex_
    close(found.free_energy, expected.free_energy, 1e-10)
    close(levels(found), levels(expected), 1e-7)
    close(found.density, expected.density, 1e-7)
    close(found.forces, expected.forces, 1e-7)
    close(found.stress, expected.stress, 1e-8)
    close(found.atom_moments, expected.atom_moments, 1e-6)
    assert float(expected.magnetic_moment) == pytest.approx(pair.case.moment, abs=1e-8)
    if pair.case.moment:
        assert float(expected.atom_moments.abs().max()) > 0.1
    if pair.is_paw:
        assert found.fields.spheres is not None and expected.fields.spheres is not None
        close(found.fields.spheres, expected.fields.spheres, 1e-6)


def test_orbitals_span_the_same_states(pair: Pair) -> None:
    """Those below a gap, at every k-point: phases and turns within multiplets are free."""
    result = pair.complex_
    overlaps = result.problem.overlaps(result.orbitals, pair.real.orbitals)
    filled = (result.occupations * result.weights[:, None]).sum((1, 2)) * 0.5 * result.problem.nspin
    for spin, count in enumerate(filled.round().long().tolist()):
        around = result.eigenvalues[spin, :, count - 1 : count + 1]
        assert float(around.diff().min()) > 1e-3
        inner = overlaps[spin, :, :count, :count]
        one = torch.eye(count, dtype=inner.dtype).expand_as(inner)
        close(inner @ inner.mH, one, 1e-6)


@pytest.mark.parametrize("kept_as", ["record", "file", "result"])
@pytest.mark.parametrize("towards", ["real", "complex"])
def test_either_kind_starts_from_the_other(
    pair: Pair, towards: str, kept_as: str, tmp_path: Path
) -> None:
    source = pair.complex_ if towards == "real" else pair.real
    start: Any = source
    if kept_as != "result":
        start = DensityRecord.of(source)
    if kept_as == "file":
        start.save(tmp_path / "density.npz")
        start = tmp_path / "density.npz"
    if towards == "real":
        again = pair.case.run(start=start)
        assert isinstance(again.problem.gauge, TimeReversalGauge)
    else:
        with complex_orbitals():
            again = pair.case.run(start=start)
            assert again.problem.gauge is None
    assert again.nsteps < source.nsteps
    # Per electron; the first step has the given density and orbitals.
    assert again.history[0]["energy"] == pytest.approx(again.history[-1]["energy"], abs=1e-10)
    close(again.free_energy, source.free_energy, 1e-10)
    close(again.density, source.density, 1e-7)
    close(again.forces, source.forces, 1e-7)


def test_levels_at_other_points_are_the_same(pair: Pair) -> None:
    nbands = pair.real.orbitals.shape[2]
    real_and_other = [*REAL_POINTS, *OTHER_POINTS]
    mixed = eigenvalues_at(pair.real, real_and_other, nbands)
    alone = eigenvalues_at(pair.real, REAL_POINTS, nbands)
    with complex_orbitals():
        expected = eigenvalues_at(pair.complex_, real_and_other, nbands)
    close(mixed, expected, 1e-6)
    close(alone, expected[:, : len(REAL_POINTS)], 1e-6)


def test_bands_along_a_path_are_the_same(pair: Pair) -> None:
    path = pair.real.basis.crystal.to_ase().cell.bandpath(npoints=20)
    nbands = pair.real.orbitals.shape[2]
    found = band_structure(pair.real, path, nbands=nbands)
    with complex_orbitals():
        expected = band_structure(pair.complex_, path, nbands=nbands)
    close(found.energies, expected.energies, 3e-5)
    assert found.reference == pytest.approx(expected.reference, abs=1e-6)


def test_densities_of_states_are_the_same(pair: Pair) -> None:
    level = pair.real.reference_level.item() * Hartree
    energies = np.linspace(level - 20.0, level + 3.0, 301)
    options: dict[str, Any] = {"energies": energies, "width": 0.2, "projected": pair.is_paw}
    for mesh in (None, {"size": (2, 2, 2), "gamma": True}):
        found = density_of_states(pair.real, kpts=mesh, **options)
        with complex_orbitals():
            expected = density_of_states(pair.complex_, kpts=mesh, **options)
        filled = energies < level
        assert expected.total[filled].max() > 1.0
        close(found.values[:, filled], expected.values[:, filled], 1e-4)
        for one, other in zip(found.atomic, expected.atomic, strict=True):
            assert (one.atom, one.l) == (other.atom, other.l)
            close(one.values[:, filled], other.values[:, filled], 1e-4)
        assert bool(expected.atomic) == pair.is_paw


def test_cubes_are_the_same(pair: Pair, tmp_path: Path) -> None:
    def cubes(result: SCFResult) -> list[np.ndarray]:
        found = []
        for part in ("total", "magnetization"):
            for all_electron in (False, True) if pair.is_paw else (False,):
                write_density_cube(tmp_path / "one.cube", result, part, all_electron)
                found.append(read_cube_data(tmp_path / "one.cube")[0])
        write_potential_cube(tmp_path / "one.cube", result)
        return [*found, read_cube_data(tmp_path / "one.cube")[0]]

    # A cube file keeps five or six digits.
    for found, expected in zip(cubes(pair.real), cubes(pair.complex_), strict=True):
        close(found, expected, 1e-5 * np.abs(expected).max() + 1e-9)
