"""Correlation in the generalised gradient approximation: PBE and LYP."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import XCFunctional
from .gga_exchange import constant
from .ingredients import Ingredients
from .lda import pw92_energy
from .registry import register, register_sum
from .variables import DensityVariables

__all__ = ["LYPCorrelation", "PBECorrelation"]

BETA_PBE = 0.06672455060314922
BETA_PBESOL = 0.046
_GAMMA = (1.0 - math.log(2.0)) / math.pi**2
# Upper bound of q: beyond it correlation is zero to 80 digits, and third derivatives of q^2
# overflow at 1e80.
_LARGEST_Q = 1e40


@register("gga_c_pbe_sol", options={"beta": BETA_PBESOL, "name": "gga_c_pbe_sol"})
@register("gga_c_pbe")
class PBECorrelation(XCFunctional):
    """Correlation of Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).

    Built on PW92 with the extended constants (``lda_c_pw_mod``), as libxc's ``gga_c_pbe``.

    Parameters
    ----------
    beta : float or Tensor
        Default: that of PBE; PBEsol has 0.046.
    trainable : bool
        Whether it is a parameter.
    name : str
        Name of the result.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import PBECorrelation, ValGrad
    >>> one = torch.ones(3, 1, dtype=torch.float64)
    >>> PBECorrelation().get_edensityxc(ValGrad(value=one[0], grad=one))  # Hartree / bohr^3
    tensor([-0.0606], dtype=torch.float64)
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT

    def __init__(
        self,
        beta: float | Tensor = BETA_PBE,
        trainable: bool = False,
        name: str = "gga_c_pbe",
    ) -> None:
        super().__init__()
        self.beta = constant("beta", beta, trainable)
        self.name = name

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        # Equations (3), (7), (8), summed: with U = 1 - exp(ec / gamma phi^3), (gamma / beta) A =
        # 1 / U - 1 and q = A t^2,
        #   ec + H = gamma phi^3 ln(1 - U / (1 + q + q^2)).
        # In this form nothing divides by the gradient, nothing overflows where A does (ec -> 0 in
        # vacuum), and ec and H do not cancel where the gradient is large.
        energy = pw92_energy(variables, modified=True)
        t2 = variables.phi2_t2
        if variables.polarized:
            phi2 = variables.spin_scaling.square()
            gamma_phi3: float | Tensor = _GAMMA * (phi2 * variables.spin_scaling)
            t2 = t2 / phi2
        else:
            gamma_phi3 = _GAMMA
        u = -torch.expm1(energy / gamma_phi3)
        q = (self.beta / _GAMMA) * t2 * (u.reciprocal() - 1.0)
        q = q.clamp(max=_LARGEST_Q)
        return variables.density * gamma_phi3 * torch.log1p(-u / (1.0 + q + q * q))


@register("gga_c_lyp")
class LYPCorrelation(XCFunctional):
    """Correlation of Lee, Yang and Parr, Phys. Rev. B 37, 785 (1988): libxc's ``gga_c_lyp``.

    Uses the form without Laplacian of Miehlich, Savin, Stoll and Preuss, Chem. Phys. Lett. 157,
    200 (1989).

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import LYPCorrelation, ValGrad
    >>> one = torch.ones(3, 1, dtype=torch.float64)
    >>> LYPCorrelation().get_edensityxc(ValGrad(value=one[0], grad=one))  # Hartree / bohr^3
    tensor([-0.0462], dtype=torch.float64)
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT
    name = "gga_c_lyp"

    _A, _B, _C, _D = 0.04918, 0.132, 0.2533, 0.349
    _CF = 0.3 * (3.0 * math.pi**2) ** (2.0 / 3.0)
    _SIGMA_PER_S2 = 4.0 * (3.0 * math.pi**2) ** (2.0 / 3.0)
    _N_CBRT_RS = (3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        n = variables.density
        inverse_cbrt = variables.rs * (1.0 / self._N_CBRT_RS)  # n^(-1/3)
        damping = (1.0 + self._D * inverse_cbrt).reciprocal()
        # a b omega n^(11/3) and delta of the paper
        omega = (self._A * self._B) * torch.exp(-self._C * inverse_cbrt) * damping
        delta = inverse_cbrt * (self._C + self._D * damping)
        if not variables.polarized:
            sigma = self._SIGMA_PER_S2 * variables.s2  # |grad n|^2 / n^(8/3)
            bracket = self._CF - (1.0 / 24.0 + (7.0 / 72.0) * delta) * sigma
            return -n * (self._A * damping + omega * bracket)
        # The terms are collected by sigma_uu, sigma_ud and sigma_dd so that none cancel.
        fraction = 0.5 * variables.one_plus_minus_zeta  # n_up / n, n_down / n
        up, down = fraction.unbind(0)
        product = up * down
        four_thirds = variables.one_plus_minus_zeta * variables.cbrt_one_plus_minus_zeta
        scale = inverse_cbrt.square() / n.square()
        sigma_uu, sigma_dd = (variables.spin_sigma * scale).unbind(0)
        sigma_ud = variables.sigma_up_down * scale
        same = (1.0 - 3.0 * delta) * (1.0 / 9.0)
        skew = (11.0 - delta) * (1.0 / 9.0)
        bracket = product * (
            (2.0 * self._CF) * four_thirds.square().sum(0)
            + (same + skew * up) * sigma_uu
            + (same + skew * down) * sigma_dd
            + ((47.0 - 7.0 * delta) * (1.0 / 9.0)) * sigma_ud
        )
        bracket = bracket - (
            (4.0 / 3.0) * sigma_ud + up.square() * sigma_dd + down.square() * sigma_uu
        )
        return -n * ((4.0 * self._A) * damping * product + omega * bracket)


register_sum("BLYP", "gga_x_b88", "gga_c_lyp")
