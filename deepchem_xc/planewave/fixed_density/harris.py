r"""The Harris-Foulkes free energy of a given density, and its first derivatives.

With the states of the potential V of the given electrons n, and their own electrons m,

.. math:: F = \sum_i f_i \epsilon_i - TS + E[n] - \langle V[n], n \rangle + E_{ions},

where E is the energy of the terms of the density, and V its derivative. E is continued linearly to
negative densities of a spin channel (`left_out_energy`). For fixed V the first two
terms are stationary in orbitals and occupations, hence

.. math:: dF = \partial E[n] + \langle m - n, dV \rangle + \partial E_{orbitals} + dE_{ions},

where the partial derivatives are those at fixed electrons and orbitals. The potential changes with
the density, :math:`dV = K dn`, and with the atoms, cores and functional. No response is needed.

References
----------
J. Harris, Phys. Rev. B 31, 1770 (1985); W. M. C. Foulkes, R. Haydock, Phys. Rev. B 39, 12520
(1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from deepchem_xc.numerics.implicit import attach_implicit
from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import (
    electron_energy,
    left_out_energy,
    potential_in_graph,
    potential_of_spheres,
    terms_of_orbitals,
)
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import functional_tensors
from deepchem_xc.planewave.structure.atom_symmetry import symmetrize_forces, symmetrize_stress
from deepchem_xc.planewave.terms.base import IonTerm

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Unchanged

_SECOND_DERIVATIVES = (
    "second derivatives of the free energy at a given density are not available: the gradient was "
    "computed with create_graph=True and then differentiated. Forces and stress, which are first "
    "derivatives, can be differentiated: use result.forces and result.stress."
)


def harris_energy(
    problem: KohnShamProblem, eigenvalues: Tensor, occupation: Occupations, correction: Tensor
) -> Tensor:
    """Harris-Foulkes free energy, 0-d, Hartree per cell, without a graph.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    eigenvalues : Tensor
        Of the given density's potential, (nspin, nk, nband), Hartree.
    occupation : Occupations
        Occupations and entropy of these levels.
    correction : Tensor
        As `KohnShamProblem.effective_potential` returns it for that density.
    """
    weighted_occupations = occupation.occupations * problem.basis.weights[:, None]
    of_states = (weighted_occupations * eigenvalues).sum() + occupation.entropy_energy
    return of_states + correction + problem.constant_energy


def attach_harris_energy(
    problem: KohnShamProblem,
    value: Tensor,
    given: Fields,
    output: Fields,
    unchanged: Unchanged,
) -> Tensor:
    """The Harris-Foulkes free energy in the graph of the given density and the functional.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    value : Tensor
        The energy, 0-d, Hartree.
    given, output : Fields
        Given electrons, which may be in a graph, and those of their potential's states.
    unchanged : Unchanged
        Memory of the functional.
    """
    node = _Harris(problem, value, given.detach(), output.detach(), unchanged)
    inputs = [*given.leaves, *functional_tensors(problem)]
    return attach_implicit(node, inputs, _SECOND_DERIVATIVES)[0]


class _Harris:
    """The energy as a function of given electrons and functional, an `ImplicitSolution`."""

    def __init__(
        self,
        problem: KohnShamProblem,
        value: Tensor,
        given: Fields,
        output: Fields,
        unchanged: Unchanged,
    ) -> None:
        self._problem, self._value, self._unchanged = problem, value, unchanged
        self._given, self._output = given, output

    def values(self) -> tuple[Tensor, ...]:
        return (self._value.clone(),)

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> Sequence[Tensor | None]:
        self._unchanged.check()
        problem, count = self._problem, len(self._given.leaves)
        with torch.enable_grad():
            probe = self._given.map(lambda leaf: leaf.clone().requires_grad_())
            potential = potential_in_graph(problem, probe)
            energy = electron_energy(problem, self._given)
            energy = energy + potential.dot(self._output - self._given)
            energy = energy + left_out_energy(problem, self._given, probe)
            sources = [*probe.leaves, *inputs[count:]]
            found = torch.autograd.grad(energy, sources, allow_unused=True)
        return [None if g is None else g * cotangents[0] for g in found]


class MovingState(NamedTuple):
    """What forces and stress depend on; in a graph if they are to be differentiated."""

    given: Fields
    """Given electrons, as `Fields.to_electrons` returns them."""
    output: Fields
    """Electrons of their potential's states."""
    orbitals: Tensor
    """(nspin, nk, nband, npw)."""
    occupations: Tensor
    """Electrons in each state, (nspin, nk, nband)."""
    eigenvalues: Tensor
    """Energies of the orbitals, (nspin, nk, nband), Hartree: see `energy.forces_and_stress`."""
    orbitals_by_energy: Tensor | None
    """See `GroundState`; None without derivatives."""


