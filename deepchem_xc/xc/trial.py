"""Trying out functionals and networks before anything is computed with them.

What solvers and trainings take for granted: a functional maps each point alone, gives the same
number every time and in either mode of torch, and depends on no trainable tensor that torch does
not know as the functional's. What is not so would be found in wrong numbers only.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .base import XCFunctional
from .factor import leaves_of
from .identity import device_of, named_parts, sample_points

__all__ = ["check_functional", "check_network_points", "check_trainable", "undisturbed"]

_PIECE = 8
# Between evaluations of the same points in other company there is rounding.
_ROUNDING = 1e-9
# Functionals that were tried, with what they were made of then.
_tried: weakref.WeakKeyDictionary[XCFunctional, tuple[Any, ...]] = weakref.WeakKeyDictionary()

Record = list[tuple[str, Tensor, Tensor]]


def check_functional(functional: XCFunctional) -> None:
    """Raise ``ValueError`` for a functional that no calculation can be right with.

    Parameters
    ----------
    functional : XCFunctional
        It is evaluated at a few points and left as it is.

    Raises
    ------
    ValueError
        If it depends on tensors that require gradients and are neither parameters nor buffers, or
        on a number that does not follow its parameter; if the energy density at a point depends
        on other points, on the mode (``train()`` or ``eval()``), or on chance.

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
    _check_hidden(functional)
    _check_buffers(functional)
    made_of = tuple((name, part) for name, part in named_parts(functional) if _is_plain(part))
    if _tried.get(functional) == made_of:
        return
    for spins in (1, 2):
        pieces = _density_pieces(functional, spins)

        def evaluate(names: Sequence[str], pieces: dict[str, Any] = pieces) -> Tensor:
            return functional.get_edensityxc(_joined([pieces[name] for name in names]))

        scales = {name: _total(piece) ** (4.0 / 3.0) for name, piece in pieces.items()}
        try:
            evaluate("AB")
        except Exception:
            continue  # whoever has such channels meets the error
        _check_points(functional, evaluate, scales, f"the functional {functional.name}")
    _tried[functional] = made_of


def check_network_points(network: torch.nn.Module, ninput: int) -> None:
    """Raise ``ValueError`` for a network that does not map each point alone, always in one way.

    Parameters
    ----------
    network : torch.nn.Module
        From (nr, ninput) to (nr, 1), float64; it is left as it is.
    ninput : int
        Number of inputs.

    Examples
    --------
    >>> import torch
    >>> layers = torch.nn.Linear(2, 4), torch.nn.Dropout(0.1), torch.nn.Linear(4, 1)
    >>> check_network_points(torch.nn.Sequential(*layers).double(), 2)
    Traceback (most recent call last):
    ...
    ValueError: the network depends on chance or on earlier calls: the layer '1' (Dropout) does...
    """
    generator = torch.Generator().manual_seed(0)
    device = device_of(network)
    pieces = {
        name: torch.rand((_PIECE, ninput), generator=generator, dtype=torch.float64).to(device)
        for name in "ABC"
    }

    def evaluate(names: Sequence[str]) -> Tensor:
        output: Tensor = network(torch.cat([pieces[name] for name in names]))
        return output.squeeze(-1)

    scales = {name: torch.ones(_PIECE, dtype=torch.float64, device=device) for name in pieces}
    _check_points(network, evaluate, scales, "the network")


