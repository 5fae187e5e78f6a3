"""Checks that autograd's derivatives of a functional agree with its values.

A ``.detach()``, a number taken out of a tensor, or a part in single precision leaves energies
right, but makes potentials and parameter gradients those of another functional. Inside a
user-written ``backward`` it leaves potentials right too; but the self-consistent density's share
of gradients needs second derivatives, and these are then wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepchem_xc._modes import outside_inference_and_autocast

from ._deepchem import SpinParam, ValGrad
from .base import XCFunctional
from .sampling import device_of, energy_scale, sample_points
from .substitution import called_with

__all__ = ["check_derivatives", "check_memory"]

_POINTS = 16
#: Relative step of the finite differences.
_STEP = 1e-4
#: Smallest error of a derivative that counts, relative to the size of the energy density. Exact
#: derivatives are off by 1e-9, those of single precision by more than 1e-4.
_TOLERANCE = 1e-5
#: Allowed scatter of differences at the smallest step, relative to the same. Sums of large terms,
#: as in BEEF's exchange, reach 4e-5; single precision more than 1e-2.
_NOISE = 1e-4
#: Change of a parameter that is 0 which counts as a relative change of 1.
_UNIT = 0.1


@outside_inference_and_autocast()
def check_derivatives(functional: XCFunctional) -> None:
    """Raise ``ValueError`` if autograd's derivatives disagree with differences of the energy.

    Parameters
    ----------
    functional : XCFunctional
        It is evaluated at a few points and left as it is.

    Raises
    ------
    ValueError
        If derivatives of energies or potentials with respect to density or parameters differ from
        finite differences by more than the error of these. Points where the energy is not smooth,
        or not finite, do not count.

    Notes
    -----
    Second derivatives that raise an error are not a fault: users meet the error when they need
    them. Parameters of TorchScript cannot be replaced, so their derivatives are not tested.

    Examples
    --------
    >>> from deepchem_xc.xc import XCFunctional
    >>> class Mine(XCFunctional):
    ...     name, family = "mine", 1
    ...     def energy_density(self, variables):
    ...         return -variables.density * variables.inverse_rs.detach()
    >>> check_derivatives(Mine())
    Traceback (most recent call last):
    ...
    ValueError: the functional mine has other derivatives with respect to the density than ...
    """
    for spins in (1, 2):
        points = sample_points(spins, _POINTS, seed=3, device=device_of(functional))
        try:
            with torch.no_grad():
                energy = functional.get_edensityxc(points)
        except Exception:
            continue  # users of this number of channels will see the error
        size = energy.abs() + energy_scale(points)
        _check_density(functional, points, size)
        _check_kernel(functional, points, size)
        _check_parameters(functional, points, size)


def check_memory(functional: XCFunctional) -> None:
    """Raise ``ValueError`` if an energy depends on the parameters of an earlier evaluation.

    Parameters
    ----------
    functional : XCFunctional
        Copies of it are evaluated.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> check_memory(PBE(trainable=True))
    """
    parameters = dict(functional.named_parameters())
    if not parameters:
        return
    others = {name: _moved(p.detach(), _directions(p), 0.1) for name, p in parameters.items()}
    points = sample_points(1, 4, device=device_of(functional))
    try:
        used, fresh = copy.deepcopy(functional), copy.deepcopy(functional)
        with torch.no_grad():
            called_with(used, others, points)
            found, expected = used.get_edensityxc(points), fresh.get_edensityxc(points)
    except Exception:
        return  # a functional that cannot be copied or evaluated fails where it matters
    size = expected.abs() + energy_scale(points)
    if bool(((found - expected).abs() > 1e-9 * size).any()):
        raise ValueError(
            f"the functional {functional.name} keeps something that it computed with other values "
            "of its parameters: training it would change nothing, or too little. In "
            "energy_density, compute everything that depends on parameters at every call, without "
            "caches or attributes that hold results"
        )


def _check_density(functional: XCFunctional, points: Any, size: Tensor) -> None:
    def energies(step: Tensor | float) -> Tensor:
        return functional.get_edensityxc(_moved_points(points, step))

    _compare(functional, energies, _potential(energies, size), size, "with respect to the density")


def _check_kernel(functional: XCFunctional, points: Any, size: Tensor) -> None:
    def potential(other: Tensor | float, keep: bool = False) -> Tensor:
        def energies(step: Tensor) -> Tensor:
            return functional.get_edensityxc(_moved_points(points, step, other))

        return _potential(energies, size, keep)

    zero = torch.zeros_like(size, requires_grad=True)
    try:
        with torch.enable_grad():
            first = potential(zero, keep=True)
            second = _derivative(first.sum(), zero)
    except Exception:
        return  # users of second derivatives will see the error
    size = size + first.detach().abs()
    _compare(functional, potential, second, size, "with respect to the density", of_potential=True)


def _check_parameters(functional: XCFunctional, points: Any, size: Tensor) -> None:
    scripted = {
        id(p)
        for part in functional.modules()
        if isinstance(part, torch.jit.ScriptModule)
        for p in part.parameters()
    }
    trained = {
        name: p.detach()
        for name, p in functional.named_parameters()
        if p.requires_grad and id(p) not in scripted
    }
    if not trained:
        return
    # At the present values a network may be at a kink, at zero weights for example: move away.
    trained = {name: _moved(p, _directions(p, 1), 1e-2) for name, p in trained.items()}

    def energies(names: list[str], step: Any, points: Any = points) -> Tensor:
        moved = {name: _moved(trained[name], _directions(trained[name]), step) for name in names}
        found: Tensor = called_with(functional, {**trained, **moved}, points)
        return found

    def check_energy(names: list[str], what: str) -> None:
        def mean(step: Any) -> Tensor:
            return (energies(names, step) / size).mean()[None]

        _compare(functional, mean, _potential(mean, zero)[None], zero[None] + 1.0, what)

    def check_potential(names: list[str], what: str) -> None:
        def potential(other: Any, keep: bool = False) -> Tensor:
            def moved(step: Tensor) -> Tensor:
                return energies(names, other, _moved_points(points, step))

            return _potential(moved, size, keep)

        other = zero.clone().requires_grad_()
        try:
            with torch.enable_grad():
                first = potential(other, keep=True)
                # Point by point, because there may be a kink at a few of them.
                second = torch.stack([_derivative(value, other) for value in first])
        except Exception:
            return  # users of second derivatives will see the error
        sizes = size + first.detach().abs()
        _compare(functional, potential, second, sizes, what, of_potential=True)

    zero = torch.zeros((), dtype=size.dtype, device=size.device)
    for check in (check_energy, check_potential):
        try:
            check(list(trained), "with respect to parameters")
        except ValueError:
            for name in trained:  # find out which one it is
                check([name], f"with respect to its parameter {name!r}")
            raise


def _moved_points(points: Any, *steps: Tensor | float) -> Any:
    """Densities after relative steps, each in its own direction."""
    spins = [points] if isinstance(points, ValGrad) else [points.u, points.d]
    channels = []
    for i, channel in enumerate(spins):
        fields: dict[str, Tensor] = {}
        for j, name in enumerate(("value", "grad", "kin")):
            field: Tensor = getattr(channel, name)
            change: Tensor | float = 0.0
            for k, step in enumerate(steps):
                # One factor for each point: the components of a gradient change together.
                seed = 10 * (k + 1) + 3 * i + j
                change = change + step * _random(channel.value.shape, seed, field.device)
            fields[name] = field * (1.0 + change)
        channels.append(ValGrad(**fields))
    return channels[0] if len(channels) == 1 else SpinParam(*channels)


def _potential(energies: Callable[[Tensor], Tensor], like: Tensor, keep: bool = False) -> Tensor:
    """Derivative of each energy with respect to its point's step, at 0; in a graph if `keep`."""
    zero = torch.zeros_like(like, requires_grad=True)
    with torch.enable_grad():
        return _derivative(energies(zero).sum(), zero, keep)


