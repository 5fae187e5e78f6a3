"""Single precision for what is rough anyway, double for everything that is kept."""

from __future__ import annotations

import torch
from torch import Tensor


def to_single(values: Tensor) -> Tensor:
    """Real or complex numbers in single precision.

    Examples
    --------
    >>> to_single(torch.ones(1, dtype=torch.complex128)).dtype
    torch.complex64
    """
    return values.to(torch.complex64 if values.is_complex() else torch.float32)


def to_double(values: Tensor) -> Tensor:
    """Real or complex numbers in double precision.

    Examples
    --------
    >>> to_double(torch.ones(1, dtype=torch.float32)).dtype
    torch.float64
    """
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
