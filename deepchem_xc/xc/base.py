"""The contract of an exchange-correlation functional, and the algebra of functionals.

A functional is a :class:`torch.nn.Module` and a ``deepchem.utils.dft_utils.BaseXC``. It has

``family``
    1 (LDA: the density), 2 (GGA: and its gradient) or 4 (meta-GGA: and the kinetic energy
    density). A solver provides what the family says and nothing else.
``name``
    what :func:`deepchem_xc.xc.get_xc` or a user calls it.
``energy_density(variables)``
    the one method to write: energy per volume, (..., nr), in Hartree / bohr^3, from the screened
    quantities of a :class:`~deepchem_xc.xc.variables.DensityVariables`, in differentiable torch
    operations. It branches on ``variables.polarized`` where one and two channels differ, and gives
    the same energy for a closed shell in either form. It works point by point, since many points
    are handed over in pieces.

``get_edensityxc(densinfo)`` is what a solver calls; it screens the density, calls
``energy_density``, and switches the result off in vacuum. A functional that wants the raw density
overrides ``get_edensityxc`` instead and then answers for zero, negative and vacuum densities
itself. Either kind can be added and scaled; sums and multiples are switched off as a whole.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ._deepchem import BaseXC, SpinParam, ValGrad
from .factor import TrainedFactor, factor_of
from .networks import check_weights
from .variables import DensityVariables, split_points

__all__ = ["ScaledXC", "SumXC", "XCFunctional"]


class XCFunctional(BaseXC, torch.nn.Module):
    """Base class of all functionals.

    Attributes
    ----------
    family : int
        1 for LDA, 2 for GGA, 4 for meta-GGA.
    name : str
        Name of the functional.
    density_threshold : float
        Densities below it are screened (see :mod:`deepchem_xc.xc.variables`), in 1 / bohr^3.

    Examples
    --------
    A functional of one's own needs its family and an energy density:

    >>> import torch
    >>> from deepchem_xc.xc import ValGrad, XCFunctional, get_xc
    >>> class Wigner(XCFunctional):
    ...     name, family = "Wigner", 1
    ...     def energy_density(self, variables):
    ...         return -0.44 * variables.density / (variables.rs + 7.8)
    >>> density = ValGrad(value=torch.tensor([0.1, 0.2], dtype=torch.float64))
    >>> (get_xc("lda_x") + 0.5 * Wigner()).get_edensityxc(density)
    tensor([-0.0367, -0.0914], dtype=torch.float64)
    """

    # plain attributes that hide DeepChem's abstract property; every functional sets its own
    family: int = 0
    name: str = ""
    # numpy's numbers leave products to __rmul__, and its arrays are refused there.
    __array_ufunc__ = None
    density_threshold: float = 1e-15

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume before the vacuum switch.

        Parameters
        ----------
        variables : DensityVariables
            Screened densities and what derives from them.

        Returns
        -------
        Tensor
            (..., nr), Hartree / bohr^3.
        """
        if self._sees_raw_density():
            return self.get_edensityxc(variables.densinfo)
        raise NotImplementedError(
            f"{type(self).__name__} must implement energy_density(variables); see deepchem_xc.xc"
        )

    def get_edensityxc(self, densinfo: ValGrad | SpinParam) -> Tensor:
        """Exchange-correlation energy per volume.

        Parameters
        ----------
        densinfo : ValGrad or SpinParam[ValGrad]
            Total density (one channel), or up and down densities (two channels): ``value``
            (..., nr) in 1 / bohr^3, for GGAs and meta-GGAs ``grad`` (..., 3, nr), for meta-GGAs
            ``kin`` (..., nr) = sum_i f_i |grad psi_i|^2 / 2.

        Returns
        -------
        Tensor
            (..., nr), Hartree / bohr^3; zero in vacuum.

        Raises
        ------
        ValueError
            If ``densinfo`` lacks what the family needs or is not of double precision, if a weight
            is NaN, infinite or not of double precision, or ``energy_density`` gives anything but
            one number a point.
        """
        if self.family not in (1, 2, 4):
            raise ValueError(
                f"{type(self).__name__} has family = {self.family!r}: set it to 1 (LDA), 2 (GGA) "
                "or 4 (meta-GGA), which says what of the density it needs"
            )
        check_weights(self)
        energies = []
        for piece in split_points(densinfo):
            variables = DensityVariables(piece, self.density_threshold)
            energies.append(variables.switch_off_in_vacuum(self._energy_at(variables)))
        return energies[0] if len(energies) == 1 else torch.cat(energies, dim=-1)

    def _sees_raw_density(self) -> bool:
        return type(self).get_edensityxc is not XCFunctional.get_edensityxc

    def _energy_at(self, variables: DensityVariables) -> Tensor:
        """One number a point; the terms of a sum share one set of variables."""
        energy = self.energy_density(variables)
        if not isinstance(energy, Tensor) or energy.shape != variables.shape:
            got = tuple(energy.shape) if isinstance(energy, Tensor) else repr(energy)
            raise ValueError(
                f"energy_density of {self.name or type(self).__name__} gives {got} instead of one "
                f"number a point, a tensor of shape {tuple(variables.shape)}; of a network's "
                "output (..., nr, 1) take .squeeze(-1)"
            )
        return energy

    def get_vxc(self, densinfo: ValGrad | SpinParam) -> ValGrad | SpinParam:
        """Derivatives of the energy density (DeepChem's method, which differentiates it).

        Parameters
        ----------
        densinfo : ValGrad or SpinParam[ValGrad]
            As for :meth:`get_edensityxc`.

        Returns
        -------
        ValGrad or SpinParam[ValGrad]
            By the density, Hartree; by its gradient, Hartree bohr; for meta-GGAs by the kinetic
            energy density, without unit, and by the Laplacian, which is zero.

        Raises
        ------
        ValueError
            As :meth:`get_edensityxc`.
        """
        variables = DensityVariables(densinfo)
        _ = variables.gradients if self.family > 1 else None  # complain if they are missing
        _ = variables.raw_tau if self.family == 4 else None
        channels = [densinfo] if isinstance(densinfo, ValGrad) else [densinfo.u, densinfo.d]
        # Each channel has its own tensors: of one that is both, derivatives would be summed.
        filled = [ValGrad(*(_alias(x) for x in (c.value, c.grad, c.lapl, c.kin))) for c in channels]
        if self.family == 4:
            # DeepChem's method needs a Laplacian, though no functional here does.
            for channel in filled:
                channel.lapl = torch.zeros_like(channel.value)
        return super().get_vxc(SpinParam(*filled) if variables.polarized else filled[0])

    def forward(self, densinfo: ValGrad | SpinParam) -> Tensor:
        """Same as :meth:`get_edensityxc`."""
        return self.get_edensityxc(densinfo)

    def save(
        self, path: str | os.PathLike[str], classes: Iterable[type[torch.nn.Module]] = ()
    ) -> None:
        """Write the functional and its weights to one file.

        Parameters
        ----------
        path : str or path-like
            Such as ``"mine.xc.safetensors"``.
        classes : iterable of types
            Classes of one's own among its functionals and networks.

        Raises
        ------
        ValueError
            For what could not be read, see :func:`~deepchem_xc.xc.save_functional`.

        Examples
        --------
        >>> import tempfile
        >>> from deepchem_xc.xc import PBE, get_xc
        >>> path = tempfile.mkdtemp() + "/pbe.xc.safetensors"
        >>> PBE(kappa=0.9, trainable=True).save(path)
        >>> get_xc(path).terms[0].kappa.item()
        0.9
        """
        from .saving import save_functional  # knows all functionals

        save_functional(self, path, classes)

    def getparamnames(self, methodname: str, prefix: str = "") -> list[str]:
        """Names of the tensors that a method depends on (part of DeepChem's ``BaseXC``)."""
        if methodname not in ("get_edensityxc", "get_vxc", "forward"):
            raise KeyError(
                f"unknown method {methodname!r}; valid: get_edensityxc, get_vxc, forward"
            )
        return [prefix + name for name, _ in self.named_parameters()]

    def extra_repr(self) -> str:
        """Name, for printing (part of torch's ``Module``)."""
        return self.name

    def load_state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        """As torch's; a parameter in several places stays one, with ``assign=True`` too."""
        from .sharing import share, shared_names

        shared = shared_names(self)
        found = super().load_state_dict(*arguments, **keywords)
        share(self, shared)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> XCFunctional:
        for name, buffer in self._buffers.items():
            if buffer is not None and not buffer.is_leaf:
                raise ValueError(
                    f"{name!r} of {self.name or type(self).__name__} was computed from other "
                    "tensors that require gradients, and a copy would not follow them: compute it "
                    "in energy_density, or copy a functional made with its .detach()"
                )
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    # algebra ----------------------------------------------------------------------------------

    def __add__(self, other: Any) -> XCFunctional:
        if isinstance(other, BaseXC):
            return SumXC(self, other)
        if isinstance(other, (int, float)) and other == 0:  # the start value of sum()
            return self
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> XCFunctional:
        return self + ScaledXC(other, -1.0) if isinstance(other, BaseXC) else NotImplemented

    def __rsub__(self, other: Any) -> XCFunctional:
        return -self + other if isinstance(other, BaseXC) else NotImplemented

    def __mul__(self, factor: Any) -> XCFunctional:
        if not isinstance(factor, Tensor) and getattr(factor, "ndim", None) == 0:
            factor = factor.item()  # of numpy
        if isinstance(factor, (Real, Tensor)):
            return ScaledXC(self, factor)
        return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> XCFunctional:
        if isinstance(divisor, (Real, Tensor)):
            if not isinstance(divisor, Tensor) and divisor == 0:
                raise ValueError(f"a functional is divided by a number other than 0, not {divisor}")
            return ScaledXC(self, 1.0 / divisor)
        return NotImplemented

    def __neg__(self) -> XCFunctional:
        return self * -1.0

    def __pos__(self) -> XCFunctional:
        return self


