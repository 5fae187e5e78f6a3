"""The Fermi level: safeguarded root of the number of electrons."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.occupations.smearing import Gaussian, Smearing

# Trial Fermi levels per round: the bracket shrinks by SECTIONS - 1 at the price of one batched
# evaluation and one transfer to the host.
_SECTIONS = 33
_RESOLUTION = 0.1  # in widths: where sections hand over to Newton
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
    Filling the sorted levels gives a bracket; batched sections narrow it, and safeguarded Newton
    steps finish, all on the device and with the states near the bracket only. Inside a gap, where
    the count is flat to rounding, the level is the middle of the flat part. With Methfessel-Paxton
    and Marzari-Vanderbilt smearing the count is not monotonic and several solutions may exist; the
    one nearest to the Fermi level of Gaussian smearing of the same width with a rising count is
    taken, so that it follows the eigenvalues smoothly wherever it can. F. J. dos Santos,
    N. Marzari, Phys. Rev. B 107, 195122 (2023) start from the same level.

    Examples
    --------
    >>> levels = torch.tensor([-0.1, 0.1], dtype=torch.float64)
    >>> weights = torch.ones(2, dtype=torch.float64)
    >>> abs(find_fermi_level(levels, weights, 1.0, Gaussian(0.01))) < 1e-12
    True
    """
    count = _Count(levels, weights, nstates)
    guess = smearing if smearing.monotonic else Gaussian(smearing.width)
    low, high = _section(count, guess)
    if not smearing.monotonic:
        low, high = _nearest_crossing(count, smearing, 0.5 * (low + high))
    return _newton(count, smearing, low, high)


class _Count:
    """Filled states less `nstates`, as a function of the Fermi level."""

    def __init__(self, levels: Tensor, weights: Tensor, nstates: float) -> None:
        self.levels, order = levels.sort()
        self.weights = weights[order]
        self.nstates = nstates
        self.tolerance = COUNT_TOLERANCE * max(1.0, nstates)
        self.filled = torch.nn.functional.pad(self.weights.cumsum(0), (1, 0))  # by the i lowest

    def frontier(self) -> tuple[float, float]:
        """Highest level with electrons and lowest level with room, at zero width."""
        slack = 1e-9
        full = self.filled[1:]
        edges = full.new_tensor([self.nstates - slack, self.nstates + slack])
        index = torch.searchsorted(full, edges).clamp(max=len(full) - 1)
        homo, lumo = self.levels[index].tolist()
        return homo, lumo

    def near(self, low: float, high: float, smearing: Smearing) -> tuple[Tensor, Tensor, Tensor]:
        """Levels partly filled for some mu in [low, high], their weights, excess of those below.

        All others are full or empty to rounding.
        """
        margin = smearing.reach * smearing.width
        ends = self.levels.new_tensor([low - margin, high + margin])
        first, last = torch.searchsorted(self.levels, ends).tolist()
        return self.levels[first:last], self.weights[first:last], self.filled[first] - self.nstates

    def excess(self, trial: Tensor, low: float, high: float, smearing: Smearing) -> Tensor:
        """Excess (m,) at trial levels (m,) between `low` and `high`."""
        levels, weights, below = self.near(low, high, smearing)
        x = (levels - trial[:, None]) / smearing.width
        return smearing.occupation(x) @ weights + below


def _section(count: _Count, smearing: Smearing) -> tuple[float, float]:
    """Bracket the zero of a rising count, down to a fraction of the width or a gap."""
    margin = smearing.reach * smearing.width
    homo, lumo = count.frontier()
    low, high = homo - margin, lumo + margin
    fractions = torch.linspace(0, 1, _SECTIONS).to(count.levels)
    while high - low > _RESOLUTION * smearing.width:
        trial = low + (high - low) * fractions
        value = count.excess(trial, low, high, smearing)
        below = torch.where(value < -count.tolerance, trial, low).max()
        above = torch.where(value > count.tolerance, trial, high).min()
        new_low, new_high = torch.stack([below, above]).tolist()
        flat = new_high - new_low > 0.5 * (high - low)
        low, high = new_low, new_high
        if flat:
            break  # a gap: the excess is zero, to rounding, throughout what is left
    return low, high


def _nearest_crossing(count: _Count, smearing: Smearing, centre: float) -> tuple[float, float]:
    """Bracket of the zero with rising count nearest to `centre`."""
    spacing = 0.05 * smearing.width
    reach = 16
    while True:
        steps = torch.arange(-reach, reach + 1).to(count.levels)
        trial = centre + spacing * steps
        ends = (centre - spacing * reach, centre + spacing * reach)
        value = torch.cat([count.excess(part, *ends, smearing) for part in trial.split(_SECTIONS)])
        below, here, above = value[reach - 1 : reach + 2].tolist()
        if abs(here) <= count.tolerance and above >= below:  # in a gap, not on a falling branch
            return centre, centre
        rising = ((value[:-1] <= 0) & (value[1:] >= 0)).nonzero().flatten()
        if len(rising):
            nearest = int(rising[(rising - reach + 0.5).abs().argmin()])
            low, high = trial[nearest : nearest + 2].tolist()
            return low, high
        # The count tends to zero and to all states far out, so a rising zero exists.
        reach *= 4


def _newton(count: _Count, smearing: Smearing, low: float, high: float) -> float:
    """Newton steps kept inside a shrinking bracket; a fixed number, without host transfers."""
    levels, weights, below = count.near(low, high, smearing)
    lower, upper = levels.new_tensor(low), levels.new_tensor(high)
    mu = 0.5 * (lower + upper)
    best, smallest = mu, levels.new_tensor(math.inf)
    for _ in range(12):
        x = (levels - mu) / smearing.width
        value = smearing.occupation(x) @ weights + below
        slope = -(smearing.occupation_derivative(x) @ weights) / smearing.width
        # Once within rounding, stay: in a gap any further step only follows noise.
        closer = (value.abs() < smallest) & (smallest > count.tolerance)
        best = torch.where(closer, mu, best)
        smallest = torch.where(closer, value.abs(), smallest)
        lower = torch.where(value < 0, mu, lower)
        upper = torch.where(value > 0, mu, upper)
        step = mu - value / slope
        inside = torch.isfinite(step) & (step > lower) & (step < upper)
        mu = torch.where(inside, step, 0.5 * (lower + upper))
    return float(best)
