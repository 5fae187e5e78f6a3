"""Functionals that are only DeepChem's ``BaseXC``: ``family`` and ``get_edensityxc``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ._deepchem import (
    AddBaseXC,
    BaseXC,
    MulBaseXC,
    SpinParam,
    ValGrad,
    del_attr,
    get_attr,
    set_attr,
)
from .base import ScaledXC, SumXC, XCFunctional, as_functional
from .ingredients import Ingredients, ingredients_of
from .variables import DensityVariables

__all__ = ["PlainXC"]


@as_functional.register(BaseXC)
def _of_deepchem(xc: BaseXC) -> XCFunctional:
    if type(xc) is AddBaseXC:
        return SumXC(xc.a, xc.b)
    if type(xc) is MulBaseXC:
        factor = xc.b.reshape(()) if isinstance(xc.b, Tensor) and xc.b.ndim else xc.b
        return ScaledXC(xc.a, factor)
    return PlainXC(xc)


class PlainXC(XCFunctional):
    """A functional that is only DeepChem's ``BaseXC``, screened like all others.

    Parameters
    ----------
    xc : BaseXC
        Has ``family`` and ``get_edensityxc(densinfo)``. Its parameters are those of the
        :class:`torch.nn.Module` or, if it is not one, the tensors that ``getparamnames`` lists.

    Raises
    ------
    ValueError
        If its family is not 1, 2 or 4; at every use, if one of the listed tensors was replaced.

    Notes
    -----
    Its energy density is differentiated; its own ``get_vxc`` is not used. It cannot be written to a
    file: an ``XCFunctional`` can.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import BaseXC, PlainXC, ValGrad
    >>> class Dirac(BaseXC):
    ...     family = 1
    ...     def get_edensityxc(self, densinfo):
    ...         return -0.7386 * densinfo.value ** (4 / 3)
    >>> density = ValGrad(value=torch.tensor([0.0, 1.0], dtype=torch.float64))
    >>> PlainXC(Dirac()).get_edensityxc(density)
    tensor([-0.0000, -0.7386], dtype=torch.float64)
    """

    def __init__(self, xc: BaseXC) -> None:
        super().__init__()
        self.xc: Any = xc
        label = getattr(xc, "name", None)
        self.name = label if isinstance(label, str) and label else type(xc).__name__
        self.ingredients = ingredients_of(xc.family, self.name)
        # The object's name of each tensor registered here, and the tensor at that time.
        self._listed: dict[str, str] = {}
        self._before: dict[str, Tensor] = {}
        for listed in _listed_tensors(xc):
            tensor, own = get_attr(xc, listed), "xc_" + listed.replace(".", "_")
            self._listed[own], self._before[listed] = listed, tensor
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(own, tensor)
            else:
                self.register_buffer(own, tensor)

    def why_no_file(self) -> str | None:
        """Reason: its class need not reveal the arguments of its constructor."""
        return (
            f"{type(self.xc).__name__} is only DeepChem's BaseXC, which a file cannot "
            "express: derive the class from deepchem_xc.xc.XCFunctional instead, with name, family "
            "and energy_density(variables), and name it, functional.save(path, classes=[...])"
        )

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        with self._own_tensors():
            try:
                energy = self.xc.get_edensityxc(self._screened(variables))
            except AttributeError as error:
                if not variables.polarized or "SpinParam" not in str(error):
                    raise
                raise ValueError(
                    f"get_edensityxc of {self.name} does not take two spin channels ({error}): "
                    "where densinfo is a SpinParam, use densinfo.u and densinfo.d, or compute "
                    "without spin polarisation"
                ) from error
        wanted = torch.is_grad_enabled() and variables.density.requires_grad
        if wanted and isinstance(energy, Tensor) and not energy.requires_grad:
            raise ValueError(
                f"get_edensityxc of {self.name} gives a tensor without a graph, so that there is "
                "no potential: compute it from densinfo.value in torch operations, without "
                ".detach(), .item() or numpy"
            )
        found: Tensor = energy
        return found

    def check_tensors(self) -> None:
        """Raise ``ValueError`` if the object has other tensors than those registered here.

        Examples
        --------
        >>> import torch
        >>> from deepchem_xc.xc import BaseXC, PlainXC
        >>> class Own(BaseXC):
        ...     family = 1
        ...     a = torch.tensor(0.7, dtype=torch.float64)
        ...     def getparamnames(self, methodname, prefix=""):
        ...         return [prefix + "a"]
        >>> own = Own()
        >>> functional = PlainXC(own)
        >>> functional.check_tensors()
        >>> own.a = torch.tensor(1.4, dtype=torch.float64)
        >>> functional.check_tensors()
        Traceback (most recent call last):
        ...
        ValueError: the 'a' of Own was replaced after this functional was made of it, which ...
        """
        for listed, tensor in self._before.items():
            if get_attr(self.xc, listed) is not tensor:
                raise ValueError(
                    f"the {listed!r} of {self.name} was replaced after this functional was made of "
                    "it, which still has the old tensor: write new values into the tensor, "
                    f"{listed}.data.copy_(...), or make the functional again, with get_xc(...)"
                )

    def _screened(self, variables: DensityVariables) -> ValGrad | SpinParam:
        """Density in the form DeepChem's functionals take, with zero gradient in vacuum."""
        polarized, weight = variables.polarized, variables.channel_weight
        values = variables.spin_densities.unbind(0) if polarized else (variables.density,)
        count = len(values)
        weights = [None] * count if weight is None else (weight if polarized else weight[None])
        needed = self.ingredients
        gradients = variables.gradients if Ingredients.GRADIENT in needed else (None,) * count
        taus: tuple[Tensor | None, ...] = (None,) * count
        if Ingredients.TAU in needed:
            taus = variables.raw_tau.unbind(0) if polarized else (variables.raw_tau,)
        channels = []
        for n, gradient, tau, w in zip(values, gradients, taus, weights):
            if w is not None:
                gradient = None if gradient is None else gradient * w.unsqueeze(-2)
                tau = None if tau is None else tau * w
            channels.append(ValGrad(value=n, grad=gradient, kin=tau))
        return SpinParam(u=channels[0], d=channels[1]) if polarized else channels[0]

    @contextlib.contextmanager
    def _own_tensors(self) -> Iterator[None]:
        """Let the object hold the tensors registered here."""
        self.check_tensors()
        try:
            for own, listed in self._listed.items():
                _assign(self.xc, listed, getattr(self, own))
            yield
        finally:
            for listed, tensor in self._before.items():
                _assign(self.xc, listed, tensor)


def _listed_tensors(xc: BaseXC) -> list[str]:
    """Names that `getparamnames` lists for an object that is not a module."""
    if isinstance(xc, torch.nn.Module):
        return []
    try:
        names = xc.getparamnames("get_edensityxc")
    except (KeyError, NotImplementedError):
        return []
    return list(dict.fromkeys(names or []))


def _assign(xc: BaseXC, name: str, tensor: Tensor) -> None:
    try:
        set_attr(xc, name, tensor)
    except TypeError:  # a module's parameter
        del_attr(xc, name)
        set_attr(xc, name, tensor)
