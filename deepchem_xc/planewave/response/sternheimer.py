r"""Sternheimer's equation by conjugate gradients, all bands of some k-points at once.

.. math:: Q (H - \epsilon_n) Q z_n = -Q c_n

Q leaves out all states known. The equation is easy where the known states reach well above the
filled ones; those above need not be exact for it [1]_.

Conjugate gradients run in single precision, a few digits at a time; what is left then is computed
in double precision, except after a last step that asks for three digits or less.

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

_MAXITER = 200
# By what single precision is to reduce a residual at a time, and how often at most.
_REDUCTION = 1e-4
_REFINEMENTS = 20
# Reductions down to here need no check: rounding is some percent of what is left, at most.
_SAFE = 1e-3
# Residuals, in units of the first ones, below which double precision does not reach.
_ROUNDING = 1e-13


class KnownStates(NamedTuple):
    """States of some k-points, and what is left of H between them and all others."""

    states: Tensor
    """Orthonormal, (nk, nband, npw), real or complex; the first nfilled are converged."""
    energies: Tensor
    """Of the filled ones, (nk, nfilled), Hartree."""
    above: Tensor
    """Energies of the empty ones less those of the filled, (nk, nfilled, nempty), Hartree."""
    rough: Tensor
    """Residuals H m - e m of the empty ones, (nk, nempty, npw), Hartree."""
    damping: Tensor
    """Preconditioner of the filled ones, (nk, nfilled, npw), without unit."""

    def project(self, block: Tensor) -> Tensor:
        """Leave out what a block (nk, n, npw) holds of these states."""
        return torch.baddbmm(block, block @ self.states.mH, self.states, alpha=-1)

    def rounded(self) -> KnownStates:
        """The same in single precision."""
        return KnownStates(*map(to_single, self))


def solve_sternheimer(
    apply: Callable[[Tensor], Tensor], known: KnownStates, cotangent: Tensor, tolerance: float
) -> Tensor:
    """Solve for z of the filled bands, outside of the states known.

    The empty states that are known come in again by their residuals (the Schur complement of
    [1]_): they make the equation easy without having to be exact.

    Parameters
    ----------
    apply : callable
        H, (nk, n, npw) -> (nk, n, npw), Hartree, in its argument's precision.
    known : KnownStates
        Of these k-points.
    cotangent : Tensor
        c, (nk, nfilled, npw), real or complex as the states are.
    tolerance : float
        Norm of the residual of each row, in the unit of c.

    Returns
    -------
    Tensor
        z, (nk, nfilled, npw), in the unit of c per Hartree.

    Raises
    ------
    ResponseConvergenceError
        If a state below the filled ones is missing, or iterations do not suffice.

    Examples
    --------
    A Hamiltonian that is diagonal, whose lowest state is known:

    >>> energies = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    >>> lowest, none = torch.eye(3, dtype=torch.float64)[None, :1], torch.zeros(1, 1, 0)
    >>> known = KnownStates(
    ...     lowest, energies[None, :1], none, torch.zeros(1, 0, 3), torch.ones(1, 1, 3))
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
    residual = known.project(residual)
    solution = torch.zeros_like(residual)
    norms = row_norms(residual)
    tolerance = max(tolerance, _ROUNDING * float(norms.max()))
    coarse = known.rounded()
    for _ in range(_REFINEMENTS):
        if bool((norms <= tolerance).all()):
            break
        # Rows of norm 1: two real ones share an FFT, and would share the larger one's rounding.
        size = norms.clamp_min(torch.finfo(norms.dtype).tiny)
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
    apply: Callable[[Tensor], Tensor],
    known: KnownStates,
    energies: Tensor,
    above: Tensor,
    rows: Tensor,
) -> Tensor:
    """The operator on rows of some filled bands, with energies (nk, n, 1) and above (nk, n, m)."""
    image = apply(rows)
    image.addcmul_(energies, rows, value=-1)
    if known.rough.shape[1]:
        empty = (rows @ known.rough.mH) / above
        image = torch.baddbmm(image, empty, known.rough, alpha=-1)
    return known.project(image)


def _conjugate_gradients(
    apply: Callable[[Tensor], Tensor], known: KnownStates, residual: Tensor, goals: Tensor
) -> Tensor:
    """Solve for rows (nk, nfilled, npw) until each residual's norm is that of `goals`, (nk, n)."""
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
        # Rows that are done would grow, and with them the rounding of those that share an FFT.
        follow = torch.addcmul(step, current / rows.previous.clamp_min(tiny), rows.direction)
        rows.direction = torch.where(active, follow, 0.0)
        rows.previous = current
        image = _image(apply, known, rows.energies, rows.above, rows.direction)
        curvature = row_dots(rows.direction, image).unsqueeze(-1)
        if bool(((curvature < 0.0) & active).any()):
            raise ResponseConvergenceError(
                "there is a state below the occupied ones that was not found: converge the "
                "ground state more tightly, or ask for more bands with nbands=.",
                [],
            )
        # Their length is 0: they stay as they are.
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
        f"{residual:.1e}, {tolerance:.1e} was wanted. States just above the occupied ones make it "
        "hard: ask for more bands with nbands=.",
        [],
    )


class _Rows:
    """What conjugate gradients carry from step to step, of the rows that are not done."""

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
        """Leave out rows (nk, n) that are done, as many at every k-point; the rest of the mask."""
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
        """Write the solution so far where it belongs."""
        solution.scatter_(1, self._places.unsqueeze(-1).expand_as(self.solution), self.solution)


def row_dots(left: Tensor, right: Tensor) -> Tensor:
    """Real part of the scalar products of rows, (nk, n, npw) -> (nk, n)."""
    if left.is_complex():
        left, right = torch.view_as_real(left).flatten(-2), torch.view_as_real(right).flatten(-2)
    return torch.einsum("kng,kng->kn", left, right)
