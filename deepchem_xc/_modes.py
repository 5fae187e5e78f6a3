"""Leaving the modes of torch in which a calculation would be impossible or inexact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

# Where `torch.autocast` may be on.
_AUTOCAST_DEVICES = ("cpu", "cuda")


@contextlib.contextmanager
def outside_inference_and_autocast() -> Iterator[None]:
    """Leave `torch.inference_mode`, for `torch.no_grad`, and `torch.autocast`.

    Potentials are derivatives of energies, which inference mode does not allow. In `torch.no_grad`
    they can be computed, and no graph is kept there either. Autocast would turn operations in
    single precision into operations in half precision.

    Examples
    --------
    >>> with torch.inference_mode(), outside_inference_and_autocast():
    ...     torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    (False, False)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16), outside_inference_and_autocast():
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    with outside_autocast():
        if not torch.is_inference_mode_enabled():
            yield
            return
        with torch.inference_mode(False), torch.no_grad():
            yield


@contextlib.contextmanager
def outside_autocast() -> Iterator[None]:
    """Leave `torch.autocast`.

    Examples
    --------
    >>> with torch.autocast("cpu", dtype=torch.bfloat16), outside_autocast():
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    with contextlib.ExitStack() as stack:
        for device in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def refuse_inference_tensors(what: str, tensors: Iterable[Tensor]) -> None:
    """Raise `ValueError` if something was made inside `torch.inference_mode`.

    Parameters
    ----------
    what : str
        What to call it.
    tensors : iterable of Tensor
        Its tensors; torch differentiates nothing that was made in that mode.

    Examples
    --------
    >>> refuse_inference_tensors("the functional", [torch.ones(1)])
    """
    made = (tensor for tensor in tensors if not torch.nn.parameter.is_lazy(tensor))
    if any(tensor.is_inference() for tensor in made):
        raise ValueError(
            f"{what} was made inside torch.inference_mode(), and nothing can be differentiated "
            "that was: make it outside, or use torch.no_grad()."
        )
