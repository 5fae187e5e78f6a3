"""Potentials of terms whose energy autograd differentiates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepchem_xc.planewave.fields import Fields, Potential, derivative


def derivative_of(
    energy: Callable[[Fields], Tensor], fields: Fields, volume: Tensor
) -> tuple[Potential, Tensor]:
    """Potential of an energy, and the energy minus potential times fields, both without a graph.

    Parameters
    ----------
    energy : callable
        Energy of fields, 0-d, Hartree.
    fields : Fields
        Where to differentiate.
    volume : Tensor
        Volume of the cell, 0-d, bohr^3.
    """
    volume = volume.detach()
    with torch.enable_grad():
        electrons = fields.detach().to_electrons(volume).map(Tensor.requires_grad_)
        value = energy(electrons.to_densities(volume))
        potential = derivative(value, electrons).detach()
    return potential, value.detach() - potential.energy(fields.detach(), volume)
