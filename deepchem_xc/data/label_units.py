"""Units of labels in tables: products of names, converted to the unit of an entry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ase import units

# Dimension of each name as powers of (energy, length, moment, atom), and its size in eV, Angstrom
# and mu_B.
_ENERGY, _LENGTH, _MOMENT, _ATOM = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)
_PRESSURE, _FORCE, _NONE = (1, -3, 0, 0), (1, -1, 0, 0), (0, 0, 0, 0)
_NAMES: dict[str, tuple[tuple[int, int, int, int], float]] = {
    "eV": (_ENERGY, 1.0),
    "meV": (_ENERGY, 1e-3),
    "Ha": (_ENERGY, units.Hartree),
    "Hartree": (_ENERGY, units.Hartree),
    "Ry": (_ENERGY, units.Rydberg),
    "J": (_ENERGY, units.J),
    "kJ": (_ENERGY, units.kJ),
    "kcal": (_ENERGY, units.kcal),
    "mol": (_NONE, units.mol),
    "Angstrom": (_LENGTH, 1.0),
    "A": (_LENGTH, 1.0),
    "bohr": (_LENGTH, units.Bohr),
    "nm": (_LENGTH, units.nm),
    "pm": (_LENGTH, 0.01),
    "m": (_LENGTH, units.m),
    "N": (_FORCE, units.J / units.m),
    "Pa": (_PRESSURE, units.Pascal),
    "GPa": (_PRESSURE, units.GPa),
    "kbar": (_PRESSURE, 0.1 * units.GPa),
    "mu_B": (_MOMENT, 1.0),
    "atom": (_ATOM, 1.0),
    "1": (_NONE, 1.0),
}
_FACTOR = re.compile(r"([A-Za-z_]+|1)(?:(?:\^|\*\*)(-?\d+))?")


@dataclass(frozen=True)
class _Unit:
    dimension: tuple[int, int, int, int]
    size: float


def conversion_factor(unit: str, wanted: str, natom: int) -> float:
    """Factor by which a number in one unit is multiplied to be in another.

    Parameters
    ----------
    unit : str
        Unit of the number, such as ``"kJ/mol"``, ``"eV/atom"`` or ``"Ha/bohr^3"``. Energies
        without ``/atom`` are those of the cell.
    wanted : str
        Unit of the result.
    natom : int
        Atoms in the cell, for energies per atom.

    Raises
    ------
    ValueError
        For an unknown unit, or one of another quantity; the message lists what is known.

    Examples
    --------
    >>> print(f"{conversion_factor('eV/atom', 'eV', 4):.1f}")
    4.0
    >>> print(f"{conversion_factor('kJ/mol', 'eV', 4):.6f}")
    0.010364
    >>> conversion_factor("GPa", "eV", 4)
    Traceback (most recent call last):
    ValueError: the unit 'GPa' is not one of this label, which is in eV
    """
    given, target = _parse(unit), _parse(wanted)
    if given.dimension[:3] != target.dimension[:3]:
        raise ValueError(f"the unit {unit!r} is not one of this label, which is in {wanted}")
    per_atom = target.dimension[3] - given.dimension[3]
    return given.size / target.size * float(natom) ** per_atom


def _parse(unit: str) -> _Unit:
    """Dimension and size of a unit."""
    powers, size = [0, 0, 0, 0], 1.0
    plain = unit.strip().replace("\u00c5", "Angstrom").replace("\u212b", "Angstrom")
    for i, part in enumerate(plain.split("/")):
        for factor in part.replace("**", "^").replace("*", " ").split():
            match = _FACTOR.fullmatch(factor)
            name = _known(match.group(1)) if match else None
            if match is None or name is None:
                raise ValueError(
                    f"the unit {unit!r} is not known; valid are products and quotients such as "
                    f"eV/Angstrom^3 of {', '.join(n for n in _NAMES if n != '1')}"
                )
            dimension, value = _NAMES[name]
            power = int(match.group(2) or 1) * (1 if i == 0 else -1)
            size *= value**power
            powers = [p + power * d for p, d in zip(powers, dimension, strict=True)]
    if not plain:
        raise ValueError("the unit is empty")
    return _Unit((powers[0], powers[1], powers[2], powers[3]), size)


def _known(name: str) -> str | None:
    """The name among the known ones; upper and lower case count only where they matter."""
    if name in _NAMES:
        return name
    same = [known for known in _NAMES if known.lower() == name.lower()]
    return same[0] if len(same) == 1 else None
