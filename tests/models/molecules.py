"""Small molecules as systems of entries."""

from __future__ import annotations

from typing import Any

TIGHT = {"energy": 1e-11, "commutator": 1e-10}
# Atoms of each, bohr, and its unpaired electrons.
MOLDESC = {
    "H": ("H 0 0 0", 1),
    "Li": ("Li 0 0 0", 1),
    "N": ("N 0 0 0", 3),
    "H2": ("H 0 0 0.7; H 0 0 -0.7", 0),
    "LiH": ("Li 1.5070 0 0; H -1.5070 0 0", 0),
    "HF": ("H 0.86625 0 0; F -0.86625 0 0", 0),
    "N2": ("N 0 0 1.0372; N 0 0 -1.0372", 0),
    "NH2": ("N 0 0 0.27; H 0 1.51 -0.93; H 0 -1.51 -0.93", 1),
    "H2O": ("O 0 0 0.225; H 0 1.44 -0.90; H 0 -1.44 -0.90", 0),
}


def system(name: str, **more: Any) -> dict[str, Any]:
    """A molecule in a small basis set on a coarse grid, tightly converged."""
    moldesc, spin = MOLDESC[name]
    words = {"basis": "6-31g", "spin": spin, "grid_level": 0, "convergence": TIGHT}
    return {"moldesc": moldesc, **words, **more}


def atomisation(name: str, atoms: dict[str, int], **more: Any) -> list[dict[str, Any]]:
    """A molecule and its atoms, as an entry of type ae has them."""
    parts = [system(atom, **{**more, "number": number}) for atom, number in atoms.items()]
    return [system(name, **more), *parts]
