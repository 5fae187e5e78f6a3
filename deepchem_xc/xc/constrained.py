"""Neural functionals, with and without exact conditions built into their form.

Exchange and correlation are those of the uniform gas times an enhancement factor each:

    e = e_x(Slater) F_x + e_c(PW92) F_c,    F = [1 + L_a(x net)] d(s),

where net is a network of the inputs x_0 ... x_3 of :mod:`deepchem_xc.xc.features`; x, which is x_2
for a GGA and x_2 + tanh^2 x_3 for a meta-GGA, vanishes in the uniform gas; L_a(y) = a sigmoid(y -
ln(a - 1)) - 1 is bounded and L_a(0) = 0; and d damps large gradients. The form is that of S. Dick
and M. Fernandez-Serra, Phys. Rev. B 104, L161109 (2021). Around a functional other than the LDA,
with F_0 instead of 1, it becomes

    F = a sigmoid(x net + ln[F_0 / (a - F_0)]) d(s),

which is F_0 d(s) for net = 0 and has the same bounds.

x leaves no slope in alpha in the uniform gas, where F of SCAN, r2SCAN or TPSS has one, and it goes
as s^3, where F of any semilocal functional goes as s^2: a network that learns one of these has to
be singular there. With ``linear_limit`` x net is replaced by

    (1 - exp(-s^2)) net_1 + tanh(x_3) net_2,

the general form of a smooth function of s^2 and alpha that vanishes in the uniform gas; a GGA has
the first term alone.

Each condition is a part of the form:

uniform_limit
    F = 1 in the uniform gas, by the factor x that vanishes there.
spin_scaling
    E_x[n_up, n_down] = (E_x[2 n_up] + E_x[2 n_down]) / 2 (G. L. Oliver and J. P. Perdew, Phys.
    Rev. A 20, 397 (1979)). Without it F_x is one factor for both channels and sees x_1 too.
uniform_scaling
    E_x[n_g] = g E_x[n] for n_g(r) = g^3 n(g r) (M. Levy and J. P. Perdew, Phys. Rev. A 32, 2010
    (1985)): F_x does not see the density. Without it F_x sees x_0 too.
lieb_oxford
    0 <= F_x <= 1.804 at every point, which implies the bound of E. H. Lieb and S. Oxford (J. P.
    Perdew, K. Burke and M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996)): L_1.804. Without it F_x =
    1 + y.
correlation_bounds
    0 <= F_c <= 2: correlation is not positive and not below twice that of the uniform gas: L_2.
    Without it F_c = 1 + y.
high_gradient
    F ~ s^(-1/2) or less for s -> infinity, as exchange must under non-uniform scaling to two
    dimensions (J. P. Perdew, A. Ruzsinszky, J. Sun and K. Burke, J. Chem. Phys. 140, 18A533
    (2014)), and correlation vanishes for rapid variation: d = 1 - exp(-100 s^(-1/2)), which is 1
    to 1e-12 below s = 13. Without it d = 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import XCFunctional
from .features import density_feature, gradient_feature, indicator_feature, spin_feature
from .gga_correlation import PBECorrelation
from .gga_exchange import KAPPA_PBE, PBEExchange
from .ingredients import Ingredients
from .kinetic import iso_orbital_indicator, scaled_iso_orbital_indicator
from .lda import SLATER, pw92_energy, spin_scaled_mean
from .networks import evaluate_network, multilayer_perceptron
from .registry import register
from .smooth import fourth_root_decay
from .variables import DensityVariables

__all__ = ["ConstrainedGGA", "ConstrainedMetaGGA", "UnconstrainedGGA", "UnconstrainedMetaGGA"]

_BOUND_EXCHANGE = 1.804
_BOUND_CORRELATION = 2.0
_DECAY = 100.0
_BASES = ("lda", "pbe")


def _switch(condition: str, on: bool) -> bool:
    if not isinstance(on, bool):
        raise ValueError(f"{condition} must be True or False, not {on!r}")
    return on


class _NeuralGGA(XCFunctional):
    """The form above with every condition on or off; see :class:`ConstrainedGGA`."""

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT
    later_options = ("linear_limit",)

    def __init__(
        self,
        *,
        width: int = 16,
        depth: int = 3,
        start: str = "zero",
        base: str = "lda",
        seed: int | None = None,
        uniform_limit: bool = True,
        spin_scaling: bool = True,
        uniform_scaling: bool = True,
        lieb_oxford: bool = True,
        correlation_bounds: bool = True,
        high_gradient: bool = True,
        linear_limit: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if base not in _BASES:
            raise ValueError(f"base must be one of {', '.join(_BASES)}, not {base!r}")
        self.width, self.depth, self.start, self.seed = width, depth, start, seed
        self.base = base
        self.uniform_limit = _switch("uniform_limit", uniform_limit)
        self.spin_scaling = _switch("spin_scaling", spin_scaling)
        self.uniform_scaling = _switch("uniform_scaling", uniform_scaling)
        self.lieb_oxford = _switch("lieb_oxford", lieb_oxford)
        self.correlation_bounds = _switch("correlation_bounds", correlation_bounds)
        self.high_gradient = _switch("high_gradient", high_gradient)
        self.linear_limit = _switch("linear_limit", linear_limit)
        if linear_limit and not uniform_limit:
            raise ValueError("linear_limit says how uniform_limit is reached: set both, or neither")
        if name is not None and not isinstance(name, str):
            raise ValueError(f"name must be a string, not {name!r}")
        self.name = name if name is not None else type(self).__name__
        semilocal = 2 if Ingredients.TAU in self.ingredients else 1
        nexchange = semilocal + (not uniform_scaling) + (not spin_scaling)
        noutput = semilocal if linear_limit else 1
        self.exchange_network = multilayer_perceptron(
            nexchange, width, depth, start, seed, noutput=noutput
        )
        # different networks from one seed
        second = None if seed is None else seed + 1
        self.correlation_network = multilayer_perceptron(
            semilocal + 2, width, depth, start, second, noutput=noutput
        )

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume, (..., nr), Hartree / bohr^3."""
        slater = variables.scaled_density * variables.scaled_inverse_rs
        if self.spin_scaling:
            exchange = spin_scaled_mean(variables, slater * self.exchange_factor(variables))
        else:
            exchange = spin_scaled_mean(variables, slater) * self.exchange_factor(variables)
        uniform = pw92_energy(variables, modified=self.base == "pbe")
        correlation = uniform * self.correlation_factor(variables)
        return SLATER * exchange + variables.density * correlation

    def exchange_factor(self, variables: DensityVariables) -> Tensor:
        """Enhancement factor of exchange.

        Parameters
        ----------
        variables : DensityVariables
            Screened density and gradient (and kinetic energy density).

        Returns
        -------
        Tensor
            (..., nr); one a channel, (2, ..., nr), with two channels and spin scaling.
        """
        scaled = self.spin_scaling
        inputs = []
        if not self.uniform_scaling:
            inverse_rs = variables.scaled_inverse_rs if scaled else variables.inverse_rs
            inputs.append(density_feature(inverse_rs))
        if not scaled:
            inputs.append(spin_feature(variables))
        s2 = variables.scaled_s2 if scaled else variables.s2
        indicator = scaled_iso_orbital_indicator if scaled else iso_orbital_indicator
        alpha = indicator(variables) if Ingredients.TAU in self.ingredients else None
        y = self._change(self.exchange_network, inputs, s2, alpha)
        return self._damped(self._exchange_around_base(y, s2), s2)

    def _exchange_around_base(self, y: Tensor, s2: Tensor) -> Tensor:
        a = _BOUND_EXCHANGE
        if self.base == "lda":
            return a * torch.sigmoid(y - math.log(a - 1.0)) if self.lieb_oxford else 1.0 + y
        exchange = PBEExchange()
        factor = exchange.enhancement_factor(s2)
        if not self.lieb_oxford:
            return factor + y
        # a - F_0 in a closed form: the difference itself would cancel at large gradients
        rest = KAPPA_PBE**2 / (KAPPA_PBE + exchange.mu * s2)
        return a * torch.sigmoid(y + torch.log(factor) - torch.log(rest))

    def correlation_factor(self, variables: DensityVariables) -> Tensor:
        """Enhancement factor of correlation relative to PW92, (..., nr).

        Parameters
        ----------
        variables : DensityVariables
            Screened density and gradient (and kinetic energy density).

        Returns
        -------
        Tensor
            (..., nr).
        """
        inputs = [density_feature(variables.inverse_rs), spin_feature(variables)]
        alpha = iso_orbital_indicator(variables) if Ingredients.TAU in self.ingredients else None
        y = self._change(self.correlation_network, inputs, variables.s2, alpha)
        return self._damped(self._correlation_around_base(y, variables), variables.s2)

    def _correlation_around_base(self, y: Tensor, variables: DensityVariables) -> Tensor:
        a = _BOUND_CORRELATION
        if self.base == "lda":
            return a * torch.sigmoid(y - math.log(a - 1.0)) if self.correlation_bounds else 1.0 + y
        uniform = variables.density * pw92_energy(variables, modified=True)
        factor = PBECorrelation().energy_density(variables) / uniform
        if not self.correlation_bounds:
            return factor + y
        return a * torch.sigmoid(y + torch.log(factor) - torch.log(a - factor))

    def _change(
        self, network: torch.nn.Module, inputs: list[Tensor], s2: Tensor, alpha: Tensor | None
    ) -> Tensor:
        """x net, its linear form, or net alone without the uniform limit."""
        gradient = gradient_feature(s2)
        inputs = [*inputs, gradient]
        # From the uniform gas.
        distances = [-torch.expm1(-s2) if self.linear_limit else gradient]
        if alpha is not None:
            indicator = indicator_feature(alpha)
            inputs.append(indicator)
            bounded = torch.tanh(indicator)
            if self.linear_limit:
                distances.append(bounded)
            else:
                distances[0] = distances[0] + bounded.square()
        outputs = evaluate_network(network, inputs)
        if not self.uniform_limit:
            return outputs[0]
        return (torch.stack(distances) * outputs).sum(0)

    def _damped(self, factor: Tensor, s2: Tensor) -> Tensor:
        return factor * fourth_root_decay(s2, _DECAY) if self.high_gradient else factor


