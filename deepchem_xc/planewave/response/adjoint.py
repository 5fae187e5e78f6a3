r"""Derivatives through the self-consistent field: implicit differentiation of its fixed point.

The loop is not unrolled. At the fixed point the cotangent n of the Kohn-Sham potential solves the
adjoint of the linearised loop (Dyson's equation),

.. math:: n = \chi_0 (u + K n),

with the independent-particle response :math:`\chi_0`, the kernel K of the Hartree and
exchange-correlation potentials, and the loss's derivative u with respect to the density. One
equation serves all parameters: the functional, positions and lattice enter only through explicit
derivatives of the Hamiltonian. Each backward pass solves the equation once, for all its losses.

References
----------
M. F. Kasim, S. Lehtola, S. M. Vinko, J. Chem. Phys. 156, 084801 (2022);
N. F. Schmitz, B. Ploumhans, M. F. Herbst, arXiv:2509.07785 (2025).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from deepchem_xc.numerics.implicit import attach_implicit, explicit_gradients, solve_adjoint
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import electron_energy, orbital_energy
from deepchem_xc.planewave.fields import Fields, Potential, derivative
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.independent import (
    EXACT,
    SECOND_DERIVATIVES,
    GroundState,
    LossOnStates,
    real_and_symmetric,
    values_of,
)
from deepchem_xc.planewave.response.perturbation import PerturbedStates
from deepchem_xc.planewave.terms.nonlocal_ import chunks_of_projectors, projectors

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Unchanged


class Geometry(NamedTuple):
    """Lattice (bohr) and reduced positions, as tensors that may require gradients."""

    lattice: Tensor
    positions: Tensor

    def of(self, problem: KohnShamProblem) -> KohnShamProblem:
        """The problem with this geometry and unchanged plane waves."""
        basis = problem.basis.with_geometry(self.lattice, self.positions)
        return replace(problem, basis=basis)


def functional_tensors(problem: KohnShamProblem) -> list[Tensor]:
    """Parameters and buffers of the functional that require gradients."""
    functional = problem.functional
    tensors = (*functional.parameters(), *functional.buffers())
    return [tensor for tensor in tensors if tensor.requires_grad]


def unchanged(problem: KohnShamProblem) -> Unchanged:
    """Memory of the functional's state at the moment its tensors enter a graph."""
    from deepchem_xc.xc.identity import Unchanged

    return Unchanged(problem.functional, tuple(functional_tensors(problem)))


def attach(
    problem: KohnShamProblem,
    geometry: Geometry,
    potential: Potential,
    fields: Fields,
    orbitals: Tensor,
    tolerance: float,
) -> GroundState:
    """Put a converged ground state into the graph of everything it depends on.

    Parameters
    ----------
    problem : KohnShamProblem
        Its geometry must not be in a graph.
    geometry : Geometry
        The same geometry, which may be in a graph.
    potential : Potential
    fields : Fields
        Converged.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    tolerance : float
        Relative residual of the adjoint equation.

    Returns
    -------
    GroundState
        Its backward pass solves the adjoint equation.
    """
    with torch.no_grad():
        states = PerturbedStates(problem, potential, orbitals)
    electrons = fields.to_electrons(problem.basis.volume)
    adjoint = _Adjoint(problem, geometry, states, electrons, orbitals.shape[2], tolerance)
    inputs = [geometry.lattice, geometry.positions, *functional_tensors(problem)]
    outputs = attach_implicit(adjoint, inputs, SECOND_DERIVATIVES)
    return GroundState.unflatten(outputs, electrons)


