"""Checks of an entry against its kind: shape of the label, atoms and potentials of the systems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_types import Entry, EntryType
from deepchem_xc.feat.schema import CrystalSpec, SystemSpec
from deepchem_xc.planewave.potentials import load_potentials
from deepchem_xc.planewave.properties.volume_series import bravais_constant
from deepchem_xc.planewave.pseudo import AtomicPotential, potential_digest

# Relative difference up to which two lattice constants are the same; files round.
_SAME_CONSTANT = 1e-4
# Kinds of entries whose label is positive for every crystal.
_POSITIVE = ("lattice_constant", "bulk_modulus")


def read_label(
    entry: Entry, kind: EntryType, given: Any, folder: Path | None = None
) -> NDArray[np.float64] | None:
    """Reference value of an entry as an array with the shape of its kind.

    Parameters
    ----------
    entry : Entry
        With its systems and scales.
    kind : EntryType
        Kind of the entry.
    given : number, str, path, array_like or None
        Value of ``true_val``; a name that ends in ``.npy`` is a file.
    folder : Path, optional
        Folder to which a relative path refers; the working directory by default.

    Returns
    -------
    ndarray or None
        (1,) for a number, otherwise an array; energies of an equation of state are relative to
        their mean.

    Raises
    ------
    ValueError
        If it is not a number, or not finite, or its shape or grid is not the expected one.
    """
    if given is None:
        return None
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if isinstance(given, str) and given.endswith(".npy"):
        path = (folder or Path()) / given
        if not path.is_file():
            raise ValueError(f"true_val: there is no file {path}")
        try:
            given = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"true_val: {path} cannot be read ({error})") from error
    try:
        label = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(
            f"true_val: {given!r} is not a number, a list of numbers or an .npy file"
        ) from None
    shape = kind.label_shape(entry)
    if label.ndim == 0:
        label = label[None]
    if len(shape) != label.ndim or any(
        n is not None and n != m for n, m in zip(shape, label.shape, strict=True)
    ):
        wanted = " x ".join("n" if n is None else str(n) for n in shape)
        raise ValueError(
            f"true_val: type {entry.entry_type} takes {wanted} numbers in {kind.unit_of(entry)}, "
            f"got shape {label.shape}{_explained(entry)}"
        )
    grid = entry.systems[0].system.get("fft_size")
    if entry.entry_type == "density" and grid and list(label.shape[1:]) != list(grid):
        raise ValueError(
            f"true_val: the density has the grid {label.shape[1:]}, but the system has fft_size "
            f"{grid}"
        )
    if not np.isfinite(label).all():
        raise ValueError("true_val: it holds NaN or infinite numbers")
    if reason := impossible_label(entry.entry_type, float(label.flat[0])):
        raise ValueError(f"true_val: {reason}")
    return label - label.mean() if entry.entry_type == "eos" else label


def impossible_label(e_type: str, value: float) -> str:
    """Reason why no crystal has this label; empty if one may.

    Parameters
    ----------
    e_type : str
        Key of `ENTRY_TYPES`.
    value : float
        The label, if it is a number.

    Examples
    --------
    >>> impossible_label("lattice_constant", 4.05), impossible_label("energy", 0.0)
    ('', '')
    """
    if e_type in _POSITIVE and not value > 0.0:
        return f"a {e_type} is positive, got {value:g}; leave a missing label empty"
    return ""


def _explained(entry: Entry) -> str:
    """What the numbers of a label belong to; empty where the type says it."""
    if entry.entry_type == "eos" and entry.scales is not None:
        return f"; its scales are {', '.join(f'{scale:g}' for scale in entry.scales)}"
    system = entry.systems[0]
    if entry.entry_type == "dm":
        return (
            f"; the basis set {system.basis} has {system.molecule.norbital} functions, in PySCF's "
            "order, and the matrix is the sum of both spins"
        )
    if entry.entry_type == "dens":
        return (
            f"; the points are those of PySCF's grid, grid_level = {system.grid_level}, as "
            "DFTEntry.get_integration_grid() returns them"
        )
    return ""


def check_balance(systems: Sequence[DFTSystem]) -> None:
    """Raise `ValueError` unless the first system holds the atoms of all others together."""
    first, *others = (
        {s: system.no * system.cells * n for s, n in system.atoms.symbols.formula.count().items()}
        for system in systems
    )
    total: dict[str, int] = {}
    for part in others:
        for symbol, n in part.items():
            total[symbol] = total.get(symbol, 0) + n
    if total != first:
        raise ValueError(
            f"systems: the first one holds {first}, but the others together {total}: set their "
            "'number' so that both are the same"
        )


def check_same_potentials(systems: Sequence[DFTSystem]) -> None:
    """Raise `ValueError` if an element has different potentials in different systems.

    Energies of different potentials have different zeros, so that their difference means nothing.

    Parameters
    ----------
    systems : sequence of DFTSystem
        Crystals whose energies are subtracted.
    """
    first: dict[str, tuple[int, AtomicPotential]] = {}
    for i, system in enumerate(systems):
        source = system.keywords["pseudopotentials"]
        for symbol, potential in load_potentials(source, system.atoms.symbols).items():
            j, other = first.setdefault(symbol, (i, potential))
            if potential_digest(potential) != potential_digest(other):
                raise ValueError(
                    f"systems[{i}].pseudopotentials: {symbol} has {potential.name} here and "
                    f"{other.name} in systems[{j}], whose energies have another zero: give all "
                    "systems the same"
                )


def check_reduction(entry: Entry, given: SystemSpec) -> None:
    """Raise `ValueError` if the label of the given cell has no meaning in the primitive one.

    Extensive values are multiplied by the number of cells, forces are repeated. What remains are
    densities, whose grid is another, and lattice constants of cells that are not the conventional
    cell of the primitive one.

    Parameters
    ----------
    entry : Entry
        With its systems, reduced where they ask for it.
    given : CrystalSpec or MoleculeSpec
        The first system before its reduction.
    """
    system = entry.systems[0]
    if not isinstance(given, CrystalSpec) or system.cells == 1:
        return
    if entry.entry_type == "density":
        raise ValueError(
            "systems[0].primitive: the density is given on the grid of the given cell, and cannot "
            "be compared with that of a primitive one; leave 'primitive' out"
        )
    if entry.entry_type == "lattice_constant":
        axis = entry.series.axis
        before = bravais_constant(given.structure.atoms(), axis)
        after = bravais_constant(system.atoms, axis)
        if abs(before / after - 1.0) > _SAME_CONSTANT:
            raise ValueError(
                f"systems[0].primitive: the constant a of the given cell is {before:.4f} Angstrom, "
                f"that of its primitive cell's lattice {after:.4f}, so that the label could mean "
                "either; give the primitive or the conventional cell itself, or leave 'primitive' "
                "out"
            )
