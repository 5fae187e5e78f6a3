"""Magnetic moments of the atoms in a record's density."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from deepchem_xc.planewave.observables.hirshfeld import hirshfeld_moments
from deepchem_xc.planewave.observables.sphere_moments import sphere_moments
from deepchem_xc.planewave.record.carried_density import on_sphere
from deepchem_xc.planewave.record.density_record import DensityRecord

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem


def moments_of(problem: KohnShamProblem, record: DensityRecord) -> Tensor | None:
    """Moments of the atoms in the density of an earlier calculation, as `SCFResult.atom_moments`.

    Parameters
    ----------
    problem : KohnShamProblem
        With the same atoms; provides plane waves and pseudopotentials.
    record : DensityRecord
        The earlier density.

    Returns
    -------
    Tensor or None
        (natom,), mu_B. None if the record has one spin channel.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import DensityRecord, scf
    >>> atom = Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[1])
    >>> result = scf(atom, ecut=100.0)
    >>> print(f"{moments_of(result.problem, DensityRecord.of(result))[0]:.3f}")
    1.000
    """
    if record.nspin == 1:
        return None
    spheres, kept = problem.spheres, record.spheres
    if spheres is not None and kept is not None:
        matrices = [matrix.to(problem.basis.device) for matrix in kept.matrices]
        return sphere_moments(spheres, spheres.of_atoms(matrices))
    basis = problem.basis
    old = record.crystal.to(basis.device)
    fields = on_sphere(record.fields, record.g_vectors, basis.g_vectors)
    before = basis.with_geometry(old.lattice, old.positions)
    pseudos = problem.norm_conserving("the moments of a density without occupations of spheres")
    return hirshfeld_moments(before, pseudos, fields.density)
