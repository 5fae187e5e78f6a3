"""Torch's modes around a calculation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Leave `torch.inference_mode` for `torch.no_grad`.

    Potentials are derivatives of energies, which torch's inference mode rules out altogether;
    inside `torch.no_grad` they are computed, and nothing keeps a graph either.

    Examples
    --------
    >>> with torch.inference_mode(), outside_inference_mode():
    ...     torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    (False, False)
    """
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield
