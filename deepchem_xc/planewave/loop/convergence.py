"""Criteria that end the loop, and the error if it does not converge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from deepchem_xc._values import real_number, whole_number
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave.problem import KohnShamProblem

# Keys that GPAW users know, and the advice for each.
_GPAW_KEYS = {
    "eigenstates": "'orbitals' is the largest residual of an occupied band here.",
    "maximum iterations": "'maxiter' is the largest number of steps here.",
    "bands": "Empty bands are always converged at the end.",
    "forces": "Forces follow from 'density'.",
}

# Gap, Hartree, and density error, electrons per valence electron: if a loop with integer
# occupations ends with a smaller gap and a larger error, levels are assumed to keep changing
# places. The third is the number of last steps that are examined.
_CROSSING = 0.01
_WANDERING = 1e-3
_RECENT = 20

# Density error, electrons per valence electron, that steps in single precision may not get below:
# the smallest of the last steps is 4e-8 for Al, at 60 and 100 eV, where single ones have 2e-6.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Convergence:
    """Criteria that end the loop; all three must hold.

    Parameters
    ----------
    energy : float
        Change of the energy in one step, Hartree per valence electron; after a step in single
        precision, the estimated second-order error from density and orbitals.
    density : float
        Integral of |output - input density|, electrons per valence electron.
    orbitals : float, optional
        Largest residual norm times the root of the band's occupation, Hartree; ten times `density`
        by default.
    maxiter : int
        Largest number of steps.

    Examples
    --------
    >>> Convergence(density=1e-7).orbital_tolerance
    1e-06
    """

    energy: float = 1e-8
    density: float = 1e-6
    orbitals: float | None = None
    maxiter: int = 100

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, energy_unit: float = 1.0) -> Convergence:
        """Make it from a mapping of its parameters; None stands for a default.

        Parameters
        ----------
        options : mapping or None
            Energies in units of `energy_unit`.
        energy_unit : float, optional
            Hartree per unit: 1 for Hartree, 1/27.2 for eV.

        Raises
        ------
        ValueError
            For unknown keys, or values that are not positive numbers.

        Examples
        --------
        >>> Convergence.of({"density": 1e-7, "energy": None}).density
        1e-07
        """
        keys = [field.name for field in fields(cls)]
        if options is not None and not isinstance(options, Mapping):
            raise ValueError(
                f"convergence = {options!r} is not valid: give a dictionary, for example "
                f"{{'energy': 1e-6}} (per valence electron); the valid keys are {keys}."
            )
        unknown = sorted(map(str, set(options or {}) - set(keys)))
        if unknown:
            hints = "".join(f" {_GPAW_KEYS[key]}" for key in unknown if key in _GPAW_KEYS)
            raise ValueError(
                f"unknown convergence keys {unknown}; the valid ones are {keys}." + hints
            )
        values: dict[str, Any] = {}
        for name, given in (options or {}).items():
            if given is None:
                continue
            value = real_number(given, f"convergence[{name!r}]")
            if not value > 0:
                raise ValueError(f"convergence[{name!r}] must be positive, got {given}.")
            values[name] = value * (energy_unit if name in ("energy", "orbitals") else 1.0)
        if "maxiter" in values:
            values["maxiter"] = whole_number((options or {})["maxiter"], "convergence['maxiter']")
        return cls(**values)

    @property
    def orbital_tolerance(self) -> float:
        """Residual norm of occupied bands at which the loop may stop, Hartree."""
        return 10.0 * self.density if self.orbitals is None else self.orbitals

    def states_are_met(self, density_error: float, orbital_error: float) -> bool:
        """Whether density and orbitals are converged.

        Parameters
        ----------
        density_error : float
            Electrons per valence electron.
        orbital_error : float
            Hartree.

        Examples
        --------
        >>> Convergence(density=1e-6).states_are_met(1e-7, 1e-6)
        True
        """
        return density_error < self.density and orbital_error < self.orbital_tolerance

    def energy_is_met(self, change: float, nelectrons: float) -> bool:
        """Whether a change of the energy, Hartree, is small enough for this number of electrons.

        Examples
        --------
        >>> Convergence(energy=1e-8).energy_is_met(-3e-8, nelectrons=8.0)
        True
        """
        return abs(change) < self.energy * nelectrons


def not_converged(
    problem: KohnShamProblem,
    convergence: Convergence,
    history: Sequence[dict[str, float]],
    unbounded: str | None,
    held: str = "",
    single: str = "",
) -> SCFConvergenceError:
    """The error of a loop that ended without convergence.

    Parameters
    ----------
    problem : KohnShamProblem
        Provides the functional.
    convergence : Convergence
        Criteria that were not met.
    history : sequence of dict
        Records of all steps.
    unbounded : str or None
        The reason why there is no lowest state, or None.
    held, single : str, optional
        If the last step still held the start's moment, or was in single precision: the reason, and
        what to change.
    """
    if unbounded is not None:
        steps = len(history) or "any"
        reason = f"the self-consistency loop did not converge in {steps} steps: {unbounded}"
    else:
        policies = _policies_in_the_way(convergence, history, held, single)
        advice = policies or _advice(problem, history)
        reason = _reached(problem, convergence, history[-1]) + advice
    return SCFConvergenceError(f"{reason}`history` of this error holds every step.", history)


def _reached(problem: KohnShamProblem, convergence: Convergence, last: Mapping[str, float]) -> str:
    return (
        f"the self-consistency loop did not converge in {convergence.maxiter} steps with "
        f"{problem.functional.name}: the energy last changed by {last['energy_change']:.1e} Ha, "
        f"the density error is {last['density_error']:.1e} (wanted {convergence.density:.1e}) and "
        f"the largest residual of an occupied band {last['orbital_error']:.1e} Ha (wanted "
        f"{convergence.orbital_tolerance:.1e}). "
    )


def _policies_in_the_way(
    convergence: Convergence, history: Sequence[Mapping[str, float]], held: str, single: str
) -> str:
    """Those of the given reasons that kept the loop from ending."""
    last = history[-1]
    met = convergence.states_are_met(last["density_error"], last["orbital_error"])
    # Rounding makes errors jump from step to step.
    smallest = min(record["density_error"] for record in history[-_RECENT:])
    return (held if met else "") + (single if met or smallest < _ROUNDING else "")


def _advice(problem: KohnShamProblem, history: Sequence[Mapping[str, float]]) -> str:
    gaps = [record["gap"] for record in history[-_RECENT:] if "gap" in record]
    if gaps and min(gaps) < _CROSSING and history[-1]["density_error"] > _WANDERING:
        return (
            f"The gap between the highest occupied and the lowest empty level was between "
            f"{min(gaps):.1e} and {max(gaps):.1e} Ha in the last {len(gaps)} steps: these levels "
            "keep changing places, and integer occupations have no self-consistent solution here. "
            "Smear the occupations, for example occupations={'name': 'fermi-dirac', 'width': 0.1} "
            "(eV), or use more k-points. "
        )
    advice = ""
    name = problem.functional.name
    if problem.needs_kinetic_density and "r2scan" not in name.lower():
        advice = (
            f"{name} may vary too rapidly where one orbital dominates the density, as in atoms and "
            "tails: r2SCAN is smooth there. "
        )
    return (
        f"{advice}If the errors were still falling, raise maxiter; otherwise smear the "
        "occupations more, try smaller steps (mixing={'beta': 0.3}), check the structure and the "
        "initial magnetic moments, or start from a converged density. "
    )
