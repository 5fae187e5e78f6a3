"""Structures from the text of a CIF, which must be complete."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.structure.full_sites import check_full_sites
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning

if TYPE_CHECKING:
    from ase import Atoms

# Largest deviation from a whole number of formula units that is due to rounding of the formula.
_ROUNDING = 0.05
# Isotopes have symbols of their own in CIFs, and are one element here.
_ISOTOPES = {"D": "H", "T": "H"}
_PART = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?")
# What ASE raises, without words of its own, where a CIF ends too early.
_CUT = (AssertionError, IndexError, KeyError, StopIteration, TypeError)


def read_cif(text: str, shown: str) -> list[Atoms]:
    r"""Structures of all blocks of a CIF that have atoms.

    The atoms of each are compared with the chemical formula of its block: a file that was cut off
    between two rows has fewer.

    Parameters
    ----------
    text : str
        Content of the CIF.
    shown : str
        Its name in messages.

    Returns
    -------
    list of ase.Atoms
        At least one.

    Raises
    ------
    ValueError
        If the text is not a complete CIF, holds no structure, is a magnetic CIF, or its atoms are
        not those of its formula.

    Warns
    -----
    IgnoredInputWarning
        If there are more formula units than the file says.

    Examples
    --------
    >>> from ase.build import bulk
    >>> file = io.BytesIO()
    >>> bulk("NaCl", "rocksalt", a=5.64, cubic=True).write(file, format="cif")
    >>> lines = file.getvalue().decode().splitlines()
    >>> len(read_cif("\n".join(lines), "salt.cif")[0])
    8
    >>> read_cif("\n".join(lines[:-1]), "salt.cif")
    Traceback (most recent call last):
    ValueError: salt.cif holds Na4 Cl3, but its chemical formula says Na4 Cl4: ...
    """
    found = cif_structures(text, shown)
    for structure in found:
        if isinstance(structure, ValueError):
            raise structure
    return [structure for structure in found if not isinstance(structure, ValueError)]


def cif_structures(text: str, shown: str) -> list[Atoms | ValueError]:
    """As `read_cif`, with an error in the place of each structure that is refused.

    Parameters
    ----------
    text, shown
        As for `read_cif`.

    Raises
    ------
    ValueError
        If nothing can be read.

    Examples
    --------
    >>> cif_structures("data_x", "empty.cif")
    Traceback (most recent call last):
    ValueError: empty.cif holds no complete structure: it may have been cut off
    """
    from ase.io.cif import parse_cif

    refuse_magnetic_cif(text, shown)
    try:
        blocks = list(parse_cif(io.StringIO(text.removeprefix("\ufeff"))))
        blocks = [block for block in blocks if block.has_structure()]
        images = [block.get_atoms(fractional_occupancies=True) for block in blocks]
    except Exception as error:
        wordless = isinstance(error, _CUT) or "concatenate" in str(error)
        why = "" if wordless else f" ({type(error).__name__}: {error})"
        raise ValueError(
            f"{shown} cannot be read as a CIF: it is damaged, or was cut off{why}"
        ) from error
    if not images:
        raise ValueError(f"{shown} holds no complete structure: it may have been cut off")
    found: list[Atoms | ValueError] = []
    for block, atoms in zip(blocks, images, strict=True):
        try:
            where = shown if len(blocks) == 1 else f"{shown} (data_{block.name})"
            _check_formula(block, atoms, where)
            found.append(atoms)
        except ValueError as error:
            found.append(error)
    return found


def refuse_magnetic_cif(text: str, shown: str) -> None:
    """Raise for a CIF with moments, because ASE ignores these and their symmetry.

    Parameters
    ----------
    text : str
        Content of the CIF.
    shown : str
        Its name in the message.

    Raises
    ------
    ValueError
        For a magnetic CIF; the message says how to read it.

    Examples
    --------
    >>> refuse_magnetic_cif("data_iron _cell_length_a 2.84", "iron.cif")
    """
    if "_atom_site_moment" in text:
        raise ValueError(
            f"{shown} is a magnetic CIF, whose moments and magnetic symmetry ASE does not read. "
            "pymatgen does: Crystal.from_pymatgen(Structure.from_file(...)), and "
            "Crystal.to_ase().write('magnet.xyz') for a file with initial moments."
        )


def formula_counts(text: str) -> dict[str, float] | None:
    """Number of atoms of each element in a formula.

    Parameters
    ----------
    text : str
        Value of ``_chemical_formula_sum``; deuterium counts as hydrogen.

    Returns
    -------
    dict or None
        None where the text is not a plain formula, or could be read in two ways.

    Examples
    --------
    >>> formula_counts("C2 H4 D2 O1.00"), formula_counts("NaCl"), formula_counts("SI O2")
    ({'C': 2.0, 'H': 6.0, 'O': 1.0}, {'Na': 1.0, 'Cl': 1.0}, None)
    """
    from ase.data import atomic_numbers

    total: dict[str, float] = {}
    for token in text.split():
        parts = _PART.findall(token)
        if "".join(map("".join, parts)) != token:
            return None
        # Two capitals may be two elements, or one in careless spelling.
        if re.search("[A-Z]{2}", token):
            return None
        for symbol, count in parts:
            element = _ISOTOPES.get(symbol, symbol)
            if element not in atomic_numbers:
                return None
            total[element] = total.get(element, 0.0) + float(count or 1)
    return total if total and all(total.values()) else None


def _check_formula(block: Mapping[str, Any], atoms: Atoms, shown: str) -> None:
    """Compare atoms with the formula of their block, where it has one."""
    formula = formula_counts(str(block.get("_chemical_formula_sum", "?")))
    if formula is None or not _is_full(atoms):
        return
    said = _units(block.get("_cell_formula_units_z"))
    counts = Counter(atoms.get_chemical_symbols())
    units = round(len(atoms) / sum(formula.values()))
    matches = set(counts) == set(formula) and all(
        abs(counts[symbol] - units * n) <= _ROUNDING * max(1, units)
        for symbol, n in formula.items()
    )
    # Some programs write the formula of the cell, and nevertheless how many units are in it.
    whole = said is not None and all((n / said).is_integer() for n in formula.values())
    wanted = {1, said} if whole else {said}
    if matches and units >= 1 and (said is None or units in wanted):
        return
    if matches and said is not None and units > max(n for n in wanted if n is not None):
        warnings.warn(
            f"{shown} holds {units} formula units {_text(formula)} in the cell, but says "
            f"_cell_formula_units_Z {said}, which is not used: check that no atom occurs twice.",
            IgnoredInputWarning,
            stacklevel=users_stacklevel(),
        )
        return
    times = "" if said is None or whole else f", {said} times in the cell"
    raise ValueError(
        f"{shown} holds {_text(counts)}, but its chemical formula says {_text(formula)}{times}: "
        "the list of atoms is not complete (the file may have been cut off; hydrogen is often left "
        "out), or the formula is wrong. Complete the list, or correct or remove the line "
        "_chemical_formula_sum (and _cell_formula_units_Z)"
    )


def _is_full(atoms: Atoms) -> bool:
    """Whether each site is full; others are refused elsewhere, and do not add up to a formula."""
    try:
        check_full_sites(atoms)
    except ValueError:
        return False
    return True


def _units(given: Any) -> int | None:
    """Number of formula units in the cell; None if there is none."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        return None
    return int(number) if number >= 1 and number.is_integer() else None


def _text(counts: Mapping[str, float]) -> str:
    return " ".join(f"{symbol}{n:g}" for symbol, n in counts.items())
