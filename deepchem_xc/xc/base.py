"""Functionals as users write and combine them: with sums, multiples and files.

:mod:`deepchem_xc.xc.contract` defines what a functional computes. Functionals that screen their
densities and those that do not can be combined; sums and multiples are switched off in vacuum as a
whole.
"""

from __future__ import annotations

import functools
import math
import operator
import os
from collections.abc import Iterable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ._deepchem import BaseXC
from .contract import PointwiseXC
from .factor import TrainedFactor, factor_of
from .registry import register
from .saving import save_functional
from .variables import DensityVariables

__all__ = ["ScaledXC", "SumXC", "XCFunctional", "as_functional"]


class XCFunctional(PointwiseXC):
    """Base class of all functionals.

    Attributes
    ----------
    ingredients : Ingredients
        Which quantities of the density it needs; ``Ingredients.DENSITY`` alone for an LDA.
    family : int
        The same in DeepChem's numbers: 1 for LDA, 2 for GGA, 4 for meta-GGA. A class sets one of
        the two.
    name : str
        Name of the functional.
    density_threshold : float
        Densities below it are screened (see :mod:`deepchem_xc.xc.variables`), in 1 / bohr^3.

    Examples
    --------
    Your own functional needs its ingredients and an energy density:

    >>> import torch
    >>> from deepchem_xc.xc import Ingredients, ValGrad, XCFunctional, get_xc
    >>> class Wigner(XCFunctional):
    ...     name, ingredients = "Wigner", Ingredients.DENSITY
    ...     def energy_density(self, variables):
    ...         return -0.44 * variables.density / (variables.rs + 7.8)
    >>> density = ValGrad(value=torch.tensor([0.1, 0.2], dtype=torch.float64))
    >>> (get_xc("lda_x") + 0.5 * Wigner()).get_edensityxc(density)
    tensor([-0.0367, -0.0913], dtype=torch.float64)
    """

    # With None, numpy's numbers leave products to __rmul__, which refuses numpy's arrays.
    __array_ufunc__ = None

    def save(
        self, path: str | os.PathLike[str], classes: Iterable[type[torch.nn.Module]] = ()
    ) -> None:
        """Write the functional and its weights to one file.

        Parameters
        ----------
        path : str or path-like
            Such as ``"mine.xc.safetensors"``.
        classes : iterable of types
            Your own classes among its functionals and networks.

        Raises
        ------
        ValueError
            If the file could not be read again, see :func:`~deepchem_xc.xc.save_functional`.

        Examples
        --------
        >>> import tempfile
        >>> from deepchem_xc.xc import PBE, get_xc
        >>> path = tempfile.mkdtemp() + "/pbe.xc.safetensors"
        >>> PBE(kappa=0.9, trainable=True).save(path)
        >>> get_xc(path).terms[0].kappa.item()
        0.9
        """
        save_functional(self, path, classes)

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
            factor = factor.item()  # numpy's number
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


@functools.singledispatch
def as_functional(xc: Any) -> XCFunctional:
    """Functional of this package for any DeepChem functional.

    Parameters
    ----------
    xc : BaseXC
        An :class:`~deepchem_xc.xc.XCFunctional` is returned as it is. DeepChem's sums and
        multiples are taken apart, and their terms become :class:`~deepchem_xc.xc.PlainXC`, see
        :mod:`deepchem_xc.xc.plain`.

    Returns
    -------
    XCFunctional
        With the same parameter objects.

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
    raise TypeError(
        f"a functional must be a deepchem_xc.xc.XCFunctional or DeepChem's BaseXC, not "
        f"{type(xc).__name__}: {xc!r}; get_xc(name) makes one"
    )


@as_functional.register(XCFunctional)
def _itself(xc: XCFunctional) -> XCFunctional:
    return xc


@register(threshold_of_parts=True)
class SumXC(XCFunctional):
    """Sum of functionals that share the quantities derived from the density.

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
        super().__init__()
        if not terms:
            raise ValueError("a sum of functionals needs at least one term")
        flat: list[XCFunctional] = []
        for term in map(as_functional, terms):
            flat.extend(term.terms if type(term) is SumXC else [term])
        self.terms: Any = torch.nn.ModuleList(flat)
        self.ingredients = functools.reduce(operator.or_, (term.ingredients for term in flat))
        self.density_threshold = min(term.density_threshold for term in flat)
        self.name = name if name is not None else "+".join(term.name for term in flat)

    def options(self) -> dict[str, Any]:
        """Terms and name, for files; see :meth:`from_options`."""
        return {"terms": list(self.terms), "name": self.name}

    @classmethod
    def from_options(cls, **options: Any) -> SumXC:
        """Rebuild the sum from what :meth:`options` returned."""
        return cls(*options.pop("terms"), **options)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        first, *others = self.terms
        energy: Tensor = first._energy_at(variables)
        for term in others:
            energy = energy + term._energy_at(variables)
        return energy

    def exchange_shares(self) -> dict[float, Any]:
        """Sums of the terms' fractions of exact exchange, by omega."""
        return summed_shares([(1.0, term) for term in self.terms])


