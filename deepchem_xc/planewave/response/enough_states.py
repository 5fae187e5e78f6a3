"""As many converged states as a loss depends on."""

from __future__ import annotations

from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.planewave.response.perturbation import PerturbedStates

# Part of the largest cotangent that a state which cannot be used may have.
_NEGLIGIBLE = 1e-9
# The same of a Fermi level, whose cotangent falls off gradually.
_UNMOVED = 1e-7
# How often bands are added before it is given up.
_ROUNDS = 4


def enough_states(
    states: PerturbedStates, cotangent: Tensor, level: Tensor | None = None
) -> PerturbedStates:
    """These states, or more, such that the eigenvalues that a loss needs are converged.

    Bands above the highest one that is needed show whether a degenerate set is complete.

    Parameters
    ----------
    states : PerturbedStates
        Those that there are.
    cotangent : Tensor
        Of the eigenvalues, (nspin, nk, n) with n bands or less.
    level : Tensor, optional
        Cotangent of the Fermi level, which in a gap empty states move too.

    Raises
    ------
    ResponseConvergenceError
        If they cannot be converged.

    Examples
    --------
    For a loss on the highest band more of them show where its multiplet ends:

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
    """Bands up to this one move the Fermi level."""
    if level is None:
        return 0
    return _highest(states.occupation.level_cotangent(level), _UNMOVED)


def _highest(cotangent: Tensor, negligible: float) -> int:
    """Bands up to this one have a cotangent (nspin, nk, nband) that counts."""
    sizes = cotangent.abs()
    wanted = (sizes > negligible * sizes.max()).any(0).any(0).nonzero()
    return int(wanted[-1]) + 1 if len(wanted) else 0