def check_trainable(functional: XCFunctional) -> None:
    """Raise ``ValueError`` for what an optimiser would leave behind.

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
    ValueError: 'factor' of factor*lda_x is a tensor that requires gradients but no parameter: ...
    """
    for name, buffer in functional.named_buffers():
        if not buffer.requires_grad:
            continue
        if buffer.is_leaf:
            raise ValueError(
                f"{name!r} of {functional.name} is a tensor that requires gradients but no "
                "parameter: an optimiser would not train it. Make it one, "
                "torch.nn.Parameter(...), or leave it as it is with .detach()"
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
                energy = torch.func.functional_call(functional, fixed, (points,))
        except Exception:
            continue  # whoever has such channels meets the error
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
        names += [name for name, part in parts if part is leaf][:1]
    found = ", ".join(map(repr, dict.fromkeys(names))) or "something"
    what = "a tensor that requires" if len(leaves) == 1 else "tensors that require"
    return (
        f"the functional {functional.name} depends on {found}, {what} gradients and that torch "
        "does not know as a part of it: derivatives would lack the change of the density. Write "
        "self.x = torch.nn.Parameter(x) for a number, torch.nn.ModuleList([...]) or "
        "torch.nn.ParameterList([...]) instead of a list, torch.nn.ModuleDict({...}) instead of a "
        "dictionary, and keep what a function closes over as an attribute; what is not to be "
        "trained needs .requires_grad_(False)"
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
        "follow: compute it in energy_density. In multiples of functionals sums, products, "
        "quotients, powers, exp, sigmoid, tanh, softplus and the like of torch.nn.Parameters "
        "are followed, as in t * f + (1 - t) * g"
    )


# points -------------------------------------------------------------------------------------------


def _check_points(
    module: torch.nn.Module,
    evaluate: Callable[[Sequence[str]], Tensor],
    scales: dict[str, Tensor],
    who: str,
) -> None:
    """Evaluate pieces A, B and C of points in several companies, orders and modes."""

    def run(names: str, training: bool = True) -> tuple[Tensor, Record]:
        module.train(training)
        record: Record = []
        with torch.no_grad(), _recording(module, record):
            return evaluate(names), record

    def scale(names: str) -> Tensor:
        return torch.cat([scales[name] for name in names])

    with undisturbed(module) as changed:
        whole = run("AB")
        first, second = slice(0, _PIECE), slice(_PIECE, 2 * _PIECE)
        trials = (
            ("on chance or on earlier calls", run("AB"), None, None, "AB"),
            ("on the mode, train() or eval()", run("AB", False), None, None, "AB"),
            ("at a point on the other points", run("AC"), first, first, "A"),
            ("on the order of the points", run("BA"), first, second, "A"),
            ("on the number of points", run("A"), first, slice(None), "A"),
        )
        for what, other, mine, theirs, names in trials:
            layer = _culprit(module, whole[1], other[1], mine, theirs)
            here = whole[0] if mine is None else whole[0][mine]
            there = other[0] if theirs is None else other[0][theirs]
            if layer or not _same(here, there, scale(names)):
                raise ValueError(_advice(who, what, layer))
        if buffers := changed():
            what = f"on earlier calls, each of which changes {buffers[0]!r}"
            raise ValueError(_advice(who, what, _owner(module, buffers[0])))


def _advice(who: str, what: str, layer: str) -> str:
    cause = f"the layer {layer} does" if layer else "something in it does"
    return (
        f"{who} depends {what}: {cause}. A functional must map each point alone and give the same "
        "number every time: leave out dropout, batch normalisation, spectral normalisation and "
        "whatever looks at several points; LayerNorm normalises the features of each point, and "
        "weight decay keeps weights small"
    )


def _owner(module: torch.nn.Module, buffer: str) -> str:
    path = buffer.rpartition(".")[0]
    return f"{path!r} ({type(module.get_submodule(path)).__name__})" if path else ""


def _same(one: Tensor, other: Tensor, scale: Tensor) -> bool:
    close = (one - other).abs() <= _ROUNDING * (one.abs() + scale)
    return bool((close | (one == other) | (one.isnan() & other.isnan())).all())


def _culprit(
    module: torch.nn.Module, one: Record, other: Record, mine: slice | None, theirs: slice | None
) -> str:
    """First layer whose outputs differ though its inputs do not, or nothing."""
    if len(one) != len(other):
        return ""
    for (name, x, y), (_, u, v) in zip(one, other, strict=True):
        pairs = []
        for a, b in ((x, u), (y, v)):
            if mine is not None and theirs is not None:
                if a.ndim < 2 or b.ndim < 2 or a.shape[-2] != 2 * _PIECE:
                    break
                a, b = a[..., mine, :], b[..., theirs, :]
            if a.shape != b.shape:
                break
            scale = torch.full_like(a, float(a.abs().max())) if a.numel() else a
            pairs.append(_same(a, b, scale))
        if pairs == [True, False]:
            layer = module.get_submodule(name)
            return f"{name!r} ({type(layer).__name__})" if name else type(layer).__name__
    return ""


@contextlib.contextmanager
def _recording(module: torch.nn.Module, record: Record) -> Iterator[None]:
    """Inputs and outputs of all layers, in the order in which they are done."""
    open_calls: list[tuple[Any, Tensor | None]] = []

    def before(layer: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        tensors = [x for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
        # A layer may change its input in place.
        open_calls.append((layer, tensors[0].clone() if tensors else None))

    def after(layer: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        while open_calls:
            owner, given = open_calls.pop()
            if owner is layer:
                break
        else:
            return
        output = output[0] if isinstance(output, tuple) and output else output
        if given is not None and isinstance(output, Tensor) and output.is_floating_point():
            record.append((names[id(layer)], given, output.clone()))

    names = {id(layer): name for name, layer in module.named_modules()}
    handles = []
    for layer in module.modules():
        handles += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def undisturbed(module: torch.nn.Module) -> Iterator[Callable[[], list[str]]]:
    """Leave modes, buffers and random numbers of a module as they are.

    Parameters
    ----------
    module : torch.nn.Module
        It may be called in any mode inside.

    Yields
    ------
    callable
        Names of the buffers that have changed so far.

    Examples
    --------
    >>> layer = torch.nn.BatchNorm1d(1)
    >>> with undisturbed(layer) as changed:
    ...     _ = layer(torch.ones(3, 1))
    ...     print(changed())
    ['running_mean', 'running_var', 'num_batches_tracked']
    >>> layer.running_mean
    tensor([0.])
    """
    modes = [(layer, layer.training) for layer in module.modules()]
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}

    def changed() -> list[str]:
        now = dict(module.named_buffers())
        return [
            name
            for name, before in buffers.items()
            if name in now and not torch.equal(now[name].detach(), before)
        ]

    device = device_of(module)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield changed
        finally:
            for layer, mode in modes:
                layer.training = mode
            now = dict(module.named_buffers())
            for name in changed():
                now[name].data.copy_(buffers[name])


def _is_plain(part: Any) -> bool:
    return not isinstance(part, Tensor)


def _density_pieces(functional: XCFunctional, spins: int) -> dict[str, ValGrad | SpinParam]:
    device = device_of(functional)
    return {name: sample_points(spins, _PIECE, seed, device) for seed, name in enumerate("ABC")}


def _joined(pieces: list[Any]) -> Any:
    if not isinstance(pieces[0], ValGrad):
        return SpinParam(u=_joined([p.u for p in pieces]), d=_joined([p.d for p in pieces]))
    fields = ("value", "grad", "kin")
    return ValGrad(**{name: torch.cat([getattr(p, name) for p in pieces], -1) for name in fields})


def _total(piece: Any) -> Tensor:
    return piece.value if isinstance(piece, ValGrad) else piece.u.value + piece.d.value
