from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.units import GPa

from deepchem_xc.benchmark import CASES, Case
from deepchem_xc.benchmark.cases import SCALES


def birch_murnaghan(volumes: Any, volume: float, modulus: float, energy: float = -3.0) -> Any:
    """Energies (eV) of the equation of state written out in its pressure derivative 4.5."""
    strain = ((volume / np.asarray(volumes)) ** (2 / 3) - 1) / 2
    prefactor = 9 / 2 * volume * modulus * GPa
    return energy + prefactor * strain**2 * (1 + (4.5 - 4) * strain)


def synthetic_point(case: Case, scale: float, size: float, modulus: float) -> dict[str, Any]:
    """What a solver with this equilibrium volume would give."""
    volume = float(case.atoms(scale).get_volume())
    return {
        "scale": scale,
        "volume": volume,
        "energy": float(birch_murnaghan(volume, size, modulus)),
        "free_energy": float(birch_murnaghan(volume, size, modulus)) - 0.01,
        "magmom": case.magmom,
        "seconds": 2.0,
    }


def synthetic_curve(case: Case, a: float, modulus: float) -> list[dict[str, Any]]:
    return [synthetic_point(case, scale, a**3 / 4, modulus) for scale in SCALES]


@pytest.fixture
def al() -> Case:
    return CASES["Al"]
