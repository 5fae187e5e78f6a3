"""Any other LDA, GGA or meta-GGA of libxc, through the library that PySCF ships.

libxc computes on the CPU, in float64, and gives the energy and its first and second derivatives,
which autograd uses; a third differentiation raises an error. Functionals in torch have none of
these limits: prefer them where they exist.

libxc applies its own screening, a step to zero below a density of 1e-10 to 1e-15 / bohr^3 that
differs from functional to functional, in addition to this package's. In an empty spin channel
beside a full one, the potential of a GGA or meta-GGA is that of the uniform gas: its derivative
with respect to the density is the limit at zero gradient, and those with respect to gradient and
kinetic energy density are zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .base import XCFunctional
from .libxc_library import (
    FAMILIES,
    evaluate,
    exact_exchange,
    library,
    libxc_identifiers,
    lifted,
    treatment,
    uniform_tau,
    why_not,
)
from .registry import register, register_sum
from .variables import DensityVariables

__all__ = ["LibXC", "libxc_identifiers"]

# Least density of a channel relative to the other; libxc's threshold is 2e-16.
_LEAST_CHANNEL = 1e-15


@register()
class LibXC(XCFunctional):
    """One functional of libxc.

    Parameters
    ----------
    identifier : str
        As in libxc's list, such as "mgga_x_scan"; not case-sensitive.

    Raises
    ------
    ValueError
        For an unknown identifier, and for functionals that are not a function of density,
        gradient and kinetic energy density in three dimensions: nonlocal correlation, those that
        need the Laplacian, potentials without an energy, kinetic-energy functionals; for hybrids
        whose exact exchange is not that of 1/r or erf(omega r)/r; and for the few whose derivatives
        are not finite, or not those of the energy.

    Notes
    -----
    The energy is differentiable twice by autograd. The third differentiation raises
    ``NotImplementedError``, evaluation on another device than the CPU ``RuntimeError``.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import LibXC, ValGrad
    >>> density = ValGrad(value=torch.ones(1, dtype=torch.float64))
    >>> LibXC("lda_c_pz").get_edensityxc(density)
    tensor([-0.0706], dtype=torch.float64)
    """

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self.name = self.identifier = identifier.lower()
        if self.name not in libxc_identifiers():
            raise ValueError(
                f"libxc has no functional {identifier!r}; "
                "deepchem_xc.xc.libxc.libxc_identifiers() lists those it has"
            )
        self.number = libxc_identifiers()[self.name]
        reason = why_not(self.number)
        if reason:
            raise ValueError(f"the libxc functional {identifier!r} cannot be used here: {reason}")
        self.family = FAMILIES[library().xc_type(self.number)]

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3; differentiable twice."""
        density = variables.density
        if density.device.type != "cpu":
            raise RuntimeError(
                f"{self.name} is evaluated by libxc, which runs on the CPU only, but the density "
                f"is on {density.device}; use the CPU, or a functional written in torch"
            )
        needs = treatment(self.number)
        lift = needs is not None and needs.lift
        rows = _independent_variables(variables, self.family, lift)
        packed = torch.stack([row.reshape(-1) for row in rows])  # (nvariables, npoints)
        full = variables.gradient_weight if variables.polarized and self.family > 1 else None
        weight = None if full is None else full.detach().reshape(2, -1)
        call = _Call(self.number, self.family, variables.polarized, lift, weight)
        energy = _Energy.apply(packed, call)
        return energy.reshape(density.shape)

    def exchange_shares(self) -> dict[float, Any]:
        """Fractions of exact exchange, by omega: libxc's, see :func:`exchange_shares`."""
        return dict(exact_exchange(self.number))


