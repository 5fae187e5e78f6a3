"""Transforms along columns equal three-dimensional Fourier sums."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.basis.column_transforms import ColumnTransforms
from tests.crystals import doubles

# Lists of different lengths, so that some are padded, in a box with three different sides.
POINTS = [[0.0, 0.0, 0.0], [0.31, -0.17, 0.42], [0.5, 0.5, 0.5]]
EPSILON = {torch.complex128: 1e-13, torch.complex64: 1e-5}


def basis() -> PlaneWaveBasis:
    lattice = doubles([[7.1, 0.3, -0.4], [0.9, 9.8, 0.5], [-0.6, 1.1, 5.3]])
    made = PlaneWaveBasis(Crystal(lattice, ("H",), doubles([[0.0] * 3])), 5.0, POINTS)
    assert len(set(made.orbital_fft_size)) == 3
    assert len(set(made.npw_per_k)) > 1
    return made


def rows(made: PlaneWaveBasis, nband: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(nband)
    noise = torch.randn((made.nk, nband, made.npw), dtype=torch.complex128, generator=generator)
    return (noise * made.mask.unsqueeze(1)).to(dtype)


def in_box(made: PlaneWaveBasis, waves: Tensor, ks: slice) -> Tensor:
    """Three-dimensional transform of the whole box."""
    index = made.orbital_index[ks].unsqueeze(1).expand(waves.shape)
    box = waves.new_zeros((*waves.shape[:2], made.orbital_ngrid)).scatter_add(2, index, waves)
    box = box.view(*waves.shape[:2], *made.orbital_fft_size)
    return torch.fft.ifftn(box, dim=(-3, -2, -1), norm="forward")


@pytest.mark.parametrize("dtype", EPSILON)
def test_values_on_the_grid_are_those_of_the_whole_box(dtype: torch.dtype) -> None:
    made = basis()
    transforms = ColumnTransforms(made)
    # Kept memory must not hold anything of the call before, whatever its k-points and size.
    for ks, nband in ((slice(0, 3), 3), (slice(1, 2), 5), (slice(2, 3), 1), (slice(0, 3), 3)):
        waves = rows(made, nband, dtype)[ks]
        expected = in_box(made, waves, ks)
        tolerance = EPSILON[dtype] * float(expected.abs().max())
        found = transforms.to_grid(waves, ks)
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", EPSILON)
def test_coefficients_of_any_function_are_those_of_the_whole_box(dtype: torch.dtype) -> None:
    made = basis()
    values = torch.randn((2, 3, *made.orbital_fft_size), dtype=torch.complex128).to(dtype)
    box = torch.fft.fftn(values, dim=(-3, -2, -1)).flatten(-3)
    ks = slice(1, 3)
    mask = made.mask[ks].unsqueeze(1)
    expected = box.gather(2, made.orbital_index[ks].unsqueeze(1).expand(2, 3, made.npw)) * mask
    found = ColumnTransforms(made).from_grid(values, ks) * mask
    tolerance = EPSILON[dtype] * float(expected.abs().max())
    torch.testing.assert_close(found.to(expected.dtype), expected, rtol=0, atol=tolerance)


def test_released_memory_is_zero_again() -> None:
    made = basis()
    transforms, waves = ColumnTransforms(made), rows(made, 2, torch.complex128)
    first = transforms.to_grid(waves, slice(0, 3))
    transforms.release()
    assert torch.equal(transforms.to_grid(waves, slice(0, 3)), first)
