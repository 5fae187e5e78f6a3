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
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from abinit_files import read_output, write_input
from abinit_systems import SYSTEMS

from deepchem_xc._files import write_json


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
