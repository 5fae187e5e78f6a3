"""Make reference numbers with ABINIT on the pseudopotentials that PySCF ships.

PySCF's own parser reads the GTH parameters from its files, and ABINIT gets them with every digit
(its pspcod 10), so that a difference between the codes cannot come from the potential. Each
entry of the output is one run with all terms of the energy, in Hartree and bohr::

    python benchmarks/abinit_reference.py --list
    python benchmarks/abinit_reference.py --out results/abinit.json NaCl Fe_bcc

ABINIT must be installed with libxc: its own PBE and libxc's differ by 1e-6 Ha.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import atomic_masses, atomic_numbers
from pyscf.gto.basis import parse_cp2k_pp
from pyscf.pbc.gto import pseudo as pyscf_pseudo

from deepchem_xc._files import write_json

# ABINIT's `ixc`: minus two libxc identifiers, three digits each.
XC = {"PBE": -101130, "Teter93": -20, "r2SCAN": -497498}
OCCOPT = {"fixed": 1, "fermi-dirac": 3, "methfessel-paxton": 6, "gaussian": 7}
GTH_FILES = {"PBE": "gth-pbe.dat", "PADE": "gth-pade.dat"}


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


def write_gth(symbol: str, name: str, path: Path) -> None:
    """Write a GTH potential of PySCF in ABINIT's format 10, with every digit.

    Layout: r_loc and the coefficients c; then for each l the radius, the number of projectors and
    the upper triangle of h, followed for l > 0 by the (zero) spin-orbit triangle.
    """
    folder = Path(pyscf_pseudo.__file__).parent
    family = name.split("-")[1]
    counts, r_local, n_c, c, n_channels, *channels = parse_cp2k_pp.load(
        str(folder / GTH_FILES[family]), symbol, suffix=name.split("-")[-1]
    )
    if not channels:  # ABINIT requires at least one projector
        n_channels, channels = 1, [[r_local, 1, [[0.0]]]]
    zion = sum(counts)
    lines = [
        f"{symbol} {name} with the parameters in PySCF's {GTH_FILES[family]}",
        f"{atomic_numbers[symbol]} {zion} 0",
        f"10 1 {n_channels - 1} 0 2001 0",
        f"{r_local!r} {n_c} " + " ".join(repr(x) for x in c),
        f"{n_channels}",
    ]
    for angular_momentum, (radius, n_projectors, h) in enumerate(channels):
        rows = [
            " ".join(repr(float(x)) for x in h[i][i:]) if n_projectors else ""
            for i in range(n_projectors)
        ]
        lines.append(f"{radius!r} {n_projectors} " + (rows[0] if rows else ""))
        lines += rows[1:]
        if angular_momentum > 0:
            lines += [" ".join("0.0" for _ in h[i][i:]) for i in range(n_projectors)]
    path.write_text("\n".join(lines) + "\n")


def _rows(values: Any) -> str:
    return "\n".join("  " + " ".join(f"{float(x):.17g}" for x in row) for row in values)


def write_input(spec: dict[str, Any], folder: Path, pseudo_folder: Path | None) -> None:
    """Write the pseudopotentials and ABINIT's input file."""
    files = {}
    for label in spec["pseudos"].split():
        symbol = re.split(r"[.-]", label)[0]
        target = folder / label
        if label.endswith(".psp8"):
            if pseudo_folder is None:
                raise SystemExit(f"{label} is a file: say where with --pseudos FOLDER")
            shutil.copy(pseudo_folder / label, target)
        else:
            write_gth(symbol, label.split(".", 1)[1], target)
        files[symbol] = label
    symbols = [symbol for symbol, _ in spec["atoms"]]
    species = list(files)
    name, width = spec.get("occupations", ("fixed", None))
    moments = spec.get("moments")
    lines = [
        f'pseudos "{", ".join(files.values())}"',
        "acell 1 1 1",
        f"rprim\n{_rows(spec['lattice'])}",
        f"ntypat {len(species)}",
        "znucl " + " ".join(str(atomic_numbers[s]) for s in species),
        "amu " + " ".join(str(atomic_masses[atomic_numbers[s]]) for s in species),
        f"natom {len(symbols)}",
        "typat " + " ".join(str(species.index(s) + 1) for s in symbols),
        f"xred\n{_rows([x for _, x in spec['atoms']])}",
        f"ecut {spec['ecut']}",
        f"ecutsm {spec.get('ecut_smoothing', 0.0)}",
        "ngkpt " + " ".join(map(str, spec.get("kmesh", [1, 1, 1]))),
        "nshiftk 1",
        "shiftk " + " ".join(map(str, spec.get("kshift", [0, 0, 0]))),
        f"ixc {XC[spec.get('xc', 'PBE')]}",
        f"usekden {int(spec.get('xc') == 'r2SCAN')}",
        f"occopt {OCCOPT[name]}",
        "tolvrs 1.0d-15",
        "nstep 150",
        "chksymbreak 0",
        "chkprim 0",
        "chksymtnons 0",
        "optforces 2",
        "optstress 1",
        "prtwf 0",
        "prtden 0",
        "prteig 0",
        "mqgrid 6001",  # form factors are splines: as fine as needed for 1e-9 Ha
        "mqgriddg 6001",
        # Core densities as Fourier sums, as here: steep ones alias on the grid's points.
        "nc_xccc_gspace 1" if ".psp8" in spec["pseudos"] else "",
    ]
    if width is not None:
        lines.append(f"tsmear {width:.17g}")
    if spec.get("nband"):
        lines += [f"nband {spec['nband']}", "nbdbuf 2" if name != "fixed" else ""]
    if moments is not None:
        lines += ["nsppol 2", "spinat\n" + _rows([[0, 0, m] for m in moments])]
        if "fixed_moment" in spec:
            lines.append(f"spinmagntarget {spec['fixed_moment']}")
    if not spec.get("symmetry", True):
        lines += ["nsym 1", "kptopt 3"]
    (folder / "run.abi").write_text("\n".join(line for line in lines if line) + "\n")