@register(trained=True)
class ConstrainedGGA(_NeuralGGA):
    """Neural GGA with exact conditions, each of which can be switched off.

    :mod:`deepchem_xc.xc.constrained` lists equations and conditions.

    Parameters
    ----------
    width, depth : int
        Size and number of the hidden layers of both networks.
    start : str
        "zero": zero last layers, so that before training the functional is its base, to 1e-12
        below s = 13. "random": torch's initial weights.
    base : str
        Functional that the networks modify: "lda", Slater exchange and PW92 correlation, or "pbe".
    seed : int, optional
        Seed of the initial weights.
    uniform_limit, spin_scaling, uniform_scaling, lieb_oxford, correlation_bounds, high_gradient
        Conditions, all on by default.
    linear_limit : bool, optional
        Whether F reaches the uniform gas linearly in s^2 and alpha - 1, as known functionals do;
        by default in the published form, with s^3 and (alpha - 1)^2.
    name : str, optional
        Default: the name of the class.

    Attributes
    ----------
    exchange_network, correlation_network : torch.nn.Sequential
        In float64. With all conditions exchange sees x_2 and correlation x_0, x_1, x_2; meta-GGAs
        see x_3 as well.

    Raises
    ------
    ValueError
        For sizes below 1, an unknown ``start`` or ``base``, and ``linear_limit`` without
        ``uniform_limit``.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import ConstrainedGGA, ValGrad, get_xc
    >>> n, gradient = torch.ones(5).double(), torch.ones(3, 5).double()
    >>> density = ValGrad(value=n, grad=gradient)
    >>> lda = get_xc("LDA").get_edensityxc(density)
    >>> torch.allclose(ConstrainedGGA().get_edensityxc(density), lda)
    True
    """


