"""Exchange in the generalised gradient approximation: e_x = e_x(Slater) F(s^2), per spin channel.

Such a functional is defined by its enhancement factor F as a function of the squared reduced
gradient s^2, where s = |grad n| / (2 kF n) and kF = (3 pi^2 n)^(1/3). The square is used, not s
itself, because F is smooth in it at zero gradient.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from .base import XCFunctional
from .ingredients import Ingredients
from .lda import SLATER, spin_scaled_mean
from .registry import register
from .smooth import asinh_ratio
from .variables import DensityVariables

__all__ = ["B88Exchange", "GGAExchange", "PBEExchange", "RPBEExchange"]

MU_PBE = 0.2195149727645171
KAPPA_PBE = 0.804
KAPPA_REVPBE = 1.245
MU_PBESOL = 10.0 / 81.0


class GGAExchange(XCFunctional):
    """Exchange given by an enhancement factor; subclasses implement :meth:`enhancement_factor`.

    Examples
    --------
    The gradient expansion to second order:

    >>> from deepchem_xc.xc import GGAExchange
    >>> class GradientExpansion(GGAExchange):
    ...     name = "GEA2"
    ...     def enhancement_factor(self, s2):
    ...         return 1.0 + 10.0 / 81.0 * s2
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT

    def enhancement_factor(self, s2: Tensor) -> Tensor:
        """F(s^2), of the same shape as ``s2``."""
        raise NotImplementedError(f"{type(self).__name__} must implement enhancement_factor(s2)")

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        slater = variables.scaled_density * variables.scaled_inverse_rs
        energy = slater * self.enhancement_factor(variables.scaled_s2)
        return SLATER * spin_scaled_mean(variables, energy)


def constant(name: str, value: Any, trainable: Any) -> Any:
    """A functional's constant: a plain number, or a float64 parameter if trainable."""
    if not isinstance(trainable, bool):
        raise ValueError(f"trainable must be True or False, not {trainable!r}")
    number = value.detach() if isinstance(value, Tensor) else value
    one = isinstance(number, Tensor) and number.ndim == 0 and not number.is_complex()
    if not (one or isinstance(number, Real)) or not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number or a 0-d tensor, not {value!r}")
    if trainable and not isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(torch.as_tensor(value, dtype=torch.float64).clone().detach())
    return value


@register("gga_x_pbe_r", options={"kappa": KAPPA_REVPBE, "name": "gga_x_pbe_r"})
@register("gga_x_pbe_sol", options={"mu": MU_PBESOL, "name": "gga_x_pbe_sol"})
@register("gga_x_pbe")
class PBEExchange(GGAExchange):
    """Exchange of Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).

    F = 1 + kappa - kappa / (1 + mu s^2 / kappa).

    Parameters
    ----------
    kappa, mu : float or Tensor
        Defaults: PBE (libxc's ``gga_x_pbe``). PBEsol has mu = 10/81 (Phys. Rev. Lett. 100, 136406
        (2008)), revPBE kappa = 1.245 (Phys. Rev. Lett. 80, 890 (1998)).
    trainable : bool
        Whether both constants are parameters.
    name : str
        Name of the result.

    Examples
    --------
    >>> from deepchem_xc.xc import PBEExchange
    >>> sorted(dict(PBEExchange(trainable=True).named_parameters()))
    ['kappa', 'mu']
    """

    def __init__(
        self,
        kappa: float | Tensor = KAPPA_PBE,
        mu: float | Tensor = MU_PBE,
        trainable: bool = False,
        name: str = "gga_x_pbe",
    ) -> None:
        super().__init__()
        self.kappa = constant("kappa", kappa, trainable)
        self.mu = constant("mu", mu, trainable)
        self.name = name

    def enhancement_factor(self, s2: Tensor) -> Tensor:
        """F(s^2), of the same shape as ``s2``."""
        return 1.0 + self.kappa - (self.kappa * self.kappa) / (self.kappa + self.mu * s2)


@register("gga_x_rpbe")
class RPBEExchange(PBEExchange):
    """Exchange of Hammer, Hansen and Norskov, Phys. Rev. B 59, 7413 (1999): ``gga_x_rpbe``.

    F = 1 + kappa (1 - exp(-mu s^2 / kappa)). Parameters as for :class:`PBEExchange`.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import RPBEExchange, ValGrad
    >>> one = torch.ones(3, 1, dtype=torch.float64)
    >>> RPBEExchange().get_edensityxc(ValGrad(value=one[0], grad=one))  # Hartree / bohr^3
    tensor([-0.7511], dtype=torch.float64)
    """

    def __init__(
        self,
        kappa: float | Tensor = KAPPA_PBE,
        mu: float | Tensor = MU_PBE,
        trainable: bool = False,
        name: str = "gga_x_rpbe",
    ) -> None:
        super().__init__(kappa, mu, trainable, name)

    def enhancement_factor(self, s2: Tensor) -> Tensor:
        """F(s^2), of the same shape as ``s2``."""
        # Not expm1: its derivative in torch is 1 + expm1, which loses the tail.
        return 1.0 + self.kappa - self.kappa * torch.exp((-self.mu / self.kappa) * s2)


@register("gga_x_b88")
class B88Exchange(GGAExchange):
    """Exchange of Becke, Phys. Rev. A 38, 3098 (1988): libxc's ``gga_x_b88``.

    ``e_x,sigma = Slater - n^(4/3) beta x^2 / (1 + 6 beta x asinh x), x = |grad n_s| / n_s^(4/3)``.

    Parameters
    ----------
    beta : float or Tensor
        Becke's constant.
    trainable : bool
        Whether it is a parameter.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import B88Exchange, ValGrad
    >>> one = torch.ones(3, 1, dtype=torch.float64)
    >>> B88Exchange().get_edensityxc(ValGrad(value=one[0], grad=one))  # Hartree / bohr^3
    tensor([-0.7532], dtype=torch.float64)
    """

    name = "gga_x_b88"
    # x^2 / s^2, and the Slater energy of one channel over n_s^(4/3)
    _X2_PER_S2 = 4.0 * (6.0 * math.pi**2) ** (2.0 / 3.0)
    _SLATER_CHANNEL = 1.5 * (0.75 / math.pi) ** (1.0 / 3.0)

    def __init__(self, beta: float | Tensor = 0.0042, trainable: bool = False) -> None:
        super().__init__()
        self.beta = constant("beta", beta, trainable)

    def enhancement_factor(self, s2: Tensor) -> Tensor:
        """F(s^2), of the same shape as ``s2``."""
        x2 = self._X2_PER_S2 * s2
        # x asinh(x) = x^2 (asinh(x) / x), the bracket being smooth in x^2
        denominator = 1.0 + (6.0 * self.beta) * (x2 * asinh_ratio(x2))
        return 1.0 + (self.beta / self._SLATER_CHANNEL) * x2 / denominator
