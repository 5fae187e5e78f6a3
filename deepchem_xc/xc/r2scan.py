"""The meta-GGA r2SCAN: exchange and correlation.

J. W. Furness, A. D. Kaplan, J. Ning, J. P. Perdew and J. Sun, J. Phys. Chem. Lett. 11, 8208 (2020)
and its correction, ibid. 11, 9248 (2020); equation numbers are those of its supporting
information. Exchange and correlation interpolate between the energies of one orbital (alpha = 0)
and of a slowly varying density (alpha = 1), with alpha as in :mod:`deepchem_xc.xc.kinetic`.

The interpolation is a polynomial between alpha = 0 and 2.5 and exponentials outside. It has two
continuous derivatives at 0, and one at 2.5 (to the digits of the published coefficients).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import XCFunctional
from .gga_correlation import BETA_PBE
from .gga_exchange import MU_PBESOL
from .ingredients import Ingredients
from .kinetic import ETA, iso_orbital_indicator, scaled_iso_orbital_indicator, spin_factor
from .lda import SLATER, pw92_energy, pw92_slope, spin_scaled_mean
from .registry import register, register_sum
from .smooth import fourth_root_decay
from .variables import DensityVariables

__all__ = ["R2SCANCorrelation", "R2SCANExchange"]

# Coefficients of alpha^0 ... alpha^7; rates below 0 and above 2.5; minus the value at infinity.
_POLYNOMIAL_X = (
    *(1.0, -0.667, -0.4445555, -0.663086601049),
    *(1.451297044490, -0.887998041597, 0.234528941479, -0.023185843322),
)
_POLYNOMIAL_C = (
    *(1.0, -0.64, -0.4352, -1.535685604549),
    *(3.061560252175, -1.915710236206, 0.516884468372, -0.051848879792),
)
_TAILS_X = (0.667, 0.8, 1.24)
_TAILS_C = (0.64, 1.5, 0.7)
_SWITCH = 2.5

# derivatives of the polynomials at alpha = 1
_SLOPE_X = sum(i * c for i, c in enumerate(_POLYNOMIAL_X))
_SLOPE_C = sum(i * c for i, c in enumerate(_POLYNOMIAL_C))

_DAMPING = 0.361**-4  # 1 / d_p2^4
# Upper bound of p, where exp(-p^2 / d_p2^4) is zero; without it p^2 would overflow.
_LARGEST_P = 10.0


def _interpolation(
    alpha: Tensor, polynomial: tuple[float, ...], tails: tuple[float, float, float]
) -> Tensor:
    """f(alpha): 1 at 0, 0 at 1."""
    below, above, limit = tails
    # Each branch sees only arguments of its own range, so that no derivative overflows.
    negative, middle = alpha.clamp(max=0.0), alpha.clamp(0.0, _SWITCH)
    large = alpha.clamp(min=_SWITCH)
    result = torch.full_like(middle, polynomial[-1])
    for coefficient in reversed(polynomial[:-1]):
        result = coefficient + middle * result
    result = torch.where(alpha < 0.0, torch.exp(-below * negative / (1.0 - negative)), result)
    return torch.where(alpha > _SWITCH, -limit * torch.exp(above / (1.0 - large)), result)


def _gaussian_p(p: Tensor) -> Tensor:
    """p exp(-p^2 / d_p2^4), which confines the gradient expansions."""
    p = p.clamp(max=_LARGEST_P)
    return p * torch.exp(-_DAMPING * p.square())


@register("mgga_x_r2scan")
class R2SCANExchange(XCFunctional):
    """Exchange of r2SCAN: libxc's ``mgga_x_r2scan``.

    e_x = e_x(Slater) F(p, alpha) per spin channel, p = s^2; F <= 1.174.

    Examples
    --------
    >>> from deepchem_xc.xc import R2SCANExchange
    >>> R2SCANExchange().family
    4
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT | Ingredients.TAU
    name = "mgga_x_r2scan"

    _H0 = 1.174
    _K1 = 0.065
    _A1 = 4.9479
    # equation (S10): the second-order gradient expansion, for this interpolation and eta
    _C2 = -(20.0 / 27.0 + ETA * 5.0 / 3.0) * _SLOPE_X * (1.0 - _H0)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        alpha = scaled_iso_orbital_indicator(variables)
        factor = self._enhancement_factor(variables.scaled_s2, alpha)
        slater = variables.scaled_density * variables.scaled_inverse_rs
        return SLATER * spin_scaled_mean(variables, slater * factor)

    def _enhancement_factor(self, p: Tensor, alpha: Tensor) -> Tensor:
        x = MU_PBESOL * p + self._C2 * _gaussian_p(p)
        h1 = 1.0 + self._K1 - self._K1**2 / (self._K1 + x)
        f = _interpolation(alpha, _POLYNOMIAL_X, _TAILS_X)
        return (h1 + f * (self._H0 - h1)) * fourth_root_decay(p, self._A1)


