r"""Derivatives through the self-consistent field of a molecule, by implicit differentiation.

A loss L has derivatives with respect to density matrices and levels. Through the states of fixed
Kohn-Sham matrices F these become a matrix w, the loss's explicit derivative with respect to F; with
the interaction's kernel K the total one solves

.. math:: z = w + \chi K z,

the coupled-perturbed Kohn-Sham equations, and the derivative with respect to any parameter p of the
functional is :math:`\langle z, \partial F / \partial p \rangle`. One equation, solved once for each
backward pass, serves all parameters. Open shells with one set of orbitals solve the equation for
the rotations of their orbitals instead, because their matrices do not commute.

References
----------
J. A. Pople, R. Krishnan, H. B. Schlegel, J. S. Binkley, Int. J. Quantum Chem. S13, 225 (1979);
M. F. Kasim, S. Lehtola, S. M. Vinko, J. Chem. Phys. 156, 084801 (2022).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.gaussian.level_response import LevelResponse
from deepchem_xc.gaussian.problem import Kernel, MolecularProblem
from deepchem_xc.gaussian.rotations import Rotations, pair_product
from deepchem_xc.gaussian.self_consistency import Converged
from deepchem_xc.numerics.gmres import gmres
from deepchem_xc.numerics.implicit import attach_implicit, solve_adjoint
from deepchem_xc.xc.identity import Unchanged

SECOND_DERIVATIVES = (
    "derivatives through the self-consistent field are of first order: a gradient cannot be "
    "differentiated again (create_graph=True)"
)
_EQUATION = "the coupled-perturbed Kohn-Sham equation"
_ADVICE = (
    "Converge the ground state more tightly, smear the occupations more, or raise "
    "gradient_tolerance."
)
# Most products with the kernel in one backward pass.
_PRODUCTS = 100


class GroundState(NamedTuple):
    """What derivatives go through.

    Attributes
    ----------
    density : Tensor
        Density matrices, (nspin, nao, nao).
    eigenvalues : Tensor
        (nset, norbital), Hartree.
    """

    density: Tensor
    eigenvalues: Tensor


def attach(problem: MolecularProblem, converged: Converged, tolerance: float) -> GroundState:
    """Put a converged ground state into the graph of the functional's parameters.

    Parameters
    ----------
    problem : MolecularProblem
        Its functional has tensors that require gradients.
    converged : Converged
        The end of the loop.
    tolerance : float
        Relative residual of the adjoint equation.

    Returns
    -------
    GroundState
        Its backward pass solves the adjoint equation.
    """
    adjoint = _Adjoint(problem, converged, tolerance)
    return GroundState(*attach_implicit(adjoint, problem.trained_tensors, SECOND_DERIVATIVES))


class _Adjoint:
    """One ground state and its adjoint equation, an `ImplicitSolution`."""

    def __init__(self, problem: MolecularProblem, converged: Converged, tolerance: float) -> None:
        self._problem, self._converged, self._tolerance = problem, converged, tolerance
        self._density = converged.states.density
        self._unchanged = Unchanged(problem.functional, tuple(problem.trained_tensors))
        self._kernel: Kernel | None = None  # kept for later backward passes

    def values(self) -> tuple[Tensor, ...]:
        """Tensors of the `GroundState`, without a graph."""
        return self._density.clone(), self._converged.states.eigenvalues.clone()

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> list[Tensor | None]:
        """Derivatives of the loss with respect to the functional's tensors."""
        self._unchanged.check()
        if self._kernel is None:
            self._kernel = self._problem.kernel(self._density)
        given = GroundState(*cotangents)
        given = given._replace(density=0.5 * (given.density + given.density.mT))
        open_shell = self._problem.kind == "open"
        direction = (self._of_rotations if open_shell else self._of_levels)(given, self._kernel)
        return self._problem.parameter_gradients(self._density, list(inputs), direction)

    def _of_levels(self, given: GroundState, kernel: Kernel) -> Tensor:
        """z, between basis functions, where each density matrix has its own orbitals."""
        states = self._converged.states
        orbitals, chi = states.orbitals, LevelResponse(states)

        def among_orbitals(matrices: Tensor) -> Tensor:
            return orbitals.mT @ matrices @ orbitals

        def between_functions(matrices: Tensor) -> Tensor:
            return orbitals @ matrices @ orbitals.mT

        def response(z: Tensor, accuracy: float) -> Tensor:
            return chi(among_orbitals(kernel(between_functions(z))))

        explicit = chi(among_orbitals(given.density)) + torch.diag_embed(given.eigenvalues)
        z = solve_adjoint(
            response, explicit, self._tolerance, _PRODUCTS, equation=_EQUATION, advice=_ADVICE
        )
        return between_functions(z)

    def _of_rotations(self, given: GroundState, kernel: Kernel) -> Tensor:
        """The same for open shells with one set of orbitals."""
        states, fock = self._converged.states, self._converged.potential.fock
        rotations = Rotations(states.orbitals, states.filling, fock, kernel)
        orbitals, weights = states.orbitals, given.eigenvalues
        # A level is the mean over spins of <i|F|i>, in which the orbital rotates, too.
        of_levels = rotations.in_basis(0.5 * torch.diag_embed(weights)).expand_as(fock)
        mean = orbitals.mT @ fock.mean(0) @ orbitals
        turned = 2.0 * (weights[:, None, :] - weights[:, :, None]) * mean
        on_density = given.density + kernel(of_levels.contiguous())
        right = rotations.of_matrices(orbitals.mT @ on_density @ orbitals)
        right = right + torch.where(rotations.mixing, turned, 0.0)
        scale = rotations.curvature.rsqrt()

        def product(y: Tensor, accuracy: float) -> Tensor:
            return scale * rotations.product(scale * y)

        y = gmres(
            product,
            scale * right,
            self._tolerance,
            _PRODUCTS,
            inner=pair_product,
            equation=_EQUATION,
            advice=_ADVICE,
        )
        change = rotations.in_basis(rotations.density_change(scale * y))
        return of_levels - change
