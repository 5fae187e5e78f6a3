from __future__ import annotations

import subprocess
import sys

import pytest


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
