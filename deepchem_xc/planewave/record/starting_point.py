"""Density and orbitals with which a self-consistent calculation starts from `start=`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.given_density import DensityReport, given_density
from deepchem_xc.planewave.pseudo import potential_digest
from deepchem_xc.planewave.record.carried_orbitals import carried_orbitals
from deepchem_xc.planewave.record.density_record import DensityRecord
from deepchem_xc.planewave.record.sources import asked_density
from deepchem_xc.planewave.structure.kept_symmetry import kept_operations

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem
    from deepchem_xc.planewave.record.sources import DensitySource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """Density and orbitals of the first step.

    Attributes
    ----------
    fields : Fields
        The density, with a kinetic energy density if the problem needs one.
    report : DensityReport
        What its projection on the symmetry removed, and remarks for a log.
    orbitals : Tensor or None
        Orthonormal, (nspin, nk, nband, npw). None if there are none, or if k-points or number of
        spins differ.
    is_converged : bool
        Whether it is the density of an earlier calculation, with the moment that this one found; a
        model's moment is held at first, like that of superposed atoms.
    """

    fields: Fields
    report: DensityReport
    orbitals: Tensor | None
    is_converged: bool


def starting_point(problem: KohnShamProblem, source: DensitySource) -> StartingPoint:
    """Density and orbitals with which to start a problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The problem to solve.
    source : DensitySource
        A record, or anything else with ``density_for(problem)``.

    Raises
    ------
    ValueError
        If the density belongs to other atoms, has another number of electrons, is not finite, or
        lacks the symmetry in use.

    Examples
    --------
    A smaller cell holds the same electrons:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import DensityRecord, scf
    >>> old, new = (scf(bulk("Si", a=a), ecut=100.0) for a in (5.5, 5.4))
    >>> start = starting_point(new.problem, DensityRecord.of(old))
    >>> print(f"{start.fields.density[0, 0].real * new.basis.volume:.9f}")
    8.000000000
    >>> start.is_converged, start.orbitals.shape == new.orbitals.shape
    (True, True)
    """
    fields = asked_density(problem, source).map(lambda leaf: leaf.detach().to(problem.basis.device))
    record = source if isinstance(source, DensityRecord) else None
    symmetry = problem.basis.kpoints.symmetry
    moved = record is not None and not kept_operations(record.crystal, symmetry).all()
    fields, report = given_density(problem, fields, moved)
    if not problem.needs_kinetic_density:
        fields = replace(fields, tau=None)
    elif fields.tau is None:
        fields = replace(fields, tau=problem.with_kinetic_density(fields.density).tau)
    report = replace(report, remarks=(*_differences(problem, source), *report.remarks))
    for remark in report.remarks:
        logger.info("start: %s", remark)
    orbitals = None if record is None else carried_orbitals(problem, record.orbitals)
    return StartingPoint(fields, report, orbitals, record is not None)


def _differences(problem: KohnShamProblem, source: DensitySource) -> list[str]:
    """What else than the geometry differs between a density's calculation and this one."""
    found = []
    # A model names the functional that it was made for in the same attribute as a record.
    name, other = problem.functional.name, getattr(source, "functional", None)
    if isinstance(other, str) and other != name:
        found.append(f"it is a density of the functional {other}, not of {name}")
    if isinstance(source, DensityRecord) and source.potentials is not None:
        pseudos = problem.pseudopotentials
        differing = [
            symbol
            for symbol in problem.basis.crystal.species
            if source.potentials.get(symbol) != potential_digest(pseudos[symbol])
        ]
        if differing:
            found.append(f"it was computed with other potentials of {', '.join(differing)}")
    return found
