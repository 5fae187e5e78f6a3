"""The result of a molecule's self-consistency loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.gaussian.adjoint import SECOND_DERIVATIVES, GroundState, attach
from deepchem_xc.gaussian.forces import Forces
from deepchem_xc.gaussian.molecule import Molecule
from deepchem_xc.gaussian.point_densities import rows_on_grid
from deepchem_xc.gaussian.problem import MolecularProblem
from deepchem_xc.gaussian.self_consistency import Converged
from deepchem_xc.gaussian.stability import Stability, find_stability
from deepchem_xc.gaussian.states import occupied
from deepchem_xc.kept import KeptResults
from deepchem_xc.numerics.implicit import KnownGradients, attach_implicit
from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.xc.identity import Unchanged

#: Relative residual of the adjoint equation.
GRADIENT_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class MolecularResult(KeptResults):
    """A converged ground state of a molecule and its properties, in Hartree atomic units.

    Each property is computed on first access. If the functional's parameters require gradients, all
    results except the orbitals are in their graph: ``loss.backward()`` differentiates through the
    self-consistent field. The derivative of `free_energy` costs no more than an energy; any other
    loss solves one adjoint equation for each backward pass.

    Attributes
    ----------
    problem : MolecularProblem
        Molecule, functional, grid, interaction and smearing.
    converged : Converged
        Orbitals, levels, occupations and potential of the last step, without a graph.
    history : list of dict
        One record a step: energy, energy_change, commutator, gap.
    gradient_tolerance : float
        Relative residual of the adjoint equation.
    detached : bool
        Whether results stay out of any graph, even if parameters require gradients.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from deepchem_xc.gaussian import scf
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> result = scf(molecule("H2O"), functional, basis="def2-svp")
    >>> result.energy
    tensor(-76.2724, dtype=torch.float64, grad_fn=<_NodeBackward>)
    >>> result.dipole.norm().backward()
    >>> all(p.grad is not None for p in functional.parameters())
    True
    """

    problem: MolecularProblem
    converged: Converged = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
    gradient_tolerance: float = GRADIENT_TOLERANCE
    detached: bool = field(default=False, repr=False)
    _cache: dict[tuple[str, tuple[int, ...]], Any] = field(default_factory=dict, repr=False)
    _memory: list[Unchanged] = field(default_factory=list, repr=False)

    @property
    def _sources(self) -> list[Tensor]:
        return [] if self.detached else self.problem.trained_tensors

    @property
    def molecule(self) -> Molecule:
        """Atoms, electrons and basis functions."""
        return self.problem.molecule

    @property
    def nsteps(self) -> int:
        """Number of self-consistency steps."""
        return len(self.history)

    @property
    def ground_state(self) -> GroundState:
        """Density matrices and levels, in the graph of the functional's parameters."""
        return self._once("ground_state", self._attach)

    def _attach(self) -> GroundState:
        states = self.converged.states
        if not self._in_graph:
            return GroundState(states.density, states.eigenvalues)
        self._check_functional()
        return attach(self.problem, self.converged, self.gradient_tolerance)

    @property
    def orbitals(self) -> Tensor:
        """Coefficients, (nset, nao, norbital), without derivatives: their signs are arbitrary."""
        return self.converged.states.orbitals

    @property
    def density_matrix(self) -> Tensor:
        """Density matrices, (nspin, nao, nao), total or up and down, in PySCF's order."""
        return self.ground_state.density

    @property
    def eigenvalues(self) -> Tensor:
        """Levels, (nset, norbital), Hartree, ascending; one set, or one for each spin.

        Those of open shells with one set of orbitals follow Roothaan's convention, as PySCF's do.
        A loss must treat degenerate ones alike.
        """
        return self.ground_state.eigenvalues

    @property
    def occupations(self) -> Tensor:
        """Electrons in each level, shaped as `eigenvalues`."""
        return self._once("occupations", self._occupations)

    def _occupations(self) -> Tensor:
        filling = self.converged.states.filling
        if self.problem.kind == "open":
            return filling.sum(0, keepdim=True)
        if self._is_smeared:
            return occupied(self.problem, self.eigenvalues).occupations[:, 0]
        return filling

    @property
    def _is_smeared(self) -> bool:
        return self.problem.smearing.width > 0.0

    @property
    def occupation(self) -> Occupations | None:
        """Occupations, Fermi level and entropy, without derivatives.

        None for open shells with one set of orbitals.
        """
        return self.converged.states.occupation

    @property
    def rows(self) -> Tensor:
        """Density, gradient and kinetic energy density at the points, (nspin, nrow, npoint).

        As many rows as the functional reads, 1, 4 or 5; atomic units.
        """
        return self._once("rows", self._rows)

    def _rows(self) -> Tensor:
        semilocal = self.problem.semilocal
        return rows_on_grid(self.density_matrix, self.problem.grid, semilocal.nrow)

    @property
    def density(self) -> Tensor:
        """Density at the points of the grid, (nspin, npoint), bohr^-3: total, or up and down."""
        return self.rows[:, 0]

    @property
    def coordinates(self) -> Tensor:
        """Points of the grid, (npoint, 3), bohr."""
        return self.problem.grid.coordinates

    @property
    def weights(self) -> Tensor:
        """Volumes of the points, (npoint,), bohr^3."""
        return self.problem.grid.weights

    @property
    def energies(self) -> dict[str, Tensor]:
        """Energy by term, Hartree.

        Keys: kinetic, external (nuclei and core potentials), nuclear, hartree, xc, for hybrids
        exact_exchange; entropy (-TS), total (without the entropy) and free.
        """
        return self._once("energies", self._energies)

    def _energies(self) -> dict[str, Tensor]:
        if self._in_graph:
            self._check_functional()
            terms = self.problem.energies_in_graph(self.density_matrix)
        else:
            known = self.converged.potential.energies
            terms = {name: self.weights.new_tensor(value) for name, value in known.items()}
        terms["entropy"] = self._entropy_energy
        terms["free"] = self.free_energy
        terms["total"] = self.energy
        return terms

    @property
    def energy(self) -> Tensor:
        """Total energy without the entropy term, 0-d, Hartree."""
        return self.free_energy - self._entropy_energy if self._is_smeared else self.free_energy

    @property
    def _entropy_energy(self) -> Tensor:
        """-TS; if it is zero, its derivatives need no response."""
        if not self._is_smeared:
            return self.weights.new_zeros(())
        return self._once(
            "entropy", lambda: occupied(self.problem, self.eigenvalues).entropy_energy
        )

    @property
    def free_energy(self) -> Tensor:
        """Total energy with the entropy term, which the loop minimises, 0-d, Hartree.

        Because it is stationary, its derivatives are those at fixed density matrices (Hellmann and
        Feynman) and need no response.
        """
        return self._once("free", self._free_energy)

    def _free_energy(self) -> Tensor:
        states = self.converged.states
        value = self.weights.new_tensor(self.converged.potential.energy + states.entropy_energy)
        if not self._in_graph:
            return value
        self._check_functional()
        inputs = self.problem.trained_tensors
        gradients = self.problem.parameter_gradients(states.density, inputs)
        check = Unchanged(self.problem.functional, tuple(inputs)).check
        known = KnownGradients(value, gradients, check)
        return attach_implicit(known, inputs, SECOND_DERIVATIVES)[0]

    @property
    def extrapolated_energy(self) -> Tensor:
        """Estimate of the energy at zero width, 0-d, Hartree."""
        return self.problem.smearing.extrapolate(self.free_energy, self._entropy_energy)

    @property
    def magnetic_moment(self) -> Tensor:
        """Number of unpaired electrons, which is held, 0-d, mu_B."""
        return self.weights.new_tensor(float(self.molecule.spin))

    def stability(self) -> Stability:
        """Whether the energy is a minimum with respect to rotations of the orbitals.

        For closed shells also with a set of orbitals for each spin; see `Stability`.

        Raises
        ------
        ValueError
            With smearing.
        """
        self._check_functional()
        last = self.converged
        with torch.no_grad():
            return find_stability(self.problem, last.states, last.potential.fock)

    @property
    def dipole(self) -> Tensor:
        """Dipole moment, (3,), e bohr, from negative to positive charge.

        For ions with respect to the origin of the coordinates.
        """
        return self._once("dipole", self._dipole)

    def _dipole(self) -> Tensor:
        mole = self.molecule.mole
        charges = torch.from_numpy(mole.atom_charges() @ mole.atom_coords())
        total = self.density_matrix.sum(0)
        return charges - (self.problem.dipole * total).sum((1, 2))

    @property
    def forces(self) -> Tensor:
        """Forces, (natom, 3), Hartree/bohr: less the derivative of `free_energy`.

        The points of the grid move with the atoms, and so the forces add up to zero. The grid does
        not turn with the molecule: a small torque remains.
        """
        return self._once("forces", self._forces)

    def _forces(self) -> Tensor:
        self._check_functional()
        # Also for results in a graph, computed only once.
        forces = self.detach()._once("moving atoms", self._moving_atoms)
        if not self._in_graph:
            return forces.values()[0]
        inputs = [self.density_matrix, *self.problem.trained_tensors]
        return attach_implicit(forces, inputs, SECOND_DERIVATIVES)[0]

    def _moving_atoms(self) -> Forces:
        last = self.converged
        return Forces(self.problem, last.states.density, last.potential.fock)

    @property
    def frontier_levels(self) -> Tensor:
        """Highest filled and lowest empty level (HOMO, LUMO) of each spin, (nspin, 2), Hartree.

        A level counts as filled above half of what it can hold. Where a spin has no filled level,
        the first number is minus infinity; where it has no empty one, the second is infinity.
        """
        filling = self.converged.states.filling
        is_filled = filling > (1.0 if len(filling) == 1 else 0.5)
        levels = self.eigenvalues.expand_as(filling)
        highest = torch.where(is_filled, levels, -torch.inf).amax(1)
        lowest = torch.where(is_filled, torch.inf, levels).amin(1)
        return torch.stack([highest, lowest], dim=1)

    @property
    def band_gap(self) -> Tensor:
        """Difference between the lowest empty and the highest filled level of one spin, 0-d, Ha.

        The smaller one of both spins; see `frontier_levels`.

        Raises
        ------
        ValueError
            If there is no empty level.
        """
        highest, lowest = self.frontier_levels.T
        if bool(lowest.isinf().any()):
            raise ValueError("there is no empty level: take a larger basis set.")
        return (lowest - highest)[highest.isfinite()].min()
