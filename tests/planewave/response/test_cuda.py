"""Derivatives through the self-consistent field on a CUDA device are those of the CPU.

Those of the CPU are held against differences in test_finite_differences.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.devices import DEVICES
from tests.planewave.response.finite_differences import Case, gradients, solved, zeros
from tests.planewave.response.response_cases import CASES

pytestmark = pytest.mark.gpu

PAW = {
    "Al": replace(CASES["Al"], pseudopotentials="paw-pbe", ecut=6.0),
    "Ni": replace(
        CASES["Ni"], pseudopotentials="paw-pbe", ecut=14.0, moments=(0.6,), kpoints=(2, 2, 2)
    ),
}


def derivatives(case: Case) -> dict[str, dict[str, float]]:
    leaves = zeros(True, case.device)
    result = solved(case, case.basis, leaves)
    assert result.density.device.type == result.free_energy.device.type == case.device
    return gradients(case, result, leaves)


def assert_same_derivatives(case: Case) -> None:
    here, there = (derivatives(replace(case, device=device)) for device in DEVICES)
    assert here.keys() == there.keys()
    for quantity, expected in here.items():
        scale = max(abs(value) for value in expected.values())
        for parameter, value in expected.items():
            # As for differences: relative to 1e-3 of the largest where a symmetry makes it vanish.
            tolerance = 1e-5 * max(abs(value), 1e-3 * scale)
            assert abs(there[quantity][parameter] - value) <= tolerance, (quantity, parameter)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_cpu(name: str) -> None:
    assert_same_derivatives(CASES[name])


@pytest.mark.parametrize("name", PAW)
def test_derivatives_with_paw_are_those_of_the_cpu(name: str) -> None:
    pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    assert_same_derivatives(PAW[name])
