"""The map whose fixed point is the ground state: from a density to the density of its states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.eigen.states import fill, importance_of
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.loop.mixing import to_total_and_moment
from deepchem_xc.planewave.problem import KohnShamProblem

# Broadening, Hartree, of the local density of states for the mixing's preconditioner, and the
# fraction of the largest weight below which states are skipped to save their FFT.
_SCREENING_WIDTH = 0.01
_FEW_STATES = 1e-3
# Assumed level spacing, Hartree, that turns residuals into an energy error.
_APART = 0.1


@dataclass(frozen=True, eq=False)
class Iterate:
    """One step of the loop: a density, its states, and the density of these states.

    Attributes
    ----------
    fields : Fields
        Input: density, for meta-GGAs with the kinetic energy density.
    potential : Potential
    correction : Tensor
        As `KohnShamProblem.effective_potential` returns them.
    hamiltonian : Hamiltonian
        Hamiltonian of this potential.
    eigenvalues, orbitals, residuals : Tensor
        (nspin, nk, nband) in Hartree, (nspin, nk, nband, npw), (nspin, nk, nband) in Hartree.
    occupation : Occupations
        Occupations of these states.
    output : Fields
        Fields of these states.
    local_dos : Tensor or None
        Local density of states at the Fermi level, (nG,), 1/(Hartree bohr^3); None without
        smearing.
    density_error : float
        Integral of |output - input|, electrons per valence electron.
    orbital_error : float
        Largest residual of an occupied band, Hartree, weighted by its occupation.
    """

    fields: Fields
    potential: Potential
    correction: Tensor
    hamiltonian: Hamiltonian
    eigenvalues: Tensor
    orbitals: Tensor
    residuals: Tensor
    occupation: Occupations
    output: Fields
    local_dos: Tensor | None
    density_error: float
    orbital_error: float


class FixedPointMap:
    """Maps a density to the density of its states; keeps the states' importance between steps.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal, discretised.
    spare : float or None
        Electrons in the highest band above which bands are added; None adds none.
    expansions : int
        Expansions of Davidson's subspace in one sweep.
    """

    def __init__(self, problem: KohnShamProblem, spare: float | None, expansions: int) -> None:
        self.problem, self._spare, self._expansions = problem, spare, expansions
        self._importance: Tensor | None = None

    def improve(
        self,
        hamiltonian: Hamiltonian,
        potential: tuple[Potential, Tensor],
        fields: Fields,
        orbitals: Tensor,
        moment: float | None,
        target: float,
        single: bool,
    ) -> Iterate:
        """Improve the states of a potential by one sweep, fill them, and sum their density.

        Parameters
        ----------
        hamiltonian : Hamiltonian
            Hamiltonian of the potential.
        potential : (Potential, Tensor)
            As `KohnShamProblem.effective_potential` returns it for the fields.
        fields : Fields
            Input of this step.
        orbitals : Tensor
            Current orbitals, (nspin, nk, nband, npw).
        moment : float or None
            Magnetic moment to hold, mu_B per cell; None lets it relax.
        target : float
            Wanted residual, Hartree.
        single : bool
            Work in single precision, accurate to 1e-7.
        """
        problem = self.problem
        eigenvalues, orbitals, residuals, occupation = fill(
            problem,
            hamiltonian,
            orbitals,
            self._importance,
            moment,
            target,
            self._spare,
            single,
            self._expansions,
        )
        self._importance = importance_of(problem, occupation.occupations)
        output, local_dos = new_fields(problem, orbitals, occupation, eigenvalues, single)
        return Iterate(
            fields,
            *potential,
            hamiltonian,
            eigenvalues,
            orbitals,
            residuals,
            occupation,
            output,
            local_dos,
            density_error=_distance(problem.basis, fields, output) / problem.nelectrons,
            orbital_error=_orbital_error(residuals, self._importance),
        )


def free_energy(problem: KohnShamProblem, found: Iterate) -> float:
    """Free energy of a step, Hartree per cell, with an error of second order in the density's."""
    weighted_occupations = found.occupation.occupations * problem.basis.weights[:, None]
    return problem.constant_energy + float(
        (weighted_occupations * found.eigenvalues).sum()
        + found.correction
        + found.occupation.entropy_energy
    )


