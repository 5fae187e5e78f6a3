"""Checks that a network or functional maps each point alone and always in the same way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .sampling import device_of

__all__ = ["PIECE", "check_network_points", "check_points", "undisturbed"]

#: Number of points in a piece; pieces are evaluated in different combinations.
PIECE = 8
# Relative rounding error allowed between evaluations of the same points in other combinations.
_ROUNDING = 1e-9

Record = list[tuple[str, Tensor, Tensor]]


def check_network_points(network: torch.nn.Module, ninput: int) -> None:
    """Raise ``ValueError`` unless a network maps each point alone and always in the same way.

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
        name: torch.rand((PIECE, ninput), generator=generator, dtype=torch.float64).to(device)
        for name in "ABC"
    }

    def evaluate(names: Sequence[str]) -> Tensor:
        output: Tensor = network(torch.cat([pieces[name] for name in names]))
        return output.squeeze(-1)

    scales = {name: torch.ones(PIECE, dtype=torch.float64, device=device) for name in pieces}
    check_points(network, evaluate, scales, "the network")


def check_points(
    module: torch.nn.Module,
    evaluate: Callable[[Sequence[str]], Tensor],
    scales: dict[str, Tensor],
    who: str,
) -> None:
    """Raise ``ValueError`` unless the result at a point depends on this point alone.

    Pieces of points are evaluated in several combinations and orders, and in both modes.

    Parameters
    ----------
    module : torch.nn.Module
        The module that is evaluated; it is left as it is.
    evaluate : callable
        From names of pieces, each of `PIECE` points, to one number a point.
    scales : dict of str to Tensor
        Typical size of these numbers for pieces "A", "B" and "C", which sets the rounding error.
    who : str
        The module, for the message.

    Examples
    --------
    >>> pieces = {name: torch.arange(8.0).double() for name in "ABC"}
    >>> def mean(names):
    ...     return torch.cat([pieces[name] for name in names]).cumsum(0)
    >>> check_points(torch.nn.Identity(), mean, pieces, "the sum")
    Traceback (most recent call last):
    ...
    ValueError: the sum depends on the order of the points: something in it does. ...
    """

    def run(names: str, training: bool = True) -> tuple[Tensor, Record]:
        module.train(training)
        record: Record = []
        with torch.no_grad(), _recording(module, record):
            return evaluate(names), record

    def scale(names: str) -> Tensor:
        return torch.cat([scales[name] for name in names])

    with undisturbed(module) as changed:
        whole = run("AB")
        first, second = slice(0, PIECE), slice(PIECE, 2 * PIECE)
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
        "number every time: remove dropout, batch normalisation, spectral normalisation and "
        "anything else that combines several points; LayerNorm normalises the features of each "
        "point, and weight decay keeps weights small"
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
    """First layer whose outputs differ although its inputs do not; "" if there is none."""
    if len(one) != len(other):
        return ""
    for (name, x, y), (_, u, v) in zip(one, other):
        pairs = []
        for a, b in ((x, u), (y, v)):
            if mine is not None and theirs is not None:
                if a.ndim < 2 or b.ndim < 2 or a.shape[-2] != 2 * PIECE:
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
    """Record inputs and outputs of all layers, in the order in which they finish."""
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
        if isinstance(layer, torch.jit.ScriptModule):
            continue  # it takes no hooks; the enclosing layer is named instead
        handles += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def undisturbed(module: torch.nn.Module) -> Iterator[Callable[[], list[str]]]:
    """Restore modes and buffers of a module, and torch's random state, on leaving.

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
