"""DeepChem's neural functionals: a network of the density, alone or added to a known functional.

Names, signatures and meaning are those of ``deepchem.models.dft.nnxc`` (M. F. Kasim and S. M.
Vinko, Phys. Rev. Lett. 127, 126403 (2021)). These points differ:

- The energy is the mean of the network's at xi and -xi. DeepChem takes only that at xi =
  (n_up - n_down) / n, which has a sign, so that the energy of a magnet depends on which channel is
  called up. For a closed shell both are the same.
- The network sees the reduced gradient s as s (1 + (s / 10)^16)^(-1/16): s itself to 3e-10 for s <
  3, to 1e-6 at 5, and never more than 10. In the tail of a density s grows as n^(-1/3). There the
  potential of a network that grows with s, such as DeepChem's default, would be unbounded, and
  exp(s) would overflow.
- Any number of leading axes works (DeepChem took the norm of the gradient over the first axis,
  whatever it was), densities are screened, derivatives are finite at zero gradient, and networks
  are checked.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._deepchem import BaseXC
from .base import XCFunctional, as_functional, summed_shares
from .by_name import get_xc
from .ingredients import Ingredients
from .networks import checked_network, evaluate_network
from .registry import register
from .smooth import bounded, smooth_root
from .variables import DensityVariables

__all__ = ["NNLDA", "NNPBE", "HybridXC"]


# Largest reduced gradient that a network sees.
_LARGEST_S = 10.0


def _energy_per_electron(
    network: torch.nn.Module, variables: DensityVariables, *others: Tensor
) -> Tensor:
    """Network output, averaged over both signs of the polarisation, (..., nr)."""
    n = variables.density
    if not variables.polarized:
        return evaluate_network(network, (n, torch.zeros_like(n), *others))[0]
    xi = torch.stack((variables.zeta, -variables.zeta))
    rest = (n, *others)
    n, *others_twice = (field.expand_as(xi) for field in rest)
    return evaluate_network(network, (n, xi, *others_twice))[0].mean(0)


@register()
class NNLDA(XCFunctional):
    """Energy per electron from a network of the density: e = n [net(n, xi) + net(n, -xi)] / 2.

    Parameters
    ----------
    nnmodel : torch.nn.Module
        From (..., 2) to (..., 1): the inputs are n in 1 / bohr^3 and xi = (n_up - n_down) / n, the
        output is in Hartree. Its parameters are converted to float64 in place.

    Raises
    ------
    TypeError
        If it is not a module.
    ValueError
        If it has other numbers of inputs or outputs, or its weights contain NaN.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import NNLDA, ValGrad
    >>> functional = NNLDA(torch.nn.Linear(2, 1))
    >>> density = ValGrad(value=torch.ones(4, 5, dtype=torch.float64))
    >>> functional.get_edensityxc(density).shape
    torch.Size([4, 5])
    """

    ingredients = Ingredients.DENSITY
    name = "NNLDA"

    def __init__(self, nnmodel: torch.nn.Module) -> None:
        super().__init__()
        self.nnmodel = checked_network(nnmodel, ("n", "xi"))

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        return variables.density * _energy_per_electron(self.nnmodel, variables)


@register()
class NNPBE(XCFunctional):
    """Energy per electron from a network of density and gradient.

    e = n [net(n, xi, s) + net(n, -xi, s)] / 2.

    Parameters
    ----------
    nnmodel : torch.nn.Module
        From (..., 3) to (..., 1): the inputs are, in this order, n in 1 / bohr^3, xi = (n_up -
        n_down) / n and ``s = |grad n| / (2 (3 pi^2)^(1/3) n^(4/3))``, the output is in Hartree.
        Its parameters are converted to float64 in place.

    Raises
    ------
    TypeError
        If it is not a module.
    ValueError
        If it has other numbers of inputs or outputs, or its weights contain NaN.

    Notes
    -----
    s has no derivative at zero gradient, so that the potential would not exist there for most
    networks; sqrt(s^2 + 1e-10) replaces it. Above s = 3 it is bent to stay below 10, see the
    module's docstring.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import NNPBE
    >>> NNPBE(torch.nn.Linear(2, 1))
    Traceback (most recent call last):
    ...
    ValueError: the network does not fit this functional: it must map 3 inputs (n, xi, s) to ...
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT
    name = "NNPBE"

    def __init__(self, nnmodel: torch.nn.Module) -> None:
        super().__init__()
        self.nnmodel = checked_network(nnmodel, ("n", "xi", "s"))

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        density = variables.density
        s = smooth_root(bounded(variables.s2, _LARGEST_S))
        return density * _energy_per_electron(self.nnmodel, variables, s)


