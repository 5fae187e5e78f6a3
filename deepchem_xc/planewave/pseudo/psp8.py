"""Reader of psp8 files: ABINIT's format, written by ONCVPSP and used by PseudoDojo.

References: the description of the format in ABINIT's documentation ("psp8 format"); D. R. Hamann,
Phys. Rev. B 88, 085117 (2013).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .files import read_number, read_numbers, read_text
from .functionals import functional_label
from .numeric import NumericPseudopotential, RadialProjectors

__all__ = ["read_psp8"]

# ABINIT's ixc numbers; negative ones mean -XXXCCC in libxc's numbers.
_FUNCTIONALS = {1: "LDA", 2: "LDA", 3: "LDA", 4: "LDA", 5: "LDA", 6: "LDA", 7: "LDA", 11: "PBE"}
_FUNCTIONALS |= {14: "revPBE", 15: "RPBE", 26: "HCTH", 27: "HCTH407"}
_LIBXC = {
    (101, 130): "PBE",
    (116, 133): "PBEsol",
    (1, 7): "LDA",
    (1, 9): "LDA",
    (1, 12): "LDA",
    (1, 13): "LDA",
    (0, 20): "LDA",
    (102, 130): "revPBE",
    (117, 130): "RPBE",
    (106, 131): "BLYP",
    (263, 267): "SCAN",
    (497, 498): "r2SCAN",
}


def read_psp8(path: str | os.PathLike, symbol: str) -> NumericPseudopotential:
    r"""Read a psp8 pseudopotential.

    Parameters
    ----------
    path : str or path
        The file.
    symbol : str
        Chemical symbol that it must have.

    Returns
    -------
    NumericPseudopotential
        With the non-linear core correction (fchrg > 0) and the valence density, if the file has
        them.

    Raises
    ------
    ValueError
        If the file is not psp8, is damaged or cut short, has spin-orbit projectors, or is for
        another element.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    A soft proton without projectors, written to such a file:

    >>> from deepchem_xc.planewave.pseudo import read_psp8
    >>> import tempfile
    >>> from scipy.special import erf
    >>> r = np.maximum(0.01 * np.arange(601), 1e-9)
    >>> local = -erf(2.0 * r) / r
    >>> head = ["H", "1 1 200101", f"8 11 0 4 {len(r)} 0", "6 0 0", "0 0 0 0 0", "0", "4"]
    >>> rows = [f"{i + 1} {x:.9e} {v:.9e}" for i, (x, v) in enumerate(zip(r, local))]
    >>> path = Path(tempfile.mkdtemp()) / "H.psp8"
    >>> _ = path.write_text("\n".join([*head, *rows]))
    >>> read_psp8(path, "H").valence
    1.0
    """
    lines = _Lines(path)
    lines.next("title")
    charge, valence = lines.numbers("zatom, zion, pspdat", 2)[:2]
    code, ixc, l_max, l_local, size = lines.integers("pspcod, pspxc, lmax, lloc, mmax", 5)
    if code != 8:
        raise ValueError(f"{path}: pspcod is {code}, but only 8 (psp8) is supported")
    _check_element(path, charge, symbol)
    core_fraction = lines.numbers("rchrg, fchrg, qchrg", 2)[1]
    counts = _projector_counts(lines, l_max, l_local)
    (extension,) = lines.integers("extension_switch", 1)
    if extension in (2, 3):
        raise ValueError(
            f"{path}: spin-orbit projectors (extension_switch {extension}) are not supported; use "
            "the scalar-relativistic file"
        )
    if extension not in (0, 1):
        raise ValueError(
            f"{path}: extension_switch is {extension}; supported are 0 and 1 (with the valence "
            "density)"
        )
    if min(size, valence) <= 0 or core_fraction < 0:
        raise ValueError(
            f"{path}: mmax {size} and zion {valence:g} must be positive, and fchrg "
            f"{core_fraction:g} must not be negative"
        )

    local: NDArray | None = None
    projectors = []
    missing = {l for l, n in enumerate(counts) if n > 0}
    while missing or local is None:
        head = lines.numbers("l, ekb", 1)
        l = round(head[0])
        if l != head[0]:
            raise ValueError(f"{path}: expected l and energies in {lines.place}, found {head}")
        if l == l_local and local is None:
            local = lines.table("local potential", size, 1)[0]
        elif 0 <= l <= l_max and (l in missing or counts[l] == 0):
            n = counts[l]
            if len(head) != 1 + n:
                raise ValueError(f"{path}: {len(head) - 1} energies for {n} projectors of l={l}")
            columns = lines.table(f"projectors of l={l}", size, n)
            if n > 0:
                projectors.append(RadialProjectors(l, columns, np.diag(head[1 : 1 + n])))
            missing.discard(l)
        else:
            raise ValueError(f"{path}: unexpected block of l={l} in {lines.place}")
    # The file stores densities as 4 pi n(r).
    core = valence_density = None
    if core_fraction > 0:
        core = lines.table("core density", size, 1, more=True)[0] / (4.0 * np.pi)
    if extension == 1:
        valence_density = lines.table("valence density", size, 1, more=True)[0] / (4.0 * np.pi)
    lines.check_end()
    try:
        return NumericPseudopotential(
            symbol,
            Path(path).name,
            valence,
            _functional(ixc),
            lines.mesh,
            local,
            sorted(projectors, key=lambda p: p.l),
            core,
            valence_density,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _functional(ixc: int) -> str | None:
    if ixc >= 0:
        return functional_label(_FUNCTIONALS.get(ixc, ""))
    parts = sorted(divmod(-ixc, 1000))
    return _LIBXC.get((parts[0], parts[1]))


def _projector_counts(lines: _Lines, l_max: int, l_local: int) -> list[int]:
    """Number of projectors for l = 0 ... l_max; the line usually has one for l = 0 ... 4."""
    given = lines.integers("nproj", max(l_max, 0) + 1, more=True)
    counts, beyond = given[: l_max + 1], given[l_max + 1 :]
    if l_max < 0 or min(given) < 0 or any(beyond) or (0 <= l_local <= l_max and counts[l_local]):
        raise ValueError(
            f"{lines.path}: lmax {l_max}, lloc {l_local} and nproj {given} contradict each other: "
            "there are projectors for l up to lmax, and none for lloc"
        )
    return counts


def _check_element(path: str | os.PathLike, charge: float, symbol: str) -> None:
    from ase.data import chemical_symbols

    number = round(charge) if charge == round(charge) else 0
    found = chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z={charge:g}"
    if found != symbol:
        raise ValueError(f"{path}: a pseudopotential of {found} was given for {symbol}")


class _Lines:
    """The lines of a file; errors name the line."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.mesh: NDArray = np.empty(0)
        self._lines = read_text(path).splitlines()
        self._at = 0

    @property
    def place(self) -> str:
        return f"line {self._at}"

    def next(self, what: str) -> str:
        if self._at >= len(self._lines):
            raise ValueError(
                f"{self.path}: the file ends after line {len(self._lines)}, where {what} should "
                "follow: not a psp8 file, or cut short"
            )
        self._at += 1
        return self._lines[self._at - 1]

    def numbers(self, what: str, at_least: int) -> list[float]:
        """Numbers at the beginning of the next line, which may end with a comment."""
        line = self.next(what)
        values: list[float] = []
        for word in line.split():
            try:
                values.append(read_number(word))
            except ValueError:
                if _NOT_FINITE.fullmatch(word):
                    raise ValueError(
                        f"{self.path}, line {self._at}: {what}: {word!r} is not a finite number"
                    ) from None
                break
        if len(values) < at_least:
            raise ValueError(
                f"{self.path}, line {self._at}: expected {what}, found {line.strip()[:60]!r}: not "
                "a psp8 file, or damaged"
            )
        return values

    def integers(self, what: str, count: int, more: bool = False) -> list[int]:
        """First `count` numbers of the next line, or all with `more`; they must be whole."""
        values = self.numbers(what, count)
        values = values if more else values[:count]
        if any(value != round(value) for value in values):
            raise ValueError(
                f"{self.path}, line {self._at}: {what} must be whole numbers, found {values}"
            )
        return [round(value) for value in values]

    def table(self, what: str, size: int, columns: int, more: bool = False) -> NDArray:
        """Columns f_1, f_2, ... of a block i, r, f_1, f_2, ..., shape (columns, size).

        With `more`, further columns are ignored. All blocks must have the same mesh.
        """
        width = 2 + columns
        rows = []
        for i in range(size):
            words = self.next(f"point {i + 1} of {size} of the {what}").split()
            where = f"{self.path}, line {self._at}: point {i + 1} of {size} of the {what}"
            if len(words) < width or (len(words) > width and not more):
                raise ValueError(
                    f"{where} has {len(words)} columns, expected {'at least ' if more else ''}"
                    f"{width} (i, r, {columns} values): the file is damaged or cut short"
                )
            row = read_numbers(words[:width], where)
            if row[0] != i + 1:
                raise ValueError(f"{where} is numbered {row[0]:g}: the file is damaged")
            rows.append(row)
        block = np.array(rows).reshape(size, width)
        if self.mesh.size == 0:
            self.mesh = block[:, 1]
        elif not np.array_equal(self.mesh, block[:, 1]):
            raise ValueError(f"{self.path}: the {what} and earlier blocks differ in radial mesh")
        return np.ascontiguousarray(block[:, 2:].T)

    def check_end(self) -> None:
        """Raise if another block follows, because then the header does not describe the file."""
        while self._at < len(self._lines) and not self._lines[self._at].strip():
            self._at += 1
        if self._at < len(self._lines) and _TABLE_ROW.match(self._lines[self._at]):
            raise ValueError(
                f"{self.path}: a block of numbers follows in line {self._at + 1} that lmax, nproj, "
                "fchrg and extension_switch do not announce"
            )


_NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
_TABLE_ROW = re.compile(r"\s*\d+\s+[+-]?\d*\.\d+\S*\s+[+-]?\d*\.\d+")
