"""Charges and moments in structures of ASE and pymatgen.

Input that a plane-wave calculation cannot represent raises an error; unused input raises a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepchem_xc._caller import users_stacklevel

if TYPE_CHECKING:
    from ase import Atoms

# Largest charge (elementary charges) and moment (mu_B) that count as zero.
_NEUTRAL, _NONMAGNETIC = 1e-6, 1e-2
# Largest component across the common axis, relative to the largest moment.
_ACROSS = 1e-2
_CHARGE_KEYS = ("charge", "total_charge")
# Keys of a multiplicity or a spin in other programs; 0 and 1 mean a closed shell.
_SPIN_KEYS = ("spin", "multiplicity", "spin_multiplicity")
# Site properties of pymatgen that hold moments which are not used.
_OTHER_MOMENTS = ("magmoms", "final_magmom", "magnetic_moment", "magnetic_moments")


class IgnoredInputWarning(UserWarning):
    """Part of the input is not used, or is used for another purpose."""


def check_neutral(atoms: Atoms) -> None:
    """Raise if ASE atoms have a cell charge; warn if initial charges do not add up to zero.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure. ``info["charge"]`` (or ``"total_charge"``) is the cell's charge; some codes start
        from the initial charges of atoms, others sum them up.

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
    _check_charges(atoms.info, "atoms.info", "delete")
    charges = atoms.get_initial_charges()
    states = atoms.arrays.get("oxi_states")  # from pymatgen, which leaves the charge behind
    if not charges.any() and states is not None:
        charges = np.array([0.0 if state is None else float(state) for state in states])
    _notice_charges(float(np.sum(charges)))


def _notice_charges(total: float) -> None:
    if abs(total) > _NEUTRAL:
        warnings.warn(
            f"the initial charges of the atoms add up to {total:+g}: they are not used, the cell "
            "is computed neutral.",
            IgnoredInputWarning,
            stacklevel=users_stacklevel(),
        )


def _check_charges(said: Mapping[str, Any], where: str, remedy: str) -> None:
    """Raise if entries of `said` are a charge of the cell, also as text."""
    for key in _CHARGE_KEYS:
        if said.get(key) is None:
            continue
        name = f"{where}[{key!r}]"
        try:
            charge = float(np.sum(np.asarray(said[key], dtype=np.float64)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} is {said[key]!r}, which is not a charge: only neutral cells can be "
                f"computed. If it is neutral, {remedy} {name}."
            ) from error
        _check_charge(charge, name, f"{remedy} {name}")


