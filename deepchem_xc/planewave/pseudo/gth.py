"""Goedecker-Teter-Hutter (GTH) pseudopotentials, analytic in reciprocal space.

References: S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54, 1703 (1996); C. Hartwigsen,
S. Goedecker, J. Hutter, Phys. Rev. B 58, 3641 (1998); M. Krack, Theor. Chem. Acc. 114, 145
(2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import Channel, Pseudopotential
from .files import read_count, read_number
from .gaussians import gaussian_coefficients, polynomial
from .pseudo_atom import PseudoAtom, solve_pseudo_atom

__all__ = ["GTHParameters", "GTHPseudopotential", "parse_gth"]


@dataclass(frozen=True)
class GTHParameters:
    """The numbers of one entry of a GTH file, as written there.

    Attributes
    ----------
    electrons : tuple of int
        Valence electrons per angular momentum s, p, d, ...
    local_radius : float
        r_loc in bohr.
    local_coefficients : tuple of float
        C_1 ... C_4 in Hartree.
    projectors : tuple of (int, float, list of list of float)
        For each channel that has projectors: l, r_l in bohr, matrix h_ij in Hartree.
    """

    electrons: tuple[int, ...]
    local_radius: float
    local_coefficients: tuple[float, ...]
    projectors: tuple[tuple[int, float, tuple[tuple[float, ...], ...]], ...]


def parse_gth(lines: Sequence[str]) -> GTHParameters:
    """Read the lines that follow the header of an entry in CP2K's GTH format.

    Parameters
    ----------
    lines : sequence of str
        The entry without its header line; comments start with #.

    Returns
    -------
    GTHParameters

    Raises
    ------
    ValueError
        If the entry is damaged, or is not a plain GTH potential (has a non-linear core correction
        or spin-orbit coupling).

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import parse_gth
    >>> entry = parse_gth(["2", "0.2 2 -9.1 1.7", "1", "0.3 1 5.6"])
    >>> entry.electrons, entry.local_radius, entry.projectors
    ((2,), 0.2, ((0, 0.3, ((5.6,),)),))
    """
    # PySCF's parser of the same format ignores everything after the projectors (core corrections,
    # spin-orbit terms) and accepts NaN and negative radii; here they are refused.
    rows = [line.split("#", 1)[0].split() for line in lines]
    rows = [row for row in rows if row]
    try:
        electrons = tuple(read_count(x, "electrons") for x in rows[0])
        numbers = iter([x for row in rows[1:] for x in row])
        local_radius = read_number(next(numbers), "r_loc")
        coefficients = [
            read_number(next(numbers), "a coefficient of the local potential")
            for _ in range(read_count(next(numbers), "number of coefficients"))
        ]
        projectors = []
        for l in range(read_count(next(numbers), "number of channels")):
            radius = read_number(next(numbers), f"r_{l}")
            n = read_count(next(numbers), f"number of projectors of l={l}")
            if n > 0 and radius <= 0:
                raise ValueError(f"r_{l} is {radius}, not positive")
            matrix = [[0.0] * n for _ in range(n)]
            for i in range(n):
                for j in range(i, n):
                    matrix[i][j] = matrix[j][i] = read_number(next(numbers), f"h_ij of l={l}")
            if n > 0:
                projectors.append((l, radius, tuple(tuple(row) for row in matrix)))
    except (StopIteration, ValueError, IndexError) as error:
        raise ValueError(
            f"damaged GTH entry ({str(error) or 'it ends too early'}); expected the lines "
            "n_elec(s) n_elec(p) ... / r_loc n C_1..C_n / number of channels / r_l n h_11 ..."
        ) from error
    left = next(numbers, None)
    if left is not None:
        raise ValueError(
            f"unexpected {left!r} after the projectors of a GTH entry; entries with a non-linear "
            "core correction or spin-orbit coupling are not supported"
        )
    if not electrons or sum(electrons) <= 0 or local_radius <= 0:
        raise ValueError(
            f"GTH entry with electrons {electrons} and r_loc {local_radius}: both must be positive"
        )
    return GTHParameters(electrons, local_radius, tuple(coefficients), tuple(projectors))


class GTHPseudopotential(Pseudopotential):
    r"""A GTH pseudopotential.

    In real space, with x = r / r_loc,

    .. math::

        V(r) = -\frac{Z}{r} \mathrm{erf}\frac{x}{\sqrt 2}
               + e^{-x^2/2} (C_1 + C_2 x^2 + C_3 x^4 + C_4 x^6)

        p_i^l(r) = \frac{\sqrt 2\, r^{l+2(i-1)} e^{-r^2/2r_l^2}}
                        {r_l^{l+(4i-1)/2} \sqrt{\Gamma(l+(4i-1)/2)}}

    (Hartwigsen, Goedecker, Hutter, eqs. 1 and 3); the transforms are polynomials in q^2 times a
    Gaussian, for any l and any number of projectors.

    Parameters
    ----------
    symbol : str
        Chemical symbol.
    name : str
        Name of the entry, such as "GTH-PBE-q4".
    parameters : GTHParameters
        Its numbers.
    functional : str or None
        Functional for which it was made.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> si = load_pseudopotentials("gth-pbe", ["Si"])["Si"]
    >>> si.valence, len(si.channels)
    (4.0, 2)
    >>> q2 = torch.tensor([1e-6], dtype=torch.float64)
    >>> abs((si.local(q2) + 16 * torch.pi / q2).item() - si.alpha) < 1e-4
    True
    """

    def __init__(
        self, symbol: str, name: str, parameters: GTHParameters, functional: str | None
    ) -> None:
        self.symbol = symbol
        self.name = name
        self.functional = functional
        self.parameters = parameters
        self.valence = float(sum(parameters.electrons))

        radius = parameters.local_radius
        local = np.zeros(max(len(parameters.local_coefficients), 1))
        for n, c in enumerate(parameters.local_coefficients):
            local[: n + 1] += c * np.array(gaussian_coefficients(0, n, radius)) / radius ** (2 * n)
        self._local_radius = radius
        self._local = local.tolist()
        # -4 pi Z/q2 exp(-t/2) + 4 pi Z/q2 tends to 2 pi Z r_loc^2.
        self.alpha = 2.0 * math.pi * self.valence * radius**2 + self._local[0]

        channels = []
        self._projectors: list[tuple[float, list[list[float]]]] = []
        for l, r_l, matrix in parameters.projectors:
            channels.append(Channel(l, torch.tensor(matrix, dtype=torch.float64)))
            self._projectors.append((r_l, [_projector(l, i, r_l) for i in range(len(matrix))]))
        self.channels = tuple(channels)

    def local(self, q2: Tensor) -> Tensor:
        """Local potential: see `Pseudopotential.local`."""
        t = q2 * self._local_radius**2
        coulomb = -4.0 * math.pi * self.valence / q2
        return torch.exp(-0.5 * t) * (coulomb + polynomial(self._local, t))

    def projectors(self, channel_index: int, q2: Tensor) -> Tensor:
        """Projectors of one channel: see `Pseudopotential.projectors`."""
        radius, coefficients = self._projectors[channel_index]
        t = q2 * radius**2
        return torch.exp(-0.5 * t) * torch.stack([polynomial(c, t) for c in coefficients])

    def definition(self) -> dict[str, NDArray[Any]]:
        """Numbers of the entry: see `Pseudopotential.definition`."""
        given = self.parameters
        arrays = {
            "gth": np.array([self.valence, given.local_radius]),
            "coefficients": np.array(given.local_coefficients, dtype=np.float64),
        }
        for l, radius, matrix in given.projectors:
            arrays[f"radius of l={l}"] = np.array(radius, dtype=np.float64)
            arrays[f"coupling of l={l}"] = np.array(matrix, dtype=np.float64)
        # Zero has two signs.
        return {name: array + 0.0 for name, array in arrays.items()}

    @cached_property
    def atom(self) -> PseudoAtom:
        """The potential's own atom: see `Pseudopotential.atom`."""
        projectors = [
            (l, partial(_radial_projectors, l, radius, len(matrix)), np.array(matrix))
            for l, radius, matrix in self.parameters.projectors
        ]
        return solve_pseudo_atom(
            partial(_radial_local, self.valence, self.parameters),
            projectors,
            self.parameters.electrons,
        )


