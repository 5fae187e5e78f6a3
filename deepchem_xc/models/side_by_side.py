"""Calculations of a batch or a data set, side by side, before their entries ask for them.

Densities and orbitals stay with the model: each call brings its start along, and its result is kept
here when it arrives. A process that dies therefore takes nothing but the calculations that it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_xc.feat.calculation import Calculation, Start
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.models.failures import EXPECTED_FAILURES, sendable
from deepchem_xc.parallel import Jobs, Outcome, parallel_map

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

_StartOf = Callable[[Calculation[Any, Any]], Start | None]


class JobsError(RuntimeError):
    """Calculations in other processes did not come back; `details` holds tracebacks.

    Examples
    --------
    >>> JobsError("1 of 2 calculations did not come back: ...", "Traceback ...").details
    'Traceback ...'
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, eq=False)
class Solved:
    """What is kept of a ground state.

    Attributes
    ----------
    start : Start
        Its density and orbitals.
    frozen : FrozenEnergy
        Its energy, and that of other functionals at its density.
    """

    start: Start
    frozen: FrozenEnergy


def outwards(calculations: Sequence[Calculation[Any, Any]]) -> list[Calculation[Any, Any]]:
    """Sort from the middle volume outwards: initial moments are most likely right there."""
    return sorted(calculations, key=lambda one: abs(math.log(one.scale)))


def solved(
    entries: Sequence[DFTEntry],
    keys: Sequence[str],
    functional: XCFunctional,
    start_of: _StartOf,
    options: Mapping[str, Any],
    jobs: Jobs,
    bar: Any = None,
) -> Generator[tuple[Calculation[Any, Any], Solved | Exception], None, None]:
    """Ground states, or the expected failures of their calculations, as they are there.

    Where no volume of a structure has a start, its middle volume comes first, and the others start
    from it.

    Parameters
    ----------
    entries : sequence of DFTEntry
        Their calculations.
    keys : sequence of str
        Those of the calculations to do.
    functional : XCFunctional
        Only its present weights matter; nothing is differentiated.
    start_of : callable
        Start of a calculation, asked for just before it begins.
    options : mapping
        Keywords for all calculations.
    jobs : int, str or distributed.Client
        As for `parallel_map`.
    bar : tqdm.tqdm, optional
        Advanced by each calculation.

    Yields
    ------
    (Calculation, Solved or Exception)

    Raises
    ------
    JobsError
        If some do not come back, after all others were yielded.
    """
    owners = {one.key: entry for entry in entries for one in entry.calculations}
    every = {one.key: one for entry in entries for one in entry.calculations}
    wanted = outwards([every[key] for key in dict.fromkeys(keys)])
    first: dict[str, Calculation[Any, Any]] = {}
    for one in wanted:
        if one.group not in first and start_of(one) is None:
            first[one.group] = one
    early = {one.key for one in first.values()}
    # A group of one calculation has nothing to wait for.
    groups = [one.group for one in wanted if one.key not in early]
    rest = [one for one in wanted if one.key not in early]
    waits = any(one.group in groups for one in first.values())
    rounds = [list(first.values()), rest] if waits else [[*first.values(), *rest]]
    lost: list[Outcome[Any]] = []
    for calculations in rounds:
        calls = {
            f"{owners[one.key].name} {one.scale:g} {one.key[:8]}": (
                one,
                functional,
                start_of(one),
                dict(options),
            )
            for one in calculations
        }
        named = dict(zip(calls, calculations, strict=True))
        with closing(parallel_map(_solve, calls, jobs=jobs, bar=bar)) as outcomes:
            for outcome in outcomes:
                if outcome.value is None:
                    lost.append(outcome)
                else:
                    yield named[outcome.name], outcome.value
        _check(lost, len(wanted))


def values(
    entries: Mapping[int, DFTEntry],
    functional: XCFunctional,
    start_of: _StartOf,
    options: Mapping[str, Any],
    jobs: Jobs,
    bar: Any = None,
) -> dict[int, Tensor | Exception]:
    """Values of entries with a single calculation, or the expected failures, by their numbers.

    Parameters
    ----------
    entries : mapping
        Entries by number, of types whose values are not made of energies alone.
    functional, start_of, options, jobs, bar
        As for `solved`.

    Raises
    ------
    JobsError
        If some do not come back.
    """
    calls = {
        f"{entry.name} {i}": (entry, functional, start_of(entry.calculations[0]), dict(options))
        for i, entry in entries.items()
    }
    numbers = dict(zip(calls, entries, strict=True))
    found: dict[int, Tensor | Exception] = {}
    lost: list[Outcome[Any]] = []
    with closing(parallel_map(_value, calls, jobs=jobs, bar=bar)) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                lost.append(outcome)
            else:
                found[numbers[outcome.name]] = outcome.value
    _check(lost, len(calls))
    return found


def _check(lost: Sequence[Outcome[Any]], number: int) -> None:
    if lost:
        raise JobsError(
            f"{len(lost)} of {number} calculations did not come back: "
            f"{'; '.join(f'{one.name}: {one.error}' for one in lost)}",
            "\n".join(one.details for one in lost),
        )


def _solve(
    calculation: Calculation[Any, Any],
    functional: XCFunctional,
    start: Start | None,
    options: Mapping[str, Any],
) -> Solved | Exception:
    with torch.no_grad():
        try:
            result = calculation.solve(functional, start, options)
        except EXPECTED_FAILURES as error:
            return sendable(error)
        return Solved(calculation.start_of(result), calculation.freeze(result))


def _value(
    entry: DFTEntry, functional: XCFunctional, start: Start | None, options: Mapping[str, Any]
) -> Tensor | Exception:
    with torch.no_grad():
        try:
            calculation: Calculation[Any, Any] = entry.calculations[0]
            result = calculation.solve(functional, start, options)
            return entry.value(result.detach()).cpu()
        except EXPECTED_FAILURES as error:
            return sendable(error)
