"""Meta-GGAs for densities with a single orbital in each spin channel.

The kinetic energy density of one real orbital is that of von Weizsaecker, tau_W = |grad n|^2 / 8n.
With it a meta-GGA becomes a GGA that has the same energy and the same derivative with respect to
the orbital. The separate derivatives with respect to n and tau may be useless there. Those of TPSS
and M06-L grow as 1 / tau where the density has a maximum and tau_W is zero; SCAN's alpha = (tau -
tau_W) / tau_unif is unbounded in the tail of a density, where rounding gives an alpha of any size.
A potential -1/2 div(de/dtau grad) from such derivatives has states of arbitrary energy, far below
the occupied one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .base import XCFunctional
from .ingredients import Ingredients
from .registry import register
from .variables import DensityVariables, channels_of

__all__ = ["OneOrbital"]

# Reduced gradient that is added in squares: at zero gradient tau_W / tau would be 0 / 0. The
# relative change of an energy is about 1e-12.
_LEAST_S = 1e-6
# Upper bound to which reduced gradients are bent. Derivatives with respect to n and tau grow as its
# square and cancel up to rounding. Only densities below 1e-13 / bohr^3, or vacuum noise, reach it.
_LARGEST_S = 1e4
# Ratio sigma / n^(8/3) of one channel at reduced gradient 1.
_SIGMA = 4.0 * (6.0 * np.pi**2) ** (2.0 / 3.0)
_TOTAL_SIGMA = 2.0 ** (-2.0 / 3.0) * _SIGMA
_LEAST_SIGMA = _LEAST_S**2 * _SIGMA


@register(threshold_of_parts=True)
class OneOrbital(XCFunctional):
    """A meta-GGA whose kinetic energy density is that of one orbital in each channel: a GGA.

    Parameters
    ----------
    functional : XCFunctional
        Any; one that is not a meta-GGA is left as it is.

    Examples
    --------
    TPSS correlation is zero for one electron:

    >>> import torch
    >>> from deepchem_xc.xc import LibXC, OneOrbital, SpinParam, ValGrad
    >>> n = torch.tensor([0.1, 0.2], dtype=torch.float64)
    >>> up = ValGrad(value=n, grad=torch.full((3, 2), 0.05).double())
    >>> down = ValGrad(value=0.0 * n, grad=torch.zeros(3, 2).double())
    >>> energy = OneOrbital(LibXC("mgga_c_tpss")).get_edensityxc(SpinParam(u=up, d=down))
    >>> bool((energy.abs() < 1e-12).all())
    True
    """

    def __init__(self, functional: XCFunctional) -> None:
        super().__init__()
        self.functional = functional
        self.name = functional.name
        self.ingredients = functional.ingredients & ~Ingredients.TAU
        self.density_threshold = functional.density_threshold

    def options(self) -> dict[str, Any]:
        """Arguments of the constructor, for files."""
        return {"functional": self.functional}

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        if Ingredients.TAU not in self.functional.ingredients:
            return self.functional._energy_at(variables)
        return self.functional._energy_at(_OneOrbitalVariables(variables))

    def exchange_shares(self) -> dict[float, Any]:
        """Fractions of exact exchange, by omega."""
        return self.functional.exchange_shares()


class _OneOrbitalVariables(DensityVariables):
    """The given variables with the kinetic energy density of one orbital in each channel."""

    def __init__(self, given: DensityVariables) -> None:
        super().__init__(given.densinfo, given.threshold)
        taus = list(self.raw_tau.unbind(0)) if self.polarized else [self.raw_tau]
        channels = channels_of(given.densinfo)
        filled = [ValGrad(c.value, c.grad, c.lapl, tau) for c, tau in zip(channels, taus)]
        # For functionals that read densinfo instead of these variables.
        self.densinfo = SpinParam(*filled) if self.polarized else filled[0]

    @cached_property
    def raw_tau(self) -> Tensor:
        """The von Weizsaecker form: (..., nr), or (2, ..., nr) with two channels."""
        if self.polarized:
            return self.spin_sigma / (8.0 * self.spin_densities)
        return self.sigma / (8.0 * self.density)

    @cached_property
    def _shrinking(self) -> Tensor:
        """Factor of each gradient that keeps it below the largest: (..., nr), or (2, ..., nr)."""
        density = self.spin_densities if self.polarized else self.density
        unit = _SIGMA if self.polarized else _TOTAL_SIGMA
        given = torch.stack([gradient.square().sum(-2) for gradient in self.gradients])
        s2 = (given if self.polarized else given[0]) / (unit * density ** (8.0 / 3.0))
        ratio = s2 * _LARGEST_S**-2
        # At ten times the bound, both forms agree to the last digit.
        near = (1.0 + ratio.clamp(max=100.0) ** 8) ** (-1.0 / 16.0)
        return torch.where(ratio < 100.0, near, ratio.clamp(min=100.0).rsqrt())

    @cached_property
    def spin_sigma(self) -> Tensor:
        """Squared gradients with the limits of this module, (2, ..., nr)."""
        given = torch.stack([gradient.square().sum(-2) for gradient in self.gradients])
        least = _LEAST_SIGMA * self.spin_densities ** (8.0 / 3.0)
        return self._shrinking.square() * given + least

    @cached_property
    def sigma_up_down(self) -> Tensor:
        """Product of the two gradients with the same limits, (..., nr)."""
        up, down = self.gradients
        least = _LEAST_SIGMA * self.spin_densities.prod(0) ** (4.0 / 3.0)
        return self._shrinking.prod(0) * (up * down).sum(-2) + least

    @cached_property
    def sigma(self) -> Tensor:
        """Squared gradient of the total density with the same limits, (..., nr)."""
        if self.polarized:
            return self.spin_sigma.sum(0) + 2.0 * self.sigma_up_down
        least = _LEAST_S**2 * _TOTAL_SIGMA * self.density ** (8.0 / 3.0)
        return self._shrinking.square() * self.gradients[0].square().sum(-2) + least
