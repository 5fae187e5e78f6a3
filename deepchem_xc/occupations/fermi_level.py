"""The Fermi level, from a safeguarded root search on the electron count."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.occupations.smearing import Gaussian, Smearing

# Trial Fermi levels per round: the bracket shrinks by a factor _SECTIONS - 1 at the cost of one
# batched evaluation and one transfer to the host.
_SECTIONS = 33
_RESOLUTION = 0.1  # bracket, in widths, at which Newton steps take over
# Relative tolerance for equal electron counts: some ten roundings of the sum.
COUNT_TOLERANCE = 1e-14
# Relative tolerance for a cumulative sum of many weights to be whole; it has more roundings.
_WHOLE = 1e-13
# Gap, in widths, from which electrons above it and holes below it are counted separately.
_WIDE = 6.0
# Distance from both edges of a gap, in widths, beyond which levels contribute nothing.
_NEAR_EDGES = 45.0
_EDGE_STEPS = 30


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
    steps finish, all on the device and only with the states near the bracket. Inside a gap the
    count is flat to rounding, but the equation is not: there are as many electrons above the gap
    as holes below it, and the logarithms of both are known. With Fermi-Dirac smearing the solution
    is the middle of the gap plus ``width / 2 * ln(w_homo / w_lumo)``, as in semiconductor
    textbooks.

    With Methfessel-Paxton and Marzari-Vanderbilt smearing the count is not monotonic and several
    solutions may exist. Among those with a rising count, the one nearest to the Fermi level of
    Gaussian smearing with the same width is taken, so that it follows the eigenvalues smoothly
    wherever it can; where the count is flat around that level, the level itself is taken. F. J.
    dos Santos, N. Marzari, Phys. Rev. B 107, 195122 (2023) start from the same level.

    Examples
    --------
    >>> levels = torch.tensor([-0.1, 0.1], dtype=torch.float64)
    >>> weights = torch.ones(2, dtype=torch.float64)
    >>> abs(find_fermi_level(levels, weights, 1.0, Gaussian(0.01))) < 1e-12
    True
    """
    return _solve(_Count(levels, weights, nstates), smearing).level


def fermi_level_shares(
    levels: Tensor, weights: Tensor, nstates: float, smearing: Smearing
) -> Tensor:
    """Derivative of `find_fermi_level` with respect to the levels, (n,); its sum is 1.

    Parameters
    ----------
    levels, weights, nstates, smearing
        As for `find_fermi_level`.

    Examples
    --------
    In a gap, each edge has half of it:

    >>> levels = torch.tensor([-0.3, -0.1, 0.1, 0.1], dtype=torch.float64)
    >>> weights = torch.ones(4, dtype=torch.float64)
    >>> print([f"{x:.2f}" for x in fermi_level_shares(levels, weights, 2.0, Gaussian(1e-4))])
    ['0.00', '0.50', '0.25', '0.25']
    """
    count = _Count(levels, weights, nstates)
    level, law, edge = _solve(count, smearing)
    if edge is None:
        slope = law.occupation_derivative((levels - level) / law.width) * weights
    else:
        slope = torch.zeros_like(levels)
        gap = _Gap(count, law, edge)
        slope[count.order[gap.first : gap.last]] = torch.cat(gap.at(level)[1])
    return slope / slope.sum()


class _Solution(NamedTuple):
    """A Fermi level and the equation that it solves."""

    level: float
    law: Smearing
    """Gaussian smearing where the count of the requested one is flat."""
    edge: int | None
    """Number of levels below the gap that contains it; None outside gaps."""


def _solve(count: _Count, smearing: Smearing) -> _Solution:
    guess = smearing if smearing.monotonic else Gaussian(smearing.width)
    edge = count.gap(guess)
    if edge is None:
        low, high = _section(count, guess)
    else:
        low = high = _Gap(count, guess, edge).level()
    if not smearing.monotonic:
        centre = 0.5 * (low + high)
        low, high = _nearest_crossing(count, smearing, centre)
        if edge is not None and low == high == centre and count.is_flat(centre, smearing):
            return _Solution(centre, guess, edge)
    elif edge is not None:
        return _Solution(low, guess, edge)
    return _Solution(_newton(count, smearing, low, high), smearing, None)


