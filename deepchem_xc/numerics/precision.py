"""Single precision for approximate intermediate steps, double for all results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor


@contextlib.contextmanager
def all_digits() -> Iterator[None]:
    """Matrix products in full single precision, whatever the user has set.

    TensorFloat-32 and bfloat16, which training code often allows for networks, have three digits.

    Examples
    --------
    >>> torch.set_float32_matmul_precision("medium")
    >>> with all_digits():
    ...     print(torch.get_float32_matmul_precision())
    highest
    >>> torch.get_float32_matmul_precision()
    'medium'
    >>> torch.set_float32_matmul_precision("highest")
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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


def in_single(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Compute a function in single precision; the result has the precision of the argument.

    Parameters
    ----------
    function : callable
        From a tensor to a tensor.
    values : Tensor
        Its argument, in single or double precision.

    Examples
    --------
    >>> half = in_single(lambda x: x / 2, torch.tensor([1.0 + 1e-12], dtype=torch.float64))
    >>> half.item(), half.dtype
    (0.5, torch.float64)
    """
    with all_digits():
        return function(to_single(values)).to(values.dtype)
