"""Meta-GGAs where a single orbital makes the density.

Many have no useful derivative with respect to the kinetic energy density there
(`deepchem_xc.xc.one_orbital`). If every spin channel holds one orbital, each meta-GGA equals a
functional of the density alone; it is replaced by that, and converges like a GGA. If one orbital
dominates only part of a larger system, the operator -1/2 div((1 + de/dtau) grad) may have no lowest
state: a message then names the functional.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.terms.xc import core_fields, density_information

if TYPE_CHECKING:
    from deepchem_xc.xc import ValGrad

# Electrons in the higher orbitals of a channel above which it holds more than one orbital.
_SECOND = 1e-10
# Smallest de/dtau at which energies still have significant digits: it multiplies kinetic energies.
_LOST = -1e4


def as_one_orbital(problem: KohnShamProblem) -> KohnShamProblem:
    """The same problem with a functional of the density alone, if that is equivalent.

    It is equivalent for meta-GGAs with at most one electron in each channel (two in a channel for
    both spins), at a single k-point where orbitals are real.

    Parameters
    ----------
    problem : KohnShamProblem
        Any problem.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> helium = Atoms("He", cell=[3.0] * 3, pbc=True)
    >>> basis = PlaneWaveBasis(Crystal.from_ase(helium), 4.0, (1, 1, 1))
    >>> make_problem(basis, "TPSS").needs_kinetic_density
    False
    """
    from deepchem_xc.xc import OneOrbital

    # In PAW spheres the kinetic energy density is not that of the smooth density.
    if problem.spheres is not None:
        return problem
    if not problem.needs_kinetic_density or not _has_room_for_one(problem):
        return problem
    return replace(problem, functional=OneOrbital(problem.functional))


def _has_room_for_one(problem: KohnShamProblem) -> bool:
    points = problem.basis.kpoints.coordinates
    if len(points) != 1 or not bool((2.0 * points == (2.0 * points).round()).all()):
        return False
    if problem.nspin == 1:
        return problem.nelectrons <= 2.0
    return problem.nelectrons + abs(problem.initial_moment or 0.0) <= 2.0


def with_several_orbitals(
    problem: KohnShamProblem, occupation: Occupations
) -> KohnShamProblem | None:
    """The problem with its own functional if `as_one_orbital` turns out wrong; otherwise None."""
    from deepchem_xc.xc import OneOrbital

    functional = problem.functional
    if not isinstance(functional, OneOrbital):
        return None
    if bool((occupation.occupations[:, :, 1:].abs().sum((1, 2)) < _SECOND).all()):
        return None
    return replace(problem, functional=functional.functional)


def why_unbounded(problem: KohnShamProblem, fields: Fields, potential: Potential) -> str | None:
    """Where the kinetic operator of a meta-GGA is negative, with advice; None if nowhere.

    Parameters
    ----------
    problem : KohnShamProblem
        Any problem.
    fields : Fields
        Density, for meta-GGAs with the kinetic energy density.
    potential : Potential
        As `KohnShamProblem.effective_potential` returns it for the fields.
    """
    from deepchem_xc.xc import integrated_energy

    slope = _slope(problem, fields, potential)
    if slope is None or float(slope.min()) > -1.0:
        return None
    core = core_fields(problem.basis, problem.pseudopotentials, tau=True)
    information: Any = density_information(problem.basis, problem.functional, fields, core)
    channels = (information,) if problem.nspin == 1 else (information.u, information.d)
    with torch.enable_grad():
        for channel in channels:
            channel.kin = channel.kin.detach().requires_grad_()
        energy = integrated_energy(problem.functional, information, 1.0)
        # on the grid points themselves: on the sphere of plane waves a spike rings everywhere
        slopes = torch.stack(torch.autograd.grad(energy, [channel.kin for channel in channels]))
    slopes = torch.where((slope == 0.0).all(1, keepdim=True), 0.0, slopes)
    spin, point = divmod(int(slopes.argmin()), slopes.shape[1])
    negative = (slopes < -1.0).any(0).double().mean()
    return (
        f"{problem.functional.name} has de/dtau = {float(slopes.min()):.1e} where "
        f"{_described(channels[spin], point)}: 1 + de/dtau is negative at {float(negative):.1%} "
        "of the grid points, and electrons have no lowest state there. That happens where a single "
        "orbital makes the density (tau = tau_W): use r2SCAN, which is bounded there. If the "
        "operator is negative only during the loop, start from a result of r2SCAN (start=). "
    )


def is_lost(problem: KohnShamProblem, fields: Fields, potential: Potential) -> bool:
    """Whether the operator of `why_unbounded` is so negative that energies lose all digits."""
    slope = _slope(problem, fields, potential)
    return slope is not None and float(slope.min()) < _LOST


def _slope(problem: KohnShamProblem, fields: Fields, potential: Potential) -> Tensor | None:
    """de/dtau on the grid, (nspin, nr), 0 in empty channels; None for other functionals."""
    if potential.v_tau is None:
        return None
    filled = fields.density[:, 0].real * problem.basis.volume > _SECOND
    return torch.where(filled.unsqueeze(-1), problem.basis.to_grid(potential.v_tau).flatten(1), 0.0)


def _described(channel: ValGrad, point: int) -> str:
    n, tau = (float(x.detach().flatten()[point]) for x in (channel.value, channel.kin))
    weizsaecker = float(channel.grad[:, point].square().sum()) / (8.0 * n) if n > 0.0 else 0.0
    ratio = f", tau / tau_W = {tau / weizsaecker:.3g}" if weizsaecker > 0.0 else ""
    return f"n = {n:.1e} bohr^-3 and tau = {tau:.1e} Ha bohr^-3{ratio}"
