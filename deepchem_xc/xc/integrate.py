"""The exchange-correlation energy: energy densities summed over points in space."""

from __future__ import annotations

import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .contract import PointwiseXC
from .finite import check_finite

__all__ = ["integrated_energies", "integrated_energy"]


def integrated_energy(
    functional: PointwiseXC, densinfo: ValGrad | SpinParam, weights: Tensor | float
) -> Tensor:
    """Exchange-correlation energy of a density, 0-d (Hartree).

    Parameters
    ----------
    functional : XCFunctional
        Any.
    densinfo : ValGrad or SpinParam[ValGrad]
        The quantities that its ingredients name, see
        :meth:`~deepchem_xc.xc.XCFunctional.get_edensityxc`.
    weights : Tensor or float
        Volumes of the points, (..., nr), or one volume for all, in bohr^3; they may be in a graph.

    Returns
    -------
    Tensor
        In the graphs of density, weights and functional.

    Raises
    ------
    ValueError
        As :meth:`~deepchem_xc.xc.XCFunctional.get_edensityxc`.
    FunctionalValueError
        If the energy is NaN or infinite; it names the functional and the density at such a point.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import ValGrad, get_xc, integrated_energy
    >>> density = ValGrad(value=torch.ones(2, dtype=torch.float64))
    >>> integrated_energy(get_xc("lda_x"), density, 0.5)
    tensor(-0.7386, dtype=torch.float64)
    """
    energy_density = functional.get_edensityxc(densinfo)
    one = not isinstance(weights, Tensor) or weights.ndim == 0
    # A common weight multiplies only the sum, which is cheaper than every point.
    energy: Tensor = energy_density.sum() * weights if one else (weights * energy_density).sum()
    check_finite(functional, densinfo, energy)
    return energy


def integrated_energies(
    functional: PointwiseXC, densinfo: ValGrad | SpinParam, weights: Tensor
) -> Tensor:
    """Exchange-correlation energies of several densities on the same points (Hartree).

    Parameters
    ----------
    functional : XCFunctional
        Any.
    densinfo : ValGrad or SpinParam[ValGrad]
        As for `integrated_energy`; with leading axes that number the densities.
    weights : Tensor
        Volumes of the points, in bohr^3, without these axes; they may be negative.

    Returns
    -------
    Tensor
        One energy for each density, in the graphs of density, weights and functional.

    Raises
    ------
    ValueError, FunctionalValueError
        As `integrated_energy`.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import ValGrad, get_xc, integrated_energies
    >>> density = ValGrad(value=torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64))
    >>> integrated_energies(get_xc("lda_x"), density, torch.tensor([0.5, 0.5]).double())
    tensor([-0.7386, -0.3693], dtype=torch.float64)
    """
    energies = torch.tensordot(functional.get_edensityxc(densinfo), weights, dims=weights.ndim)
    check_finite(functional, densinfo, energies)
    return energies
