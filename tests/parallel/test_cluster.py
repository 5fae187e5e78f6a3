"""Calls on a Dask scheduler: none lost, none computed twice, no result of another version."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

distributed = pytest.importorskip("distributed")

from deepchem_xc.parallel import (  # noqa: E402
    ClusterError,
    Outcome,
    cluster_calls,  # noqa: E402
    connected,
    parallel_map,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def two_workers() -> Iterator[Any]:
    """Client of two workers of its own, for slow tests that kill one."""
    with connected("local", processes=2) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with connected("local", processes=2) as client:
        yield client


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


# Functions are made inside functions, so that they are sent as they are: workers cannot import
# modules of tests.
def logged() -> Callable[..., str]:
    def call(folder: Path, name: str, gate: Path | None = None) -> str:
        """Write a line when begun and when finished; wait for a file in between."""
        import os
        import time

        def note(word: str) -> None:
            with open(folder / "log", "a") as log:
                log.write(f"{word} {name} {os.getpid()}\n")

        note("begun")
        while gate is not None and not gate.exists():
            time.sleep(0.02)
        note("finished")
        return f"value of {name}"

    return call


def lines(folder: Path, word: str) -> list[list[str]]:
    """Name and process of the lines of a log that begin with a word."""
    log = folder / "log"
    found = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [parts[1:] for parts in found if parts[0] == word]


def test_workers_give_what_this_process_gives(client: Any) -> None:
    def divide(a: int, b: int) -> float:
        return a / b

    calls = {"half": (1, 2), "none": (1, 0), "third": (1, 3)}
    here = {outcome.name: outcome for outcome in parallel_map(divide, calls, jobs=1)}
    for jobs in (client, client.scheduler.address):
        there = {outcome.name: outcome for outcome in parallel_map(divide, calls, jobs=jobs)}
        assert there["half"] == here["half"] == Outcome("half", 0.5)
        assert there["third"] == here["third"]
        assert there["none"].error == here["none"].error == "ZeroDivisionError: division by zero"
        assert "a / b" in there["none"].details
    assert client.status == "running"  # a client that was given stays open


def test_a_killed_worker_costs_only_the_call_it_was_running(client: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    calls = {f"quick{i}": (tmp_path, f"quick{i}") for i in range(6)}
    calls |= {f"slow{i}": (tmp_path, f"slow{i}", gate) for i in range(2)}
    calls |= {f"later{i}": (tmp_path, f"later{i}", gate) for i in range(4)}

    def begun() -> list[str]:
        return [name for name, _ in lines(tmp_path, "begun")]

    def in_memory(dask_scheduler: Any) -> int:
        return sum(task.state == "memory" for task in dask_scheduler.tasks.values())

    with closing(parallel_map(logged(), calls, jobs=client)) as outcomes:
        found = [next(outcomes) for _ in range(6)]
        # Half of it is done. One slow call waits on each worker; kill one of these workers.
        try:
            wait_until(lambda: {"slow0", "slow1"} <= set(begun()))
            wait_until(lambda: client.run_on_scheduler(in_memory) == 0)
            name, process = lines(tmp_path, "begun")[-1]
            os.kill(int(process), signal.SIGKILL)
        finally:
            gate.touch()  # or the workers would wait for ever, in other tests too
        found += list(outcomes)
    assert sorted(outcome.name for outcome in found) == sorted(calls)
    assert all(outcome.value == f"value of {outcome.name}" for outcome in found)
    finished = dict(lines(tmp_path, "finished"))
    assert len(lines(tmp_path, "finished")) == len(calls) == len(finished)  # each once
    assert sorted(begun()) == sorted([*calls, name])  # only the one that was running began again
    assert finished[name] != process


def logged_ground_state() -> Callable[..., float]:
    call = logged()

    def ground_state(folder: Path, name: str, scale: float, gate: Path | None = None) -> float:
        """Energy (eV) of aluminium; begins, and goes on after two steps, as `logged` does."""
        from ase.build import bulk
        from ase.units import Hartree

        from deepchem_xc.planewave import scf

        atoms = bulk("Al")
        atoms.set_cell(atoms.cell * scale ** (1 / 3), scale_atoms=True)
        steps: list[Any] = []

        def after_step(_: Any) -> None:
            steps.append(_)
            if len(steps) == 2:
                call(folder, name, gate)

        result = scf(atoms, "PBE", ecut=100.0, kpts=(2, 2, 2), callback=after_step)
        return float(result.free_energy) * Hartree

    return ground_state


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_loop_costs_only_that_calculation(
    two_workers: Any, tmp_path: Path
) -> None:
    here, there, gate = tmp_path / "here", tmp_path / "there", tmp_path / "gate"
    for folder in (here, there):
        folder.mkdir()
    scales = {f"scale{scale}": scale for scale in (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)}
    alone = {name: (here, name, scale) for name, scale in scales.items()}
    expected = {o.name: o.value for o in parallel_map(logged_ground_state(), alone, jobs=1)}
    held_back = list(scales)[3:5]
    calls = {
        name: (there, name, scale, gate if name in held_back else None)
        for name, scale in scales.items()
    }

    with closing(parallel_map(logged_ground_state(), calls, jobs=two_workers)) as outcomes:
        found = [next(outcomes) for _ in range(3)]
        try:
            # Each worker is inside one of these two loops.
            wait_until(lambda: set(held_back) <= dict(lines(there, "begun")).keys())
            killed = held_back[1]
            process = dict(lines(there, "begun"))[killed]
            os.kill(int(process), signal.SIGKILL)
        finally:
            gate.touch()
        found += list(outcomes)
    assert {outcome.name: outcome.error for outcome in found} == dict.fromkeys(scales, "")
    for outcome in found:
        assert outcome.value == pytest.approx(expected[outcome.name], abs=1e-6)
    begun = [name for name, _ in lines(there, "begun")]
    assert sorted(begun) == sorted([*scales, killed])  # no other one twice
    assert sorted(name for name, _ in lines(there, "finished")) == sorted(scales)
    assert dict(lines(there, "finished"))[killed] != process


@pytest.mark.slow
def test_a_curve_is_complete_and_the_same_though_a_worker_is_killed(two_workers: Any) -> None:
    from ase.build import bulk

    from deepchem_xc.planewave import equation_of_state

    words: dict[str, Any] = {"ecut": 150.0, "kpts": (1, 1, 1)}
    alone = equation_of_state(bulk("Si"), "PBE", jobs=1, **words)
    workers = two_workers.run(os.getpid)
    seen: list[float] = []

    def kill_one_halfway(point: Any) -> None:
        seen.append(point.scale)
        if len(seen) == 4:
            os.kill(next(iter(workers.values())), signal.SIGKILL)

    words |= {"jobs": two_workers, "callback": kill_one_halfway}
    curve = equation_of_state(bulk("Si"), "PBE", **words)
    assert sorted(seen) == [point.scale for point in alone.points]  # each point once
    for one, other in zip(alone.points, curve.points, strict=True):
        assert other.energy == pytest.approx(one.energy, abs=1e-6)


@pytest.mark.slow
def test_a_call_that_kills_its_workers_is_named_and_the_others_are_done(client: Any) -> None:
    def call(action: str) -> str:
        import os

        if action == "die":
            os._exit(3)
        return "done"

    calls = {"a": ("",), "deadly": ("die",), "b": ("",), "c": ("",)}
    found = {o.name: o for o in parallel_map(call, calls, jobs=client)}
    assert found["deadly"].error.startswith("its worker was killed 4 times")
    assert {name for name, outcome in found.items() if outcome.value == "done"} == {"a", "b", "c"}


def test_calls_begin_in_their_order(client: Any, tmp_path: Path) -> None:
    calls = {str(i): (tmp_path, str(i)) for i in (3, 1, 11, 2, 10, 0, 4, 9)}
    found = [outcome.name for outcome in parallel_map(logged(), calls, jobs=client)]
    assert sorted(found) == sorted(calls)
    order = list(calls)
    begun: dict[str, list[int]] = {}
    for name, process in lines(tmp_path, "begun"):
        begun.setdefault(process, []).append(order.index(name))
    # Of two workers one may be slower.
    assert all(numbers == sorted(numbers) for numbers in begun.values())


def test_an_error_on_the_way_back_is_raised_and_not_waited_for(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("no more threads")

    monkeypatch.setattr(distributed, "as_completed", broken)
    with pytest.raises(ClusterError, match="cannot be received.*OSError: no more threads"):
        list(parallel_map(len, {"a": ("x",)}, jobs=client))


def test_closing_cancels_what_has_not_begun(client: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    calls = {"first": (tmp_path, "first")}
    calls |= {f"slow{i}": (tmp_path, f"slow{i}", gate) for i in range(8)}
    with closing(parallel_map(logged(), calls, jobs=client)) as outcomes:
        assert next(outcomes).name == "first"
    gate.touch()
    # The workers are free, and the calls behind those that had begun were never begun.
    after = list(parallel_map(logged(), {"after": (tmp_path, "after")}, jobs=client))
    assert after[0].value == "value of after"
    assert len(lines(tmp_path, "begun")) < len(calls)


def test_what_cannot_be_sent_is_an_error_of_its_call(client: Any) -> None:
    calls = {"lock": (threading.Lock(),), "number": (1,)}
    found = {o.name: o for o in parallel_map(type, calls, jobs=client)}
    assert "cannot pickle" in found["lock"].error and found["number"].value is int
    back = list(parallel_map(lambda: (i for i in range(2)), {"generator": ()}, jobs=client))
    assert "generator" in back[0].error and back[0].value is None


@contextmanager
def process(*words: str, **environ: str) -> Iterator[Any]:
    program = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        yield program
    finally:
        program.kill()
        program.wait()


@contextmanager
def scheduler() -> Iterator[tuple[str, Any]]:
    """Address and process of a scheduler of its own."""
    for _ in range(5):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def answers(port: int = port) -> bool:
            with socket.socket() as attempt:
                return attempt.connect_ex(("127.0.0.1", port)) == 0

        words = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        with process("distributed.cli.dask_scheduler", *words) as program:
            wait_until(lambda program=program: answers() or program.poll() is not None)
            if program.poll() is None:
                yield f"tcp://127.0.0.1:{port}", program
                return
            # It ended at once: between looking for a free port and taking it another took it.
    pytest.fail("no scheduler could be started")


def worker(address: str, path: Path = ROOT, nthreads: int = 1) -> Any:
    words = ("--nthreads", str(nthreads), "--no-nanny", "--no-dashboard")
    return process("distributed.cli.dask_worker", address, *words, PYTHONPATH=str(path))


def workers_of(address: str, number: int = 1) -> None:
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(number, timeout=600)


def test_a_dead_scheduler_is_a_clear_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"no Dask scheduler answers at '{address}'.*refused"):
        list(parallel_map(len, {"a": ("x",)}, jobs=address))
    with pytest.raises(ClusterError, match="answers at 'nowhere'.*dask scheduler"):
        list(parallel_map(len, {"a": ("x",)}, jobs="nowhere"))


@pytest.mark.slow
def test_calls_whose_scheduler_dies_are_named_and_the_finished_ones_kept(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    logged_by_dask: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged_by_dask.append  # type: ignore[method-assign]
    logging.getLogger("distributed.client").addHandler(handler)
    request.addfinalizer(lambda: logging.getLogger("distributed.client").removeHandler(handler))
    calls = {"first": (tmp_path, "first")}
    calls |= {f"slow{i}": (tmp_path, f"slow{i}", tmp_path / "never") for i in range(3)}
    with scheduler() as (address, program), worker(address):
        workers_of(address)
        with closing(parallel_map(logged(), calls, jobs=address)) as outcomes:
            assert next(outcomes) == Outcome("first", "value of first")
            program.kill()
            rest = list(outcomes)
    assert sorted(outcome.name for outcome in rest) == ["slow0", "slow1", "slow2"]
    assert all(f"the scheduler {address} was lost" in outcome.error for outcome in rest)
    assert not any(record.exc_info for record in logged_by_dask)  # no traceback beside them


@pytest.mark.filterwarnings("ignore:the scheduler .* has no workers yet")
@pytest.mark.parametrize("given_up", [False, True])
def test_a_scheduler_that_died_between_two_maps_is_a_clear_error(given_up: bool) -> None:
    with scheduler() as (address, program), connected(address) as client:
        program.kill()
        program.wait()
        wait_until(lambda: client.status != "running")
        if given_up:  # as Dask does after 30 seconds without a scheduler
            client.close()
        with pytest.raises(ClusterError, match="the connection to .* was lost: start"):
            list(parallel_map(len, {"a": ("x",)}, jobs=client))


@pytest.mark.slow
def test_workers_of_another_version_are_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deepchem_xc", tmp_path / "deepchem_xc")
    code = tmp_path / "deepchem_xc" / "store.py"
    code.write_text(code.read_text() + "\n# changed\n")
    with scheduler() as (address, _), worker(address, tmp_path):
        workers_of(address)
        with pytest.raises(ClusterError, match="other versions: deepchem_xc .* there and"):
            list(parallel_map(len, {"a": ("x",)}, jobs=address))


@pytest.mark.slow
def test_a_worker_of_another_version_that_joins_later_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_calls, "_LOOK", 0.2)
    shutil.copytree(ROOT / "deepchem_xc", tmp_path / "deepchem_xc")
    code = tmp_path / "deepchem_xc" / "store.py"
    code.write_text(code.read_text() + "\n# changed\n")
    with scheduler() as (address, _), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        outcomes = parallel_map(len, {"a": ("x",)}, jobs=address)
        answers: list[Outcome[int]] = []
        reader = threading.Thread(target=lambda: answers.extend(outcomes))
        reader.start()
        for words in ("has no workers yet", "has no workers: 1 calculations wait"):
            wait_until(lambda: any(words in str(one.message) for one in said))  # noqa: B023
        with worker(address, tmp_path):
            reader.join(600)
    assert "other versions: deepchem_xc" in answers[0].error and answers[0].value is None


@pytest.mark.slow
def test_workers_that_run_several_calls_in_a_process_are_refused() -> None:
    with scheduler() as (address, _), worker(address, nthreads=2):
        workers_of(address)
        with pytest.raises(ClusterError, match="would run 2 calls in one process.*--nthreads 1"):
            list(parallel_map(len, {"a": ("x",)}, jobs=address))


@pytest.mark.slow
def test_workers_without_the_package_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deepchem_xc").mkdir()
    # An editable installation finds the modules of a package that lies elsewhere.
    absent = "raise ModuleNotFoundError(\"No module named 'deepchem_xc'\")\n"
    (tmp_path / "deepchem_xc" / "__init__.py").write_text(absent)
    with scheduler() as (address, _), worker(address, tmp_path):
        workers_of(address)
        with pytest.raises(ClusterError, match="cannot import the package.*install deepchem-xc"):
            list(parallel_map(len, {"a": ("x",)}, jobs=address))
