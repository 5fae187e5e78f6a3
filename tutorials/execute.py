"""Execute notebooks from their first cell and write their outputs back: ``make tutorials``.

A notebook is committed with its outputs, so that it can be read without running it. What is
written is the same each time: cells are numbered, and times and versions are left out. A cell that
fails, or that writes to stderr (a warning, a progress bar), stops the execution, and the file stays
as it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
# Seconds that one cell may take. A tutorial takes less than 10 minutes on two cores; the machine
# may be busy.
CELL_LIMIT = 3600
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class StderrError(RuntimeError):
    """A cell wrote to stderr, which a reader should not see."""


def tutorials(names: Iterable[str] = ()) -> list[Path]:
    """Notebooks in the order of their numbers; those whose file names begin with `names`.

    Raises
    ------
    ValueError
        If no notebook begins with one of the names.
    """
    found = sorted(FOLDER.glob("*.ipynb"))
    names = [Path(name).name for name in names]
    for name in names:
        if not any(path.name.startswith(name) for path in found):
            valid = ", ".join(path.stem for path in found)
            raise ValueError(f"no tutorial begins with {name!r}; there are {valid}")
    return [path for path in found if not names or path.name.startswith(tuple(names))]


def executed(path: Path) -> Any:
    """The notebook with the outputs of a fresh kernel, ready to be written.

    The kernel works in an empty folder that is removed afterwards, and imports this checkout's
    ``deepchem_xc``.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    StderrError
        If a cell writes to stderr.
    """
    notebook = tidy(nbformat.read(path, as_version=4))
    with tempfile.TemporaryDirectory() as folder, _environment(Path(folder)):
        work = Path(folder) / "work"
        work.mkdir()
        # Sockets that are files: no ports, and nobody else on the machine can listen.
        kernel = AsyncKernelManager(
            kernel_name="python3",
            transport="ipc",
            connection_file=str(Path(folder) / "kernel.json"),
        )
        client = NotebookClient(
            notebook,
            km=kernel,
            timeout=CELL_LIMIT,
            resources={"metadata": {"path": str(work)}},
            record_timing=False,
        )
        client.execute(cleanup_kc=True)
    notebook = tidy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                raise StderrError(
                    f"{path.name}, {cell.id} writes to stderr:\n{output.text}\n"
                    "Repair what it warns of, or turn the progress bar off."
                )
    return notebook


def tidy(notebook: Any) -> Any:
    """The notebook without what differs from run to run: times, versions, ids made at random."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({})
        cell.source = cell.source.strip("\n")
        if cell.cell_type == "code":
            cell.outputs = list(_joined(cell.outputs))
    return notebook


def text_of(notebook: Any) -> str:
    """What stands in the file of a notebook."""
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"


def _joined(outputs: Iterable[Any]) -> Iterator[Any]:
    """Outputs with neighbouring pieces of one stream put together: where it is cut is chance."""
    last = None
    for output in outputs:
        output.pop("metadata", None)
        if output.output_type in ("display_data", "execute_result"):
            output.metadata = nbformat.from_dict({})
        stream = output.name if output.output_type == "stream" else None
        if stream is not None and last is not None and last.get("name") == stream:
            last.text += output.text
            continue
        last = output if stream is not None else None
        yield output


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Variables that the kernel inherits, by which it depends on nothing of the user's."""
    wanted = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(":"),
        "IPYTHONDIR": str(folder / "ipython"),  # no start-up files
        "MPLCONFIGDIR": str(folder / "matplotlib"),  # no style of one's own
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> None:
    """Execute the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*", help="first letters of file names, such as 01 06; all")
    try:
        paths = tutorials(parser.parse_args().names)
    except ValueError as error:
        parser.error(str(error))
    for path in paths:
        print(f"{path.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        path.write_text(text_of(executed(path)))


if __name__ == "__main__":
    main()
