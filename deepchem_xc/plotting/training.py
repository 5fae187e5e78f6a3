"""Losses and validation errors over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deepchem_xc.plotting.style import COLORS, LINES, panels_or_new, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECADE = 10.0
# Curves of all types together, and their colour and line.
_MEANS = {"all": ("0.5", "-"), "all, validation": ("0.25", "--")}


class Epoch(Protocol):
    """What is drawn of an epoch: `EpochRecord` and `LoggedEpoch` have it."""

    epoch: int
    calculations: int
    validation_loss: float | None

    @property
    def loss(self) -> float:
        """Mean loss of all entries."""

    @property
    def loss_by_type(self) -> dict[str, float]:
        """Mean loss of the entries of each type."""


def plot_training(
    records: Sequence[Epoch],
    path: str | Path | None = None,
    validation: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    ax: Any = None,
) -> Figure:
    """Draw the loss of each type of entry over epochs, and errors of validation entries.

    A type has the same colour in all panels, each unit has its own panel, and ticks at the bottom
    of the loss panel mark the epochs in which ground states were computed. Where the log has it,
    the mean loss of the validation entries is the dashed line there.

    Parameters
    ----------
    records : sequence of EpochRecord or LoggedEpoch
        Records of the epochs, at least one.
    path : path, optional
        Image file; its ending determines the format.
    validation : mapping, optional
        ``{"type (unit)": [(epoch, mean absolute error), ...]}``.
    ax : array of axes, optional
        One for the loss and one for each unit of `validation`, to draw into.

    Returns
    -------
    matplotlib.figure.Figure
        The loss has no unit, errors have those of their types.

    Raises
    ------
    ValueError
        Without a record, or for another number of axes.

    Examples
    --------
    >>> from deepchem_xc.models import EpochRecord
    >>> from deepchem_xc.plotting import plot_training
    >>> records = [EpochRecord(i, {"eos": 4.0 - i}, {"eos": 2}) for i in range(3)]
    >>> plot_training(records).axes[0].lines[0].get_ydata().tolist()
    [2.0, 1.5, 1.0]
    """
    if not records:
        raise ValueError("there is no epoch to draw: the training has not finished its first one.")
    losses: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, loss in {"all": record.loss, **record.loss_by_type}.items():
            losses.setdefault(name, []).append((record.epoch, loss))
    if len(losses) == 2:
        # With a single type both curves are the same.
        del losses["all"]
    judged = [
        (record.epoch, record.validation_loss)
        for record in records
        if record.validation_loss is not None and isfinite(record.validation_loss)
    ]
    if judged:
        losses["all, validation"] = judged
    panels: dict[str, dict[str, Sequence[tuple[int, float]]]] = {"loss": dict(losses)}
    for described, points in (validation or {}).items():
        name, _, unit = described.partition(" (")
        label = f"mean absolute error ({unit}" if unit else "mean absolute error"
        panels.setdefault(label, {})[name] = points
    types = sorted({name for curves in panels.values() for name in curves} - set(_MEANS))
    styles = {name: (COLORS[i % 4], LINES[i // 4 % 4]) for i, name in enumerate(types)}
    styles |= _MEANS
    axes = panels_or_new(ax, 1, len(panels), (5.2, 3.8), sharex=True)[0]
    for ax, (label, curves) in zip(axes, panels.items(), strict=True):
        _draw_falling(ax, curves, styles)
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
    computed = [record.epoch for record in records if record.calculations]
    axes[0].plot(
        computed,
        [0.03] * len(computed),
        transform=axes[0].get_xaxis_transform(),
        ls="none",
        marker="|",
        ms=9,
        mew=1.5,
        color="0.1",
        label="ground states computed",
    )
    epochs = [
        epoch for curves in panels.values() for points in curves.values() for epoch, _ in points
    ]
    margin = 0.04 * (max(epochs) - min(epochs)) or 0.5
    for ax in axes:
        # One epoch axis, also for axes of the caller's that share none.
        ax.set_xlim(min(epochs) - margin, max(epochs) + margin)
        ax.legend(fontsize="small", frameon=False)
    figure: Figure = axes[0].figure
    save(figure, path)
    return figure


def _draw_falling(
    ax: Any,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    from matplotlib.ticker import MaxNLocator

    for name, points in curves.items():
        x, y = zip(*points, strict=True)
        color, line = styles[name]
        marker = "." if len(points) < 50 else ""
        ax.plot(x, y, label=name, color=color, ls=line, lw=1, marker=marker)
    values = [y for points in curves.values() for _, y in points]
    # Labels of a logarithmic axis over less than a decade are hard to read.
    if min(values) > 0 and max(values) > _DECADE * min(values):
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
