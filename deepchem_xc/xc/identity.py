"""All ways to ask whether two functionals are the same.

============================  ====================================================================
`Identity`, `Unchanged`       the same values: nothing that is computed with it can differ
`structure`                   built from the same classes and numbers, whatever the weights are
`fingerprint`                 the same function of density and parameters, whatever these are
`fixed_energies`              the same energies at a few densities
`content_digest`              the same, with any exact exchange, as a hash for files
`name_or_content`             the same name or, if its weights are in a file, the same content
============================  ====================================================================

Version counters of tensors do not suffice: writes to ``.data``, ``vector_to_parameters`` and
``load_state_dict(assign=True)`` bypass them, and a value that is restored is not a change. Instead,
values are compared: those of parameters, buffers and plain attributes, and energy densities at a
few points, which reveal everything else that matters, such as layers in a list or a closure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepchem_xc._files import data_file, file_digest

from .contract import PointwiseXC
from .file_format import is_file_name
from .parts import named_parts
from .registry import trained_files
from .sampling import device_of, energy_scale, fixed_points, sample_points, sampled_energies
from .substitution import substituted

__all__ = [
    "Identity",
    "Unchanged",
    "content_digest",
    "fingerprint",
    "fixed_energies",
    "guarded",
    "name_or_content",
    "structure",
]

# Relative rounding error allowed between energy densities, as from another number of threads.
_ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class Identity:
    """State of a functional at one time.

    Attributes
    ----------
    values : dict
        Digests of parameters, buffers and plain attributes, by name.
    energies : Tensor or None
        Energy densities at `sample_points`, Hartree / bohr^3; None if they are not compared.

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
    def of(cls, functional: PointwiseXC) -> Identity:
        """Present state of a functional.

        Parameters
        ----------
        functional : XCFunctional
            It is evaluated at a few points and left as it is.
        """
        # Ignore what evaluations themselves change, such as a counter or the last output.
        sampled_energies(functional, npoints=2, seed=1)
        values = _values(functional)
        energies = sampled_energies(functional)
        after = _values(functional)
        return cls({k: v for k, v in values.items() if after.get(k) == v}, energies)

    @classmethod
    def of_weights(cls, functional: PointwiseXC) -> Identity:
        """State of parameters and buffers alone, without evaluations.

        Parameters
        ----------
        functional : XCFunctional
            It is left as it is.
        """
        return cls(_weights(functional), None)

    @classmethod
    def read(cls, functional: PointwiseXC) -> Identity:
        """State read without evaluating the functional; energies are not compared.

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

    def holds(self, functional: PointwiseXC) -> bool:
        """Whether a functional is still in this state."""
        return self.change(functional) is None

    def change(self, functional: PointwiseXC) -> str | None:
        """Name of something that has changed; None if nothing has.

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
            Its state at the other time.
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
    """Notices that a functional has changed since a calculation used it.

    Parameters
    ----------
    functional : XCFunctional
        The functional that was used.
    tensors : sequence of Tensor, optional
        Parameters and buffers in the graph of a result: the functional must still hold these very
        objects, whatever their values.
    weights_only : bool, optional
        Compare only the values of parameters and buffers, which is cheaper.

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

    def __init__(
        self,
        functional: PointwiseXC,
        tensors: tuple[Tensor, ...] = (),
        weights_only: bool = False,
    ) -> None:
        self._functional = functional
        self._tensors = tensors
        identity = Identity.of_weights if weights_only else Identity.of
        self._identity = identity(functional)

    def check(self) -> None:
        """Raise RuntimeError if a value has changed or a tensor of a graph was replaced."""
        change = self._identity.change(self._functional)
        if change is None:
            now = {id(x) for x in (*self._functional.parameters(), *self._functional.buffers())}
            if all(id(tensor) in now for tensor in self._tensors):
                return
            change = "a parameter was replaced"
        raise RuntimeError(_changed(self._functional, change))


def _changed(functional: PointwiseXC, what: str) -> str:
    return (
        f"the functional {functional.name} was changed after this calculation ({what}): further "
        "results, derivatives included, would mix old and new values. Ask for results and call "
        "backward() before the optimiser's step, or run scf again (start=result makes it short)."
    )


def guarded(value: Tensor, unchanged: Unchanged) -> Tensor:
    """`value` with a guard: its backward pass raises RuntimeError if the functional changed.

    Parameters
    ----------
    value : Tensor
        In a graph or not.
    unchanged : Unchanged
        Watches the functional in that graph.

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
    def forward(ctx: Any, value: Tensor, unchanged: Unchanged) -> Tensor:
        ctx.unchanged = unchanged
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        ctx.unchanged.check()
        return cotangents[0], None