def read_output(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Numbers from ABINIT's GSR file."""
    log = (folder / "run.abo").read_text(errors="replace")
    if not re.search(r"converged", log) or "is not converged" in log or "not enough" in log:
        raise SystemExit(f"ABINIT did not converge; see {folder}")
    version = re.search(r"Version\s+(\S+)\s+of ABINIT", log)
    assert version is not None
    with h5py.File(folder / "runo_GSR.nc") as data:
        energies = {
            key: float(data[key][()])
            for key in (
                "e_kinetic",
                "e_localpsp",
                "e_nlpsp_vfock",
                "e_hartree",
                "e_xc",
                "e_ewald",
                "e_corepsp",
                "e_entropy",
                "etotal",
                "e_fermie",
            )
        }
        eigenvalues = data["eigenvalues"][()]
        occupations = data["occupations"][()]
        nband = int(data["number_of_states"][()].min())
        kpoints = data["reduced_coordinates_of_kpoints"][()]
        weights = data["kpoint_weights"][()]
        forces = data["cartesian_forces"][()]
        stress = data["cartesian_stress_tensor"][()]
        grid = [int(data.get(f"number_of_grid_points_vector{i}")[()].size) for i in (1, 2, 3)]
    name, width = spec.get("occupations", ("fixed", None))
    nspin = len(eigenvalues)
    entry = {
        "note": spec.get("note", ""),
        "code": f"ABINIT {version.group(1)}",
        "xc": {
            "PBE": "libxc PBE (101+130)",
            "Teter93": "LDA Teter93 (libxc 20)",
            "r2SCAN": "libxc r2SCAN (497+498)",
        }[spec.get("xc", "PBE")],
        "lattice_bohr": np.asarray(spec["lattice"], dtype=float).tolist(),
        "species": [symbol for symbol, _ in spec["atoms"]],
        "xred": [[float(x) for x in position] for _, position in spec["atoms"]],
        "pseudo": spec["pseudos"].split(),
        "ecut_Ha": spec["ecut"],
        "ecut_smoothing_Ha": spec.get("ecut_smoothing", 0.0),
        "kmesh": spec.get("kmesh", [1, 1, 1]),
        "kshift": spec.get("kshift", [0, 0, 0]),
        "occopt": OCCOPT[name],
        "nsppol": nspin,
        "ngfft": grid,
        "kpts_red": kpoints.tolist(),
        "kwts": weights.tolist(),
        "energies_Ha": energies,
        "eigenvalues_Ha": np.round(eigenvalues[:, :, :nband], 11).tolist(),
        "occupations": np.round(occupations[:, :, :nband], 9).tolist(),
        "n_bands_converged": nband - (2 if spec.get("nband") and name != "fixed" else 0),
        "forces_Ha_bohr": forces.tolist(),
        "stress_Ha_bohr3_xx_yy_zz_yz_xz_xy": stress.tolist(),
    }
    if spec.get("xc") == "r2SCAN":
        # ABINIT 9.6's stress of meta-GGAs is not the derivative of its energies.
        del entry["stress_Ha_bohr3_xx_yy_zz_yz_xz_xy"]
    if width is not None:
        entry["tsmear_Ha"] = width
    if nspin == 2:
        moment = np.einsum("k,skb->s", weights, occupations)
        entry["initial_moments"] = spec["moments"]
        entry["magnetization_muB"] = float(moment[0] - moment[1])
        if "fixed_moment" in spec:
            entry["fixed_moment_muB"] = spec["fixed_moment"]
    return entry


def run(name: str, spec: dict[str, Any], abinit: str, pseudo_folder: Path | None) -> dict[str, Any]:
    """Run ABINIT in a temporary folder and return the entry."""
    with tempfile.TemporaryDirectory(prefix="abinit-") as scratch:
        folder = Path(scratch)
        write_input(spec, folder, pseudo_folder)
        started = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (folder / "log").open("w") as log:
            code = subprocess.run(
                [abinit, "run.abi"], cwd=folder, stdout=log, stderr=log, env=environment
            ).returncode
        if code or not (folder / "runo_GSR.nc").exists():
            tail = (folder / "log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"ABINIT failed on {name}:\n{tail}")
        entry = {"name": name, **read_output(spec, folder)}
        print(f"{name}: {entry['energies_Ha']['etotal']:.10f} Ha", end=", ")
        print(f"{time.perf_counter() - started:.1f} s", flush=True)
        return entry


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("systems", nargs="*", help="names or their beginnings; all by default")
    parser.add_argument("--list", action="store_true", help="list the systems and stop")
    parser.add_argument("--out", type=Path, default=Path("results/abinit.json"))
    parser.add_argument("--pseudos", type=Path, help="folder of the psp8 files")
    parser.add_argument("--abinit", default="abinit", help="the program")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(SYSTEMS))
        return
    if shutil.which(arguments.abinit) is None:
        raise SystemExit(f"the program {arguments.abinit!r} is not installed (Debian: abinit)")
    wanted = arguments.systems or list(SYSTEMS)
    names = [n for n in SYSTEMS if any(n.startswith(w) for w in wanted)]
    if not names:
        raise SystemExit(f"no system begins with {wanted}; see --list")
    entries = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in names:
        try:
            entries[name] = run(name, SYSTEMS[name], arguments.abinit, arguments.pseudos)
        except RuntimeError as error:
            print(error, flush=True)
            continue
        write_json(arguments.out, entries)


if __name__ == "__main__":
    main()
