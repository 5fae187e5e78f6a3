"""The calculations of `abinit_reference.py`, in bohr and Hartree."""

from __future__ import annotations

from typing import Any

import numpy as np


def cubic(a: float) -> list[list[float]]:
    """Simple cubic lattice, bohr."""
    return [[a, 0.0, 0.0], [0.0, a, 0.0], [0.0, 0.0, a]]


def fcc(a: float) -> list[list[float]]:
    """Primitive face-centred cubic lattice of the cubic constant a, bohr."""
    return [[0.0, a / 2, a / 2], [a / 2, 0.0, a / 2], [a / 2, a / 2, 0.0]]


def bcc(a: float) -> list[list[float]]:
    """Primitive body-centred cubic lattice of the cubic constant a, bohr."""
    return [[-a / 2, a / 2, a / 2], [a / 2, -a / 2, a / 2], [a / 2, a / 2, -a / 2]]


def hexagonal(a: float, c: float) -> list[list[float]]:
    """Hexagonal lattice, bohr."""
    return [[a, 0.0, 0.0], [-a / 2, a * np.sqrt(0.75), 0.0], [0.0, 0.0, c]]


def rhombohedral(a: float, c: float) -> list[list[float]]:
    """Primitive rhombohedral lattice of the hexagonal constants a and c, bohr."""
    x, y, z = a / 2, a / np.sqrt(12), c / 3
    return [[x, -y, z], [0.0, 2 * y, z], [-x, -y, z]]


def tetragonal(a: float, c: float) -> list[list[float]]:
    """Tetragonal lattice, bohr."""
    return [[a, 0.0, 0.0], [0.0, a, 0.0], [0.0, 0.0, c]]


def system(
    lattice: Any, atoms: list[tuple[str, list[float]]], pseudos: str, ecut: float, **options: Any
) -> dict[str, Any]:
    """One calculation.

    Parameters
    ----------
    lattice : (3, 3)
        Rows, bohr.
    atoms : list of (symbol, reduced position)
        The basis.
    pseudos : str
        Names separated by blanks, ``"Na.GTH-PBE-q9 Cl.GTH-PBE-q7"`` or ``"Si.psp8"``.
    ecut : float
        Hartree.
    **options
        ecut_smoothing (Hartree), kmesh, kshift, occupations (name, width in Hartree), nband,
        moments (mu_B), fixed_moment, xc, symmetry, note.
    """
    return {"lattice": lattice, "atoms": atoms, "pseudos": pseudos, "ecut": ecut, **options}


_ROCKSALT = [0.5, 0.5, 0.5]
_ZINCBLENDE = [0.25, 0.25, 0.25]
_O2_GAP = 0.142
_TRICLINIC = [[7.1, 0.3, -0.4], [0.9, 7.8, 0.5], [-0.6, 1.1, 8.3]]
_RUTILE = 0.3053

