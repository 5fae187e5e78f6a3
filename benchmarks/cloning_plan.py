"""Which clones `cloning.py` trains, with which settings, and how long they take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deepchem_xc.cloning import QUICK, SAMPLED
from deepchem_xc.cloning.densities import BASIS, GRID_LEVEL
from deepchem_xc.cloning.samples import POINTS

#: Functionals that are cloned, by the name of their files: what `get_xc` takes. PBE0 without its
#: exact exchange is a sum as any other; `clone + 0.25 * ExactExchange()` is the hybrid again.
PARENTS = {
    "PBE": "PBE",
    "PBEsol": "PBEsol",
    "r2SCAN": "r2SCAN",
    "SCAN": "SCAN",
    "PBE0_semilocal": "0.75*gga_x_pbe + gga_c_pbe",
    "LDA": "LDA",
}
STUDENTS = ("constrained", "linear", "unbounded", "unconstrained")
_QUICK_STUDENTS = ("constrained", "unconstrained")
SEEDS = (0, 1, 2, 3, 4)
#: The recipe of networks that are not trained.
RANDOM = "random"
# Parents whose random networks are computed: one of each kind of network.
_BASELINES = ("PBE", "r2SCAN")
# Parents that are trained with one seed: F_x of the LDA is 1, as that of a constrained network at
# zero gradient, so that there is little to learn.
_ONE_SEED = ("LDA",)
# Points of no molecule that "linear" students see when they are polished. The other students do
# not, because they stay comparable with the protocol's.
_UNIFORM = 2000
# Part of PBE's exchange in PBE0_semilocal. A constrained student has F_x = 1 at zero gradient and
# cannot have 0.75: one seed shows it.
_NOT_FOR_ALL_SEEDS = (("PBE0_semilocal", "constrained"), ("PBE0_semilocal", "linear"))


@dataclass(frozen=True)
class Settings:
    """How a clone is trained, as `train_clone` takes it.

    Attributes
    ----------
    steps, polish, energy_steps : int
        Steps of Adam, of Levenberg-Marquardt, and of that with energies; without any the network
        stays random.
    energy_weight : float
        Weight of the energies of the sampled molecules and of their atoms, 1 / Hartree^2.
    molecules : tuple of str
        Names of the g2 set that are sampled.
    points : int
        Points of each molecule.
    uniform : int
        Points of no molecule.
    basis, grid_level : str, int
        Of the densities.
    """

    steps: int = 0
    polish: int = 0
    energy_steps: int = 0
    energy_weight: float = 0.0
    molecules: tuple[str, ...] = SAMPLED
    points: int = POINTS
    uniform: int = 0
    basis: str = BASIS
    grid_level: int = GRID_LEVEL

    @property
    def content(self) -> dict[str, Any]:
        """What decides about the clone, for JSON."""
        return asdict(self)


#: Recipes: the protocol of arXiv:2605.10331; a short one that is polished; none.
RECIPES = {
    "protocol": Settings(20_000),
    "polished": Settings(300, 120, 30, 10.0),
    RANDOM: Settings(),
}
_SMALL: dict[str, Any] = {
    "molecules": QUICK,
    "points": 200,
    "basis": "def2-SVP",
    "grid_level": 1,
}
#: The same for `--quick`.
QUICK_RECIPES = {
    "protocol": Settings(400, **_SMALL),
    "polished": Settings(100, 10, 3, 10.0, **_SMALL),
    RANDOM: Settings(**_SMALL),
}
# Seconds of a step of Adam, of Levenberg-Marquardt, and of that with energies, at 1000 points, by
# one thread of a Xeon with AVX-512; GGAs and meta-GGAs are alike.
_SECONDS = (0.0013, 0.04, 0.1)


@dataclass(frozen=True)
class Clone:
    """One clone.

    Attributes
    ----------
    parent : str
        One of `PARENTS`.
    student, recipe : str
        Kind of network, and how it is trained.
    seed : int
        Of the initial weights.
    quick : bool
        In a small version.
    """

    parent: str
    student: str
    recipe: str
    seed: int = 0
    quick: bool = False

    @property
    def name(self) -> str:
        """Name of its files."""
        quick = "quick-" if self.quick else ""
        return f"{quick}{self.parent}-{self.student}-{self.recipe}-{self.seed}"

    @property
    def kind(self) -> str:
        """What all its seeds have in common, for tables."""
        return f"{self.student}, {self.recipe}"

    @property
    def functional(self) -> str:
        """The parent, as `get_xc` takes it."""
        return PARENTS[self.parent]

    @property
    def settings(self) -> Settings:
        """How it is trained."""
        made = (QUICK_RECIPES if self.quick else RECIPES)[self.recipe]
        if (self.student, self.recipe) == ("linear", "polished") and not self.quick:
            return replace(made, uniform=_UNIFORM)
        return made

    @property
    def hours(self) -> float:
        """Estimated hours of one thread for the training."""
        made = self.settings
        points = made.points * len(made.molecules) + made.uniform
        steps = (made.steps, made.polish, made.energy_steps)
        seconds = sum(number * each for number, each in zip(steps, _SECONDS, strict=True))
        return seconds * points / 1000.0 / 3600.0


def plan(quick: bool = False) -> list[Clone]:
    """All clones, those first that tables need most."""
    if quick:
        return [Clone("PBE", s, r, quick=True) for r in QUICK_RECIPES for s in _QUICK_STUDENTS]
    found = []
    for seed in SEEDS:
        for parent in PARENTS:
            if parent in _ONE_SEED and seed > 0:
                continue
            for recipe in RECIPES:
                if recipe == RANDOM and parent not in _BASELINES:
                    continue
                found += [
                    Clone(parent, student, recipe, seed)
                    for student in STUDENTS
                    if seed == 0 or (parent, student) not in _NOT_FOR_ALL_SEEDS
                ]
    return found


def chosen(clones: Iterable[Clone], **wanted: Sequence[Any] | None) -> list[Clone]:
    """Clones with some of the values that are wanted of each attribute; None is any."""
    return [
        one
        for one in clones
        if all(values is None or getattr(one, name) in values for name, values in wanted.items())
    ]
