"""Options shared by commands, and the form of errors.

Nothing heavy is imported here, because `deepchem-xc --help` must answer at once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deepchem_xc.keywords import field

if TYPE_CHECKING:
    from deepchem_xc.parallel import Jobs

Command = TypeVar("Command", bound=Callable[..., Any])

# Errors whose message is enough for a user; for others the type is shown too.
_EXPECTED = (ValueError, OSError, ImportError, RuntimeError)

#: Names of functionals for the help: those of `xc.registry.common_names`, which cannot be asked
#: here, because that would import torch.
FUNCTIONAL_NAMES = (
    "LDA, Teter93, BLYP, PBE, PBEsol, revPBE, RPBE, TPSS, SCAN, r2SCAN, recovered_paw, "
    "experiment_paw, recovered_gga, experiment_gga, cloned_pbe, cloned_pbesol, cloned_r2scan"
)


def help_of(keyword: str) -> str:
    """Description of a keyword, as a sentence for the help.

    Examples
    --------
    >>> help_of("nbands")
    "Number of bands; -4 or '120%' count from the occupied ones."
    """
    text = field(keyword).description or ""
    return text[:1].upper() + text[1:] + ("" if text.endswith("...") else ".")


Device = Annotated[str, typer.Option(help=help_of("device"))]
Threads = Annotated[int | None, typer.Option(help="Threads.", show_default="torch's choice")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the results as JSON.", show_default=False),
]
Figure = Annotated[
    Path | None, typer.Option(help="Write a figure (.png, .pdf, ...).", show_default=False)
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Compute on the workers of a Dask scheduler, such as tcp://10.0.0.1:8786; 'local' "
        "starts one with --jobs workers on this machine (docs/clusters.md).",
        show_default=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def command(function: Command) -> Command:
    """Turn errors of a command into one clear line and a non-zero exit status.

    With the command's ``debug=True`` the traceback comes first.
    """

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _say_warning
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader (head, less) has ended: discard the rest of the buffer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            if isinstance(error, typer.Exit) or type(error).__module__.startswith("typer."):
                raise
            if kwargs.get("debug"):
                say(getattr(error, "details", "") or traceback.format_exc())
            say(f"error: {describe(error)}")
            raise typer.Exit(1) from None

    return guarded  # type: ignore[return-value]


def _say_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    say(f"warning: {message}")


def describe(error: Exception) -> str:
    """Text of an error, with its type if the text alone is not enough."""
    text = str(error).strip()
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file {error.filename}"
    if text and isinstance(error, _EXPECTED):
        return text
    return f"{type(error).__name__}: {text}".rstrip(": ") + " (--debug shows where)"


def say(message: str) -> None:
    """Print to standard error; the standard output is for results."""
    typer.echo(f"deepchem-xc: {message}", err=True)


def write(path: Path | None, values: dict[str, Any]) -> None:
    """Write JSON, if a path is given."""
    if path is not None:
        from deepchem_xc._files import write_json

        write_json(path, values)
        say(f"results in {path}")


@contextlib.contextmanager
def workers(scheduler: str | None, jobs: int | None, threads: int = 1) -> Iterator[Jobs | None]:
    """`jobs` of `parallel_map`, from two options; connected to a scheduler for the block.

    Examples
    --------
    >>> with workers("tcp://10.0.0.1:8786", 4):
    ...     pass
    Traceback (most recent call last):
    ValueError: --jobs 4 would have no effect: the workers of tcp://10.0.0.1:8786 decide how many...
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    if scheduler is None:
        yield jobs
        return
    from deepchem_xc.parallel import LOCAL, connected, default_jobs

    if jobs is not None and scheduler != LOCAL:
        raise ValueError(
            f"--jobs {jobs} would have no effect: the workers of {scheduler} decide how many "
            "calculations run at the same time. Leave it out."
        )
    with connected(scheduler, jobs or default_jobs(threads), threads) as client:
        found = client.scheduler_info(n_workers=-1)["workers"]
        say(f"{len(found)} workers of the scheduler {client.scheduler.address}")
        yield client


def seed_list(text: str) -> list[int]:
    """Distinct whole numbers from a comma-separated list.

    Examples
    --------
    >>> seed_list("0, 1,2")
    [0, 1, 2]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ValueError(f"--seeds takes different whole numbers such as 0,1,2; got {text!r}.")
    return [int(part) for part in parts]


def check_files(output: Path | None, figure: Path | None = None) -> None:
    """Raise ValueError, before anything is computed, if results could not be written.

    Examples
    --------
    >>> check_files(Path("al.json"), Path("al.gif.txt"))
    Traceback (most recent call last):
    ValueError: a figure cannot be written to al.gif.txt: its name must end in one of ...
    """
    for path in (output, figure):
        if path is not None and path.is_dir():
            raise ValueError(f"{path} is a folder: name a file in it, such as {path / 'al.json'}.")
    if figure is not None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        valid = sorted(FigureCanvasAgg.get_supported_filetypes())
        if figure.suffix.lower().removeprefix(".") not in valid:
            raise ValueError(
                f"a figure cannot be written to {figure}: its name must end in one of "
                f"{', '.join('.' + ending for ending in valid)}."
            )


def torch_device(device: str, threads: int | None) -> str:
    """Check a device, and set the number of threads, if one is given."""
    import torch

    from deepchem_xc import _values

    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}.")
        torch.set_num_threads(threads)
    _values.torch_device(device)
    return device
