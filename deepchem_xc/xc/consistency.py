"""Whether autograd's derivatives of a functional are those of its values.

A ``.detach()``, a number taken out of a tensor, or a part in single precision leaves energies as
they are; potentials and gradients of parameters are then those of another functional.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .base import XCFunctional
from .sampling import device_of, energy_scale, sample_points
from .substitution import called_with

__all__ = ["check_derivatives", "check_memory"]

_POINTS = 16
#: Relative steps of differences of energies.
_STEP = 1e-4
#: Smallest error of a derivative that counts, relative to the size of the energy density. Exact
#: derivatives are off by 1e-9, those of single precision by more than 1e-4.
_TOLERANCE = 1e-5
#: Where a parameter is 0, the difference that counts as a change of relative size 1.
_UNIT = 0.1


def check_derivatives(functional: XCFunctional) -> None:
    """Raise ``ValueError`` if derivatives by density or parameters are not those of the energy.

    Parameters
    ----------
    functional : XCFunctional
        It is evaluated at a few points and left as it is.

    Raises
    ------
    ValueError
        If they differ from differences of energies by more than these can be wrong. Points where
        the energy is not smooth, or not finite, do not count.

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
    ValueError: the functional mine has other derivatives by the density than its energies ...
    """
    for spins in (1, 2):
        points = sample_points(spins, _POINTS, seed=3, device=device_of(functional))
        try:
            with torch.no_grad():
                energy = functional.get_edensityxc(points)
        except Exception:
            continue  # whoever has such channels meets the error
        size = energy.abs() + energy_scale(points)
        _check_density(functional, points, size)
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
        return  # what cannot be copied or evaluated says so where it matters
    size = expected.abs() + energy_scale(points)
    if bool(((found - expected).abs() > 1e-9 * size).any()):
        raise ValueError(
            f"the functional {functional.name} keeps something that it computed with other values "
            "of its parameters: training it would change nothing, or too little. Compute what "
            "depends on parameters in energy_density every time, without caches or attributes "
            "that hold results"
        )


def _check_density(functional: XCFunctional, points: Any, size: Tensor) -> None:
    channels = [points] if isinstance(points, ValGrad) else [points.u, points.d]
    fields = [x for c in channels for x in (c.value, c.grad, c.kin)]
    # One factor for each field and point: the three components of a gradient change together.
    factors = [_random(size.shape, 10 + i, size.device) for i in range(len(fields))]

    def energies(step: Tensor | float, given: list[Tensor] = fields) -> Tensor:
        moved = [x * (1.0 + step * f) for x, f in zip(given, factors, strict=True)]
        parts = [ValGrad(*moved[i : i + 2], kin=moved[i + 2]) for i in range(0, len(moved), 3)]
        return functional.get_edensityxc(parts[0] if len(parts) == 1 else SpinParam(*parts))

    zero = torch.zeros_like(size, requires_grad=True)
    with torch.enable_grad():
        energy = energies(zero)
        derivative = torch.zeros_like(size)
        if energy.requires_grad:
            (derivative,) = torch.autograd.grad(energy.sum(), zero)
    _compare(functional, energies, derivative, size, "the density")


def _check_parameters(functional: XCFunctional, points: Any, size: Tensor) -> None:
    trained = {name: p.detach() for name, p in functional.named_parameters() if p.requires_grad}
    if not trained:
        return
    # Not the present values: a network may be at a kink there, at zero weights for example.
    trained = {name: _moved(p, _directions(p, 1), 1e-2) for name, p in trained.items()}
    scale = 1.0 / size

    def derivative_of(names: list[str]) -> tuple[Callable[[float], Tensor], Tensor]:
        directions = {name: _directions(trained[name]) for name in names}

        def at(step: Any) -> Tensor:
            moved = {name: _moved(trained[name], directions[name], step) for name in names}
            found = called_with(functional, {**trained, **moved}, points)
            return (scale * found).mean()[None]

        with torch.enable_grad():
            zero = torch.zeros((), dtype=torch.float64, device=size.device, requires_grad=True)
            mean = at(zero)
            derivative = torch.zeros_like(zero)
            if mean.requires_grad:
                (derivative,) = torch.autograd.grad(mean.sum(), zero)
        return at, derivative[None]

    one = torch.ones(1, dtype=torch.float64, device=size.device)
    try:
        at, derivative = derivative_of(list(trained))
        _compare(functional, at, derivative, one, "parameters")
    except ValueError:
        for name in trained:  # which one it is
            at, derivative = derivative_of([name])
            _compare(functional, at, derivative, one, f"its parameter {name!r}")
        raise


def _compare(
    functional: XCFunctional,
    energies: Callable[[float], Tensor],
    derivative: Tensor,
    size: Tensor,
    what: str,
) -> None:
    with torch.no_grad():
        long, half, short = (
            (energies(h) - energies(-h)) / (2.0 * h) for h in (_STEP, _STEP / 2, 1e-2 * _STEP)
        )
        best = (4.0 * half - long) / 3.0
        # Differences know their error where the energy is smooth.
        error = 10.0 * (half - long).abs() + _TOLERANCE * (size + derivative.abs())
        noisy = (short - half).abs() > error
        wrong = (best - derivative).abs() > error
        # At few points there may be a kink or a jump.
        if bool(wrong.any()) and int((wrong & ~noisy).sum()) * 4 > len(wrong):
            raise ValueError(
                f"the functional {functional.name} has other derivatives by {what} than its "
                "energies show, so that potentials or gradients would be wrong: compute energies "
                "in torch operations on the tensors themselves, in double precision, without "
                ".detach(), .data, .item(), float(...), numpy or torch.no_grad(); a parameter that "
                "is not to be trained needs .requires_grad_(False)"
            )
        if int(noisy.sum()) * 5 > len(noisy):
            raise ValueError(
                f"the functional {functional.name} does not compute in double precision: its "
                "energies scatter too much for derivatives. Convert networks with .double(), and "
                "use no .float() or float32 tensors in between"
            )


def _moved(value: Tensor, direction: Tensor, step: Any) -> Tensor:
    return value + step * direction * (value.abs() + _UNIT)


def _directions(like: Tensor, seed: int = 0) -> Tensor:
    return _random(like.shape, seed, like.device)


def _random(shape: Any, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2.0 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1.0).to(device)
