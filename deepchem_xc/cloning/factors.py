"""Factors of a parent and of its clone: energies relative to those of the uniform gas.

    F_x = e_x / e_x(Slater),    F_c = e_c / e_c(PW92)

e_x and e_c are energies per volume. A student that scales exchange channel by channel has one F_x
for all densities: that of the total density, without polarisation; any other one has F_x of both
channels together.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.cloning.scaling import HighDensityLimit
from deepchem_xc.xc import SpinParam, SumXC, ValGrad, XCFunctional, refuse_exact_exchange
from deepchem_xc.xc.enhancement import enhancement
from deepchem_xc.xc.ingredients import Ingredients
from deepchem_xc.xc.lda import SLATER, pw92_energy, spin_scaled_mean
from deepchem_xc.xc.variables import DensityVariables

__all__ = ["FactorPoints", "Parts", "Student", "exchange_and_correlation", "total_density"]

# Wigner-Seitz radii (bohr) between which a factor of exchange does not change, and two at which
# that of correlation has vanished.
_ORDINARY = (1.0, 0.1)
_SMALL = (1e-6, 1e-8)
_GRADIENTS = (0.0, 0.5, 1.0, 2.0)
_ALPHA = 0.6
_EQUAL = 1e-9
_VANISHED = 1e-5


@runtime_checkable
class Student(Protocol):
    """What a functional must have to become a clone, as `ConstrainedGGA` and its relatives do."""

    spin_scaling: bool
    base: str

    def exchange_factor(self, variables: DensityVariables) -> Tensor:
        """F_x."""
        ...

    def correlation_factor(self, variables: DensityVariables) -> Tensor:
        """F_c."""
        ...


class Parts(NamedTuple):
    """Exchange and correlation of a functional.

    Attributes
    ----------
    exchange, correlation : XCFunctional
        Their sum is the functional.
    """

    exchange: XCFunctional
    correlation: XCFunctional


def exchange_and_correlation(parent: XCFunctional) -> Parts:
    """Terms of a functional, sorted by how they scale with the density.

    The factor of exchange does not depend on r_s; that of correlation vanishes for small ones (M.
    Levy and J. P. Perdew, Phys. Rev. A 32, 2010 (1985)). Of a term that is both, exchange is the
    limit of small r_s (`HighDensityLimit`), and correlation the rest.

    Parameters
    ----------
    parent : XCFunctional
        A sum of such terms.

    Raises
    ------
    ValueError
        If a term has no such limit, or there is none of one kind; for hybrids.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> parts = exchange_and_correlation(get_xc("PBE"))
    >>> parts.exchange.name, parts.correlation.name
    ('exchange of PBE', 'correlation of PBE')
    >>> exchange_and_correlation(get_xc("Teter93")).exchange.name
    'exchange of Teter93'
    """
    refuse_exact_exchange(
        parent, "no energy density of a student represents: clone one without it, such as 'PBE'."
    )
    terms = list(parent.terms) if isinstance(parent, SumXC) else [parent]
    kinds: dict[str, list[XCFunctional]] = {"exchange": [], "correlation": []}
    for term in terms:
        one, other, small, last = (
            enhancement(term, rs, _GRADIENTS, alpha=_ALPHA) for rs in (*_ORDINARY, *_SMALL)
        )
        if np.allclose(one, other, rtol=_EQUAL, atol=_EQUAL):
            kinds["exchange"].append(term)
        elif float(np.abs(last).max()) < _VANISHED:
            kinds["correlation"].append(term)
        elif np.allclose(small, last, rtol=_VANISHED, atol=_VANISHED):
            limit = HighDensityLimit(term)
            kinds["exchange"].append(limit)
            kinds["correlation"].append(SumXC(term, -limit, name=f"correlation of {term.name}"))
        else:
            raise ValueError(
                f"exchange and correlation of {term.name} cannot be told apart: for small r_s its "
                "factor has no limit. A parent is a sum of both, such as 'gga_x_pbe+gga_c_pbe'."
            )
    for kind, found in kinds.items():
        if not found:
            raise ValueError(
                f"{parent.name} has no {kind}, and a clone has both parts: add one, such as "
                f"{'lda_x' if kind == 'exchange' else 'lda_c_pw'}."
            )
    sums = (found[0] if len(found) == 1 else SumXC(*found) for found in kinds.values())
    return Parts(*sums)


def total_density(densinfo: SpinParam) -> ValGrad:
    """Density, gradient and kinetic energy density of both channels together.

    Examples
    --------
    >>> one = ValGrad(value=torch.ones(2), grad=torch.zeros(3, 2), kin=torch.ones(2))
    >>> total_density(SpinParam(u=one, d=one)).value
    tensor([2., 2.])
    """
    up, down = densinfo.u, densinfo.d
    return ValGrad(value=up.value + down.value, grad=up.grad + down.grad, kin=up.kin + down.kin)


class FactorPoints:
    """Points at which the factors of a student are compared with its parent's.

    What does not depend on the student's weights is computed once.

    Parameters
    ----------
    parent : XCFunctional
        As for `exchange_and_correlation`.
    student : XCFunctional
        It decides at which densities, and relative to what, factors are defined.
    densinfo : SpinParam[ValGrad]
        Up and down densities.

    Attributes
    ----------
    wanted : Tensor
        The parent's F_x and F_c, (2, n).

    Raises
    ------
    ValueError
        If the parent is not a sum of exchange and correlation, or a factor is not finite.

    Examples
    --------
    >>> from deepchem_xc.xc import ConstrainedGGA, get_xc
    >>> from deepchem_xc.xc.sampling import sample_points
    >>> student = ConstrainedGGA()
    >>> points = FactorPoints(get_xc("LDA"), student, sample_points(2))
    >>> (points.factors(student) - points.wanted).abs().max().item()
    0.0000
    """

    def __init__(self, parent: XCFunctional, student: Any, densinfo: SpinParam) -> None:
        parts = exchange_and_correlation(parent)
        both = DensityVariables(densinfo)
        of_exchange = DensityVariables(total_density(densinfo)) if student.spin_scaling else both
        with torch.no_grad():
            slater = SLATER * spin_scaled_mean(
                of_exchange, of_exchange.scaled_density * of_exchange.scaled_inverse_rs
            )
            uniform = both.density * pw92_energy(both, modified=student.base == "pbe")
            exchange = parts.exchange.get_edensityxc(of_exchange.densinfo) / slater
            correlation = parts.correlation.get_edensityxc(both.densinfo) / uniform
            self.wanted = torch.stack([exchange, correlation])
            if not bool(torch.isfinite(self.wanted).all()):
                raise ValueError(
                    f"a factor of {parent.name} is NaN or infinite at a point: remove points with "
                    "densities near zero."
                )
            self._variables = (of_exchange, both)
            self.factors(student)  # fills what the variables keep, outside any graph

    def factors(self, student: Any) -> Tensor:
        """F_x and F_c of the student, (2, n), in the graph of its weights."""
        of_exchange, both = self._variables
        return torch.stack([student.exchange_factor(of_exchange), student.correlation_factor(both)])


def check_student(student: Any, parent: XCFunctional) -> None:
    """Refuse what cannot become a clone of a parent.

    Raises
    ------
    ValueError
        If it has no factors, or lacks the kinetic energy density that the parent sees.

    Examples
    --------
    >>> from deepchem_xc.xc import ConstrainedGGA, get_xc
    >>> check_student(ConstrainedGGA(), get_xc("r2SCAN"))
    Traceback (most recent call last):
    ValueError: r2SCAN sees the kinetic energy density, and ConstrainedGGA does not: take a student
    such as ConstrainedMetaGGA().
    """
    if not isinstance(student, XCFunctional) or not isinstance(student, Student):
        raise ValueError(
            "a student must be 'constrained', 'linear', 'unbounded', 'unconstrained', or a "
            f"functional with factors, such as ConstrainedGGA(), got {student!r}."
        )
    if Ingredients.TAU in parent.ingredients and Ingredients.TAU not in student.ingredients:
        raise ValueError(
            f"{parent.name} sees the kinetic energy density, and {student.name} does not: take a "
            "student such as ConstrainedMetaGGA()."
        )
