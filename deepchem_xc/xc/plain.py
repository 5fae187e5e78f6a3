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
from .base import ScaledXC, SumXC, XCFunctional
from .variables import DensityVariables

__all__ = ["PlainXC", "as_functional"]


def as_functional(xc: Any) -> XCFunctional:
    """Functional of this package for any functional of DeepChem's.

    Parameters
    ----------
    xc : BaseXC
        An :class:`~deepchem_xc.xc.XCFunctional` is returned as it is. DeepChem's sums and
        multiples are taken apart, and what is left becomes a :class:`PlainXC`.

    Returns
    -------
    XCFunctional
        With the same parameters, as the same objects.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> from deepchem_xc.xc import BaseXC, get_xc
    >>> class Dirac(BaseXC):
    ...     family = 1
    ...     def get_edensityxc(self, densinfo):
    ...         return -0.7386 * densinfo.value ** (4 / 3)
    >>> as_functional(0.5 * Dirac() + get_xc("lda_c_pw")).name
    '0.5*Dirac+lda_c_pw'
    """
    if isinstance(xc, XCFunctional):
        return xc
    if type(xc) is AddBaseXC:
        return SumXC(as_functional(xc.a), as_functional(xc.b))
    if type(xc) is MulBaseXC:
        factor = xc.b.reshape(()) if isinstance(xc.b, Tensor) and xc.b.ndim else xc.b
        return ScaledXC(as_functional(xc.a), factor)
    if isinstance(xc, BaseXC):
        return PlainXC(xc)
    raise TypeError(
        f"a functional must be a deepchem_xc.xc.XCFunctional or DeepChem's BaseXC, not "
        f"{type(xc).__name__}: {xc!r}; get_xc(name) makes one"
    )


class PlainXC(XCFunctional):
    """A functional that is only DeepChem's ``BaseXC``, screened as the others are.

    Parameters
    ----------
    xc : BaseXC
        Has ``family`` and ``get_edensityxc(densinfo)``. Its parameters are those of a
        :class:`torch.nn.Module` or, if it is none, the tensors that its ``getparamnames`` lists.

    Raises
    ------
    ValueError
        If its family is not 1, 2 or 4; at every use, if one of the listed tensors was replaced.

    Notes
    -----
    Derivatives are taken of the energy density; its own ``get_vxc`` is not used. It cannot be
    written to a file: an ``XCFunctional`` can.

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
        if xc.family not in (1, 2, 4):
            raise ValueError(
                f"{self.name} has family = {xc.family!r}: set it to 1 (LDA), 2 (GGA) or 4 "
                "(meta-GGA), which says what of the density it needs"
            )
        self.family = int(xc.family)
        # The object's name of each tensor that is registered here, and what it was then.
        self._listed: dict[str, str] = {}
        self._before: dict[str, Tensor] = {}
        for listed in _listed_tensors(xc):
            tensor, own = get_attr(xc, listed), "xc_" + listed.replace(".", "_")
            self._listed[own], self._before[listed] = listed, tensor
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(own, tensor)
            else:
                self.register_buffer(own, tensor)

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
                    "it, which has the tensor that it was: write new values into the tensor, "
                    f"{listed}.data.copy_(...), or make the functional again, with get_xc(...)"
                )

    def _screened(self, variables: DensityVariables) -> ValGrad | SpinParam:
        """The density as DeepChem's functionals take it, with no gradient where it is vacuum."""
        polarized, weight = variables.polarized, variables.channel_weight
        values = variables.spin_densities.unbind(0) if polarized else (variables.density,)
        count = len(values)
        weights = [None] * count if weight is None else (weight if polarized else weight[None])
        gradients = variables.gradients if self.family > 1 else (None,) * count
        taus: tuple[Tensor | None, ...] = (None,) * count
        if self.family == 4:
            taus = variables.raw_tau.unbind(0) if polarized else (variables.raw_tau,)
        channels = []
        for n, gradient, tau, w in zip(values, gradients, taus, weights, strict=True):
            if w is not None:
                gradient = None if gradient is None else gradient * w.unsqueeze(-2)
                tau = None if tau is None else tau * w
            channels.append(ValGrad(value=n, grad=gradient, kin=tau))
        return SpinParam(u=channels[0], d=channels[1]) if polarized else channels[0]

    @contextlib.contextmanager
    def _own_tensors(self) -> Iterator[None]:
        """The object with the tensors that are registered here."""
        self.check_tensors()
        try:
            for own, listed in self._listed.items():
                _assign(self.xc, listed, getattr(self, own))
            yield
        finally:
            for listed, tensor in self._before.items():
                _assign(self.xc, listed, tensor)


def _listed_tensors(xc: BaseXC) -> list[str]:
    """Names of the tensors of an object that is no module, as `getparamnames` gives them."""
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
