"""Initial moments of the atoms as networks see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepchem_xc.planewave import PlaneWaveBasis
from deepchem_xc.planewave.pseudo import Pseudopotential
from deepchem_xc.planewave.terms.superposed import limited_moments


def with_limited_moments(
    basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential], nspin: int
) -> PlaneWaveBasis:
    """The same plane waves with the initial moments that superposed atoms have.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves and crystal.
    pseudos : mapping of str to Pseudopotential
        One for every species.
    nspin : int
        Without spin there are no moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import Crystal
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> atom = Crystal.from_ase(Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[3]))
    >>> basis = PlaneWaveBasis(atom, 4.0, (1, 1, 1))
    >>> pseudos = load_pseudopotentials("gth-pbe", ["H"])
    >>> with_limited_moments(basis, pseudos, 2).crystal.magnetic_moments
    (1.0,)
    """
    crystal = basis.crystal
    if crystal.magnetic_moments is None:
        return basis
    moments = tuple(limited_moments(crystal, pseudos)) if nspin == 2 else None
    return basis if moments == crystal.magnetic_moments else with_moments(basis, moments)


def with_moments(basis: PlaneWaveBasis, moments: Sequence[float] | None) -> PlaneWaveBasis:
    """The same plane waves with other initial moments of the atoms.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves and crystal, whose positions and lattice stay in their graphs.
    moments : sequence of float or None
        One for each atom, mu_B.
    """
    other = basis.with_geometry()
    given = None if moments is None else tuple(moments)
    object.__setattr__(other.crystal, "magnetic_moments", given)
    return other
