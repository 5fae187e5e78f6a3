"""One parallel map: results as they are there, errors by name, no process that outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from deepchem_xc.parallel import Outcome, default_jobs, parallel_map

ROOT = Path(__file__).resolve().parents[2]


def divide(a: int, b: int) -> float:
    return a / b


def sleep_or(seconds: float, action: str = "") -> str:
    """Wait; then return, die, or raise what cannot be pickled."""
    time.sleep(seconds)
    if action == "die":
        os._exit(3)
    if action == "interrupt":
        raise KeyboardInterrupt
    if action == "leave":
        sys.exit("no more")
    if action == "odd":

        class OddError(Exception):
            def __init__(self, lock: Any) -> None:
                super().__init__("odd")
                self.lock = lock

        raise OddError(threading.Lock())
    return "done"


def threads_here() -> tuple[int, str | None]:
    import torch  # the other functions need none, and start sooner

    return torch.get_num_threads(), os.environ.get("OPENBLAS_NUM_THREADS")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie, which nobody has waited for yet, runs no more.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_call_has_its_value_or_its_error(jobs: int) -> None:
    calls = {"half": (1, 2), "none": (1, 0), "third": (1, 3)}
    found = {outcome.name: outcome for outcome in parallel_map(divide, calls, jobs=jobs)}
    assert found["half"] == Outcome("half", 0.5)
    assert found["third"].value == 1 / 3
    assert found["none"].value is None
    assert found["none"].error == "ZeroDivisionError: division by zero"
    assert "a / b" in found["none"].details


def test_results_come_as_they_are_there_and_the_bar_follows() -> None:
    # Closing does not wait for what is not wanted any more.
    calls = {"long": (3600.0,), "short": (0.0,), "odd": (0.0, "odd"), "leave": (0.0, "leave")}
    bar = tqdm(total=4, disable=True)
    with closing(parallel_map(sleep_or, calls, jobs=2, bar=bar)) as outcomes:
        names = [next(outcomes) for _ in range(3)]
    assert [outcome.name for outcome in names] == ["short", "odd", "leave"]
    assert names[1].error == "OddError: odd" and names[2].error == "SystemExit: no more"


def test_a_call_that_kills_its_process_is_named_and_the_others_are_done() -> None:
    calls = {"a": (0.0,), "deadly": (0.2, "die"), "b": (0.5,), "c": (0.0,), "d": (0.0,)}
    found = {outcome.name: outcome for outcome in parallel_map(sleep_or, calls, jobs=2)}
    assert set(found) == set(calls)
    failed = {name for name, outcome in found.items() if outcome.error}
    assert failed == {"deadly"}
    assert "its process was killed, with nothing running beside it" in found["deadly"].error
    assert "EXIT(3)" in found["deadly"].details


def test_without_retries_all_that_ran_beside_a_dead_process_have_failed() -> None:
    calls = {"deadly": (0.2, "die"), "beside": (3600.0,), "later": (0.0,)}
    found = {o.name: o for o in parallel_map(sleep_or, calls, jobs=2, retries=0)}
    assert found["later"].value == "done"
    for name in ("deadly", "beside"):
        assert "one of 2 processes, which may be its own, was killed" in found[name].error


def test_an_interruption_in_a_call_is_one_here() -> None:
    calls = {"long": (3600.0,), "interrupted": (0.0, "interrupt")}
    with pytest.raises(KeyboardInterrupt):
        list(parallel_map(sleep_or, calls, jobs=2))


# Tests that run in a shell's background inherit an ignored Control-C, so the program sets it anew.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from deepchem_xc.parallel import parallel_map

def call(folder, number):
    Path(folder, f"{os.getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    list(parallel_map(call, {"a": (sys.argv[1], 1), "b": (sys.argv[1], 2)}, jobs=2))
"""