@register(threshold_of_parts=True)
class HybridXC(XCFunctional):
    """A network and a known functional, a E_network + b E_known, with trainable a and b.

    Parameters
    ----------
    xcstr : str or XCFunctional
        The known functional: anything that :func:`~deepchem_xc.xc.get_xc` takes.
    nnmodel : torch.nn.Module
        A network, which becomes an :class:`NNLDA` if the known functional is an LDA and an
        :class:`NNPBE` if it is a GGA or meta-GGA; or a functional, taken as it is.
    aweight0, bweight0 : float
        Initial weights of network and known functional. While a is 0, DeepChem's default, no
        gradient reaches the network: the first step changes only a itself.

    Attributes
    ----------
    aweight, bweight : torch.nn.Parameter
        0-d, float64.
    nnxc, xc : XCFunctional
        The network's and the known functional.

    Raises
    ------
    TypeError, ValueError
        As :func:`~deepchem_xc.xc.get_xc`, :class:`NNLDA` and :class:`NNPBE` do.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import HybridXC
    >>> functional = HybridXC("gga_x_pbe", torch.nn.Linear(3, 1), aweight0=0.1)
    >>> functional.family, functional.nnxc.name
    (2, 'NNPBE')
    >>> sorted(name for name, _ in functional.named_parameters())
    ['aweight', 'bweight', 'nnxc.nnmodel.bias', 'nnxc.nnmodel.weight']
    """

    def __init__(
        self,
        xcstr: str | XCFunctional,
        nnmodel: torch.nn.Module,
        aweight0: float = 0.0,
        bweight0: float = 1.0,
    ) -> None:
        super().__init__()
        known = get_xc(xcstr)
        if not isinstance(known, XCFunctional):
            raise TypeError(
                f"HybridXC adds a network to an XCFunctional, not to a {type(known).__name__}"
            )
        self.xc = known
        gradient = Ingredients.GRADIENT in known.ingredients
        if isinstance(nnmodel, BaseXC):
            self.nnxc = as_functional(nnmodel)
        else:
            self.nnxc = NNPBE(nnmodel) if gradient else NNLDA(nnmodel)
        self.aweight = _weight("aweight0", aweight0)
        self.bweight = _weight("bweight0", bweight0)
        self.ingredients = self.xc.ingredients | self.nnxc.ingredients
        self.density_threshold = min(self.xc.density_threshold, self.nnxc.density_threshold)
        self.name = f"a*{self.nnxc.name}+b*{self.xc.name}"

    def options(self) -> dict[str, Any]:
        """Arguments of the constructor, for files; the weights are stored separately."""
        return {"xcstr": self.xc, "nnmodel": self.nnxc}

    @classmethod
    def from_options(cls, **options: Any) -> HybridXC:
        """Inverse of `options`; a file contains its functionals and must not open other files."""
        if not isinstance(options.get("xcstr"), XCFunctional):
            raise ValueError(f"xcstr must be a functional, not {options.get('xcstr')!r}")
        return cls(**options)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        network, known = self.nnxc._energy_at(variables), self.xc._energy_at(variables)
        return self.aweight * network + self.bweight * known

    def exchange_shares(self) -> dict[float, Any]:
        """Fractions of exact exchange of both, by omega."""
        return summed_shares([(self.aweight, self.nnxc), (self.bweight, self.xc)])


def _weight(name: str, value: Any) -> torch.nn.Parameter:
    number = value.detach() if isinstance(value, Tensor) else value
    try:
        found = float(number)
    except (TypeError, ValueError, RuntimeError):
        found = math.nan
    if isinstance(number, str) or not math.isfinite(found):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return torch.nn.Parameter(torch.tensor(found, dtype=torch.float64))
