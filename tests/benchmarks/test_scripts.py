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


IMPORT_ALL = """
import importlib, sys
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
from pathlib import Path
import deepchem_xc.xc  # keeps DeepChem's notices quiet
for folder in sys.argv[1:]:
    for script in sorted(Path(folder).glob("*.py")):
        try:
            importlib.import_module(script.stem)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("gpaw", "gpaw_data"):
                raise
"""


def test_every_script_finds_what_it_imports() -> None:
    # Scripts share parts with each other and with the package, and most have no test of their own.
    folders = [str(SCRIPTS), str(SCRIPTS.parent / "data")]
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *folders], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
