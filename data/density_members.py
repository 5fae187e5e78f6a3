"""A structure of a set of densities, and the file of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from deepchem_xc._files import write_json

# Digits of lengths (Angstrom) and of reduced positions in files.
_DIGITS = 8


@dataclass(frozen=True)
class Member:
    """A structure with its part of the set, its kind, its origin and its own settings."""

    atoms: Atoms
    part: str
    kind: str
    origin: str
    settings: Mapping[str, Any]


def write_set(
    path: Path,
    description: str,
    settings: Mapping[str, Any],
    members: Mapping[str, Member],
    quick: Sequence[str],
) -> None:
    """Write structures and settings; Angstrom, eV, mu_B. `quick` are a small part of the set."""
    content = {
        "description": description,
        "quick": list(quick),
        "settings": dict(settings),
        "structures": {name: _plain(member) for name, member in members.items()},
    }
    write_json(path, content)


def _plain(member: Member) -> dict[str, Any]:
    atoms = member.atoms
    moments = atoms.get_initial_magnetic_moments()
    return {
        "part": member.part,
        "kind": member.kind,
        "origin": member.origin,
        **member.settings,
        "symbols": str(atoms.symbols),
        "cell": _rounded(atoms.cell.array),
        "scaled_positions": _rounded(atoms.get_scaled_positions(wrap=False)),
        **({"magmoms": moments.tolist()} if moments.any() else {}),
    }


def _rounded(values: NDArray[np.float64]) -> list[list[float]]:
    """Rounded numbers, without negative zeros."""
    rounded: list[list[float]] = (values.round(_DIGITS) + 0.0).tolist()
    return rounded
