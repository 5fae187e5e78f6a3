"""From a folder to its page, and the refusal of folders of something else."""

from __future__ import annotations

import csv
from pathlib import Path

from deepchem_xc._atomic import replacing
from deepchem_xc.report.benchmark import benchmark_page
from deepchem_xc.report.reading import ReportError
from deepchem_xc.report.training import training_page

__all__ = ["ReportError", "write_html_report"]


def write_html_report(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write one self-contained HTML page of a training or benchmark; returns its path.

    Parameters
    ----------
    folder : path
        Folder that `deepchem-xc train` or `deepchem-xc benchmark` wrote.
    path : path, optional
        The page; ``report.html`` in the folder by default.

    Returns
    -------
    Path
        The page's file.

    Raises
    ------
    ReportError
        If the folder does not exist, holds neither, or one of its files is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from deepchem_xc.models import EpochRecord, write_log
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "config.yaml").write_text("epochs: 1")
    >>> write_log([EpochRecord(0, losses={"eos": 4.0}, counts={"eos": 2})], folder / "log.csv")
    >>> write_html_report(folder).name
    'report.html'
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        raise ReportError(
            f"{folder} is {what}: give the folder (--output) of deepchem-xc train or benchmark."
        )
    if (folder / "benchmark.json").exists():
        make_page = benchmark_page
    elif (folder / "log.csv").exists():
        make_page = training_page
    else:
        raise ReportError(
            f"{folder} holds neither a training with a finished epoch (log.csv) nor a finished "
            f"benchmark (benchmark.json): give the folder (--output) of one of them."
        )
    path = folder / "report.html" if path is None else Path(path)
    if path.is_dir():
        raise ReportError(f"{path} is a folder: name a file in it, such as {path / 'report.html'}.")
    try:
        text = make_page(folder).html()
    except (AttributeError, KeyError, TypeError, IndexError, csv.Error) as error:
        # Valid JSON or CSV with another content than the commands write.
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise ReportError(
            f"the files in {folder} are not as deepchem-xc wrote them ({reason}): "
            "run the command again that wrote them."
        ) from error
    with replacing(path, "wb") as file:
        file.write(text.encode("utf-8"))  # as the page says, whatever the locale
    return path