def _independent_variables(variables: DensityVariables, family: int, lift: bool) -> list[Tensor]:
    """libxc's independent variables, in the order of PySCF's ``eval_xc1``."""
    if not variables.polarized:
        rows = [variables.density]
        if family > 1:
            sigma = variables.sigma
            rows.append(lifted(rows[0][None], sigma[None])[0] if lift else sigma)
        return [*rows, variables.tau] if family == 4 else rows
    densities = variables.spin_densities
    # Closer to full polarisation, libxc gives no derivatives with respect to it.
    least = _LEAST_CHANNEL * densities.detach().flip(0)
    empty = densities.detach() < least
    densities = torch.where(empty, least + (densities - densities.detach()), densities)
    rows = list(densities.unbind(0))
    if family > 1:
        weight = variables.gradient_weight
        sigma, up_down = variables.spin_sigma, variables.sigma_up_down
        if weight is not None:
            sigma, up_down = sigma * weight.square(), up_down * weight.prod(0)
        sigmas = torch.stack((sigma[0], up_down, sigma[1]))
        rows += list(lifted(densities, sigmas) if lift else sigmas)
    return rows + list(variables.tau.unbind(0)) if family == 4 else rows


register_sum("TPSS", "mgga_x_tpss", "mgga_c_tpss")
register_sum("SCAN", "mgga_x_scan", "mgga_c_scan")


class _Call(NamedTuple):
    """A call of libxc, with the weights (2, npoints) of channels that are empty somewhere."""

    number: int
    family: int
    polarized: bool
    lift: bool
    weight: Tensor | None

    def __call__(self, packed: Tensor, order: int) -> Tensor:
        """As :func:`~deepchem_xc.xc.libxc_library.evaluate`, with limits for empty channels."""
        rows = packed.detach().numpy()
        call = self.family, int(self.polarized), order
        out = torch.from_numpy(evaluate(self.number, rows, *call))
        if self.weight is None:
            return out
        (points,) = torch.nonzero((self.weight < 1.0).any(0), as_tuple=True)
        uniform = np.zeros((len(rows), len(points)))
        uniform[:2] = rows[:2, points.numpy()]
        if self.lift:
            uniform[2:5] = lifted(uniform[:2], uniform[2:5])
        if self.family == 4:
            uniform[5:] = uniform_tau(uniform[:2])
        limit = torch.from_numpy(evaluate(self.number, uniform, *call))
        weight = self.weight[:, points]
        for i, derivative in enumerate(_derivatives_by_channel(len(rows), order)):
            share = torch.ones_like(weight[0])
            for channel in {0, 1}.intersection(derivative):
                share = share * weight[channel]
            # An empty channel has neither gradient nor kinetic energy density.
            rest = limit[1 + i] if max(derivative) < 2 else 0.0
            out[1 + i, points] = share * out[1 + i, points] + (1.0 - share) * rest
        return out


def _derivatives_by_channel(nvariables: int, order: int) -> list[tuple[int, ...]]:
    """Variables with respect to which each row of derivatives is taken, in row order."""
    first: list[tuple[int, ...]] = [(i,) for i in range(nvariables)]
    if order == 1:
        return first
    return first + list(zip(*(index.tolist() for index in np.triu_indices(nvariables))))


class _Energy(torch.autograd.Function):
    """Energy per volume (npoints) from the independent variables (nvariables, npoints)."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, call: _Call) -> Tensor:
        out = call(packed, order=1)
        ctx.save_for_backward(packed)
        ctx.call = (call, out[1:])
        return out[0] * packed[: 1 + call.polarized].sum(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (packed,) = ctx.saved_tensors
        return gradients[0] * _FirstDerivative.apply(packed, *ctx.call), None


class _FirstDerivative(torch.autograd.Function):
    """First derivatives (nvariables, npoints), already computed with the energy."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, call: _Call, first: Tensor) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.call = call
        return first.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (packed,) = ctx.saved_tensors
        hessian = _SecondDerivative.apply(packed, ctx.call)
        return torch.einsum("ijr,jr->ir", hessian, gradients[0]), None, None


class _SecondDerivative(torch.autograd.Function):
    """Second derivatives (nvariables, nvariables, npoints)."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, call: _Call) -> Tensor:
        nvariables = packed.shape[0]
        upper = call(packed, order=2)[1 + nvariables :]
        hessian = torch.empty((nvariables, *packed.shape), dtype=packed.dtype)
        i, j = np.triu_indices(nvariables)
        hessian[i, j] = upper
        hessian[j, i] = upper
        return hessian

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        raise NotImplementedError(
            "functionals of libxc can be differentiated twice, and this is the third time; use a "
            "functional written in torch (deepchem_xc.xc.get_xc names them)"
        )