class _Adjoint:
    """One ground state and its adjoint equation, an `ImplicitSolution`."""

    def __init__(
        self,
        problem: KohnShamProblem,
        geometry: Geometry,
        states: PerturbedStates,
        electrons: Fields,
        nband: int,
        tolerance: float,
    ) -> None:
        self.problem, self.states, self.tolerance = problem, states, tolerance
        self.nband = nband  # the response may need more bands
        self._unchanged = unchanged(problem)
        self.moves = geometry.lattice.requires_grad or geometry.positions.requires_grad
        self.electrons = electrons

    def values(self) -> tuple[Tensor, ...]:
        """Tensors of the `GroundState`, without a graph."""
        return values_of(self.states, self.electrons, self.nband).flatten()

    def gradients(
        self, given: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> list[Tensor | None]:
        """Derivatives of the loss with respect to lattice, positions and functional.

        `given` holds the cotangents of the tensors of a `GroundState`.
        """
        self._unchanged.check()
        loss_on_states = LossOnStates.of(self.states, GroundState.unflatten(given, self.electrons))
        states = self.states = loss_on_states.states
        known = loss_on_states.known

        moved = Geometry(*(x.detach().requires_grad_(x.requires_grad) for x in inputs[:2]))
        kernel, potential = self._kernel(moved)
        right = loss_on_states.on_potential(self.tolerance)

        def response_to(electrons: Fields, accuracy: float) -> Fields:
            change = real_and_symmetric(self.problem, kernel(electrons))
            return states.density_response(change, accuracy)

        electrons = solve_adjoint(
            response_to,
            right,
            self.tolerance,
            inner=Fields.dot,
            equation="the response equation",
            advice="Converge the ground state more tightly, smear the occupations more, or ask "
            "for less accuracy.",
        )
        with torch.enable_grad():
            loss = potential.dot(electrons)
            if self.moves:
                total = known + real_and_symmetric(self.problem, kernel(electrons))
                blocks, eigenvalues, norm = loss_on_states.plus(total)
                accuracy = EXACT * self.tolerance * norm
                by_energy = loss_on_states.by_energy
                _, z = states.adjoint(blocks, eigenvalues, accuracy, True, by_energy)
                loss = loss + self._orbital_part(moved, z, total)
                if self.problem.spheres is not None:
                    loss = loss + self._projected_part(
                        moved, z, states.normed(blocks, by_energy), total
                    )
        return explicit_gradients(loss, [*moved, *inputs[2:]])

    def _kernel(self, geometry: Geometry) -> tuple[Callable[[Fields], Potential], Potential]:
        """The potential's kernel, and the potential in the graph of geometry and functional."""
        with torch.enable_grad():
            electrons = self.electrons.detach().map(Tensor.requires_grad_)
            energy = electron_energy(geometry.of(self.problem), electrons)
            potential = derivative(energy, electrons, create_graph=True)

        def kernel(change: Fields) -> Potential:
            with torch.enable_grad():
                work = potential.dot(change)
            return derivative(work, electrons, retain_graph=True)

        return kernel, potential

    def _projected_part(
        self, geometry: Geometry, z: Tensor | None, s: Tensor, potential: Potential
    ) -> Tensor:
        r"""What moving projectors do, as a function of the geometry at fixed orbitals.

        .. math:: \sum_n Re \langle z_n | H - \epsilon_n S | \psi_n \rangle
            - Re \langle s_n | S | \psi_n \rangle + \langle u, D \rangle

        with the projectors' part of H and S, and the loss's derivative u with respect to the
        occupations D of the spheres: these move with the projectors, and so does the metric S in
        which the orbitals are orthonormal.
        """
        assert z is not None
        problem, states = self.problem, self.states
        overlap, known = problem.overlap, potential.spheres
        assert overlap is not None and known is not None and problem.spheres is not None
        nband, nfilled = z.shape[2], s.shape[2]
        moved = geometry.of(problem).basis
        complex_ = z.dtype
        coupling = problem.coupling(states.potential).to(complex_).unsqueeze(1)
        given = problem.spheres.block_diagonal(known).to(complex_).unsqueeze(1)
        overlap = overlap.to(complex_)
        weights = (states.occupations * moved.weights[:, None])[:, :, :nfilled, None]
        parts = []
        for ks in chunks_of_projectors(moved, len(overlap)):
            conjugates = projectors(moved, problem.pseudopotentials, ks).conj().mT
            psi = states.orbitals[:, ks, :nband] @ conjugates
            of_z, filled = (z[:, ks] @ conjugates).conj(), psi[:, :, :nfilled]
            levels = states.eigenvalues[:, ks, :nband, None]
            image = psi @ coupling[:, 0].unsqueeze(1) - levels * (psi @ overlap)
            parts.append((of_z * image).real.sum())
            of_s = (s[:, ks] @ conjugates).conj()
            parts.append(-(of_s * (filled @ overlap)).real.sum())
            own = filled.conj() * (filled @ given[:, 0].unsqueeze(1))
            parts.append((weights[:, ks] * own.real).sum())
        return torch.stack(parts).sum()

    def _orbital_part(self, geometry: Geometry, z: Tensor | None, potential: Potential) -> Tensor:
        """Re <z| T + V_nonlocal |psi> as a function of the geometry; with PAW, T alone.

        For meta-GGAs also the energy of the kinetic energy density in `potential`, at fixed
        orbitals.
        """
        assert z is not None  # because keep=True
        psi = self.states.orbitals[:, :, : z.shape[2]]
        # 4 Re <z|A|psi> = <psi+z|A|psi+z> - <psi-z|A|psi-z>, with z scaled to the norm of psi.
        scale = float(psi.norm() / z.norm().clamp_min(1e-300))
        both = torch.cat([psi + scale * z, psi - scale * z], dim=2)
        # Divide the sums, not the occupations, by the scale: tiny occupations would count as zero.
        quarters = torch.full(both.shape[:3], 0.25, dtype=torch.float64, device=both.device)
        quarters[:, :, z.shape[2] :] *= -1.0
        moved = geometry.of(self.problem)
        energy = orbital_energy(moved, both, quarters) / scale
        v_tau, own_v_tau = potential.v_tau, self.states.potential.v_tau
        if v_tau is not None and own_v_tau is not None:
            basis = moved.basis
            weighted_occupations = self.states.occupations * basis.weights[:, None]
            tau = kinetic_density(basis, self.states.orbitals, weighted_occupations)
            energy = energy + basis.volume * (v_tau.conj() * tau).real.sum()
            # Add the part of the orbitals in the Hamiltonian's own -1/2 div(v_tau grad).
            tau = kinetic_density(basis, both, quarters)
            own = basis.volume * (own_v_tau.conj() * tau).real.sum()
            energy = energy + own / scale
        return energy
