"""The iso-orbital indicator of meta-GGAs, which tells kinds of chemical bonds apart.

alpha = (tau - tau_W) / tau_unif compares the kinetic energy density with that of one orbital,
tau_W = |grad n|^2 / 8 n, in units of the uniform gas, tau_unif = (3/10) (3 pi^2)^(2/3) n^(5/3)
d(zeta), d = [(1+zeta)^(5/3) + (1-zeta)^(5/3)] / 2. It is 0 for one orbital and 1 in the uniform
gas. Where tau_unif goes to zero faster than tau_W, in the tails of a density, it has no bound;
with tau_unif + eta tau_W in the denominator it has one (J. W. Furness et al., J. Phys. Chem. Lett.
11, 8208 (2020), equation (6)), and both limits stay exact.
"""

from __future__ import annotations

import math

from torch import Tensor

from .variables import DensityVariables

__all__ = ["ETA", "iso_orbital_indicator", "scaled_iso_orbital_indicator"]

ETA = 1e-3
_WEIZSAECKER_PER_S2 = 5.0 / 3.0
# tau_unif rs^2 / n of the unpolarised gas
_UNIFORM = 0.3 * (9.0 * math.pi / 4.0) ** (2.0 / 3.0)


def scaled_iso_orbital_indicator(variables: DensityVariables) -> Tensor:
    """Indicator of the densities in the spin scaling relation.

    Parameters
    ----------
    variables : DensityVariables
        With gradient and kinetic energy density.

    Returns
    -------
    Tensor
        Of n (..., nr), or of 2 n_up and 2 n_down (2, ..., nr); no unit.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import DensityVariables, ValGrad
    >>> n = torch.ones(1, dtype=torch.float64)
    >>> uniform = ValGrad(value=n, grad=torch.zeros(3, 1).double(), kin=2.871234 * n)
    >>> scaled_iso_orbital_indicator(DensityVariables(uniform))
    tensor([1.0000], dtype=torch.float64)
    """
    tau = 2.0 * variables.tau if variables.polarized else variables.tau
    uniform = _UNIFORM * variables.scaled_density * variables.scaled_inverse_rs.square()
    weizsaecker = _WEIZSAECKER_PER_S2 * variables.scaled_s2
    return (tau / uniform - weizsaecker) / (1.0 + ETA * weizsaecker)


def iso_orbital_indicator(variables: DensityVariables) -> Tensor:
    """Indicator of the total density.

    Parameters
    ----------
    variables : DensityVariables
        With gradient and kinetic energy density.

    Returns
    -------
    Tensor
        (..., nr), no unit.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import DensityVariables, ValGrad
    >>> n = torch.ones(1, dtype=torch.float64)
    >>> one_orbital = ValGrad(value=n, grad=torch.ones(3, 1).double(), kin=0.375 * n)
    >>> iso_orbital_indicator(DensityVariables(one_orbital)).abs() < 1e-12
    tensor([True])
    """
    if not variables.polarized:
        return scaled_iso_orbital_indicator(variables)
    uniform = _UNIFORM * variables.density * variables.inverse_rs.square()
    weizsaecker = _WEIZSAECKER_PER_S2 * variables.s2
    return (variables.total_tau / uniform - weizsaecker) / (
        spin_factor(variables) + ETA * weizsaecker
    )


def spin_factor(variables: DensityVariables) -> Tensor:
    """d(zeta) of the module's docstring, (..., nr); only with two channels."""
    five_thirds = variables.one_plus_minus_zeta * variables.cbrt_one_plus_minus_zeta.square()
    return five_thirds.mean(0)
