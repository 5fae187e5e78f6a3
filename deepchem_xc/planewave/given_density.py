"""Checks of a density that a calculation is given, and its projection on the symmetry in use.

Energies on reduced k-points are those of the symmetrised density: the part of a given density that
lacks the symmetry would be lost without a sign.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.fields import Fields

if TYPE_CHECKING:
    from torch import Tensor

    from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
    from deepchem_xc.planewave.problem import KohnShamProblem

# Relative difference in the number of electrons above which a density belongs to another system.
_ELECTRON_TOLERANCE = 1e-6
# Part of the electrons that a projection on the symmetry may remove, and share of negative
# densities above which there is a warning.
_REMOVED, _NEGATIVE = 1e-3, 1e-3
_NOT_FINITE = (
    "contains NaN or infinite numbers: it was computed or written wrongly. Make it again, or start "
    "from atoms (start=None)."
)


class UnsymmetricDensityError(ValueError):
    """A given density lacks the symmetry that reduced the k-points."""


class NegativeDensityWarning(UserWarning):
    """A given density is negative in a part of the cell that counts."""


@dataclass(frozen=True)
class DensityReport:
    """What was found of a given density; results keep it as `SCFResult.start`.

    Attributes
    ----------
    removed : float
        Part that the projection on the symmetry removed: the integral of its absolute value, or
        the norm of the occupations inside of PAW spheres if that is larger, per electron.
    negative : float
        Integral of the negative density, per electron, positive; channels are added.
    remarks : tuple of str
        Sentences for a log.

    Examples
    --------
    >>> DensityReport(removed=0.0, negative=2e-5).negative
    2e-05
    """

    removed: float
    negative: float
    remarks: tuple[str, ...] = ()


class GivenDensity(NamedTuple):
    """A density that a calculation was given, as it is used."""

    fields: Fields
    """With the symmetry of the k-points, on the problem's sphere, in the graph of the given one."""
    report: DensityReport
    """What the projection removed, and how much is negative."""


def given_density(problem: KohnShamProblem, fields: Fields, moved: bool = False) -> GivenDensity:
    """Check a density that was given for a problem, and project it on the symmetry in use.

    Parameters
    ----------
    problem : KohnShamProblem
        The problem that uses it.
    fields : Fields
        On the problem's sphere, (nspin, nG) with the problem's number of channels, bohr^-3; a
        kinetic energy density is kept, and with PAW the occupations of spheres are needed.
    moved : bool, optional
        Whether it was moved with the atoms of a structure that lacks the symmetry in use: a
        projection then improves the estimate, whatever it removes.

    Returns
    -------
    GivenDensity
        The projected density, and what was removed.

    Raises
    ------
    ValueError
        If it is not finite, has another shape or another number of electrons.
    UnsymmetricDensityError
        If the projection removes more than 1e-3 of the electrons.

    Warns
    -----
    NegativeDensityWarning
        If the negative part holds more than 1e-3 of the electrons.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, kpts=(1, 1, 1))
    >>> found = given_density(result.problem, result.fields)
    >>> found.report.removed < 1e-12, found.report.negative < 1e-12
    (True, True)
    """
    basis = problem.basis
    _check(problem, fields)
    projected = problem.symmetrized(fields)
    electrons = problem.nelectrons
    with torch.no_grad():
        removed = 0.0
        if len(basis.kpoints.symmetry) > 1:
            removed = _difference(basis, fields, projected) / electrons
        negative = _negative(basis, projected.density) / electrons
    if removed > _REMOVED and not moved:
        raise UnsymmetricDensityError(
            f"the given density lacks the symmetry that reduced the k-points: averaging over its "
            f"{len(basis.kpoints.symmetry)} operations removes {removed:.1e} of the electrons, of "
            f"which {_REMOVED:g} are allowed. Give symmetry=False, or a density of this structure."
        )
    remarks = [f"its projection on the symmetry removed {removed:.1e} of the electrons"]
    if negative > 0.0:
        remarks.append(f"it is negative for {negative:.1e} of the electrons")
    if negative > _NEGATIVE:
        warnings.warn(
            f"the given density is negative in a part of the cell: the integral is {negative:.1e} "
            f"of the electrons. Up to {_NEGATIVE:g} may come from a cutoff; check where it is from "
            "if more is.",
            NegativeDensityWarning,
            stacklevel=users_stacklevel(),
        )
    return GivenDensity(projected, DensityReport(removed, negative, tuple(remarks)))


