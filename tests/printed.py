"""Comparison of what is printed with what a page or notebook shows."""

from __future__ import annotations

import re

import pytest

# A number; its decimals and its exponent.
NUMBER = re.compile(r"[+-]?\d+(?:\.(\d+))?(?:e([+-]\d+))?")
# Size below which a number with an exponent is a difference that should vanish: other machines
# have another.
NOISE = 1e-5


def assert_printed(printed: str, shown: str, where: str = "") -> None:
    """Equal except for one unit in the last digit of each number, which rounding may turn.

    Numbers below 1e-5 that are written with an exponent, such as 3e-09, have to be below it both.
    """
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown), where
    for got, wanted in zip(NUMBER.finditer(printed), NUMBER.finditer(shown), strict=True):
        if wanted[2] and abs(float(wanted[0])) < NOISE:
            assert abs(float(got[0])) < NOISE, where
        else:
            unit = 10.0 ** (int(wanted[2] or 0) - len(wanted[1] or ""))
            expected = pytest.approx(float(wanted[0]), abs=1.01 * unit, rel=0)
            assert float(got[0]) == expected, where
