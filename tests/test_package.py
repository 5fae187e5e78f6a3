from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What `dir(numpy)` of 2.4 has and that of 1.26, the oldest that setup.cfg admits, has not.
NUMPY_2 = (
    "acosh?|asinh?|astype|atan[2h]?|bitwise_(?:count|invert|left_shift|right_shift)|bool|concat|"
    "cumulative_(?:prod|sum)|isdtype|u?long|matrix_transpose|matvec|permute_dims|pow|strings|"
    "trapezoid|unique_(?:all|counts|inverse|values)|unstack|vecdot|vecmat"
)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_import_prints_nothing_and_stays_light() -> None:
    run = _python(
        "import sys, deepchem_xc; heavy = {'torch', 'deepchem', 'numpy', 'pyscf', 'ase'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_notices_of_deepchem_about_missing_parts_are_silent() -> None:
    run = _python("import deepchem_xc, deepchem; from deepchem.utils import dft_utils")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("logger", ["deepchem.models", "deepchem.utils.dft_utils"])
def test_other_warnings_of_deepchem_still_appear(logger: str) -> None:
    run = _python(
        f"import logging, deepchem_xc; logging.getLogger({logger!r}).warning('learning rate is 0')"
    )
    assert run.stderr == "learning rate is 0\n"


def test_no_name_of_numpy_2_is_used_while_numpy_1_is_admitted() -> None:
    """Docstring examples are tests too: they have to run with what users may have."""
    assert "numpy>=1.26\n" in (ROOT / "setup.cfg").read_text()
    name = re.compile(rf"\b(?:np|numpy)\.(?:{NUMPY_2})\b")
    folders = ("deepchem_xc", "tests", "benchmarks", "data", "docs", "tutorials")
    files = [f for folder in folders for f in (ROOT / folder).rglob("*") if f.is_file()]
    found = {
        f"{file.relative_to(ROOT)}: {match}"
        for file in files
        if file.suffix in (".py", ".md", ".ipynb")
        for match in name.findall(file.read_text())
    }
    assert len(files) > 100
    assert not found
