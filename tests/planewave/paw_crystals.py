"""Small crystals and molecules with PAW datasets, here and in GPAW, for tests of observables."""

from __future__ import annotations

from typing import Any

import pytest
from ase import Atoms

from deepchem_xc.planewave import Crystal, SCFResult, scf
from deepchem_xc.xc import XCFunctional

FERMI = {"name": "fermi-dirac", "width": 0.1}
PRECISE = {"density": 1e-7, "energy": 1e-8}


def paw(
    atoms: Atoms | Crystal,
    ecut: float,
    mesh: tuple[int, int, int],
    functional: str | XCFunctional = "PBE",
    **keywords: Any,
) -> SCFResult:
    """Ground state with the PBE datasets of the package gpaw-data, or skip; `ecut` in eV."""
    pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    settings = {"kpts": {"size": mesh, "gamma": True}, "occupations": FERMI, "convergence": PRECISE}
    settings |= {"pseudopotentials": "paw-pbe", "ecut": ecut, **keywords}
    return scf(atoms, functional, **settings)


def gpaw(atoms: Atoms, ecut: float, mesh: tuple[int, int, int], **keywords: Any) -> Any:
    """GPAW's calculator after the same calculation."""
    from gpaw import GPAW, PW

    copy = atoms.copy()
    settings = {"kpts": {"size": mesh, "gamma": True}, "occupations": FERMI, "txt": None}
    convergence = {"density": 1e-7, "eigenstates": 1e-9}
    given = {"xc": "PBE", "convergence": convergence, **settings, **keywords}
    copy.calc = GPAW(mode=PW(ecut), **given)
    copy.get_potential_energy()
    return copy.calc
