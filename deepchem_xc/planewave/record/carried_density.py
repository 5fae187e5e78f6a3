"""The density of an earlier calculation in the present one, moved with the atoms."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from torch import Tensor

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.given_density import check_electrons_of
from deepchem_xc.planewave.record.carried_orbitals import match_plane_waves
from deepchem_xc.planewave.structure.crystal import Crystal

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem


def on_sphere(fields: Fields, own: Tensor, g_vectors: Tensor) -> Fields:
    """Fields at other plane waves, zero where they have none.

    Parameters
    ----------
    fields : Fields
        (nspin, nG).
    own : Tensor
        Their integer G, (nG, 3).
    g_vectors : Tensor
        Integer G of the result, (n, 3), whose device it has.
    """
    index, found = match_plane_waves(own.to(g_vectors.device)[None], g_vectors[None])
    chosen = fields.map(lambda leaf: leaf.to(g_vectors.device)[:, index[0]])
    return chosen * found[0]


def carried_density(
    problem: KohnShamProblem, crystal: Crystal, g_vectors: Tensor, fields: Fields
) -> Fields:
    """Fields of an earlier calculation in another cell: see `DensityRecord.density_for`.

    Parameters
    ----------
    problem : KohnShamProblem
        The present calculation.
    crystal : Crystal
        Structure of the earlier one.
    g_vectors : Tensor
        Its integer G, (nG, 3).
    fields : Fields
        Its density, (nspin, nG), bohr^-3.
    """
    check_atoms(problem, crystal, fields)
    basis = problem.basis
    old = crystal.to(basis.device)
    fields = on_sphere(fields, g_vectors, basis.g_vectors)
    before = replace(problem, basis=basis.with_geometry(old.lattice, old.positions))
    # Not symmetrised: the earlier atoms need not have the present symmetry.
    atoms, now = Fields(before.superposition()), Fields(problem.superposition())
    if fields.tau is not None and problem.needs_kinetic_density:
        atoms = before.with_kinetic_density(atoms.density)
        now = problem.with_kinetic_density(now.density)
    else:
        fields = Fields(fields.density)
    if fields.density.shape[0] != problem.nspin:
        # With different numbers of channels only totals can be compared.
        fields, atoms = (
            x.map(lambda leaf: leaf.sum(0, keepdim=True) / problem.nspin) for x in (fields, atoms)
        )
    # Atoms count at plane waves that the density lacks too: without a move these stay zero.
    deformation = (fields - atoms).map(lambda leaf: leaf.expand(problem.nspin, -1))
    return now + deformation * (old.volume / basis.volume).detach()


def check_atoms(problem: KohnShamProblem, crystal: Crystal, fields: Fields) -> None:
    """Raise ValueError unless a density has the atoms and the electrons of a problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The present calculation.
    crystal : Crystal
        Structure of the density.
    fields : Fields
        The density, (nspin, nG), bohr^-3.
    """
    given, valid = crystal.symbols, problem.basis.crystal.symbols
    if given != valid:
        order = " in this order" if Counter(given) == Counter(valid) else ""
        raise ValueError(
            f"the given density belongs to other atoms: {_listed(given)}, not "
            f"{_listed(valid)}{order}. Give a density of the same atoms in the same order (cell "
            "and positions may differ), or start from atoms (start=None)."
        )
    check_electrons_of(fields.density, crystal.volume, problem)


def _listed(symbols: tuple[str, ...]) -> str:
    """The symbols in order, such as Si2 or GaAs."""
    counted = [(symbol, len(list(run))) for symbol, run in groupby(symbols)]
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in counted)
