"""Starts with magnetic moments: symmetry that keeps them, and a warning if they would be lost."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from deepchem_xc.planewave.record import DensityRecord
from deepchem_xc.planewave.record.moments import moments_of
from deepchem_xc.planewave.structure.kept_symmetry import operations_that_keep
from deepchem_xc.planewave.structure.kpoints import make_kpoints

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem

# Atomic magnetic moment, mu_B, above which its loss causes a warning, and number of moments that
# messages list.
_NOTICEABLE = 0.02
_SHOWN = 8


class LostMomentsWarning(UserWarning):
    """A calculation without spin starts from a magnetic result."""


def notice_moments(problem: KohnShamProblem, start: DensityRecord, stacklevel: int) -> None:
    """Warn if a calculation without spin drops the magnetic moments of its start."""
    moments = moments_of(problem, start)
    if moments is not None and float(moments.abs().max()) > _NOTICEABLE:
        warnings.warn(
            f"the start has magnetic moments of {_listed(moments)} mu_B, but this calculation has "
            "no spin, because its atoms have no initial moments: give spinpol=True to keep them, "
            "or spinpol=False to drop them without this warning.",
            LostMomentsWarning,
            stacklevel=stacklevel,
        )


def keeping_moments(
    problem: KohnShamProblem, start: DensityRecord, kpts: Any, fixed: bool
) -> KohnShamProblem:
    """The problem with only the symmetry operations that keep the start's magnetic moments.

    The search for symmetry sees only the initial moments. Averaging over operations that exchange
    the sublattices of an antiferromagnet would destroy its magnetisation. `fixed` means that the
    symmetry was given and cannot be reduced here.
    """
    basis = problem.basis
    symmetry = basis.kpoints.symmetry
    moments = moments_of(problem, start) if problem.nspin == 2 and len(symmetry) > 1 else None
    if moments is None:
        return problem
    kept = operations_that_keep(moments, basis.crystal, symmetry)
    if kept.all():
        return problem
    if fixed:
        raise ValueError(
            f"the start has magnetic moments of {_listed(moments)} mu_B, which only {kept.sum()} "
            f"of the {len(symmetry)} symmetry operations used to reduce the k-points keep: the "
            "moments would be lost. Give the atoms these initial moments before making the basis "
            "or the k-points, or make those without symmetry (symmetry=False)."
        )
    kpoints = make_kpoints(kpts, basis.crystal, symmetry=symmetry.subset(kept))
    kpoints = replace(kpoints, dropped=basis.kpoints.dropped)
    return replace(problem, basis=basis.with_kpoints(kpoints))


def _listed(moments: Tensor) -> str:
    shown = [f"{moment:.2f}" for moment in moments[:_SHOWN].tolist()]
    return ", ".join(shown) + (", ..." if len(moments) > _SHOWN else "")
