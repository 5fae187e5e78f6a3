"""Inputs of functionals: the screened density and the quantities derived from it.

A :class:`DensityVariables` is built once per evaluation. Each quantity is computed when first used
and then kept, so that the terms of a sum (such as PBE exchange and PBE correlation) share the
powers of the density and the reduced gradients.

Screening
---------
Densities on a grid are zero, or slightly negative by round-off, in vacuum and in an empty spin
channel, where derivatives of functionals diverge. The threshold ``T`` is 1e-15 / bohr^3, libxc's
default. Energy density, first, second and third derivatives are finite everywhere.

*In vacuum*, the energy density is multiplied by a switch ``w``, a polynomial with three continuous
derivatives that is 1 for ``n >= T`` and 0 for ``n <= 1e-5 T``; below, the density is replaced by
this floor. With two channels the switches combine to one that is 0 only where both are empty. So
energy and potential of a vacuum are exactly zero, and a density above T is untouched, bit for bit.

*In an empty channel beside a full one* the potential is the limit of that of a small density,
where this limit exists:

- Where a channel's density is below ``1e-4 T``, the functional sees that value instead, and the
  potential is the derivative there. In a local density approximation it deviates from the limit by
  the exchange potential of this density, 6e-7 Hartree. The energy does not change with the channel
  there, so that where the density is negative by more than round-off (superposed atoms, core
  densities at a low cutoff) the potential is not the energy's derivative. A linear continuation of
  the energy would restore that, but its mixed second derivative is unbounded where the other
  channel is nearly empty too, and it would need third derivatives, which libxc does not have. The
  effect is small: see docs/functionals.md.
- Quantities that diverge in a generalised gradient approximation are switched off, again by a
  polynomial, where a channel holds less than 1e-8 of the other one (or T): its own reduced gradient
  and kinetic energy density (computed from round-off, they are noise of any size), and its part of
  PBE's ``phi(zeta)``, whose derivative grows as the channel's density to the power -1/3. The
  relative change of the correlation energy at such points is below 1e-5, and zero for an empty
  channel. The gradient of the total density stays, so that the potential of the empty channel is a
  smooth function of the density and gradient of the full one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad

__all__ = ["DensityVariables", "channels_of", "counts_as_empty", "mapped"]

# rs^3 = 3 / (4 pi n), kF = (9 pi / 4)^(1/3) / rs, s^2 = |grad n|^2 / (2 kF n)^2
_LOG_RS_SCALE = math.log(3.0 / (4.0 * math.pi))
_KF_RS = (9.0 * math.pi / 4.0) ** (1.0 / 3.0)
_LOG_S2_SCALE = -2.0 * math.log(2.0 * _KF_RS * math.exp(_LOG_RS_SCALE))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product over the Cartesian axis of two (..., 3, nr) fields."""
    return (a * b).sum(-2)


# Least density of a channel, relative to the other one, at which its own gradient counts.
_EMPTY = 1e-8
# Density, in thresholds, at which the potential of an empty channel is evaluated.
_LEAST = 1e-4


def channels_of(densinfo: ValGrad | SpinParam) -> tuple[ValGrad, ...]:
    """One density, or up and down.

    Examples
    --------
    >>> from deepchem_xc.xc import SpinParam, ValGrad
    >>> half = ValGrad(value=torch.ones(4))
    >>> len(channels_of(half)), len(channels_of(SpinParam(u=half, d=half)))
    (1, 2)
    """
    return (densinfo,) if isinstance(densinfo, ValGrad) else (densinfo.u, densinfo.d)


def counts_as_empty(density: Tensor, threshold: float) -> Tensor:
    """Where functionals see a constant instead of the density of one of two channels.

    Parameters
    ----------
    density : Tensor
        Density of the channel, 1 / bohr^3.
    threshold : float
        Density threshold of the functional, 1 / bohr^3.

    Examples
    --------
    >>> counts_as_empty(torch.tensor([1e-3, 0.0, -1e-3]), 1e-15)
    tensor([False,  True,  True])
    """
    return density.detach() < _LEAST * threshold


def mapped(channel: ValGrad, function: Callable[[Tensor], Tensor]) -> ValGrad:
    """One channel with a function applied to every field that it has.

    Examples
    --------
    >>> from deepchem_xc.xc import ValGrad
    >>> mapped(ValGrad(value=torch.ones(4)), torch.neg)
    ValGrad(value=tensor([-1., -1., -1., -1.]), grad=None, lapl=None, kin=None)
    """
    fields = {name: getattr(channel, name) for name in ("value", "grad", "lapl", "kin")}
    return ValGrad(**{name: function(x) for name, x in fields.items() if x is not None})


