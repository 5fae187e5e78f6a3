"""Change of the energy with the projectors of PAW spheres, at fixed orbitals."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.pseudo import AtomicPotential
from deepchem_xc.planewave.terms.base import OrbitalTerm
from deepchem_xc.planewave.terms.nonlocal_ import chunks_of_projectors, projectors


class Projections(OrbitalTerm):
    r"""Sum over states of :math:`f_n \langle\psi_n| p_i \rangle (H_{ij} - e_n O_{ij}) ...`.

    Its derivative with respect to the geometry is that part of the energy's that comes from the
    projectors: through the occupations of the spheres (H = dE/dD), and through the overlap of the
    orbitals, which stay orthonormal while the atoms move (P. E. Bloechl, Phys. Rev. B 50, 17953
    (1994), section V). Its value has no meaning.

    Parameters
    ----------
    potentials : mapping of str to AtomicPotential
        One for every species.
    coupling : Tensor
        H_ij = dE/dD_ij, (nspin, nproj, nproj), Hartree.
    overlap : Tensor
        O_ij, (nproj, nproj).
    eigenvalues : Tensor
        e_n, (nspin, nk, nband), Hartree.
    """

    name = "projections"

    def __init__(
        self,
        potentials: Mapping[str, AtomicPotential],
        coupling: Tensor,
        overlap: Tensor,
        eigenvalues: Tensor,
    ) -> None:
        self._potentials, self._coupling = potentials, coupling
        self._overlap, self._eigenvalues = overlap, eigenvalues

    def chunks(self, basis: PlaneWaveBasis) -> list[slice]:
        """k-points whose projectors are in memory at once."""
        return chunks_of_projectors(basis, len(self._overlap))

    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, ks: slice
    ) -> Tensor:
        """See the class; 0-d, Hartree per cell."""
        waves = projectors(basis, self._potentials, ks)
        projections = orbitals[:, ks] @ waves.conj().mT  # (nspin, nk, nband, nproj)
        coupling = self._coupling.to(projections.dtype).unsqueeze(1)
        overlap = self._overlap.to(projections.dtype)
        conjugates = projections.conj()
        of_states = ((projections @ coupling) * conjugates).real.sum(-1)
        norms = ((projections @ overlap) * conjugates).real.sum(-1)
        return (weighted_occupations[:, ks] * (of_states - self._eigenvalues[:, ks] * norms)).sum()
