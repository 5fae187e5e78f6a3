"""What steers the loop: effort, precision, release of the moment, localised levels.

Policies change the way to the ground state and the time that it takes, not where it is. All of
their defaults, with what they were measured on, stand in docs/constants.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from deepchem_xc.planewave.eigen.states import EXPANSIONS
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.values import real_number, whole_number

# Residual, Hartree, that the highest band keeps where it is cut out of a multiplet.
_CUT_RESIDUAL = 1e-4


def _check(policy: Any, **least: int) -> None:
    """Make the fields of a policy plain numbers.

    Raises
    ------
    ValueError
        If one of `least` is not a whole number of at least that, or another one is negative.
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
    """How well the states of one potential are computed.

    Parameters
    ----------
    fraction : float
        Residuals aimed at, Hartree, in units of the last density error: more effort than this is
        wasted on a potential that is about to change.
    largest_error : float
        Density error that counts at most, electrons per valence electron.
    good : float
        Residual, Hartree, at which orbitals are good enough in the potential of a density that
        was given. They are improved until they reach it, or until the density error no longer
        comes from them.
    settling_sweeps : int
        Sweeps that this may take.
    expansions : int
        Expansions of Davidson's subspace in a sweep over the bands.
    highest : float
        Electrons that the highest band may hold before bands are added, unless their number was
        given; less where the loop is to converge further. Derivatives need 2e-6 or less.
    empty : float
        Residual of the empty bands of a result, Hartree; the highest one comes without a promise.

    Raises
    ------
    ValueError
        For negative values, and numbers of sweeps or expansions that are not whole or below 1.

    Examples
    --------
    >>> Effort().residual(1e-3)
    3e-05
    """

    fraction: float = 0.03
    largest_error: float = 0.1
    good: float = 1e-5
    settling_sweeps: int = 6
    expansions: int = EXPANSIONS
    highest: float = 1e-6
    empty: float = 3e-4

    def __post_init__(self) -> None:
        _check(self, settling_sweeps=1, expansions=1)

    def residual(self, density_error: float) -> float:
        """Residual to aim at after a step with this density error, Hartree."""
        return self.fraction * min(density_error, self.largest_error)

    def spare(self, orbital_tolerance: float) -> float:
        """Electrons that the highest band may hold for residuals to reach a tolerance in Hartree.

        Residuals count times the root of the occupation, and the highest band may keep a large one.

        Examples
        --------
        >>> [f"{Effort().spare(tolerance):.0e}" for tolerance in (1e-5, 1e-8)]
        ['1e-06', '1e-08']
        """
        return min(self.highest, (orbital_tolerance / _CUT_RESIDUAL) ** 2)


@dataclass(frozen=True)
class Precision:
    """Which steps are in single precision: those for which the first three hold.

    Parameters
    ----------
    residual : float
        The residual aimed at, Hartree, is above this.
    errors : float
        The density's error is above so many times the one that ends the loop.
    steps : int
        There have been fewer steps; 0 for double precision throughout.
    start : float
        Orbitals that a loop starts with are first improved in single precision if the residual of
        a band other than the highest is above this, Hartree: better ones would lose digits that
        the loop then has to find again.

    Raises
    ------
    ValueError
        For negative values, and a number of steps that is not whole.

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
        """Whether the next step is in single precision.

        Parameters
        ----------
        residual : float
            Aimed at, Hartree.
        density_error : float
            Of the last step, electrons per valence electron.
        convergence : Convergence
            What ends the loop.
        steps : int
            Steps so far.
        """
        return (
            residual > self.residual
            and density_error > self.errors * convergence.density
            and steps < self.steps
        )


@dataclass(frozen=True)
class MomentRelease:
    """When the total magnetic moment of the start is let go.

    Parameters
    ----------
    error : float
        Density error, electrons per valence electron, below which it is.
    step : int
        Step, from 1 on, after which it is in any case.

    Raises
    ------
    ValueError
        For a negative error, and a step that is not whole.

    Examples
    --------
    >>> MomentRelease(error=1e-3)
    MomentRelease(error=0.001, step=8)
    """

    error: float = 1e-2
    step: int = 8

    def __post_init__(self) -> None:
        _check(self, step=1)


@dataclass(frozen=True)
class LocalisedLevels:
    """When partly filled localised levels are made self-consistent first, and how far.

    Errors are those of the density, electrons per valence electron. Whether levels are localised,
    and whether anything is done about them, is said by `Mixing`.

    Parameters
    ----------
    start : float
        Orbitals are relaxed among each other if the error is still above this.
    steps : int
        Step from which on that is looked at.
    end : float
        Relaxing goes on until the error is below this.
    near : float
        Error below which densities of relaxed orbitals are mixed, instead of taken as they are.
    patience : int
        Steps in which the error fell, after which they are mixed below `start` already.
    reduction : float
        Mixing is given up where it does not reduce the error to this part in as many steps.
    shortest : float
        Steps are halved when the free energy rises, down to this one.
    slope : float
        Part of its first value that the gradient of the free energy is reduced to in a step.
    evaluations : int
        Densities that are tried for that before the scales of the variables are looked at again.
    rounds : int
        How often that is done.

    Raises
    ------
    ValueError
        For negative values, and whole numbers that are not whole or below 1.

    Examples
    --------
    >>> LocalisedLevels(rounds=8).evaluations
    12
    """

    start: float = 3e-2
    steps: int = 3
    end: float = 1e-5
    near: float = 1e-3
    patience: int = 4
    reduction: float = 0.3
    shortest: float = 0.25
    slope: float = 0.02
    evaluations: int = 12
    rounds: int = 4

    def __post_init__(self) -> None:
        _check(self, steps=1, patience=1, evaluations=1, rounds=1)


@dataclass(frozen=True)
class Policies:
    """All that steers the loop apart from `Mixing` and `Convergence`.

    Parameters
    ----------
    effort : Effort
        How well the states of a step are computed.
    precision : Precision
        Which steps are in single precision.
    moment : MomentRelease
        How long the magnetic moment of the start is held.
    localised : LocalisedLevels
        What is done about partly filled localised levels.

    Raises
    ------
    ValueError
        If one of them is something else.

    Examples
    --------
    Double precision throughout, with other policies as they are:

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
        """What was given; None is the default.

        Raises
        ------
        ValueError
            For anything else.

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
