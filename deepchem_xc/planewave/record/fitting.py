"""Whether a kept density belongs to its plane waves, and to the atoms of a calculation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.pseudo import potential_digest
from deepchem_xc.planewave.record.sphere_occupations import SphereOccupations

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem

_GIVE = (
    "Give a density that was computed with the potentials of this calculation, calculate with those"
    " of the density, or start from atoms (start=None)."
)


def check_shapes(count: int, fields: Fields, atoms: Fields | None) -> None:
    """Raise ValueError unless a density and its superposition have a coefficient for each wave.

    Parameters
    ----------
    count : int
        Number of plane waves.
    fields, atoms : Fields
        A record's density, and the other code's superposition of atoms, if there is one.

    Examples
    --------
    >>> import torch
    >>> check_shapes(8, Fields(torch.zeros(1, 9)), None)
    Traceback (most recent call last):
    ValueError: the density has coefficients (1, 9), but there are 8 plane waves: give (nspin, ...
    """
    for name, given in {"density": fields, "superposition": atoms}.items():
        for leaf in () if given is None else given.leaves:
            if leaf.ndim != 2 or len(leaf) not in (1, 2) or leaf.shape[1] != count:
                raise ValueError(
                    f"the {name} has coefficients {tuple(leaf.shape)}, but there are {count} plane "
                    "waves: give (nspin, nG) with nspin 1 or 2, in the order of g_vectors."
                )


def check_atoms(problem: KohnShamProblem, given: tuple[str, ...]) -> None:
    """Raise ValueError unless a density has the atoms of a problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The present calculation.
    given : tuple of str
        Symbols of the density's atoms.
    """
    valid = problem.basis.crystal.symbols
    if given != valid:
        order = " in this order" if Counter(given) == Counter(valid) else ""
        raise ValueError(
            f"the given density belongs to other atoms: {_listed(given)}, not "
            f"{_listed(valid)}{order}. Give a density of the same atoms in the same order (cell "
            "and positions may differ), or start from atoms (start=None)."
        )


def check_datasets(
    problem: KohnShamProblem,
    spheres: SphereOccupations | None,
    potentials: Mapping[str, str] | None,
) -> None:
    """Raise ValueError unless a density's occupations inside of spheres belong to a problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The present calculation, with the atoms of the density.
    spheres : SphereOccupations or None
        Occupations of the density; None with norm-conserving potentials.
    potentials : mapping or None
        Hash of each element's potential, with which the density was computed.
    """
    own = {symbol: problem.pseudopotentials[symbol] for symbol in problem.basis.crystal.species}
    names = _named({symbol: potential.name for symbol, potential in own.items()})
    if spheres is None:
        if problem.spheres is None:
            return
        raise ValueError(
            "the given density has no occupations inside of spheres: it was computed with "
            f"norm-conserving potentials, but this calculation uses PAW datasets ({names}). {_GIVE}"
        )
    if problem.spheres is None:
        raise ValueError(
            f"the given density is that of PAW datasets ({_named(spheres.datasets)}), whose spheres"
            f" hold a part of the electrons, but this calculation uses norm-conserving potentials "
            f"({names}). {_GIVE}"
        )
    assert potentials is not None, "records with spheres know their datasets"
    other = [symbol for symbol, p in own.items() if potentials.get(symbol) != potential_digest(p)]
    if other:
        theirs = _named({symbol: spheres.datasets[symbol] for symbol in other})
        ours = _named({symbol: own[symbol].name for symbol in other})
        raise ValueError(
            f"the given density belongs to other PAW datasets ({theirs}) than this calculation "
            f"({ours}): their content differs, and the occupations of one mean nothing in the "
            f"other. {_GIVE}"
        )


def _named(names: Mapping[str, str]) -> str:
    return ", ".join(f"{symbol}: {name}" for symbol, name in names.items())


def _listed(symbols: tuple[str, ...]) -> str:
    """The symbols in order, such as Si2 or GaAs."""
    counted = [(symbol, len(list(run))) for symbol, run in groupby(symbols)]
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in counted)
