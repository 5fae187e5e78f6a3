"""Starts with magnetic moments: what keeps them, and what is said where they would be lost."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from deepchem_xc.planewave.loop.restart import Restart, moments_of
from deepchem_xc.planewave.structure.kept_symmetry import operations_that_keep
from deepchem_xc.planewave.structure.kpoints import make_kpoints

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem

# Magnetic moment of an atom that is not to be lost without a word, mu_B; and moments in messages.
_NOTICEABLE = 0.02
_SHOWN = 8


class LostMomentsWarning(UserWarning):
    """A calculation without spin starts from a magnetic one."""


def notice_moments(problem: KohnShamProblem, start: Restart, stacklevel: int) -> None:
    """Warn of a start whose magnetic moments a calculation without spin leaves out."""
    moments = moments_of(problem, start)
    if moments is not None and float(moments.abs().max()) > _NOTICEABLE:
        warnings.warn(
            f"the start has magnetic moments of {_listed(moments)} mu_B, and this calculation has "
            "no spin, as its atoms have no initial moments: give spinpol=True to keep them, or "
            "spinpol=False to leave them out without this warning.",
            LostMomentsWarning,
            stacklevel=stacklevel,
        )


def keeping_moments(
    problem: KohnShamProblem, start: Restart, kpts: Any, fixed: bool
) -> KohnShamProblem:
    """The problem with that part of its symmetry which the start's magnetic moments have.

    The symmetry of a structure knows initial moments alone, and averaging over operations that
    exchange the sublattices of an antiferromagnet leaves it none. `fixed` says that the symmetry
    was not chosen here.
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
            f"of the {len(symmetry)} symmetry operations that reduced the k-points keep: they "
            "would be lost. Give the atoms such initial moments before the basis or the k-points "
            "are made, or make these without symmetry (symmetry=False)."
        )
    kpoints = make_kpoints(kpts, basis.crystal, symmetry=symmetry.subset(kept))
    kpoints = replace(kpoints, dropped=basis.kpoints.dropped)
    return replace(problem, basis=basis.with_kpoints(kpoints))


def _listed(moments: Tensor) -> str:
    shown = [f"{moment:.2f}" for moment in moments[:_SHOWN].tolist()]
    return ", ".join(shown) + (", ..." if len(moments) > _SHOWN else "")
