"""A given density: projected on the symmetry of a problem, and able to move with the atoms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.sources import GridDensity, check_functional, fields_for
from deepchem_xc.planewave.given_density import DensityReport, given_density
from deepchem_xc.planewave.loop.mixing import to_total_and_moment
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.record import DensityRecord, DensitySource

# Largest relative change of a model's density between two evaluations at the same positions.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class FixedDensity:
    """A density on the plane waves of a problem, with the problem's symmetry.

    Attributes
    ----------
    fields : Fields
        The density, for meta-GGAs with the kinetic energy density; in the graph of what it was
        made from.
    model : DensitySource or None
        The model that made it; other densities move with superposed atoms.
    report : DensityReport or None
        What the projection on the symmetry removed, and how much of it is negative.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import DensityRecord, scf
    >>> result = scf(bulk("Si"), ecut=100.0)
    >>> given = FixedDensity.of(result.problem, DensityRecord.of(result))
    >>> given.report.removed < 1e-12
    True
    """

    fields: Fields = field(repr=False)
    model: DensitySource | None = field(default=None, repr=False)
    report: DensityReport | None = None

    @classmethod
    def of(
        cls,
        problem: KohnShamProblem,
        source: DensitySource,
        other_functional: bool = False,
    ) -> FixedDensity:
        """Density of a source, projected on the symmetry of a problem.

        Parameters
        ----------
        problem : KohnShamProblem
            The crystal that the density is for.
        source : DensitySource
            A model, a record or a grid (`source_of`).
        other_functional : bool, optional
            Accept a model that was made for another functional.

        Raises
        ------
        ValueError
            As `fields_for` and `given_density`, and for a model of another functional.
        """
        if not other_functional:
            check_functional(problem, source)
        fields, report = given_density(problem, fields_for(problem, source))
        moves = not isinstance(source, (DensityRecord, GridDensity))
        return cls(fields, source if moves else None, report)

    def detach(self) -> FixedDensity:
        """The same density outside any graph."""
        return replace(self, fields=self.fields.detach())

    def fields_at(self, problem: KohnShamProblem, moved: KohnShamProblem) -> Fields:
        """Density with the atoms of `moved`, in the graph of their positions and lattice.

        A model's density moves by its own derivative. Any other is carried along by superposed
        atoms, and its difference from them stays, as at a restart; occupations inside of PAW
        spheres stay with their atoms.

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
        if self.model is None:
            before = problem.starting_fields().to_electrons(problem.basis.volume)
            stays = self.fields.to_electrons(problem.basis.volume) - before.detach()
            return moved.starting_fields() + stays.to_densities(moved.basis.volume)
        return moved.symmetrized(fields_for(moved, self.model))

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
    """Integral of the absolute total, and of the absolute magnetisation, per electron, (nspin,).

    With PAW the norms of the occupations inside of the spheres, where these are larger.
    """
    with torch.no_grad():
        change = change.map(to_total_and_moment)
        moved = problem.basis.to_grid(change.density).abs().mean((1, 2, 3)) * problem.basis.volume
        if change.spheres is not None:
            moved = torch.maximum(moved, change.spheres.norm(dim=-1))
        return moved / problem.nelectrons
