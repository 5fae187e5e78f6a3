"""Building, checking and evaluating the networks inside functionals.

A functional computes in float64 and calls its network with inputs (..., nr, ninput) at arbitrary
points, in pieces: a network must map each point alone, as linear layers and activations do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .pointwise import check_network_points, undisturbed

__all__ = ["ExpM1Activation", "checked_network", "evaluate_network", "multilayer_perceptron"]

_STARTS = ("zero", "random")


class ExpM1Activation(torch.nn.Module):
    """exp(x) - 1, as DeepChem's activation of this name.

    Examples
    --------
    >>> ExpM1Activation()(torch.zeros(2))
    tensor([0., 0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation."""
        return torch.expm1(x)


def multilayer_perceptron(
    ninput: int,
    width: int = 16,
    depth: int = 3,
    start: str = "random",
    seed: int | None = None,
    noutput: int = 1,
) -> torch.nn.Sequential:
    """Network of ``depth`` layers with GELU and linear outputs, in float64.

    Parameters
    ----------
    ninput : int
        Number of inputs.
    width, depth : int
        Size and number of the hidden layers.
    start : str
        "random": torch's initialisation. "zero": the same with a last layer of zeros, so that the
        output is zero.
    seed : int, optional
        Seed of the initial weights; torch's global generator is then neither used nor changed.
    noutput : int, optional
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        From (..., ninput) to (..., noutput).

    Raises
    ------
    ValueError
        For sizes that are not positive whole numbers, a seed that is not a whole number, and an
        unknown ``start``.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.networks import multilayer_perceptron
    >>> network = multilayer_perceptron(2, start="zero", seed=0)
    >>> network(torch.ones(1, 2, dtype=torch.float64))
    tensor([[0.]], dtype=torch.float64, grad_fn=<AddmmBackward0>)
    """
    if start not in _STARTS:
        raise ValueError(f"start must be one of {', '.join(_STARTS)}, not {start!r}")
    for what, number in (("width", width), ("depth", depth), ("seed", seed)):
        if not isinstance(number, int) and not (what == "seed" and number is None):
            raise ValueError(f"{what} must be a whole number, not {number!r}")
    if min(ninput, width, depth) < 1:
        raise ValueError(
            f"a network needs at least one input, one layer and a width of one, not {ninput} "
            f"inputs, depth={depth} and width={width}"
        )
    layers: list[torch.nn.Module] = []
    with _seeded(seed):
        for size in (ninput, *[width] * (depth - 1)):
            layers += [torch.nn.Linear(size, width, dtype=torch.float64), torch.nn.GELU()]
        last = torch.nn.Linear(width, noutput, dtype=torch.float64)
    if start == "zero":
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(*layers, last)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def checked_network(network: torch.nn.Module, inputs: Sequence[str]) -> torch.nn.Module:
    """A user's network, converted to float64 in place and tested.

    Parameters
    ----------
    network : torch.nn.Module
        From (..., len(inputs)) to (..., 1).
    inputs : sequence of str
        Names of the inputs, for messages.

    Returns
    -------
    torch.nn.Module
        The same object, its parameters in float64.

    Raises
    ------
    TypeError
        If it is not a module.
    ValueError
        If it does not take this number of inputs or give one output, or its weights contain NaN or
        infinity; if the output at a point depends on other points, on the mode (``train()`` or
        ``eval()``) or on chance, as with dropout and batch normalisation; if it is compiled.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.networks import checked_network
    >>> checked_network(torch.nn.Linear(2, 1), ("n", "xi")).weight.dtype
    torch.float64
    """
    if not isinstance(network, torch.nn.Module):
        raise TypeError(
            f"the network must be a torch.nn.Module, not {type(network).__name__}: {network!r}"
        )
    refuse_compiled(network)
    network.double()
    misfit = (
        f"the network does not fit this functional: it must map {len(inputs)} inputs "
        f"({', '.join(inputs)}) to one output"
    )
    anchor = next(network.parameters(), None)
    device = anchor.device if anchor is not None else None
    points = torch.full((2, len(inputs)), 0.5, dtype=torch.float64, device=device)
    try:
        if _is_lazy(network):
            with torch.no_grad():
                network(points)  # the inputs determine sizes and initial weights
        with torch.no_grad(), undisturbed(network):
            output = network(points)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{misfit} ({error})") from None
    if not isinstance(output, Tensor) or output.shape != (2, 1):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"{misfit}, but for two points, (2, {len(inputs)}), it gives {got} instead of (2, 1)"
        )
    check_weights(network)
    if output.dtype != torch.float64:
        raise ValueError(
            f"the network gives {output.dtype} for inputs of torch.float64: functionals compute in "
            "double precision, so remove .float() and similar conversions"
        )
    check_network_points(network, len(inputs))
    return network


def evaluate_network(network: torch.nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Outputs of a network at every point.

    Parameters
    ----------
    network : torch.nn.Module
        From (..., len(inputs)) to (..., noutput).
    inputs : sequence of Tensor
        Each (..., nr).

    Returns
    -------
    Tensor
        (noutput, ..., nr).

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.networks import evaluate_network, multilayer_perceptron
    >>> x = torch.ones(4, 7, dtype=torch.float64)
    >>> evaluate_network(multilayer_perceptron(2), [x, x]).shape
    torch.Size([1, 4, 7])
    """
    points = torch.stack(tuple(inputs), dim=-1)
    # One leading axis, because layers such as PReLU treat the second axis as features.
    output: Tensor = network(points.flatten(0, -2))
    return output.T.reshape(output.shape[-1], *points.shape[:-1])


def _is_lazy(module: torch.nn.Module) -> bool:
    tensors = (*module.parameters(), *module.buffers())
    return any(map(torch.nn.parameter.is_lazy, tensors))


def check_weights(module: torch.nn.Module) -> None:
    """Raise ``ValueError`` if a parameter or buffer is not finite or not in double precision."""
    refuse_lazy(module)
    for name, tensor in module.state_dict().items():
        where = f"the weights {name!r} ({type(module).__name__})"
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{where} contain NaN or infinity; a training step may have been too large: go "
                "back to the last good weights, such as a checkpoint's (model.restore()), and try "
                "a smaller learning rate"
            )
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            raise ValueError(
                f"{where} are {tensor.dtype}; functionals compute in torch.float64: convert with "
                "functional.double()"
            )


def refuse_lazy(module: torch.nn.Module) -> None:
    """Raise ``ValueError`` for layers that have no weights yet, such as torch's LazyLinear."""
    if _is_lazy(module):
        raise ValueError(
            f"{type(module).__name__} has layers without weights, such as LazyLinear, which get "
            "them at their first use: call the network once, with a tensor of its inputs"
        )


def refuse_compiled(module: torch.nn.Module) -> None:
    """Raise ``ValueError`` if a module or a part of it is compiled by torch.compile.

    Parameters
    ----------
    module : torch.nn.Module
        A functional or network.

    Examples
    --------
    >>> compiled = torch.compile(torch.nn.Linear(4, 1), backend="eager")
    >>> layers = torch.nn.Linear(2, 4), compiled
    >>> refuse_compiled(torch.nn.Sequential(*layers))
    Traceback (most recent call last):
    ...
    ValueError: the layer '1' of Sequential is compiled by torch.compile, whose results cannot ...
    """
    for name, part in module.named_modules():
        wrapped = type(part).__module__.startswith("torch._dynamo")
        # Its functions and methods, those of the object and of its classes.
        own = (value for at in (part, *type(part).__mro__) for value in vars(at).values())
        inside = any(hasattr(value, "_torchdynamo_orig_callable") for value in own)
        if wrapped or inside or getattr(part, "_compiled_call_impl", None) is not None:
            who = f"the layer {name!r} of {type(module).__name__}" if name else "the module"
            raise ValueError(
                f"{who} is compiled by torch.compile, whose results cannot be differentiated "
                "twice, as the response of the density needs: give the module itself, without "
                "torch.compile(...) and .compile() around it or its methods"
            )
