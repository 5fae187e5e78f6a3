"""One measurement of `scf.py`, in its own process.

    python benchmarks/scf_worker.py job.json answer.json

A job is ``{"task": name of a function here, "threads": n, ...}``. Imports are timed separately,
before the clock of the SCF starts; the SCF's time includes everything from the structure to
energies, forces and stress.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter(), time.process_time()


class Clock:
    """Wall and processor seconds since its construction."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self, name: str) -> dict[str, float]:
        """Seconds so far, as ``{name_wall, name_cpu}``."""
        return {
            f"{name}_wall": time.perf_counter() - self.wall,
            f"{name}_cpu": time.process_time() - self.cpu,
        }


def _import_ours(threads: int) -> dict[str, float]:
    """Import everything a calculation needs, some of which is otherwise imported on demand."""
    import scipy.linalg  # noqa: F401
    import scipy.special  # noqa: F401
    import spglib  # noqa: F401
    import torch

    import deepchem_xc.planewave
    import deepchem_xc.xc  # noqa: F401

    torch.set_num_threads(threads)
    return {
        "import_wall": time.perf_counter() - STARTED[0],
        "import_cpu": time.process_time() - STARTED[1],
    }


def _answer(result: Any, clock: Clock, loop: dict[str, float]) -> dict[str, Any]:
    """Energies, forces and stress, which are part of the measured time, and sizes."""
    answer = {
        "energy": float(result.free_energy),
        "forces": result.forces.tolist(),
        "stress": result.stress.tolist(),
    }
    basis = result.basis
    return {
        **answer,
        **clock.read("scf"),
        **loop,
        "moment": float(result.magnetic_moment),
        "steps": result.nsteps,
        "bands": result.eigenvalues.shape[2],
        "kpoints": basis.nk,
        "plane_waves": basis.npw,
        "grid": list(basis.fft_size),
    }


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """`scf` for a system given in bohr and Hartree, as `abinit_systems.system` writes them."""
    timing = _import_ours(job["threads"])
    import torch

    from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf

    system = job["system"]
    clock = Clock()
    crystal = Crystal(
        torch.tensor(system["lattice"], dtype=torch.float64),
        tuple(symbol for symbol, _ in system["atoms"]),
        torch.tensor([x for _, x in system["atoms"]], dtype=torch.float64),
        tuple(system["moments"]) if "moments" in system else None,
    )
    mesh = {"size": system["kmesh"], "gamma": True}
    basis = PlaneWaveBasis(crystal, system["ecut"], mesh, fft_size=system.get("fft_size"))
    name, width = system.get("occupations", ("fixed", None))
    result = scf(
        basis,
        "PBE",
        pseudopotentials=dict(label.split(".", 1) for label in system["pseudos"].split()),
        occupations={"name": name} if width is None else {"name": name, "width": width},
        convergence=job["convergence"],
    )
    return {**timing, **_answer(result, clock, clock.read("loop"))}


def ours_case(job: dict[str, Any]) -> dict[str, Any]:
    """`scf` for a crystal of the benchmark, on the mesh of its GTH case whatever the potentials."""
    timing = _import_ours(job["threads"])
    from deepchem_xc.against_gpaw import CASES
    from deepchem_xc.planewave import scf

    case = CASES["gth"][job["case"]]
    own = CASES["paw" if job["paw"] else "gth"][job["case"]]
    ecut, potential = own.ecut, own.pseudopotential
    clock = Clock()
    result = scf(
        case.atoms(),
        "PBE",
        ecut=ecut,
        kpts={"size": case.kpts, "gamma": True},
        pseudopotentials=potential,
        occupations={"name": "fermi-dirac", "width": case.width},
        convergence={"energy": case.energy, "density": case.density},
    )
    settings = {"ecut_eV": ecut, "kpts": case.kpts, "setup": potential}
    return {**timing, **_answer(result, clock, clock.read("loop")), "settings": settings}


