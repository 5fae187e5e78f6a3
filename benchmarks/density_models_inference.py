"""Time and memory of a predicted density: superposed atoms, network, sum over plane waves.

As a program it measures one cell in a process of its own, and writes what it found.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scf_process import Failed, run

#: Cubes of diamond along an edge of each cell.
SIZES = {8: 1, 64: 2, 216: 3, 512: 4}
#: Cells of which the loop is timed, too, and the seconds that it may take.
LOOPS, LIMIT = (8, 64), 600.0
_PARTS = ("superposition", "network", "sum")


def measure(
    model: Path, number: int, ecut: float, loop: bool, threads: int, import_limit: float = 3600.0
) -> dict[str, Any]:
    """Measure one cell in a fresh process.

    Parameters
    ----------
    model : Path
        File of a model of silicon, with functions around atoms.
    number : int
        Atoms; one of `SIZES`.
    ecut : float
        Cutoff, eV.
    loop : bool
        Measure the self-consistency loop, from superposed atoms, instead of the prediction.
    threads : int
        Of torch.
    import_limit : float
        Seconds for everything else than the loop.

    Returns
    -------
    dict
        Processor ``seconds``, ``wall`` and MiB (above what was in use before) of each part;
        ``import`` and ``load`` (wall) are once a process. For a loop that takes longer than
        `LIMIT` only ``stopped``.
    """
    job = {"model": str(model), "number": number, "ecut": ecut, "loop": loop, "threads": threads}
    with tempfile.TemporaryDirectory(prefix="inference-") as scratch:
        folder = Path(scratch)
        (folder / "job.json").write_text(json.dumps(job))
        command = [sys.executable, __file__, "job.json", "answer.json"]
        try:
            run(command, folder, threads, LIMIT if loop else import_limit)
        except Failed as failure:
            if loop and "stopped" in str(failure):
                return {"number": number, "stopped": LIMIT}
            raise
        return dict(json.loads((folder / "answer.json").read_text()))


def silicon(number: int) -> Any:
    """A rattled cell of diamond, of 8, 64, 216 or 512 atoms."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True).repeat(SIZES[number])
    atoms.rattle(0.05, seed=1)
    return atoms


def _peak() -> float:
    """Largest memory since the last `_reset`, MiB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024.0


def _reset() -> float:
    """Forget the largest memory so far; return what is in use, MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def timed(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Smallest processor and wall time, and the memory of the first call (seconds, MiB)."""
    times, walls, memory = [], [], 0.0
    for i in range(repeats):
        before, wall, began = _reset(), time.perf_counter(), time.process_time()
        call()
        times.append(time.process_time() - began)
        walls.append(time.perf_counter() - wall)
        memory = memory if i else _peak() - before
    return {"seconds": min(times), "wall": min(walls), "MiB": memory}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Measure in this process."""
    import torch

    torch.set_num_threads(job["threads"])
    from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf

    atoms, ecut = silicon(job["number"]), job["ecut"]
    if job["loop"]:
        keywords = {"ecut": ecut, "kpts": {"density": 1.7, "gamma": True}}
        keywords["occupations"] = {"name": "fermi-dirac", "width": 0.1}
        wall, began = time.perf_counter(), time.process_time()
        result = scf(atoms, "PBE", **keywords)
        times = {"seconds": time.process_time() - began, "wall": time.perf_counter() - wall}
        return {"number": job["number"], **times, "steps": result.nsteps}
    from ase.units import Hartree

    wall = time.perf_counter()
    import e3nn.o3  # noqa: F401  (imported where it is used; its import is timed)

    from deepchem_xc.models import DensityModel
    from deepchem_xc.planewave.terms.superposed import superposition

    imported = time.perf_counter()
    predictor = DensityModel.load(job["model"], progress=False).predictor
    loaded = time.perf_counter()
    network: Any = predictor.network
    crystal = Crystal.from_ase(atoms)
    basis = PlaneWaveBasis(crystal, ecut / Hartree, (1, 1, 1), symmetry=False)
    original, arguments = network.shapes.on_sphere, []

    def kept(*given: Any) -> Any:
        arguments[:] = given
        return given[0].new_zeros((network.nspin, len(basis.g_vectors)), dtype=torch.complex128)

    repeats = 3 if job["number"] <= 64 else 1
    with torch.no_grad():
        small = PlaneWaveBasis(Crystal.from_ase(silicon(8)), 2.0, (1, 1, 1), symmetry=False)
        network.densities([small])  # tables that are made once
        superposition(small, predictor.pseudopotentials, 1)
        atoms_part = timed(lambda: superposition(basis, predictor.pseudopotentials, 1), repeats)
        network.shapes.on_sphere = kept
        network_part = timed(lambda: network.densities([basis]), repeats)
        network.shapes.on_sphere = original
        sum_part = timed(lambda: original(*arguments), repeats)
    found = dict(zip(_PARTS, (atoms_part, network_part, sum_part), strict=True))
    times = {"import": imported - wall, "load": loaded - imported}
    return {"number": job["number"], "plane_waves": len(basis.g_vectors), **times, **found}


def main() -> None:
    """Read a job, work, write the answer."""
    request, answer = map(Path, sys.argv[1:])
    answer.write_text(json.dumps(work(json.loads(request.read_text()))))


if __name__ == "__main__":
    main()
