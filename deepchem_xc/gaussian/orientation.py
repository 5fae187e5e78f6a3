r"""The orientation of an atom or a linear molecule, which only the grid distinguishes.

Open shells single out a direction: the hole in a p shell of a free atom may point anywhere. The
energy depends on it only by the error of the grid, 1e-7 Hartree with PBE and 1e-5 with r2SCAN on a
coarse grid, whose curvature is 1e-3 to 1e-5 of that of other rotations of the orbitals. Steps that
change both together lose these digits, in DIIS as in Newton's method. The rotation of all orbitals
in space is exact in basis functions of whole shells, and changes nothing except the error of the
grid. In orthonormal functions

.. math:: D \to e^{\theta \cdot A} D e^{-\theta \cdot A}, \quad
    A_{\mu\nu} = \langle \mu | (r - r_0) \times \nabla | \nu \rangle, \quad
    t = \frac{\partial E}{\partial \theta} = \sum_{\mu\nu} A_{\mu\nu} (F D - D F)_{\mu\nu}.

An atom has three angles, a linear molecule has one. The loop converges the other rotations in a
frame that turns with the orbitals, and so what it remembers stays valid when they turn. A torque is
held there by the potential :math:`c \cdot [D, A]`, which takes it from the commutator.

The angles follow from Newton's method. Their curvature is learnt from the torques by symmetric
updates of rank one.

References
----------
J. Nocedal, S. J. Wright, Numerical Optimization (2006), section 6.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.gaussian.problem import MolecularProblem

# Distance from a line, bohr, up to which atoms form a linear molecule.
_LINEAR = 1e-6
# Squared change of the density matrix for each angle below which it counts as unchanged: shells
# that are filled evenly differ from a sphere by errors of the loop alone.
_UNTURNED = 1e-2
# Curvature that the first step assumes, Hartree per square radian: 3e-6 to 3e-4 were found for
# atoms up to Cl with PBE, up to 1e-3 with r2SCAN.
_FIRST_CURVATURE = 1e-4
# Longest first step, longest one at all, and the least one away from a maximum, radians: errors of
# the grid change their sign within some hundredths to tenths.
_FIRST_ANGLE, _LARGEST_ANGLE, _LEAVING_ANGLE = 0.03, 0.1, 0.03
# Torque along a step, relative to minus that before it, above which the step was too long, and part
# of its length that is then allowed; steps of almost the allowed length that were not double it.
_OVERSHOT, _SHORTER, _ALMOST = 0.5, 0.8, 0.9
# Eigenvalue of the curvature relative to the largest one, and cosine in an update, that are noise.
_FLAT, _ORTHOGONAL = 1e-3, 1e-8


class Torque(NamedTuple):
    """Derivative of the energy with respect to the angles, and what it is in the loop.

    Attributes
    ----------
    values : Tensor
        (nangle,), Hartree per radian; zero for angles that do not change the density.
    part : Tensor
        Its part of the commutator, (nset, nao, nao), Hartree.
    hold : Tensor
        Change of the Kohn-Sham matrices that takes this part away, (nset, nao, nao), Hartree.
    """

    values: Tensor
    part: Tensor
    hold: Tensor


class Orientation:
    """A frame that turns in space, in which the loop works.

    Parameters
    ----------
    problem : MolecularProblem
        Any; molecules that are not linear have no angles, and their frame is at rest.

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
    >>> frame, density = Orientation(boron), torch.zeros(1, 5, 5).double()
    >>> density[0, 2, 2] = 1.0  # an electron in the p function along x
    >>> frame.rotate(torch.tensor([0.0, 0.0, torch.pi / 2]).double())
    >>> print(f"{frame.outside(density)[0, 3, 3]:.3f} along y")
    1.000 along y
    """

    def __init__(self, problem: MolecularProblem) -> None:
        self._overlap, self._x = problem.overlap, problem.orthogonaliser
        self._moments = _moments(problem)
        self.turn: Tensor | None = None

    @property
    def nangle(self) -> int:
        """Number of angles: 3 for atoms, 1 for linear molecules, 0 for others."""
        return len(self._moments)

    def rotate(self, angles: Tensor) -> None:
        """Turn the frame by angles (nangle,), radians."""
        vector = torch.einsum("a,aij->ij", angles, self._generators)
        change = self._x @ torch.linalg.matrix_exp(vector) @ self._x @ self._overlap
        self.turn = change if self.turn is None else self.turn @ change

    def fix(self) -> None:
        """Keep the frame where it is: from now on it has no angles."""
        self._moments = self._moments[:0]

    def outside(self, density: Tensor) -> Tensor:
        """Density matrices in the frame as those of the basis functions, (nspin, nao, nao)."""
        return density if self.turn is None else self.turn @ density @ self.turn.T

    def inside(self, fock: Tensor) -> Tensor:
        """Kohn-Sham matrices of the basis functions as those in the frame, (nspin, nao, nao)."""
        return fock if self.turn is None else self.turn.T @ fock @ self.turn

    def among(self, orbitals: Tensor) -> Tensor:
        """Rotations in space as those of orbitals, (nangle, nset, norbital, norbital)."""
        return orbitals.mT @ self._moments[:, None] @ orbitals

    def torque(self, residual: Tensor, density: Tensor) -> Torque:
        """Torque of a density in the frame.

        Parameters
        ----------
        residual : Tensor
            Commutator in orthonormal functions, (nset, nao, nao), Hartree.
        density : Tensor
            Density matrices, (nspin, nao, nao).
        """
        if len(residual) < len(density):
            density = density.sum(0, keepdim=True)
        root = self._overlap @ self._x
        n, generators = root.T @ density @ root, self._generators
        turned = n @ generators[:, None] - generators[:, None] @ n  # (nangle, nset, nao, nao)
        parts = n @ turned - turned @ n
        overlaps = torch.einsum("asij,bsij->ab", turned, turned)
        inverse = torch.linalg.pinv(overlaps, atol=_UNTURNED, rtol=0.0, hermitian=True)
        shares = inverse @ torch.einsum("aij,sij->a", generators, residual)
        hold = torch.einsum("a,asij->sij", shares, turned)
        part = torch.einsum("a,asij->sij", shares, parts)
        return Torque(overlaps @ shares, part, root @ hold @ root.T)

    @property
    def _generators(self) -> Tensor:
        """Rotations in space in orthonormal functions, (nangle, nao, nao)."""
        return self._x @ self._moments @ self._x


class Angles:
    """Newton's steps to angles without a torque.

    Magnitudes of the curvature's eigenvalues count, so that every step leads downhill. Its length
    has a limit, which falls after a step that was too long and grows after others.

    Examples
    --------
    An energy with the curvatures 1e-5 and 1e-4:

    >>> angles, x = Angles(), torch.tensor([0.05, 0.02]).double()
    >>> for _ in range(8):
    ...     x = x + angles.next_step(torch.tensor([1e-5, 1e-4]).double() * x)
    >>> bool(x.abs().max() < 1e-6)
    True
    """

    def __init__(self) -> None:
        self._curvature: Tensor | None = None
        self._longest = _FIRST_ANGLE
        self._last: tuple[Tensor, Tensor] | None = None

    def learn(self, torque: Tensor) -> None:
        """Compare a torque, (nangle,), with what was expected of the last step."""
        if self._last is None:
            return
        (step, earlier), self._last = self._last, None
        change = torque - earlier
        if torque @ step > -_OVERSHOT * (earlier @ step):
            self._longest = _SHORTER * float(step.norm())
        elif step.norm() > _ALMOST * self._longest:
            self._longest = min(2.0 * self._longest, _LARGEST_ANGLE)
        if self._curvature is None:
            size = (change @ step).abs() / (step @ step)
            self._curvature = size * torch.eye(len(step), dtype=step.dtype)
        error = change - self._curvature @ step
        along = error @ step
        if along.abs() > _ORTHOGONAL * error.norm() * step.norm():
            self._curvature = self._curvature + torch.outer(error, error) / along

    def next_step(self, torque: Tensor) -> Tensor:
        """Change of the angles, (nangle,), radians, from the torque at the present ones."""
        self.learn(torque)
        if self._curvature is None:
            step = -torque / _FIRST_CURVATURE
        else:
            values, vectors = torch.linalg.eigh(self._curvature)
            sizes, torques = values.abs(), vectors.T @ torque
            lengths = torques.abs() / sizes.clamp_min(_FLAT * float(sizes.max()))
            lengths = torch.where(values < 0.0, lengths.clamp_min(_LEAVING_ANGLE), lengths)
            step = -vectors @ (torques.sign() * lengths)
        step = step * (self._longest / step.norm().clamp_min(self._longest))
        self._last = step, torque
        return step


def _moments(problem: MolecularProblem) -> Tensor:
    """Integrals of ``(r - r0) x gradient`` about the axes of symmetry, (nangle, nao, nao)."""
    mole, nao = problem.molecule.mole, problem.molecule.norbital
    positions = mole.atom_coords()
    centre = positions.mean(0)
    _, extents, directions = np.linalg.svd(positions - centre)
    if (extents[1:] > _LINEAR).any():
        return torch.zeros((0, nao, nao), dtype=torch.float64)
    axes = directions[:1] if extents[0] > _LINEAR else np.eye(3)
    with mole.with_common_origin(centre):
        moments = np.einsum("ab,bij->aij", axes, mole.intor("int1e_cg_irxp", comp=3))
    return torch.from_numpy(np.ascontiguousarray(moments))
