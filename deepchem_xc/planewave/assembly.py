"""From `Settings` to a calculation that can be solved: the only place that assembles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree

from deepchem_xc._modes import refuse_inference_tensors
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.inputs import (
    BROKEN_SYMMETRY,
    as_crystal,
    make_basis,
    make_problem,
    number_of_bands,
)
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.magnetic_start import keeping_moments, notice_moments
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.record import DensityRecord, DensitySource
from deepchem_xc.planewave.record.starting_point import StartingPoint, starting_point
from deepchem_xc.planewave.response.adjoint import Geometry, functional_tensors
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.kpoints import KPoints
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from deepchem_xc.planewave.values import with_defaults

if TYPE_CHECKING:
    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional

# Keywords that belong to a basis, and are not valid together with one.
_OF_THE_BASIS = ("ecut", "kpts", "fft_size", "symmetry", "device", "ecut_smoothing")
# Default integrated density error of the loop, electrons per valence electron, if the functional or
# the geometry requires gradients. Derivatives with respect to the geometry are small differences of
# large terms: docs/derivatives.md has the resulting errors.
_GRADIENT_DENSITY, _GEOMETRY_GRADIENT_DENSITY = 1e-7, 1e-8


@dataclass(frozen=True, eq=False)
class Setup:
    """A problem and the settings of its loop: everything that `solve` takes.

    Attributes
    ----------
    problem : KohnShamProblem
        Basis, functional, pseudopotentials and smearing.
    convergence : Convergence
        Criteria to stop the loop.
    nbands : int or None
        Number of bands; None leaves it to the loop.
    mixing : Mixing
        How densities are mixed.
    gradient_tolerance : float
        Relative residual of the adjoint equation.
    geometry : Geometry or None
        Lattice and positions, if the result is differentiable with respect to them.
    policies : Policies or None
        Other rules of the loop; None selects the default.
    kpoints : KPoints or None
        Those of a given basis, which cannot be reduced again.

    See Also
    --------
    set_up : Makes it, with an example.
    """

    problem: KohnShamProblem
    convergence: Convergence
    nbands: int | None
    mixing: Mixing
    gradient_tolerance: float
    geometry: Geometry | None
    policies: Policies | None = None
    kpoints: KPoints | None = None

    def started_from(
        self, source: DensitySource, settings: Settings, stacklevel: int = 2
    ) -> tuple[Setup, StartingPoint]:
        """The same calculation and its start from a density.

        With two spin channels, symmetry operations that a record's magnetic moments lack are left
        out of the problem.

        Parameters
        ----------
        source : DensitySource
            A record, or anything else with ``density_for(problem)``.
        settings : Settings
            Keywords of the calculation. `KPoints`, or a `SymmetryGroup`, in it are not reduced; a
            problem without spin warns of lost moments unless ``spinpol`` is given.
        stacklevel : int, optional
            Of warnings, as for `warnings.warn`.

        Raises
        ------
        ValueError
            If the density does not belong to this problem.
        """
        problem = self.problem
        if isinstance(source, DensityRecord):
            source.check_fits(problem)
            if settings.spinpol is None and problem.nspin == 1:
                notice_moments(problem, source, stacklevel + 1)
            kpts = self.kpoints if settings.kpts is None else settings.kpts
            fixed = isinstance(kpts, KPoints) or isinstance(settings.symmetry, SymmetryGroup)
            problem = keeping_moments(problem, source, kpts, fixed)
        return replace(self, problem=problem), starting_point(problem, source, stacklevel + 1)

    def solve(
        self,
        start: StartingPoint | None = None,
        callback: Callable[[dict[str, float]], None] | None = None,
    ) -> SCFResult:
        """Ground state, from superposed atoms by default.

        Errors are those of `loop.self_consistency.solve`.
        """
        result = solve(
            self.problem,
            self.convergence,
            self.nbands,
            None if start is None else start.fields,
            None if start is None else start.orbitals,
            callback,
            self.mixing,
            self.policies,
            hold_moment=start is None or not start.is_converged,
        )
        return replace(
            result,
            geometry=self.geometry,
            gradient_tolerance=self.gradient_tolerance,
            start=None if start is None else start.report,
        )


def set_up(target: Any, functional: str | XCFunctional | None, settings: Settings) -> Setup:
    """Build the problem that settings describe, with the settings of its loop.

    Parameters
    ----------
    target : ase.Atoms, pymatgen Structure, Crystal or PlaneWaveBasis
        With a basis, energies in `settings` are in Hartree, and keywords of a basis are not valid.
    functional : str or XCFunctional, optional
        Anything `get_xc` takes; PBE by default.
    settings : Settings
        Keywords of the calculation.

    Raises
    ------
    ValueError
        For settings that are not valid for this structure.

    Examples
    --------
    >>> from ase.build import bulk
    >>> setup = set_up(bulk("Si"), "PBE", Settings.of({"ecut": 100.0, "nbands": -2}))
    >>> setup.problem.nelectrons, setup.nbands, setup.convergence.density
    (8.0, 6, 1e-06)
    """
    if isinstance(functional, torch.nn.Module):
        tensors = (*functional.parameters(), *functional.buffers())
        refuse_inference_tensors("the functional", tensors)
    if isinstance(target, PlaneWaveBasis):
        refuse_inference_tensors("the basis", [target.crystal.lattice, target.weights])
        given = [name for name in _OF_THE_BASIS if getattr(settings, name) is not None]
        if given:
            raise ValueError(f"{sorted(given)} belong to the given PlaneWaveBasis: leave them out.")
        basis, unit = target, 1.0
        moves = basis.crystal.requires_grad
        if moves and len(basis.kpoints.symmetry) > 1:
            raise ValueError(BROKEN_SYMMETRY)
    else:
        crystal = as_crystal(target)
        refuse_inference_tensors("the crystal", [crystal.lattice, crystal.positions])
        moves = crystal.requires_grad
        basis, unit = make_basis(crystal, settings), 1.0 / Hartree
    geometry = Geometry(basis.crystal.lattice, basis.crystal.positions) if moves else None
    basis = basis.with_geometry(*(x.detach() for x in geometry)) if geometry else basis
    problem = make_problem(
        basis, functional, settings.pseudopotentials, settings.occupations, settings.spinpol, unit
    )
    tolerance = settings.gradient_tolerance
    return Setup(
        problem=problem,
        convergence=_convergence(problem, settings.convergence, unit, moves),
        nbands=number_of_bands(settings.nbands, problem),
        mixing=Mixing.of(settings.mixing),
        gradient_tolerance=GRADIENT_TOLERANCE if tolerance is None else tolerance,
        geometry=geometry,
        kpoints=target.kpoints if isinstance(target, PlaneWaveBasis) else None,
    )


def _convergence(
    problem: KohnShamProblem, options: Any, energy_unit: float, moves: bool
) -> Convergence:
    """`Convergence`, with a tighter density if the result is differentiable.

    A gradient's error is of first order in the density's, an energy's of second. `moves` is True if
    positions or lattice require gradients.
    """
    if moves or functional_tensors(problem):
        density = _GEOMETRY_GRADIENT_DENSITY if moves else _GRADIENT_DENSITY
        options = with_defaults(options, {"density": density})
    return Convergence.of(options, energy_unit)
