"""Energies of whole molecules at kept densities: a term of the loss, and a measure of a clone.

At the parent's own density the error of the total energy is that of exchange and correlation, up
to second order in the change of the density.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from deepchem_xc.cloning.densities import KeptDensity
from deepchem_xc.cloning.factors import total_density
from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional, get_xc, integrated_energy
from deepchem_xc.xc.variables import DensityVariables, channels_of, mapped

__all__ = ["ENERGY_GRID_LEVEL", "KeptEnergies", "trainable_weights"]

#: Level of PySCF's grid for the term of the loss. Clone and parent are summed over the same points,
#: but level 0 is too coarse: what fits there to 0.09 mHa is 0.19 mHa wrong at level 2 (P, S).
ENERGY_GRID_LEVEL = 1
# Density below which a point is left out, bohr^-3: its energy is below 1e-12 Hartree.
_LEAST_DENSITY = 1e-11


def trainable_weights(functional: XCFunctional) -> list[Parameter]:
    """Parameters of a functional that have gradients.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> trainable_weights(get_xc("PBE"))
    []
    """
    return [weight for weight in functional.parameters() if weight.requires_grad]


class KeptEnergies:
    """Exchange-correlation energies of a parent at its densities.

    Parameters
    ----------
    parent : str, path-like or XCFunctional
        The functional that is cloned: anything that `get_xc` takes.
    densities : sequence of KeptDensity
        Densities of molecules and atoms.
    grid_level : int, optional
        Level of PySCF's grid.

    Attributes
    ----------
    names : list of str
        Molecules.
    wanted : list of float
        Their energies, Hartree.

    Raises
    ------
    ValueError
        For no densities.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import KeptEnergies, parent_densities
    >>> from deepchem_xc.xc import get_xc
    >>> kept = parent_densities("PBE", ["H2"], tempfile.mkdtemp(), basis="sto-3g")
    >>> [error] = KeptEnergies("PBE", kept).errors(get_xc("PBE")).tolist()
    >>> error
    0.0
    """

    def __init__(
        self,
        parent: str | os.PathLike[str] | XCFunctional,
        densities: Sequence[KeptDensity],
        grid_level: int = ENERGY_GRID_LEVEL,
    ) -> None:
        if not densities:
            raise ValueError(
                "there are no densities to take energies at: parent_densities(parent, names) makes "
                "them."
            )
        functional = get_xc(parent)
        self.names = [kept.name for kept in densities]
        self._systems: list[tuple[DensityVariables, Tensor]] = []
        self.wanted: list[float] = []
        for kept in densities:
            grid = kept.on_grid(grid_level)
            # One channel where it is enough takes half the time.
            densinfo = grid.densinfo if kept.polarized else total_density(grid.densinfo)
            selected, present = _selected(densinfo)
            variables, weights = DensityVariables(selected), grid.weights[present]
            self._systems.append((variables, weights))
            with torch.no_grad():
                energy = integrated_energy(functional, variables.densinfo, weights)
            self.wanted.append(float(energy))

    def errors_in_graph(self, student: XCFunctional) -> Iterator[Tensor]:
        """Error of each energy (Hartree), 0-d, one after another: only one graph is kept."""
        for (variables, weights), wanted in zip(self._systems, self.wanted, strict=True):
            energy = (weights * student.energy_density(variables)).sum()
            yield energy - wanted

    def errors(self, student: XCFunctional) -> Tensor:
        """Error of each energy, (number of molecules,), Hartree, without a graph."""
        with torch.no_grad():
            return torch.stack(list(self.errors_in_graph(student)))

    def linearised(self, student: XCFunctional) -> tuple[Tensor, Tensor]:
        """Errors, and their derivatives with respect to the student's trainable weights.

        Returns
        -------
        errors : Tensor
            As of `errors`.
        jacobian : Tensor
            (number of molecules, number of weights), in the order of `trainable_weights`.
        """
        weights = trainable_weights(student)
        errors, slopes = [], []
        with torch.enable_grad():
            for error in self.errors_in_graph(student):
                found = torch.autograd.grad(error, weights, materialize_grads=True)
                errors.append(error.detach())
                slopes.append(torch.cat([slope.flatten() for slope in found]))
        return torch.stack(errors), torch.stack(slopes)


def _selected(densinfo: ValGrad | SpinParam) -> tuple[ValGrad | SpinParam, Tensor]:
    """The density at the points where it matters, and which ones these are."""
    channels = channels_of(densinfo)
    present = sum(channel.value for channel in channels) > _LEAST_DENSITY
    found = [mapped(channel, lambda field: field[..., present]) for channel in channels]
    return (found[0] if len(found) == 1 else SpinParam(*found)), present
