"""Which trainings `density_models.py` does, with which settings, and how long they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

TARGETS = ("difference", "total")
NETWORKS = ("atoms", "points")
SETS = ("silicon", "mixed", "molecules", "magnets")
#: Parts of the training structures in learning curves.
FRACTIONS = ("1", "1/2", "1/4", "1/8")


@dataclass(frozen=True)
class Settings:
    """How a network is trained on a set, the same for both targets.

    Attributes
    ----------
    steps : int
        Steps of one structure each, whatever the number of structures.
    seconds : float
        Of a step, by one thread of a Xeon with AVX-512, on a machine under load.
    rate, last_rate : float
        Learning rate of the first step, and its last as a part of that; it falls exponentially.
    points : int or None
        Points of the grid in a step; None for all plane waves.
    network_options : mapping
        Keywords of the network.
    validations : int
        How often the validation structures are predicted.
    part : str
        Part of the set's structures that trains and validates, as in "1/8".
    """

    steps: int
    seconds: float
    rate: float = 0.005
    last_rate: float = 0.01
    points: int | None = None
    network_options: Mapping[str, Any] = field(default_factory=dict)
    validations: int = 60
    part: str = "1"

    @property
    def content(self) -> dict[str, Any]:
        """What decides about the trained network, for JSON."""
        return {
            "steps": self.steps,
            "rate": self.rate,
            "last_rate": self.last_rate,
            "points": self.points,
            "network_options": dict(self.network_options),
            "validations": self.validations,
            "part": self.part,
        }


# In 440 steps on 18 small cells of silicon 32 channels had 1.07 % on six others, and 16 had 1.31 %,
# for 1.6 times the time.
_ATOMS: dict[str, Any] = {"network_options": {"channels": 32}}
# A quarter of the magnets, in two hours; all of them take a night.
_MAGNETS: dict[str, Any] = {**_ATOMS, "part": "1/4"}
# Atoms within 4 Angstrom, as elsewhere: each point costs in proportion to them.
_POINTS: dict[str, Any] = {"points": 200, "network_options": {"cutoff": 4.0}, "validations": 30}

#: Settings of each network and set; a training takes about half an hour of one thread. With 9,000
#: steps the curve of silicon's total density at points still fell by 9 % in the last third.
SETTINGS: dict[tuple[str, str], Settings] = {
    ("atoms", "silicon"): Settings(steps=12_000, seconds=0.11, **_ATOMS),
    ("atoms", "mixed"): Settings(steps=7_000, seconds=0.21, **_ATOMS),
    ("atoms", "molecules"): Settings(steps=3_000, seconds=0.55, **_ATOMS),
    ("atoms", "magnets"): Settings(steps=8_000, seconds=0.16, **_MAGNETS),
    ("points", "silicon"): Settings(steps=18_000, seconds=0.10, **_POINTS),
    ("points", "mixed"): Settings(steps=9_000, seconds=0.10, **_POINTS),
    ("points", "molecules"): Settings(steps=12_000, seconds=0.12, **_POINTS),
}
#: The same for `--quick`: minutes on the small part of silicon, to see that everything runs.
QUICK: dict[str, Settings] = {
    "atoms": Settings(steps=440, seconds=0.055, last_rate=0.05, validations=10),
    "points": Settings(
        steps=66,
        seconds=0.1,
        points=50,
        network_options={"channels": 4, "l_max": 1, "l_probe": 1, "cutoff": 3.0},
        validations=3,
    ),
}


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes
    ----------
    set, network, target : str
        Set of densities, kind of network, and what it learns.
    seed : int
        Of initial weights and of the order of structures.
    fraction : str
        Part of the training structures, as in "1/8".
    quick : bool
        On the small part of the set.
    """

    set: str
    network: str
    target: str
    seed: int = 0
    fraction: str = "1"
    quick: bool = False

    @property
    def name(self) -> str:
        """Name of its files."""
        part = "" if self.fraction == "1" else f"-{self.fraction.replace('/', 'of')}"
        quick = "quick-" if self.quick else ""
        return f"{quick}{self.set}-{self.network}-{self.target}-{self.seed}{part}"

    @property
    def settings(self) -> Settings:
        """How it is done."""
        return QUICK[self.network] if self.quick else SETTINGS[self.network, self.set]

    @property
    def hours(self) -> float:
        """Estimated hours of one thread, without validation."""
        return self.settings.steps * self.settings.seconds / 3600.0

    def epochs(self, nstructure: int) -> tuple[int, int]:
        """Number of epochs, and of those between two validations."""
        wanted = max(1, round(self.settings.steps / nstructure))
        every = max(1, wanted // self.settings.validations)
        return -(-wanted // every) * every, every


def plan(quick: bool = False) -> list[Training]:
    """All trainings, those first that tables need most."""
    if quick:
        both = [Training("silicon", n, t, quick=True) for n in NETWORKS for t in TARGETS]
        return [*both, *(Training("silicon", "atoms", t, 0, "1/2", True) for t in TARGETS)]
    found = [Training(name, "atoms", t) for name in SETS for t in TARGETS]
    found += [Training("silicon", "points", t) for t in TARGETS]
    found += [Training("silicon", "atoms", t, 0, f) for f in FRACTIONS[1:] for t in TARGETS]
    for seed in (1, 2):
        found += [Training(name, "atoms", t, seed) for name in SETS[:3] for t in TARGETS]
        found += [Training("silicon", "points", t, seed) for t in TARGETS]
    return found + [Training(n, "points", t) for n in ("mixed", "molecules") for t in TARGETS]


def chosen(trainings: Iterable[Training], **wanted: Sequence[Any] | None) -> list[Training]:
    """Trainings with some of the values that are wanted of each attribute; None is any."""
    return [
        one
        for one in trainings
        if all(values is None or getattr(one, name) in values for name, values in wanted.items())
    ]


def part_of(kinds: Mapping[str, str], fraction: str) -> list[str]:
    """Names of a part of some structures, in which each kind has its share.

    Parts are nested: a smaller one is contained in a larger one.

    Parameters
    ----------
    kinds : mapping
        Kind of each structure.
    fraction : str
        As in "1/8".
    """
    rng = np.random.default_rng(0)
    places: dict[str, float] = {}
    for kind in sorted(set(kinds.values())):
        members = sorted(name for name in kinds if kinds[name] == kind)
        for i, one in enumerate(rng.permutation(len(members))):
            places[members[one]] = (i + 0.5) / len(members)
    order = sorted(kinds, key=lambda name: (places[name], name))
    number = max(1, round(len(order) * Fraction(fraction)))
    taken = set(order[:number])
    return [name for name in kinds if name in taken]