@register("mgga_c_r2scan")
class R2SCANCorrelation(XCFunctional):
    """Correlation of r2SCAN: libxc's ``mgga_c_r2scan``.

    Examples
    --------
    >>> from deepchem_xc.xc import R2SCANCorrelation
    >>> R2SCANCorrelation().name
    'mgga_c_r2scan'
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT | Ingredients.TAU
    name = "mgga_c_r2scan"

    _GAMMA = (1.0 - math.log(2.0)) / math.pi**2
    _B1, _B2, _B3 = 0.0285764, 0.0889, 0.125541
    _CHI = 0.12802585262625815
    _G = 2.363

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        f = _interpolation(iso_orbital_indicator(variables), _POLYNOMIAL_C, _TAILS_C)
        slow = self._slowly_varying(variables)
        return variables.density * (slow + f * (self._one_orbital(variables) - slow))

    # As in PBE (see gga_correlation.py), with u = 1 - exp(ec / c) and w = u / (1 - u),
    #   ec + c ln(1 + w (1 - g)) = c ln(1 - u g),
    # which neither overflows in vacuum nor cancels where the gradient is large.

    def _one_orbital(self, variables: DensityVariables) -> Tensor:
        """Energy per electron at alpha = 0, equations (S22)-(S27)."""
        u = -torch.expm1(self._lda0(variables) / self._B1)
        g = (1.0 + (4.0 * self._CHI) * variables.s2) ** -0.25
        energy = self._B1 * torch.log1p(-u * g)
        return self._spin(variables) * energy if variables.polarized else energy

    def _slowly_varying(self, variables: DensityVariables) -> Tensor:
        """Energy per electron at alpha = 1, equations (S28)-(S37)."""
        ec = pw92_energy(variables, modified=True)
        t2, p, rs = variables.phi2_t2, variables.s2, variables.rs
        gamma_phi3: float | Tensor = self._GAMMA
        stiffness: float | Tensor = 1.0
        if variables.polarized:
            phi2 = variables.spin_scaling.square()
            gamma_phi3 = self._GAMMA * (phi2 * variables.spin_scaling)
            t2 = t2 / phi2
            stiffness = spin_factor(variables)
        u = -torch.expm1(ec / gamma_phi3)
        inverse_w = u.reciprocal() - 1.0
        beta = BETA_PBE * (1.0 + 0.1 * rs) / (1.0 + 0.1778 * rs)
        difference, slope = self._difference_to_one_orbital(variables, ec)
        shift = (_SLOPE_C / 27.0) * (20.0 * slope - (45.0 * ETA) * difference)
        shift = shift / (gamma_phi3 * stiffness) * _gaussian_p(p)
        g = (1.0 + 4.0 * inverse_w * ((beta / self._GAMMA) * t2 - shift)) ** -0.25
        return gamma_phi3 * torch.log1p(-u * g)

    def _difference_to_one_orbital(
        self, variables: DensityVariables, ec: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Local energy per electron at alpha = 0 minus that at 1, and its ln(rs) derivative."""
        energy = self._lda0(variables)
        # The derivative of -b1 / d with respect to ln(rs) is (b1 / d)^2 (d' rs) / b1.
        slope = 0.5 * self._B2 * variables.sqrt_rs + self._B3 * variables.rs
        slope = energy.square() * slope * (1.0 / self._B1)
        if variables.polarized:
            spin = self._spin(variables)
            energy, slope = spin * energy, spin * slope
        return energy - ec, slope - pw92_slope(variables, modified=True)

    def _lda0(self, variables: DensityVariables) -> Tensor:
        """Energy per electron of one orbital without gradient, equation (S24)."""
        return -self._B1 / (1.0 + self._B2 * variables.sqrt_rs + self._B3 * variables.rs)

    def _spin(self, variables: DensityVariables) -> Tensor:
        """G_c(zeta), equation (S26): 1 at zero and 0 at full polarisation."""
        pair = variables.one_plus_minus_zeta
        d = (pair * variables.cbrt_one_plus_minus_zeta).mean(0)
        # 1 - zeta^12 as a polynomial in 1 - zeta^2, which does not cancel at full polarisation
        q = pair.prod(0)
        last = q * (6.0 - q * (15.0 - q * (20.0 - q * (15.0 - q * (6.0 - q)))))
        return (1.0 - self._G * (d - 1.0)) * last


register_sum("r2SCAN", "mgga_x_r2scan", "mgga_c_r2scan")
