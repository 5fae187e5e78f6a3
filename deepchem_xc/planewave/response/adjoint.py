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

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from deepchem_xc.numerics.implicit import attach_implicit, explicit_gradients, solve_adjoint
from deepchem_xc.occupations.occupy import check_enough_bands
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.energy import electron_energy, orbital_energy
from deepchem_xc.planewave.fields import Fields, Potential, derivative
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.enough_states import enough_states
from deepchem_xc.planewave.response.multiplets import check_multiplets
from deepchem_xc.planewave.response.perturbation import PerturbedStates

if TYPE_CHECKING:
    from deepchem_xc.xc.identity import Unchanged

# Largest occupation of the highest band, in units of a full band: with more, derivatives would need
# more bands than there are. The loop's own choice of bands leaves half of this.
_HIGHEST_OCCUPATION = 2e-6
# Error of the equations that are solved only once, in units of the tolerance.
_EXACT = 0.1

#: Error message for second derivatives of a ground state.
SECOND_DERIVATIVES = (
    "second derivatives through the self-consistent field are not available this way: the "
    "gradient was computed with create_graph=True and then differentiated. Forces and "
    "stress, which are first derivatives, can be differentiated: use result.forces and "
    "result.stress."
)


class GroundState(NamedTuple):
    """Quantities that the loop determines; in a graph if any input requires gradients."""

    electrons: Fields
    """As `Fields.to_electrons` returns them."""
    eigenvalues: Tensor
    """(nspin, nk, nband), Hartree."""
    occupations: Tensor
    """Electrons in each state, (nspin, nk, nband)."""
    fermi_level: Tensor
    """Hartree, 0-d, or (2,) with a fixed moment."""
    entropy_energy: Tensor
    """-TS, Hartree, 0-d."""
    orbitals: Tensor
    """(nspin, nk, nband, npw). Losses must not depend on their phases."""

    def flatten(self) -> tuple[Tensor, ...]:
        """All tensors, starting with those of the electrons."""
        return (*self.electrons.leaves, *self[1:])

    @classmethod
    def unflatten(cls, tensors: Sequence[Tensor], electrons: Fields) -> GroundState:
        """Inverse of `flatten`, for electrons with the same members as `electrons`."""
        count = len(electrons.leaves)
        return cls(electrons.with_leaves(tensors[:count]), *tensors[count:])


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
        problem, states, shown = self.problem, self.states, slice(0, self.nband)
        eigenvalues = states.eigenvalues[:, :, shown].clone()
        # Fill the bands as the loop did: those that only the response needs are nearly empty.
        occupation = problem.occupy(eigenvalues)
        if self.nband < min(problem.basis.npw_per_k):
            check_enough_bands(occupation, _HIGHEST_OCCUPATION, " for derivatives")
        level = torch.as_tensor(occupation.fermi_level, dtype=torch.float64)
        return GroundState(
            self.electrons.map(Tensor.clone),
            eigenvalues,
            occupation.occupations,
            level.to(eigenvalues.device),
            occupation.entropy_energy,
            states.orbitals.detach()[:, :, shown],
        ).flatten()

    def gradients(
        self, given: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> list[Tensor | None]:
        """Derivatives of the loss with respect to lattice, positions and functional.

        `given` holds the cotangents of the tensors of a `GroundState`.
        """
        self._unchanged.check()
        cotangents = GroundState.unflatten(given, self.electrons)
        states = enough_states(self.states, cotangents.eigenvalues, cotangents.fermi_level)
        self.states = states
        extra = states.occupations.shape[2] - self.nband
        cotangents = cotangents._replace(
            eigenvalues=pad(cotangents.eigenvalues, (0, extra)),
            occupations=pad(cotangents.occupations, (0, extra)),
            orbitals=pad(cotangents.orbitals, (0, 0, 0, extra)),
        )
        check_multiplets(states.eigenvalues, cotangents.eigenvalues)
        rhs = states.in_gauge(cotangents.orbitals)
        known = Potential.of_derivatives(cotangents.electrons)
        known = self._without_constant(self._real_and_symmetric(known))

        def cotangents_of(potential: Potential) -> tuple[list[Tensor], Tensor, float]:
            """Cotangents of orbitals and eigenvalues for the loss plus <potential, electrons>."""
            blocks, occupations = states.potential_cotangents(potential)
            blocks = [a + b for a, b in zip(blocks, rhs, strict=True)]
            eigenvalues = cotangents.eigenvalues + states.occupation.cotangent(
                cotangents.occupations + occupations,
                cotangents.entropy_energy,
                cotangents.fermi_level,
            )
            norm = (
                sum(float(block.norm()) ** 2 for block in blocks) + float(eigenvalues.norm()) ** 2
            )
            return blocks, eigenvalues, norm**0.5

        moved = Geometry(*(x.detach().requires_grad_(x.requires_grad) for x in inputs[:2]))
        kernel, potential = self._kernel(moved)
        blocks, eigenvalues, norm = cotangents_of(known)
        right, _ = states.adjoint(blocks, eigenvalues, _EXACT * self.tolerance * norm)

        def response_to(electrons: Fields, accuracy: float) -> Fields:
            change = self._real_and_symmetric(kernel(electrons))
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
                total = known + self._real_and_symmetric(kernel(electrons))
                blocks, eigenvalues, norm = cotangents_of(total)
                accuracy = _EXACT * self.tolerance * norm
                _, z = states.adjoint(blocks, eigenvalues, accuracy, keep=True)
                loss = loss + self._orbital_part(moved, z, total)
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

    def _orbital_part(self, geometry: Geometry, z: Tensor | None, potential: Potential) -> Tensor:
        """Re <z| T + V_nonlocal |psi> as a function of the geometry.

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

    def _real_and_symmetric(self, potential: Potential) -> Potential:
        basis = self.problem.basis
        real = potential.map(lambda leaf: basis.to_sphere(basis.to_grid(leaf)))
        return real.symmetrized(basis)

    def _without_constant(self, potential: Potential) -> Potential:
        """Subtract the constant, which has no effect but would dominate the relative residual."""
        v = potential.v.clone()
        constants = v[:, 0]
        # Both channels share their electrons if the moment is free.
        constants -= constants.mean() if self.problem.moment is None else constants.clone()
        return replace(potential, v=v)
