"""Free energy of the current orbitals as a function of the matrix that rotates and fills them.

For given orbitals the free energy is a function of one small Hermitian matrix for each spin and
k-point, the filling: its eigenvectors rotate the orbitals and its eigenvalues fill them [1]_ [2]_.
A quasi-Newton method goes downhill in it, and leaves saddles.

With matrix elements h of the given potential's Hamiltonian between the orbitals, the change dv of
the potential due to the density n, and occupations f and levels e of the filling,

    F = sum_n f_n (h_nn + <n|dv|n>) + correction(n) - TS,
    dF/d(filling)_nm = (f_n - f_m) / (e_n - e_m) (h + dv - filling)_nm    for n != m,

and on the diagonal the derivative of the occupations at a fixed number of electrons replaces the
divided difference.

References
----------
.. [1] N. Marzari, D. Vanderbilt, M. C. Payne, Phys. Rev. Lett. 79, 1337 (1997).
.. [2] C. Freysoldt, S. Boeck, J. Neugebauer, Phys. Rev. B 79, 241103 (2009).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from deepchem_xc.planewave.fields import Potential
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.occupation_response import OccupationResponse

# Smallest curvature of the free energy for scaling variables, in units of the largest.
_FLAT = 1e-3
# Number of earlier steps that the quasi-Newton method keeps.
_MEMORY = 20
# Distance of relative occupations from 0 and 1 when a filling is made from a density matrix: the
# levels of full and empty states would be infinite.
_SURE = 1e-6
# Relative gain of free energy that counts as rounding.
_ROUNDING = 1e-12


class SubspaceFreeEnergy:
    """Free energy, and its gradient, as a function of the filling of given orbitals.

    Parameters
    ----------
    problem, potential, orbitals, moment
        As for `relaxation.relax_in_subspace`.
    hamiltonian : Tensor
        Elements of the given potential's Hamiltonian between the orbitals,
        (nspin, nk, nband, nband), Hartree.
    filling : Tensor
        Hermitian matrix whose eigenvectors rotate the orbitals and whose eigenvalues fill them: the
        origin of the variables.

    Attributes
    ----------
    size : int
        Number of variables: real and imaginary parts of the change of the filling, in the origin's
        orbitals, scaled to curvature 1 without interaction.
    fields, orbitals, levels
        Those of the lowest free energy so far.
    lowest, slope : float
        That energy and the norm of its gradient, Hartree.
    """

    def __init__(
        self,
        problem: KohnShamProblem,
        potential: Potential,
        hamiltonian: Tensor,
        orbitals: Tensor,
        filling: Tensor,
        moment: float | None = None,
    ) -> None:
        self.problem, self.potential, self.moment = problem, potential, moment
        self._weights = problem.basis.weights[:, None]
        levels, vectors = self._eigh(filling)
        self._origin, self._vectors = levels, vectors
        self._hamiltonian = vectors.mH @ hamiltonian @ vectors
        self._origin_orbitals = vectors.mH @ orbitals
        self._operands = self._origin_orbitals
        if problem.gauge is not None:
            gauge, ks = problem.gauge, slice(0, orbitals.shape[1])
            channels = [gauge.transformed(rows, ks).real for rows in self._origin_orbitals]
            self._operands = torch.stack(channels)
        curvature = self._curvature(OccupationResponse(problem, levels, moment)).abs()
        floor = max(_FLAT * float(curvature.max()), 1e-12)
        self._scale = curvature.clamp_min(floor).sqrt()
        self.size = 2 * self._scale.numel()
        self.lowest = math.inf
        self._at_origin = self._evaluate(np.zeros(self.size))

    def __call__(self, variables: np.ndarray) -> tuple[float, np.ndarray]:
        """Free energy without its constant part, Hartree, and its gradient, (size,)."""
        return self._evaluate(variables) if variables.any() else self._at_origin

    def _evaluate(self, variables: np.ndarray) -> tuple[float, np.ndarray]:
        problem, basis, weights = self.problem, self.problem.basis, self._weights
        filling = self._filling(variables)
        levels, vectors = self._eigh(filling)
        response = OccupationResponse(problem, levels, self.moment)
        orbitals = vectors.mH @ self._origin_orbitals
        weighted_occupations = response.occupations * weights
        (fields,) = problem.fields_of(orbitals, weighted_occupations[None])
        potential, correction = problem.effective_potential(fields)
        shift = potential - self.potential
        # <H> in the given potential, and the difference that the density's own potential makes.
        given = vectors.mH @ self._hamiltonian @ vectors
        band_energy = (weighted_occupations * given.diagonal(dim1=-2, dim2=-1).real).sum()
        interaction = shift.energy(fields, basis.volume) + correction
        value = float(band_energy + interaction + response.entropy_energy)

        rest = given + vectors.mH @ self._elements(shift) @ vectors - torch.diag_embed(levels)
        gradient = self._curvature(response) * rest
        diagonal = response.cotangent(weights * rest.diagonal(dim1=-2, dim2=-1).real)
        gradient.diagonal(dim1=-2, dim2=-1).copy_(diagonal)
        gradient = vectors @ gradient @ vectors.mH / self._scale
        flat = torch.view_as_real(gradient).flatten().cpu().numpy()
        if value < self.lowest:
            self.lowest, self.slope = value, float(np.linalg.norm(flat))
            self.fields, self.orbitals, self.levels = fields, orbitals, levels
            self._best = filling
            self._rest = vectors @ rest @ vectors.mH
            self._matrix = (vectors * response.occupations.unsqueeze(-2)) @ vectors.mH
        return value, flat

    def minimised(self, goal: float, evaluations: int) -> SubspaceFreeEnergy:
        """Go downhill until the slope is `goal`; return the function with its origin there."""

        def stop_when_good(_: np.ndarray) -> None:
            if self.slope <= goal:
                raise StopIteration

        minimize(
            self,
            np.zeros(self.size),
            jac=True,
            method="L-BFGS-B",
            callback=stop_when_good,
            options={"maxfun": evaluations, "ftol": _ROUNDING, "gtol": 0.0, "maxcor": _MEMORY},
        )
        return self if self.slope <= goal else self._about(self._best)

    def damped(self) -> SubspaceFreeEnergy:
        """The same function with its origin at a better filling: a step of optimal damping.

        The step mixes the density matrix with that of its own Hamiltonian, by the fraction that
        minimises a quadratic model of the free energy [1]_. It makes progress even where the
        gradient vanishes because full levels should be empty or empty ones full.

        References
        ----------
        .. [1] E. Cances, C. Le Bris, Int. J. Quantum Chem. 79, 82 (2000).
        """
        there = self._about(self._best + self._rest)
        vectors = there._vectors
        matrix = vectors @ there._matrix @ vectors.mH
        change = matrix - self._matrix
        weights = self._weights[..., None]
        slope = float((weights * (self._rest * change.conj()).real).sum())
        curvature = there.lowest - self.lowest - slope
        if slope >= 0.0:
            return self
        if curvature <= 0.0 or -slope >= 2.0 * curvature:
            return there if there.lowest < self.lowest else self
        fraction = -0.5 * slope / curvature
        mixed = self._about(self._filling_from(self._matrix + fraction * change))
        return min(self, there, mixed, key=lambda function: function.lowest)

    def _about(self, filling: Tensor) -> SubspaceFreeEnergy:
        hamiltonian, orbitals = self._hamiltonian, self._origin_orbitals
        return SubspaceFreeEnergy(
            self.problem, self.potential, hamiltonian, orbitals, filling, self.moment
        )

    def _filling_from(self, matrix: Tensor) -> Tensor:
        """A filling that approximately reproduces a density matrix."""
        occupations, vectors = self._eigh(matrix)
        full = 2.0 / self.problem.nspin
        share = (occupations / full).clamp(_SURE, 1.0 - _SURE)
        levels = -self.problem.smearing.width * torch.logit(share)
        return (vectors * levels.unsqueeze(-2)) @ vectors.mH

    def _filling(self, variables: np.ndarray) -> Tensor:
        parts = torch.from_numpy(variables.copy()).to(self._scale)
        change = torch.view_as_complex(parts.view(*self._scale.shape, 2)) / self._scale
        return torch.diag_embed(self._origin) + 0.5 * (change + change.mH)

    def _eigh(self, filling: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors, real if orbitals are real in a gauge."""
        if self.problem.gauge is None:
            return torch.linalg.eigh(filling)
        levels, vectors = torch.linalg.eigh(filling.real)
        return levels, vectors.to(filling.dtype)

    def _curvature(self, response: OccupationResponse) -> Tensor:
        """Divided differences of occupations times k-weights, (nspin, nk, nband, nband)."""
        filled = response.divided_differences()
        count = filled.shape[2]
        every = filled.new_zeros(*filled.shape[:2], filled.shape[3], filled.shape[3])
        every[:, :, :count] = filled
        every[:, :, :, :count] = filled.mT
        return self._weights[..., None] * every

    def _elements(self, potential: Potential) -> Tensor:
        """Matrix elements of a potential between the origin's orbitals, Hartree.

        (nspin, nk, nband, nband).
        """
        operator = self.problem.operator(potential)
        ks = range(self._operands.shape[1])
        images = [operator.apply(rows, spin, ks) for spin, rows in enumerate(self._operands)]
        return (self._operands @ torch.stack(images).mH).to(self._origin_orbitals.dtype)
