"""Meta-GGAs in the solver; test_reference_abinit.py holds their energies against ABINIT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from deepchem_xc.planewave import Crystal, DensityRecord, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.xc import get_xc
from tests.crystals import SMEARED, doubles
from tests.differences import assert_agreement, assert_derivative, named_differences

pytestmark = pytest.mark.filterwarnings("ignore:the functional is")

TIGHT = {"energy": 1e-12, "density": 1e-10}


potentials = pytest.mark.parametrize("potentials", ["gth-pbe", "paw-pbe"])


def needs(potentials: str) -> None:
    """Skip what needs the package with PAW datasets, where it is missing."""
    if potentials.startswith("paw"):
        pytest.importorskip("gpaw_data")


def displaced() -> Crystal:
    """Silicon with one atom moved: a metal at this mesh, with an inversion centre."""
    atoms = bulk("Si")
    atoms.positions[1] += [0.05, 0.02, -0.03]
    return Crystal.from_ase(atoms)


@potentials
def test_stress_is_the_derivative_of_the_energy(potentials: str) -> None:
    needs(potentials)
    crystal = displaced()
    basis = PlaneWaveBasis(crystal, 6.0, (1, 1, 1), symmetry=False)
    keywords: dict[str, Any] = {"pseudopotentials": potentials, "occupations": SMEARED}
    result = scf(basis, "r2SCAN", convergence=TIGHT, **keywords)
    direction = doubles([[0.3, 0.1, 0.2], [0.1, 0.2, -0.1], [0.2, -0.1, -0.4]])

    def energy(step: float) -> float:
        lattice = crystal.lattice @ (torch.eye(3, dtype=torch.float64) + step * direction)
        strained = basis.with_geometry(lattice=lattice)
        again = scf(strained, "r2SCAN", convergence=TIGHT, start=result, **keywords)
        return float(again.free_energy)

    expected = float((result.stress * direction).sum() * basis.volume)
    assert_derivative(expected, energy, 4e-3, rel=1e-6)


@potentials
def test_forces_are_the_derivative_of_the_energy(potentials: str) -> None:
    needs(potentials)
    crystal = displaced()
    basis = PlaneWaveBasis(crystal, 8.0, (1, 1, 1), symmetry=False)
    keywords: dict[str, Any] = {"pseudopotentials": potentials, "occupations": SMEARED}
    result = scf(basis, "r2SCAN", convergence=TIGHT, **keywords)
    # The two atoms move against each other: their centre stays on the grid.
    direction = doubles([[0.02, -0.01, 0.03], [-0.02, 0.01, -0.03]])

    def energy(step: float) -> float:
        moved = basis.with_geometry(positions=crystal.positions + step * direction)
        again = scf(moved, "r2SCAN", convergence=TIGHT, start=result, **keywords)
        return float(again.free_energy)

    work = float((result.forces * (direction @ crystal.lattice)).sum())
    assert_derivative(-work, energy, 0.006, rel=1e-5)


def quantities(result: SCFResult) -> dict[str, Tensor]:
    """Of all kinds, each a number."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(result.density.shape, generator=generator, dtype=torch.float64)
    return {
        "free": result.free_energy,
        "density": (result.density * weights).sum(),
        "kinetic": (result.kinetic_energy_density * weights).sum(),
        "xc": result.energies["xc"],
        "level": result.multiplet_eigenvalues[0, 0, 0],
        "stress": result.stress[0, 0],
    }


def agree(
    at: Callable[[float], SCFResult], exact: SCFResult, variable: Tensor, step: float, rel: float
) -> None:
    """Derivatives of all quantities against differences."""
    found = named_differences(lambda x: quantities(at(x)), step)
    for name, value in quantities(exact).items():
        (implicit,) = torch.autograd.grad(value, variable, retain_graph=True)
        assert_agreement(implicit, found[name], rel, name=name)


@pytest.mark.parametrize("atoms", [bulk("Si"), bulk("Al")], ids=["Si", "Al"])
def test_derivatives_with_respect_to_the_functional(atoms: Atoms) -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(atoms), 6.0, (2, 2, 2))

    def run(parameter: Tensor, start: SCFResult | None = None) -> SCFResult:
        functional = parameter * get_xc("mgga_x_r2scan") + get_xc("mgga_c_r2scan")
        return scf(basis, functional, convergence=TIGHT, occupations=SMEARED, start=start)

    one = torch.ones((), dtype=torch.float64)
    parameter = torch.nn.Parameter(one.clone())
    exact = run(parameter)
    start = exact.detach()
    agree(lambda step: run(one + step, start), exact, parameter, 4e-3, rel=1e-5)


