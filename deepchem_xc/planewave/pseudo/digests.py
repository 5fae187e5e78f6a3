"""Hashes of potentials and of their atoms, which are the same whatever these are named.

A potential's hash covers what energies depend on; its atom's hash covers what superpositions of
atoms are made of. A potential and its atom are separate: files may hold the atom of their
generator, and two potentials with the same atom are still different.
"""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from deepchem_xc.store import digest_of_arrays

from .base import AtomicPotential, Pseudopotential

__all__ = ["atom_digest", "potential_digest"]

# Squared wave vectors (bohr^-2) at which form factors are compared.
_Q2 = (0.03, 0.4, 1.7, 6.0, 19.0, 60.0)
# Parts of the largest value below which values of form factors count as equal: far more than the
# rounding of another processor, so that a value almost never falls on either side of a step.
_STEP = 1e-7
_LENGTH = 32
_potentials: WeakKeyDictionary[AtomicPotential, str] = WeakKeyDictionary()
_atoms: WeakKeyDictionary[AtomicPotential, str] = WeakKeyDictionary()


def potential_digest(potential: AtomicPotential) -> str:
    """Hash of local potential, projectors, core density and valence charge, hexadecimal.

    Name, functional and file format do not enter, and neither does the atom: see `atom_digest`.

    Parameters
    ----------
    potential : AtomicPotential
        Any.

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import load_gth
    >>> named, of_family = load_gth("Si", "GTH-PBE-q4"), load_gth("Si", "gth-pbe")
    >>> potential_digest(named) == potential_digest(of_family)
    True
    >>> potential_digest(load_gth("Si", "gth-pade")) == potential_digest(of_family)
    False
    """
    if potential not in _potentials:
        given = potential.definition()
        if given is None:
            # Only norm-conserving potentials may lack a definition.
            assert isinstance(potential, Pseudopotential)
            given = _rounded_definition(potential)
        _potentials[potential] = digest_of_arrays(given)[:_LENGTH]
    return _potentials[potential]


def atom_digest(potential: AtomicPotential) -> str:
    """Hash of the form factors from which `KohnShamProblem.atomic_density` makes densities.

    Parameters
    ----------
    potential : AtomicPotential
        Any; its atom is solved if that has not been done yet.

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import load_gth
    >>> len(atom_digest(load_gth("Si", "gth-pbe")))
    32
    """
    if potential not in _atoms:
        q2 = torch.tensor((0.0, *_Q2), dtype=torch.float64)
        values = [potential.atomic_density(q2), potential.atom.open_shell(q2)[0]]
        rounded = {str(i): _rounded(value) for i, value in enumerate(values)}
        rounded["unpaired"] = np.array(float(potential.atom.unpaired))
        _atoms[potential] = digest_of_arrays(rounded)[:_LENGTH]
    return _atoms[potential]


def _rounded_definition(potential: Pseudopotential) -> dict[str, NDArray[Any]]:
    """Values of a potential's form factors, rounded, by name."""
    q2 = torch.tensor(_Q2, dtype=torch.float64)
    # The Coulomb part would hide changes of the rest, and follows from the valence charge.
    short = potential.local(q2) + 4.0 * math.pi * potential.valence / q2
    values: dict[str, Any] = {"valence": potential.valence, "alpha": potential.alpha}
    values["local"] = short
    for i, channel in enumerate(potential.channels):
        values[f"projectors {i} of l={channel.l}"] = potential.projectors(i, q2)
        values[f"coupling {i}"] = channel.coupling
    if potential.has_core_density:
        values["core density"] = potential.core_density(q2)
    return {name: _rounded(torch.as_tensor(value)) for name, value in values.items()}


def _rounded(values: torch.Tensor) -> NDArray[Any]:
    """Whole steps of a ten-millionth of the largest value, and that value with seven digits."""
    flat = values.detach().to("cpu", torch.float64).reshape(-1).numpy()
    largest = float(np.abs(flat).max(initial=0.0))
    digits, exponent = f"{largest:.6e}".split("e")
    steps = np.rint(flat / (largest * _STEP)) if largest > 0.0 else np.zeros_like(flat)
    scale = [int(digits.replace(".", "")), int(exponent)]
    return np.array([*steps.tolist(), *scale], dtype=np.int64)
