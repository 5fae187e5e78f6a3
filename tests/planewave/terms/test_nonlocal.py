"""Functions around atoms as plane waves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.terms.nonlocal_ import atom_functions, solid_harmonics
from tests.crystals import cubic, doubles


@pytest.mark.parametrize("l", range(4))
def test_coefficients_are_the_fourier_integrals_of_a_function_in_space(l: int) -> None:
    r"""Of r^l Y_lm exp(-r^2/2), by a sum over a grid, which is exact for it to 1e-12.

    Its radial transform is (2 pi)^(3/2) q^l exp(-q^2/2); (-i)^l comes from exp(-iq.r).
    """
    place = doubles([[0.1, -0.2, 0.3]])
    basis = PlaneWaveBasis(Crystal(cubic(7.0), ("H",), place), 3.0, [[0.2, -0.1, 0.3]])

    def form_factors(species: str, q2: Tensor) -> list[tuple[int, Tensor]]:
        return [(l, (2.0 * math.pi) ** 1.5 * torch.exp(-0.5 * q2).unsqueeze(0))]

    found = atom_functions(basis, form_factors)[0]
    step = 0.5
    line = step * torch.arange(-18, 19, dtype=torch.float64)
    r = torch.cartesian_prod(line, line, line)
    values = solid_harmonics(l, r) * torch.exp(-0.5 * r.square().sum(-1))
    q = basis.orbital_q[0, :40]
    angle = -q @ (r + place @ basis.crystal.lattice).T
    waves = torch.polar(torch.ones_like(angle), angle)
    expected = step**3 / basis.volume.sqrt() * values.to(waves.dtype) @ waves.T
    assert float(expected.abs().max()) > 0.1
    torch.testing.assert_close(found[:, :40], expected, rtol=0, atol=1e-11)
