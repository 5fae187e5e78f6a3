"""Transforms of fields in half boxes are those of whole ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.fft_boxes import SphereTransform, box_index

SIZES = [(8, 9, 10), (10, 8, 9), (9, 9, 9)]


def sphere() -> np.ndarray:
    axis = np.arange(-3, 4)
    g = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    return g[(g**2).sum(1) <= 10]


def whole_box(g: np.ndarray, coefficients: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Real part of the Fourier sum of all plane waves."""
    box = coefficients.new_zeros((*coefficients.shape[:-1], int(np.prod(size))))
    box = box.index_copy(-1, torch.from_numpy(box_index(g, size)), coefficients)
    return torch.fft.ifftn(box.unflatten(-1, size), dim=(-3, -2, -1), norm="forward").real


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_functions_and_derivatives_are_those_of_all_plane_waves(
    size: tuple[int, int, int],
) -> None:
    g = sphere()
    transform = SphereTransform(g, size, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn((2, len(g), 2), dtype=torch.float64, generator=generator)
    # Not conjugates of each other: the real part of the sum is wanted all the same.
    coefficients = torch.view_as_complex(parts).requires_grad_()
    weight = torch.randn((2, *size), dtype=torch.float64, generator=generator)
    found, expected = transform.to_grid(coefficients), whole_box(g, coefficients, size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    slopes = [
        torch.autograd.grad((weight * values**3).sum(), coefficients, retain_graph=True)[0]
        for values in (found, expected)
    ]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_coefficients_are_those_of_the_whole_transform(size: tuple[int, int, int]) -> None:
    g = sphere()
    transform = SphereTransform(g, size, torch.device("cpu"))
    values = torch.randn(
        (2, *size), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    whole = torch.fft.fftn(values, dim=(-3, -2, -1), norm="forward").flatten(-3)
    expected = whole[:, torch.from_numpy(box_index(g, size))]
    torch.testing.assert_close(transform.to_sphere(values), expected, rtol=0, atol=1e-15)


def test_second_derivatives_are_those_of_differences() -> None:
    some = sphere()[(sphere() ** 2).sum(1) <= 1]
    transform = SphereTransform(some, (4, 4, 4), torch.device("cpu"))
    coefficients = torch.randn(
        len(some), dtype=torch.complex128, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda c: transform.to_sphere(transform.to_grid(c) ** 2), coefficients
    )
