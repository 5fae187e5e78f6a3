"""Cube files of densities: lengths in bohr or Angstrom, any exponents, compressed or not.

The first of the three numbers of points says by its sign in which unit lengths are: positive for
bohr, negative for Angstrom. Densities are in electrons per bohr^3 in both cases.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

# Fortran writes D for exponents in double precision, and has no letter before exponents of three
# digits.
_WITH_D, _WITHOUT_LETTER = re.compile(r"(\d\.?)[dD]([+-]?\d)"), re.compile(r"(\d)([+-]\d{3})\b")
# Lines before the atoms; three of them hold numbers of points and their distances.
_HEADER = 6


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, also of a compressed one; comments may be in any encoding."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "rb") as file:
        text: str = file.read().decode("utf-8", errors="replace")
    return io.StringIO(text, newline=None).readlines()


def with_letters(line: str) -> str:
    """A line of numbers with the letter E before their exponents.

    Examples
    --------
    >>> with_letters(" 1.25D-03 0.5-101 -2.0E+00")
    ' 1.25E-03 0.5E-101 -2.0E+00'
    """
    return _WITHOUT_LETTER.sub(r"\1E\2", _WITH_D.sub(r"\1E\2", line))


def read_cube_density(path: Path) -> tuple[Atoms, NDArray[np.float64]]:
    """Atoms (Angstrom) and density (1, n1, n2, n3), electrons per Angstrom^3, of a cube file.

    Raises
    ------
    NotImplementedError
        If there are several values at a point.
    ValueError, IndexError
        If the file is not complete.
    """
    from ase.io.cube import read_cube

    lines = in_bohr(read_lines(path))
    lines[_HEADER:] = [with_letters(line) for line in lines[_HEADER:]]
    content = read_cube(io.StringIO("".join(lines)))
    if len(content["datas"]) != 1:
        raise NotImplementedError(f"{path} has several values at a point; give one with a density")
    atoms = content["atoms"]
    atoms.positions -= content["origin"]
    atoms.pbc = True
    return atoms, content["data"][None] / Bohr**3


def in_bohr(lines: Sequence[str]) -> list[str]:
    """The lines of a cube file with all lengths in bohr, and positive numbers of points.

    Raises
    ------
    ValueError
        If the numbers of points have different signs.

    Examples
    --------
    >>> box = ["a", "b", "1 0 0 0", "-2 1 0 0", "-2 0 1 0", "-2 0 0 1", "1 1 0 0 0.5"]
    >>> count, *length = in_bohr(box)[3].split()
    >>> count, f"{float(length[0]):.4f}"
    ('2', '1.8897')
    """
    counts = [int(line.split()[0]) for line in lines[3:_HEADER]]
    if all(count >= 0 for count in counts):
        return list(lines)
    if not all(count < 0 for count in counts):
        raise ValueError(
            f"its numbers of points {counts} must be all positive, for lengths in bohr, or all "
            "negative, for Angstrom"
        )
    found, natom = list(lines), abs(int(lines[2].split()[0]))
    found[2] = _scaled(lines[2], 1)
    for i, count in enumerate(counts, start=3):
        found[i] = _scaled(f"{-count} {lines[i].split(maxsplit=1)[1]}", 1)
    for i in range(_HEADER, _HEADER + natom):
        found[i] = _scaled(lines[i], 2)
    return found


def _scaled(line: str, first: int) -> str:
    """A line whose three words from `first` on are lengths, from Angstrom to bohr."""
    words = line.split()
    lengths = [f"{float(word) / Bohr:.9f}" for word in words[first : first + 3]]
    return " ".join([*words[:first], *lengths, *words[first + 3 :]]) + "\n"
