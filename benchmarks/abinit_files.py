"""ABINIT's input, with the pseudopotentials that PySCF ships, and its output."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import atomic_masses, atomic_numbers
from pyscf.gto.basis import parse_cp2k_pp
from pyscf.pbc.gto import pseudo as pyscf_pseudo

# ABINIT's `ixc`: minus two libxc identifiers, three digits each.
XC = {"PBE": -101130, "Teter93": -20, "r2SCAN": -497498}
OCCOPT = {"fixed": 1, "fermi-dirac": 3, "methfessel-paxton": 6, "gaussian": 7}
GTH_FILES = {"PBE": "gth-pbe.dat", "PADE": "gth-pade.dat"}


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
