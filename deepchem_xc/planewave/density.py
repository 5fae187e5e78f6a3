"""Densities, and kinetic energy densities, of orbitals."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deepchem_xc.numerics.precision import to_single
from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.basis.real_gauge import RealGauge
from deepchem_xc.planewave.fields import Fields

# Electrons in a state below which it adds nothing to a density.
_NO_ELECTRON = 1e-14
# Number of pieces summed in single precision before the sum is added to one in double precision.
_PARTIAL_SUM = 32


def density_from_orbitals(
    pieces: GridPieces,
    orbitals: Tensor,
    weighted_occupations: Tensor,
    factor: Tensor | None = None,
    single: bool = False,
) -> Tensor:
    r"""Electron density of orbitals, not yet symmetrised.

    .. math:: \rho_\sigma(r) = \Omega^{-1} \sum_{nk} w_k f_{nk\sigma} |\psi_{nk\sigma}(r)|^2

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    weighted_occupations : Tensor
        Electrons per state times the k-point's weight, (n, nspin, nk, nband): n sets of them
        give n densities from one pass over the orbitals.
    factor : Tensor, optional
        Real factor of every plane wave, (nk, npw).
    single : bool, optional
        Transform the orbitals in single precision.

    Returns
    -------
    Tensor
        Sphere coefficients, (n, nspin, nG), bohr^-3.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, convergence={"density": 1e-4})
    >>> weighted = (result.occupations * result.weights[:, None])[None]
    >>> density = density_from_orbitals(result.problem.pieces, result.orbitals, weighted)
    >>> round(float(density[0, 0, 0].real * result.basis.volume), 9)  # electrons
    8.0
    """
    basis = pieces.basis
    nspin, nk, nband = orbitals.shape[:3]
    count = len(weighted_occupations)
    dtype = torch.complex64 if single else torch.complex128
    density = torch.zeros(
        (nspin, count, 2 * basis.orbital_ngrid), dtype=torch.float64, device=basis.device
    )
    # Bands that are empty in all sets need no FFT.
    filled = (weighted_occupations.abs() > _NO_ELECTRON).any(0).any(1)  # (nspin, nband)
    for spin in range(nspin):
        places = filled[spin].nonzero()
        if len(places) == 0:
            continue  # an empty channel
        used = int(places[-1]) + 1
        for ks, bands in pieces.split(range(nk), used, dtype):
            rows = orbitals[spin, ks, bands]
            rows = rows if factor is None else rows * factor[ks].unsqueeze(1)
            rows = to_single(rows) if single else rows
            values = pieces.to_grid(rows, ks).flatten(0, 1)
            squares = torch.view_as_real(values).view(len(values), -1).square_()
            weights = weighted_occupations[:, spin, ks, bands].reshape(count, -1)
            density[spin] += weights.to(squares.dtype) @ squares
    grid = density.transpose(0, 1).view(count, nspin, *basis.orbital_fft_size, 2).sum(-1)
    return basis.from_orbital_grid(grid) / basis.volume


def density_from_real_orbitals(
    pieces: GridPieces,
    gauge: RealGauge,
    orbitals: Tensor,
    weighted_occupations: Tensor,
    factor: Tensor | None = None,
    single: bool = False,
) -> Tensor:
    """As `density_from_orbitals`, in half the FFTs, up to parts that are odd under inversion.

    The real and imaginary parts of one FFT are two orbitals, each times the root of its occupation.
    Where an inversion centre makes orbitals real, cross terms of the two in the square are odd
    under inversion: symmetrise the density to remove them.

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs.
    gauge : RealGauge
        Gauge of real orbitals.
    orbitals : Tensor
        (nspin, nk, nband, npw), complex.
    weighted_occupations : Tensor
        Electrons per state times the k-point's weight, not negative, (n, nspin, nk, nband).
    factor : Tensor, optional
        Real factor of every plane wave, (nk, npw).
    single : bool, optional
        Transform the orbitals in single precision.

    Returns
    -------
    Tensor
        Sphere coefficients, (n, nspin, nG), bohr^-3.
    """
    basis = pieces.basis
    nspin, nk = orbitals.shape[:2]
    shape = (len(weighted_occupations), nspin, basis.orbital_ngrid)
    density = torch.zeros(shape, dtype=torch.float64, device=basis.device)
    for spin in range(nspin):
        real = gauge.to_real(orbitals[spin], slice(0, nk))
        for of_set, target in zip(weighted_occupations[:, spin], density[:, spin], strict=True):
            filled = (of_set > _NO_ELECTRON * of_set.max()).any(0).nonzero().flatten().tolist()
            if not filled:
                continue
            bands = slice(filled[0], filled[-1] + 1)
            weighted = real[:, bands] * of_set[:, bands].sqrt().unsqueeze(-1)
            weighted = to_single(weighted) if single else weighted
            packed = gauge.to_waves(weighted, slice(0, nk))
            if factor is not None:
                packed = packed * factor.unsqueeze(1).to(packed.real.dtype)
            target.copy_(sum_of_squares(pieces, packed, range(nk)))
    grid = density.view(len(weighted_occupations), nspin, *basis.orbital_fft_size)
    return basis.from_orbital_grid(grid) * gauge.density_phase.conj() / basis.volume


def sum_of_squares(pieces: GridPieces, rows: Tensor, ks: range) -> Tensor:
    """Sum of |f(r)|^2 over rows (nk, n, npw) of some k-points, (n1 n2 n3,), double precision."""
    ngrid = pieces.basis.orbital_ngrid
    total = torch.zeros(2 * ngrid, dtype=torch.float64, device=rows.device)
    partial = torch.zeros_like(total, dtype=rows.real.dtype)
    for count, (piece, bands) in enumerate(pieces.split(ks, rows.shape[1], rows.dtype), start=1):
        offset = slice(piece.start - ks.start, piece.stop - ks.start)
        values = torch.view_as_real(pieces.to_grid(rows[offset, bands], piece))
        # Grid by grid, each is read once; a product and a sum would pass through memory four times.
        for parts in values.view(-1, 2 * ngrid):
            partial.addcmul_(parts, parts)
        if count % _PARTIAL_SUM == 0:
            total += partial
            partial.zero_()
    return (total + partial).view(ngrid, 2).sum(1)


def fields_from_orbitals(
    pieces: GridPieces,
    gauge: RealGauge | None,
    orbitals: Tensor,
    weighted_occupations: Tensor,
    tau: bool = False,
    single: bool = False,
) -> list[Fields]:
    r"""Symmetrised density, with the kinetic energy density if requested.

    .. math:: \tau(r) = \frac{1}{2 \Omega} \sum_{nk} w_k f_{nk} |\nabla \psi_{nk}(r)|^2

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs.
    gauge : RealGauge or None
        Halves the work where orbitals can be real.
    orbitals : Tensor
        (nspin, nk, nband, npw), complex.
    weighted_occupations : Tensor
        Electrons per state times the k-point's weight, (n, nspin, nk, nband).
    tau : bool, optional
        Whether the kinetic energy density is wanted.
    single : bool, optional
        Transform the orbitals in single precision: the result is accurate to 1e-7.

    Returns
    -------
    list of Fields
        One for each set of occupations.

    Examples
    --------
    The integral of tau is the kinetic energy:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Si"), ecut=100.0, convergence={"density": 1e-4})
    >>> weighted = (r.occupations * r.weights[:, None])[None]
    >>> fields, = fields_from_orbitals(r.problem.pieces, None, r.orbitals, weighted, tau=True)
    >>> energy = fields.tau[0, 0].real * r.basis.volume
    >>> bool(torch.isclose(energy, r.energies["kinetic"]))
    True
    """
    basis = pieces.basis

    def density(factor: Tensor | None) -> Tensor:
        given = orbitals, weighted_occupations, factor, single
        if gauge is not None and bool((weighted_occupations >= 0.0).all()):
            return density_from_real_orbitals(pieces, gauge, *given)
        return density_from_orbitals(pieces, *given)

    densities = basis.symmetrize(density(None))
    if not tau:
        return [Fields(one) for one in densities]
    gradients = [density(q) for q in basis.orbital_q.unbind(-1)]
    taus = basis.symmetrize(0.5 * torch.stack(gradients).sum(0))
    return [Fields(*pair) for pair in zip(densities, taus, strict=True)]


def kinetic_density(
    basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, recompute: bool = True
) -> Tensor:
    """Kinetic energy density in the graph of the orbitals, their occupations and the lattice.

    As in `fields_from_orbitals`, but slower.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Its lattice may be in a graph.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    weighted_occupations : Tensor
        Electrons per state times the k-point's weight, (nspin, nk, nband).
    recompute : bool, optional
        Compute its parts again in the backward pass, so that the orbitals on the grid need not be
        kept. It can then be differentiated only once.

    Returns
    -------
    Tensor
        (nspin, nG), Hartree bohr^-3, symmetrised.
    """
    size = basis.orbital_fft_size

    def part(rows: Tensor, weights: Tensor, q: Tensor, index: Tensor) -> Tensor:
        gradient = (rows.unsqueeze(1) * q.T).flatten(0, 1)  # (3 nband, npw)
        box = gradient.new_zeros((len(gradient), basis.orbital_ngrid))
        box = box.index_copy(1, index, gradient).view(-1, *size)
        values = torch.fft.ifftn(box, dim=(-3, -2, -1), norm="forward")
        squares = torch.view_as_real(values).square().sum(-1).view(len(rows), 3, *size)
        return 0.5 * torch.einsum("n,naxyz->xyz", weights, squares)

    channels = []
    for channel, weights in zip(orbitals, weighted_occupations, strict=True):
        total = basis.volume.new_zeros(size)
        for k, rows in enumerate(channel):
            used = (weights[k].abs() > _NO_ELECTRON).nonzero().squeeze(1)
            if len(used) == 0:
                continue
            # The padding is zero, and its derivative must be zero, too.
            q = basis.orbital_q[k] * basis.mask[k].unsqueeze(1)
            arguments = (rows[used], weights[k, used], q, basis.orbital_index[k])
            if recompute:
                total = total + checkpoint(part, *arguments, use_reentrant=False)
            else:
                total = total + part(*arguments)
        channels.append(total)
    return basis.symmetrize(basis.from_orbital_grid(torch.stack(channels))) / basis.volume
