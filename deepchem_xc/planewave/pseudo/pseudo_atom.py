r"""The spherical atom of a pseudopotential, from which the self-consistent field starts.

A good starting density saves steps of the self-consistent field, above all for d metals, and the
natural choice is the atom of the very potential in use. It need not be the exact atom, so it is
solved with fractional occupations, exchange only (Slater's X-alpha potential, alpha = 0.7; J. C.
Slater, Phys. Rev. 81, 385 (1951)), in a small even-tempered Gaussian basis r^l exp(-a r^2).

Within this model it is converged to 1e-10 electrons, because learned densities are differences
from superposed atoms: the loop ends at rounding, the Hartree potential is analytic, the mesh ends
where the most diffuse Gaussian has vanished, and the trapezoidal rule is exact on it for such
functions to any power of its spacing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.numerics.anderson import Anderson

from .gaussians import gaussian_coefficients
from .radial import RadialTransform, quadrature_weights

__all__ = ["PseudoAtom", "RadialFunction", "aufbau", "solve_pseudo_atom"]

RadialFunction = Callable[[NDArray], NDArray]

_MESH = np.linspace(0.0, 30.0, 3001)  # bohr
_EXPONENTS = np.geomspace(0.03, 60.0, 13)  # bohr^-2
_PAIRS = np.triu_indices(len(_EXPONENTS))
_START = 0.5  # exponent of the Gaussian density of the first step, bohr^-2
_X_ALPHA = 0.7
_TOLERANCE = 1e-12  # change of the density in a step at convergence, per electron
_MAX_STEPS = 300
_HISTORY, _STEP = 6, 0.5  # of Anderson's mixing
_REST = 1e-16  # part of the electrons beyond the radius at which form factors' integrals end


@dataclass(frozen=True, eq=False)
class PseudoAtom:
    """The spherical atom of a pseudopotential.

    Attributes
    ----------
    density : RadialTransform
        Form factor of the valence density, equal to the number of electrons at q = 0.
    open_shell : RadialTransform
        Form factor of the density of one electron in the shell that carries a magnetic moment: the
        partly filled shell with the highest l, or the s shell if all are full.
    unpaired : float
        Electrons that can be unpaired in that shell, the largest starting moment.
    states : tuple of (int, ndarray)
        For each angular momentum the occupied states' coefficients, (n, number of exponents), on
        r^l exp(-a r^2), lowest state first.

    Examples
    --------
    Nickel's states are 3s and 4s, 3p and 3d; 3d is an open shell with two unpaired electrons:

    >>> from deepchem_xc.planewave.pseudo import load_pseudopotential
    >>> atom = load_pseudopotential("gth-pbe", "Ni").atom
    >>> [(l, len(coefficients)) for l, coefficients in atom.states], float(atom.unpaired)
    ([(0, 2), (1, 1), (2, 1)], 2.0)
    """

    density: RadialTransform
    open_shell: RadialTransform
    unpaired: float
    states: tuple[tuple[int, NDArray], ...]

    def orbitals(self, q2: Tensor) -> list[tuple[int, Tensor]]:
        """Form factors of the occupied states, divided by q^l.

        Parameters
        ----------
        q2 : Tensor
            Squared wave vectors in bohr^-2, any shape, zero allowed.

        Returns
        -------
        list of (int, Tensor)
            Angular momentum, and 4 pi int r^2 R_i(r) j_l(qr) dr / q^l, (n, *q2.shape),
            bohr^(l + 3/2).
        """
        found = []
        for l, coefficients in self.states:
            front = [gaussian_coefficients(l, 0, (0.5 / a) ** 0.5)[0] for a in _EXPONENTS]
            weights = torch.as_tensor(coefficients * np.array(front)).to(q2.device)
            total = q2.new_zeros((len(weights), *q2.shape))
            for weight, a in zip(weights.T, _EXPONENTS, strict=True):
                total += weight.view(-1, *([1] * q2.ndim)) * torch.exp(-0.25 / a * q2)
            found.append((l, total))
        return found


def solve_pseudo_atom(
    local: RadialFunction,
    projectors: Sequence[tuple[int, RadialFunction, NDArray]],
    electrons: Sequence[float],
) -> PseudoAtom:
    """Solve the spherical atom of a pseudopotential.

    Parameters
    ----------
    local : callable
        Local potential in Hartree at radii in bohr.
    projectors : sequence of (l, functions, coupling)
        Angular momentum; callable that gives r p_i(r), shape (n, nr), at radii (nr,); D_ij
        (n, n) in Hartree.
    electrons : sequence of float
        Electrons with l = 0, 1, 2, ...; they fill the lowest states of each l.

    Returns
    -------
    PseudoAtom
        Its density and occupied states.

    Raises
    ------
    RuntimeError
        If the atom does not converge.

    Examples
    --------
    A helium-like atom with a smeared nucleus:

    >>> import torch
    >>> from scipy.special import erf
    >>> nucleus = lambda r: -2.0 * erf(np.maximum(r, 1e-9) / 0.3) / np.maximum(r, 1e-9)
    >>> atom = solve_pseudo_atom(nucleus, (), (2,))
    >>> round(atom.density(torch.zeros(1, dtype=torch.float64)).item(), 9)
    2.0
    """
    r = _MESH
    weights = quadrature_weights(r)
    v_local = local(r)
    solvers = []
    for l, count in enumerate(electrons):
        if count > 0:
            own = [p for p in projectors if p[0] == l]
            solvers.append(_Channel(l, count, r, weights, own))

    # Start from a Gaussian density about as wide as the outer shell.
    total = float(sum(electrons))
    start = np.stack([r**2 * np.exp(-_START * r**2), _coulomb(r, 0, _START)])
    # Shell and Hartree potential are mixed together, since both are linear in the density.
    state = torch.from_numpy(start * (total / (weights @ start[0])))
    anderson: Anderson[Tensor] = Anderson(_HISTORY, lambda left, right: left[0] @ right[0])
    for _ in range(_MAX_STEPS):
        shell, hartree = state.numpy()
        potential = v_local + hartree + _exchange(r, shell)
        new = np.zeros_like(start)
        for solver in solvers:
            new += solver.density(potential)
        residual = torch.from_numpy(new) - state
        moved = weights @ residual[0].abs().numpy()
        if moved < _TOLERANCE * total:
            density = _form_factor(r, new[0], total)
            # Partly filled shells carry the moment in the order f, d, p, s; closed-shell atoms can
            # only open their s shell.
            carrier = max(solvers, key=lambda s: (s.is_open, s.l if s.is_open else -s.l))
            moment = _form_factor(r, carrier.outermost, 1.0)
            states = tuple((s.l, s.states) for s in solvers)
            return PseudoAtom(density, moment, carrier.unpaired, states)
        state = anderson.next_input(state, residual, _STEP)
    raise RuntimeError(
        f"the pseudo-atom with {total:g} electrons did not converge: {moved:.1e} electrons still "
        f"move after {_MAX_STEPS} steps"
    )


def _form_factor(r: NDArray, shell: NDArray, electrons: float) -> RadialTransform:
    """Transform of a density with 4 pi r^2 n(r) = `shell`, scaled to a number of electrons."""
    # The density itself is smooth enough for half of the mesh, unlike the exchange potential.
    r, shell = r[::2], shell[::2]
    rest = np.cumsum(shell[::-1])[::-1]
    end = int(np.searchsorted(-rest, -_REST * rest[0]))
    r, shell = r[:end], shell[:end]
    weights = quadrature_weights(r)
    shell = shell * (electrons / (weights @ shell))
    return RadialTransform(0, r, weights, shell[None] / (4.0 * math.pi))


class _Channel:
    """States of one angular momentum in the Gaussian basis."""

    def __init__(
        self,
        l: int,
        count: float,
        r: NDArray,
        weights: NDArray,
        projectors: Sequence[tuple[int, RadialFunction, NDArray]],
    ) -> None:
        self.l = l
        self.states = np.empty((0, len(_EXPONENTS)))
        degeneracy = 2 * (2 * l + 1)
        shells = math.ceil(count / degeneracy - 1e-9)
        self._occupations = np.full(shells, float(degeneracy))
        outer = count - degeneracy * (shells - 1)
        self.is_open = outer < degeneracy
        self.unpaired = min(outer, degeneracy - outer) if self.is_open else min(outer, 2.0)
        self.outermost = np.zeros_like(r)
        self._occupations[-1] = outer
        a = _EXPONENTS[:, None]
        gauss = np.exp(-a * r**2)
        # u = r R(r), scaled to about one so that the overlap matrix is well conditioned.
        self._scale = scale = (2.0 * a) ** (0.5 * l + 0.75)
        self._u = scale * r ** (l + 1) * gauss
        slope = scale * ((l + 1) * r**l - 2.0 * a * r ** (l + 2)) * gauss
        centrifugal = scale * math.sqrt(l * (l + 1)) * r**l * gauss
        self._weights = weights
        self._overlap = (self._u * weights) @ self._u.T
        self._fixed = 0.5 * ((slope * weights) @ slope.T + (centrifugal * weights) @ centrifugal.T)
        for _, functions, coupling in projectors:
            b = (self._u * weights) @ functions(r).T
            self._fixed += b @ coupling @ b.T

    def density(self, potential: NDArray) -> NDArray:
        """4 pi r^2 n(r) of the electrons in the lowest states, and its Hartree potential, (2, nr).

        Also stores these states in `states`.
        """
        from scipy.linalg import eigh

        hamiltonian = self._fixed + (self._u * (self._weights * potential)) @ self._u.T
        shells = len(self._occupations)
        _, vectors = eigh(hamiltonian, self._overlap, subset_by_index=[0, shells - 1])
        self.states = (vectors * self._scale).T
        squares = (vectors.T @ self._u) ** 2
        self.outermost = squares[-1]
        matrix = (self.states.T * self._occupations) @ self.states
        i, j = _PAIRS
        hartree = (np.where(i == j, 1.0, 2.0) * matrix[i, j]) @ _coulomb_of_pairs(self.l)
        return np.stack([self._occupations @ squares, hartree])


@cache
def _coulomb_of_pairs(l: int) -> NDArray:
    """Hartree potentials on the mesh of all products of two basis functions, (npair, nr)."""
    return np.array([_coulomb(_MESH, l, p) for p in _EXPONENTS[_PAIRS[0]] + _EXPONENTS[_PAIRS[1]]])


def _coulomb(r: NDArray, l: int, exponent: float) -> NDArray:
    """Hartree potential of the density with 4 pi r^2 n(r) = r^(2l+2) exp(-exponent r^2)."""
    from scipy.special import erf

    root = math.sqrt(exponent) * r
    x = root**2
    # Incomplete gamma functions P(l + 3/2, x) and Q(l + 1, x), by their recursion in l.
    inside, outside, power = erf(root), np.zeros_like(x), np.exp(-x)
    for k in range(l + 1):
        outside += power / math.gamma(k + 1.0)
        inside -= root * power / math.gamma(k + 1.5)
        power = power * x
    inside *= 0.5 * exponent ** -(l + 1.5) * math.gamma(l + 1.5)
    outside *= 0.5 * exponent ** -(l + 1.0) * math.gamma(l + 1.0)
    return inside / np.maximum(r, 1e-9) + outside


def _exchange(r: NDArray, shell: NDArray) -> NDArray:
    density = np.maximum(shell, 0.0) / (4.0 * math.pi * np.maximum(r, 0.5 * r[1]) ** 2)
    return -1.5 * _X_ALPHA * (3.0 / math.pi * density) ** (1.0 / 3.0)


def aufbau(symbol: str, valence: float) -> tuple[float, ...]:
    """Valence electrons per angular momentum of a neutral atom.

    Shells fill by Madelung's rule; the core takes the innermost ones, ordered by principal quantum
    number.

    Examples
    --------
    >>> aufbau("Ni", 18), aufbau("Si", 4)
    ((4.0, 6.0, 8.0, 0.0), (2.0, 2.0, 0.0, 0.0))
    """
    from ase.data import atomic_numbers

    number = atomic_numbers[symbol]
    shells = [(n, l) for n in range(1, 9) for l in range(min(n, 4))]
    shells.sort(key=lambda shell: (sum(shell), shell[0]))
    left = float(number)
    occupied = []
    for n, l in shells:
        count = min(left, 2.0 * (2 * l + 1))
        left -= count
        occupied.append((n, l, count))
    core = number - valence
    electrons = [0.0, 0.0, 0.0, 0.0]
    for _, l, count in sorted(occupied):
        inner = min(core, count)
        core -= inner
        electrons[l] += count - inner
    return tuple(electrons)
