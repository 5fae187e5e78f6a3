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
    orbitals_by_energy : Tensor, optional
        The orbitals whose occupations are weighted by e_n, see `GroundState`; by default those of
        `energy`.
    """

    name = "projections"

    def __init__(
        self,
        potentials: Mapping[str, AtomicPotential],
        coupling: Tensor,
        overlap: Tensor,
        eigenvalues: Tensor,
        orbitals_by_energy: Tensor | None = None,
    ) -> None:
        self._potentials, self._coupling = potentials, coupling
        self._overlap, self._eigenvalues = overlap, eigenvalues
        self._by_energy = orbitals_by_energy

    def chunks(self, basis: PlaneWaveBasis) -> list[slice]:
        """k-points whose projectors are in memory at once."""
        return chunks_of_projectors(basis, len(self._overlap))

    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, ks: slice
    ) -> Tensor:
        """See the class; 0-d, Hartree per cell."""
        conjugates = projectors(basis, self._potentials, ks).conj().mT
        zero = zero_of_energies(self._eigenvalues)
        coupling = (self._coupling - zero * self._overlap).unsqueeze(1)
        of_states = _squares(orbitals[:, ks] @ conjugates, coupling)
        by_energy = orbitals if self._by_energy is None else self._by_energy
        norms = _squares(by_energy[:, ks] @ conjugates, self._overlap)
        # Changes of the energies are part of the response of `orbitals_by_energy`.
        levels = self._eigenvalues.detach()[:, ks] - zero
        return (weighted_occupations[:, ks] * (of_states - levels * norms)).sum()


def _squares(projections: Tensor, matrix: Tensor) -> Tensor:
    """P* M P of each state, (nspin, nk, nband), from (nspin, nk, nband, nproj)."""
    return ((projections @ matrix.to(projections.dtype)) * projections.conj()).real.sum(-1)


def zero_of_energies(eigenvalues: Tensor) -> float:
    """A level below all eigenvalues, Hartree: occupations times energies above it are positive."""
    return float(eigenvalues.detach().min()) - 1.0
