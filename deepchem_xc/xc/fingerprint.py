"""Telling functionals apart by what they compute at a few densities."""

from __future__ import annotations

import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .contract import PointwiseXC
from .sampling import device_of
from .substitution import substituted

__all__ = ["fingerprint", "sample_energies"]


def sample_energies(functional: PointwiseXC) -> Tensor:
    """Energy densities at five points of one channel and five of two, (10,), Hartree / bohr^3.

    Parameters
    ----------
    functional : PointwiseXC
        Of any family.

    Returns
    -------
    Tensor
        On the CPU.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> sample_energies(PBE()).shape
    torch.Size([10])
    """
    device = device_of(functional)
    n = torch.tensor([0.3, 1e-6, 1e-3, 0.05, 8.0], dtype=torch.float64, device=device)
    slope = torch.tensor([2.0, 0.0, 0.5, 8.0, 1.0], dtype=torch.float64, device=device)
    slope = slope * n ** (4.0 / 3.0)
    gradient = torch.stack([slope, 0.0 * slope, -0.5 * slope])
    tau = 2.0 * n ** (5.0 / 3.0) + gradient.square().sum(0) / (8.0 * n)
    up = ValGrad(value=n, grad=gradient, kin=tau)
    down = ValGrad(value=0.4 * n, grad=0.2 * gradient.roll(1, 0), kin=0.3 * tau)
    # A functional of one channel and of two need not share their code.
    both = [functional.get_edensityxc(info) for info in (up, SpinParam(u=up, d=down))]
    return torch.cat(both).cpu()


def fingerprint(functional: PointwiseXC) -> Tensor:
    """`sample_energies` with fixed numbers in place of the parameters.

    The same for functionals that differ in the values of their parameters only.

    Parameters
    ----------
    functional : PointwiseXC
        It is left as it is.

    Examples
    --------
    >>> from deepchem_xc.xc import ConstrainedGGA
    >>> one, other = ConstrainedGGA(seed=0), ConstrainedGGA(seed=1, start="random")
    >>> torch.equal(fingerprint(one), fingerprint(other))
    True
    >>> torch.allclose(fingerprint(one), fingerprint(ConstrainedGGA(lieb_oxford=False)))
    False
    """
    fixed = {
        name: 0.5 * torch.cos(1.0 + torch.arange(p.numel(), device=p.device)).to(p).view_as(p)
        for name, p in functional.named_parameters()
    }
    with torch.no_grad(), substituted(functional, fixed):
        return sample_energies(functional)
