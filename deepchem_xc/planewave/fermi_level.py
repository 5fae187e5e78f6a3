"""The Fermi level: safeguarded root of the number of electrons."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from deepchem_xc.planewave.smearing import Gaussian, Smearing

# Trial Fermi levels per round: the bracket shrinks by SECTIONS - 1 at the price of one batched
# evaluation and one transfer to the host.
_SECTIONS = 33
# Counts of electrons that agree to this, relatively, are equal: some ten roundings of the sum.
COUNT_TOLERANCE = 1e-14


def find_fermi_level(levels: Tensor, weights: Tensor, nstates: float, smearing: Smearing) -> float:
    """Solve ``sum_i w_i f((e_i - mu) / width) = nstates`` to rounding.

    Parameters
    ----------
    levels, weights : Tensor
        Energies (Hartree) and weights of states, shape (n,), without graph.
    nstates : float
        Filled states, more than 0 and less than ``weights.sum()``.
    smearing : Smearing
        With a positive width.

    Returns
    -------
    float
        Hartree.

    Notes
    -----
    Batched sections of a bracket, then safeguarded Newton steps, all on the device. Inside a gap,
    where the count is flat to rounding, the level is the middle of the flat part. With
    Methfessel-Paxton and Marzari-Vanderbilt smearing the count is not monotonic and several
    solutions may exist; the one nearest to the Fermi level of Gaussian smearing of the same width
    with a rising count is taken, so that it follows the eigenvalues smoothly wherever it can.
    F. J. dos Santos, N. Marzari, Phys. Rev. B 107, 195122 (2023) start from the same level.

    Examples
    --------
    >>> levels = torch.tensor([-0.1, 0.1], dtype=torch.float64)
    >>> weights = torch.ones(2, dtype=torch.float64)
    >>> abs(find_fermi_level(levels, weights, 1.0, Gaussian(0.01))) < 1e-12
    True
    """
    width = smearing.width

    def excess(mu: Tensor, with_: Smearing = smearing) -> Tensor:
        x = (levels - mu[:, None]) / width
        return with_.occupation(x) @ weights - nstates  # (m,)

    lowest, highest = torch.stack([levels.min(), levels.max()]).tolist()
    # Wide enough for the tails: occupations at the ends are 0 or 1 to 1e-17.
    low, high = lowest - 45 * width, highest + 45 * width
    if smearing.monotonic:
        low, high = _section(excess, low, high, nstates, 0.05 * width, levels)
    else:
        gaussian = Gaussian(width)
        low, high = _section(
            lambda mu: excess(mu, gaussian), low, high, nstates, 0.05 * width, levels
        )
        low, high = _nearest_crossing(excess, 0.5 * (low + high), nstates, width, levels)
    return _newton(levels, weights, nstates, smearing, low, high)


def _section(
    excess: Callable[[Tensor], Tensor],
    low: float,
    high: float,
    nstates: float,
    resolution: float,
    like: Tensor,
) -> tuple[float, float]:
    """Narrow a bracket of a rising function to `resolution`, or to the part where it is zero."""
    tolerance = COUNT_TOLERANCE * max(1.0, nstates)
    fractions = torch.linspace(0, 1, _SECTIONS, dtype=like.dtype, device=like.device)
    while high - low > resolution:
        trial = low + (high - low) * fractions
        value = excess(trial)
        below = torch.where(value < -tolerance, trial, low).max()
        above = torch.where(value > tolerance, trial, high).min()
        new_low, new_high = torch.stack([below, above]).tolist()
        flat = new_high - new_low > 0.5 * (high - low)
        low, high = new_low, new_high
        if flat:
            break  # a gap: the function is zero, to rounding, throughout what is left
    return low, high


def _nearest_crossing(
    excess: Callable[[Tensor], Tensor], centre: float, nstates: float, width: float, like: Tensor
) -> tuple[float, float]:
    """Bracket of the zero with rising excess nearest to `centre`."""
    tolerance = COUNT_TOLERANCE * max(1.0, nstates)
    spacing = 0.05 * width
    reach = 16
    while True:
        steps = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
        trial = centre + spacing * steps
        value = torch.cat([excess(part) for part in trial.split(_SECTIONS)])
        below, here, above = value[reach - 1 : reach + 2].tolist()
        if abs(here) <= tolerance and above >= below:  # in a gap, not on a falling branch
            return centre, centre
        rising = ((value[:-1] <= 0) & (value[1:] >= 0)).nonzero().flatten()
        if len(rising):
            nearest = rising[(rising - reach + 0.5).abs().argmin()]
            low, high = trial[nearest : nearest + 2].tolist()
            return low, high
        # N tends to 0 and to all states far out, so a rising zero exists.
        reach *= 4


def _newton(
    levels: Tensor, weights: Tensor, nstates: float, smearing: Smearing, low: float, high: float
) -> float:
    """Newton steps kept inside a shrinking bracket; a fixed number, without host transfers."""
    tolerance = COUNT_TOLERANCE * max(1.0, nstates)
    lower, upper = levels.new_tensor(low), levels.new_tensor(high)
    mu = 0.5 * (lower + upper)
    best, smallest = mu, levels.new_tensor(math.inf)
    for _ in range(12):
        x = (levels - mu) / smearing.width
        value = smearing.occupation(x) @ weights - nstates
        slope = -(smearing.occupation_derivative(x) @ weights) / smearing.width
        # Once within rounding, stay: in a gap any further step only follows noise.
        closer = (value.abs() < smallest) & (smallest > tolerance)
        best = torch.where(closer, mu, best)
        smallest = torch.where(closer, value.abs(), smallest)
        lower = torch.where(value < 0, mu, lower)
        upper = torch.where(value > 0, mu, upper)
        step = mu - value / slope
        inside = torch.isfinite(step) & (step > lower) & (step < upper)
        mu = torch.where(inside, step, 0.5 * (lower + upper))
    return float(best)
