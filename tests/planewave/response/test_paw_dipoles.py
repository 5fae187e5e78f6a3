"""Derivatives of defined dipoles of PAW results are those of converged calculations.

A polar molecule in a box, tilted, and a slab with two different faces, along its normal.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import SCFResult
from tests.crystals import FIXED, doubles
from tests.differences import assert_agreement, named_differences
from tests.planewave.response.finite_differences import STEPS, Case, solved, zeros
from tests.planewave.response.response_cases import smeared

pytest.importorskip("gpaw_data")

AGREEMENT = 1e-5
# A slab's dipole hardly feels the functional: with the usual convergence noise shows in it.
TIGHTEST = {"energy": 1e-13, "density": 1e-13, "maxiter": 200}
CASES = {
    "hydrogen fluoride": Case(
        torch.diag(doubles([9.5, 9.3, 10.4])),
        ("H", "F"),
        doubles([[0.48, 0.51, 0.42], [0.50, 0.50, 0.59]]),
        9.0,
        [[0.0, 0.0, 0.0]],
        FIXED,
        pseudopotentials="paw-pbe",
        symmetric=False,
    ),
    "slab of Al and Mg": Case(
        doubles([[5.5, 0.0, 0.0], [0.3, 5.3, 0.0], [0.0, 0.0, 25.0]]),
        ("Al", "Mg"),
        doubles([[0.02, 0.01, 0.41], [0.53, 0.48, 0.59]]),
        5.5,
        [[0.0, 0.0, 0.0], [0.5, 0.25, 0.0]],
        smeared(),
        pseudopotentials="paw-pbe",
        symmetric=False,
    ),
}
# Network weights, atoms and cell all move along random directions. A strain tilts the slab out of
# its plane, and no component of its dipole is defined any more.
PARAMETERS = {
    "hydrogen fluoride": ("network", "kappa", "positions", "strain"),
    "slab of Al and Mg": ("network", "kappa", "positions"),
}


def in_one_direction(result: SCFResult) -> Tensor:
    """What is defined of the dipole, along a direction, e bohr."""
    dipole = result.dipole
    direction = doubles([0.5, -0.7, 1.0])
    defined = ~torch.isnan(dipole.detach())
    return (dipole[defined] * direction[defined]).sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_a_dipole_are_those_of_differences(name: str) -> None:
    case, parameters = CASES[name], PARAMETERS[name]
    basis, leaves = case.basis, zeros(grad=True)
    result = solved(case, basis, leaves, convergence=TIGHTEST)
    assert torch.isnan(result.dipole.detach()).tolist() == [len(result.weights) > 1] * 2 + [False]
    given = [leaves[parameter] for parameter in parameters]
    implicit = torch.autograd.grad(in_one_direction(result), given)
    start = result.detach()
    for parameter, slope in zip(parameters, implicit, strict=True):

        def value(step: float, parameter: str = parameter) -> dict[str, float]:
            numbers = zeros(grad=False)
            numbers[parameter] = torch.tensor(step, dtype=torch.float64)
            with torch.no_grad():
                displaced = solved(case, basis, numbers, start, TIGHTEST)
                return {"dipole": float(in_one_direction(displaced.detach()))}

        found = named_differences(value, STEPS[parameter])["dipole"]
        assert abs(found.value) > 1e-3
        assert_agreement(slope, found, AGREEMENT, name=f"dipole by {parameter}")
