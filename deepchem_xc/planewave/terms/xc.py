"""Exchange-correlation energy and potential of a density on the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional


def density_information(
    basis: PlaneWaveBasis, functional: XCFunctional, density: Tensor, core: Tensor | None
) -> object:
    """What the functional asks for, on the flattened grid.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid.
    functional : XCFunctional
        Its `family` says whether gradients are needed.
    density : Tensor
        Valence density, (nspin, nG), bohr^-3.
    core : Tensor or None
        Core density (nG,) that the functional sees too (non-linear core correction), shared
        equally by the channels.

    Returns
    -------
    ValGrad or SpinParam[ValGrad]
        One channel gives a `ValGrad` of the total density, two give up and down.
    """
    from deepchem_xc.xc import SpinParam, ValGrad

    nspin = density.shape[0]
    if core is not None:
        density = density + core / nspin
    values = basis.to_grid(density).flatten(1)  # (nspin, nr)
    channels = []
    for spin in range(nspin):
        gradient = None
        if functional.family > 1:
            gradient = basis.gradient(density[spin]).flatten(1)  # (3, nr)
        channels.append(ValGrad(value=values[spin], grad=gradient))
    return channels[0] if nspin == 1 else SpinParam(u=channels[0], d=channels[1])


def xc_energy(
    basis: PlaneWaveBasis,
    functional: XCFunctional,
    density: Tensor,
    core: Tensor | None = None,
) -> Tensor:
    """XC energy of a density (nspin, nG), a 0-d tensor in Hartree per cell."""
    information = density_information(basis, functional, density, core)
    energy_density = functional.get_edensityxc(information)
    return energy_density.sum() * (basis.volume / basis.ngrid)


def xc_potential(
    basis: PlaneWaveBasis,
    functional: XCFunctional,
    density: Tensor,
    core: Tensor | None = None,
    create_graph: bool = False,
) -> tuple[Tensor, Tensor]:
    """XC energy, and its derivative with respect to the density.

    The derivative is taken by autograd through the whole expression, so the potential is exactly
    consistent with the energy on this grid, whatever the functional.

    Returns
    -------
    energy : Tensor
        0-d, Hartree.
    potential : Tensor
        (nspin, nG), Hartree, symmetrised as the density is.
    """
    with torch.enable_grad():
        variable = density if density.requires_grad else density.detach().requires_grad_()
        energy = xc_energy(basis, functional, variable, core)
        (derivative,) = torch.autograd.grad(energy, variable, create_graph=create_graph)
    potential = basis.symmetrize(derivative / basis.volume)
    return (energy, potential) if create_graph else (energy.detach(), potential.detach())
