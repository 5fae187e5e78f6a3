"""The labels for training and evaluation: y of the data set."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from deepchem.trans import Transformer, undo_transforms
from numpy.typing import ArrayLike, NDArray

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.feat.crystal_calculation import CrystalCalculation
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.entry_checks import impossible_label
from deepchem_xc.feat.molecule_calculation import MoleculeCalculation

Floats = NDArray[np.float64]

#: Relative difference up to which numbers count as equal: y may be stored in single precision.
_SAME = 1e-6
#: Ratios of y to the entries' own labels beyond which y is on another scale: if their differences
#: indicate it too, and if there is only one label.
_RATIO, _RATIO_OF_ONE = 2.0, 20.0
_TELL = (
    "If y was made by transformers, pass them to the model: XCModel(..., transformers=[...]), or "
    "evaluate(dataset, metrics, [...])."
)


class LabelWarning(UserWarning):
    """y of a data set differs from the labels that its entries hold.

    Examples
    --------
    >>> from deepchem_xc.models import LabelWarning
    >>> issubclass(LabelWarning, UserWarning)
    True
    """


def entries_of(x: Any) -> list[DFTEntry]:
    """Entries in the X of a data set, (n,) or (n, 1).

    Raises
    ------
    ValueError
        If X holds anything else.

    Examples
    --------
    >>> entries_of([[1.0]])
    Traceback (most recent call last):
    ValueError: X must hold DFTEntry objects, as DFTYamlLoader and ... make them; got 1.0.
    """
    entries = list(np.asarray(x, dtype=object).reshape(-1))
    for entry in entries:
        if not isinstance(entry, DFTEntry):
            calculation = isinstance(entry, CrystalCalculation | MoleculeCalculation)
            given = "calculations" if calculation else repr(entry)[:60]
            raise ValueError(
                "X must hold DFTEntry objects, as DFTYamlLoader and PeriodicSystemFeaturizer("
                f"e_type=...) make them; got {given}."
            )
    return entries


def labels_of(
    entries: Sequence[DFTEntry],
    y: ArrayLike,
    transformers: Iterable[Transformer] = (),
    weights: ArrayLike | None = None,
) -> list[Floats]:
    """Labels of a data set's entries, taken from its y, in the entries' units.

    y takes precedence over an entry's own label, with a `LabelWarning` if they differ; an entry
    need not have one. Labels that are arrays come from the entry: y holds their summary, 0.

    Parameters
    ----------
    entries : sequence of DFTEntry
        X.
    y : array_like
        (n,), (n, 1), or one column for each task with n numbers in total, row by row.
    transformers : iterable of Transformer, optional
        Transformers applied to y; they are undone. Without them y may be the standard scores of
        the entries' own labels, or those labels on a scale from 0 to 1: then these labels count.
    weights : array_like, optional
        (n,): an entry with zero weight may lack a label.

    Returns
    -------
    list of ndarray
        (1,) for a number, otherwise an array; in the entries' units.

    Raises
    ------
    ValueError
        If a label is missing or NaN; if y stands for an array and is not 0; if y is not in the
        units of the entries' own labels: on another scale, or zero throughout.

    Examples
    --------
    >>> aluminium = {"structure": {"symbols": ["Al"], "cell": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
    ...              "scaled_positions": [[0, 0, 0]]}, "ecut": 150.0}
    >>> entries = [DFTEntry.create("energy", None, [aluminium])]
    >>> labels_of(entries, [[-57.2]])
    [array([-57.2])]
    """
    n = len(entries)
    if n == 0:
        raise ValueError("the data set is empty.")
    own = np.array([entry.label_summary for entry in entries], dtype=np.float64)
    made_by = [transformer for transformer in transformers if transformer.transform_y]
    known = np.isfinite(own)
    given = _numbers(y)
    values = _column(given, n, bool(made_by))
    if values is None or not (known.any() and _same(values, own)[known].all()):
        if values is None or made_by:
            values = _undone(given, made_by, n)
        elif known.all() and _is_normalised(values, own):
            warnings.warn(
                "y holds the entries' own labels, normalised; the labels count, in their units. "
                + _TELL,
                LabelWarning,
                stacklevel=users_stacklevel(),
            )
            values = own
    if not (known.any() or made_by) and _is_standard(values):
        raise ValueError(
            "y has mean 0 and standard deviation 1, as from NormalizationTransformer, and the "
            f"entries hold no labels of their own. {_TELL}"
        )
    free = np.zeros(n, bool) if weights is None else np.asarray(weights).reshape(-1) == 0
    values = np.where(free & ~np.isfinite(values), np.where(known, own, 0.0), values)
    _check_finite(entries, values, free)
    values = np.where(known & _same(values, own), own, values)
    _compare(entries, values, own)
    for entry, value, skip in zip(entries, values, free, strict=True):
        if not skip and (reason := impossible_label(entry.entry_type, float(value))):
            raise ValueError(f"y of {entry!r}: {reason}. {_TELL}")
    return [
        np.array([value]) if entry.is_scalar else _array(entry, bool(skip))
        for entry, value, skip in zip(entries, values, free, strict=True)
    ]


def summaries_of(entries: Sequence[DFTEntry], labels: Sequence[Floats]) -> Floats:
    """Reference values of predictions, (n,): the number, or 0 for arrays.

    Examples
    --------
    >>> summaries_of([], []).shape
    (0,)
    """
    pairs = zip(entries, labels, strict=True)
    return np.array([float(x[0]) if e.is_scalar else 0.0 for e, x in pairs], dtype=np.float64)


def empty_cells(
    entries: Sequence[DFTEntry], labels: Sequence[Floats], weights: ArrayLike
) -> NDArray[np.bool_]:
    """Which entries are empty cells of a table, (n,): neither a weight nor a label.

    DeepChem's loaders mark them with w = 0 and y = 0.

    Parameters
    ----------
    entries, labels : sequence
        As for and from `labels_of`.
    weights : array_like
        (n,).

    Examples
    --------
    >>> empty_cells([], [], []).shape
    (0,)
    """
    unlabelled = np.array([not entry.has_label for entry in entries], dtype=bool)
    values = np.abs(summaries_of(entries, labels))
    # Undoing a transformer leaves rounding errors.
    zero = values <= 1e-9 * max(1.0, values.max(initial=0.0))
    return unlabelled & zero & (np.asarray(weights, dtype=np.float64) == 0)


def _numbers(y: ArrayLike) -> Floats:
    try:
        return np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"y must hold one number for each entry, got {y!r}.") from None


def _column(given: Floats, n: int, made: bool = False) -> Floats | None:
    """y as (n,); None if transformers gave it another shape."""
    if given.shape == (n,) or (given.ndim == 2 and given.size == n):
        return given.reshape(-1)
    if made:
        return None
    raise ValueError(
        f"y must hold one number for each entry, shape ({n},) or ({n}, 1); got {given.shape}."
    )


def _undone(given: Floats, made_by: list[Transformer], n: int) -> Floats:
    try:
        values = np.asarray(undo_transforms(given, made_by), dtype=np.float64)
    except (TypeError, IndexError, ValueError, NotImplementedError) as error:
        names = ", ".join(type(transformer).__name__ for transformer in made_by)
        raise ValueError(
            f"{names} cannot be undone for y of shape {given.shape} ({error}). Some of DeepChem's "
            "transformers take columns only: make data sets with y[:, None], as entry_arrays does. "
            "Others, such as "
            "ClippingTransformer, cannot be undone at all."
        ) from error
    column = _column(values, n)
    assert column is not None
    return column


def _same(values: Floats, own: Floats) -> NDArray[np.bool_]:
    return np.abs(values - own) <= _SAME * np.maximum(np.abs(own), 1.0)


def _is_normalised(values: Floats, own: Floats) -> bool:
    """Whether `NormalizationTransformer` or `MinMaxTransformer` would turn the labels into y."""
    spread = np.ptp(own)
    if spread == 0.0:
        return False
    scores = (own - own.mean()) / own.std(), (own - own.min()) / spread
    return any(bool(np.allclose(values, score, rtol=0.0, atol=10 * _SAME)) for score in scores)


def _is_standard(values: Floats) -> bool:
    return bool(abs(values.mean()) < 10 * _SAME and abs(values.std() - 1.0) < 10 * _SAME)


def warn_of_other_size(
    entries: Sequence[DFTEntry], labels: Sequence[Floats], values: Sequence[Floats]
) -> bool:
    """Warn of labels that cannot be in the computed values' units; whether it warned.

    Any functional gives lattice constants and energies of single systems well enough to tell.

    Parameters
    ----------
    entries, labels, values
        Those of a batch.
    """
    for entry, label, value in zip(entries, labels, values, strict=True):
        absolute = entry.entry_type in ("energy", "ae") and len(entry.systems) == 1
        if not (absolute or entry.entry_type == "lattice_constant"):
            continue
        if label[0] == 0.0 or not _within(float(value[0] / label[0]), _RATIO):
            warnings.warn(
                f"{entry!r} has y = {label[0]:g} {entry.unit}, and {value[0]:g} was computed: is y "
                f"in this unit? {_TELL}",
                LabelWarning,
                stacklevel=users_stacklevel(),
            )
            return True
    return False


def _check_finite(entries: Sequence[DFTEntry], values: Floats, free: NDArray[np.bool_]) -> None:
    for entry, value, skip in zip(entries, values, free, strict=True):
        if np.isfinite(value) or skip:
            continue
        if not entry.has_label:
            raise ValueError(
                f"{entry!r}: true_val: missing; it is needed for training and evaluation, and y, "
                f"which may take its place, is {value:g}. Give a number as y, or a weight "
                "of 0 to leave the entry out."
            )
        raise ValueError(
            f"y of {entry!r} is {value}: give a number, or a weight of 0 to leave it out. " + _TELL
        )


def _array(entry: DFTEntry, free: bool) -> Floats:
    if free and not entry.has_label:
        shape = entry.kind.label_shape(entry)
        return np.zeros(tuple(1 if size is None else size for size in shape))
    return entry.get_true_val()


def _compare(entries: Sequence[DFTEntry], values: Floats, own: Floats) -> None:
    """Refuse y that cannot be the entries' labels; warn where it differs from them."""
    differs = np.isfinite(own) & (values != own)
    if not differs.any():
        return
    for i in np.flatnonzero(differs).tolist():
        if not entries[i].is_scalar:
            raise ValueError(
                f"y of {entries[i]!r} is {values[i]:g}: its label is an array, which a number "
                f"cannot replace. Leave y at 0, and give the array as true_val. {_TELL}"
            )
    known = [i for i in range(len(entries)) if np.isfinite(own[i]) and entries[i].is_scalar]
    reason = _other_scale(values[known], own[known])
    worst = int(np.argmax(np.where(differs, np.abs(values - own), -1.0)))
    example = (
        f"{entries[worst]!r} has y = {values[worst]:g} and true_val = {own[worst]:g} "
        f"{entries[worst].unit}"
    )
    if reason:
        raise ValueError(
            f"y is not in the units of the entries' own labels ({reason}): {example}. {_TELL} If "
            "these are other labels, make the entries with them."
        )
    warnings.warn(
        f"y differs from the labels of {int(differs.sum())} of {len(entries)} entries, and y "
        f"counts: {example}.",
        LabelWarning,
        stacklevel=users_stacklevel(),
    )


