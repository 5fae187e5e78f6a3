r"""Sternheimer's equation by conjugate gradients, for all bands of some k-points at once.

.. math:: Q^+ (H - \epsilon_n S) Q z_n = -Q^+ c_n

Q = 1 - sum of psi psi^+ S projects out all known states. The equation converges fast if the known
states reach well above the filled ones; the empty ones need not be exact for that [1]_.

Conjugate gradients run in single precision, a few digits at a time. After each run the residual is
computed in double precision, except after a last run for three digits or less.

References
----------
.. [1] E. Cances, M. F. Herbst, G. Kemlin, A. Levitt, B. Stamm, Lett. Math. Phys. 113, 21 (2023).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.numerics.precision import in_single, to_single
from deepchem_xc.planewave.eigen.davidson import row_norms

#: Applies H to functions, or H and S.
Operator = Callable[[Tensor], Tensor] | Callable[[Tensor], tuple[Tensor, Tensor]]

_MAXITER = 200
# Reduction of a residual in one run in single precision, and the largest number of runs.
_REDUCTION = 1e-4
_REFINEMENTS = 20
# Smallest reduction that needs no check: rounding is at most some percent of the remainder.
_SAFE = 1e-3
# Smallest residual, in units of the initial one, that double precision reaches.
_ROUNDING = 1e-13


class KnownStates(NamedTuple):
    """States of some k-points, and the coupling of H between them and all others."""

    states: Tensor
    """Orthonormal in S, (nk, nband, npw), real or complex; the first nfilled are converged."""
    duals: Tensor
    """S times these states, (nk, nband, npw)."""
    energies: Tensor
    """Energies of the filled states, (nk, nfilled), Hartree."""
    above: Tensor
    """Energies of empty minus those of filled states, (nk, nfilled, nempty), Hartree."""
    rough: Tensor
    """Residuals H m - e S m of the empty states, (nk, nempty, npw), Hartree."""
    damping: Tensor
    """Preconditioner of the filled states, (nk, nfilled, npw), without unit."""

    def project(self, block: Tensor) -> Tensor:
        """Project these states out of functions (nk, n, npw)."""
        return torch.baddbmm(block, block @ self.duals.mH, self.states, alpha=-1)

    def project_image(self, block: Tensor) -> Tensor:
        """Project them out of images of functions under H or S, (nk, n, npw)."""
        return torch.baddbmm(block, block @ self.states.mH, self.duals, alpha=-1)

    def rounded(self) -> KnownStates:
        """The same in single precision."""
        return KnownStates(*map(to_single, self))


def solve_sternheimer(
    apply: Operator, known: KnownStates, cotangent: Tensor, tolerance: float
) -> Tensor:
    """Solve for z of the filled bands, outside the known states.

    The known empty states enter again through their residuals (the Schur complement of [1]_): they
    speed up convergence without having to be exact.

    Parameters
    ----------
    apply : callable
        Applies H, (nk, n, npw) -> (nk, n, npw), Hartree, in its argument's precision; or H and S,
        a pair, where S is not 1.
    known : KnownStates
        Known states of these k-points.
    cotangent : Tensor
        c, (nk, nfilled, npw), real or complex like the states.
    tolerance : float
        Norm of the residual of each row, in the unit of c.

    Returns
    -------
    Tensor
        z, (nk, nfilled, npw), in the unit of c per Hartree.

    Raises
    ------
    ResponseConvergenceError
        If a state below the filled ones is missing, or the iterations are not enough.

    Examples
    --------
    A diagonal Hamiltonian whose lowest state is known:

    >>> energies = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    >>> lowest, none = torch.eye(3, dtype=torch.float64)[None, :1], torch.zeros(1, 1, 0)
    >>> known = KnownStates(
    ...     lowest, lowest, energies[None, :1], none, torch.zeros(1, 0, 3), torch.ones(1, 1, 3))
    >>> c = torch.ones(1, 1, 3, dtype=torch.float64)
    >>> solve_sternheimer(lambda x: energies.to(x.dtype) * x, known, c, 1e-12).flatten().tolist()
    [0.0, -0.5, -0.25]
    """
    states, rough, above = known.states, known.rough, known.above
    nfilled = cotangent.shape[1]
    residual = -cotangent
    if rough.shape[1]:
        empty = (cotangent @ states[:, nfilled:].mH) / above
        residual = torch.baddbmm(residual, empty, rough)
    residual = known.project_image(residual)
    solution = torch.zeros_like(residual)
    norms = row_norms(residual)
    tolerance = max(tolerance, _ROUNDING * float(norms.max()))
    coarse = known.rounded()
    for _ in range(_REFINEMENTS):
        if bool((norms <= tolerance).all()):
            break
        # Scale rows to norm 1: two real rows share an FFT, and with it the larger one's rounding.
        # Rows below the tolerance need no step; the norm of one below 1e-160 is zero by underflow.
        size = norms.clamp_min(tolerance)
        goals = (tolerance / size).clamp_min(_REDUCTION)
        solve = partial(_conjugate_gradients, apply, coarse, goals=goals)
        step = in_single(solve, residual / size.unsqueeze(-1))
        step = known.project(step * size.unsqueeze(-1))
        solution += step
        if bool((norms <= tolerance / _SAFE).all()):
            break
        residual = residual - _image(apply, known, known.energies.unsqueeze(-1), above, step)
        norms = row_norms(residual)
    else:
        raise _not_converged(_REFINEMENTS, "refinements", float(norms.max()), tolerance)
    if rough.shape[1]:
        empty = (solution @ rough.mH) / above
        solution = torch.baddbmm(solution, empty, states[:, nfilled:], alpha=-1)
    return solution


def _image(
    apply: Operator,
    known: KnownStates,
    energies: Tensor,
    above: Tensor,
    rows: Tensor,
) -> Tensor:
    """Apply the operator to rows of filled bands with energies (nk, n, 1), above (nk, n, m)."""
    found = apply(rows)
    image, weighted = found if isinstance(found, tuple) else (found, rows)
    image = torch.addcmul(image, energies, weighted, value=-1)
    if known.rough.shape[1]:
        empty = (rows @ known.rough.mH) / above
        image = torch.baddbmm(image, empty, known.rough, alpha=-1)
    return known.project_image(image)


def _conjugate_gradients(
    apply: Operator, known: KnownStates, residual: Tensor, goals: Tensor
) -> Tensor:
    """Solve for rows (nk, nfilled, npw) until residual norms are below `goals`, (nk, n)."""
    solution = torch.zeros_like(residual)
    tiny = torch.finfo(known.energies.dtype).tiny
    rows = _Rows(residual, known.energies.unsqueeze(-1), known.above, known.damping, goals)
    for _ in range(_MAXITER):
        norms = row_norms(rows.residual)
        active = norms > rows.goals.squeeze(-1)
        if not bool(active.any()):
            break
        active = rows.keep(active, solution)
        step = known.project(rows.damping * rows.residual)
        current = row_dots(rows.residual, step).unsqueeze(-1)
        # Finished rows would grow, and with them the rounding of rows that share an FFT with them.
        follow = torch.addcmul(step, current / rows.previous.clamp_min(tiny), rows.direction)
        rows.direction = torch.where(active, follow, 0.0)
        rows.previous = current
        image = _image(apply, known, rows.energies, rows.above, rows.direction)
        curvature = row_dots(rows.direction, image).unsqueeze(-1)
        if bool(((curvature < 0.0) & active).any()):
            raise ResponseConvergenceError(
                "a state below the occupied ones was not found: converge the "
                "ground state more tightly, or ask for more bands with nbands=.",
                [],
            )
        # Finished rows get a step of length 0 and stay as they are.
        length = torch.where(active, current / curvature.clamp_min(tiny), 0.0)
        rows.solution.addcmul_(length, rows.direction)
        rows.residual = torch.addcmul(rows.residual, length, image, value=-1)
    else:
        worst = float((norms / rows.goals.squeeze(-1)).max())
        raise _not_converged(_MAXITER, "iterations", worst * float(goals.min()), float(goals.min()))
    rows.store(solution)
    return solution


def _not_converged(
    count: int, what: str, residual: float, tolerance: float
) -> ResponseConvergenceError:
    return ResponseConvergenceError(
        f"Sternheimer's equation did not converge in {count} {what}: its largest residual is "
        f"{residual:.1e} (wanted {tolerance:.1e}). States just above the occupied ones make it "
        "hard: ask for more bands with nbands=.",
        [],
    )


class _Rows:
    """State of the conjugate gradients for the unfinished rows."""

    def __init__(
        self, residual: Tensor, energies: Tensor, above: Tensor, damping: Tensor, goals: Tensor
    ) -> None:
        self.residual, self.energies, self.above, self.damping = residual, energies, above, damping
        self.goals = goals.unsqueeze(-1)
        self.solution = torch.zeros_like(residual)
        self.direction = torch.zeros_like(residual)
        self.previous = torch.ones_like(energies)
        nk, n = residual.shape[:2]
        self._places = torch.arange(n, device=residual.device).expand(nk, n)

    def keep(self, active: Tensor, solution: Tensor) -> Tensor:
        """Drop finished rows (nk, n), as many at every k-point; return the remaining mask."""
        most = int(active.sum(1).max())
        if most == active.shape[1]:
            return active.unsqueeze(-1)
        self.store(solution)
        order = active.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        for name in (
            "residual",
            "energies",
            "above",
            "damping",
            "solution",
            "direction",
            "previous",
            "goals",
        ):
            value = getattr(self, name)
            index = order.unsqueeze(-1).expand(-1, -1, value.shape[2])
            setattr(self, name, value.gather(1, index))
        self._places = self._places.gather(1, order)
        return active.gather(1, order).unsqueeze(-1)

    def store(self, solution: Tensor) -> None:
        """Copy the current solution to its rows of `solution`."""
        solution.scatter_(1, self._places.unsqueeze(-1).expand_as(self.solution), self.solution)


def row_dots(left: Tensor, right: Tensor) -> Tensor:
    """Real part of the scalar products of rows, (nk, n, npw) -> (nk, n)."""
    if left.is_complex():
        left, right = torch.view_as_real(left).flatten(-2), torch.view_as_real(right).flatten(-2)
    return torch.einsum("kng,kng->kn", left, right)
