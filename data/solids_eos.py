"""Compute the equations of state that `load_solids_eos` adds to the training crystals, with GPAW.

Oxides, carbides, nitrides, layered crystals, semiconductors and metals, computed as the crystals
of gpaw_training.py are. Among them are crystals of Al, Ca and C, which that file leaves out; the
loader keeps them out of its training set. Written: solids_eos.json, all that GPAW gave, and
solids_eos.yaml, entries with the settings of this package's own calculations. An interrupted run
resumes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ase.collections import dcdft
from ase.units import Bohr, Hartree
from gpaw_training import compute, cubic
from scipy.fft import next_fast_len

from deepchem_xc.against_gpaw.gpaw_reference import GpawSettings, load_gpaw_eos
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.tables import as_table

HERE = Path(__file__).parent
HEADER = (
    "crystal",
    "cutoff (eV)",
    "mesh",
    "a (Angstrom)",
    "modulus (GPa)",
    "a, all-electron",
    "modulus, all-electron",
    "rms of fit (micro-eV)",
    "CPU time (s)",
    "cutoff here (eV)",
)


def points_along(length: float, ecut: float) -> int:
    """Grid points along a lattice vector (its height, Angstrom) that is perpendicular to others."""
    reach = length / Bohr * (2.0 * ecut / Hartree) ** 0.5
    return next_fast_len(math.ceil(0.49 * reach), real=True)


def hexagonal(
    structure: str,
    symbol: str,
    a: float,
    ecut: float,
    kpts: tuple[int, int, int],
    nbands: int,
    **lengths: float,
) -> GpawSettings:
    """Settings of a hexagonal crystal or layer, with a grid as `cubic` gives it."""
    trial = GpawSettings(structure, symbol, a, ecut, kpts, (1, 1, 1), nbands, **lengths)
    largest = trial.atoms(max(VOLUME_SCALES)).cell
    n = points_along(largest.lengths()[0], ecut)
    across = points_along(largest.lengths()[2], ecut)
    return GpawSettings(structure, symbol, a, ecut, kpts, (n, n, across), nbands, **lengths)


#: In the order in which they are computed.
SETTINGS: Mapping[str, GpawSettings] = {
    # Carbides
    "SiC": cubic("zincblende", "SiC", 4.38, ecut=800, nk=6, nbands=8),
    "ZrC": cubic("rocksalt", "ZrC", 4.72, ecut=700, nk=6, nbands=14),
    "NbC": cubic("rocksalt", "NbC", 4.49, ecut=700, nk=6, nbands=14),
    # Oxides
    "BaO": cubic("rocksalt", "BaO", 5.575, ecut=800, nk=4, nbands=12),
    "ZrO2": cubic("fluorite", "ZrO2", 5.13, ecut=800, nk=4, nbands=16),
    "CaO": cubic("rocksalt", "CaO", 4.84, ecut=800, nk=4, nbands=12),
    # Layered ones
    "h-BN": hexagonal("h-BN", "BN", 2.513, 800, (8, 8, 3), nbands=12, c=6.66),
    "BN layer": hexagonal("graphene", "BN", 2.513, 800, (8, 8, 1), nbands=8, vacuum=10.0),
    "MoS2 layer": hexagonal(
        "2H", "MoS2", 3.185, 600, (8, 8, 1), nbands=18, vacuum=10.0, thickness=3.13
    ),
    # Nitrides
    "AlN": cubic("zincblende", "AlN", 4.40, ecut=800, nk=6, nbands=8),
    "ZrN": cubic("rocksalt", "ZrN", 4.60, ecut=700, nk=6, nbands=14),
    # Metals
    "Zr": hexagonal("hcp", "Zr", 3.236, 600, (8, 8, 5), nbands=20, c=5.1895),
    "W": cubic("bcc", "W", 3.185, ecut=600, nk=8, nbands=12),
    "Ta": cubic("bcc", "Ta", 3.32, ecut=600, nk=8, nbands=12),
    "V": cubic("bcc", "V", 3.0, ecut=700, nk=8, nbands=12),
    "Pt": cubic("fcc", "Pt", 3.97, ecut=700, nk=8, nbands=14),
    "Ir": cubic("fcc", "Ir", 3.87, ecut=700, nk=8, nbands=14),
    # Semiconductors
    "AlP": cubic("zincblende", "AlP", 5.51, ecut=600, nk=6, nbands=8),
    "AlAs": cubic("zincblende", "AlAs", 5.73, ecut=600, nk=6, nbands=8),
    "InAs": cubic("zincblende", "InAs", 6.18, ecut=600, nk=6, nbands=13),
    # With GTH potentials beyond reach, see CUTOFFS
    "MgO": cubic("rocksalt", "MgO", 4.26, ecut=800, nk=4, nbands=12),
    "NaCl": cubic("rocksalt", "NaCl", 5.70, ecut=700, nk=4, nbands=11),
}

#: Cutoffs (eV) of this package's calculations with GTH-PBE potentials, as in gpaw_training.py.
#: MgO and NaCl have none: beyond 12000 and 8000 eV.
CUTOFFS: Mapping[str, float] = {
    "SiC": 1600,
    "ZrC": 2000,
    "NbC": 1600,
    "BaO": 2800,
    "ZrO2": 2800,
    "CaO": 2800,
    "h-BN": 2000,
    "BN layer": 2000,
    "MoS2 layer": 1250,
    "AlN": 2000,
    "ZrN": 2000,
    "Zr": 2000,
    "W": 1250,
    "Ta": 1200,
    "V": 3300,
    "Pt": 1700,
    "Ir": 1200,
    "AlP": 900,
    "AlAs": 700,
    "InAs": 1250,
}

#: Volumes (Angstrom^3) and bulk moduli (GPa) of the cells of `SETTINGS` by all-electron codes with
#: PBE, WIEN2k and FLEUR in the mean, from the ACWF verification: E. Bosoni et al., Nat. Rev. Phys.
#: 6, 45 (2024), its file results-oxides-verification-PBE-v1-ae.json.
ALL_ELECTRON: Mapping[str, tuple[float, float]] = {
    "BaO": (43.305905, 69.06),
    "ZrO2": (33.473297, 235.97),
    "CaO": (28.190281, 105.19),
    "MgO": (19.249039, 148.98),
}


def all_electron(name: str) -> tuple[float, float] | None:
    """Volume (Angstrom^3) and bulk modulus (GPa), or None where there is no such value.

    Elements in the structure of the Delta test have WIEN2k's [1]_; the other compounds and the
    layers have none.

    References
    ----------
    .. [1] K. Lejaeghere et al., Science 351, aad3000 (2016), as in `ase.collections.dcdft`.
    """
    if name in ALL_ELECTRON:
        return ALL_ELECTRON[name]
    if name not in dcdft.names or SETTINGS[name].layered:
        return None
    known = dcdft.data[name]
    return known["wien2k_volume"] * len(SETTINGS[name].atoms()), known["wien2k_B"]


def table() -> str:
    """The table of README.md."""
    rows = []
    for name, result in load_gpaw_eos(HERE / "solids_eos.json").items():
        if "fit" not in result:
            continue
        settings, fit, other = SETTINGS[name], result["fit"]["energy"], all_electron(name)
        layered = settings.layered
        compared = ["-", "-"]
        if other is not None:
            compared = [
                f"{100 * ((fit['volume'] / other[0]) ** (1 / 3) - 1):+.2f} %",
                f"{100 * (fit['bulk_modulus'] / other[1] - 1):+.1f} %",
            ]
        rows.append(
            [
                name,
                f"{settings.ecut:g}",
                " x ".join(map(str, settings.kpts)),
                f"{fit['a']:.4f}",
                f"{fit['layer_modulus']:.1f} N/m" if layered else f"{fit['bulk_modulus']:.1f}",
                *compared,
                f"{1e6 * fit['residual']:.0f}",
                f"{sum(point['cpu_seconds'] for point in result['points']):.0f}",
                f"{CUTOFFS[name]:g}" if name in CUTOFFS else "-",
            ]
        )
    return as_table(rows, HEADER, left=1, markdown=True)


if __name__ == "__main__":
    compute(__doc__.split("\n")[0], SETTINGS, CUTOFFS, HERE / "solids_eos.json")
    print(table())
