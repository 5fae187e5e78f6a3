"""Clones in crystals and in other codes, as stages of `cloning.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloning_codes as codes
import cloning_solids as solids
from cloning_crystals import CRYSTALS
from cloning_plan import Clone
from cloning_training import clone_file, trained


def folder_of(output: Path) -> Path:
    """Where both scripts keep their results, whatever started them."""
    return output / "elsewhere"


def evaluate_solids(clone: Clone, data: Any, output: Path, deadline: float) -> bool:
    """Equations of state with PAW; whether the clone was there.

    One clone takes minutes, and what is kept is not computed again: `deadline` is looked at before.
    """
    if trained(output, clone) is None:
        return False
    crystals = solids.QUICK if clone.quick else tuple(CRYSTALS)
    path = clone_file(output, clone)
    solids.run(path, clone.functional, crystals, folder_of(output), quick=clone.quick)
    return True


def evaluate_codes(clone: Clone, data: Any, output: Path, deadline: float) -> bool:
    """The same clone in four codes; whether it was there."""
    if trained(output, clone) is None:
        return False
    codes.run(clone_file(output, clone), clone.functional, folder_of(output), quick=clone.quick)
    return True


def sections(output: Path) -> list[str]:
    """Parts of the report, in Markdown."""
    found = (
        ("## Crystals", solids.tables(folder_of(output))),
        ("## Four codes", codes.tables(folder_of(output))),
    )
    return [part for title, text in found if text for part in (title, text)]
