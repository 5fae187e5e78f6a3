"""Criteria that end the loop, and the error if it does not converge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from deepchem_xc._values import real_number, whole_number
from deepchem_xc.numerics.errors import SCFConvergenceError


@dataclass(frozen=True)
class Convergence:
    """Criteria that end the loop; both must hold.

    Parameters
    ----------
    energy : float
        Change of the energy in one step, Hartree.
    commutator : float
        Largest element of ``F D S - S D F`` in orthonormal functions, Hartree: the derivative of
        the energy with respect to rotations of the orbitals. Errors of the density are of its
        order, errors of the energy of its square.
    maxiter : int
        Largest number of steps.

    Examples
    --------
    >>> Convergence.of({"commutator": 1e-8}).maxiter
    100
    >>> Convergence.of({"density": 1e-8})
    Traceback (most recent call last):
    ValueError: unknown key 'density' of convergence; valid keys: energy, commutator, maxiter.
    """

    energy: float = 1e-9
    commutator: float = 1e-7
    maxiter: int = 100

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, differentiated: bool = False) -> Convergence:
        """Make it from a mapping of its parameters; None stands for a default.

        Parameters
        ----------
        options : mapping or None
            Values in Hartree.
        differentiated : bool, optional
            Whether derivatives will be taken, whose errors are those of the density: the
            commutator's default is then 1e-8.

        Raises
        ------
        ValueError
            For unknown keys, and values that are not positive numbers.
        """
        values: dict[str, Any] = {"commutator": 1e-8} if differentiated else {}
        valid = [field.name for field in fields(cls)]
        if options is not None and not isinstance(options, Mapping):
            raise ValueError(
                f"convergence must be a mapping with some of {', '.join(valid)} (Hartree), such as "
                f"{{'energy': 1e-8}}; got {options!r}."
            )
        for name, value in ({} if options is None else options).items():
            if name not in valid:
                raise ValueError(
                    f"unknown key {name!r} of convergence; valid keys: {', '.join(valid)}."
                )
            if value is None:
                continue
            if name == "maxiter":
                values[name] = whole_number(value, "convergence['maxiter']")
                continue
            values[name] = real_number(value, f"convergence[{name!r}]", "Hartree")
            if not 0.0 < values[name] < math.inf:
                raise ValueError(f"convergence[{name!r}] must be positive (Hartree), got {value}.")
        return cls(**values)

    def holds(self, record: Mapping[str, float]) -> bool:
        """Whether a step of the history meets the criteria."""
        change = abs(record["energy_change"])
        return change < self.energy and record["commutator"] < self.commutator

    def failure(self, history: list[dict[str, float]]) -> SCFConvergenceError:
        """The error of a loop that used up its steps."""
        last = history[-1]
        advice = "raise convergence['maxiter'], start from start=result of a similar calculation"
        if last.get("gap", math.inf) < 0.02:
            advice += (
                f", or, as the gap is {last['gap']:.1e} Ha, use occupations={{'name': "
                "'fermi-dirac', 'width': 0.005}, level_shift=0.3 or another spin"
            )
        else:
            advice += ", or use level_shift=0.3"
        return SCFConvergenceError(
            f"the loop did not converge in {len(history)} steps: the energy last changed by "
            f"{last['energy_change']:.1e} Ha ({self.energy:.0e} wanted) and the commutator is "
            f"{last['commutator']:.1e} Ha ({self.commutator:.0e} wanted). To help it, {advice}.",
            history,
        )
