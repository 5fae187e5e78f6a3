"""The scripts of benchmarks/, whose folder comes first where Python looks for modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def test_no_script_takes_the_place_of_a_library() -> None:
    # torch asks for a package `cuda`, which a script of that name was.
    code = "import sys; sys.path.insert(0, sys.argv[1]); import torch, deepchem_xc.xc"
    subprocess.run([sys.executable, "-c", code, str(SCRIPTS)], check=True, cwd=SCRIPTS.parent)
