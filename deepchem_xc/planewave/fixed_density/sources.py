"""The densities that a calculation can be given, as `Fields` on its plane waves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.other_grids import from_any_grid
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.record import DensityRecord, DensitySource, density_source
from deepchem_xc.planewave.record.sources import asked_density

# Largest relative difference of lattice vectors that are the same.
_SAME_CELL = 1e-6


@dataclass(frozen=True, eq=False)
class GridDensity:
    """A density on a grid of the cell, a `DensitySource`.

    Attributes
    ----------
    values : Tensor
        (nspin, n1, n2, n3), bohr^-3: the total, or up and down. May be in a graph.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0)
    >>> same = GridDensity(result.density).density_for(result.problem).density
    >>> bool((same - result.density_g).abs().max() < 1e-12)
    True
    """

    values: Tensor

    @classmethod
    def of(cls, density: Any) -> GridDensity:
        """From a tensor, or anything that numpy takes for an array of real numbers.

        Raises
        ------
        TypeError
            For complex numbers, or anything that is not an array of numbers.
        ValueError
            For another shape.
        """
        valid = "give (nspin, n1, n2, n3) in bohr^-3 with nspin 1 (total) or 2 (up, down)."
        if not isinstance(density, Tensor):
            try:
                density = torch.as_tensor(np.asarray(density))
            except (TypeError, ValueError):
                raise TypeError(f"the given density is not an array of numbers: {valid}") from None
        if density.is_complex() or density.dtype == torch.bool:
            raise TypeError(f"a density of type {density.dtype} is not real: {valid}")
        if density.ndim != 4 or len(density) not in (1, 2) or density.numel() == 0:
            raise ValueError(f"the given density has shape {tuple(density.shape)}: {valid}")
        return cls(density.to(torch.float64))

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Its plane waves; those that the grid does not have are zero."""
        return Fields(from_any_grid(problem.basis, self.values.to(problem.basis.device)))


def source_of(density: Any) -> DensitySource:
    """The source that a calculation was given: arrays become `GridDensity`.

    Parameters
    ----------
    density : DensitySource, SCFResult, path of a record's file or array_like
        What a user gave.

    Raises
    ------
    ValueError, TypeError
        If it is none of these.
    """
    if isinstance(density, (Tensor, np.ndarray, list, tuple)):
        return GridDensity.of(density)
    return density_source(density, "density")


def fields_for(problem: KohnShamProblem, source: DensitySource) -> Fields:
    """Density of a source on the plane waves of a problem, in the graph of its positions.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal that the density is for.
    source : DensitySource
        A model, a record or a grid.

    Returns
    -------
    Fields
        Not symmetrised. It has a kinetic energy density if the problem needs one.

    Raises
    ------
    ValueError
        If a model returns anything other than `Fields`, for a record of another cell, other atoms
        or another code, other spin channels, or a missing kinetic energy density.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> coarse, fine = (scf(bulk("Si"), ecut=ecut) for ecut in (80.0, 100.0))
    >>> fields = fields_for(fine.problem, source_of(coarse))
    >>> round(float(fields.density[0, 0].real * fine.volume), 9)
    8.0
    """
    if isinstance(source, DensityRecord):
        source.check_fits(problem)
        _check_cell(problem.basis, source.crystal.lattice)
        _check_channels(problem, source.fields)
    fields = asked_density(problem, source)
    _check_channels(problem, fields)
    device = problem.basis.device
    fields = fields.map_waves(lambda leaf: leaf.to(torch.complex128))
    fields = fields.map(lambda leaf: leaf.to(device))
    if not problem.needs_kinetic_density:
        return replace(fields, tau=None)
    if fields.tau is None:
        raise ValueError(
            f"{problem.functional.name} needs the kinetic energy density, which the given density "
            "does not hold: give a result or record of a meta-GGA, or use scf(..., start=...), "
            "which makes its own."
        )
    return fields


def check_functional(problem: KohnShamProblem, source: DensitySource) -> None:
    """Raise ValueError if a model was made for another functional; records are of any.

    A model names its functional in an attribute `functional`, if it was made for one.
    """
    made_for = None if isinstance(source, DensityRecord) else getattr(source, "functional", None)
    if isinstance(made_for, str) and made_for != problem.functional.name:
        raise ValueError(
            f"the density model was made for {made_for}, but this calculation uses "
            f"{problem.functional.name}: give other_functional=True if that is meant."
        )


def _check_channels(problem: KohnShamProblem, fields: Fields) -> None:
    count = len(fields.density)
    if count in (1, 2) and count != problem.nspin:
        raise ValueError(
            f"the given density has {count} spin channel(s), but this calculation has "
            f"{problem.nspin}: give spinpol={count == 2}, with initial magnetic moments for two "
            "channels and without for one."
        )


def _check_cell(basis: PlaneWaveBasis, lattice: Tensor) -> None:
    own = basis.crystal.lattice.detach()
    change = float((lattice.detach().to(own.device) - own).abs().max())
    if change > _SAME_CELL * float(own.abs().max()):
        raise ValueError(
            f"the given density belongs to another cell (its lattice vectors differ by up to "
            f"{change:.3g} bohr): use scf(..., start=...), which carries it over."
        )