SYSTEMS: dict[str, dict[str, Any]] = {
    "Si_disp_r2SCAN_E15_k222": system(
        fcc(10.26),
        [("Si", [0.01, 0.02, 0.03]), ("Si", _ZINCBLENDE)],
        "Si.GTH-PBE-q4",
        15.0,
        xc="r2SCAN",
        kmesh=[2, 2, 2],
        symmetry=False,
        note="meta-GGA; one atom displaced; ABINIT without symmetry",
    ),
    "Al_r2SCAN_E15_k444_FD0.01": system(
        fcc(7.63),
        [("Al", [0, 0, 0])],
        "Al.GTH-PBE-q3",
        15.0,
        xc="r2SCAN",
        kmesh=[4, 4, 4],
        occupations=("fermi-dirac", 0.01),
        nband=8,
        note="meta-GGA",
    ),
    "Li_r2SCAN_E20_k333_spin_FD0.01": system(
        bcc(6.5),
        [("Li", [0, 0, 0])],
        "Li.GTH-PBE-q3",
        20.0,
        xc="r2SCAN",
        kmesh=[3, 3, 3],
        occupations=("fermi-dirac", 0.01),
        nband=8,
        moments=[1.0],
        fixed_moment=0.4,
        note="meta-GGA with two spin channels; the moment is held fixed",
    ),
    "Si_strained_smoothed_PBE_E10_k222": system(
        [[0.1, 5.1, 5.15], [5.2, 0.0, 5.05], [5.1, 5.0, -0.1]],
        [("Si", [0, 0, 0]), ("Si", [0.24, 0.26, 0.25])],
        "Si.GTH-PBE-q4",
        10.0,
        ecut_smoothing=2.0,
        kmesh=[2, 2, 2],
        symmetry=False,
        note="kinetic energy smoothed at the cutoff; strained; ABINIT without symmetry",
    ),
    "NaCl_PBE_E25_k222": system(
        fcc(10.66),
        [("Na", [0, 0, 0]), ("Cl", _ROCKSALT)],
        "Na.GTH-PBE-q9 Cl.GTH-PBE-q7",
        25.0,
        kmesh=[2, 2, 2],
    ),
    "MgO_disp_PBE_E25_k222": system(
        fcc(7.96),
        [("Mg", [0.01, -0.02, 0.015]), ("O", _ROCKSALT)],
        "Mg.GTH-PBE-q10 O.GTH-PBE-q6",
        25.0,
        kmesh=[2, 2, 2],
        note="magnesium displaced",
    ),
    "GaAs_PBE_E20_k222shift": system(
        fcc(10.68),
        [("Ga", [0, 0, 0]), ("As", _ZINCBLENDE)],
        "Ga.GTH-PBE-q13 As.GTH-PBE-q5",
        20.0,
        kmesh=[2, 2, 2],
        kshift=[0.5, 0.5, 0.5],
        symmetry=False,
        nband=13,
    ),
    "Cu_PBE_E30_k444_MP0.01": system(
        fcc(6.83),
        [("Cu", [0, 0, 0])],
        "Cu.GTH-PBE-q11",
        30.0,
        kmesh=[4, 4, 4],
        occupations=("methfessel-paxton", 0.01),
        nband=14,
    ),
    "Fe_bcc_PBE_E30_k444_FD0.005": system(
        bcc(5.42),
        [("Fe", [0, 0, 0])],
        "Fe.GTH-PBE-q16",
        30.0,
        kmesh=[4, 4, 4],
        occupations=("fermi-dirac", 0.005),
        moments=[3.0],
        nband=18,
    ),
    "Fe_bcc_fixed_moment_PBE_E25_k333_FD0.01": system(
        bcc(5.42),
        [("Fe", [0, 0, 0])],
        "Fe.GTH-PBE-q16",
        25.0,
        kmesh=[3, 3, 3],
        occupations=("fermi-dirac", 0.01),
        moments=[2.0],
        fixed_moment=2.0,
        nband=18,
    ),
    "Cr_afm_PBE_E25_k333_G0.01": system(
        cubic(5.60),
        [("Cr", [0, 0, 0]), ("Cr", _ROCKSALT)],
        "Cr.GTH-PBE-q14",
        25.0,
        kmesh=[3, 3, 3],
        occupations=("gaussian", 0.01),
        moments=[3.0, -3.0],
        nband=24,
    ),
    "NiO_afm_PADE_E20_k222_FD0.005": system(
        [[7.9, 3.95, 3.95], [3.95, 7.9, 3.95], [3.95, 3.95, 7.9]],
        [
            ("Ni", [0, 0, 0]),
            ("Ni", _ROCKSALT),
            ("O", [0.25, 0.25, 0.25]),
            ("O", [0.75, 0.75, 0.75]),
        ],
        "Ni.GTH-PADE-q10 O.GTH-PADE-q6",
        20.0,
        kmesh=[2, 2, 2],
        occupations=("fermi-dirac", 0.005),
        moments=[2.0, -2.0, 0.0, 0.0],
        nband=24,
        xc="Teter93",
    ),
    "Zn_hcp_PBE_E25_k442_G0.01": system(
        hexagonal(5.03, 9.35),
        [("Zn", [1 / 3, 2 / 3, 0.25]), ("Zn", [2 / 3, 1 / 3, 0.75])],
        "Zn.GTH-PBE-q12",
        25.0,
        kmesh=[4, 4, 2],
        occupations=("gaussian", 0.01),
        nband=24,
    ),
    "TiO2_rutile_PBE_E20_k112": system(
        tetragonal(8.68, 5.59),
        [
            ("Ti", [0, 0, 0]),
            ("Ti", _ROCKSALT),
            ("O", [_RUTILE, _RUTILE, 0]),
            ("O", [-_RUTILE, -_RUTILE, 0]),
            ("O", [0.5 + _RUTILE, 0.5 - _RUTILE, 0.5]),
            ("O", [0.5 - _RUTILE, 0.5 + _RUTILE, 0.5]),
        ],
        "Ti.GTH-PBE-q12 O.GTH-PBE-q6",
        20.0,
        kmesh=[1, 1, 2],
    ),
    "InP_triclinic_PBE_E15_k221_FD0.01": system(
        _TRICLINIC,
        [("In", [0.02, -0.01, 0.03]), ("P", [0.27, 0.24, 0.29]), ("In", [0.51, 0.55, 0.62])],
        "In.GTH-PBE-q13 P.GTH-PBE-q5",
        15.0,
        kmesh=[2, 2, 1],
        occupations=("fermi-dirac", 0.01),
        nband=24,
    ),
    "Pb_PBE_E15_k444_MP0.02": system(
        fcc(9.5),
        [("Pb", [0, 0, 0])],
        "Pb.GTH-PBE-q4",
        15.0,
        kmesh=[4, 4, 4],
        occupations=("methfessel-paxton", 0.02),
        nband=10,
    ),
    "Bi_rhombohedral_PBE_E15_k333_G0.01": system(
        rhombohedral(8.57, 22.34),
        [("Bi", [0.234, 0.234, 0.234]), ("Bi", [-0.234, -0.234, -0.234])],
        "Bi.GTH-PBE-q5",
        15.0,
        kmesh=[3, 3, 3],
        occupations=("gaussian", 0.01),
        nband=10,
    ),
    "W_bcc_PBE_E20_k444_FD0.01": system(
        bcc(5.98),
        [("W", [0, 0, 0])],
        "W.GTH-PBE-q14",
        20.0,
        kmesh=[4, 4, 4],
        occupations=("fermi-dirac", 0.01),
        nband=14,
    ),
    "Au_PBE_E25_k444_FD0.005": system(
        fcc(7.85),
        [("Au", [0, 0, 0])],
        "Au.GTH-PBE-q11",
        25.0,
        kmesh=[4, 4, 4],
        occupations=("fermi-dirac", 0.005),
        nband=12,
    ),
    "CsCl_PBE_E15_k222": system(
        cubic(7.78),
        [("Cs", [0, 0, 0]), ("Cl", [0.5, 0.48, 0.51])],
        "Cs.GTH-PBE-q9 Cl.GTH-PBE-q7",
        15.0,
        kmesh=[2, 2, 2],
        note="projectors up to l = 3; chlorine displaced",
    ),
    "La_fcc_PBE_E20_k444_FD0.01": system(
        fcc(10.0),
        [("La", [0, 0, 0])],
        "La.GTH-PBE-q11",
        20.0,
        kmesh=[4, 4, 4],
        occupations=("fermi-dirac", 0.01),
        nband=14,
        note="projectors up to l = 3",
    ),
    "O2_triplet_PBE_E30_box8": system(
        cubic(8.0),
        [("O", [0.5, 0.5, 0.5 - _O2_GAP]), ("O", [0.5, 0.5, 0.5 + _O2_GAP])],
        "O.GTH-PBE-q6",
        30.0,
        moments=[1.0, 1.0],
        fixed_moment=2.0,
        nband=9,
        occupations=("gaussian", 0.001),
    ),
    "N2_PBE_E30_box8": system(
        cubic(8.0),
        [("N", [0.5, 0.5, 0.43]), ("N", [0.5, 0.5, 0.57])],
        "N.GTH-PBE-q5",
        30.0,
        nband=7,
    ),
    "Al_slab_PBE_E12_k331_MP0.02": system(
        tetragonal(5.411764936, 28.0),
        [
            ("Al", [0.0, 0.0, 0.3633]),
            ("Al", [0.5, 0.5, 0.5]),
            ("Al", [0.0, 0.0, 0.6367]),
        ],
        "Al.GTH-PBE-q3",
        12.0,
        kmesh=[3, 3, 1],
        occupations=("methfessel-paxton", 0.02),
        nband=12,
    ),
    "Li_hcp_spin_PADE_E20_k331_FD0.01": system(
        hexagonal(5.7, 9.3),
        [("Li", [1 / 3, 2 / 3, 0.25]), ("Li", [2 / 3, 1 / 3, 0.75])],
        "Li.GTH-PADE-q3",
        20.0,
        kmesh=[3, 3, 1],
        occupations=("fermi-dirac", 0.01),
        moments=[1.0, 1.0],
        fixed_moment=0.5,
        nband=10,
        xc="Teter93",
    ),
    "Si_disp_PBE_E10_k222": system(
        fcc(10.26),
        [("Si", [0.01, 0.02, 0.03]), ("Si", _ZINCBLENDE)],
        "Si.GTH-PBE-q4",
        10.0,
        kmesh=[2, 2, 2],
        symmetry=False,
        note="one atom displaced: the inversion centre is off the grid; ABINIT without symmetry",
    ),
    "H2_PBE_E12_box6": system(
        cubic(6.0),
        [("H", [0.5, 0.5, 0.38]), ("H", [0.5, 0.5, 0.62])],
        "H.GTH-PBE-q1",
        12.0,
        nband=4,
    ),
    "Al_PBE_E10_k444_FD0.01": system(
        fcc(7.65),
        [("Al", [0, 0, 0])],
        "Al.GTH-PBE-q3",
        10.0,
        kmesh=[4, 4, 4],
        occupations=("fermi-dirac", 0.01),
        nband=9,
    ),
    "MgO_psp8_PBE_E20_k222": system(
        fcc(7.96),
        [("Mg", [0.01, -0.02, 0.015]), ("O", _ROCKSALT)],
        "Mg-sp.psp8 O.psp8",
        20.0,
        kmesh=[2, 2, 2],
        note="core correction, magnesium displaced",
    ),
    "CaO_psp8_PBE_E20_k222": system(
        fcc(9.1),
        [("Ca", [0, 0, 0]), ("O", _ROCKSALT)],
        "Ca-sp.psp8 O.psp8",
        20.0,
        kmesh=[2, 2, 2],
    ),
    "C_diamond_psp8_PBE_E25_k222": system(
        fcc(6.74),
        [("C", [0, 0, 0]), ("C", [0.26, 0.245, 0.25])],
        "C.psp8",
        25.0,
        kmesh=[2, 2, 2],
        symmetry=False,
        note="one atom displaced; ABINIT without symmetry",
    ),
    "Fe_bcc_psp8_PBE_E25_k333_FD0.005": system(
        bcc(5.36),
        [("Fe", [0, 0, 0])],
        "Fe-sp.psp8",
        25.0,
        kmesh=[3, 3, 3],
        occupations=("fermi-dirac", 0.005),
        moments=[3.0],
        nband=16,
    ),
}
