"""PBE and its relatives as whole functionals: exchange plus correlation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .base import SumXC
from .gga_correlation import BETA_PBE, BETA_PBESOL, PBECorrelation
from .gga_exchange import KAPPA_PBE, KAPPA_REVPBE, MU_PBE, MU_PBESOL, PBEExchange
from .registry import register, register_sum

__all__ = ["PBE"]


@register(
    "revPBE",
    parts=("gga_x_pbe_r", "gga_c_pbe"),
    options={"kappa": KAPPA_REVPBE, "name": "revPBE"},
)
@register(
    "PBEsol",
    parts=("gga_x_pbe_sol", "gga_c_pbe_sol"),
    options={"mu": MU_PBESOL, "beta": BETA_PBESOL, "name": "PBEsol"},
)
@register("PBE", parts=("gga_x_pbe", "gga_c_pbe"), trained=True)
class PBE(SumXC):
    """The functional of Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).

    Parameters
    ----------
    kappa, mu : float or Tensor
        Constants of exchange, see :class:`~deepchem_xc.xc.PBEExchange`.
    beta : float or Tensor
        Constant of correlation, see :class:`~deepchem_xc.xc.PBECorrelation`.
    trainable : bool
        Whether the three constants are parameters.
    name : str
        Name of the result.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> [name for name, _ in PBE(trainable=True).named_parameters()]
    ['terms.0.kappa', 'terms.0.mu', 'terms.1.beta']
    """

    def __init__(
        self,
        kappa: float | Tensor = KAPPA_PBE,
        mu: float | Tensor = MU_PBE,
        beta: float | Tensor = BETA_PBE,
        trainable: bool = False,
        name: str = "PBE",
    ) -> None:
        exchange = PBEExchange(kappa, mu, trainable, name=f"exchange of {name}")
        correlation = PBECorrelation(beta, trainable, name=f"correlation of {name}")
        super().__init__(exchange, correlation, name=name)

    def options(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        exchange, correlation = self.terms
        constants = {"kappa": exchange.kappa, "mu": exchange.mu, "beta": correlation.beta}
        return {**constants, "name": self.name}

    @classmethod
    def from_options(cls, **options: Any) -> PBE:
        """Rebuild PBE from what :meth:`options` returned."""
        return cls(**options)


register_sum("RPBE", "gga_x_rpbe", "gga_c_pbe")
