"""Starting orbitals: atomic orbitals and the smoothest plane waves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepchem_xc.numerics.precision import all_digits, to_double, to_single
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.eigen.davidson import davidson, orthonormalize, row_norms
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.pseudo import Pseudopotential
from deepchem_xc.planewave.terms.nonlocal_ import atom_functions

# Smallest number of plane waves in which H is diagonalised exactly.
_DENSE_PLANE_WAVES = 40


def starting_orbitals(
    hamiltonian: Hamiltonian, pseudos: Mapping[str, Pseudopotential], nband: int
) -> Tensor:
    """Lowest states of H among atomic orbitals and the eigenvectors of H in a few plane waves.

    Atomic orbitals represent localised states well from the start, plane waves the others. A little
    noise gives every symmetry a part in the start: the eigensolver preserves symmetries.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Hamiltonian of the starting potential.
    pseudos : mapping of str to Pseudopotential
        One for every species.
    nband : int
        Number of bands.

    Returns
    -------
    Tensor
        Orthonormal, (nspin, nk, nband, npw).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> problem = make_problem(basis)
    >>> h = problem.hamiltonian(problem.effective_potential(problem.starting_fields())[0])
    >>> start = starting_orbitals(h, problem.pseudopotentials, 4)[0, 0]
    >>> bool(torch.allclose(start @ start.mH, torch.eye(4, dtype=start.dtype)))
    True
    """
    basis = hamiltonian.basis
    count = min(min(basis.npw_per_k), max(4 * nband, _DENSE_PLANE_WAVES))
    orbitals = torch.zeros(
        (hamiltonian.nspin, basis.nk, nband, basis.npw),
        dtype=torch.complex128,
        device=basis.device,
    )

    def form_factors(species: str, q2: Tensor) -> list[tuple[int, Tensor]]:
        return pseudos[species].atom.orbitals(q2)

    smooth = _smooth_noise(basis, nband, seed=0)
    gauge = hamiltonian.gauge
    for spin in range(hamiltonian.nspin):
        for k in range(basis.nk):
            here = slice(k, k + 1)
            matrix, chosen = hamiltonian.dense(spin, k, count)
            waves = 1e-2 * smooth[here]
            atomic = atom_functions(basis, form_factors, here)
            if gauge is not None:
                matrix = gauge.to_real_matrix(matrix, k, chosen)
                atomic, waves = gauge.to_real(atomic, here), waves.real.contiguous()
            _, vectors = torch.linalg.eigh(matrix)
            waves[0, :, chosen] += vectors[:, :nband].T
            start = torch.cat([atomic, waves], dim=1)[:, : min(basis.npw_per_k)]
            start = orthonormalize(start / row_norms(start).unsqueeze(-1))

            def apply(block: Tensor, spin: int = spin, k: int = k) -> Tensor:
                return hamiltonian.apply(block, spin, range(k, k + 1))

            # Single precision is enough for a start.
            start, kinetic = to_single(start), to_single(basis.kinetic[here])
            with all_digits():
                _, lowest, _ = davidson(apply, start, kinetic, nband, expansions=0)
            lowest = orthonormalize(to_double(lowest))
            orbitals[spin, here] = lowest if gauge is None else gauge.to_complex(lowest, here)
    return orbitals


def more_bands(basis: PlaneWaveBasis, orbitals: Tensor, extra: int) -> Tensor:
    """Append `extra` random smooth bands, orthogonal to the others.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    orbitals : Tensor
        Orthonormal, (nspin, nk, nband, npw).
    extra : int
        Number of bands to add; the seed is fixed.

    Returns
    -------
    Tensor
        Orthonormal, (nspin, nk, nband + extra, npw).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> one = torch.eye(basis.npw, dtype=torch.complex128)[None, None, :1]
    >>> bands = more_bands(basis, one, 2)[0, 0]
    >>> bool(torch.allclose(bands @ bands.mH, torch.eye(3, dtype=bands.dtype)))
    True
    """
    nspin, nk, nband, npw = orbitals.shape
    added = _smooth_noise(basis, extra, seed=nband)
    stacked = torch.cat([orbitals, added.expand(nspin, nk, extra, npw)], dim=2)
    return orthonormalize(stacked.flatten(0, 1)).view(nspin, nk, nband + extra, npw)


def _smooth_noise(basis: PlaneWaveBasis, count: int, seed: int) -> Tensor:
    """Reproducible random functions without high frequencies, (nk, count, npw)."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    noise = torch.randn((count, basis.npw, 2), dtype=torch.float64, generator=generator)
    damping = basis.mask / (1.0 + basis.kinetic) ** 2
    return torch.view_as_complex(noise).to(basis.device) * damping.unsqueeze(1)