def notice_unused_spin(atoms: Atoms) -> None:
    """Warn of a spin or multiplicity in ``atoms.info`` if there are no initial moments.

    Examples
    --------
    >>> from ase.build import bulk
    >>> notice_unused_spin(bulk("Al"))
    """
    if np.any(atoms.get_initial_magnetic_moments()):
        return
    for key in _SPIN_KEYS:
        if atoms.info.get(key) not in (None, 0, 1):
            warnings.warn(
                f"atoms.info[{key!r}] = {atoms.info[key]!r} is not used: the calculation is not "
                "magnetic. Set atoms.set_initial_magnetic_moments([...]); occupations="
                "{'fixmagmom': True} holds their sum.",
                IgnoredInputWarning,
                stacklevel=users_stacklevel(),
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
        If it has; the message says how to make it neutral.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> check_neutral_structure(Structure(Lattice.cubic(3.0), ["Fe"], [[0, 0, 0]]))
    """
    with warnings.catch_warnings():
        # pymatgen warns if the charge is not that of the oxidation states.
        warnings.simplefilter("ignore")
        charge = float(getattr(structure, "charge", 0.0) or 0.0)
    _check_charge(
        charge,
        "structure.charge, by default the sum of the oxidation states",
        "call structure.set_charge(0)",
    )
    _check_charges(getattr(structure, "properties", None) or {}, "structure.properties", "delete")
    charges = structure.site_properties.get("charge") or ()
    _notice_charges(float(sum(charge for charge in charges if charge is not None)))


def site_moments(structure: Any) -> list[float] | None:
    """Initial moments of a pymatgen Structure, mu_B; None if it has none.

    Parameters
    ----------
    structure : pymatgen Structure
        With the site property ``magmom`` (numbers, vectors or ``Magmom`` objects along one axis) or
        spins of its species (``structure.add_spin_by_site``).

    Raises
    ------
    ValueError
        For moments along several axes, moments that are not numbers, and a site property that
        contradicts the species.

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
    if from_sites is None and from_species is None:
        _notice_other_moments(structure)
    if from_sites is None or from_species is None:
        return from_sites if from_species is None else from_species
    if not np.allclose(from_sites, from_species, atol=_NONMAGNETIC, equal_nan=True):
        raise ValueError(
            f"the site property magmom is {from_sites}, but the spins of the species are "
            f"{from_species}: remove one of the two (structure.remove_site_property('magmom'), "
            "structure.remove_spin())."
        )
    return from_sites


def _notice_other_moments(structure: Any) -> None:
    """Warn of site properties that look like moments under another name."""
    for name in _OTHER_MOMENTS:
        given = structure.site_properties.get(name)
        if given is not None and any(np.any(getattr(m, "moment", m)) for m in given):
            warnings.warn(
                f"the site property {name!r} is not used: the calculation is not magnetic. To "
                "start from these moments: structure.add_site_property('magmom', "
                f"structure.site_properties[{name!r}]).",
                IgnoredInputWarning,
                stacklevel=users_stacklevel(),
            )


def collinear_moments(moments: Sequence[Any] | NDArray) -> list[float]:
    """Moments as one number for each atom (mu_B), from numbers or vectors along one axis.

    Parameters
    ----------
    moments : sequence
        Numbers, vectors of three, pymatgen's ``Magmom`` objects, or None for an atom without one.

    Returns
    -------
    list of float
        Components along the axis, whose sign makes the largest component of the largest moment
        positive: for moments along z their z components.

    Raises
    ------
    ValueError
        For vectors along several axes (beyond 1 % of the largest), and values that are not numbers.

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
    value = getattr(moment, "global_moment", moment)  # from pymatgen's Magmom
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape == ():
        return np.array([0.0, 0.0, float(array)])
    if array.shape == (3,):
        return array
    raise ValueError(
        f"{moment!r} is not a magnetic moment: give one number (mu_B) for each atom, or vectors "
        "along one axis."
    )


def result_moments(atoms: Atoms) -> NDArray[np.float64] | None:
    """Moments of atoms that are results from a file, if there are no initial ones.

    Returns
    -------
    ndarray or None
        (natom,) or, if non-collinear, (natom, 3), mu_B; None if all are below 0.01 mu_B.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    if not isinstance(atoms.calc, SinglePointCalculator):
        return None
    if np.any(atoms.get_initial_magnetic_moments()):
        return None
    for name in ("magmoms", "magmom"):  # ASE stores a column "magmom" under the latter
        found = np.asarray(atoms.calc.results.get(name, 0.0), dtype=np.float64)
        if found.ndim > 0 and len(found) == len(atoms) and np.abs(found).max() > _NONMAGNETIC:
            return found
    return None


def notice_unused_moments(atoms: Atoms) -> None:
    """Warn of moments that are results of an earlier calculation, which a new one ignores."""
    found = result_moments(atoms)
    if found is not None:
        warnings.warn(
            "the atoms hold magnetic moments as results of an earlier calculation "
            f"({few_moments(found)} mu_B), but no initial ones: the calculation is not magnetic. "
            "To start from them: atoms.set_initial_magnetic_moments(atoms.get_magnetic_moments()).",
            IgnoredInputWarning,
            stacklevel=users_stacklevel(),
        )


def few_moments(moments: NDArray) -> str:
    """The first few moments, as text for a message.

    Examples
    --------
    >>> few_moments(np.array([2.0, -2.0]))
    '2.0, -2.0'
    """
    shown = ", ".join(str(np.round(moment, 2).tolist()) for moment in moments[:4])
    return shown + (", ..." if len(moments) > 4 else "")