def test_derivatives_with_respect_to_the_strain() -> None:
    crystal = Crystal.from_ase(bulk("Al"))
    basis = PlaneWaveBasis(crystal, 6.0, (2, 2, 2), symmetry=False)
    direction = torch.tensor([[0.3, 0.1, 0.2], [-0.1, 0.2, 0.1], [0.15, 0.05, -0.4]])

    def run(step: Tensor, start: SCFResult | None = None) -> SCFResult:
        lattice = crystal.lattice @ (torch.eye(3, dtype=torch.float64) + step * direction)
        strained = basis.with_geometry(lattice=lattice)
        options = {"convergence": TIGHT, "occupations": SMEARED, "start": start}
        return scf(strained, "r2SCAN", **options)

    zero = torch.zeros((), dtype=torch.float64)
    step = zero.clone().requires_grad_()
    exact = run(step)
    start = exact.detach()
    agree(lambda h: run(zero + h, start), exact, step, 4e-3, rel=1e-5)


@pytest.mark.parametrize("size", [1e-12, 1e-16, 1e20])
def test_a_gradient_is_linear_in_the_loss_however_small_it_is(size: float) -> None:
    """The kinetic energy density of a small change is small, and not that of no electron."""
    crystal = Crystal.from_ase(bulk("Al"))
    basis = PlaneWaveBasis(crystal, 4.0, [[0.1, 0.2, 0.3]], symmetry=False)
    stretch = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moved = basis.with_geometry(lattice=crystal.lattice * (1.0 + stretch))
    result = scf(moved, "r2SCAN", occupations=SMEARED)
    assert result.problem.needs_kinetic_density

    def derivative(value: Tensor) -> float:
        return float(torch.autograd.grad(value, stretch, retain_graph=True)[0])

    kinetic = result.energies["kinetic"]
    assert derivative(size * kinetic) / size == pytest.approx(derivative(kinetic), rel=1e-6)


def test_a_closed_shell_is_the_same_in_two_channels() -> None:
    keywords = {"ecut": 150.0, "kpts": (2, 2, 2), "convergence": TIGHT}
    one = scf(bulk("Si"), "r2SCAN", **keywords)
    two = scf(bulk("Si"), "r2SCAN", spinpol=True, **keywords)
    assert float(one.free_energy) == pytest.approx(float(two.free_energy), abs=1e-10)
    torch.testing.assert_close(
        two.kinetic_energy_density.sum(0), one.kinetic_energy_density[0], rtol=1e-6, atol=1e-9
    )


def test_a_start_from_another_kind_of_functional() -> None:
    keywords = {"ecut": 150.0, "kpts": (2, 2, 2), "convergence": {"density": 1e-8}}
    gga, meta = (scf(bulk("Si"), name, **keywords) for name in ("PBE", "r2SCAN"))
    again = scf(bulk("Si"), "r2SCAN", start=meta, **keywords)
    assert again.nsteps <= 3
    for before, after, name in ((gga, meta, "r2SCAN"), (meta, gga, "PBE")):
        result = scf(bulk("Si"), name, start=before, **keywords)
        assert float(result.free_energy) == pytest.approx(float(after.free_energy), abs=1e-9)


def test_a_file_holds_the_kinetic_energy_density(tmp_path: pytest.TempPathFactory) -> None:
    result = scf(bulk("Si"), "r2SCAN", ecut=100.0)
    path = str(tmp_path / "si.npz")  # type: ignore[operator]
    DensityRecord.of(result).save(path)
    loaded = DensityRecord.load(path).fields
    assert loaded.tau is not None and torch.equal(loaded.tau, result.fields.tau)
    assert torch.equal(loaded.density, result.density_g)


def test_core_corrections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    problem = make_problem(basis)
    potential = problem.pseudopotentials["Si"]
    monkeypatch.setattr(type(potential), "has_core_density", True)
    with pytest.raises(ValueError, match="core correction"):
        make_problem(basis, "r2SCAN")
    assert replace(problem, functional=get_xc("PBE")).needs_kinetic_density is False