def gpaw_case(job: dict[str, Any]) -> dict[str, Any]:
    """GPAW for a crystal of the benchmark: mesh, smearing, vacuum and tolerances are ours.

    The cutoff and the number of bands are those of the reference in data/gpaw_eos.json: every code
    needs its own. The grid is GPAW's default.
    """
    from ase.units import Hartree
    from gpaw import GPAW, PW, FermiDirac

    from deepchem_xc.against_gpaw import CASES
    from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS

    timing = {
        "import_wall": time.perf_counter() - STARTED[0],
        "import_cpu": time.process_time() - STARTED[1],
    }
    case, own = CASES["gth"][job["case"]], GPAW_SETTINGS[job["case"]]
    clock = Clock()
    atoms = case.atoms()
    atoms.calc = GPAW(
        mode=PW(own.ecut),
        xc="PBE",
        kpts={"size": case.kpts, "gamma": True},
        nbands=own.nbands,
        occupations=FermiDirac(case.width),
        convergence={"energy": case.energy, "density": case.density},
        txt=None,
    )
    energy = atoms.get_potential_energy(force_consistent=True) / Hartree
    loop = clock.read("loop")
    forces, stress = atoms.get_forces(), atoms.get_stress()
    return {
        **timing,
        **clock.read("scf"),
        **loop,
        "energy": float(energy),
        "forces": forces.tolist(),
        "stress": stress.tolist(),
        "moment": float(atoms.get_magnetic_moment()) if case.magmom else 0.0,
        "steps": int(atoms.calc.get_number_of_iterations()),
        "bands": own.nbands,
        "kpoints": len(atoms.calc.get_ibz_k_points()),
        "settings": {"ecut_eV": own.ecut, "kpts": case.kpts, "setup": "paw"},
    }


def pyscf_krks(job: dict[str, Any]) -> dict[str, Any]:
    """PySCF's KRKS with symmetry-reduced k-points; energy only (it has no stress for these)."""
    from pyscf.pbc import dft, gto
    from pyscf.pbc.scf import addons

    timing = {
        "import_wall": time.perf_counter() - STARTED[0],
        "import_cpu": time.process_time() - STARTED[1],
    }
    system = job["system"]
    clock = Clock()
    cell = gto.Cell(
        unit="bohr",
        a=system["lattice"],
        atom=system["atoms"],
        basis="gth-dzvp",
        pseudo="gth-pbe",
        space_group_symmetry=True,
        verbose=0,
    ).build()
    kpts = cell.make_kpts(system["kmesh"], space_group_symmetry=True, time_reversal_symmetry=True)
    mean_field = dft.KRKS(cell, kpts, xc="pbe")
    if job["multigrid"]:
        mean_field = mean_field.multigrid_numint()
    mean_field = addons.smearing(mean_field, sigma=system["occupations"][1], method="fermi")
    mean_field.conv_tol = job["conv_tol"]
    energy = mean_field.kernel()
    if not mean_field.converged:
        raise RuntimeError("PySCF's KRKS did not converge")
    return {
        **timing,
        **clock.read("scf"),
        "energy": float(mean_field.e_free),
        "total": float(energy),
        "steps": int(mean_field.cycles),
        "bands": int(cell.nao),
        "kpoints": int(kpts.nkpts_ibz),
        "grid": [int(n) for n in cell.mesh],
    }


def abinit_write(job: dict[str, Any]) -> dict[str, Any]:
    """Write ABINIT's input, potentials, and an input that stops before any work (``idle.abi``)."""
    from abinit_files import write_input

    folder = Path(job["folder"])
    write_input(job["system"], folder, None)
    # `write_input` makes references; here ABINIT keeps its own defaults, except the tolerance.
    replaced = ("tolvrs", "mqgrid", "nbdbuf")
    lines = [
        line
        for line in (folder / "run.abi").read_text().splitlines()
        if not line.startswith(replaced)
    ]
    lines.append(job["tolerance"])
    (folder / "run.abi").write_text("\n".join(lines) + "\n")
    (folder / "idle.abi").write_text("\n".join([*lines, "prtvol -1"]) + "\n")
    return {}


def abinit_read(job: dict[str, Any]) -> dict[str, Any]:
    """Numbers from ABINIT's output."""
    import re

    from abinit_files import read_output

    folder = Path(job["folder"])
    entry = read_output(job["system"], folder)
    xx, yy, zz, yz, xz, xy = entry["stress_Ha_bohr3_xx_yy_zz_yz_xz_xy"]
    return {
        "energy": entry["energies_Ha"]["etotal"],
        "forces": entry["forces_Ha_bohr"],
        "stress": [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
        "moment": entry.get("magnetization_muB", 0.0),
        "steps": len(re.findall(r"^ ETOT +\d+", (folder / "run.abo").read_text(), re.MULTILINE)),
        "bands": len(entry["eigenvalues_Ha"][0][0]),
        "kpoints": len(entry["kwts"]),
        "grid": entry["ngfft"],
    }


TASKS = {
    task.__name__: task
    for task in (ours, ours_case, gpaw_case, pyscf_krks, abinit_write, abinit_read)
}


def main() -> None:
    """Do the job in the file of the first argument, and write the answer to the second."""
    job = json.loads(Path(sys.argv[1]).read_text())
    answer = TASKS[job["task"]](job)
    Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