CLOSED = """
import os, sys, time
from pathlib import Path
from deepchem_xc.parallel import parallel_map

def call(folder, seconds, action=""):
    Path(folder, f"{os.getpid()}").touch()
    time.sleep(seconds)
    if action == "die":
        os._exit(3)

if __name__ == "__main__":
    folder, how, first = sys.argv[1:]
    waiting = {f"waiting {i}": (folder, 600.0) for i in range(4)}
    calls = {"first": (folder, 0.1, first), **waiting}
    outcomes = parallel_map(call, calls, jobs=2, retries=0)
    try:
        for outcome in outcomes:
            if how == "close":
                outcomes.close()
                break
            raise RuntimeError("the consumer failed")
    except RuntimeError as error:
        print(error)
    del outcomes
    print("closed", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["close", "raise"])
@pytest.mark.parametrize("first", ["end", "die"])
def test_calls_that_wait_end_with_the_iterator(tmp_path: Path, how: str, first: str) -> None:
    """A call was submitted just before; no process and no thread of the pool may fail over it."""
    script, folder = tmp_path / "script.py", tmp_path / "workers"
    script.write_text(CLOSED)
    folder.mkdir()
    program = subprocess.Popen(
        [sys.executable, script, folder, how, first],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        lines = iter(program.stdout.readline, "")
        said = next(lines)
        if how == "raise":
            assert said == "the consumer failed\n"
            said = next(lines)
        assert said == "closed\n"
        # The program still runs, so they did not end because it did.
        assert program.poll() is None
        assert all(gone(int(worker.name)) for worker in folder.iterdir())
        _, errors = program.communicate(timeout=100)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0
    assert errors == ""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_or_killed_program_leaves_no_process(
    tmp_path: Path, sent: signal.Signals
) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "workers"
    script.write_text(SCRIPT)
    folder.mkdir()
    program = subprocess.Popen(
        [sys.executable, script, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(list(folder.iterdir())) == 2 or program.poll() is not None)
        assert program.poll() is None
        if sent == signal.SIGINT:
            os.killpg(program.pid, sent)  # as Control-C does: all of them get it
        else:
            program.send_signal(sent)
        _, said = program.communicate(timeout=100)
    finally:
        program.kill()
        program.wait()
    if sent == signal.SIGINT:
        # One traceback, of the program itself.
        assert said.count("Traceback") == 1 and "KeyboardInterrupt" in said
    for worker in folder.iterdir():
        wait_until(lambda worker=worker: gone(int(worker.name)))


def test_threads_are_set_in_each_call_and_put_back() -> None:
    import torch

    before = torch.get_num_threads()
    (alone,) = parallel_map(threads_here, {"a": ()}, jobs=1, threads=3)
    assert alone.value is not None and alone.value[0] == 3
    assert torch.get_num_threads() == before
    for outcome in parallel_map(threads_here, {"a": (), "b": ()}, jobs=2, threads=2):
        assert outcome.value == (2, "2")
    assert "OPENBLAS_NUM_THREADS" not in os.environ or os.environ["OPENBLAS_NUM_THREADS"] != "2"


def test_another_executor_runs_the_calls() -> None:
    calls = {"half": (1, 2), "none": (1, 0)}
    with ThreadPoolExecutor(2) as executor:
        found = {o.name: o for o in parallel_map(divide, calls, executor=executor)}
        assert executor.submit(divide, 1, 1).result() == 1.0  # it is left running
    assert found["half"].value == 0.5
    assert found["none"].error == "ZeroDivisionError: division by zero"


def test_calls_that_another_executor_has_not_begun_are_cancelled_with_the_iterator() -> None:
    begun: list[str] = []
    calls = {name: (name,) for name in ("first", "second", "third")}
    go_on = threading.Event()

    def call(name: str) -> None:
        begun.append(name)
        if name == "second":
            go_on.wait(100)

    with ThreadPoolExecutor(1) as executor:
        with closing(parallel_map(call, calls, executor=executor)) as outcomes:
            assert next(outcomes).name == "first"
            wait_until(lambda: "second" in begun)
        go_on.set()
    assert begun == ["first", "second"]


def test_functions_of_a_script_or_a_notebook_can_be_called() -> None:
    factor = 3.0
    found = parallel_map(lambda x: factor * x, {"a": (1.0,), "b": (2.0,)}, jobs=2)
    assert {o.name: o.value for o in found} == {"a": 3.0, "b": 6.0}


def test_what_cannot_be_sent_is_an_error_of_its_call() -> None:
    found = {o.name: o for o in parallel_map(id, {"a": (threading.Lock(),), "b": (1,)}, jobs=2)}
    assert "pickle" in found["a"].error and found["b"].error == ""


def test_numbers_of_processes_and_threads_are_checked() -> None:
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        parallel_map(divide, {}, jobs=0)
    with pytest.raises(ValueError, match="threads must be at least 1, got -1"):
        parallel_map(divide, {}, threads=-1)
    assert list(parallel_map(divide, {})) == []
    assert 1 <= default_jobs(2) <= default_jobs()
