"""Enough converged states for a loss."""

from __future__ import annotations

from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.planewave.response.perturbation import PerturbedStates

# Fraction of the largest cotangent below which a state's cotangent is negligible.
_NEGLIGIBLE = 1e-9
# The same for the Fermi level, whose cotangent falls off gradually.
_UNMOVED = 1e-7
# Largest number of times that bands are added.
_ROUNDS = 4


def enough_states(
    states: PerturbedStates, cotangent: Tensor, level: Tensor | None = None
) -> PerturbedStates:
    """The given states, or more of them, with all eigenvalues that a loss needs converged.

    Bands above the highest needed one show whether a degenerate set is complete.

    Parameters
    ----------
    states : PerturbedStates
        The present states.
    cotangent : Tensor
        Cotangent of the eigenvalues, (nspin, nk, n), for at most as many bands as there are.
    level : Tensor, optional
        Cotangent of the Fermi level, which in a gap depends on empty states too.

    Raises
    ------
    ResponseConvergenceError
        If they cannot be converged.

    Examples
    --------
    For a loss of the highest band, more bands show where its multiplet ends:

    >>> import torch
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, kpts=(1, 1, 1), nbands=8)
    >>> states = PerturbedStates(result.problem, result.potential, result.orbitals)
    >>> first, last = torch.eye(8, dtype=torch.float64)[[0, 7], None, None]
    >>> [enough_states(states, loss).orbitals.shape[2] for loss in (first, last)]
    [8, 11]
    """
    given = _highest(cotangent, _NEGLIGIBLE)
    room = min(states.basis.npw_per_k)
    for _ in range(_ROUNDS):
        needed = max(given, _moving(states, level))
        nband = states.orbitals.shape[2]
        if needed <= min(states.nusable, nband - 1) or needed <= states.nfilled:
            return states
        if nband == room:
            break
        states = states.with_more_bands()
    needed = max(given, _moving(states, level))
    if needed <= states.nusable:  # there are no more plane waves
        return states
    what = f"eigenvalues of band {needed}" if needed == given else "Fermi level"
    where = "" if needed == given else f", and with it on band {needed}"
    raise ResponseConvergenceError(
        f"the loss depends on the {what}{where} (the first is 1), but only the lowest "
        f"{states.nusable} are converged well enough to be differentiated: ask for more bands "
        "with nbands=.",
        [],
    )


def _moving(states: PerturbedStates, level: Tensor | None) -> int:
    """Number of the highest band that moves the Fermi level."""
    if level is None:
        return 0
    return _highest(states.occupation.level_cotangent(level), _UNMOVED)


def _highest(cotangent: Tensor, negligible: float) -> int:
    """Number of the highest band with a relevant cotangent (nspin, nk, nband)."""
    sizes = cotangent.abs()
    wanted = (sizes > negligible * sizes.max()).any(0).any(0).nonzero()
    return int(wanted[-1]) + 1 if len(wanted) else 0
