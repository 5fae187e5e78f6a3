r"""The orientation of an atom or a linear molecule, which only the grid distinguishes.

Open shells single out a direction: the hole in a p shell of a free atom may point anywhere. Its
energy depends on the orientation only by the error of the grid, about 1e-7 Hartree, and the
curvature of this error is 1e-5 of that of other rotations of the orbitals. Steps that change both
together, of DIIS or of Newton's method, lose these digits. The rotation of all orbitals in space is
exact in basis functions of whole shells, and changes nothing but the error of the grid:

.. math:: D \to e^{\theta \cdot A} D e^{-\theta \cdot A}, \quad
    A_{\mu\nu} = \langle \mu | (r - r_0) \times \nabla | \nu \rangle, \quad
    t = \frac{\partial E}{\partial \theta} = \sum_{\mu\nu} A_{\mu\nu} (F D - D F)_{\mu\nu},

in orthonormal functions. An atom has three angles, a linear molecule has one. DIIS converges the
rest in a frame that turns with the orbitals, where rotations leave its history valid.

References
----------
J. Nocedal, S. J. Wright, Numerical Optimization (2006), section 6.2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.gaussian.problem import MolecularProblem

# Distance from a line, bohr, up to which atoms form a linear molecule.
_LINEAR = 1e-6
_USUAL = 1e-4
_LEAVE, _LARGEST_ANGLE = 0.03, 0.1
_PARALLEL = 1e-8
# Squared change of the density matrix per angle, below which a rotation leaves it as it is.
_UNTURNED = 1e-2
# Eigenvalue of the curvature, relative to the largest one, below which it is noise.
_FLAT = 1e-3


class Orientation:
    """The frame in which DIIS works, turned in space against the grid.

    Parameters
    ----------
    problem : MolecularProblem
        Any; molecules that are not linear have no angles, and their frame does not turn.

    Attributes
    ----------
    turn : Tensor or None
        From coefficients in the frame to those of the basis functions, (nao, nao); None before the
        first rotation.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem
    >>> boron = make_problem(Atoms("B"), "PBE", basis="sto-3g", spin=1)
    >>> orientation, p = Orientation(boron), torch.zeros(2, 5, 5).double()
    >>> p[0, 2, 2] = 1.0
    >>> orientation.rotate(torch.tensor([0.0, 0.0, torch.pi / 2]).double())
    >>> orientation.outside(p)[0, 3, 3]
    tensor(1., dtype=torch.float64)
    """

    def __init__(self, problem: MolecularProblem) -> None:
        self._overlap, self._x = problem.overlap, problem.orthogonaliser
        self._moments = _moments(problem)
        self._generators = self._x @ self._moments @ self._x
        self.turn: Tensor | None = None

    @property
    def nangle(self) -> int:
        """Angles that the energy does not depend on, except for the grid: 3, 1 or 0."""
        return len(self._generators)

    def outside(self, density: Tensor) -> Tensor:
        """Density matrices of the frame as those of the basis functions, (nspin, nao, nao)."""
        return density if self.turn is None else self.turn @ density @ self.turn.T

    def inside(self, fock: Tensor) -> Tensor:
        """Kohn-Sham matrices between basis functions as those in the frame, (nspin, nao, nao)."""
        return fock if self.turn is None else self.turn.T @ fock @ self.turn

    def rotate(self, angles: Tensor) -> None:
        """Turn the frame by angles (nangle,), radians."""
        vectors = torch.einsum("a,aij->ij", angles, self._generators)
        change = self._x @ torch.linalg.matrix_exp(vectors) @ self._x @ self._overlap
        self.turn = change if self.turn is None else self.turn @ change

    def rotations(self, orbitals: Tensor) -> Tensor:
        """The rotations in space among orbitals, (nangle, nset, norbital, norbital)."""
        return orbitals.mT @ self._moments[:, None] @ orbitals

    def torque(self, residual: Tensor, density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Derivative of the energy with respect to the angles, and its part of the commutator.

        Parameters
        ----------
        residual : Tensor
            Commutator in orthonormal functions, (nset, nao, nao), Hartree.
        density : Tensor
            Density matrices, (nspin, nao, nao), both in the frame.

        Returns
        -------
        (Tensor, Tensor)
            (nangle,), Hartree per radian, and (nset, nao, nao). Without this part the commutator
            has no torque. Angles that do not change the density have none.
        """
        if len(residual) < len(density):
            density = density.sum(0, keepdim=True)
        root = self._overlap @ self._x
        n, a = root.T @ density @ root, self._generators[:, None]
        turned = n @ a - a @ n  # (nangle, nset, nao, nao)
        patterns = n @ turned - turned @ n
        overlaps = torch.einsum("asij,bsij->ab", turned, turned)
        inverse = torch.linalg.pinv(overlaps, atol=_UNTURNED, rtol=0.0, hermitian=True)
        torques = torch.einsum("aij,sij->a", self._generators, residual)
        weights = inverse @ torques
        hold = root @ torch.einsum("a,asij->sij", weights, turned) @ root.T
        return overlaps @ weights, torch.einsum("a,asij->sij", weights, patterns), hold


