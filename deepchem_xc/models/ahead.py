"""Predictions computed side by side, before their entries ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ase.units import Hartree
from torch import Tensor

from deepchem_xc.feat.calculation import Calculation, Start
from deepchem_xc.models.side_by_side import solved, values

if TYPE_CHECKING:
    from deepchem_xc.feat.dft_data import DFTEntry
    from deepchem_xc.models.ground_states import GroundStates


@dataclass
class Ahead:
    """What is known of predictions before their entries ask.

    Attributes
    ----------
    energies : dict
        Energies (eV), or failures, by the keys of calculations.
    values : dict
        Values, or failures, by the `id` of entries whose values are not made of energies alone.

    Examples
    --------
    >>> Ahead().energies
    {}
    """

    energies: dict[str, float | Exception] = field(default_factory=dict)
    values: dict[int, Tensor | Exception] = field(default_factory=dict)


def known_ahead(ground_states: GroundStates, entries: Sequence[DFTEntry], bar: Any = None) -> Ahead:
    """Energies and values of entries at the present parameters, from other processes.

    Nothing of them is kept. Where no volume of a structure has a kept density, its middle volume is
    computed first, and the others start from it.

    Parameters
    ----------
    ground_states : GroundStates
        Its `jobs` say where calculations run.
    entries : sequence of DFTEntry
        Entries to predict.
    bar : tqdm.tqdm, optional
        Advanced by each calculation.

    Raises
    ------
    JobsError
        If calculations do not come back.

    Examples
    --------
    >>> from deepchem_xc.models.ground_states import GroundStates
    >>> from deepchem_xc.xc import PBE
    >>> known_ahead(GroundStates(PBE(trainable=True)), [])
    Ahead(energies={}, values={})
    """
    found, jobs = Ahead(), ground_states.jobs
    if jobs is None:
        return found
    done: dict[str, dict[float, Start]] = {}

    def start_of(calculation: Calculation[Any, Any]) -> Start | None:
        return ground_states.kept.start(calculation, done.get(calculation.group))

    wanted = [entry for entry in entries if entry.kind.from_energies]
    keys = [
        one.key
        for entry in wanted
        for one in entry.calculations
        if ground_states.present_energy(one) is None
    ]
    where = ground_states.functional, start_of, ground_states.options, jobs, bar
    with closing(solved(wanted, keys, *where)) as answers:
        for one, answer in answers:
            if isinstance(answer, Exception):
                found.energies[one.key] = answer
            else:
                found.energies[one.key] = answer.frozen.energy * Hartree
                # One a structure is enough, and all could fill the memory.
                done.setdefault(one.group, {one.scale: answer.start})
    others = {i: entry for i, entry in enumerate(entries) if not entry.kind.from_energies}
    for i, value in values(others, *where).items():
        found.values[id(entries[i])] = value
    return found