def harris_forces_and_stress(
    problem: KohnShamProblem, density: FixedDensity, state: MovingState, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """Minus the derivative of the Harris-Foulkes free energy with respect to the atoms, and stress.

    The given density moves with the atoms (`FixedDensity.fields_at`). Because the difference
    from superposed atoms does not move, the forces of a given density need not add up to zero.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    density : FixedDensity
        Says how the density moves.
    state : MovingState
        The density and its states.
    keep : bool
        Whether the results are differentiated again.

    Returns
    -------
    forces : Tensor
        (natom, 3), Hartree/bohr, symmetrised.
    stress : Tensor or None
        dF/dstrain over the volume at fixed plane waves, (3, 3), Hartree/bohr^3, symmetrised. None
        if a model's density is not in the graph of the lattice.

    Raises
    ------
    ValueError
        If a model's density is not in the graph of the positions.
    """
    if not keep:
        state = MovingState(
            state.given.detach(),
            state.output.detach(),
            state.orbitals.detach(),
            state.occupations.detach(),
            state.eigenvalues.detach(),
            None,
        )
    basis = problem.basis
    crystal, symmetry = basis.crystal, basis.kpoints.symmetry
    lattice, positions = crystal.lattice, crystal.positions
    weighted_occupations = state.occupations * basis.weights[:, None]

    def motions() -> list[Tensor]:
        return [torch.zeros_like(x).requires_grad_() for x in (positions, lattice)]

    def moved(displacement: Tensor, strain: Tensor) -> KohnShamProblem:
        deformed = lattice @ (torch.eye(3, dtype=lattice.dtype, device=lattice.device) + strain)
        other = basis.with_geometry(lattice=deformed, positions=positions + displacement)
        return replace(problem, basis=other)

    of_states, of_density = motions(), motions()

    def derivatives(energy: Tensor, *others: Tensor) -> list[Tensor]:
        sources = (*of_states, *others)
        if not energy.requires_grad:
            return [torch.zeros_like(x) for x in sources]
        return list(torch.autograd.grad(energy, sources, create_graph=keep, materialize_grads=True))

    with torch.enable_grad():
        now = moved(*of_states)
        output = state.output
        if output.tau is not None:
            tau = kinetic_density(
                now.basis, state.orbitals, weighted_occupations, recompute=not keep
            )
            output = replace(output, tau=tau * now.basis.volume)
        # The potential is differentiated with respect to its own copy of the given electrons.
        probe = state.given.map(lambda leaf: leaf.view_as(leaf))
        if not probe.requires_grad:
            probe = probe.map(lambda leaf: leaf.detach().requires_grad_())
        energy = electron_energy(now, state.given)
        energy = energy + potential_in_graph(now, probe).dot(output - state.given)
        energy = energy + left_out_energy(problem, state.given, probe, now)
        for term in problem.terms:
            if isinstance(term, IonTerm):
                energy = energy + term.energy(now.basis)
        by_positions, by_strain, *work = derivatives(energy, *probe.leaves)
        potential = potential_of_spheres(problem, state.given.to_densities(basis.volume), keep)
        levels = state.eigenvalues, state.orbitals_by_energy
        for part_of in terms_of_orbitals(problem, potential, *levels):
            for ks in part_of.chunks(basis):
                part = part_of.energy(
                    moved(*of_states).basis, state.orbitals, weighted_occupations, ks
                )
                more = derivatives(part)
                by_positions, by_strain = by_positions + more[0], by_strain + more[1]
        # The work that the motion of the given density does: <K (m - n), dn>. The volume of the
        # waves is left out, so that a density outside the graph of the lattice is noticed. Other
        # motions are needed, because K (m - n) may be in the graph of the first ones.
        fields = density.fields_at(problem, moved(*of_density))
        density.check_model(fields)
        push = Potential.of_derivatives(fields.with_leaves(work))
        of_waves = replace(push, spheres=None).dot(replace(fields, spheres=None))
        done = basis.volume * of_waves
        if push.spheres is not None and fields.spheres is not None:
            done = done + (push.spheres * fields.spheres).sum()
        along = _along(done, of_density, keep)
    if along[0] is None:
        raise ValueError(
            "forces need the derivative of the density with respect to the positions, but the "
            "density of this model is not in their graph: see planewave.fixed_density.sources."
        )
    forces = -(by_positions + along[0]) @ torch.linalg.inv(lattice).T
    forces = symmetrize_forces(forces, crystal, symmetry)
    if along[1] is None:
        return forces, None
    # Electrons of waves are densities times the volume, whose derivative is the volume times one.
    one = torch.eye(3, dtype=lattice.dtype, device=lattice.device)
    stress = (by_strain + along[1]) / basis.volume + of_waves * one
    return forces, symmetrize_stress(0.5 * (stress + stress.T), crystal, symmetry)


def _along(done: Tensor, motions: Sequence[Tensor], keep: bool) -> Sequence[Tensor | None]:
    if not done.requires_grad:
        return [None] * len(motions)
    return torch.autograd.grad(done, motions, create_graph=keep, allow_unused=True)
