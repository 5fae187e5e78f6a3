"""Operations that vectors of an iteration need: sums, multiples and an inner product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor


class Vector(Protocol):
    """A tensor, or a record of tensors, that can be added, subtracted and scaled by a number."""

    def __add__(self, other: Any, /) -> Any: ...

    def __sub__(self, other: Any, /) -> Any: ...

    def __rmul__(self, other: Any, /) -> Any: ...


V = TypeVar("V", bound=Vector)

#: Real inner product of two vectors: a number, or a tensor that holds one.
Inner = Callable[[V, V], "float | Tensor"]


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Euclidean inner product over the real numbers.

    Parameters
    ----------
    left, right : Tensor
        Of the same shape, real or complex. The real and imaginary parts of a complex number count
        as two real numbers.

    Returns
    -------
    Tensor
        0-d, real.

    Examples
    --------
    >>> dot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    >>> dot(torch.tensor([1.0 + 1.0j]), torch.tensor([1.0 + 2.0j]))
    tensor(3.)
    """
    if left.is_complex():
        left, right = torch.view_as_real(left), torch.view_as_real(right)
    return (left * right).sum()