@register(threshold_of_parts=True)
class ScaledXC(XCFunctional):
    """A functional times a number.

    Parameters
    ----------
    functional : BaseXC
        The functional to scale.
    factor : number, Tensor or TrainedFactor
        0-d. A :class:`torch.nn.Parameter` becomes a parameter of the result, and so do those from
        which a tensor such as ``1 - t`` was computed: it is computed again at every use. A tensor
        that requires no gradient is a constant. A ``TrainedFactor`` comes from
        :func:`~deepchem_xc.xc.factor.factor_of`.

    Attributes
    ----------
    factor : float or Tensor
        Its present value.

    Raises
    ------
    ValueError
        For a factor that is not finite or not one number.

    Notes
    -----
    A factor follows its parameters through sums, products, quotients, powers and common functions
    of numbers and vectors. The graph of any other function is kept as it is: it serves for one
    gradient, and :class:`~deepchem_xc.models.XCModel` refuses it.

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
        super().__init__()
        if isinstance(factor, Tensor) and factor.ndim != 0:
            raise ValueError(
                f"a functional is scaled by a number or a 0-d tensor, not by a tensor of shape "
                f"{tuple(factor.shape)}"
            )
        if isinstance(factor, (Real, Tensor)) and not _is_finite(factor):
            raise ValueError(f"a functional is scaled by a finite real number, not by {factor}")
        if type(factor) is not int and isinstance(factor, Real):
            factor = float(factor)  # numpy's number or a fraction
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
                # A copy, because an optimiser changes the storage of t.detach().
                fixed = factor.detach().to(torch.float64, copy=True)
                constant = factor if factor.requires_grad else fixed
                self.register_buffer("factor", constant)
        self.ingredients = self.functional.ingredients
        self.density_threshold = self.functional.density_threshold
        trained = isinstance(factor, (Tensor, TrainedFactor))
        label = "factor" if trained else f"{factor:g}"
        summed = isinstance(self.functional, SumXC)
        inner = f"({self.functional.name})" if summed else self.functional.name
        self.name = f"{label}*{inner}"

    def __getattr__(self, name: str) -> Any:
        # Called only for names that are not plain attributes, as torch's parameters and modules.
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

    def exchange_shares(self) -> dict[float, Any]:
        """The scaled fractions of exact exchange, by omega."""
        return summed_shares([(self.factor, self.functional)])


def summed_shares(parts: Iterable[tuple[Any, PointwiseXC]]) -> dict[float, Any]:
    """Fractions of exact exchange of a sum of functionals, each with its factor, by omega.

    Parameters
    ----------
    parts : iterable of (number or Tensor, XCFunctional)
        Factors and functionals.

    Examples
    --------
    >>> from deepchem_xc.xc import ExactExchange, get_xc
    >>> summed_shares([(0.5, ExactExchange()), (0.25, ExactExchange()), (1.0, get_xc("PBE"))])
    {0.0: 0.75}
    """
    found: dict[float, Any] = {}
    for factor, part in parts:
        for omega, share in part.exchange_shares().items():
            # Keep a zero a number: products with a trained factor would look like a share.
            if not isinstance(share, Tensor) and share == 0.0:
                continue
            found[omega] = found.get(omega, 0.0) + factor * share
    return found


def _is_finite(factor: Any) -> bool:
    if isinstance(factor, Tensor):
        return not factor.is_complex() and bool(torch.isfinite(factor))
    return math.isfinite(factor)
