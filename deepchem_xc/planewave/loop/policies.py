"""Policies of the loop: effort, precision, release of the moment, localised levels.

Policies change the path to the ground state and the time it takes, not the result.
docs/constants.md lists all defaults and what they were measured on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from deepchem_xc.planewave.eigen.states import EXPANSIONS
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.values import real_number, whole_number

# Residual of the highest band, Hartree, if a multiplet is cut there.
_CUT_RESIDUAL = 1e-4


def _check(policy: Any, **least: int) -> None:
    """Convert the fields of a policy to plain numbers.

    Raises
    ------
    ValueError
        If a field in `least` is not a whole number of at least its value there, or if another
        field is negative.
    """
    for name in (entry.name for entry in fields(policy)):
        value, label = getattr(policy, name), f"{type(policy).__name__}.{name}"
        if name in least:
            number: float = whole_number(value, label, minimum=least[name])
        else:
            number = real_number(value, label)
            if not number >= 0.0:
                raise ValueError(
                    f"{label} must be zero or positive, got {number}; "
                    f"{getattr(type(policy), name)} is the default."
                )
        object.__setattr__(policy, name, number)


@dataclass(frozen=True)
class Effort:
    """Accuracy of the states of one potential.

    Parameters
    ----------
    fraction : float
        Wanted residuals, Hartree, in units of the last density error: more effort would be wasted
        on a potential that is about to change.
    largest_error : float
        Largest density error used for that, electrons per valence electron.
    settled : float
        With a supplied density, the first potential's orbitals are refined until their residuals,
        Hartree, fall to this multiple of the density error: little of that error then comes from
        them.
    settled_falling : float
        The same while sweeps still reduce the density error: most of it then comes from the
        orbitals, and such a step would spoil the mixing until its history is over.
    good : float
        Residual, Hartree, that is small enough for that whatever the density error.
    settling_sweeps : int
        Largest number of sweeps for that.
    expansions : int
        Expansions of Davidson's subspace in a sweep over the bands.
    highest : float
        Electrons in the highest band above which bands are added, unless their number was given;
        tighter convergence lowers it. Derivatives need 2e-6 or less.
    multiplets : float
        Part of the bands that may be added at the start where their number, unless it was given,
        cuts a multiplet: without a close level above them, bands converge in fewer steps.
    empty : float
        Residual of the empty bands of a result, Hartree; that of the highest may be larger.

    Raises
    ------
    ValueError
        For negative values, or numbers of sweeps or expansions that are not whole or below 1.

    Examples
    --------
    >>> Effort().residual(1e-3)
    3e-05
    """

    fraction: float = 0.03
    largest_error: float = 0.1
    settled: float = 1.0
    settled_falling: float = 0.1
    good: float = 1e-5
    settling_sweeps: int = 6
    expansions: int = EXPANSIONS
    highest: float = 1e-6
    multiplets: float = 0.1
    empty: float = 3e-4

    def __post_init__(self) -> None:
        _check(self, settling_sweeps=1, expansions=1)

    def residual(self, density_error: float) -> float:
        """Wanted residual after a step with this density error, Hartree."""
        return self.fraction * min(density_error, self.largest_error)

    def settling_residual(self, density_error: float, falling: bool = False) -> float:
        """Residual at which orbitals are good enough for a supplied density, Hartree.

        A largest residual of 1e-5 Ha changes the density by 4e-7 (Al) to 1e-6 (silicon) electrons
        per electron, so that one as large as the density error hardly adds to it.

        Parameters
        ----------
        density_error : float
            Density error of the last sweep, electrons per valence electron.
        falling : bool, optional
            Whether that sweep reduced the error.

        Examples
        --------
        >>> Effort().settling_residual(1e-3), Effort().settling_residual(1e-9)
        (0.001, 1e-05)
        >>> Effort().settling_residual(1e-3, falling=True)
        0.0001
        """
        settled = self.settled_falling if falling else self.settled
        return max(settled * min(density_error, self.largest_error), self.good)

    def spare(self, orbital_tolerance: float) -> float:
        """Largest occupation of the highest band for a residual tolerance in Hartree, in electrons.

        Residuals count times the root of the occupation, and that of the highest band may be large.

        Examples
        --------
        >>> [f"{Effort().spare(tolerance):.0e}" for tolerance in (1e-5, 1e-8)]
        ['1e-06', '1e-08']
        """
        return min(self.highest, (orbital_tolerance / _CUT_RESIDUAL) ** 2)


@dataclass(frozen=True)
class Precision:
    """Which steps use single precision: those that satisfy all of the first three conditions.

    Parameters
    ----------
    residual : float
        The wanted residual is above this, Hartree.
    errors : float
        The density error is above this multiple of the error that ends the loop.
    steps : int
        There have been fewer steps than this; 0 for double precision throughout.
    start : float
        Residual, Hartree, of any band except the highest above which starting orbitals are first
        improved in single precision: more accurate ones would lose digits that the loop would have
        to recover.

    Raises
    ------
    ValueError
        For negative values, or a number of steps that is not whole.

    Examples
    --------
    >>> Precision().is_single(1e-4, 3e-3, Convergence(), steps=2)
    True
    >>> Precision(steps=0).is_single(1e-4, 3e-3, Convergence(), steps=2)
    False
    """

    residual: float = 5e-6
    errors: float = 5.0
    steps: int = 20
    start: float = 1e-3

    def __post_init__(self) -> None:
        _check(self, steps=0)

    def is_single(
        self, residual: float, density_error: float, convergence: Convergence, steps: int
    ) -> bool:
        """Whether the next step uses single precision.

        Parameters
        ----------
        residual : float
            Wanted residual, Hartree.
        density_error : float
            Density error of the last step, electrons per valence electron.
        convergence : Convergence
            Criteria that end the loop.
        steps : int
            Number of steps so far.
        """
        return (
            residual > self.residual
            and density_error > self.errors * convergence.density
            and steps < self.steps
        )

    def why_single(self, maxiter: int) -> str:
        """The reason why the last of `maxiter` steps was in single precision, and what to change.

        Examples
        --------
        >>> print(Precision(steps=1000).why_single(100).partition(":")[0])
        The last step was still in single precision, as policies.precision asks
        """
        return (
            "The last step was still in single precision, as policies.precision asks: the loop "
            f"ends only after one in double precision. In {self}, choose steps below maxiter "
            f"({maxiter}), or larger residual and errors; {Precision()} is the default, and "
            "Precision(steps=0) means double precision throughout. "
        )


@dataclass(frozen=True)
class MomentRelease:
    """When the total magnetic moment of the start is released.

    Parameters
    ----------
    error : float
        Density error, electrons per valence electron, below which it is released.
    step : int
        Step, counted from 1, after which it is released in any case.

    Raises
    ------
    ValueError
        For a negative error, or a step that is not a positive whole number.

    Examples
    --------
    >>> MomentRelease(error=1e-3)
    MomentRelease(error=0.001, step=8)
    """

    error: float = 1e-2
    step: int = 8

    def __post_init__(self) -> None:
        _check(self, step=1)

    def why_held(self, maxiter: int) -> str:
        """The reason why the moment was held in the last of `maxiter` steps, and what to change.

        Examples
        --------
        >>> print(MomentRelease(step=1000).why_held(100).partition(":")[0])
        The magnetic moment of the start was still held in the last step, as policies.moment asks
        """
        return (
            "The magnetic moment of the start was still held in the last step, as policies.moment "
            f"asks: the loop ends only after its release. In {self}, choose a step below maxiter "
            f"({maxiter}), or a larger error; {MomentRelease()} is the default. "
        )


@dataclass(frozen=True)
class LocalisedLevels:
    """When, and how far, partly filled localised levels are made self-consistent first.

    Errors are density errors, electrons per valence electron. `Mixing` decides whether levels are
    localised and whether they are relaxed at all.

    Parameters
    ----------
    start : float
        Error above which orbitals are relaxed among each other.
    steps : int
        First step in which that may begin.
    stalled : int
        Step from which on orbitals are relaxed, localised or not, if `patience` steps have not
        reduced an error above `near` to the fraction `reduction`: levels of small molecules fill a
        large part of a small cell.
    end : float
        Error below which relaxing ends.
    near : float
        Error below which densities of relaxed orbitals are mixed instead of used unchanged.
    patience : int
        Number of steps with a falling error after which they are mixed below `start` already.
    reduction : float
        Mixing ends if it does not reduce the error to this fraction in `patience` steps.
    shortest : float
        Smallest step: steps are halved when the free energy rises.
    slope : float
        Fraction of its initial value to which a step reduces the gradient of the free energy.
    evaluations : int
        Densities to try for that before the variables are rescaled.
    rounds : int
        Largest number of such rounds.

    Raises
    ------
    ValueError
        For negative values, or counts that are not positive whole numbers.

    Examples
    --------
    >>> LocalisedLevels(rounds=8).evaluations
    12
    """

    start: float = 3e-2
    steps: int = 3
    stalled: int = 6
    end: float = 1e-5
    near: float = 1e-3
    patience: int = 4
    reduction: float = 0.3
    shortest: float = 0.25
    slope: float = 0.02
    evaluations: int = 12
    rounds: int = 4

    def __post_init__(self) -> None:
        _check(self, steps=1, stalled=1, patience=1, evaluations=1, rounds=1)


@dataclass(frozen=True)
class Policies:
    """All policies of the loop except `Mixing` and `Convergence`.

    Parameters
    ----------
    effort : Effort
        Accuracy of the states of a step.
    precision : Precision
        Which steps use single precision.
    moment : MomentRelease
        How long the magnetic moment of the start is held.
    localised : LocalisedLevels
        Treatment of partly filled localised levels.

    Raises
    ------
    ValueError
        If one of them has another type.

    Examples
    --------
    Double precision throughout, with the other policies at their defaults:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> double = Policies(precision=Precision(steps=0))
    >>> one, other = (scf(bulk("Si"), ecut=100.0, policies=p) for p in (double, None))
    >>> bool(abs(one.free_energy - other.free_energy) < 1e-7)
    True
    """

    effort: Effort = field(default_factory=Effort)
    precision: Precision = field(default_factory=Precision)
    moment: MomentRelease = field(default_factory=MomentRelease)
    localised: LocalisedLevels = field(default_factory=LocalisedLevels)

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(
                    f"Policies.{name} must be of the class {kind.__name__}, got "
                    f"{getattr(self, name)!r}."
                )

    @classmethod
    def of(cls, given: Policies | None) -> Policies:
        """Return the given policies, or the defaults for None.

        Raises
        ------
        ValueError
            For any other type.

        Examples
        --------
        >>> Policies.of(None) == Policies()
        True
        """
        if given is None:
            return cls()
        if not isinstance(given, Policies):
            raise ValueError(
                f"policies = {given!r} must be a Policies object, for example "
                "Policies(precision=Precision(steps=0)); both are in "
                "deepchem_xc.planewave.loop.policies."
            )
        return given


_KINDS = {
    "effort": Effort,
    "precision": Precision,
    "moment": MomentRelease,
    "localised": LocalisedLevels,
}
