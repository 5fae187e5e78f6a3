"""Exchange and correlation of a functional that has both in one, told apart by scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional

if TYPE_CHECKING:
    from deepchem_xc.xc.variables import DensityVariables

__all__ = ["HighDensityLimit"]

# Factor of the larger of the two densities; with the correlation that is left at r_s = 1 of the
# order of 1e-8 of the exchange, and rounding far below.
_SCALE = 1e7


class HighDensityLimit(XCFunctional):
    """Exchange of a functional, as the limit of high densities.

    For n_g(r) = g^3 n(g r) exchange is E_x[n_g] = g E_x[n], and correlation stays finite (M. Levy,
    Phys. Rev. A 43, 4637 (1991)): E_x[n] = lim E_xc[n_g] / g. At a point density, gradient and
    kinetic energy density are multiplied by g^3, g^4 and g^5, and the energy density is divided by
    g^4. What is left of correlation goes as 1/g, and two values of g remove it.

    Parameters
    ----------
    whole : XCFunctional
        Exchange and correlation, whose limit exists.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import get_xc
    >>> density = ValGrad(value=torch.tensor([0.1, 0.5], dtype=torch.float64))
    >>> exchange = HighDensityLimit(get_xc("Teter93")).get_edensityxc(density)
    >>> wanted = get_xc("lda_x").get_edensityxc(density)
    >>> torch.allclose(exchange, wanted, rtol=1e-5)  # Teter93 is a fit of both together
    True
    """

    def __init__(self, whole: XCFunctional) -> None:
        super().__init__()
        self.whole = whole
        self.ingredients = whole.ingredients
        self.density_threshold = whole.density_threshold
        self.name = f"exchange of {whole.name}"

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        densinfo = variables.densinfo
        half = self.whole.get_edensityxc(_scaled(densinfo, _SCALE / 2.0))
        full = self.whole.get_edensityxc(_scaled(densinfo, _SCALE))
        return 2.0 * full / _SCALE**4 - half / (_SCALE / 2.0) ** 4


def _scaled(densinfo: ValGrad | SpinParam, g: float) -> ValGrad | SpinParam:
    if isinstance(densinfo, SpinParam):
        return SpinParam(u=_scaled(densinfo.u, g), d=_scaled(densinfo.d, g))
    return ValGrad(
        value=densinfo.value * g**3,
        grad=None if densinfo.grad is None else densinfo.grad * g**4,
        kin=None if densinfo.kin is None else densinfo.kin * g**5,
    )
