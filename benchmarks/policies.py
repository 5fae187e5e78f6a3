"""How steps and products with H change where a number of the loop's policies is changed.

Numbers are multiplied by a third and by three (whole ones halved and doubled). The work is counted
in products of H with one orbital, so that the machine and its load do not matter. The table that
this prints is behind the column "measured" of docs/constants.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from ase import Atoms
from ase.build import bulk
from torch import Tensor

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.policies import (
    Effort,
    LocalisedLevels,
    MomentRelease,
    Policies,
    Precision,
)

POLICIES = {
    "effort": Effort,
    "precision": Precision,
    "moment": MomentRelease,
    "localised": LocalisedLevels,
}


def nickel() -> dict[str, Any]:
    """A magnet, whose moment is held at first."""
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.6])
    return {"target": atoms, "ecut": 300.0, "kpts": (2, 2, 2)}


def salt() -> dict[str, Any]:
    """Atoms 5 Angstrom apart: localised levels that exchange electrons."""
    positions = [[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]]
    atoms = Atoms("NaCl", positions=positions, cell=[5.0, 5.0, 10.0], pbc=True)
    width = {"name": "fermi-dirac", "width": 0.05}
    return {"target": atoms, "ecut": 150.0, "occupations": width}


SYSTEMS: dict[str, Callable[[], dict[str, Any]]] = {
    "Si": lambda: {"target": bulk("Si"), "ecut": 150.0, "kpts": (2, 2, 2)},
    "Al": lambda: {"target": bulk("Al"), "ecut": 150.0, "kpts": (3, 3, 3)},
    "Ni": nickel,
    "Na + Cl": salt,
}


def work(keywords: dict[str, Any]) -> str:
    """Steps, and products of H with an orbital; a minus for loops that do not converge."""
    products = 0
    original = Hamiltonian.apply

    def counted(self: Hamiltonian, block: Tensor, *arguments: Any) -> Tensor:
        nonlocal products
        products += block[..., 0].numel()
        return original(self, block, *arguments)

    with patch.object(Hamiltonian, "apply", counted):
        try:
            steps = len(scf(**keywords).history)
        except SCFConvergenceError:
            return "-"
    return f"{steps} ({products})"


def changes(wanted: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Labels and keywords, with one number changed each."""
    yield "as it is", {}
    for name, policy in (*POLICIES.items(), ("mixing", Mixing)):
        for field in dataclasses.fields(policy):
            label, default = f"{policy.__name__}.{field.name}", field.default
            if not label.startswith(wanted) or isinstance(default, bool | str):
                continue
            if isinstance(default, int):
                values: tuple[float, ...] = (max(1, default // 2), 2 * default)
            else:
                assert isinstance(default, float)
                values = (default / 3.0, default * 3.0)
                if policy is Mixing:
                    values = (values[0], min(values[1], 1.0))
            for value in values:
                changed = policy(**{field.name: value})
                keyword = (
                    {"mixing": changed}
                    if policy is Mixing
                    else {"policies": Policies(**{name: changed})}
                )
                yield f"{label} = {value:.3g}", keyword


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="beginning of a name, such as Effort.f")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="some of them, with commas")
    options = parser.parse_args()
    systems = options.systems.split(",")
    warnings.simplefilter("ignore")
    print("| steps (products of H with an orbital) |", " | ".join(systems), "|")
    print("|---|" + "---:|" * len(systems))
    for label, keywords in changes(options.only):
        found = [work(SYSTEMS[name]() | keywords) for name in systems]
        print(f"| {label} |", " | ".join(found), "|", flush=True)


if __name__ == "__main__":
    main()
