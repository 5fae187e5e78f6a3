"""Second-order steps to a minimum of the energy, where DIIS stalls: Newton's method in a region.

The quadratic model is minimised by conjugate gradients inside of a sphere, which shrinks when the
energy rises and grows when the model predicts it well. Rotations in space are left out: they are so
soft that they would take most of the products, and `orientation` has steps for them.

References
----------
T. Steihaug, SIAM J. Numer. Anal. 20, 626 (1983).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

from torch import Tensor

from deepchem_xc.gaussian.orientation import Orientation
from deepchem_xc.gaussian.problem import Kernel, MolecularProblem
from deepchem_xc.gaussian.rotations import Projection, Rotations, pair_product
from deepchem_xc.gaussian.states import States

# Radius of the first sphere, and largest one: rotations by a tenth, and by about a right angle.
_FIRST_RADIUS, _LARGEST_RADIUS = 0.2, 1.5
# Most products with the Hessian in one step, and bounds of the residual relative to the gradient at
# which they end: soft rotations, as of a degenerate shell, need many.
_PRODUCTS, _LEAST_RESIDUAL, _LARGEST_RESIDUAL = 100, 1e-3, 0.05
# Rise of the energy that is rounding, Hartree.
_ROUNDING = 1e-9


class SecondOrder:
    """Trust-region steps from filled orbitals with integer occupations.

    Parameters
    ----------
    problem : MolecularProblem
        Without smearing.
    orientation : Orientation
        The frame of the states, which the steps leave as it is.
    """

    def __init__(self, problem: MolecularProblem, orientation: Orientation) -> None:
        self._problem, self._orientation = problem, orientation
        self._radius = _FIRST_RADIUS
        self._last: tuple[float, States, Tensor, float, float] | None = None

    def next_states(self, states: States, energy: float, fock: Tensor) -> States:
        """States of the next step; after a rise of the energy, from those before it.

        Parameters
        ----------
        states : States
            Present ones.
        energy : float
            Theirs, Hartree.
        fock : Tensor
            Kohn-Sham matrices of their density in the frame, (nspin, nao, nao).
        """
        if self._last is not None:
            before, earlier, earlier_fock, predicted, length = self._last
            gained = before - energy
            if gained < -_ROUNDING:
                self._radius = 0.25 * length
                states, energy, fock = earlier, before, earlier_fock
            elif predicted < _ROUNDING:
                pass  # the difference of energies says nothing about the model
            elif gained > 0.75 * predicted:
                self._radius = min(2.0 * self._radius, _LARGEST_RADIUS)
            elif gained < 0.25 * predicted:
                self._radius *= 0.5
        rotations = self._rotations(states, fock)
        fixed = self._fixed(rotations, states)
        step, predicted = _minimised(rotations, self._radius, fixed)
        length = math.sqrt(float(pair_product(step, step)))
        self._last = energy, states, fock, predicted, length
        orbitals = rotations.turned(step)
        matrix = fock if len(fock) == len(orbitals) else fock.mean(0, keepdim=True)
        levels = (orbitals.mT @ matrix @ orbitals).diagonal(dim1=-2, dim2=-1)
        return replace(states, orbitals=orbitals, eigenvalues=levels)

    def settled_states(self, states: States, fock: Tensor) -> States:
        """States of a step along the preconditioned gradient, which takes no Hessian.

        Where the gradient meets the criterion already, this step shows that the energy does so too.

        Parameters
        ----------
        states, fock
            As for `next_states`.
        """
        rotations = self._rotations(states, fock)
        step = -self._fixed(rotations, states)(rotations.gradient / rotations.curvature)
        self.forget()
        return replace(states, orbitals=rotations.turned(step))

    def forget(self) -> None:
        """Do not compare the next energy with the last one, after the frame has turned."""
        self._last = None

    def _rotations(self, states: States, fock: Tensor) -> Rotations:
        """The energy as a function of rotations in the frame; a kernel is made if it is needed."""
        frame = self._orientation

        @cache
        def kernel() -> Kernel:
            return self._problem.kernel(frame.outside(states.density))

        def response(change: Tensor) -> Tensor:
            return frame.inside(kernel()(frame.outside(change)))

        return Rotations(states.orbitals, states.filling, fock, response)

    def _fixed(self, rotations: Rotations, states: States) -> Projection:
        """Leaves out rotations in space."""
        return Projection(self._orientation.among(states.orbitals) * rotations.mixing)


def _minimised(rotations: Rotations, radius: float, project: Projection) -> tuple[Tensor, float]:
    """Rotation in a sphere that minimises the quadratic model, and the gain it predicts."""
    gradient, curvature = project(rotations.gradient), rotations.curvature
    x, slope = 0.0 * gradient, 0.0 * gradient  # the rotation, and Hessian times rotation
    residual = -gradient
    preconditioned = project(residual / curvature)
    direction = preconditioned
    size = float(pair_product(residual, preconditioned))
    wanted = size * max(_LEAST_RESIDUAL, min(_LARGEST_RESIDUAL, math.sqrt(size))) ** 2
    for _ in range(_PRODUCTS):
        if size <= wanted or size == 0.0:
            break
        image = project(rotations.product(direction))
        bend = float(pair_product(direction, image))
        length = size / bend if bend > 0.0 else math.inf
        to_edge = _length_to_edge(x, direction, radius)
        if length >= to_edge:
            x, slope = x + to_edge * direction, slope + to_edge * image
            break
        x, slope = x + length * direction, slope + length * image
        residual = residual - length * image
        preconditioned = project(residual / curvature)
        earlier, size = size, float(pair_product(residual, preconditioned))
        direction = preconditioned + size / earlier * direction
    gain = -float(pair_product(gradient, x)) - 0.5 * float(pair_product(x, slope))
    return x, gain


def _length_to_edge(x: Tensor, direction: Tensor, radius: float) -> float:
    """Positive number t with |x + t direction| = radius."""
    a = float(pair_product(direction, direction))
    b = float(pair_product(x, direction))
    c = float(pair_product(x, x)) - radius**2
    return (math.sqrt(max(b**2 - a * c, 0.0)) - b) / a