class DensityVariables:
    """Screened densities of one evaluation and the quantities functionals derive from them.

    Parameters
    ----------
    densinfo : ValGrad or SpinParam[ValGrad]
        Total density, or spin-up and spin-down densities. ``value`` and ``kin`` have the shape
        (..., nr), ``grad`` has (..., 3, nr); atomic units. ``kin`` is the positive kinetic energy
        density, ``sum_i f_i |grad psi_i|^2 / 2``.
    threshold : float
        Densities below it are screened (see the module's docstring), in 1 / bohr^3.

    Raises
    ------
    ValueError
        When a functional asks for the gradient or the kinetic energy density and ``densinfo`` has
        none.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import ValGrad
    >>> from deepchem_xc.xc.variables import DensityVariables
    >>> v = DensityVariables(ValGrad(value=torch.tensor([0.1, 0.2], dtype=torch.float64)))
    >>> v.polarized, v.rs.shape
    (False, torch.Size([2]))
    """

    #: Whether switches that are 1 at all points are left out, which saves work but branches on the
    #: values. Programs without branches on data compute them always, with the same result.
    omits_idle_switches = True

    def __init__(self, densinfo: ValGrad | SpinParam, threshold: float = 1e-15) -> None:
        self.densinfo = densinfo
        self.polarized = not isinstance(densinfo, ValGrad)
        self.threshold = threshold
        self._floor = 1e-5 * threshold

    @property
    def shape(self) -> torch.Size:
        """Shape of an energy density: (..., nr)."""
        return self.raw_density.shape[1:] if self.polarized else self.raw_density.shape

    # densities ------------------------------------------------------------------------------

    @cached_property
    def raw_density(self) -> Tensor:
        """Density as given: (..., nr), or (2, ..., nr) with two channels."""
        channels = channels_of(self.densinfo)
        for channel in channels:
            _check_precision(channel.value, "the density")
        return torch.stack([c.value for c in channels]) if self.polarized else channels[0].value

    @cached_property
    def channel_weight(self) -> Tensor | None:
        """Switch for each given density, 0 in vacuum and 1 above the threshold; None if all 1."""
        density = self.raw_density
        if self.omits_idle_switches and (
            density.numel() == 0 or bool(density.detach().amin() >= self.threshold)
        ):
            return None  # most crystals: saves a sixth of the operations of PBE
        width = self.threshold - self._floor
        return _smooth_step(density * (1.0 / width) - self._floor / width)

    @cached_property
    def gradient_weight(self) -> Tensor | None:
        """Switch for each channel's own gradient, 0 if it is empty compared with the other.

        None if all 1; only with two channels.
        """
        self._need_two_channels("gradient_weight")
        density = self.raw_density
        enough = self.threshold + _EMPTY * density.flip(0).clamp(min=0.0)
        if self.omits_idle_switches and (density.numel() == 0 or bool((density >= enough).all())):
            return None
        return _smooth_step(density / enough)

    def switch_off_in_vacuum(self, energy_density: Tensor) -> Tensor:
        """Energy density (..., nr) times a factor that is 0 only where all channels are empty."""
        weight = self.channel_weight
        if weight is None:
            return energy_density
        if self.polarized:
            up, down = weight.unbind(0)
            weight = up + down - up * down
        return weight * energy_density

    @cached_property
    def spin_densities(self) -> Tensor:
        """Screened up and down densities, (2, ..., nr); only with two channels."""
        self._need_two_channels("spin_densities")
        density = self.raw_density
        if self.channel_weight is None:
            return density
        # The floor's value, but with derivative 1: this gives the limit of the potential.
        limit = _LEAST * self.threshold + (density - density.detach())
        return torch.where(counts_as_empty(density, self.threshold), limit, density)

    @cached_property
    def density(self) -> Tensor:
        """Screened total density, (..., nr)."""
        if self.polarized:
            return self.spin_densities.sum(0)
        if self.channel_weight is None:
            return self.raw_density
        # switch_off_in_vacuum removes the step in the derivative at the floor.
        return self.raw_density.clamp(min=self._floor)

    @cached_property
    def scaled_density(self) -> Tensor:
        """Densities of the spin scaling relation: n, or 2 n_up and 2 n_down, (2, ..., nr)."""
        return 2.0 * self.spin_densities if self.polarized else self.density

    # Powers of the density are exponentials of one logarithm: they and their derivatives are
    # several times cheaper than with pow.

    @cached_property
    def log_rs(self) -> Tensor:
        """Logarithm of the Wigner-Seitz radius of the total density, (..., nr)."""
        return (torch.log(self.density) - _LOG_RS_SCALE) * (-1.0 / 3.0)

    @cached_property
    def rs(self) -> Tensor:
        """Wigner-Seitz radius of the total density, (..., nr), bohr."""
        return torch.exp(self.log_rs)

    @cached_property
    def sqrt_rs(self) -> Tensor:
        """Square root of :attr:`rs`."""
        return torch.exp(0.5 * self.log_rs)

    @cached_property
    def inverse_rs(self) -> Tensor:
        """Reciprocal of :attr:`rs`."""
        return torch.exp(-self.log_rs)

    @cached_property
    def scaled_log_rs(self) -> Tensor:
        """Logarithm of the Wigner-Seitz radius of :attr:`scaled_density`."""
        if self.polarized:
            return (torch.log(self.scaled_density) - _LOG_RS_SCALE) * (-1.0 / 3.0)
        return self.log_rs

    @cached_property
    def scaled_inverse_rs(self) -> Tensor:
        """Reciprocal Wigner-Seitz radius of :attr:`scaled_density`."""
        return torch.exp(-self.scaled_log_rs) if self.polarized else self.inverse_rs

    # spin polarisation ------------------------------------------------------------------------

    @cached_property
    def zeta(self) -> Tensor:
        """Relative polarisation (n_up - n_down) / n, (..., nr); only with two channels."""
        up, down = self.spin_densities.unbind(0)
        return (up - down) / self.density

    @cached_property
    def one_plus_minus_zeta(self) -> Tensor:
        """1 + zeta and 1 - zeta, (2, ..., nr), without cancellation for a nearly empty channel."""
        return self.scaled_density / self.density

    @cached_property
    def cbrt_one_plus_minus_zeta(self) -> Tensor:
        """Cubic roots of 1 + zeta and 1 - zeta, (2, ..., nr)."""
        self._need_two_channels("cbrt_one_plus_minus_zeta")
        return self.rs * self.scaled_inverse_rs

    @cached_property
    def spin_interpolation(self) -> Tensor:
        """[(1+zeta)^(4/3) + (1-zeta)^(4/3) - 2] / (2^(4/3) - 2), (..., nr)."""
        total = (self.one_plus_minus_zeta * self.cbrt_one_plus_minus_zeta).sum(0)
        return (total - 2.0) * (1.0 / (2.0 ** (4.0 / 3.0) - 2.0))

    @cached_property
    def spin_scaling(self) -> Tensor:
        """Function phi = [(1+zeta)^(2/3) + (1-zeta)^(2/3)] / 2 of PBE, (..., nr).

        Without the part of an empty channel (see the module's docstring).
        """
        parts = self.cbrt_one_plus_minus_zeta.square()
        weight = self.gradient_weight
        if weight is not None:  # in a vacuum both channels are empty: keep both
            parts = parts * (1.0 - (1.0 - weight) * weight.flip(0))
        return parts.mean(0)

    # gradients --------------------------------------------------------------------------------

    @cached_property
    def gradients(self) -> tuple[Tensor, ...]:
        """Density gradients as given, one (..., 3, nr) tensor a channel."""
        channels = channels_of(self.densinfo)
        gradients = tuple(c.grad for c in channels if c.grad is not None)
        if len(gradients) < len(channels):
            raise ValueError(
                "this functional needs the gradient of the density, but densinfo.grad is None: "
                "give ValGrad(value=(..., nr), grad=(..., 3, nr)) for every spin channel; "
                "your own functional declares this by family = 2 (GGA) or 4 (meta-GGA)"
            )
        for channel, gradient in zip(channels, gradients):
            _check_precision(gradient, "densinfo.grad")
            expected = (*channel.value.shape[:-1], 3, channel.value.shape[-1])
            if tuple(gradient.shape) != expected:
                raise ValueError(
                    f"densinfo.grad has the shape {tuple(gradient.shape)}; for a density of "
                    f"shape {tuple(channel.value.shape)} it must be {expected}"
                )
        return gradients

    @cached_property
    def spin_sigma(self) -> Tensor:
        """Given ``|grad n_up|^2`` and ``|grad n_down|^2``, (2, ..., nr); only with two channels.

        In an empty channel this is round-off: :attr:`scaled_s2` is screened.
        """
        self._need_two_channels("spin_sigma")
        up, down = self.gradients
        return torch.stack((_dot(up, up), _dot(down, down)))

    @cached_property
    def sigma_up_down(self) -> Tensor:
        """Given grad n_up . grad n_down, (..., nr); only with two channels."""
        self._need_two_channels("sigma_up_down")
        return _dot(*self.gradients)

    @cached_property
    def sigma(self) -> Tensor:
        """Squared gradient of the total density, (..., nr)."""
        if self.polarized:
            return self.spin_sigma.sum(0) + 2.0 * self.sigma_up_down
        (gradient,) = self.gradients
        return _dot(gradient, gradient)

    @cached_property
    def s2(self) -> Tensor:
        """Squared reduced gradient ``s^2 = [|grad n| / (2 kF n)]^2`` of the total density."""
        return self.sigma * torch.exp(8.0 * self.log_rs + _LOG_S2_SCALE)

    @cached_property
    def scaled_s2(self) -> Tensor:
        """Squared reduced gradient of :attr:`scaled_density`; 0 in an empty channel."""
        if self.polarized:
            log_scale = _LOG_S2_SCALE + math.log(4.0)  # grad (2 n_up) = 2 grad n_up
            sigma, weight = self.spin_sigma, self.gradient_weight
            if weight is not None:
                sigma = sigma * weight.square()
            return sigma * torch.exp(8.0 * self.scaled_log_rs + log_scale)
        return self.s2

    @cached_property
    def phi2_t2(self) -> Tensor:
        """Product ``phi^2 t^2 = [|grad n| / (2 ks n)]^2``, ks = sqrt(4 kF / pi), (..., nr)."""
        return self.s2 * self.inverse_rs * (0.25 * math.pi * _KF_RS)

    # kinetic energy density -------------------------------------------------------------------

    @cached_property
    def raw_tau(self) -> Tensor:
        """Kinetic energy density as given: (..., nr), or (2, ..., nr) with two channels."""
        channels = channels_of(self.densinfo)
        taus = tuple(c.kin for c in channels if c.kin is not None)
        if len(taus) < len(channels):
            raise ValueError(
                "this meta-GGA needs the kinetic energy density, but densinfo.kin is None: give "
                "ValGrad(value=..., grad=..., kin=...) with kin = sum_i f_i |grad psi_i|^2 / 2 of "
                "shape (..., nr) for every spin channel; your own functional declares this by "
                "family = 4"
            )
        for channel, tau in zip(channels, taus):
            _check_precision(tau, "densinfo.kin")
            if tau.shape != channel.value.shape:
                raise ValueError(
                    f"densinfo.kin has the shape {tuple(tau.shape)}; it must be that of "
                    f"the density, {tuple(channel.value.shape)}"
                )
        return torch.stack(taus) if self.polarized else taus[0]

    @cached_property
    def tau(self) -> Tensor:
        """Screened kinetic energy density, (..., nr), or of each channel, (2, ..., nr)."""
        # With one channel the switch multiplies only the energy, as for the gradient, so that tau
        # and |grad n|^2 / 8 n stay comparable.
        if not self.polarized or self.gradient_weight is None:
            return self.raw_tau
        return self.raw_tau * self.gradient_weight.square()

    @cached_property
    def total_tau(self) -> Tensor:
        """Kinetic energy density of both channels together, (..., nr)."""
        return self.raw_tau.sum(0) if self.polarized else self.raw_tau

    def _need_two_channels(self, what: str) -> None:
        if not self.polarized:
            raise ValueError(
                f"{what} exists only with two spin channels; test `polarized` first, or give "
                "SpinParam(u=ValGrad(...), d=ValGrad(...))"
            )


def _smooth_step(x: Tensor) -> Tensor:
    """Polynomial from 0 at x = 0 to 1 at x = 1 with three continuous derivatives."""
    x = x.clamp(0.0, 1.0)
    x2 = x * x
    return x2 * x2 * ((35.0 - 84.0 * x) + x2 * (70.0 - 20.0 * x))


def _check_precision(tensor: Tensor, what: str) -> None:
    if tensor.dtype != torch.float64:
        raise ValueError(
            f"{what} is {tensor.dtype}; functionals compute in torch.float64: convert it with "
            ".double()"
        )