def _values(functional: torch.nn.Module) -> dict[str, bytes]:
    return {name: _digest(value) for name, value in named_parts(functional)}


def _weights(functional: torch.nn.Module) -> dict[str, bytes]:
    return {
        name: _digest(tensor)
        for name, tensor in (*functional.named_parameters(), *functional.named_buffers())
    }


def _digest(value: Any) -> bytes:
    if not isinstance(value, Tensor):
        return repr(value).encode()
    data = value.detach().cpu().contiguous()
    head = f"{tuple(data.shape)} {data.dtype} ".encode()
    return hashlib.blake2b(
        head + data.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=16
    ).digest()


def structure(functional: PointwiseXC) -> tuple[Any, ...]:
    """Everything that training leaves alone: numbers, classes, and which tensors are trained.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> structure(PBE(kappa=0.9, trainable=True)) == structure(PBE(trainable=True))
    True
    >>> structure(PBE(kappa=0.9)) == structure(PBE())
    False
    """
    trained = tuple(parameter.requires_grad for parameter in functional.parameters())
    parts = named_parts(functional)
    return trained, tuple((name, part) for name, part in parts if not isinstance(part, Tensor))


def fixed_energies(functional: PointwiseXC) -> Tensor:
    """Energy densities at five points of one channel and five of two, (10,), Hartree / bohr^3.

    Parameters
    ----------
    functional : XCFunctional
        Any.

    Returns
    -------
    Tensor
        On the CPU.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> fixed_energies(PBE()).shape
    torch.Size([10])
    """
    # A functional need not share code between one channel and two.
    points = [fixed_points(spins, device_of(functional)) for spins in (1, 2)]
    return torch.cat([functional.get_edensityxc(given) for given in points]).cpu()


def content_digest(functional: PointwiseXC) -> str:
    """Hash of `fixed_energies`, and of any exact exchange, to nine digits; 32 hexadecimal digits.

    It is the same in every process.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> content_digest(PBE()) == content_digest(PBE(trainable=True))
    True
    >>> content_digest(PBE()) == content_digest(PBE(kappa=0.9))
    False
    """
    with torch.no_grad():
        numbers = fixed_energies(functional).tolist()
        shares = {omega: float(a) for omega, a in functional.exchange_shares().items()}
    for omega in sorted(shares):
        if shares[omega] != 0.0:
            numbers += [omega, shares[omega]]
    # Without the last digits, which depend on the processor.
    return hashlib.sha256(" ".join(f"{x:.8e}" for x in numbers).encode()).hexdigest()[:32]


def fingerprint(functional: PointwiseXC) -> Tensor:
    """`fixed_energies` with fixed numbers in place of the parameters.

    It is the same for functionals that differ only in the values of their parameters. Checkpoints
    contain it.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.

    Examples
    --------
    >>> from deepchem_xc.xc import ConstrainedGGA
    >>> one, other = ConstrainedGGA(seed=0), ConstrainedGGA(seed=1, start="random")
    >>> torch.equal(fingerprint(one), fingerprint(other))
    True
    >>> torch.allclose(fingerprint(one), fingerprint(ConstrainedGGA(lieb_oxford=False)))
    False
    """
    fixed = {
        name: 0.5 * torch.cos(1.0 + torch.arange(p.numel(), device=p.device)).to(p).view_as(p)
        for name, p in functional.named_parameters()
    }
    with torch.no_grad(), substituted(functional, fixed):
        return fixed_energies(functional)


def name_or_content(xc: str) -> str:
    """Identifier of a functional that is given as a string: its name or a file's content hash.

    Parameters
    ----------
    xc : str
        As for :func:`~deepchem_xc.xc.get_xc`. Names of trained functionals, alone or in sums, are
        replaced by the content of their files too.

    Examples
    --------
    >>> name_or_content("PBE")
    'PBE'
    >>> name_or_content("recovered_gga")
    'file ...'
    """
    if is_file_name(xc):
        return _content(Path(xc))
    files = trained_files()
    return re.sub(
        rf"\b({'|'.join(files)})\b",
        lambda name: _content(data_file(files[name[0].lower()])),
        xc,
        flags=re.IGNORECASE,
    )


def _content(path: Path) -> str:
    return "file " + file_digest(path)[:16]