class SumXC(XCFunctional):
    """Sum of functionals, which share the quantities derived from the density.

    Parameters
    ----------
    *terms : BaseXC
        At least one; sums among them are taken apart.
    name : str, optional
        Default: the names of the terms joined by ``+``.

    Raises
    ------
    ValueError
        Without a term.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> (get_xc("gga_x_pbe") + get_xc("lda_c_pw")).name
    'gga_x_pbe+lda_c_pw'
    """

    def __init__(self, *terms: BaseXC, name: str | None = None) -> None:
        from .plain import as_functional  # knows sums

        super().__init__()
        if not terms:
            raise ValueError("a sum of functionals needs at least one term")
        flat: list[XCFunctional] = []
        for term in map(as_functional, terms):
            flat.extend(term.terms if type(term) is SumXC else [term])
        self.terms: Any = torch.nn.ModuleList(flat)
        self.family = max(term.family for term in flat)
        self.density_threshold = min(term.density_threshold for term in flat)
        self.name = name if name is not None else "+".join(term.name for term in flat)

    def options(self) -> dict[str, Any]:
        """What the sum is made of; see :meth:`from_options`."""
        return {"terms": list(self.terms), "name": self.name}

    @classmethod
    def from_options(cls, **options: Any) -> SumXC:
        """The sum again, from what :meth:`options` returned."""
        return cls(*options.pop("terms"), **options)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        first, *others = self.terms
        energy: Tensor = first._energy_at(variables)
        for term in others:
            energy = energy + term._energy_at(variables)
        return energy


