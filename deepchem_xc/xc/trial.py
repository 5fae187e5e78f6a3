"""Checks of a functional before anything is computed with it.

Solvers and training assume that a functional maps each point alone, gives the same number every
time and in either mode of torch, depends on no trainable tensor that torch does not know as part of
it, and that autograd's derivatives agree with its energies. Violations would otherwise only show
up as wrong numbers.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.parametrize import type_before_parametrizations

from ._deepchem import SpinParam, ValGrad
from .base import XCFunctional
from .consistency import check_derivatives, check_memory
from .factor import leaves_of
from .identity import structure
from .networks import refuse_compiled, refuse_lazy
from .parts import named_parts
from .plain import PlainXC
from .pointwise import PIECE, check_points, undisturbed
from .sampling import device_of, energy_scale, sample_points
from .substitution import called_with

__all__ = ["check_functional", "check_trainable"]

# Functionals that passed the checks, with their structure at that time.
_tried: weakref.WeakKeyDictionary[XCFunctional, tuple[Any, ...]] = weakref.WeakKeyDictionary()


def check_functional(functional: XCFunctional) -> None:
    """Raise ``ValueError`` for a functional that would give wrong results.

    Parameters
    ----------
    functional : XCFunctional
        It is evaluated at a few points and left as it is.

    Raises
    ------
    ValueError
        If it depends on tensors that require gradients and are neither parameters nor buffers, or
        on a number that does not follow its parameter; if the energy density at a point depends
        on other points, on the mode (``train()`` or ``eval()``), or on chance; if autograd's
        derivatives with respect to density or parameters disagree with finite differences of
        energies or potentials; if a part is compiled by torch.compile.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import XCFunctional
    >>> class Mine(XCFunctional):
    ...     name, family = "mine", 1
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.c = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    ...     def energy_density(self, variables):
    ...         return -self.c * variables.density
    >>> check_functional(Mine())
    Traceback (most recent call last):
    ...
    ValueError: the functional mine depends on 'c', a tensor that requires gradients and that ...
    """
    refuse_lazy(functional)
    refuse_compiled(functional)
    for part in functional.modules():
        if isinstance(part, PlainXC):
            part.check_tensors()
    made_of = (structure(functional), tuple(map(_changes_of, functional.modules())))
    again = _tried.get(functional) == made_of
    own = not all(map(_is_known, functional.modules()))
    if own and not again:
        check_memory(functional)  # first, before an evaluation could leave something behind
    _check_hidden(functional)
    _check_buffers(functional)
    if again or all(map(_is_formula, functional.modules())):
        return
    for spins in (1, 2):
        pieces = _density_pieces(functional, spins)

        def evaluate(names: Sequence[str], pieces: dict[str, Any] = pieces) -> Tensor:
            return functional.get_edensityxc(_joined([pieces[name] for name in names]))

        scales = {name: energy_scale(piece) for name, piece in pieces.items()}
        try:
            evaluate("AB")
        except Exception:
            continue  # users of this number of channels will see the error
        check_points(functional, evaluate, scales, f"the functional {functional.name}")
    if own:
        check_derivatives(functional)
    _tried[functional] = made_of


def check_trainable(functional: XCFunctional) -> None:
    """Raise ``ValueError`` for trainable tensors that an optimiser would miss.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.

    Raises
    ------
    ValueError
        As :func:`check_functional`, and for buffers that require gradients.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import get_xc
    >>> t = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    >>> check_trainable(t * get_xc("lda_x"))
    Traceback (most recent call last):
    ...
    ValueError: 'factor' of factor*lda_x is a tensor that requires gradients but not a parameter...
    """
    for name, buffer in functional.named_buffers():
        if not buffer.requires_grad:
            continue
        if buffer.is_leaf:
            raise ValueError(
                f"{name!r} of {functional.name} is a tensor that requires gradients but not a "
                "parameter: an optimiser would not train it. Make it one, "
                "torch.nn.Parameter(...), or keep it fixed with .detach()"
            )
        raise ValueError(_stale(functional, name, "tensors that require gradients"))
    check_functional(functional)


# tensors that torch does not know -----------------------------------------------------------------


def _check_hidden(functional: XCFunctional) -> None:
    named = (*functional.named_parameters(), *functional.named_buffers())
    fixed = {name: tensor.detach() for name, tensor in named}
    for spins in (1, 2):
        points = sample_points(spins, 4, device=device_of(functional))
        try:
            with torch.enable_grad(), undisturbed(functional):
                energy = called_with(functional, fixed, points)
        except Exception:
            continue  # users of this number of channels will see the error
        if energy.requires_grad:
            raise ValueError(_hidden(functional, leaves_of(energy)))


def _hidden(functional: XCFunctional, leaves: list[Tensor]) -> str:
    parameters = {id(p): name for name, p in functional.named_parameters()}
    parts = [(name, part) for name, part in named_parts(functional) if isinstance(part, Tensor)]
    names = []
    for leaf in leaves:
        if id(leaf) in parameters:
            name = parameters[id(leaf)]
            return (
                f"the functional {functional.name} uses its parameter {name!r} in another way than "
                "by this name: a tensor that was computed from it when the functional was made "
                "does not follow it. Read the parameter, and compute everything else, in "
                "energy_density"
            )
        names += [name for name, part in parts if any(x is leaf for x in leaves_of(part))][:1]
    found = ", ".join(map(repr, dict.fromkeys(names))) or "something"
    what = "a tensor that requires" if len(leaves) == 1 else "tensors that require"
    return (
        f"the functional {functional.name} depends on {found}, {what} gradients and that torch "
        "does not know as a part of it: derivatives would lack the change of the density. Write "
        "self.x = torch.nn.Parameter(x) for a number, torch.nn.ModuleList([...]) or "
        "torch.nn.ParameterList([...]) instead of a list, torch.nn.ModuleDict({...}) instead of a "
        "dictionary, and keep what a function closes over as an attribute; a tensor that "
        "should not be trained needs .requires_grad_(False)"
    )


def _check_buffers(functional: XCFunctional) -> None:
    own = {id(p): name for name, p in functional.named_parameters()}
    for name, buffer in functional.named_buffers():
        if buffer.grad_fn is None:
            continue
        for leaf in leaves_of(buffer):
            if id(leaf) in own:
                raise ValueError(_stale(functional, name, f"the parameter {own[id(leaf)]!r}"))


def _stale(functional: XCFunctional, name: str, source: str) -> str:
    return (
        f"{name!r} of {functional.name} was computed from {source} when it was made, and does not "
        "follow: compute it in energy_density. Factors of functionals, as in t * f + (1 - t) * g, "
        "follow torch.nn.Parameters through sums, products, quotients, powers, softmax, exp, "
        "sigmoid, tanh, softplus and similar functions"
    )


def _is_known(part: torch.nn.Module) -> bool:
    """Whether a part is unchanged code of this package or torch, whose derivatives are trusted."""
    module = type_before_parametrizations(part).__module__
    # Not everything in torch: TorchScript and graph modules can contain anything.
    ours = module.partition(".")[0] == "deepchem_xc" or module.startswith("torch.nn.")
    return ours and not isinstance(part, PlainXC) and not any(_changes_of(part))


def _is_formula(part: torch.nn.Module) -> bool:
    """Whether a part is an unchanged functional of this package, or a list of them: no network."""
    if type(part) in (torch.nn.ModuleList, torch.nn.ModuleDict):
        return not any(_changes_of(part))
    return type(part).__module__.startswith("deepchem_xc.") and _is_known(part)


def _changes_of(part: torch.nn.Module) -> tuple[list[Any], ...]:
    """Changes to a part beyond its class, for comparison: its hooks and its own functions."""
    tables = (
        part._forward_pre_hooks,
        part._forward_hooks,
        part._backward_pre_hooks,
        part._backward_hooks,
    )
    own = [
        (name, id(value))
        for name, value in vars(part).items()
        if callable(value) and not (getattr(value, "__module__", None) or "").startswith("torch")
    ]
    # torch numbers hooks and never reuses a number.
    return (*([*table] for table in tables), own)


def _density_pieces(functional: XCFunctional, spins: int) -> dict[str, ValGrad | SpinParam]:
    device = device_of(functional)
    return {name: sample_points(spins, PIECE, seed, device) for seed, name in enumerate("ABC")}


def _joined(pieces: list[Any]) -> Any:
    if not isinstance(pieces[0], ValGrad):
        return SpinParam(u=_joined([p.u for p in pieces]), d=_joined([p.d for p in pieces]))
    fields = ("value", "grad", "kin")
    return ValGrad(**{name: torch.cat([getattr(p, name) for p in pieces], -1) for name in fields})
