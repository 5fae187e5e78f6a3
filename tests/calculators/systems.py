"""Silicon crystals with a calculator, and a counter of the loops that it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from deepchem_xc.calculators import PlaneWaveDFT

GAMMA_MESH = {"size": (2, 2, 2), "gamma": True}
QUICK: dict[str, Any] = {"ecut": 120.0, "kpts": GAMMA_MESH}
TIGHT: dict[str, Any] = {"convergence": {"energy": 1e-10, "density": 1e-9}}


def silicon(**keywords: Any) -> Atoms:
    """Diamond silicon whose calculator has these keywords besides `QUICK`."""
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(**{**QUICK, **keywords})
    return atoms


def distorted(**keywords: Any) -> Atoms:
    """As `silicon`, with an atom displaced and the cell strained: no symmetry is left."""
    atoms = silicon(**keywords)
    atoms.positions[0] += [0.11, -0.05, 0.07]
    strain = np.array([[0.01, 0.004, 0.0], [0.004, -0.006, 0.003], [0.0, 0.003, 0.002]])
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


class Count:
    """How many self-consistency loops were run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from deepchem_xc.planewave import assembly

        self.loops = 0
        solve = assembly.solve

        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.loops += 1
            return solve(*arguments, **keywords)

        monkeypatch.setattr(assembly, "solve", counted)