@register(trained=True)
class ConstrainedMetaGGA(ConstrainedGGA):
    """Neural meta-GGA with exact conditions: :class:`ConstrainedGGA` with the input x_3.

    Parameters, attributes and errors as there; ``kin`` of the density is needed.

    Examples
    --------
    >>> from deepchem_xc.xc import ConstrainedMetaGGA
    >>> ConstrainedMetaGGA(lieb_oxford=False).exchange_network[0].in_features
    2
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT | Ingredients.TAU


@register(trained=True)
class UnconstrainedGGA(_NeuralGGA):
    """The twin of :class:`ConstrainedGGA` without conditions: F = 1 + net(x_0, x_1, x_2).

    Parameters
    ----------
    width, depth, start, seed, name
        As there.

    Examples
    --------
    >>> from deepchem_xc.xc import UnconstrainedGGA
    >>> UnconstrainedGGA().exchange_network[0].in_features
    3
    """

    def __init__(
        self,
        *,
        width: int = 16,
        depth: int = 3,
        start: str = "zero",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            width=width,
            depth=depth,
            start=start,
            seed=seed,
            uniform_limit=False,
            spin_scaling=False,
            uniform_scaling=False,
            lieb_oxford=False,
            correlation_bounds=False,
            high_gradient=False,
            name=name,
        )


@register(trained=True)
class UnconstrainedMetaGGA(UnconstrainedGGA):
    """The twin of :class:`ConstrainedMetaGGA` without conditions: F = 1 + net(x_0, ..., x_3).

    Parameters as for :class:`UnconstrainedGGA`.

    Examples
    --------
    >>> from deepchem_xc.xc import UnconstrainedMetaGGA
    >>> UnconstrainedMetaGGA().correlation_network[0].in_features
    4
    """

    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT | Ingredients.TAU
