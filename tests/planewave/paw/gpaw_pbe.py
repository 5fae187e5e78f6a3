"""PBE with the constants of GPAW's own, for comparisons with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.xc import (
    DensityVariables,
    Ingredients,
    PBEExchange,
    PW92Correlation,
    SumXC,
    XCFunctional,
)


class PBECorrelationOfGPAW(XCFunctional):
    """PBE correlation with GPAW's constants, on PW92 as published."""

    name = "correlation of GPAW's PBE"
    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT
    BETA, GAMMA = 0.066725, 0.031091

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Equations (3), (7) and (8) of Phys. Rev. Lett. 77, 3865 (1996), as they stand there."""
        n = variables.density
        uniform = PW92Correlation().energy_density(variables) / n
        phi = variables.spin_scaling if variables.polarized else torch.ones_like(n)
        gamma = self.GAMMA * phi**3
        kf = (3.0 * math.pi**2 * n) ** (1.0 / 3.0)
        t2 = variables.sigma / (4.0 * phi**2 * (4.0 * kf / math.pi) * n**2)
        a = self.BETA / self.GAMMA / torch.expm1(-uniform / gamma)
        fraction = (1.0 + a * t2) / (1.0 + a * t2 + a**2 * t2**2)
        return n * (uniform + gamma * torch.log1p(self.BETA / self.GAMMA * t2 * fraction))


def pbe_of_gpaw() -> XCFunctional:
    """PBE as GPAW computes it by itself; libxc's constants shift Ni by 0.65 meV."""
    return SumXC(PBEExchange(mu=0.2195164512208958), PBECorrelationOfGPAW())
