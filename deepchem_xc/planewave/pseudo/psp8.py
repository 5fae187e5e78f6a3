"""Reader of psp8 files: ABINIT's format, written by ONCVPSP and used by PseudoDojo.

References: the description of the format in ABINIT's documentation ("psp8 format"); D. R. Hamann,
Phys. Rev. B 88, 085117 (2013).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .functionals import functional_label
from .numeric import NumericPseudopotential, RadialProjectors

__all__ = ["read_psp8"]

# ABINIT's ixc numbers; negative ones are -XXXCCC of libxc
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
    """Read a psp8 pseudopotential.

    Parameters
    ----------
    path : str or path
        The file.
    symbol : str
        Chemical symbol that it must be of.

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
    >>> read_psp8("Si.psp8", "Si").valence  # doctest: +SKIP
    4.0
    """
    lines = _Lines(Path(path))
    lines.next("title")
    charge, valence = lines.numbers("zatom, zion, pspdat", 2)[:2]
    code, ixc, l_max, l_local, size = (
        int(x) for x in lines.numbers("pspcod, pspxc, lmax, lloc, mmax", 5)[:5]
    )
    if code != 8:
        raise ValueError(f"{path}: pspcod is {code}, only 8 (psp8) is supported")
    _check_element(path, charge, symbol)
    core_fraction = lines.numbers("rchrg, fchrg, qchrg", 2)[1]
    counts = [int(x) for x in lines.numbers("nproj", l_max + 1)[: l_max + 1]]
    extension = int(lines.numbers("extension_switch", 1)[0])
    if extension in (2, 3):
        raise ValueError(
            f"{path}: spin-orbit projectors (extension_switch {extension}) are not supported; use "
            "the scalar-relativistic file"
        )
    if min(size, valence) <= 0 or l_max < 0:
        raise ValueError(f"{path}: mmax {size}, zion {valence:g}, lmax {l_max} make no sense")

    local: NDArray | None = None
    r = np.empty(0)
    projectors = []
    missing = {l for l, n in enumerate(counts) if n > 0}
    while missing or local is None:
        head = lines.numbers("l, ekb", 1)
        l = int(head[0])
        if l == l_local and local is None:
            r, columns = lines.table("local potential", size, 1)
            local = columns[0]
        elif 0 <= l <= l_max and (l in missing or counts[l] == 0):
            n = counts[l]
            if len(head) < 1 + n:
                raise ValueError(f"{path}: {len(head) - 1} energies for {n} projectors of l={l}")
            r, columns = lines.table(f"projectors of l={l}", size, n)
            if n > 0:
                projectors.append(RadialProjectors(l, columns, np.diag(head[1 : 1 + n])))
            missing.discard(l)
        else:
            raise ValueError(f"{path}: unexpected block of l={l} in {lines.place}")
    # densities are stored as 4 pi n(r)
    core = valence_density = None
    if core_fraction > 0:
        core = lines.table("core density", size, 1)[1][0] / (4.0 * np.pi)
    if extension == 1:
        valence_density = lines.table("valence density", size, 1)[1][0] / (4.0 * np.pi)
    try:
        return NumericPseudopotential(
            symbol,
            Path(path).name,
            valence,
            _functional(ixc),
            r,
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


def _check_element(path: str | os.PathLike, charge: float, symbol: str) -> None:
    from ase.data import chemical_symbols

    number = int(round(charge))
    found = chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z={charge:g}"
    if found != symbol:
        raise ValueError(f"{path}: a pseudopotential of {found} was given for {symbol}")


class _Lines:
    """The lines of a file, with errors that say where it broke."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = path.read_text(errors="replace").splitlines()
        self._at = 0

    @property
    def place(self) -> str:
        return f"line {self._at}"

    def next(self, what: str) -> str:
        if self._at >= len(self._lines):
            raise ValueError(
                f"{self._path}: the file ends after line {len(self._lines)}, where {what} should "
                "follow: not a psp8 file, or cut short"
            )
        self._at += 1
        return self._lines[self._at - 1]

    def numbers(self, what: str, at_least: int) -> list[float]:
        """Numbers at the beginning of the next line."""
        line = self.next(what)
        values: list[float] = []
        for token in line.replace("D", "E").replace("d", "e").split():
            try:
                values.append(float(token))
            except ValueError:
                break
        if len(values) < at_least:
            raise ValueError(
                f"{self._path}, line {self._at}: expected {what}, found {line.strip()[:60]!r}: not "
                "a psp8 file, or damaged"
            )
        return values

    def table(self, what: str, size: int, columns: int) -> tuple[NDArray, NDArray]:
        """Mesh (size,) and the first columns (columns, size) of a block i, r, f_1, f_2, ..."""
        rows = []
        for i in range(size):
            row = self.numbers(f"point {i + 1} of {size} of the {what}", 2 + columns)
            if int(row[0]) != i + 1:
                raise ValueError(
                    f"{self._path}, line {self._at}: point {i + 1} of the {what} is numbered "
                    f"{row[0]:g}: the file is damaged"
                )
            rows.append(row[1 : 2 + columns])
        block = np.array(rows)
        return block[:, 0], np.ascontiguousarray(block[:, 1:].T)
