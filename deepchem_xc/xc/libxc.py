"""Any other LDA, GGA or meta-GGA of libxc, through the library that PySCF ships.

libxc computes on the CPU, in float64, and gives the energy, first and second derivatives, all of
which autograd sees; a third differentiation raises an error. Functionals in torch have none of
these limits: prefer them where they exist.

libxc applies its own screening, a step to zero below a density of 1e-10 to 1e-15 / bohr^3 that
differs from functional to functional, in addition to this package's.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .base import XCFunctional
from .variables import DensityVariables

__all__ = ["LibXC", "libxc_identifiers"]

_FAMILIES = {"LDA": 1, "GGA": 2, "MGGA": 4}
# xc.h of libxc: bits of the flags, and the kind "kinetic energy"
_HAVE_EXC, _HAVE_FXC, _THREE_DIMENSIONAL = 1 << 0, 1 << 2, 1 << 7
_KINETIC = 3


@lru_cache(maxsize=1)
def _library() -> ModuleType:
    # imported when first needed: PySCF takes a while, and the functionals in torch do without
    from pyscf.dft import libxc

    return libxc


@lru_cache(maxsize=1)
def libxc_identifiers() -> dict[str, int]:
    """Identifiers of all functionals of the bundled libxc, in lower case, and their numbers."""
    known = _library().available_libxc_functionals()
    return {name.lower(): int(number) for name, number in known.items()}


class LibXC(XCFunctional):
    """One functional of libxc.

    Parameters
    ----------
    identifier : str
        As in libxc's list, such as "mgga_x_scan"; upper and lower case are the same.

    Raises
    ------
    ValueError
        For an unknown identifier, and for functionals that are not a function of density,
        gradient and kinetic energy density in three dimensions: hybrids, nonlocal correlation,
        those that need the Laplacian, potentials without an energy, kinetic-energy functionals.

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
        kind = _library().xc_type(self.number)
        reason = _why_not(self.number, kind)
        if reason:
            raise ValueError(f"the libxc functional {identifier!r} cannot be used here: {reason}")
        self.family = _FAMILIES[kind]

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), differentiable twice."""
        density = variables.density
        if density.device.type != "cpu":
            raise RuntimeError(
                f"{self.name} is evaluated by libxc, which runs on the CPU only, but the density "
                f"is on {density.device}; use the CPU, or a functional written in torch"
            )
        rows = _independent_variables(variables, self.family)
        packed = torch.stack([row.reshape(-1) for row in rows])  # (nvariables, npoints)
        arrays = _pyscf_arrays(variables, self.family)
        energy = _Energy.apply(packed, arrays, self.number)
        return energy.reshape(density.shape)


def _why_not(number: int, kind: str) -> str | None:
    """Reason why a functional is refused, or None."""
    library = _library()
    functional = library._get_xc(number, 0)
    interface = library._itrf
    for function in (interface.xc_func_info_get_flags, interface.xc_func_info_get_kind):
        function.argtypes, function.restype = (ctypes.c_void_p,), ctypes.c_int
    info = interface.xc_func_get_info(functional.xc_objs[0])
    flags = interface.xc_func_info_get_flags(info)
    if interface.xc_func_info_get_kind(info) == _KINETIC:
        return "it is a kinetic-energy functional, not exchange or correlation"
    if functional.is_nlc:
        return "it needs nonlocal (VV10) correlation, which is not a function of the local density"
    if library.is_hybrid_xc(number):
        return "it is a hybrid: it needs exact exchange, which this package does not compute"
    if functional.needs_laplacian:
        return "it needs the Laplacian of the density, which the solvers do not provide"
    if kind not in _FAMILIES:
        return f"its family {kind!r} is none of {', '.join(_FAMILIES)}"
    if not flags & _HAVE_EXC:
        return "it is a potential without an energy"
    if not flags & _HAVE_FXC:
        return "libxc has no second derivatives of it"
    if not flags & _THREE_DIMENSIONAL:
        return "it is meant for one- or two-dimensional systems"
    return None


def _independent_variables(variables: DensityVariables, family: int) -> list[Tensor]:
    """What libxc differentiates with respect to, in the order of PySCF's ``eval_xc1``."""
    if variables.polarized:
        rows = list(variables.spin_densities.unbind(0))
        if family > 1:
            up, down = variables.spin_sigma.unbind(0)
            rows += [up, variables.sigma_up_down, down]
        if family == 4:
            rows += list(variables.tau.unbind(0))
        return rows
    rows = [variables.density]
    if family > 1:
        rows.append(variables.sigma)
    if family == 4:
        rows.append(variables.tau)
    return rows


def _pyscf_arrays(variables: DensityVariables, family: int) -> np.ndarray:
    """Density, gradient and kinetic energy density as PySCF takes them, (nspin, nrow, npoints)."""
    with torch.no_grad():
        polarized = variables.polarized
        densities = variables.spin_densities if polarized else variables.density[None]
        rows = [densities[:, None]]  # (nspin, 1, ..., nr)
        if family > 1:
            gradients = torch.stack([g.movedim(-2, 0) for g in variables.gradients])
            if polarized and variables.channel_weight is not None:
                gradients = gradients * variables.channel_weight[:, None]
            rows.append(gradients)
        if family == 4:
            rows.append(variables.tau[:, None] if polarized else variables.tau[None, None])
        return torch.cat([row.flatten(2) for row in rows], dim=1).numpy()


def _evaluate(arrays: np.ndarray, number: int, order: int) -> Tensor:
    """Energy per particle, then its derivatives per volume up to ``order``, (nout, npoints)."""
    spin = arrays.shape[0] - 1
    if arrays.shape[1] == 1:
        arrays = arrays[:, 0]
    rho = arrays if spin else arrays[0]
    return torch.from_numpy(_library().eval_xc1(number, rho, spin, deriv=order))


class _Energy(torch.autograd.Function):
    """Energy per volume (npoints) of the independent variables (nvariables, npoints)."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, arrays: np.ndarray, number: int) -> Tensor:
        out = _evaluate(arrays, number, order=1)
        ctx.save_for_backward(packed)
        ctx.call = (arrays, number, out[1:])
        return out[0] * torch.from_numpy(arrays[:, 0].sum(0))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (packed,) = ctx.saved_tensors
        return gradients[0] * _FirstDerivative.apply(packed, *ctx.call), None, None


class _FirstDerivative(torch.autograd.Function):
    """First derivatives (nvariables, npoints), computed with the energy already."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, arrays: np.ndarray, number: int, first: Tensor) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.call = (arrays, number)
        return first.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (packed,) = ctx.saved_tensors
        hessian = _SecondDerivative.apply(packed, *ctx.call)
        return torch.einsum("ijr,jr->ir", hessian, gradients[0]), None, None, None


class _SecondDerivative(torch.autograd.Function):
    """Second derivatives (nvariables, nvariables, npoints)."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, arrays: np.ndarray, number: int) -> Tensor:
        nvariables = packed.shape[0]
        upper = _evaluate(arrays, number, order=2)[1 + nvariables :]
        hessian = torch.empty((nvariables, *packed.shape), dtype=packed.dtype)
        i, j = np.triu_indices(nvariables)
        hessian[i, j] = upper
        hessian[j, i] = upper
        return hessian

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        raise NotImplementedError(
            "functionals of libxc can be differentiated twice, and this is the third time; use a "
            "functional written in torch (deepchem_xc.xc.get_xc names them)"
        )
