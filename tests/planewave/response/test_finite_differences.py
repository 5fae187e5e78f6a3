"""Derivatives through the self-consistent field agree with differences of converged calculations.

The small cases run always; all of them, with the table of docs/derivatives.md, with ``-m slow -s``.
"""

from __future__ import annotations

import time

import pytest

from tests.planewave.response.finite_differences import Agreement, compare
from tests.planewave.response.response_cases import CASES

# What a derivative and its differences may be apart, relative to the derivative, or to 1e-3 of the
# quantity's largest one where a symmetry makes it vanish.
AGREEMENT = 1e-5
QUICK = ("Si, distorted", "AlMg, distorted")


def check(table: list[Agreement]) -> None:
    """Every derivative."""
    assert table
    for entry in table:
        entry.check(AGREEMENT)


def report(name: str, table: list[Agreement], seconds: float) -> None:
    """One line a quantity, as in docs/derivatives.md: largest error, and of which parameter."""
    print(f"\n{name} ({seconds:.0f} s)")
    for quantity in dict.fromkeys(entry.quantity for entry in table):
        cells = [
            f"{e.parameter} {e.error:.0e} ({e.relative_uncertainty:.0e})"
            for e in table
            if e.quantity == quantity
        ]
        print(f"  {quantity:13} " + ", ".join(cells))


@pytest.mark.parametrize("name", QUICK)
def test_derivatives_of_small_crystals(name: str) -> None:
    check(compare(CASES[name], ("mu", "network", "positions", "strain")))


def test_derivatives_of_a_magnet() -> None:
    """Spin density and moment, with respect to the functional."""
    check(compare(CASES["FeCo, distorted"], ("mu",)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_all_crystals(name: str) -> None:
    start = time.process_time()
    table = compare(CASES[name], halvings=3)
    report(name, table, time.process_time() - start)
    check(table)