class Angles:
    """Newton's steps to the angles without a torque; the curvature is learnt from the torques.

    It is updated symmetrically with rank one, and the magnitude of its eigenvalues counts, so that
    steps lead downhill.

    Examples
    --------
    Torques of an energy with the curvatures 1 and 10:

    >>> angles, x = Angles(), torch.tensor([0.05, 0.02]).double()
    >>> for _ in range(6):
    ...     x = x + angles.next_step(torch.tensor([1.0, 10.0]).double() * x)
    >>> x.abs().max() < 1e-6
    tensor(True)
    """

    def __init__(self) -> None:
        self._curvature: Tensor | None = None
        self._last: tuple[Tensor, Tensor] | None = None

    def learn(self, torque: Tensor) -> None:
        """Compare a torque, (nangle,), with what was expected of the last step."""
        if self._last is None:
            return
        step, earlier = self._last
        self._last = None
        change = torque - earlier
        if self._curvature is None:
            size = (change @ step).abs() / (step @ step)
            self._curvature = size * torch.eye(len(torque), dtype=torque.dtype)
        error = change - self._curvature @ step
        along = error @ step
        if abs(along) > _PARALLEL * error.norm() * step.norm():
            self._curvature = self._curvature + torch.outer(error, error) / along

    def next_step(self, torque: Tensor) -> Tensor:
        """Change of the angles, (nangle,), radians, from the torque at the present ones."""
        self.learn(torque)
        if self._curvature is None:
            step = -torque / _USUAL
        else:
            values, vectors = torch.linalg.eigh(self._curvature)
            torques = vectors.T @ torque
            sizes = torques.abs() / values.abs().clamp_min(_FLAT * float(values.abs().max()))
            sizes = torch.where(values < 0.0, sizes.clamp_min(_LEAVE), sizes)
            step = -vectors @ (torques.sign() * sizes)
        step = step * min(1.0, _LARGEST_ANGLE / max(float(step.norm()), 1e-300))
        self._last = step, torque
        return step


def _moments(problem: MolecularProblem) -> Tensor:
    """Matrices of ``(r - r0) x gradient`` about the axes of symmetry, (nangle, nao, nao)."""
    mole = problem.molecule.mole
    positions = mole.atom_coords()
    middle = positions.mean(0)
    with mole.with_common_origin(middle):
        matrices = mole.intor("int1e_cg_irxp", comp=3)
    _, spread, axes = np.linalg.svd(positions - middle)
    if spread[0] < _LINEAR:
        chosen = matrices
    elif len(spread) < 2 or spread[1] < _LINEAR:
        chosen = np.einsum("a,aij->ij", axes[0], matrices)[None]
    else:
        chosen = matrices[:0]
    return torch.from_numpy(np.ascontiguousarray(chosen))
