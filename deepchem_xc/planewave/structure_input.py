"""What structures of ASE and pymatgen say besides cell and positions: occupancies, charge, moments.

What a plane-wave calculation cannot represent is refused, what it does not use is noticed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

# Deviation from 1 at which a site counts as full: files round.
_FULL = 1e-3
# Charge, in elementary charges, and moment, mu_B, that count as none.
_NEUTRAL, _NONMAGNETIC = 1e-6, 1e-2
# Part of a moment, in units of the largest, that may stand across the common axis.
_ACROSS = 1e-2
_OCCUPANCY_ARRAYS = ("occupancy", "occupancies")
_CHARGE_KEYS = ("charge", "total_charge")


class IgnoredInputWarning(UserWarning):
    """Something that the input says is not used, or is used for something else."""


def check_full_sites(atoms: Atoms) -> None:
    """Raise where ASE atoms say that a site is occupied in part, or by several elements.

    ASE reads such a site of a CIF as one full atom of its first element and keeps the occupancies
    in ``atoms.info["occupancy"]``; other formats give an array of that name.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure. Occupancies of sites that are no longer there (after slicing) do not count.

    Raises
    ------
    ValueError
        The message names the occupancies, and what to do.

    Examples
    --------
    >>> from ase.build import bulk
    >>> alloy = bulk("Al")
    >>> alloy.info["occupancy"] = {"0": {"Al": 0.6, "Mg": 0.4}}
    >>> check_full_sites(alloy)
    Traceback (most recent call last):
    ValueError: the structure has partially occupied sites (Al 0.6, Mg 0.4): ...
    """
    partial = [
        ", ".join(f"{species} {part:g}" for species, part in site.items())
        for site in _mixed_sites(atoms)
    ]
    where = 'atoms.info["occupancy"]'
    for name in _OCCUPANCY_ARRAYS:
        if name in atoms.arrays:
            values = np.asarray(atoms.arrays[name], dtype=np.float64).reshape(len(atoms), -1)
            rows = np.nonzero((np.abs(values - 1.0) > _FULL).any(axis=1))[0]
            if len(rows) > 0:
                where = f'atoms.arrays["{name}"]'
                partial += [f"{atoms.symbols[i]}{i} {values[i, 0]:g}" for i in rows]
    if partial:
        some = "; ".join(dict.fromkeys(partial[:4])) + ("; ..." if len(partial) > 4 else "")
        raise ValueError(
            f"the structure has partially occupied sites ({some}): a calculation needs every site "
            "full or empty. Make an ordered cell of that composition, for example with pymatgen's "
            "OrderDisorderedStructureTransformation. If these atoms are one already, remove "
            f"{where}."
        )


def _mixed_sites(atoms: Atoms) -> list[dict[str, float]]:
    """Occupancies of the sites of `atoms` that are not those of one element, fully there."""
    occupancy = atoms.info.get("occupancy")
    if not isinstance(occupancy, Mapping):
        return []
    kinds = atoms.arrays.get("spacegroup_kinds")
    symbols = atoms.get_chemical_symbols()
    mixed = []
    for kind, site in occupancy.items():
        if not isinstance(site, Mapping):
            continue
        own = symbols
        if kinds is not None:
            own = [s for s, k in zip(symbols, kinds, strict=True) if str(k) == str(kind)]
        parts = {str(species): float(part) for species, part in site.items() if float(part) != 0.0}
        full = len(parts) == 1 and abs(sum(parts.values()) - 1.0) <= _FULL
        # The kinds of atoms that were added later mean nothing: their elements are others.
        if not full and set(own) & set(parts):
            mixed.append(parts)
    return mixed


def check_neutral(atoms: Atoms) -> None:
    """Raise where ASE atoms say that the cell is charged; notice initial charges that add up.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure. ``info["charge"]`` (or ``"total_charge"``) is the cell's charge; initial charges
        of atoms are what some codes start from and others sum up.

    Raises
    ------
    ValueError
        For a total charge in ``atoms.info`` that is not zero.

    Warns
    -----
    IgnoredInputWarning
        If the initial charges do not add up to zero.

    Examples
    --------
    >>> from ase.build import bulk
    >>> ion = bulk("Al")
    >>> ion.info["charge"] = 1
    >>> check_neutral(ion)
    Traceback (most recent call last):
    ValueError: the cell is said to have a charge of +1 (atoms.info['charge']): only neutral ...
    """
    for key in _CHARGE_KEYS:
        value = atoms.info.get(key)
        if isinstance(value, (int, float, np.number)):
            _check_charge(float(value), f"atoms.info[{key!r}]", f"delete atoms.info[{key!r}]")
    total = float(np.sum(atoms.get_initial_charges()))
    if abs(total) > _NEUTRAL:
        warnings.warn(
            f"the initial charges of the atoms add up to {total:+g}: they are not used, the cell "
            "is computed neutral.",
            IgnoredInputWarning,
            stacklevel=3,
        )


def _check_charge(charge: float, where: str, remedy: str) -> None:
    if not abs(charge) <= _NEUTRAL:
        raise ValueError(
            f"the cell is said to have a charge of {charge:+g} ({where}): only neutral cells can "
            f"be computed. If it is neutral, {remedy}."
        )


def check_neutral_structure(structure: Any) -> None:
    """Raise if a pymatgen Structure has a charge, its own or that of its oxidation states.

    Raises
    ------
    ValueError
        The message says how to make it neutral.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> check_neutral_structure(Structure(Lattice.cubic(3.0), ["Fe"], [[0, 0, 0]]))
    """
    with warnings.catch_warnings():
        # pymatgen says that the charge is not that of the oxidation states.
        warnings.simplefilter("ignore")
        charge = float(getattr(structure, "charge", 0.0) or 0.0)
    _check_charge(
        charge,
        "structure.charge, which without a value of its own is the sum of the oxidation states",
        "call structure.set_charge(0)",
    )


def site_moments(structure: Any) -> list[float] | None:
    """Initial moments of a pymatgen Structure, mu_B; None if it has none.

    Parameters
    ----------
    structure : pymatgen Structure
        The site property ``magmom`` (numbers, vectors or ``Magmom`` objects along one axis), or
        else the spins of its species (``structure.add_spin_by_site``).

    Raises
    ------
    ValueError
        For moments along several axes, moments that are no numbers, and a site property and
        species that contradict each other.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> iron = Structure(Lattice.cubic(2.84), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> site_moments(iron.add_spin_by_site([2.2, -2.2]))
    [2.2, -2.2]
    """
    given = structure.site_properties.get("magmom") or ()
    spins = [getattr(site.specie, "spin", None) for site in structure]
    from_sites = collinear_moments(given) if any(m is not None for m in given) else None
    from_species = collinear_moments(spins) if any(m is not None for m in spins) else None
    if from_sites is None or from_species is None:
        return from_sites if from_species is None else from_species
    if not np.allclose(from_sites, from_species, atol=_NONMAGNETIC, equal_nan=True):
        raise ValueError(
            f"the site property magmom says {from_sites}, the spins of the species say "
            f"{from_species}: remove one of the two (structure.remove_site_property('magmom'), "
            "structure.remove_spin())."
        )
    return from_sites


def collinear_moments(moments: Sequence[Any] | NDArray) -> list[float]:
    """Moments as one number for each atom, mu_B, from numbers or from vectors along one axis.

    Parameters
    ----------
    moments : sequence
        Numbers, vectors of three, pymatgen's ``Magmom`` objects, or None for an atom without one.

    Returns
    -------
    list of float
        Components along the axis, which points where the largest component of its largest moment
        is positive: of moments along z their z components.

    Raises
    ------
    ValueError
        For vectors along several axes (beyond 1 % of the largest), and what is no number.

    Examples
    --------
    >>> collinear_moments([2.0, None]), collinear_moments([[0, 0, 1.5], [0, 0, -1.5]])
    ([2.0, 0.0], [1.5, -1.5])
    >>> collinear_moments([[0, 0, 2.2], [2.2, 0, 0]])
    Traceback (most recent call last):
    ValueError: the magnetic moments [[0.0, 0.0, 2.2], [2.2, 0.0, 0.0]] ...
    """
    vectors = np.array([_vector(moment) for moment in moments]).reshape(-1, 3)
    if not vectors[:, :2].any():
        return [float(moment) for moment in vectors[:, 2]]
    largest = vectors[np.linalg.norm(vectors, axis=1).argmax()]
    length = float(np.linalg.norm(largest))
    axis = largest / length * np.sign(largest[np.abs(largest).argmax()])
    along = vectors @ axis
    across = np.linalg.norm(vectors - along[:, None] * axis, axis=1)
    if not across.max() <= _ACROSS * length:
        raise ValueError(
            f"the magnetic moments {vectors.tolist()} (mu_B) are not collinear: only moments along "
            "one axis can be computed. Give one number for each atom."
        )
    return [float(moment) for moment in along]


def _vector(moment: Any) -> NDArray[np.float64]:
    if moment is None:
        return np.zeros(3)
    value = getattr(moment, "global_moment", moment)  # of pymatgen's Magmom
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape == ():
        return np.array([0.0, 0.0, float(array)])
    if array.shape == (3,):
        return array
    raise ValueError(
        f"{moment!r} is no magnetic moment: give one number (mu_B) for each atom, or vectors along "
        "one axis."
    )


def read_atoms(path: str | os.PathLike[str], moments: bool = True) -> Atoms:
    """The structure in a file that ASE reads, the last one of several.

    Parameters
    ----------
    path : str or path
        CIF, POSCAR, extended XYZ, ...
    moments : bool, optional
        Take moments that the file holds as results of an earlier calculation (the column
        ``magmoms`` of an extended XYZ file) for initial ones, if it has no initial ones.

    Raises
    ------
    ValueError
        If the file holds no structure.

    Warns
    -----
    IgnoredInputWarning
        When results are taken for initial moments.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from ase.build import bulk
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "al.cif"
    >>> bulk("Al", cubic=True).write(path)
    >>> len(read_atoms(path))
    4
    """
    from ase import Atoms
    from ase.io import read

    atoms = read(Path(path))
    if not isinstance(atoms, Atoms):
        raise ValueError(f"{os.fspath(path)!r} holds {type(atoms).__name__}, not one structure.")
    found = result_moments(atoms) if moments else None
    if found is not None:
        atoms.set_initial_magnetic_moments(found)
        warnings.warn(
            f"the magnetic moments in {os.fspath(path)!r} are results of an earlier calculation "
            f"({_few(found)} mu_B): they are taken as initial moments, for two spin channels.",
            IgnoredInputWarning,
            stacklevel=2,
        )
    return atoms


def result_moments(atoms: Atoms) -> NDArray[np.float64] | None:
    """Moments of atoms that a file brought along as results, where there are no initial ones.

    Returns
    -------
    ndarray or None
        (natom,) or, non-collinear, (natom, 3), mu_B; None for all below 0.01 mu_B.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    if not isinstance(atoms.calc, SinglePointCalculator):
        return None
    if np.any(atoms.get_initial_magnetic_moments()):
        return None
    for name in ("magmoms", "magmom"):  # ASE calls a column "magmom" the latter
        found = np.asarray(atoms.calc.results.get(name, 0.0), dtype=np.float64)
        if found.ndim > 0 and len(found) == len(atoms) and np.abs(found).max() > _NONMAGNETIC:
            return found
    return None


def notice_unused_moments(atoms: Atoms) -> None:
    """Notice moments that are results of an earlier calculation, which a new one does not use."""
    found = result_moments(atoms)
    if found is not None:
        warnings.warn(
            f"the atoms hold magnetic moments as results of an earlier calculation ({_few(found)} "
            "mu_B), but no initial ones: the calculation is not magnetic. To start from them: "
            "atoms.set_initial_magnetic_moments(atoms.get_magnetic_moments()).",
            IgnoredInputWarning,
            stacklevel=3,
        )


def _few(moments: NDArray) -> str:
    shown = ", ".join(str(np.round(moment, 2).tolist()) for moment in moments[:4])
    return shown + (", ..." if len(moments) > 4 else "")
