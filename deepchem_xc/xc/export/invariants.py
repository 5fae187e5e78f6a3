"""Variables of functionals from density, squared gradients and kinetic energy density alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._deepchem import SpinParam, ValGrad
from ..variables import DensityVariables

__all__ = ["InvariantVariables"]


class InvariantVariables(DensityVariables):
    """`DensityVariables` of an exported program: no gradients, and no branches on values.

    Parameters
    ----------
    inputs : sequence of Tensor
        ``rho`` (nspin, nr), and as far as the functional needs them ``sigma`` (1 or 3, nr) and
        ``tau`` (nspin, nr), see :mod:`~deepchem_xc.xc.export.signature`.
    threshold : float
        As for `DensityVariables`.

    Examples
    --------
    >>> rho, sigma = torch.ones(1, 4).double(), torch.zeros(1, 4).double()
    >>> InvariantVariables([rho, sigma], 1e-15).s2
    tensor([0., 0., 0., 0.], dtype=torch.float64)
    """

    omits_idle_switches = False

    def __init__(self, inputs: Sequence[Tensor], threshold: float) -> None:
        rho, *others = inputs
        channels = [ValGrad(value=row) for row in rho.unbind(0)]
        single = len(channels) == 1
        super().__init__(
            channels[0] if single else SpinParam(u=channels[0], d=channels[1]), threshold
        )
        # These take the place of what would be computed from gradients.
        given = self.__dict__
        if others and single:
            given["sigma"] = others[0][0]
        elif others:
            up_up, up_down, down_down = others[0].unbind(0)
            given["spin_sigma"] = torch.stack((up_up, down_down))
            given["sigma_up_down"] = up_down
        if len(others) > 1:
            given["raw_tau"] = others[1][0] if single else others[1]

    @property
    def gradients(self) -> tuple[Tensor, ...]:
        """Not there: raises ValueError."""
        raise ValueError(
            "it reads variables.gradients, but an exported program gets scalar products of the "
            "gradients: use variables.sigma, s2, spin_sigma or sigma_up_down"
        )
