from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase.units import GPa

from deepchem_xc.against_gpaw import CASES, Case
from deepchem_xc.eos.scales import VOLUME_SCALES


def birch_murnaghan(volumes: Any, volume: float, modulus: float, energy: float = -3.0) -> Any:
    """Energies (eV) of the equation of state written out in its pressure derivative 4.5."""
    strain = ((volume / np.asarray(volumes)) ** (2 / 3) - 1) / 2
    prefactor = 9 / 2 * volume * modulus * GPa
    return energy + prefactor * strain**2 * (1 + (4.5 - 4) * strain)


def synthetic_point(case: Case, scale: float, a: float, modulus: float) -> dict[str, Any]:
    """What a solver with this fcc lattice constant (Angstrom) and bulk modulus (GPa) would give."""
    volume = float(case.atoms(scale).get_volume())
    energy = float(birch_murnaghan(volume, a**3 / 4, modulus))
    return {
        "scale": scale,
        "volume": volume,
        "energy": energy,
        "free_energy": energy - 0.01,
        "magmom": case.magmom,
        "seconds": 2.0,
    }


@pytest.fixture
def curve() -> Callable[[Case, float, float], list[dict[str, Any]]]:
    """``curve(case, a, modulus)``: points at all scales."""
    return lambda case, a, modulus: [
        synthetic_point(case, scale, a, modulus) for scale in VOLUME_SCALES
    ]


@pytest.fixture
def al() -> Case:
    return CASES["gth"]["Al"]