def _radial_local(valence: float, parameters: GTHParameters, r: NDArray) -> NDArray:
    """Local potential in real space."""
    from scipy.special import erf

    x = np.maximum(r, 1e-9) / parameters.local_radius
    short = np.polynomial.polynomial.polyval(x * x, parameters.local_coefficients or (0.0,))
    coulomb = -valence * erf(x / math.sqrt(2.0)) / (x * parameters.local_radius)
    return coulomb + np.exp(-0.5 * x * x) * short


def _radial_projectors(l: int, radius: float, n: int, r: NDArray) -> NDArray:
    """Projectors of one channel in real space, times r, shape (n, nr)."""
    envelope = math.sqrt(2.0) * np.exp(-0.5 * (r / radius) ** 2)
    half = [l + 2 * i + 1.5 for i in range(n)]
    return np.array(
        [
            envelope * r ** (l + 2 * i + 1) / (radius**h * math.sqrt(math.gamma(h)))
            for i, h in enumerate(half)
        ]
    )


def _projector(l: int, i: int, radius: float) -> list[float]:
    """Coefficients, in t = q^2 r_l^2, of projector i = 0, 1, ... divided by q^l exp(-t/2)."""
    half = l + 2 * i + 1.5  # l + (4i-1)/2 in the paper, where i starts at one
    norm = math.sqrt(2.0) / (radius**half * math.sqrt(math.gamma(half)))
    return [norm * c for c in gaussian_coefficients(l, i, radius)]
