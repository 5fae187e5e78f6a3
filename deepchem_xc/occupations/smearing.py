"""Smearing functions: occupation, generalised entropy and slope as functions of (e - mu) / width.

Every smearing obeys ``entropy'(x) = x occupation'(x)``: the free energy is stationary with respect
to the occupations, as forces and Hellmann-Feynman gradients require. ``-TS`` of a state is
``-width * entropy(x)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

# Bounds of |x| beyond which exp(-x^2) and exp(-|x|) are zero or negligible in float64. Clamping
# keeps powers of x from overflowing, and so prevents NaN from 0 * inf.
_GAUSSIAN_CLAMP = 40.0
_FERMI_CLAMP = 1e4


@dataclass(frozen=True)
class Smearing(ABC):
    """A smeared step. Subclasses define `occupation`, `entropy` and `occupation_derivative`.

    Parameters
    ----------
    width : float
        Hartree (kT for Fermi-Dirac).

    Raises
    ------
    ValueError
        If the width is not a positive number.

    Examples
    --------
    All smearings obey this law:

    >>> x = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64, requires_grad=True)
    >>> smearings = [kind(0.01) for name, kind in SMEARINGS.items() if name != "fixed"]
    >>> slopes = [torch.autograd.grad(s.entropy(x).sum(), x)[0] for s in smearings]
    >>> all(torch.allclose(y, x * s.occupation_derivative(x)) for s, y in zip(smearings, slopes))
    True
    """

    width: float

    name: ClassVar[str]
    # Monotonic smearings are also symmetric: f(-x) = 1 - f(x).
    monotonic: ClassVar[bool] = True
    # Bound of |x| beyond which occupations are 0 or 1 and slopes 0, to well below rounding.
    reach: ClassVar[float] = 8.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width > 0):
            raise ValueError(
                f"the smearing width must be a positive number, got {self.width}; for integer "
                "occupations use {'name': 'fixed'}."
            )

    @property
    def keywords(self) -> dict[str, Any]:
        """What `make_smearing` takes to make the same, the width in Hartree.

        Examples
        --------
        >>> FermiDirac(0.01).keywords
        {'name': 'fermi-dirac', 'width': 0.01}
        >>> FixedOccupations().keywords
        {'name': 'fixed'}
        """
        return {"name": self.name, **(asdict(self) if self.width > 0.0 else {})}

    @abstractmethod
    def occupation(self, x: Tensor) -> Tensor:
        """Occupation of a state at ``x = (e - mu) / width``, 1 at -inf and 0 at +inf."""

    def log_occupation(self, x: Tensor) -> Tensor:
        """Logarithm of the occupation, for smearings without negative occupations.

        Fermi-Dirac and Gaussian smearing give it far beyond the underflow of the occupation.
        """
        return self.occupation(x).log()

    def log_occupation_derivative(self, x: Tensor) -> Tensor:
        """``d log_occupation / d x``."""
        return self.occupation_derivative(x) / self.occupation(x)

    @abstractmethod
    def entropy(self, x: Tensor) -> Tensor:
        """Generalised entropy: a state contributes ``-width * entropy(x)`` to the free energy."""

    @abstractmethod
    def occupation_derivative(self, x: Tensor) -> Tensor:
        """``d occupation / d x``; divide by the width for the slope in energy."""

    @property
    @abstractmethod
    def extrapolation_factor(self) -> float:
        """Factor that estimates the energy at zero width as ``free + factor * (-TS)``."""

    def extrapolate(self, free_energy: Tensor, entropy_energy: Tensor) -> Tensor:
        """Energy extrapolated to zero width, by the convention of GPAW and ASE.

        Parameters
        ----------
        free_energy : Tensor
            ``E - TS``, Hartree.
        entropy_energy : Tensor
            ``-TS``, Hartree.

        Returns
        -------
        Tensor
            Hartree.

        Notes
        -----
        Gaussian and Fermi-Dirac: ``(E + F) / 2``, off by the fourth power of the width.
        Methfessel-Paxton of order N: ``((N + 1) F + E) / (N + 2)``, which for N > 0 reduces, but
        does not remove, the error of F of order 2 N + 2. Marzari-Vanderbilt: F itself, whose error
        is of third order.

        References
        ----------
        M. J. Gillan, J. Phys. Condens. Matter 1, 689 (1989).
        G. Kresse, J. Furthmueller, Comput. Mater. Sci. 6, 15 (1996).
        """
        return free_energy + self.extrapolation_factor * entropy_energy


@dataclass(frozen=True)
class FixedOccupations(Smearing):
    """Integer occupations: a step, without width or entropy.

    Examples
    --------
    >>> FixedOccupations().occupation(torch.tensor([-1.0, 1.0])).tolist()
    [1.0, 0.0]
    """

    width: float = 0.0
    name: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        if self.width != 0:
            raise ValueError(f"fixed occupations have no width, got {self.width}.")

    def occupation(self, x: Tensor) -> Tensor:
        """1 up to and including the Fermi level, 0 above."""
        return (x <= 0).to(x.dtype)

    def entropy(self, x: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(x)

    def occupation_derivative(self, x: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(x)

    @property
    def extrapolation_factor(self) -> float:
        """Zero."""
        return 0.0


@dataclass(frozen=True)
class FermiDirac(Smearing):
    """``f = 1 / (1 + e^x)`` with the entropy of non-interacting fermions.

    References
    ----------
    N. D. Mermin, Phys. Rev. 137, A1441 (1965).

    Examples
    --------
    >>> FermiDirac(0.01).occupation(torch.tensor([-1e30, 0.0, 1e30])).tolist()
    [1.0, 0.5, 0.0]
    """

    name: ClassVar[str] = "fermi-dirac"
    reach: ClassVar[float] = 45.0

    def occupation(self, x: Tensor) -> Tensor:
        """``1 / (1 + e^x)``."""
        return torch.sigmoid(-x)

    def log_occupation(self, x: Tensor) -> Tensor:
        """``-ln(1 + e^x)``."""
        return torch.nn.functional.logsigmoid(-x)

    def log_occupation_derivative(self, x: Tensor) -> Tensor:
        """``-1 / (1 + e^-x)``."""
        return -torch.sigmoid(x)

    def entropy(self, x: Tensor) -> Tensor:
        """``-f ln f - (1 - f) ln (1 - f)``."""
        x = x.clamp(-_FERMI_CLAMP, _FERMI_CLAMP)
        log_sigmoid = torch.nn.functional.logsigmoid
        return -torch.sigmoid(-x) * log_sigmoid(-x) - torch.sigmoid(x) * log_sigmoid(x)

    def occupation_derivative(self, x: Tensor) -> Tensor:
        """``-f (1 - f)``."""
        return -torch.sigmoid(-x) * torch.sigmoid(x)

    @property
    def extrapolation_factor(self) -> float:
        """-1/2."""
        return -0.5


@dataclass(frozen=True)
class MethfesselPaxton(Smearing):
    """Expansion of the step in Hermite polynomials; order 0 is Gaussian smearing.

    ``f = erfc(x)/2 + sum_{n=1}^N A_n H_{2n-1}(x) e^{-x^2}``, ``A_n = (-1)^n / (n! 4^n sqrt(pi))``,
    entropy ``A_N H_{2N}(x) e^{-x^2} / 2``. From order 1 on, occupations may be negative or exceed
    one, and the number of electrons is not monotonic in the Fermi level.

    Parameters
    ----------
    width : float
        Hartree.
    order : int, optional
        N.

    References
    ----------
    M. Methfessel, A. T. Paxton, Phys. Rev. B 40, 3616 (1989).

    Examples
    --------
    >>> MethfesselPaxton(0.01).occupation(torch.zeros(1)).tolist()
    [0.5]
    """

    order: int = 1
    name: ClassVar[str] = "methfessel-paxton"
    monotonic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.order, bool) or self.order != int(self.order) or self.order < 0:
            raise ValueError(
                f"the order of Methfessel-Paxton smearing must be an integer >= 0, got "
                f"{self.order}."
            )

    def occupation(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x.clamp(-_GAUSSIAN_CLAMP, _GAUSSIAN_CLAMP)
        occupation = 0.5 * torch.erfc(x)
        if self.order:
            hermite = _hermite(2 * self.order - 1, x)
            series = sum(_coefficient(n) * hermite[2 * n - 1] for n in range(1, self.order + 1))
            occupation = occupation + series * torch.exp(-x * x)
        return occupation

    def entropy(self, x: Tensor) -> Tensor:
        """``A_N H_{2N}(x) exp(-x^2) / 2``."""
        x = x.clamp(-_GAUSSIAN_CLAMP, _GAUSSIAN_CLAMP)
        polynomial = _hermite(2 * self.order, x)[-1]
        return 0.5 * _coefficient(self.order) * polynomial * torch.exp(-x * x)

    def occupation_derivative(self, x: Tensor) -> Tensor:
        """``-sum_{n=0}^N A_n H_{2n}(x) exp(-x^2)``: a smeared delta function, with its sign."""
        x = x.clamp(-_GAUSSIAN_CLAMP, _GAUSSIAN_CLAMP)
        hermite = _hermite(2 * self.order, x)
        series = sum(_coefficient(n) * hermite[2 * n] for n in range(self.order + 1))
        return -series * torch.exp(-x * x)

    @property
    def extrapolation_factor(self) -> float:
        """``-1 / (N + 2)``."""
        return -1.0 / (self.order + 2)


@dataclass(frozen=True)
class Gaussian(MethfesselPaxton):
    """``f = erfc(x) / 2``.

    References
    ----------
    C.-L. Fu, K.-M. Ho, Phys. Rev. B 28, 5480 (1983).

    Examples
    --------
    >>> Gaussian(0.01).occupation(torch.zeros(1)).tolist()
    [0.5]
    """

    order: int = 0
    name: ClassVar[str] = "gaussian"
    monotonic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order != 0:
            raise ValueError("Gaussian smearing has order 0; use 'methfessel-paxton' for others.")

    def log_occupation(self, x: Tensor) -> Tensor:
        """``ln(erfc(x) / 2)``."""
        return torch.special.log_ndtr(-math.sqrt(2.0) * x)

    def log_occupation_derivative(self, x: Tensor) -> Tensor:
        """``-2 / (sqrt(pi) erfcx(x))``."""
        return -2.0 / (math.sqrt(math.pi) * torch.special.erfcx(x))


@dataclass(frozen=True)
class MarzariVanderbilt(Smearing):
    """Cold smearing: ``f = erfc(y)/2 + e^{-y^2} / sqrt(2 pi)`` with ``y = x + 1/sqrt(2)``.

    The form of 1999, as in GPAW and Quantum ESPRESSO (ABINIT's cold smearings are another
    polynomial family). Occupations exceed one below the Fermi level; none is negative.

    References
    ----------
    N. Marzari, D. Vanderbilt, A. De Vita, M. C. Payne, Phys. Rev. Lett. 82, 3296 (1999).

    Examples
    --------
    >>> bool(MarzariVanderbilt(0.01).occupation(torch.linspace(-9, 9, 99)).min() >= 0)
    True
    """

    name: ClassVar[str] = "marzari-vanderbilt"
    monotonic: ClassVar[bool] = False

    def occupation(self, x: Tensor) -> Tensor:
        """See the class."""
        y = x.clamp(-_GAUSSIAN_CLAMP, _GAUSSIAN_CLAMP) + math.sqrt(0.5)
        return 0.5 * torch.erfc(y) + torch.exp(-y * y) / math.sqrt(2 * math.pi)

    def entropy(self, x: Tensor) -> Tensor:
        """``y exp(-y^2) / sqrt(2 pi)``."""
        y = x.clamp(-_GAUSSIAN_CLAMP, _GAUSSIAN_CLAMP) + math.sqrt(0.5)
        return y * torch.exp(-y * y) / math.sqrt(2 * math.pi)

    def occupation_derivative(self, x: Tensor) -> Tensor:
        """``-(2 + sqrt(2) x) exp(-y^2) / sqrt(pi)``."""
        x = x.clamp(-_GAUSSIAN_CLAMP, _GAUSSIAN_CLAMP)
        y = x + math.sqrt(0.5)
        return -(2 + math.sqrt(2) * x) * torch.exp(-y * y) / math.sqrt(math.pi)

    @property
    def extrapolation_factor(self) -> float:
        """Zero: the free energy needs no extrapolation."""
        return 0.0


SMEARINGS: dict[str, type[Smearing]] = {
    kind.name: kind
    for kind in (FixedOccupations, FermiDirac, Gaussian, MethfesselPaxton, MarzariVanderbilt)
}


def _coefficient(n: int) -> float:
    return (-1) ** n / (math.factorial(n) * 4**n * math.sqrt(math.pi))


def _hermite(highest: int, x: Tensor) -> list[Tensor]:
    """Physicists' Hermite polynomials H_0 ... H_highest."""
    polynomials = [torch.ones_like(x), 2 * x]
    for n in range(1, highest):
        polynomials.append(2 * x * polynomials[n] - 2 * n * polynomials[n - 1])
    return polynomials[: highest + 1]
