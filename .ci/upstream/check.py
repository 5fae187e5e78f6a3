"""Two pieces laid out in a copy of DeepChem, with DeepChem's linters, and tests run from there.

Called by ``.ci/upstream-check`` with the Python of the environment that holds DeepChem. Every step
says what it did; a step that fails prints why, and the exit status is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import layout

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "upstream"
TREE = BUILD / "tree"
DFT = Path("deepchem", "models", "dft")
# Errors that say that a test did not come to the point.
BESIDE_THE_POINT = (
    "ImportError",
    "ModuleNotFoundError",
    "NameError",
    "SyntaxError",
    "AttributeError",
    "TypeError",
    "failed on setup",
)


# Tests of functionals that fail on torch 2.8, and pass on 2.13.
NEWER_TORCH = (
    "test_trial_networks.py::test_functions_of_a_point_are_taken[in place]",
    "test_trial_networks.py::test_a_network_is_tried_again_once_a_layer_is_exchanged",
)


class CheckError(Exception):
    """What a step found wrong."""


def outcomes(report: Path) -> dict[str, str]:
    """Failures of tests by their names, "" for those that passed, from a JUnit report.

    Parameters
    ----------
    report : Path
        Written by ``pytest --junitxml``. A test that was skipped counts as failed.

    Raises
    ------
    CheckError
        If it holds no test.
    """
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        wrong = [child for child in case if child.tag in ("failure", "error", "skipped")]
        found[name] = "; ".join(f"{c.tag}: {c.get('message', '')}" for c in wrong)
    if not found:
        raise CheckError("no test was run")
    return found


def check_fails(found: Mapping[str, str]) -> None:
    """Demand that every test fails, and for what it computes.

    Examples
    --------
    >>> check_fails({"test_axis": "failure: AssertionError: 1 is not 2"})
    >>> check_fails({"test_axis": ""})
    Traceback (most recent call last):
    ...
    check.CheckError: passes on the release as it is, so that it shows nothing: test_axis

    Raises
    ------
    CheckError
        If one passes, or fails because it could not run.
    """
    passed = [name for name, failure in found.items() if not failure]
    if passed:
        raise CheckError(
            f"passes on the release as it is, so that it shows nothing: {', '.join(passed)}"
        )
    for name, failure in found.items():
        kind = failure.partition(": ")[2]
        if not failure.startswith("failure: ") or kind.startswith(BESIDE_THE_POINT):
            raise CheckError(f"{name} fails for another reason than what it is about: {failure}")


def check_passes(found: Mapping[str, str]) -> None:
    """Demand that every test passes.

    Raises
    ------
    CheckError
        If one fails or is skipped.
    """
    failed = [f"{name}: {failure}" for name, failure in found.items() if failure]
    if failed:
        raise CheckError("\n".join(failed))


def run(*command: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a module of Python in the copy; its output is in the error if it fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(TREE),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=TREE,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if check and done.returncode != 0:
        lines = (done.stdout or "no output").splitlines()
        raise CheckError("\n".join(lines[-80:]))
    return done


def tested(*arguments: Any) -> dict[str, str]:
    """Run pytest in the copy, with the marker of DeepChem's torch job; outcomes by name."""
    report = BUILD / "report.xml"
    report.unlink(missing_ok=True)
    options = ("-q", "-W", "ignore", "-p", "no:cacheprovider", f"--junitxml={report}")
    done = run("pytest", *options, *arguments, check=False)
    if done.returncode not in (0, 1) or not report.is_file():
        raise CheckError("\n".join(done.stdout.splitlines()[-80:]))
    return outcomes(report)


