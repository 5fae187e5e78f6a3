r"""Forces: the derivative of the converged energy with respect to the positions of the atoms.

Functions, points and auxiliary functions move with their atoms. At fixed density matrices D the
energy E changes explicitly; orbitals stay orthonormal by following the overlap S, and because the
free energy F is stationary with respect to everything else (Hellmann and Feynman),

.. math:: \frac{dF}{dR} = \frac{\partial E}{\partial R}
    - \sum_\sigma \left\langle F_\sigma, \; \mathrm{sym}\left(S^{-1} \frac{\partial S}{\partial R}
    D_\sigma\right) \right\rangle

with the Kohn-Sham matrices :math:`F_\sigma`, for closed and open shells and for smeared levels
alike: without a smearing the second term is Pulay's, with the density matrix that is weighted by
levels.

Both terms are functions of the density matrices and of the functional's parameters, so that losses
on forces differentiate them with respect to both; the response of the density matrices is the
ground state's adjoint (`adjoint`), one for each backward pass.

References
----------
P. Pulay, Mol. Phys. 17, 197 (1969); B. G. Johnson, P. M. W. Gill, J. A. Pople, J. Chem. Phys. 98,
5612 (1993), with points that move; J. A. Pople, P. M. W. Gill, B. G. Johnson, Chem. Phys. Lett.
199, 557 (1992).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from pyscf.grad.rhf import grad_nuc
from torch import Tensor

from deepchem_xc.gaussian.coulomb import Interaction
from deepchem_xc.gaussian.moving_core import MovingCore
from deepchem_xc.gaussian.moving_interaction import MovingInteraction
from deepchem_xc.gaussian.moving_semilocal import MovingSemilocal
from deepchem_xc.gaussian.problem import MolecularProblem
from deepchem_xc.numerics.implicit import added_gradients
from deepchem_xc.xc.identity import Unchanged


class Forces:
    """Forces of a ground state, and derivatives of losses on them; an `ImplicitSolution`.

    Its inputs are the density matrices and the functional's tensors that require gradients.

    Parameters
    ----------
    problem : MolecularProblem
        What was solved.
    density : Tensor
        Density matrices of the ground state, (nspin, nao, nao), without a graph.
    fock : Tensor
        Its Kohn-Sham matrices, (nspin, nao, nao), Hartree.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian import scf
    >>> result = scf(Atoms("H2", [[0, 0, 0], [0, 0, 0.7]]), "PBE", basis="sto-3g")
    >>> potential = result.converged.potential
    >>> forces = Forces(result.problem, result.density_matrix, potential.fock).values()[0]
    >>> bool((forces - result.forces).abs().max() == 0.0)
    True
    """

    def __init__(self, problem: MolecularProblem, density: Tensor, fock: Tensor) -> None:
        self._problem, self._density, self._fock = problem, density, fock
        mole = problem.molecule.mole
        self._core = MovingCore(mole)
        self._interaction = MovingInteraction(mole, problem.coulomb.fitting)
        self._semilocal = MovingSemilocal(problem.semilocal, problem.molecule)
        self._unchanged = Unchanged(problem.functional, tuple(problem.trained_tensors))

    def values(self) -> tuple[Tensor, ...]:
        """Forces, (natom, 3), Hartree/bohr."""
        return (self._forces.clone(),)

    @cached_property
    def _forces(self) -> Tensor:
        density = self._density
        weighted = torch.linalg.solve(self._problem.overlap, (self._fock @ density).sum(0))
        exchange = self._problem.exchange_factors()
        gradient = torch.from_numpy(grad_nuc(self._problem.molecule.mole))
        gradient = gradient + self._core.gradient(density.sum(0))
        gradient += self._interaction.gradient(density, exchange)
        gradient += self._semilocal.gradient(density)
        gradient -= self._core.overlap_gradient(0.5 * (weighted + weighted.T))
        return -gradient

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> Sequence[Tensor | None]:
        """Derivatives of a loss with respect to the density matrices and the functional's tensors.

        The loss's derivative with respect to the forces is a velocity, less its sign, and what is
        differentiated is the slope of the energy along it.
        """
        self._unchanged.check()
        problem, density, velocities = self._problem, self._density, -cotangents[0]
        following = torch.linalg.solve(problem.overlap, self._core.overlap(velocities))
        change = -following @ density
        change = 0.5 * (change + change.mT)
        pulay = self._fock @ following
        exchange = problem.exchange_factors()
        coulomb, parts = self._interaction.matrices(density, velocities, list(exchange))
        of_density, of_inputs = self._semilocal.slope_gradients(
            density, velocities, change, inputs[1:]
        )
        of_density = of_density + self._core.matrix(velocities) + coulomb
        moving = dict(zip(exchange, parts, strict=True))
        for one, part in moving.items():
            of_density = of_density - exchange[one] * part
        of_density += problem.change_of_interaction(change) - 0.5 * (pulay + pulay.mT)
        return [
            of_density,
            *added_gradients(of_inputs, self._of_shares(inputs[1:], change, moving)),
        ]

    def _of_shares(
        self, inputs: Sequence[Tensor], change: Tensor, moving: Mapping[Interaction, Tensor]
    ) -> Sequence[Tensor | None]:
        """Derivatives of the slope with respect to the shares of exact exchange."""
        trained = self._problem.trained_interactions()
        if not trained:
            return [None] * len(inputs)
        _, exchange = self._problem.coulomb.matrices(self._density, trained)
        products = {
            one: float((0.5 * self._density * moving[one] + change * k).sum())
            for one, k in zip(trained, exchange, strict=True)
        }
        return self._problem.share_gradients(inputs, products)
