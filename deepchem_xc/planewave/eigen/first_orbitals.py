"""Starting orbitals: atomic orbitals and the smoothest plane waves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepchem_xc.numerics.precision import all_digits, to_double, to_single
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.eigen.davidson import davidson, orthonormalize, row_norms
from deepchem_xc.planewave.eigen.generalized import generalized_eigh
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.pseudo import AtomicPotential
from deepchem_xc.planewave.terms.nonlocal_ import atom_functions

# Smallest number of plane waves in which H is diagonalised exactly.
_DENSE_PLANE_WAVES = 40
# Difference of levels, Hartree, that separates multiplets.
_MULTIPLET_GAP = 0.02


def starting_orbitals(
    hamiltonian: Hamiltonian,
    pseudos: Mapping[str, AtomicPotential],
    nband: int,
    most: int | None = None,
) -> Tensor:
    """Lowest states of H among atomic orbitals and the eigenvectors of H in a few plane waves.

    Atomic orbitals represent localised states well from the start, plane waves the others. A little
    noise gives every symmetry a part in the start: the eigensolver preserves symmetries.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Hamiltonian of the starting potential.
    pseudos : mapping of str to AtomicPotential
        One for every species.
    nband : int
        Number of bands.
    most : int, optional
        Largest number of bands: more than `nband` are returned, up to this number, if that keeps a
        multiplet whole, see `whole_multiplets`. `nband` by default.

    Returns
    -------
    Tensor
        Orthonormal in the Hamiltonian's overlap, (nspin, nk, nband, npw), or with more bands.

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
    most = nband if most is None else min(most, min(basis.npw_per_k))
    shape = (hamiltonian.nspin, basis.nk, most)
    orbitals = torch.zeros((*shape, basis.npw), dtype=torch.complex128, device=basis.device)
    # One level more than bands: infinite where it is not known.
    levels = torch.full((*shape[:2], most + 1), torch.inf, dtype=torch.float64)

    def form_factors(species: str, q2: Tensor) -> list[tuple[int, Tensor]]:
        return pseudos[species].atom.orbitals(q2)

    smooth = _smooth_noise(basis, most, seed=0)
    gauge = hamiltonian.gauge
    for spin in range(hamiltonian.nspin):
        for k in range(basis.nk):
            ks, here = range(k, k + 1), slice(k, k + 1)
            matrix, chosen = hamiltonian.dense(spin, k, count)
            overlap = hamiltonian.dense_overlap(k, chosen) if hamiltonian.has_overlap else None
            waves = 1e-2 * smooth[here]
            atomic = atom_functions(basis, form_factors, here)
            if gauge is not None:
                if overlap is not None:
                    overlap, _ = gauge.to_real_matrix(overlap, k, chosen)
                matrix, chosen = gauge.to_real_matrix(matrix, k, chosen)
                atomic, waves = gauge.to_real(atomic, here), waves.real.contiguous()
            _, vectors = generalized_eigh(matrix, overlap)
            waves[0, :, chosen] += vectors[:, :most].T
            start = torch.cat([atomic, waves], dim=1)[:, : min(basis.npw_per_k)]
            start = orthonormalize(start / row_norms(start).unsqueeze(-1))
            # Single precision is enough for a start.
            start, kinetic = to_single(start), to_single(basis.kinetic[here])
            with all_digits():
                operator = hamiltonian.operator(spin, ks)
                known = min(most + 1, start.shape[1])
                found, lowest, _ = davidson(operator, start, kinetic, known, expansions=0)
            levels[spin, k, :known] = found[0].cpu()
            lowest = orthonormal_states(hamiltonian, to_double(lowest[:, :most]), ks)
            orbitals[spin, here] = lowest if gauge is None else gauge.to_complex(lowest, here)
    return orbitals[:, :, : whole_multiplets(levels, nband)]


def whole_multiplets(levels: Tensor, least: int) -> int:
    """Smallest number of bands with a gap above them at every k-point; `least` if there is none.

    Bands converge the faster, the farther the next level above them is. Where the number of bands
    cuts a multiplet, as the six lowest empty levels of a cubic cell of silicon, a few more save
    steps.

    Parameters
    ----------
    levels : Tensor
        Lowest levels, (nspin, nk, n), Hartree.
    least : int
        Least number of bands; numbers below n are considered.

    Examples
    --------
    >>> levels = torch.tensor([[[0.0, 0.1, 0.101, 0.102, 0.3]]])
    >>> whole_multiplets(levels, 2), whole_multiplets(levels[:, :, :4], 2)
    (4, 2)
    """
    gaps = levels.diff().amin((0, 1)).tolist()  # gaps[n - 1] is that above n bands
    wide = [n for n in range(least, len(gaps) + 1) if gaps[n - 1] > _MULTIPLET_GAP]
    return wide[0] if wide else least


def orthonormal_states(hamiltonian: Hamiltonian, block: Tensor, ks: range) -> Tensor:
    """Rows with the span of the given ones, orthonormal in the Hamiltonian's overlap S.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its S is used; S = 1 without an overlap.
    block : Tensor
        (nk, n, npw), complex, or real as the Hamiltonian's gauge makes them.
    ks : range
        Their k-points.

    Returns
    -------
    Tensor
        (nk, n, npw); the lowest rows of orthonormal ones stay as they are.

    Raises
    ------
    DiagonalizationError
        If S is not positive definite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Al"), ecut=100.0, convergence={"density": 1e-4})
    >>> hamiltonian = result.problem.hamiltonian(result.potential)
    >>> rows = orthonormal_states(hamiltonian, 2.0 * result.orbitals[0], range(1))
    >>> bool(torch.allclose(rows, result.orbitals[0]))
    True
    """
    if not hamiltonian.has_overlap:
        return orthonormalize(block)
    return orthonormalize(block, lambda rows: hamiltonian.apply_overlap(rows, ks))


def more_bands(hamiltonian: Hamiltonian, orbitals: Tensor, extra: int) -> Tensor:
    """Append `extra` random smooth bands, orthogonal to the others.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its plane waves and overlap are used.
    orbitals : Tensor
        Orthonormal, (nspin, nk, nband, npw).
    extra : int
        Number of bands to add; the seed is fixed.

    Returns
    -------
    Tensor
        Orthonormal in the Hamiltonian's overlap, (nspin, nk, nband + extra, npw).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> problem = make_problem(basis)
    >>> h = problem.hamiltonian(problem.effective_potential(problem.starting_fields())[0])
    >>> one = torch.eye(basis.npw, dtype=torch.complex128)[None, None, :1]
    >>> bands = more_bands(h, one, 2)[0, 0]
    >>> bool(torch.allclose(bands @ bands.mH, torch.eye(3, dtype=bands.dtype)))
    True
    """
    basis = hamiltonian.basis
    nspin, nk, nband, npw = orbitals.shape
    added = _smooth_noise(basis, extra, seed=nband)
    stacked = torch.cat([orbitals, added.expand(nspin, nk, extra, npw)], dim=2)
    ks = range(nk)
    return torch.stack([orthonormal_states(hamiltonian, channel, ks) for channel in stacked])


def _smooth_noise(basis: PlaneWaveBasis, count: int, seed: int) -> Tensor:
    """Reproducible random functions without high frequencies, (nk, count, npw)."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    noise = torch.randn((count, basis.npw, 2), dtype=torch.float64, generator=generator)
    damping = basis.mask / (1.0 + basis.kinetic) ** 2
    return torch.view_as_complex(noise).to(basis.device) * damping.unsqueeze(1)