def new_tree() -> str:
    """A copy of the DeepChem that is installed here, with settings for its tools."""
    spec = find_spec("deepchem")
    if spec is None or not spec.submodule_search_locations:
        raise CheckError("DeepChem is not installed in this environment")
    shutil.rmtree(TREE, ignore_errors=True)
    shutil.copytree(
        next(iter(spec.submodule_search_locations)),
        TREE / "deepchem",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(HERE / "deepchem.cfg", TREE / "setup.cfg")
    tests = TREE / DFT / "tests"
    tests.mkdir()
    (tests / "__init__.py").touch()
    return f"{TREE.relative_to(ROOT)}"


def repair_tests() -> list[Path]:
    """Lay out the tests of the repairs; their paths in the copy."""
    files = []
    for source in sorted((HERE / "repairs").glob("test_*.py")):
        files.append(DFT / "tests" / source.name)
        shutil.copy(source, TREE / files[-1])
    return files


def fail_before() -> str:
    """The tests of the repairs fail on the release; those of what is kept pass."""
    found = tested("-m", "torch", *repair_tests())
    kept = {name: failure for name, failure in found.items() if name.startswith("test_kept::")}
    check_passes(kept)
    repaired = {name: failure for name, failure in found.items() if name not in kept}
    check_fails(repaired)
    return f"{len(repaired)} tests fail, {len(kept)} pass"


def apply_patches() -> str:
    """Apply the repairs to the copy."""
    patches = sorted((HERE / "repairs").glob("*.patch"))
    # Outside of any repository, or git would pass over files that the repository ignores.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(TREE.parent)}
    for patch in patches:
        before = {file: file.read_bytes() for file in (TREE / DFT).glob("*.py")}
        done = subprocess.run(
            ["git", "apply", str(patch)], cwd=TREE, env=environment, text=True, capture_output=True
        )
        if done.returncode != 0 or all(file.read_bytes() == text for file, text in before.items()):
            raise CheckError(
                f"{patch.relative_to(ROOT)} does not fit this DeepChem: {done.stderr.strip()}\n"
                "make it anew from the files of the release that constraints.txt names"
            )
    return ", ".join(patch.stem for patch in patches)


def pass_after() -> str:
    """All of these tests pass on the repaired copy."""
    found = tested("-m", "torch", *repair_tests())
    check_passes(found)
    return f"{len(found)} tests pass"


def lay_out() -> str:
    """Functionals and their tests, formatted as DeepChem's are."""
    files = list(layout.lay_out_modules(ROOT, TREE))
    layout.lay_out_data(ROOT, TREE)
    left_out = layout.lay_out_tests(ROOT, TREE)
    for source in sorted((HERE / "functionals").glob("*.py")):
        is_test = source.name.startswith("test_")
        shutil.copy(source, TREE / layout.FOLDER / ("tests" if is_test else ""))
    run("yapf", "-i", "-p", "-r", layout.FOLDER, *repair_tests())
    names = [f"  {file}: {', '.join(tests)}" for file, tests in left_out.items()]
    return "\n".join(
        [
            f"{len(files)} modules; tests that need more than functionals are left out:",
            *names,
        ]
    )


def own_files() -> list[Path]:
    """Whatever is new or changed in the copy."""
    return [DFT / "nnxc.py", DFT / "dftxc.py", DFT / "tests", layout.FOLDER]


def check_format() -> str:
    """yapf has nothing to change, in repaired files either."""
    run("yapf", "-d", "-p", "-r", *own_files())
    return "yapf"


def check_lint() -> str:
    """flake8 with DeepChem's settings and exclusions."""
    run("flake8", "--exclude=__init__.py", *own_files())
    return "flake8"


def check_types() -> str:
    """mypy with DeepChem's settings, for what is new or changed."""
    done = run("mypy", "--follow-imports=silent", "--no-error-summary", *own_files(), check=False)
    if done.returncode != 0:
        raise CheckError(done.stdout)
    return "mypy"


def check_examples() -> str:
    """The examples of the docstrings run."""
    found = tested("--doctest-modules", f"--ignore={layout.FOLDER / 'tests'}", layout.FOLDER)
    check_passes(found)
    return f"{len(found)} docstrings with examples"


def check_tests() -> str:
    """The tests of functionals pass where they are."""
    # Our own suite leaves out what takes minutes, and a GPU is not asked for.
    folder = layout.FOLDER / "tests"
    left_out = [f"--deselect={folder / name}" for name in NEWER_TORCH]
    found = tested("-m", "torch and not slow and not gpu", *left_out, folder)
    check_passes(found)
    return f"{len(found)} tests pass; not run, because they need a later torch: {NEWER_TORCH}"


STEPS: Mapping[str, Callable[[], str]] = {
    "copy of DeepChem": new_tree,
    "repairs: tests before": fail_before,
    "repairs: patches": apply_patches,
    "repairs: tests after": pass_after,
    "functionals: layout": lay_out,
    "format": check_format,
    "lint": check_lint,
    "types": check_types,
    "functionals: examples": check_examples,
    "functionals: tests": check_tests,
}
# Without these nothing that follows means anything.
NEEDED = ("copy of DeepChem", "repairs: patches", "functionals: layout")


def main() -> int:
    """Run all steps; 1 if one of them failed."""
    failed = []
    for name, step in STEPS.items():
        started = time.monotonic()
        try:
            said, ok = step(), True
        except (CheckError, layout.LayoutError) as error:
            said, ok = str(error), False
            failed.append(name)
        seconds = time.monotonic() - started
        print(f"{'ok    ' if ok else 'FAILED'} {name} ({seconds:.0f} s): {said}", flush=True)
        if not ok and name in NEEDED:
            break
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
