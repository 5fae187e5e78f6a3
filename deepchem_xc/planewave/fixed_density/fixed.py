"""A given density: projected on the symmetry of a problem, and able to move with the atoms."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.sources import (
    DensitySource,
    check_fields,
    density_source,
    fields_of_model,
    superposition,
)
from deepchem_xc.planewave.loop.mixing import to_total_and_moment
from deepchem_xc.planewave.loop.restart import Restart
from deepchem_xc.planewave.problem import KohnShamProblem

# Largest part of the electrons that the symmetry may remove from a given density.
_ASYMMETRIC = 1e-3
# Part of the electrons with a negative density above which a warning is given.
_NEGATIVE = 1e-3
# Largest relative change of a model's density between two evaluations at the same positions.
_SAME = 1e-9


class NegativeDensityWarning(UserWarning):
    """A given density is negative in a relevant part of the cell."""


@dataclass(frozen=True, eq=False)
class FixedDensity:
    """A density on the plane waves of a problem, with the problem's symmetry.

    Attributes
    ----------
    fields : Fields
        The density, for meta-GGAs with the kinetic energy density; in the graph of what it was
        made from.
    removed_by_symmetry : float
        Integral of the absolute part that the symmetry removed, per electron.
    negative : float
        Minus the integral of the density where it is negative, per electron.
    model : DensitySource or None
        The model that made it; other densities move with superposed atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0)
    >>> given, _ = FixedDensity.of(result.problem, result)
    >>> given.removed_by_symmetry < 1e-12
    True
    """

    fields: Fields = field(repr=False)
    removed_by_symmetry: float = 0.0
    negative: float = 0.0
    model: DensitySource | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, problem: KohnShamProblem, density: Any, other_functional: bool = False
    ) -> tuple[FixedDensity, Restart | None]:
        """Project a density on the symmetry of a problem; see `density_source` for parameters.

        Returns
        -------
        given : FixedDensity
        start : Restart or None
            Earlier state that the density is from.

        Raises
        ------
        ValueError
            As `density_source`, and if the symmetry would remove more than 1e-3 of the electrons.

        Warns
        -----
        NegativeDensityWarning
            If negative densities hold more than 1e-3 of the electrons.
        """
        source = density_source(problem, density, other_functional)
        basis = problem.basis
        fields = source.fields.symmetrized(basis)
        removed = integrals(problem, source.fields - fields).max()
        if float(removed) > _ASYMMETRIC:
            raise ValueError(
                f"the symmetry that reduced the k-points would remove {float(removed):.1e} of the "
                f"electrons from the given density (at most {_ASYMMETRIC:g} is accepted): give "
                "symmetry=False, or a density with the symmetry of the atoms."
            )
        total = basis.to_grid(fields.density.detach()).sum(0)
        negative = -float(total.clamp_max(0.0).mean() * basis.volume) / problem.nelectrons
        if negative > _NEGATIVE:
            warnings.warn(
                f"the given density is negative in places: {negative:.1e} of the electrons.",
                NegativeDensityWarning,
                stacklevel=2,
            )
        return cls(fields, float(removed), negative, source.model), source.start

    def detach(self) -> FixedDensity:
        """The same density outside any graph."""
        return replace(self, fields=self.fields.detach())

    def fields_at(self, problem: KohnShamProblem, moved: KohnShamProblem) -> Fields:
        """Density with the atoms of `moved`, in the graph of their positions and lattice.

        A model's density moves by its own derivative. Any other is carried along by superposed
        atoms, and its difference from them stays, as at a restart.

        Parameters
        ----------
        problem : KohnShamProblem
            The problem that the density was made for.
        moved : KohnShamProblem
            The same with other positions or lattice, which may be in a graph.

        Returns
        -------
        Fields
            (nspin, nG), bohr^-3, symmetrised.
        """
        tau = self.fields.tau is not None
        volume = moved.basis.volume
        if self.model is None:
            before = superposition(problem, tau).to_electrons(problem.basis.volume)
            stays = self.fields.to_electrons(problem.basis.volume) - before.detach()
            return superposition(moved, tau) + stays.to_densities(volume)
        fields = fields_of_model(moved, self.model)
        fields = fields if tau else Fields(fields.density)
        check_fields(moved, fields)
        return fields.symmetrized(moved.basis)

    def check_model(self, now: Fields) -> None:
        """Raise RuntimeError if a model's density `now` differs from this one at the same atoms."""
        if self.model is None:
            return
        mine = self.fields.density.detach()
        if float((now.density.detach() - mine).abs().max()) > _SAME * float(mine.abs().max()):
            raise RuntimeError(
                "the density model has changed since it was used (or its densities are random): "
                "ask for forces and stress before it is trained further, or compute again."
            )


def integrals(problem: KohnShamProblem, change: Fields) -> Tensor:
    """Integral of the absolute total, and of the absolute magnetisation, per electron, (nspin,)."""
    with torch.no_grad():
        values = problem.basis.to_grid(to_total_and_moment(change.density))
        return values.abs().mean((1, 2, 3)) * problem.basis.volume / problem.nelectrons
