"""Magnetic moments of atoms inside of PAW spheres."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy.integrate import trapezoid

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import DensityRecord, SCFResult
from deepchem_xc.planewave.observables.sphere_moments import electrons_inside
from deepchem_xc.xc import PBE
from tests.crystals import hydrogen_chain
from tests.differences import assert_derivative
from tests.planewave.paw.spheres import RADIUS, gpaw_dataset, model_dataset
from tests.planewave.paw_crystals import FERMI, PRECISE, gpaw, paw


def antiferromagnet(functional: str | PBE = "PBE") -> SCFResult:
    fixed = {**FERMI, "fixmagmom": True}
    chain = hydrogen_chain([1.0, -1.0])
    return paw(chain, 200.0, (1, 1, 2), functional=functional, occupations=fixed)


def test_electrons_inside_are_integrals_up_to_the_radius() -> None:
    """Of hydrogen-like waves with exponents a and b: int r^(2 l + 2) exp(-(a + b) r)."""
    dataset = model_dataset(points=3000)
    found = electrons_inside(dataset)
    r = np.linspace(0.0, RADIUS, 20001)
    for (i, first), (j, second) in [((0, 0), (0, 0)), ((0, 0), (4, 2)), ((1, 1), (5, 3))]:
        one, two = dataset.waves[first], dataset.waves[second]
        a, b = (((0, 1.1), (1, 0.9), (0, 1.9), (1, 1.6))[k][1] for k in (first, second))
        values = r ** (2 * one.l + 2) * np.exp(-(a + b) * r)
        # The sum over the mesh ends at a point, up to a step of it before the radius.
        step = np.diff(dataset.grid.r)[dataset.grid.count_below(RADIUS)]
        allowed = 1.1 * step * values[-1]
        assert float(found[i, j]) == pytest.approx(trapezoid(values, r), abs=allowed)
        assert one.l == two.l
    # Other harmonics are orthogonal: s with p, p_x with p_y.
    assert found[0, 1] == found[1, 2] == found[1, 6] == 0.0


@pytest.mark.gpaw
@pytest.mark.parametrize("name", ["O", "Si", "Fe", "Ni"])
def test_electrons_inside_are_gpaws(name: str) -> None:
    from gpaw.setup import create_setup

    dataset = gpaw_dataset(name)
    packed = create_setup(name, "PBE").N0_p
    rows, columns = np.triu_indices(dataset.nstate)
    ours = electrons_inside(dataset).numpy()[rows, columns]
    np.testing.assert_allclose(ours, packed, rtol=0.0, atol=1e-12)


@pytest.mark.gpaw
@pytest.mark.parametrize(("symbol", "lattice", "start"), [("Ni", 3.52, 0.7), ("Fe", 2.86, 2.3)])
def test_moments_of_ferromagnets_are_gpaws(symbol: str, lattice: float, start: float) -> None:
    atoms = bulk(symbol, a=lattice)
    atoms.set_initial_magnetic_moments([start])
    result, reference = paw(atoms, 400.0, (3, 3, 3)), gpaw(atoms, 400.0, (3, 3, 3))
    (moment,) = result.atom_moments.tolist()
    assert moment == pytest.approx(reference.get_magnetic_moments()[0], abs=5e-4)
    # They are not the moments of the cell.
    assert abs(moment - float(result.magnetic_moment)) > 0.02


def test_sublattices_of_an_antiferromagnet_have_opposite_moments() -> None:
    up, down = antiferromagnet().atom_moments.tolist()
    assert up == pytest.approx(-down, abs=1e-5) and up > 0.2


@pytest.mark.slow
def test_derivative_of_a_moment_is_that_of_differences() -> None:
    mu = 0.2195149727645171
    functional = PBE(mu=mu, trainable=True)
    result = antiferromagnet(functional)
    (parameter,) = (p for n, p in functional.named_parameters() if n.endswith("mu"))
    (slope,) = torch.autograd.grad(result.atom_moments[0], parameter)
    assert_derivative(
        slope, lambda h: antiferromagnet(PBE(mu=mu + h)).atom_moments[0], 0.02, rel=1e-3
    )


def test_the_calculator_and_a_calculation_without_spin_have_them() -> None:
    silicon = bulk("Si")
    assert paw(silicon, 150.0, (1, 1, 1)).atom_moments.tolist() == [0.0, 0.0]
    chain = hydrogen_chain([1.0, -1.0])
    settings: dict[str, Any] = {
        "occupations": {**FERMI, "fixmagmom": True},
        "convergence": PRECISE,
    }
    log = io.StringIO()
    settings |= {"kpts": {"size": (1, 1, 2), "gamma": True}, "pseudopotentials": "paw-pbe"}
    chain.calc = PlaneWaveDFT(ecut=200.0, txt=log, **settings)
    chain.get_potential_energy()
    expected = antiferromagnet().atom_moments.numpy()
    np.testing.assert_allclose(chain.get_magnetic_moments(), expected, rtol=0.0, atol=1e-5)
    record = DensityRecord.of(chain.calc.scf_result)
    assert record.moments is not None
    np.testing.assert_allclose(record.moments.numpy(), expected, rtol=0.0, atol=1e-5)
    # In the log, each term once, and which moments they are.
    lines = log.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("xc ")]) == 1
    assert any("mu_B (inside of the spheres)" in line for line in lines)
