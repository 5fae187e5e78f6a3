"""Inputs of neural functionals, computed from a density: those of the XCDiff family.

S. Dick and M. Fernandez-Serra, Phys. Rev. B 104, L161109 (2021):

    x_0 = ln(n^(1/3) + 1e-5)
    x_1 = ln(phi(zeta) + 1e-5),  phi = [(1 + zeta)^(4/3) + (1 - zeta)^(4/3)] / 2
    x_2 = (1 - exp(-s^2)) ln(1 + s)
    x_3 = ln((alpha + 1) / 2)

x_1 is 0 for a closed shell (up to 1e-5), x_2 at zero gradient, x_3 in the uniform gas. Two
departures keep all derivatives finite: s is sqrt(s^2 + 1e-10) in the logarithm, and alpha in x_3
is bounded (see :func:`indicator_feature`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .smooth import smooth_root
from .variables import DensityVariables

__all__ = ["density_feature", "gradient_feature", "indicator_feature", "spin_feature"]

_OFFSET = 1e-5
_CBRT_N_RS = (3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)


def density_feature(inverse_rs: Tensor) -> Tensor:
    """x_0 from the reciprocal Wigner-Seitz radius (1 / bohr), same shape.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.features import density_feature
    >>> density_feature(torch.tensor([0.0, 1.0], dtype=torch.float64))
    tensor([-11.5129,  -0.4775], dtype=torch.float64)
    """
    return torch.log(_CBRT_N_RS * inverse_rs + _OFFSET)


def spin_feature(variables: DensityVariables) -> Tensor:
    """x_1, (..., nr)."""
    if not variables.polarized:
        return torch.full_like(variables.density, math.log1p(_OFFSET))
    pair = variables.one_plus_minus_zeta
    return torch.log((pair * variables.cbrt_one_plus_minus_zeta).mean(0) + _OFFSET)


def gradient_feature(s2: Tensor) -> Tensor:
    """x_2 from the squared reduced gradient, same shape.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.features import gradient_feature
    >>> gradient_feature(torch.tensor([0.0, 1.0], dtype=torch.float64))
    tensor([0.0000, 0.4382], dtype=torch.float64)
    """
    return (1.0 - torch.exp(-s2)) * torch.log1p(smooth_root(s2))


def indicator_feature(alpha: Tensor) -> Tensor:
    """x_3 from the iso-orbital indicator, same shape.

    alpha is positive for any orbitals, but not for every density and kinetic energy density that a
    solver or a test may give. Below 0 it is replaced by alpha / (1 + 16 alpha^4)^(1/4), which stays
    above -1/2 and so keeps the logarithm finite; four derivatives are continuous at 0.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.features import indicator_feature
    >>> indicator_feature(torch.tensor([0.0, 1.0, -1e6], dtype=torch.float64))
    tensor([-0.6931,  0.0000, -1.3863], dtype=torch.float64)
    """
    # Below -1e6 the result is constant to the last digit, but powers could overflow.
    negative = alpha.clamp(min=-1e6, max=0.0)
    quartic = negative.square().square()
    bounded = torch.where(alpha < 0.0, negative * (1.0 + 16.0 * quartic) ** -0.25, alpha)
    return torch.log(0.5 * (bounded + 1.0))
