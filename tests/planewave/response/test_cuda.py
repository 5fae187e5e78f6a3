"""Derivatives through the self-consistent field on a CUDA device are those of the CPU.

Those of the CPU are held against differences in test_finite_differences.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planewave.response.finite_differences import Case, gradients, solved, zeros
from tests.planewave.response.response_cases import CASES

pytestmark = pytest.mark.gpu


def derivatives(case: Case) -> dict[str, dict[str, float]]:
    leaves = zeros(True, case.device)
    result = solved(case, case.basis, leaves)
    assert result.density.device.type == result.free_energy.device.type == case.device
    return gradients(case, result, leaves)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_cpu(name: str) -> None:
    here, there = (derivatives(replace(CASES[name], device=d)) for d in ("cpu", "cuda"))
    assert here.keys() == there.keys()
    for quantity, expected in here.items():
        scale = max(abs(value) for value in expected.values())
        for parameter, value in expected.items():
            # As for differences: relative to 1e-3 of the largest where a symmetry makes it vanish.
            tolerance = 1e-5 * max(abs(value), 1e-3 * scale)
            assert abs(there[quantity][parameter] - value) <= tolerance, (quantity, parameter)
