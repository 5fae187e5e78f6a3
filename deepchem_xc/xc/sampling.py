"""Densities at which functionals are looked at, and energies there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._deepchem import BaseXC, SpinParam, ValGrad

__all__ = [
    "densities_at",
    "device_of",
    "energy_scale",
    "fixed_points",
    "sample_points",
    "sampled_energies",
]


def sample_points(
    spins: int, npoints: int = 16, seed: int = 0, device: torch.device | None = None
) -> ValGrad | SpinParam:
    """Random densities, the same ones every time.

    Parameters
    ----------
    spins : int
        Number of spin channels, 1 or 2.
    npoints : int, optional
        Number of points.
    seed : int, optional
        Another seed gives other points.
    device : optional
        Device of the tensors.

    Returns
    -------
    ValGrad or SpinParam[ValGrad]
        Densities from 1e-8 to 10 bohr^-3, reduced gradients up to about 10, and kinetic energy
        densities above von Weizsaecker's.

    Examples
    --------
    >>> sample_points(1).value.shape
    torch.Size([16])
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    channels = []
    for _ in range(spins):
        n = 10.0 ** (9.0 * random(npoints) - 8.0)
        s = 10.0 ** (3.0 * random(npoints) - 2.0)
        direction = torch.nn.functional.normalize(2.0 * random(3, npoints) - 1.0, dim=0)
        gradient = direction * (6.0 * s * n ** (4.0 / 3.0))
        tau = gradient.square().sum(0) / (8.0 * n) + 6.0 * random(npoints) * n ** (5.0 / 3.0)
        fields = (x.to(device) for x in (n, gradient, tau))
        channels.append(ValGrad(**dict(zip(("value", "grad", "kin"), fields))))
    return channels[0] if spins == 1 else SpinParam(u=channels[0], d=channels[1])


def sampled_energies(functional: BaseXC, npoints: int = 16, seed: int = 0) -> Tensor:
    """Energy densities at `sample_points` with one and with two channels (Hartree / bohr^3).

    Parameters
    ----------
    functional : XCFunctional
        Of any family.
    npoints, seed : int, optional
        As in `sample_points`.

    Returns
    -------
    Tensor
        (2 npoints,), on the CPU; NaN where the functional fails, for example with two channels.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> sampled_energies(PBE()).shape
    torch.Size([32])
    """
    found = []
    with torch.no_grad():
        for spins in (1, 2):
            points = sample_points(spins, npoints, seed, device_of(functional))
            try:
                found.append(functional.get_edensityxc(points).cpu())
            except Exception:
                # Users of this number of channels will see the error.
                found.append(torch.full((npoints,), torch.nan, dtype=torch.float64))
    return torch.cat(found)


def fixed_points(spins: int, device: torch.device | None = None) -> ValGrad | SpinParam:
    """Five densities between 1e-6 and 8 bohr^-3; checkpoints contain energies at them.

    Parameters
    ----------
    spins : int
        Number of spin channels, 1 or 2.
    device : optional
        Device of the tensors.

    Examples
    --------
    >>> fixed_points(2).u.value.shape
    torch.Size([5])
    """
    n = torch.tensor([0.3, 1e-6, 1e-3, 0.05, 8.0], dtype=torch.float64, device=device)
    slope = torch.tensor([2.0, 0.0, 0.5, 8.0, 1.0], dtype=torch.float64, device=device)
    slope = slope * n ** (4.0 / 3.0)
    gradient = torch.stack([slope, 0.0 * slope, -0.5 * slope])
    tau = 2.0 * n ** (5.0 / 3.0) + gradient.square().sum(0) / (8.0 * n)
    up = ValGrad(value=n, grad=gradient, kin=tau)
    if spins == 1:
        return up
    return SpinParam(u=up, d=ValGrad(value=0.4 * n, grad=0.2 * gradient.roll(1, 0), kin=0.3 * tau))


def densities_at(rs: Tensor, s: Tensor, zeta: Tensor, alpha: Tensor) -> ValGrad | SpinParam:
    """Densities that have given radii, gradients, polarisations and indicators.

    Parameters
    ----------
    rs : Tensor
        Wigner-Seitz radius of the total density, bohr, (nr,).
    s : Tensor
        Reduced gradient |grad n| / (2 kF n) of the total density, (nr,).
    zeta : Tensor
        Relative polarisation, (nr,). It is uniform: the gradients of both channels are in
        proportion to their densities.
    alpha : Tensor
        Iso-orbital indicator of each channel, (nr,).

    Returns
    -------
    ValGrad or SpinParam[ValGrad]
        One channel if all points are unpolarised, else two; gradients along one axis.

    Examples
    --------
    >>> import torch
    >>> one, none = torch.ones(1).double(), torch.zeros(1).double()
    >>> densities_at(one, none, none, one).value  # 3 / (4 pi)
    tensor([0.2387], dtype=torch.float64)
    """
    total = 3.0 / (4.0 * math.pi * rs**3)
    slope = 2.0 * (3.0 * math.pi**2) ** (1.0 / 3.0) * total ** (4.0 / 3.0) * s
    if not bool(zeta.any()):
        return _channel(total, slope, alpha, 3.0 * math.pi**2)
    up, down = (
        _channel(share * total, share * slope, alpha, 6.0 * math.pi**2)
        for share in (0.5 * (1.0 + zeta), 0.5 * (1.0 - zeta))
    )
    return SpinParam(u=up, d=down)


def _channel(density: Tensor, slope: Tensor, alpha: Tensor, kf3: float) -> ValGrad:
    """Density, gradient along one axis, and kinetic energy density; kf3 is kF^3 / n."""
    zero = torch.zeros_like(slope)
    weizsaecker = torch.where(density > 0, slope.square() / (8.0 * density), zero)
    tau = weizsaecker + alpha * (0.3 * kf3 ** (2.0 / 3.0)) * density ** (5.0 / 3.0)
    return ValGrad(value=density, grad=torch.stack([slope, zero, zero]), kin=tau)


def energy_scale(points: ValGrad | SpinParam) -> Tensor:
    """Typical size of an energy density, which sets its rounding error (Hartree / bohr^3).

    Parameters
    ----------
    points : ValGrad or SpinParam[ValGrad]
        Densities.

    Returns
    -------
    Tensor
        The total density to the power 4/3, (npoints,).

    Examples
    --------
    >>> points = sample_points(1)
    >>> torch.equal(energy_scale(points), points.value ** (4.0 / 3.0))
    True
    """
    n = points.value if isinstance(points, ValGrad) else points.u.value + points.d.value
    return n ** (4.0 / 3.0)


def device_of(module: torch.nn.Module | BaseXC) -> torch.device:
    """Device of a module's weights; the CPU if it has none.

    Parameters
    ----------
    module : torch.nn.Module or BaseXC
        A network or functional.

    Examples
    --------
    >>> device_of(torch.nn.Linear(1, 1))
    device(type='cpu')
    """
    weights = module.state_dict().values() if isinstance(module, torch.nn.Module) else ()
    anchor = next(iter(weights), None)
    return torch.device("cpu") if anchor is None else anchor.device
