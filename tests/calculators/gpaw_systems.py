"""Small crystals for GPAW, and libxc's functionals as GPAW computes them with PBE's setups."""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.build import bulk

COARSE: dict[str, Any] = {"mode": {"name": "pw", "ecut": 150}, "kpts": (2, 2, 2), "txt": None}


def silicon(xc: Any, **keywords: Any) -> Atoms:
    """Diamond silicon with a coarse calculation of GPAW, in its new interface by default."""
    from gpaw.dft import GPAW

    atoms = bulk("Si")
    atoms.calc = GPAW(xc=xc, **{**COARSE, **keywords})
    return atoms


def functional_of(calculator: Any) -> Any:
    """The functional that a calculator of either interface computes with."""
    return calculator.hamiltonian.xc if calculator.old else calculator.dft.pot_calc.xc.xc


def gpaw_class_of(xc: Any) -> Any:
    """GPAW's class of a functional, which asks its kernel direction by direction."""
    return next(base for base in type(xc).__mro__ if base.__module__.startswith("gpaw.xc"))


def libxc_in_gpaw(name: str, legacy_gpaw: bool) -> Any:
    """GPAW's own functional around libxc, with the setups of PBE."""
    from gpaw.dft import XC
    from gpaw.xc.gga import GGA
    from gpaw.xc.lda import LDA
    from gpaw.xc.libxc import LibXC
    from gpaw.xc.mgga import MGGA

    kernel = LibXC(name)
    base = {"LDA": LDA, "GGA": GGA, "MGGA": MGGA}[kernel.type]

    class WithPBESetups(base):  # type: ignore[misc, valid-type]
        def get_setup_name(self) -> str:
            return "PBE"

    class Parameter(XC):  # type: ignore[misc]
        def functional(self, **_: Any) -> Any:
            return WithPBESetups(kernel)

    return WithPBESetups(kernel) if legacy_gpaw else Parameter(name)


def sphere_and_matrix(xc: Any, symbol: str, spins: int) -> tuple[Any, Any]:
    """A setup and a density matrix of its atom without any symmetry."""
    import numpy as np
    from gpaw.setup import create_setup

    setup = create_setup(symbol, xc, 2)
    occupations = setup.calculate_initial_occupation_numbers(0.3 if spins == 2 else 0.0, False, 0.0,
                                                             spins)  # fmt: skip
    matrix = setup.initialize_density_matrix(occupations)
    noise = np.random.default_rng(1).normal(size=matrix.shape)
    return setup, matrix + 0.02 * noise