def _check(problem: KohnShamProblem, fields: Fields) -> None:
    expected = (problem.nspin, len(problem.basis.g_vectors))
    for name, leaf in (("density", fields.density), ("kinetic energy density", fields.tau)):
        if leaf is not None and tuple(leaf.shape) != expected:
            raise ValueError(
                f"the given {name} has shape {tuple(leaf.shape)}, but this calculation has "
                f"{expected[0]} spin channel(s) and {expected[1]} plane waves of the density: give "
                "coefficients (nspin, nG) in the order of basis.g_vectors."
            )
    _check_spheres(problem, fields.spheres)
    for name, leaf in (
        ("density", fields.density),
        ("kinetic energy density", fields.tau),
        ("set of occupations inside of PAW spheres", fields.spheres),
    ):
        if leaf is None:
            continue
        values = leaf.detach()
        values = torch.view_as_real(values) if values.is_complex() else values
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"the given {name} {_NOT_FINITE}")
    check_electrons_of(float(problem.electrons(fields.detach()).sum()), problem)


def _check_spheres(problem: KohnShamProblem, occupations: Tensor | None) -> None:
    """Refuse occupations that are missing, too many, or of another shape."""
    if problem.spheres is None:
        if occupations is not None:
            raise ValueError(
                "the given density has occupations inside of PAW spheres, but this calculation "
                "uses norm-conserving potentials, which have none: leave them out."
            )
        return
    expected = (problem.nspin, problem.spheres.size)
    if occupations is None:
        names = ", ".join(f"{k}: {p.name}" for k, p in problem.spheres.potentials.items())
        raise ValueError(
            f"the given density is a smooth density alone, but this calculation uses PAW datasets "
            f"({names}), whose spheres hold a part of the electrons: arrays and models of "
            "densities do not know it. Give an SCFResult, a DensityRecord or its file that was "
            "computed with the same datasets, or start from atoms (start=None)."
        )
    if tuple(occupations.shape) != expected or occupations.is_complex():
        raise ValueError(
            f"the given occupations inside of PAW spheres have shape {tuple(occupations.shape)} "
            f"and type {occupations.dtype}, but this calculation has {expected[0]} spin channel(s) "
            f"and {expected[1]} products of partial waves: give real numbers in the order of "
            "planewave.spheres.Spheres."
        )


def check_electrons_of(electrons: float, problem: KohnShamProblem) -> None:
    """Raise ValueError unless a density has as many electrons as a problem.

    Parameters
    ----------
    electrons : float
        Electrons per cell, those inside of PAW spheres included.
    problem : KohnShamProblem
        Any.
    """
    if not math.isfinite(electrons):
        raise ValueError(f"the given density {_NOT_FINITE}")
    if abs(electrons - problem.nelectrons) > _ELECTRON_TOLERANCE * problem.nelectrons:
        raise ValueError(
            f"the given density has {electrons:.6f} electrons per cell, but the pseudopotentials "
            f"of this calculation have {problem.nelectrons:g}: give a density of these atoms with "
            "these valence electrons, or the pseudopotentials that it was made with."
        )


def _difference(basis: PlaneWaveBasis, before: Fields, after: Fields) -> float:
    """Electrons by which fields differ.

    The integral of the absolute difference of the densities, or the norm of that of the occupations
    inside of PAW spheres, whichever is larger; channels are added.
    """
    change = after - before
    moved = float(basis.to_grid(change.density).abs().mean((1, 2, 3)).sum() * basis.volume)
    if change.spheres is None:
        return moved
    return max(moved, float(change.spheres.norm(dim=-1).sum()))


def _negative(basis: PlaneWaveBasis, density: Tensor) -> float:
    return float(basis.to_grid(density).clamp_max(0.0).mean((1, 2, 3)).sum().abs() * basis.volume)
