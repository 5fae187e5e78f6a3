r"""First-order perturbation theory of non-interacting electrons, in reverse.

The cotangents of a loss that depends on orbitals and occupations only through the density matrix
become one function z for each band, such that a change of the Hamiltonian changes the loss by

.. math:: dL = \sum_{nk} Re \langle z_{nk} | dH | \psi_{nk} \rangle.

The part of z in the span of the known states is a sum over them, with divided differences of the
occupations, so that degenerate states do no harm; the rest solves Sternheimer's equation.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.planewave.eigen.davidson import teter_preconditioner
from deepchem_xc.planewave.eigen.first_orbitals import more_bands
from deepchem_xc.planewave.eigen.states import converge_states
from deepchem_xc.planewave.fields import Fields, Potential, stack
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.occupation_response import OccupationResponse
from deepchem_xc.planewave.response.pair_density import pair_fields
from deepchem_xc.planewave.response.sternheimer import KnownStates, row_dots, solve_sternheimer
from deepchem_xc.planewave.terms.projections import zero_of_energies

# Largest residual, Hartree, of a state whose eigenvalue can be differentiated.
_USABLE_RESIDUAL = 1e-6
# Number of bands added at a time if a loss needs higher ones.
_MORE = 3
# Memory of the arrays of Sternheimer's equation at a time, bytes.
_BYTES = {"cpu": 32 * 2**20, "cuda": 2**30}
# Effective gap, Hartree, that converts a residual norm into an error of the electrons; it allows
# for errors of many states that cancel. Measured: errors are 0.1 to 1 times the wanted accuracy.
_GAP = 1.5
# Smallest energy difference between empty and filled states, Hartree, in the Schur complement.
_APART = 1e-4


class PerturbedStates:
    """States of a converged potential, ready to be perturbed.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    potential : Potential
        Converged Kohn-Sham potential.
    orbitals : Tensor
        Its states, (nspin, nk, nband, npw); improved if necessary.

    Attributes
    ----------
    orbitals : Tensor
        Improved orbitals, (nspin, nk, nband, npw).
    eigenvalues, occupations : Tensor
        (nspin, nk, nband), Hartree and electrons. There may be more bands than were given, so that
        the highest one is empty.
    occupation : OccupationResponse
        Occupations and their response.
    nfilled : int
        Number of the highest band with electrons at any k-point.
    nusable : int
        Number of the lowest bands that are converged well enough for derivatives.

    Raises
    ------
    ResponseConvergenceError
        If filled states cannot be converged.

    Examples
    --------
    The density does not respond to a constant potential:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2))
    >>> states = PerturbedStates(result.problem, result.potential, result.orbitals)
    >>> constant = torch.zeros_like(result.density_g)
    >>> constant[:, 0] = 1.0
    >>> bool(states.density_response(Potential(constant), 1e-8).density.abs().max() < 1e-8)
    True
    """

    def __init__(self, problem: KohnShamProblem, potential: Potential, orbitals: Tensor) -> None:
        self.problem, self.basis = problem, problem.basis
        self.gauge, self.potential = problem.gauge, potential
        self.hamiltonian = problem.hamiltonian(potential)
        eigenvalues, orbitals, residuals = converge_states(problem, self.hamiltonian, orbitals)
        self.orbitals, self.eigenvalues = orbitals, eigenvalues
        self.occupation = OccupationResponse(problem, eigenvalues)
        self.occupations, self.nfilled = self.occupation.occupations, self.occupation.nfilled
        usable = (residuals < _USABLE_RESIDUAL).all(0).all(0)
        self.nusable = int(usable.cumprod(0).sum())
        if self.nusable < self.nfilled:
            raise ResponseConvergenceError(
                f"band {self.nusable + 1} of {self.nfilled} occupied ones has a residual of "
                f"{float(residuals[:, :, self.nusable].max()):.1e} Ha, too large to differentiate: "
                "ask for more bands with nbands=, or smear less.",
                [],
            )
        self._step = max(
            1, _BYTES[self.basis.device.type] // (16 * 8 * self.nfilled * self.basis.npw)
        )
        self._states = [self._in_gauge(channel) for channel in orbitals]
        self._duals = [self._overlapped(channel) for channel in self._states]
        self._differences = self.occupation.divided_differences()
        above = eigenvalues[:, :, None, self.nfilled :] - eigenvalues[:, :, : self.nfilled, None]
        self._above = above.clamp_min(_APART)
        self._residuals = [self._rough(spin) for spin in range(len(orbitals))]
        self._dampings: dict[tuple[int, int], Tensor] = {}

    def _in_gauge(self, orbitals: Tensor) -> Tensor:
        """Bands of one spin as the Hamiltonian takes them: real if there is a gauge."""
        if self.gauge is None:
            return orbitals
        return self.gauge.to_real(orbitals, slice(0, len(orbitals)))

    def _overlapped(self, states: Tensor) -> Tensor:
        """S times states of one spin, (nk, nband, npw); the states themselves where S = 1."""
        return self.hamiltonian.apply_overlap(states, range(self.basis.nk))

    def _rough(self, spin: int) -> Tensor:
        """Residuals H m - e S m of the empty states, (nk, nempty, npw)."""
        empty = self._states[spin][:, self.nfilled :]
        duals = self._duals[spin][:, self.nfilled :]
        energies = self.eigenvalues[spin, :, self.nfilled :, None]
        parts = []
        for first in range(0, self.basis.nk, self._step):
            ks = range(first, min(first + self._step, self.basis.nk))
            here = slice(ks.start, ks.stop)
            parts.append(
                self.hamiltonian.apply(empty[here], spin, ks) - energies[here] * duals[here]
            )
        return torch.cat(parts)

    def _damping(self, spin: int, here: slice) -> Tensor:
        """Preconditioner of the filled bands of some k-points, (nk, nfilled, npw)."""
        key = (spin, here.start)
        if key not in self._dampings:
            filled = self._states[spin][here, : self.nfilled]
            self._dampings[key] = teter_preconditioner(self.basis.kinetic[here], filled)
        return self._dampings[key]

    def density_response(self, potential: Potential, accuracy: float) -> Fields:
        """Change of the electrons in a small potential: the independent-particle response.

        Parameters
        ----------
        potential : Potential
            Must have the symmetry of the density.
        accuracy : float
            Allowed error, electrons.

        Returns
        -------
        Fields
            Electrons (`Fields.to_electrons`), symmetrised.
        """
        rhs, occupations = self.potential_cotangents(potential)
        eigenvalues = self.occupation.cotangent(occupations)
        return self.adjoint(rhs, eigenvalues, accuracy)[0]

    def potential_cotangents(self, potential: Potential) -> tuple[list[Tensor], Tensor]:
        """Cotangents of orbitals and occupations for the loss <potential, electrons>.

        Returns
        -------
        rhs : list of Tensor
            For every spin (nk, nfilled, npw), real if there is a gauge.
        occupations : Tensor
            (nspin, nk, nband).
        """
        change = self.problem.operator(potential)
        occupations = torch.zeros_like(self.occupations)
        rhs = []
        for spin, states in enumerate(self._states):
            filled = states[:, : self.nfilled]
            product = change.apply(filled, spin, range(self.basis.nk))
            weights = self.basis.weights[:, None]
            occupations[spin, :, : self.nfilled] = weights * row_dots(filled, product)
            weights = 2.0 * weights * self.occupations[spin, :, : self.nfilled]
            rhs.append(product.mul_(weights.unsqueeze(-1)))
        return rhs, occupations

    def in_gauge(self, cotangent: Tensor) -> list[Tensor]:
        """Cotangent of complex orbitals (nspin, nk, nband, npw) in the form of `rhs` above.

        Real orbitals stay real under every change, so the imaginary part has no effect.
        """
        rows = cotangent[:, :, : self.nfilled]
        if self.gauge is None:
            return list(rows)
        here = slice(0, self.basis.nk)
        return [self.gauge.transformed(channel, here).real.contiguous() for channel in rows]

    def with_more_bands(self) -> PerturbedStates:
        """These states and a few above them; all except the highest are converged."""
        room = min(self.basis.npw_per_k) - self.orbitals.shape[2]
        if room == 0:
            return self
        orbitals = more_bands(self.hamiltonian, self.orbitals, min(_MORE, room))
        return PerturbedStates(self.problem, self.potential, orbitals)

    def adjoint(
        self,
        rhs: list[Tensor],
        eigenvalues: Tensor,
        accuracy: float,
        keep: bool = False,
        by_energy: list[Tensor] | None = None,
    ) -> tuple[Fields, Tensor | None]:
        """Solve for z of all bands, and sum the cotangent of a local potential over them.

        Parameters
        ----------
        rhs : list of Tensor
            Cotangents of the filled orbitals, for every spin (nk, nfilled, npw).
        eigenvalues : Tensor
            Cotangents of the eigenvalues, including those of occupations, (nspin, nk, nband).
        accuracy : float
            Allowed error of the sum, electrons.
        keep : bool, optional
            Return z, too.
        by_energy : list of Tensor, optional
            Cotangents of `GroundState.orbitals_by_energy`, in the form of `rhs`.

        Returns
        -------
        electrons : Fields
            Cotangent of the potential's coefficients, symmetrised.
        z : Tensor or None
            (nspin, nk, n, npw), complex, of the lowest n bands, on which the loss depends.
        """
        nk = self.basis.nk
        tau = self.problem.needs_kinetic_density
        used = eigenvalues[:, :, : self.nusable].abs().amax((0, 1)).nonzero()
        nband = max(self.nfilled, int(used[-1]) + 1 if len(used) else 0)
        kept, channels = [], []
        rows = len(rhs) * nk * self.nfilled
        tolerance = accuracy * _GAP / rows**0.5
        for spin, cotangent in enumerate(rhs):
            parts = []
            for first in range(0, nk, self._step):
                ks = range(first, min(first + self._step, nk))
                here = slice(ks.start, ks.stop)
                states = self._states[spin][here]
                z = eigenvalues[spin, here, :nband, None] * states[:, :nband]
                own = cotangent[here]
                z[:, : self.nfilled] += self._known_part(spin, here, own)
                if by_energy is not None:
                    weighted = by_energy[spin][here]
                    z[:, : self.nfilled] += self._known_part(spin, here, weighted, True)
                    own = own + weighted
                z[:, : self.nfilled] += self._unknown_part(spin, ks, own, tolerance)
                pieces, left = self.problem.pieces, states[:, :nband]
                pairs = pair_fields(pieces, self.gauge, left, z, ks, tau)
                complex_z = z if self.gauge is None else self.gauge.to_complex(z, here)
                parts.append(self._with_spheres(pairs, spin, here, complex_z))
                if keep:
                    kept.append(complex_z)
            channels.append(reduce(operator.add, parts))
        all_z = torch.cat(kept).view(len(rhs), nk, nband, -1) if keep else None
        return self.problem.symmetrized(stack(channels)), all_z

    def _with_spheres(self, pairs: Fields, spin: int, here: slice, z: Tensor) -> Fields:
        """Fields of pairs of a band and its z, (nk, nband, npw), with those inside of spheres."""
        spheres = self.problem.spheres
        if spheres is None:
            return pairs
        conjugates = self.problem.projectors[here].conj().mT
        left = self.orbitals[spin, here, : z.shape[1]] @ conjugates
        return replace(pairs, spheres=spheres.of_pairs(left, z @ conjugates))

    @property
    def nweighted(self) -> int:
        """Plane waves of `GroundState.orbitals_by_energy`."""
        return self.basis.npw if self.hamiltonian.has_overlap else 0

    def _levels(self, spin: int, here: slice) -> Tensor:
        """Eigenvalues above the zero of `zero_of_energies`, (nk, nband), Hartree."""
        return self.eigenvalues[spin, here] - zero_of_energies(self.eigenvalues)

    def _held(self, spin: int, here: slice, by_energy: bool) -> Tensor:
        """Weights of the states in the density matrix that a loss depends on, (nk, nband)."""
        held = self.occupations[spin, here]
        return held * self._levels(spin, here) if by_energy else held

    def _loss_operator(self, spin: int, here: slice, cotangent: Tensor, by_energy: bool) -> Tensor:
        """Twice the loss's derivative with respect to a density matrix, (nk, nfilled, nband).

        Its matrix elements between filled and known states.
        """
        overlap = cotangent @ self._states[spin][here].mH  # [n, m] = <m|c_n>
        held = self._held(spin, here, by_energy)
        n, m = held[:, : self.nfilled, None], held[:, None, :]
        operator = n * overlap
        square = slice(0, self.nfilled)
        operator[:, :, square] += (n * overlap[:, :, square]).mH
        return operator / (n.square() + m.square()).clamp_min(1e-300)

    def normed(self, rhs: list[Tensor], by_energy: list[Tensor] | None = None) -> Tensor:
        """Functions s_n, (nspin, nk, nfilled, npw), complex.

        If S changes, filled states are normalised anew among each other, which changes the loss by
        the sum of -Re <s_n|dS|psi_n>.

        Parameters
        ----------
        rhs : list of Tensor
            Cotangents of the filled orbitals, for every spin (nk, nfilled, npw).
        by_energy : list of Tensor, optional
            As for `adjoint`.
        """
        found = []
        everywhere, square = slice(0, self.basis.nk), slice(0, self.nfilled)
        for spin, states in enumerate(self._states):
            matrix = torch.zeros((), dtype=states.dtype, device=states.device)
            for cotangents, weighted in ((rhs, False), (by_energy, True)):
                if cotangents is not None:
                    given = spin, everywhere, cotangents[spin], weighted
                    held = self._held(spin, everywhere, weighted)[:, square]
                    mean = 0.5 * (held[:, :, None] + held[:, None, :])
                    matrix = matrix + 0.5 * mean * self._loss_operator(*given)[:, :, square]
            s = matrix @ states[:, square]
            found.append(s if self.gauge is None else self.gauge.to_complex(s, everywhere))
        return torch.stack(found)

    def _known_part(
        self, spin: int, here: slice, cotangent: Tensor, by_energy: bool = False
    ) -> Tensor:
        """Part of z in the span of the known states."""
        states = self._states[spin][here]
        square = slice(0, self.nfilled)
        differences = self._differences[spin, here]
        operator = self._loss_operator(spin, here, cotangent, by_energy)
        diagonal = torch.zeros_like(operator[:, :, 0])
        if by_energy:
            # (f e - f' e') / (e - e') by the product rule, which has no limit at equal energies.
            held, level = self.occupations[spin, here], self._levels(spin, here)
            f, e = (x[:, square, None] + x[:, None, :] for x in (held, level))
            differences = 0.5 * (f + e * differences)
            # A level's own change; that of its occupation is a cotangent of the occupations.
            diagonal = 0.5 * held[:, square] * operator.diagonal(dim1=1, dim2=2)
        operator = operator * differences
        operator[:, :, square] *= 0.5  # these pairs come twice
        operator.diagonal(dim1=1, dim2=2).copy_(diagonal)
        return operator.to(states.dtype) @ states

    def _unknown_part(self, spin: int, ks: range, cotangent: Tensor, tolerance: float) -> Tensor:
        """Part of z outside the span of the known states."""
        here = slice(ks.start, ks.stop)
        known = KnownStates(
            self._states[spin][here],
            self._duals[spin][here],
            self.eigenvalues[spin, here, : self.nfilled],
            self._above[spin, here],
            self._residuals[spin][here],
            self._damping(spin, here),
        )

        return solve_sternheimer(self.hamiltonian.operator(spin, ks), known, cotangent, tolerance)