def _derivative(value: Tensor, by: Tensor, keep: bool = False) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(
        value, by, retain_graph=True, create_graph=keep, materialize_grads=True
    )
    return found


def _compare(
    functional: XCFunctional,
    values: Callable[[float], Tensor],
    derivative: Tensor,
    size: Tensor,
    what: str,
    of_potential: bool = False,
) -> None:
    """Refuse derivatives of energies or potentials that disagree with finite differences."""
    with torch.no_grad():
        long, half, short = (
            (values(h) - values(-h)) / (2.0 * h) for h in (_STEP, _STEP / 2, 1e-2 * _STEP)
        )
        best = (4.0 * half - long) / 3.0
        # Where the energy is smooth, two step sizes give the error of the differences.
        scale = size + derivative.abs()
        error = 10.0 * (half - long).abs() + _TOLERANCE * scale
        # A wide network of ReLUs has kinks everywhere; between two of them there is no error.
        right = (short - derivative).abs() <= _TOLERANCE * scale
        noisy = ((short - half).abs() > error + _NOISE * scale) & ~right
        wrong = ((best - derivative).abs() > error) & ~right
        # A few points may sit at a kink or a jump.
        if bool(wrong.any()) and int((wrong & ~noisy).sum()) * 4 > len(wrong):
            raise ValueError(_wrong(functional, what, of_potential))
        if int(noisy.sum()) * 5 > len(noisy):
            scatter = "potentials scatter" if of_potential else "energies scatter"
            raise ValueError(
                f"the functional {functional.name} does not compute in double precision: its "
                f"{scatter} too much for derivatives. Convert networks with .double(), and "
                "use no .float() or float32 tensors in between"
            )


def _wrong(functional: XCFunctional, what: str, of_potential: bool) -> str:
    if of_potential:
        return (
            f"the functional {functional.name} has other second derivatives, of its potential "
            f"{what}, than its potentials show, so that gradients would lack a part of what the "
            "self-consistent density adds: compute what the backward of a torch.autograd.Function "
            "returns in torch operations on ctx.saved_tensors, without .detach(), .data, .item(), "
            "numpy, torch.no_grad() or once_differentiable, or write the energy without one"
        )
    return (
        f"the functional {functional.name} has other derivatives {what} than its "
        "energies show, so that potentials or gradients would be wrong: compute energies "
        "in torch operations on the tensors themselves, in double precision, without "
        ".detach(), .data, .item(), float(...), numpy or torch.no_grad(); a parameter that "
        "should not be trained needs .requires_grad_(False)"
    )


def _moved(value: Tensor, direction: Tensor, step: Any) -> Tensor:
    return value + step * direction * (value.abs() + _UNIT)


def _directions(like: Tensor, seed: int = 0) -> Tensor:
    return _random(like.shape, seed, like.device)


def _random(shape: Any, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2.0 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1.0).to(device)
