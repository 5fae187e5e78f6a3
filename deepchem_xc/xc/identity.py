"""Whether a functional is still the one that something was computed with.

Version counters of tensors do not tell: writes to ``.data``, ``vector_to_parameters`` and
``load_state_dict(assign=True)`` pass them by, and a value that comes back is no change. What is
compared are values: of parameters, buffers and plain attributes, and energy densities at a few
points, in which everything else shows that matters, such as layers in a list or a closure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ._deepchem import BaseXC
from .base import XCFunctional
from .sampling import energy_scale, sample_points, sampled_energies

__all__ = ["Identity", "SameWeights", "Unchanged", "guarded", "named_parts"]

# Between energy densities of the same functional there may be rounding: of other threads, say.
_ROUNDING = 1e-11
_NUMBERS = (bool, int, float, complex, str, bytes, type(None))
# No part of what is computed. Functionals in which the mode shows are refused (xc/trial.py).
_IGNORED = ("name", "training")


@dataclass(frozen=True, eq=False)
class Identity:
    """What a functional was at one time.

    Attributes
    ----------
    values : dict
        Digests of parameters, buffers and plain attributes, by name.
    energies : Tensor or None
        Energy densities at `sample_points`, Hartree / bohr^3; None if they do not count.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> before = Identity.of(functional)
    >>> kappa = functional.terms[0].kappa
    >>> kappa.data *= 2.0
    >>> before.change(functional)
    'terms.0.kappa'
    >>> kappa.data *= 0.5
    >>> before.holds(functional)
    True
    """

    values: Mapping[str, bytes] = field(repr=False)
    energies: Tensor | None = field(repr=False)

    @classmethod
    def of(cls, functional: XCFunctional) -> Identity:
        """What a functional is now.

        Parameters
        ----------
        functional : XCFunctional
            It is evaluated at a few points and left as it is.
        """
        # What evaluations themselves change, a counter or the last output, is no change.
        sampled_energies(functional, npoints=2, seed=1)
        values = _values(functional)
        energies = sampled_energies(functional)
        after = _values(functional)
        return cls({k: v for k, v in values.items() if after.get(k) == v}, energies)

    @classmethod
    def read(cls, functional: XCFunctional) -> Identity:
        """What can be read from a functional: it is not evaluated, and energies do not count.

        Parameters
        ----------
        functional : XCFunctional
            A functional.

        Examples
        --------
        >>> from deepchem_xc.xc import PBE
        >>> Identity.read(PBE()).holds(PBE(kappa=1.0))
        False
        """
        return cls(_values(functional), None)

    def holds(self, functional: XCFunctional) -> bool:
        """Whether a functional is this one."""
        return self.change(functional) is None

    def change(self, functional: XCFunctional) -> str | None:
        """Name of something that is not what it was; None if nothing is.

        Parameters
        ----------
        functional : XCFunctional
            The functional as it is now.
        """
        now = Identity.read(functional)
        if (found := self._difference(now)) is not None:
            return found
        if self.energies is None:
            return None
        return self._difference(Identity(now.values, sampled_energies(functional)))

    def equals(self, other: Identity) -> bool:
        """Whether a functional was the same at two times.

        Parameters
        ----------
        other : Identity
            Of the other time.
        """
        return self is other or self._difference(other) is None

    def _difference(self, now: Identity) -> str | None:
        for name, value in self.values.items():
            if now.values.get(name) != value:
                return name
        if self.energies is None or now.energies is None:
            return None
        scale = torch.cat([energy_scale(sample_points(spins)) for spins in (1, 2)])
        error = _ROUNDING * (self.energies.abs() + scale)
        same = ((now.energies - self.energies).abs() <= error) | (now.energies == self.energies)
        same |= now.energies.isnan() & self.energies.isnan()
        return None if bool(same.all()) else "its energy density"


class Unchanged:
    """Notices that a functional is no longer what a calculation was done with.

    Parameters
    ----------
    functional : XCFunctional
        What was used.
    tensors : sequence of Tensor, optional
        Parameters and buffers that are in the graph of a result: these very objects must still
        be the functional's, whatever the values.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> memory = Unchanged(functional)
    >>> functional.terms[0].kappa.data += 0.1
    >>> memory.check()
    Traceback (most recent call last):
    ...
    RuntimeError: the functional PBE was changed after this calculation (terms.0.kappa): ...
    """

    def __init__(self, functional: XCFunctional, tensors: tuple[Tensor, ...] = ()) -> None:
        self._functional = functional
        self._tensors = tensors
        self._identity = Identity.of(functional)

    def check(self) -> None:
        """Raise RuntimeError if a value was changed, or a tensor of a graph replaced."""
        change = self._identity.change(self._functional)
        if change is None:
            now = {id(x) for x in (*self._functional.parameters(), *self._functional.buffers())}
            if all(id(tensor) in now for tensor in self._tensors):
                return
            change = "a parameter was replaced"
        raise RuntimeError(_changed(self._functional, change))


class SameWeights:
    """As `Unchanged`, cheaper: of parameters and buffers only.

    Parameters
    ----------
    functional : XCFunctional
        What was used.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> memory = SameWeights(functional)
    >>> memory.check()
    """

    def __init__(self, functional: XCFunctional) -> None:
        self._functional = functional
        self._before = [tensor.detach().clone() for tensor in _weights(functional)]

    def check(self) -> None:
        """Raise RuntimeError if a value was changed."""
        now = _weights(self._functional)
        if len(now) != len(self._before) or not all(map(torch.equal, now, self._before)):
            raise RuntimeError(_changed(self._functional, "its weights"))


def _weights(functional: XCFunctional) -> list[Tensor]:
    return [*functional.parameters(), *functional.buffers()]


def _changed(functional: XCFunctional, what: str) -> str:
    return (
        f"the functional {functional.name} was changed after this calculation ({what}): what "
        "follows from it, derivatives included, would mix old and new values. Ask for results "
        "and call backward() before the optimiser's step, or run scf again (start=result makes "
        "it short)."
    )


def guarded(value: Tensor, unchanged: Unchanged | SameWeights) -> Tensor:
    """`value`, whose derivatives raise RuntimeError once the functional has changed.

    Parameters
    ----------
    value : Tensor
        In a graph or not.
    unchanged : Unchanged or SameWeights
        Of the functional in that graph.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> kappa = functional.terms[0].kappa
    >>> square = guarded(kappa**2, Unchanged(functional))
    >>> kappa.data += 0.1
    >>> square.backward()
    Traceback (most recent call last):
    ...
    RuntimeError: the functional PBE was changed after this calculation (terms.0.kappa): ...
    """
    guarded: Tensor = _Guard.apply(value, unchanged) if value.requires_grad else value
    return guarded


class _Guard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, unchanged: Unchanged | SameWeights) -> Tensor:
        ctx.unchanged = unchanged
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        ctx.unchanged.check()
        return cotangents[0], None


def _values(functional: torch.nn.Module) -> dict[str, bytes]:
    return {name: _digest(value) for name, value in named_parts(functional)}


def _digest(value: Any) -> bytes:
    if not isinstance(value, Tensor):
        return repr(value).encode()
    data = value.detach().cpu().contiguous()
    head = f"{tuple(data.shape)} {data.dtype} ".encode()
    return hashlib.blake2b(
        head + data.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=16
    ).digest()


def named_parts(
    value: Any, name: str = "", above: frozenset[int] = frozenset()
) -> Iterator[tuple[str, Any]]:
    """Tensors, numbers and classes in a functional with their names.

    Plain attributes, lists and dictionaries are searched too. Names that begin with an underscore
    are the object's own business.

    Parameters
    ----------
    value : object
        A functional or network.
    name : str, optional
        Its name.
    above : frozenset of int, optional
        What it is a part of.

    Examples
    --------
    >>> from deepchem_xc.xc import PW92Correlation
    >>> dict(named_parts(PW92Correlation()))["modified"]
    False
    """
    if _is_number(value):
        yield name, value
        return
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        yield name, value.tolist()
        return
    if id(value) in above:
        return
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, (torch.nn.Module, BaseXC)):
        yield f"{name} (class)".strip(), type(value).__qualname__
        # Numbers of the class, which the object's own may hide.
        names = {k for cls in type(value).__mro__ for k, v in vars(cls).items() if _is_number(v)}
        found = {k: getattr(value, k) for k in names} | vars(value)
        inner = [(k, v) for k, v in found.items() if k[0] != "_" and k not in _IGNORED]
        if isinstance(value, torch.nn.Module):
            inner += [*value._parameters.items(), *value._buffers.items(), *value._modules.items()]
    elif isinstance(value, Mapping):
        inner = [*value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [*enumerate(value)]
    above = above | {id(value)}
    for key, part in inner:
        yield from named_parts(part, f"{name}.{key}" if name else str(key), above)


def _is_number(value: Any) -> bool:
    return isinstance(value, (*_NUMBERS, Tensor))