class ScaledXC(XCFunctional):
    """A functional times a number.

    Parameters
    ----------
    functional : BaseXC
        What is scaled.
    factor : number, Tensor or TrainedFactor
        0-d. A :class:`torch.nn.Parameter` becomes a parameter of the result, and so do those that
        a tensor such as ``1 - t`` was computed from: it is computed again at every use. A tensor
        that requires no gradient is a constant. Or what
        :func:`~deepchem_xc.xc.factor.factor_of` made of a tensor.

    Attributes
    ----------
    factor : float or Tensor
        At present.

    Raises
    ------
    ValueError
        For a factor that is not finite or not one number.

    Notes
    -----
    Sums, products, quotients, powers and common functions of parameters, numbers and vectors, are
    followed. The graph of another function is kept as it is: good for one gradient, and refused by
    :class:`~deepchem_xc.models.XCModel`.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import get_xc
    >>> t = torch.nn.Parameter(torch.tensor(0.75, dtype=torch.float64))
    >>> mixture = t * get_xc("gga_x_pbe") + (1 - t) * get_xc("lda_x")
    >>> [name for name, _ in mixture.named_parameters()]
    ['terms.0.factor']
    >>> _ = t.data.fill_(0.25)
    >>> mixture.terms[1].factor.item()
    0.75
    """

    def __init__(self, functional: BaseXC, factor: Any) -> None:
        from .plain import as_functional  # knows multiples

        super().__init__()
        if isinstance(factor, Tensor) and factor.ndim != 0:
            raise ValueError(
                f"a functional is scaled by a number or a 0-d tensor, not by a tensor of shape "
                f"{tuple(factor.shape)}"
            )
        if isinstance(factor, (Real, Tensor)) and not _is_finite(factor):
            raise ValueError(f"a functional is scaled by a finite real number, not by {factor}")
        if type(factor) is not int and isinstance(factor, Real):
            factor = float(factor)  # of numpy, a fraction
        self.functional = as_functional(functional)
        self.factor: Any
        self.trained_factor: Any = None
        if isinstance(factor, TrainedFactor):
            self.trained_factor = factor
        elif not isinstance(factor, Tensor) or isinstance(factor, torch.nn.Parameter):
            self.factor = factor
        else:
            self.trained_factor = None if factor.is_leaf else factor_of(factor)
            if self.trained_factor is None:
                # Not the storage of t.detach(), which an optimiser changes.
                fixed = factor.detach().to(torch.float64, copy=True)
                constant = factor if factor.requires_grad else fixed
                self.register_buffer("factor", constant)
        self.family = self.functional.family
        self.density_threshold = self.functional.density_threshold
        trained = isinstance(factor, (Tensor, TrainedFactor))
        label = "factor" if trained else f"{factor:g}"
        summed = isinstance(self.functional, SumXC)
        inner = f"({self.functional.name})" if summed else self.functional.name
        self.name = f"{label}*{inner}"

    def __getattr__(self, name: str) -> Any:
        # Only for what is no plain attribute; torch keeps parameters, buffers and modules so.
        trained = self.__dict__.get("_modules", {}).get("trained_factor")
        return trained() if name == "factor" and trained is not None else super().__getattr__(name)

    def options(self) -> dict[str, Any]:
        """Arguments of the constructor, for files."""
        trained = self.trained_factor
        return {
            "functional": self.functional,
            "factor": self.factor if trained is None else trained,
        }

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        scaled: Tensor = self.factor * self.functional._energy_at(variables)
        return scaled


def _is_finite(factor: Any) -> bool:
    if isinstance(factor, Tensor):
        return not factor.is_complex() and bool(torch.isfinite(factor))
    return math.isfinite(factor)


def _alias(tensor: Tensor | None) -> Tensor | None:
    """Another tensor of the same numbers, in the same graph."""
    return None if tensor is None else tensor.view_as(tensor)
