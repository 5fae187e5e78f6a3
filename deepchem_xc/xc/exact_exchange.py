r"""Exact exchange that a functional declares: which fraction of it, and of which range.

A hybrid is a functional of the density plus a share of exact exchange, which solvers that have
orbitals add:

.. math:: -\frac{a}{2} \sum_{\sigma ij} \int \psi_{i\sigma}(r) \psi_{j\sigma}(r)
    \frac{w(|r - r'|)}{|r - r'|} \psi_{j\sigma}(r') \psi_{i\sigma}(r') \, dr \, dr',

with w = 1, or erf(omega r) for the long range; the short range is the difference of both. The
fraction a may be a parameter. `exchange_shares` reads what a functional and its parts declare.

References
----------
J. Heyd, G. E. Scuseria, M. Ernzerhof, J. Chem. Phys. 118, 8207 (2003).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import XCFunctional
from .contract import PointwiseXC
from .ingredients import Ingredients
from .registry import register
from .variables import DensityVariables

__all__ = ["ExactExchange", "exchange_shares", "refuse_exact_exchange"]

_RANGES = ("all", "short", "long")


@register("exact_exchange")
class ExactExchange(XCFunctional):
    """Exact exchange, as a term of hybrids; its energy density is zero, solvers add it.

    Parameters
    ----------
    omega : float, optional
        Inverse length that separates short and long range, 1/bohr; 0 by default.
    part : str, optional
        "all" (default), "short" or "long".

    Raises
    ------
    ValueError
        For another part, or one that does not go with omega.

    Examples
    --------
    A hybrid whose share of exact exchange is trained:

    >>> import torch
    >>> from deepchem_xc.xc import ExactExchange, exchange_shares, get_xc
    >>> a = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    >>> hybrid = a * ExactExchange() + (1 - a) * get_xc("gga_x_pbe") + get_xc("gga_c_pbe")
    >>> {omega: share.item() for omega, share in exchange_shares(hybrid).items()}
    {0.0: 0.25}
    """

    ingredients = Ingredients.DENSITY
    name = "exact_exchange"

    def __init__(self, omega: float = 0.0, part: str = "all") -> None:
        super().__init__()
        if part not in _RANGES or not omega >= 0.0 or (omega > 0.0) != (part != "all"):
            raise ValueError(
                f"exact exchange of omega = {omega!r}, part = {part!r}: give no omega for all of "
                "it, or omega > 0 (1/bohr) with part='short' or 'long'"
            )
        self.omega, self.part = float(omega), part

    def options(self) -> dict[str, Any]:
        """Arguments of the constructor, for files."""
        return {"omega": self.omega, "part": self.part}

    def exchange_shares(self) -> dict[float, Any]:
        """Fractions by omega, see :func:`exchange_shares`."""
        return {
            "all": {0.0: 1.0},
            "long": {self.omega: 1.0},
            "short": {0.0: 1.0, self.omega: -1.0},
        }[self.part]

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Zero, (..., nr): it is no function of the density at a point."""
        return torch.zeros_like(variables.density)


def exchange_shares(functional: PointwiseXC) -> dict[float, Any]:
    """Fractions of exact exchange that a functional declares, by omega.

    Parameters
    ----------
    functional : XCFunctional
        Any.

    Returns
    -------
    dict of float to (float or Tensor)
        For each omega (1/bohr) the fraction of the exchange of ``erf(omega r) / r``, for 0.0 that
        of ``1 / r``; in the graph of trained factors. Empty for functionals of the density alone.

    Examples
    --------
    >>> from deepchem_xc.xc import ExactExchange, exchange_shares, get_xc
    >>> exchange_shares(get_xc("PBE") + 0.5 * ExactExchange(omega=0.11, part="short"))
    {0.0: 0.5, 0.11: -0.5}
    """
    shares = functional.exchange_shares()
    return {omega: a for omega, a in shares.items() if isinstance(a, Tensor) or a != 0.0}


def refuse_exact_exchange(functional: PointwiseXC, where: str) -> None:
    """Raise ``ValueError`` if a functional declares exact exchange.

    Parameters
    ----------
    functional : XCFunctional
        Any.
    where : str
        What cannot add it, and what can, for the message.

    Examples
    --------
    >>> from deepchem_xc.xc import ExactExchange, get_xc
    >>> refuse_exact_exchange(get_xc("PBE"), "plane waves")
    >>> refuse_exact_exchange(0.5 * ExactExchange(), "plane waves")
    Traceback (most recent call last):
    ...
    ValueError: 0.5*exact_exchange is a hybrid: it needs exact exchange, which plane waves
    """
    if exchange_shares(functional):
        raise ValueError(
            f"{functional.name or type(functional).__name__} is a hybrid: it needs exact exchange, "
            f"which {where}"
        )