class _Count:
    """Filled states minus `nstates`, as a function of the Fermi level."""

    def __init__(self, levels: Tensor, weights: Tensor, nstates: float) -> None:
        self.levels, self.order = levels.sort()
        self.weights = weights[self.order]
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

    def gap(self, smearing: Smearing) -> int | None:
        """Number of levels below the gap between full and empty ones; None without a gap."""
        distance, place = (self.filled - self.nstates).abs().min(0)
        edge = int(place)
        if float(distance) > _WHOLE * max(1.0, self.nstates) or not 0 < edge < len(self.levels):
            return None
        homo, lumo = self.levels[edge - 1 : edge + 1].tolist()
        return edge if lumo - homo > _WIDE * smearing.width else None

    def is_flat(self, level: float, smearing: Smearing) -> bool:
        """Whether no state is partly filled, to rounding."""
        slope = smearing.occupation_derivative((self.levels - level) / smearing.width)
        return float((slope * self.weights).abs().sum()) < 100.0 * self.tolerance

    def near(self, low: float, high: float, smearing: Smearing) -> tuple[Tensor, Tensor, Tensor]:
        """Levels that may be partly filled for mu in [low, high], weights, excess of those below.

        All other levels are full or empty to rounding.
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


class _Gap:
    """Logarithms of the electrons above a gap and the holes below it."""

    def __init__(self, count: _Count, smearing: Smearing, edge: int) -> None:
        levels, self.width = count.levels, smearing.width
        self.homo, self.lumo = levels[edge - 1 : edge + 1].tolist()
        reach = _NEAR_EDGES * self.width
        ends = levels.new_tensor([self.homo - reach, self.lumo + reach])
        self.first, self.last = torch.searchsorted(levels, ends).tolist()
        self.below, self.above = levels[self.first : edge], levels[edge : self.last]
        self.weights = count.weights[self.first : edge], count.weights[edge : self.last]
        self.smearing = smearing

    def at(self, level: Tensor | float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logarithm of electrons per hole, and its derivatives by level times the width."""
        logarithms, slopes = [], []
        for sign, levels, weights in zip(
            (-1.0, 1.0), (self.below, self.above), self.weights, strict=True
        ):
            x = sign * (levels - level) / self.width
            parts = self.smearing.log_occupation(x) + weights.log()
            logarithms.append(parts.logsumexp(0))
            slopes.append(parts.softmax(0) * self.smearing.log_occupation_derivative(x))
        return logarithms[1] - logarithms[0], (slopes[0], slopes[1])

    def level(self) -> float:
        """Fermi level with as many electrons as holes (Hartree)."""
        reach = _NEAR_EDGES * self.width
        lower = self.below.new_tensor(self.homo - reach)
        upper = self.below.new_tensor(self.lumo + reach)
        mu = self.below.new_tensor(0.5 * (self.homo + self.lumo))
        for _ in range(_EDGE_STEPS):
            value, slopes = self.at(mu)
            lower = torch.where(value < 0, mu, lower)
            upper = torch.where(value > 0, mu, upper)
            step = mu + self.width * value / torch.cat(slopes).sum()
            inside = torch.isfinite(step) & (step >= lower) & (step <= upper)
            mu = torch.where(inside, step, 0.5 * (lower + upper))
        return float(mu)


def _section(count: _Count, smearing: Smearing) -> tuple[float, float]:
    """Bracket the zero of a rising count, down to a fraction of the width."""
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
            break  # the excess is zero, to rounding, everywhere in the bracket
    return low, high


def _nearest_crossing(count: _Count, smearing: Smearing, centre: float) -> tuple[float, float]:
    """Bracket of the zero nearest to `centre` at which the count rises."""
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
        # Far out the count tends to no states and to all states, so a rising zero exists.
        reach *= 4


def _newton(count: _Count, smearing: Smearing, low: float, high: float) -> float:
    """Fixed number of Newton steps inside a shrinking bracket, without host transfers."""
    levels, weights, below = count.near(low, high, smearing)
    lower, upper = levels.new_tensor(low), levels.new_tensor(high)
    mu = 0.5 * (lower + upper)
    best, smallest = mu, levels.new_tensor(math.inf)
    for _ in range(12):
        x = (levels - mu) / smearing.width
        value = smearing.occupation(x) @ weights + below
        slope = -(smearing.occupation_derivative(x) @ weights) / smearing.width
        # Stop at rounding: in a gap any further step would only follow noise.
        closer = (value.abs() < smallest) & (smallest > count.tolerance)
        best = torch.where(closer, mu, best)
        smallest = torch.where(closer, value.abs(), smallest)
        lower = torch.where(value < 0, mu, lower)
        upper = torch.where(value > 0, mu, upper)
        step = mu - value / slope
        inside = torch.isfinite(step) & (step > lower) & (step < upper)
        mu = torch.where(inside, step, 0.5 * (lower + upper))
    return float(best)
