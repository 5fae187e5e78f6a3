"""Records of each epoch of a training: losses by type, skipped entries, kept densities."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepchem_xc._atomic import replacing


@dataclass
class EpochRecord:
    """One epoch.

    Attributes
    ----------
    epoch : int
        Number of the epoch, counted from 0.
    losses : dict
        ``{entry type: sum of the weighted losses}`` of the entries used.
    counts : dict
        ``{entry type: number of entries used}``.
    skipped : dict
        ``{entry name: reason}`` of entries whose calculation failed; a second entry with the same
        name is "name (2)".
    calculations : int
        Number of self-consistent calculations.
    frozen_error : float or None
        Largest difference between an energy at a kept density and the self-consistent one that
        replaced it, eV per atom; None if none was replaced.
    seconds : float
        Time taken.
    gradient_norm : float or None
        Largest norm of the loss's gradient, before it was limited; None if no step was taken.
    validation_loss : float or None
        Mean loss of the validation entries after this epoch; infinite if all of them failed, None
        without a validation.
    validation_errors : dict
        ``{"type (unit)": mean absolute error}`` of these.

    Examples
    --------
    >>> from deepchem_xc.models import EpochRecord
    >>> record = EpochRecord(0, losses={"eos": 4.0, "forces": 1.0}, counts={"eos": 2, "forces": 1})
    >>> record.loss_by_type["eos"], round(record.loss, 3)
    (2.0, 1.667)
    """

    epoch: int
    losses: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    calculations: int = 0
    frozen_error: float | None = None
    seconds: float = 0.0
    gradient_norm: float | None = None
    validation_loss: float | None = None
    validation_errors: dict[str, float] = field(default_factory=dict)

    def add(self, entry_type: str, loss: float) -> None:
        """Count one entry."""
        self.losses[entry_type] = self.losses.get(entry_type, 0.0) + loss
        self.counts[entry_type] = self.counts.get(entry_type, 0) + 1

    def skip(self, name: str, reason: str) -> None:
        """Count one entry that failed."""
        count = 2
        unique = name
        while unique in self.skipped:
            unique, count = f"{name} ({count})", count + 1
        self.skipped[unique] = reason

    @property
    def loss_by_type(self) -> dict[str, float]:
        """Mean loss of the entries of each type."""
        return {name: self.losses[name] / self.counts[name] for name in sorted(self.counts)}

    @property
    def loss(self) -> float:
        """Mean loss of all entries; NaN if there were none."""
        used = sum(self.counts.values())
        return sum(self.losses.values()) / used if used else float("nan")

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return asdict(self)

    def line(self) -> str:
        """One line for a terminal."""
        types = "  ".join(f"{name} {loss:.4g}" for name, loss in self.loss_by_type.items())
        parts = [f"epoch {self.epoch}: loss {self.loss:.4g} ({types})"]
        if self.validation_loss is not None:
            parts.append(f"validation {self.validation_loss:.4g}")
        if self.calculations:
            parts.append(f"{self.calculations} calculations")
        if self.frozen_error is not None:
            parts.append(f"kept densities were off by {1e3 * self.frozen_error:.2g} meV/atom")
        if self.skipped:
            parts.append(f"{len(self.skipped)} skipped: {', '.join(self.skipped)}")
        return f"{'; '.join(parts)}; {self.seconds:.1f} s"


def write_log(records: Sequence[EpochRecord], path: str | Path) -> None:
    """Write a CSV file with one line for each epoch.

    Parameters
    ----------
    records : sequence of EpochRecord
        Records of the epochs.
    path : path
        The file, which is replaced only when the new one is complete.

    Examples
    --------
    >>> from pathlib import Path
    >>> import tempfile
    >>> from deepchem_xc.models import EpochRecord, write_log
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> write_log([EpochRecord(0, losses={"eos": 4.0}, counts={"eos": 2})], path)
    >>> print(path.read_text().splitlines()[1])
    0,2.0,2,0,0,,0.000,,,2.0
    """
    types = sorted({name for record in records for name in record.counts})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIXED, *_MORE, *types])
    for record in records:
        losses = record.loss_by_type
        writer.writerow(
            [
                record.epoch,
                record.loss,
                sum(record.counts.values()),
                len(record.skipped),
                record.calculations,
                "" if record.frozen_error is None else f"{record.frozen_error:.3e}",
                f"{record.seconds:.3f}",
                "" if record.gradient_norm is None else f"{record.gradient_norm:.6g}",
                "" if record.validation_loss is None else record.validation_loss,
                *(losses.get(name, "") for name in types),
            ]
        )
    with replacing(path) as file:
        file.write(text.getvalue())


_FIXED = ("epoch", "loss", "entries", "skipped", "calculations")
_MORE = ("frozen_error_eV_per_atom", "seconds", "gradient_norm", "validation_loss")


@dataclass(frozen=True)
class LoggedEpoch:
    """One line of a log; the attributes have the meaning of those of `EpochRecord`.

    Examples
    --------
    >>> LoggedEpoch(epoch=0, loss=2.0, loss_by_type={"eos": 2.0}).calculations
    0
    """

    epoch: int
    loss: float
    loss_by_type: dict[str, float]
    calculations: int = 0
    skipped: int = 0
    seconds: float = 0.0
    validation_loss: float | None = None


def read_log(path: str | Path) -> list[LoggedEpoch]:
    """Epochs of a file that `write_log` wrote, also in version 0.1.0.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    ValueError
        If a cell is not a number.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.models import EpochRecord, write_log
    >>> path = tempfile.mkdtemp() + "/log.csv"
    >>> write_log([EpochRecord(0, losses={"eos": 4.0}, counts={"eos": 2})], path)
    >>> read_log(path)[0].loss_by_type
    {'eos': 2.0}
    """
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        LoggedEpoch(
            epoch=int(row["epoch"]),
            loss=float(row["loss"]),
            loss_by_type={
                name: float(cell)
                for name, cell in row.items()
                if name not in (*_FIXED, *_MORE) and cell
            },
            calculations=int(row["calculations"]),
            skipped=int(row.get("skipped") or 0),
            seconds=float(row.get("seconds") or 0.0),
            validation_loss=float(loss) if (loss := row.get("validation_loss")) else None,
        )
        for row in rows
    ]


class Stopwatch:
    """Seconds since it was last read.

    Examples
    --------
    >>> Stopwatch().lap() >= 0.0
    True
    """

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
