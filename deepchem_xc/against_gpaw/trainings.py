"""Trainings that run beside the benchmark, one after another, each in its own process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deepchem_xc._files import data_file
from deepchem_xc.keywords import PotentialKind

# Seconds between checks of the running training.
_INTERVAL = 0.2


class TrainingError(RuntimeError):
    """The training beside the benchmark failed."""


@dataclass(frozen=True)
class Training:
    """One training that starts from the LDA, in its own folder.

    Attributes
    ----------
    seed
        Seed of the network's initial weights.
    folder
        Folder of checkpoints, log and functional.
    potentials
        Kind of potentials of the crystals that are learned from.

    Examples
    --------
    >>> Training(1, Path("results/training-1")).name
    'trained, seed 1'
    """

    seed: int
    folder: Path
    potentials: PotentialKind = "paw"

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"trained, seed {self.seed}"

    @property
    def functional(self) -> Path:
        """File of the functional, which exists once the training has ended."""
        return self.folder / "functional.safetensors"

    @property
    def log(self) -> Path:
        """File of the training's output."""
        return self.folder / "training.log"

    def command(self, *options: str) -> list[str]:
        """Command that starts or resumes the training, or finds it complete.

        Parameters
        ----------
        *options : str
            Further options of ``deepchem-xc train``.
        """
        config = "recover_gga.yaml" if self.potentials == "paw" else "recover_gga_gth.yaml"
        command = [sys.executable, "-m", "deepchem_xc.cli", "train", str(data_file(config))]
        return [*command, "--output", str(self.folder), "--seed", str(self.seed), *options]


@contextlib.contextmanager
def train_beside(
    trainings: Sequence[Training],
    fresh: bool = False,
    threads: int = 1,
    device: str = "cpu",
    notify: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Train in another process while the block runs, and wait for all trainings at its end.

    Parameters
    ----------
    trainings : sequence of Training
        Each starts when the one before has ended.
    fresh : bool, optional
        Train again from the start; otherwise an interrupted training is resumed, and a complete
        one is not repeated.
    threads : int, optional
        Threads of a training.
    device : str, optional
        Torch device.
    notify : callable, optional
        Called, in another thread, when a training begins or has failed.

    Raises
    ------
    TrainingError
        If a training fails, for example because its folder holds one with other settings.
    """
    options = ["--threads", str(threads), "--device", device, *(["--fresh"] if fresh else [])]
    stop = threading.Event()
    tell = notify or (lambda message: None)

    def train_all() -> None:
        for training in trainings:
            tell(f"{training.name}: in {training.folder}, see {training.log.name} for progress")
            try:
                _train(training, options, stop)
            except TrainingError as error:
                tell(str(error))
                raise

    with ThreadPoolExecutor(1) as pool:
        try:
            done = pool.submit(train_all)
            yield
            done.result()
        finally:
            stop.set()


def _train(training: Training, options: Sequence[str], stop: threading.Event) -> None:
    if stop.is_set():
        return
    training.folder.mkdir(parents=True, exist_ok=True)
    with open(training.log, "a") as log:
        process = subprocess.Popen(training.command(*options), stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if stop.wait(_INTERVAL):
                process.terminate()
                process.wait()
                return
    if process.returncode:
        last = training.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise TrainingError(f"{training.name} failed; from {training.log}:\n  " + "\n  ".join(last))
