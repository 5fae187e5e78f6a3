"""Self-consistent states that no atom has: PAW spheres with more electrons than their states hold.

The energy inside of spheres is a function of the occupations of partial waves, with no lower bound
where these are far from any atom's. A step that is too long can lead there, and the loop then ends
in a spurious state, whose lowest level lies far below those of the atoms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from deepchem_xc.planewave.fields import Fields

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem

# Electrons in one combination of an atom's partial waves above which a state is spurious. Each has
# room for 2; in close-packed crystals of 60 elements the largest number was 3.5, in compressed neon
# 8, in the spurious state of CrO2 171.
_MOST = 20.0


def why_spurious(problem: KohnShamProblem, fields: Fields) -> str | None:
    """Why the states of a density are spurious and what to do, or None if they are not.

    Parameters
    ----------
    problem : KohnShamProblem
        Any problem; without PAW there are no such states.
    fields : Fields
        Density of its states.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=150.0, pseudopotentials="paw-pbe")
    >>> why_spurious(result.problem, result.fields) is None
    True
    """
    if problem.spheres is None or fields.spheres is None:
        return None
    matrices = problem.spheres.by_atom(fields.spheres)
    largest = [float(torch.linalg.eigvalsh(matrix.sum(0))[-1]) for matrix in matrices]
    most = max(largest)
    if most <= _MOST:
        return None
    atom = largest.index(most)
    symbol = problem.basis.crystal.symbols[atom]
    return (
        f"the self-consistency loop ended in a spurious state: one combination of the partial waves"
        f" of atom {atom} ({symbol}, {problem.spheres.potentials[symbol].name}) has {most:.0f} "
        "electrons, and room for 2. A step was too long: try smaller ones (mixing={'beta': 0.3}), "
        "start from a converged density of a similar structure (start=), or raise ecut. "
    )