def _other_scale(values: Floats, own: Floats) -> str:
    """Reason why y is on another scale than the labels; empty if it may be labels."""
    if not values.any():
        return "it is 0 throughout, DeepChem's default if none is given"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(values.mean() / own.mean())
    if len(own) == 1:
        return "" if _within(ratio, _RATIO_OF_ONE) or own[0] == 0 else "it is of another size"
    spread = float(np.ptp(own))
    if spread == 0.0:
        return ""
    slope, offset = np.polyfit(own - own.mean(), values, 1)
    misfit = np.abs(values - offset - slope * (own - own.mean())).max()
    if len(own) > 2 and misfit < 10 * _SAME * np.ptp(values) and abs(slope - 1.0) > 10 * _SAME:
        return f"it is {slope:.4g} times them and a constant"
    shift = abs(float(values.mean() - own.mean()))
    far = shift > 2.0 * max(float(own.std()), float(values.std()))
    other_slope = not _within(float(slope), _RATIO) and not _within(ratio, _RATIO)
    other_size = abs(slope - 1.0) > 0.1 and not _within(ratio, _RATIO_OF_ONE)
    return "it is of another size" if far and (other_slope or other_size) else ""


def _within(ratio: float, factor: float) -> bool:
    return 1.0 / factor < ratio < factor
