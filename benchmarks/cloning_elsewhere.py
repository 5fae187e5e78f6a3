"""Clones in crystals, in other codes and as starts of trainings, as stages of `cloning.py`."""

from __future__ import annotations

import time
from pathlib import Path

import cloning_ccsd as ccsd
import cloning_codes as codes
import cloning_solids as solids
from cloning_crystals import CRYSTALS
from cloning_plan import Clone
from cloning_training import Data, clone_file, trained


def folder_of(output: Path) -> Path:
    """Where both scripts keep their results, whatever started them."""
    return output / "elsewhere"


def evaluate_solids(clone: Clone, data: Data, output: Path, deadline: float) -> bool:
    """Equations of state with PAW; whether the clone was there.

    One clone takes minutes, and what is kept is not computed again: `deadline` is looked at before.
    """
    if trained(output, clone) is None:
        return False
    crystals = solids.QUICK if clone.quick else tuple(CRYSTALS)
    path = clone_file(output, clone)
    solids.run(path, clone.functional, crystals, folder_of(output), quick=clone.quick)
    return True


def evaluate_codes(clone: Clone, data: Data, output: Path, deadline: float) -> bool:
    """The same clone in four codes; whether it was there."""
    if trained(output, clone) is None:
        return False
    codes.run(clone_file(output, clone), clone.functional, folder_of(output), quick=clone.quick)
    return True


def train_on_energies(
    clones: list[Clone], data: Data, output: Path, deadline: float, reference: Path | None
) -> bool:
    """Trainings on CCSD(T) energies from clones and from random weights; whether all is done.

    Parameters
    ----------
    clones : list of Clone
        One for each seed.
    data, output, deadline
        As for the other stages.
    reference : Path or None
        File of W4-11, which evaluates.
    """
    if not clones or any(trained(output, clone) is None for clone in clones):
        return False
    plan = ccsd.SMALL if clones[0].quick else ccsd.FULL
    if len(clones) != len(plan.seeds):
        return False
    ccsd.run(
        [clone_file(output, clone) for clone in clones],
        folder_of(output),
        parent=clones[0].functional,
        data_dir=data.folder,
        w4_11=reference,
        plan=plan,
        minutes=(deadline - time.monotonic()) / 60.0,
    )
    return True


def sections(output: Path) -> list[str]:
    """Parts of the report, in Markdown."""
    found = (
        ("## Crystals", solids.tables(folder_of(output))),
        ("## Four codes", codes.tables(folder_of(output))),
        ("## CCSD(T) energies", ccsd.tables(folder_of(output))),
    )
    return [part for title, text in found if text for part in (title, text)]
