"""The density of an earlier calculation in the present one, moved with the atoms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.record.carried_orbitals import match_plane_waves
from deepchem_xc.planewave.record.sphere_occupations import SphereOccupations, turn_between
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
    problem: KohnShamProblem,
    crystal: Crystal,
    g_vectors: Tensor,
    fields: Fields,
    spheres: SphereOccupations | None = None,
) -> Fields:
    """Fields of an earlier calculation in another cell: see `DensityRecord.density_for`.

    Occupations inside of PAW spheres stay with their atoms, and turn with a lattice that turns.
    Only the smooth density's difference from superposed atoms moves, whose electrons stay too: the
    number of electrons is exactly what it was.

    Parameters
    ----------
    problem : KohnShamProblem
        The present calculation, with the same atoms, datasets and electrons.
    crystal : Crystal
        Structure of the earlier one.
    g_vectors : Tensor
        Its integer G, (nG, 3).
    fields : Fields
        Its density, (nspin, nG), bohr^-3.
    spheres : SphereOccupations, optional
        Its occupations inside of spheres.
    """
    basis = problem.basis
    old = crystal.to(basis.device)
    fields = on_sphere(fields, g_vectors, basis.g_vectors)
    if spheres is not None and problem.spheres is not None:
        occupations = spheres.flat(problem.spheres, basis.device)
        turn = turn_between(old.lattice, basis.crystal.lattice)
        if turn is not None:
            occupations = problem.spheres.rotated(occupations, turn)
        fields = replace(fields, spheres=occupations)
    before = replace(problem, basis=basis.with_geometry(old.lattice, old.positions))
    # Not symmetrised: the earlier atoms need not have the present symmetry.
    atoms, now = before.superposed_fields(), problem.superposed_fields()
    if fields.tau is not None and problem.needs_kinetic_density:
        atoms = replace(atoms, tau=before.with_kinetic_density(atoms.density).tau)
        now = replace(now, tau=problem.with_kinetic_density(now.density).tau)
    else:
        fields = replace(fields, tau=None)
    if fields.density.shape[0] != problem.nspin:
        # With different numbers of channels only totals can be compared.
        fields, atoms = (
            x.map(lambda leaf: leaf.sum(0, keepdim=True) / problem.nspin) for x in (fields, atoms)
        )
    # Atoms count at plane waves that the density lacks too: without a move these stay zero.
    deformation = (fields - atoms).map(lambda leaf: leaf.expand(problem.nspin, -1))
    ratio = (old.volume / basis.volume).detach()
    return now + deformation.map_waves(lambda leaf: leaf * ratio)