def second_order(problem: KohnShamProblem, found: Iterate) -> float:
    """Estimate of the error of `free_energy`, Hartree per cell, not negative.

    It is the Kohn-Sham energy of the output density minus the Harris energy of the input density,
    plus the contribution of the residuals. The errors of both energies are of second order in the
    density's error; the first energy lies above that of the ground state, the second usually below.
    """
    own_potential, own_correction = problem.effective_potential(found.output)
    shift = (own_potential - found.potential).energy(found.output, problem.basis.volume)
    excess = float(own_correction - found.correction + shift)
    weighted_occupations = found.occupation.occupations * problem.basis.weights[:, None]
    of_orbitals = float((weighted_occupations.abs() * found.residuals.square()).sum()) / _APART
    return abs(excess) + of_orbitals


def gap(occupation: Occupations, eigenvalues: Tensor, moment: float | None) -> float:
    """Smallest gap at a k-point between filled and empty levels that may change places, Hartree.

    Parameters
    ----------
    occupation : Occupations
        Integer occupations.
    eigenvalues : Tensor
        (nspin, nk, nband), Hartree.
    moment : float or None
        Fixed moment, mu_B; with None both channels share their electrons.
    """
    filled = occupation.occupations > 0.0
    channels = (0, 2) if moment is None else (2,)
    lowest = torch.where(filled, torch.inf, eigenvalues).amin(channels)
    highest = torch.where(filled, eigenvalues, -torch.inf).amax(channels)
    return float((lowest - highest).min())


def new_fields(
    problem: KohnShamProblem,
    orbitals: Tensor,
    occupation: Occupations,
    eigenvalues: Tensor,
    single: bool = False,
) -> tuple[Fields, Tensor | None]:
    """Fields of the filled orbitals, and local density of states, (nG,) or None.

    `single` uses single precision, accurate to 1e-7.
    """
    basis, smearing = problem.basis, problem.smearing
    sets = [occupation.occupations]
    if smearing.width > 0.0:
        level = eigenvalues.new_tensor(occupation.fermi_level).reshape(-1, 1, 1)
        # Fermi-Dirac with a width that a coarse k-mesh resolves, whatever the smearing.
        filled = torch.sigmoid((level - eigenvalues) / _SCREENING_WIDTH)
        dos = filled * (1.0 - filled) * (2.0 / problem.nspin / _SCREENING_WIDTH)
        sets.append(torch.where(dos > _FEW_STATES * dos.max(), dos, 0.0))
    weighted_occupations = torch.stack(sets) * basis.weights[:, None]
    output, *others = problem.fields_of(orbitals, weighted_occupations, single)
    return output, others[0].density.sum(0) if others else None


def _orbital_error(residuals: Tensor, importance: Tensor) -> float:
    """Largest residual of a band times its importance, Hartree.

    A multiplet may be cut at the highest band, whose residual then stays as large as the multiplet
    is wide. That band is nearly empty, so its residual is weighted by the occupation, its actual
    effect on the density, instead of the root of the occupation.
    """
    highest = residuals[:, :, -1] * importance[:, :, -1].square()
    others = residuals[:, :, :-1] * importance[:, :, :-1]
    return float(torch.cat([others.flatten(), highest.flatten()]).max())


def _distance(basis: PlaneWaveBasis, before: Fields, after: Fields) -> float:
    """Electrons that move, in the density or the magnetisation, whichever is larger.

    The integral of the absolute change of the density, or the change of the occupations inside of
    PAW spheres, whichever is larger.
    """
    change = (after - before).map(to_total_and_moment)
    moved = float(basis.to_grid(change.density).abs().mean((1, 2, 3)).max() * basis.volume)
    if change.spheres is None:
        return moved
    return max(moved, float(change.spheres.norm(dim=-1).max()))
