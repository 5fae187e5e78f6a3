"""A bar for long work: on a terminal or in a notebook, and only if it takes more than a second."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import TqdmWarning

from deepchem_xc.models.ground_states import GroundStates

with warnings.catch_warnings():
    # In a notebook without ipywidgets the bar is plain text; importing a model is no reason to
    # ask for an installation.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm


def progress_bar(show: bool | None, **options: Any) -> Any:
    """A bar of tqdm.

    Parameters
    ----------
    show : bool or None
        True and False as they say; None shows it on a terminal and in notebooks, after a second.
    **options
        Keywords of tqdm, such as total, desc and unit.

    Examples
    --------
    >>> list(progress_bar(False, iterable=range(2)))
    [0, 1]
    """
    if show is None:
        return tqdm(disable=None, delay=1.0, **options)
    return tqdm(disable=not show, **options)


@contextmanager
def training_bar(
    show: bool | None, steps: int | None, ground_states: GroundStates
) -> Iterator[Any]:
    """Bar over the steps of a training, which also counts self-consistent calculations.

    Parameters
    ----------
    show : bool or None
        See `progress_bar`.
    steps : int or None
        Their number, if it is known.
    ground_states : GroundStates
        Its `on_calculation` is called as before.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> with training_bar(False, 2, GroundStates(PBE(trainable=True))) as bar:
    ...     _ = bar.update()
    """
    before, count = ground_states.on_calculation, 0
    with progress_bar(show, total=steps, desc="training", unit="step") as bar:

        def on_calculation(calculation: Any) -> None:
            nonlocal count
            count += 1
            bar.set_postfix(calculations=count)
            if before is not None:
                before(calculation)

        ground_states.on_calculation = on_calculation
        try:
            yield bar
        finally:
            ground_states.on_calculation = before
