"""Local density approximations: functions of the density and its polarisation.

Exchange is Slater's; correlation of the uniform gas is that of Perdew and Wang (1992) or of Vosko,
Wilk and Nusair (1980), fitted to Ceperley and Alder's quantum Monte Carlo energies. Teter93 fits
exchange and correlation together by one rational function.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .base import XCFunctional
from .ingredients import Ingredients
from .registry import register, register_sum
from .variables import DensityVariables

__all__ = ["PW92Correlation", "SlaterExchange", "Teter93", "VWNCorrelation"]

# Exchange energy per electron of the uniform gas, times rs.
SLATER = -0.75 / math.pi * (9.0 * math.pi / 4.0) ** (1.0 / 3.0)


def spin_scaled_mean(variables: DensityVariables, energy: Tensor) -> Tensor:
    """E_x[n_up, n_down] = (E_x[2 n_up] + E_x[2 n_down]) / 2, from the energies of both terms."""
    return energy.mean(0) if variables.polarized else energy


@register("lda_x")
class SlaterExchange(XCFunctional):
    """Exchange of the uniform electron gas (Dirac 1930; Slater 1951), libxc's ``lda_x``.

    e_x = -(3/4) (3/pi)^(1/3) n^(4/3), with the exact spin scaling.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import SlaterExchange, ValGrad
    >>> SlaterExchange().get_edensityxc(ValGrad(value=torch.ones(1, dtype=torch.float64)))
    tensor([-0.7386], dtype=torch.float64)
    """

    ingredients = Ingredients.DENSITY
    name = "lda_x"

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        energy = SLATER * (variables.scaled_density * variables.scaled_inverse_rs)
        return spin_scaled_mean(variables, energy)


# A, alpha1, beta1, beta2, beta3, beta4: unpolarised, fully polarised, minus the spin stiffness
_PW92 = {
    False: (
        (0.031091, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294),
        (0.015545, 0.20548, 14.1189, 6.1977, 3.3662, 0.62517),
        (0.016887, 0.11125, 10.357, 3.6231, 0.88026, 0.49671),
    ),
    True: (
        (0.0310907, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294),
        (0.01554535, 0.20548, 14.1189, 6.1977, 3.3662, 0.62517),
        (0.0168869, 0.11125, 10.357, 3.6231, 0.88026, 0.49671),
    ),
}
# Second derivative of the spin interpolation at zeta = 0, as published and exact.
_CURVATURE = {False: 1.709921, True: 4.0 / (9.0 * (2.0 ** (1.0 / 3.0) - 1.0))}


def _pw92_g(variables: DensityVariables, parameters: tuple[float, ...]) -> Tensor:
    """Equation (10) of Perdew and Wang (1992)."""
    a, alpha1, beta1, beta2, beta3, beta4 = (2.0 * parameters[0], *parameters[1:])
    x, rs = variables.sqrt_rs, variables.rs
    q = ((a * beta1) + (a * beta3) * rs) * x + ((a * beta2) + (a * beta4) * rs) * rs
    return (-a - (a * alpha1) * rs) * torch.log1p(q.reciprocal())


def _pw92_slope(variables: DensityVariables, parameters: tuple[float, ...]) -> Tensor:
    """Derivative of :func:`_pw92_g` with respect to ln(rs)."""
    a, alpha1, beta1, beta2, beta3, beta4 = (2.0 * parameters[0], *parameters[1:])
    x, rs = variables.sqrt_rs, variables.rs
    odd, even = (a * beta1) * x, (a * beta2) * rs
    cubic, quartic = (a * beta3) * (x * rs), (a * beta4) * rs.square()
    q = odd + even + cubic + quartic
    slope = 0.5 * odd + even + 1.5 * cubic + 2.0 * quartic
    linear = (a * alpha1) * rs
    return (a + linear) * slope / (q * (1.0 + q)) - linear * torch.log1p(q.reciprocal())


def _pw92(variables: DensityVariables, modified: bool, g: Callable[..., Tensor]) -> Tensor:
    """Equation (8) of Perdew and Wang (1992) with ``g`` of the three sets of parameters."""
    unpolarized, ferromagnetic, stiffness = _PW92[modified]
    energy = g(variables, unpolarized)
    if not variables.polarized:
        return energy
    f = variables.spin_interpolation
    zeta4 = variables.zeta.square().square()
    difference = g(variables, ferromagnetic) - energy
    alpha = g(variables, stiffness) * (-1.0 / _CURVATURE[modified])
    return energy + f * (alpha + zeta4 * (difference - alpha))


def pw92_energy(variables: DensityVariables, modified: bool) -> Tensor:
    """PW92 correlation energy per electron, (..., nr); ``modified`` as in PW92Correlation."""
    return _pw92(variables, modified, _pw92_g)


def pw92_slope(variables: DensityVariables, modified: bool) -> Tensor:
    """Derivative of :func:`pw92_energy` with respect to ln(rs) at fixed zeta, (..., nr)."""
    return _pw92(variables, modified, _pw92_slope)


@register("lda_c_pw_mod", options={"modified": True})
@register("lda_c_pw")
class PW92Correlation(XCFunctional):
    """Correlation of the uniform gas, Perdew and Wang, Phys. Rev. B 45, 13244 (1992).

    Parameters
    ----------
    modified : bool
        False: the constants as published (libxc's ``lda_c_pw``). True: the same constants with
        more digits (``lda_c_pw_mod``), on which PBE correlation is built.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import PW92Correlation, ValGrad
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> PW92Correlation().get_edensityxc(ValGrad(value=one))  # Hartree / bohr^3
    tensor([-0.0712], dtype=torch.float64)
    """

    ingredients = Ingredients.DENSITY

    def __init__(self, modified: bool = False) -> None:
        super().__init__()
        self.modified = modified
        self.name = "lda_c_pw_mod" if modified else "lda_c_pw"

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        return variables.density * pw92_energy(variables, self.modified)


register_sum("LDA", "lda_x", "lda_c_pw")

# A, b, c, x0: unpolarised, fully polarised, spin stiffness
_VWN = (
    (0.0310907, 3.72744, 12.9352, -0.10498),
    (0.01554535, 7.06042, 18.0578, -0.325),
    (-1.0 / (6.0 * math.pi**2), 1.13107, 13.0045, -0.0047584),
)


def _vwn_g(variables: DensityVariables, parameters: tuple[float, ...]) -> Tensor:
    """Equation (4.4) of Vosko, Wilk and Nusair (1980), in Hartree."""
    a, b, c, x0 = parameters
    q = math.sqrt(4.0 * c - b * b)
    x, rs = variables.sqrt_rs, variables.rs
    polynomial = rs + b * x + c
    arctangent = torch.atan(q / (2.0 * x + b))
    shifted = b * x0 / (x0 * x0 + b * x0 + c)
    return a * (
        torch.log(rs / polynomial)
        + (2.0 * b / q * (1.0 - shifted * (b + 2.0 * x0) / b)) * arctangent
        - shifted * torch.log((x - x0).square() / polynomial)
    )


@register("lda_c_vwn")
class VWNCorrelation(XCFunctional):
    """Correlation of the uniform gas, Vosko, Wilk and Nusair, Can. J. Phys. 58, 1200 (1980).

    This is their form V, fitted to the quantum Monte Carlo energies; libxc's ``lda_c_vwn``.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import VWNCorrelation, ValGrad
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> VWNCorrelation().get_edensityxc(ValGrad(value=one))  # Hartree / bohr^3
    tensor([-0.0716], dtype=torch.float64)
    """

    ingredients = Ingredients.DENSITY
    name = "lda_c_vwn"

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        energy = _vwn_g(variables, _VWN[0])
        if variables.polarized:
            f = variables.spin_interpolation
            zeta4 = variables.zeta.square().square()
            difference = _vwn_g(variables, _VWN[1]) - energy
            alpha = _vwn_g(variables, _VWN[2]) * (1.0 / _CURVATURE[True])
            energy = energy + f * (alpha + zeta4 * (difference - alpha))
        return variables.density * energy


@register("Teter93", "lda_xc_teter93", parts=("lda_xc_teter93",))
class Teter93(XCFunctional):
    """Rational fit of exchange and correlation by Teter; libxc's ``lda_xc_teter93``.

    Goedecker, Teter and Hutter, Phys. Rev. B 54, 1703 (1996), appendix. The GTH LDA ("pade")
    pseudopotentials were made with it.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import Teter93, ValGrad
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> Teter93().get_edensityxc(ValGrad(value=one))  # Hartree / bohr^3
    tensor([-0.8097], dtype=torch.float64)
    """

    ingredients = Ingredients.DENSITY
    name = "Teter93"

    _A = (0.4581652932831429, 2.217058676663745, 0.7405551735357053, 0.01968227878617998)
    _A_SPIN = (0.119086804055547, 0.6157402568883345, 0.1574201515892867, 0.003532336663397157)
    _B = (1.0, 4.504130959426697, 1.110667363742916, 0.02359291751427506)
    _B_SPIN = (0.0, 0.2673612973836267, 0.2052004607777787, 0.004200005045691381)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        rs = variables.rs
        numerator = _cubic(rs, self._A)
        denominator = _cubic(rs, self._B)
        if variables.polarized:
            f = variables.spin_interpolation
            numerator = numerator + f * _cubic(rs, self._A_SPIN)
            denominator = denominator + f * _cubic(rs, self._B_SPIN)
        return -(variables.density * variables.inverse_rs) * numerator / denominator


def _cubic(x: Tensor, coefficients: tuple[float, float, float, float]) -> Tensor:
    c0, c1, c2, c3 = coefficients
    return c0 + x * (c1 + x * (c2 + x * c3))
