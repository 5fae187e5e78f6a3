"""`non_self_consistent`: one call from a structure and a density to energies, without a loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc._values import flag
from deepchem_xc.planewave.assembly import set_up
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.fixed_density.outcome import NonSelfConsistentResult, at_given_density
from deepchem_xc.planewave.fixed_density.sources import source_of
from deepchem_xc.planewave.loop.magnetic_start import keeping_moments, notice_moments
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.other_keywords import names_similar_keywords
from deepchem_xc.planewave.record import DensityRecord, DensitySource, density_source
from deepchem_xc.planewave.record.carried_orbitals import carried_orbitals
from deepchem_xc.planewave.response.adjoint import functional_tensors
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.kpoints import KPoints
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

# Largest residual of a state, Hartree: in general, and if results are to be differentiated.
_RESIDUAL, _FINE_RESIDUAL = 1e-6, 1e-8
# Difference of Kohn-Sham and Harris-Foulkes free energy, Hartree per atom, above which a warning is
# given: 5 meV.
_FAR_APART = 5e-3 / Hartree


class InaccurateDensityWarning(UserWarning):
    """A given density is so far from the output's that its energies are in doubt."""


@names_similar_keywords
@outside_inference_and_autocast()
def non_self_consistent(
    target: Any,
    functional: str | XCFunctional | None = "PBE",
    *,
    density: SCFResult | DensitySource | str | os.PathLike[str] | Any,
    other_functional: bool = False,
    ecut: float | None = None,
    kpts: Any = None,
    pseudopotentials: Any = None,
    occupations: Mapping[str, Any] | str | None = None,
    spinpol: bool | None = None,
    convergence: Mapping[str, Any] | None = None,
    nbands: int | str | None = None,
    fft_size: Sequence[int] | int | None = None,
    symmetry: bool | str | Mapping[str, bool] | None = None,
    device: torch.device | str | None = None,
    ecut_smoothing: float | None = None,
    start: SCFResult | DensitySource | str | os.PathLike[str] | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    mixing: Mixing | Mapping[str, Any] | None = None,
    policies: Policies | None = None,
    gradient_tolerance: float | None = None,
) -> NonSelfConsistentResult:
    """Energies, forces and states in the potential of a given density, without a loop.

    The free energy is that of Harris and Foulkes: eigenvalues with the output's occupations, minus
    TS, plus Hartree and XC energy of the given density, minus the integral of their potential times
    that density, plus the ions' energy. Its error is of second order in the density's, and of lower
    order where a channel that should be empty (fully polarised magnets) has a small positive
    density: see `NonSelfConsistentResult.energy_difference`.

    Parameters
    ----------
    target, functional, ecut, kpts, pseudopotentials, occupations, spinpol, nbands
        As for `scf`.
    fft_size, symmetry, device, ecut_smoothing
        As for `scf`.
    density : SCFResult, DensityRecord, path, DensitySource or array_like
        A result, a record or its file, a model with ``density_for(problem)``, or an array (nspin,
        n1, n2, n3) in bohr^-3 on any grid of this cell: the total, or up and down. Another cutoff
        or grid is truncated or padded; atoms of a result or record may have moved. The part without
        the crystal's symmetry is removed, and reported as ``result.start.removed``.
    other_functional : bool, optional
        Accept a model that was made for another functional. States and arrays may be from any.
    convergence : mapping, optional
        ``orbitals``, the largest residual of all bands except an empty highest one (at most 1e-6
        Ha, 1e-8 if density or functional require gradients), and ``maxiter``, the largest number of
        sweeps of the eigensolver. Other keys belong to the loop and have no effect.
    start : SCFResult, DensityRecord or path, optional
        Provides starting orbitals; those of `density` by default, if it has some.
    callback : callable, optional
        Called after every sweep with a dict of its number, energy (Hartree) and residual.
    mixing : optional
        Belongs to the loop and has no effect.
    policies : Policies, optional
        Of these, `effort` says when bands are added, and `precision` whether to start in single
        precision.
    gradient_tolerance : float, optional
        Relative error of the response's equations.

    Returns
    -------
    NonSelfConsistentResult
        Hartree atomic units.

    Raises
    ------
    ValueError
        For a density of another cell, other atoms, other spin channels, another number of electrons
        or with NaN, and as `scf`.
    DiagonalizationError
        If the states do not converge.

    Warns
    -----
    InaccurateDensityWarning
        If Kohn-Sham and Harris-Foulkes free energy differ by more than 5 meV/atom.
    NegativeDensityWarning
        If negative densities hold more than 1e-3 of the electrons.

    Examples
    --------
    Energy of a functional at the density of another one:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import non_self_consistent, scf
    >>> pbe = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> pbesol = non_self_consistent(
    ...     bulk("Si"), "PBEsol", density=pbe, ecut=100.0, kpts=(2, 2, 2))
    >>> exact = scf(bulk("Si"), "PBEsol", ecut=100.0, kpts=(2, 2, 2))
    >>> bool(abs(pbesol.free_energy - exact.free_energy) < 1e-4)
    True
    """
    given = locals()
    settings = Settings.of(
        {name: given[name] for name in Settings.model_fields}, "non_self_consistent", ("density",)
    )
    if callback is not None and not callable(callback):
        raise ValueError(f"callback = {callback!r} is not a function: give one of a step's dict.")
    setup = set_up(target, functional, settings)
    if setup.geometry is not None:
        raise ValueError(
            "positions or lattice require gradients, which non_self_consistent does not follow: "
            "give them without, and use result.forces and result.stress."
        )
    source = source_of(density)
    problem = setup.problem
    if isinstance(source, DensityRecord):
        source.check_fits(problem)
        if spinpol is None and problem.nspin == 1:
            notice_moments(problem, source)
        points = setup.kpoints if kpts is None else kpts
        fixed = isinstance(points, KPoints) or isinstance(symmetry, SymmetryGroup)
        problem = keeping_moments(problem, source, points, fixed)
    kept = FixedDensity.of(problem, source, flag(other_functional, "other_functional"))
    first = source if start is None else density_source(start)
    orbitals = None
    if isinstance(first, DensityRecord):
        orbitals = carried_orbitals(problem, first.orbitals)
    fine = kept.fields.requires_grad or bool(functional_tensors(problem))
    tolerance = _FINE_RESIDUAL if fine else _RESIDUAL
    if setup.convergence.orbitals is not None:
        tolerance = min(tolerance, setup.convergence.orbitals)
    result = at_given_density(
        problem,
        kept,
        tolerance,
        setup.nbands,
        orbitals,
        setup.convergence.maxiter,
        policies,
        callback,
        setup.gradient_tolerance,
    )
    _warn_if_far(result)
    return result


def _warn_if_far(result: NonSelfConsistentResult) -> None:
    difference = result.history[-1]["energy_change"]
    natom = result.basis.crystal.natom
    if abs(difference) > _FAR_APART * natom:
        warnings.warn(
            f"Kohn-Sham and Harris-Foulkes free energy differ by "
            f"{1e3 * difference * Hartree / natom:.3g} meV/atom: the given density is "
            f"{100.0 * result.density_error:.2g} % away from the output's. Energies are probably "
            "less accurate than wanted; scf(..., start=...) converges them.",
            InaccurateDensityWarning,
            stacklevel=users_stacklevel(),
        )
