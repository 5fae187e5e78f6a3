"""The Kohn-Sham Hamiltonian applied to batches of k-points and bands."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis

# FFTs run in pieces of about this size. Larger arrays leave the processor's caches and make every
# temporary page-fault; a GPU wants as much at once as it can get. See docs/performance.md.
_CPU_PIECE_BYTES = 2 * 2**20
_CUDA_PIECE_BYTES = 512 * 2**20
_COMPLEX_BYTES = 16
# States that hold less than this add nothing to a density.
_NO_ELECTRON = 1e-14


class GridPieces:
    """Cuts (k-point, band) arrays into pieces whose FFT boxes fit the processor.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid and k-points.
    piece_bytes : int, optional
        Size of one piece's complex boxes.
    """

    def __init__(self, basis: PlaneWaveBasis, piece_bytes: int | None = None) -> None:
        self.basis = basis
        if piece_bytes is None:
            cuda = basis.device.type == "cuda"
            piece_bytes = _CUDA_PIECE_BYTES if cuda else _CPU_PIECE_BYTES * torch.get_num_threads()
        self.grids = max(1, piece_bytes // (_COMPLEX_BYTES * basis.ngrid))
        self._empty_boxes: dict[tuple[int, int], Tensor] = {}

    def split(self, ks: range, nband: int) -> list[tuple[slice, slice]]:
        """Pieces as (k slice, band slice); several k-points only where all their bands fit."""
        pieces = []
        if self.grids >= 2 * nband:
            step = self.grids // nband
            for k in range(ks.start, ks.stop, step):
                pieces.append((slice(k, min(k + step, ks.stop)), slice(0, nband)))
        else:
            step = -(-nband // -(-nband // self.grids))  # even pieces, none nearly empty
            for k in ks:
                for b in range(0, nband, step):
                    pieces.append((slice(k, k + 1), slice(b, min(b + step, nband))))
        return pieces

    def to_grid(self, orbitals: Tensor, ks: slice) -> Tensor:
        """Orbitals (nk, nband, npw) of the k-points `ks` on the grid, (nk, nband, n1, n2, n3)."""
        basis = self.basis
        nk, nband, npw = orbitals.shape
        index = basis.orbital_index[ks].unsqueeze(1).expand(nk, nband, npw)
        # The box is kept, empty, from call to call: a fresh one costs a third of the FFT.
        box = self._empty_boxes.pop((nk, nband), None)
        if box is None:
            box = orbitals.new_zeros((nk, nband, basis.ngrid))
        box.scatter_(2, index, orbitals)
        grid = box.view(nk, nband, *basis.fft_size)
        values = torch.fft.ifftn(grid, dim=(-3, -2, -1), norm="forward")
        self._empty_boxes[nk, nband] = box.scatter_(2, index, 0.0)
        return values

    def from_grid(self, values: Tensor, ks: slice) -> Tensor:
        """Coefficients (nk, nband, npw) of functions on the grid, not divided by its size."""
        basis = self.basis
        nk, nband = values.shape[:2]
        box = torch.fft.fftn(values, dim=(-3, -2, -1)).view(nk, nband, basis.ngrid)
        index = basis.orbital_index[ks].unsqueeze(1).expand(nk, nband, basis.npw)
        return box.gather(2, index)


class Hamiltonian:
    """Kinetic energy, a local potential and nonlocal projectors.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    potential : Tensor
        Local potential as sphere coefficients, (nspin, nG), Hartree.
    beta : Tensor
        Projectors, (nk, nproj, npw).
    coupling : Tensor
        Their coupling, (nproj, nproj), Hartree.
    pieces : GridPieces, optional
        How to cut the FFTs; given where it is used again, with its boxes.
    """

    def __init__(
        self,
        basis: PlaneWaveBasis,
        potential: Tensor,
        beta: Tensor,
        coupling: Tensor,
        pieces: GridPieces | None = None,
    ) -> None:
        self.basis = basis
        self.pieces = GridPieces(basis) if pieces is None else pieces
        self.potential = potential
        self.potential_grid = basis.to_grid(potential)
        # The forward FFT leaves out its 1/N: it is carried by the potential. Each value stands
        # twice, for real and imaginary part: a product of real and complex arrays would convert.
        scaled = self.potential_grid / basis.ngrid
        self._doubled_potential = scaled.unsqueeze(-1).expand(*scaled.shape, 2).contiguous()
        self.kinetic = basis.kinetic * basis.mask
        self.beta = beta
        self._beta_adjoint = beta.conj().transpose(-1, -2).resolve_conj()
        self.coupling = coupling.to(torch.complex128)

    @property
    def nspin(self) -> int:
        """Number of spin channels."""
        return self.potential.shape[0]

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """Apply H to the orbitals (nk, nband, npw) of one spin at the k-points `ks`."""
        here = slice(ks.start, ks.stop)
        result = orbitals * self.kinetic[here].unsqueeze(1)
        if self.coupling.numel():
            overlaps = orbitals @ self._beta_adjoint[here]
            torch.baddbmm(result, overlaps @ self.coupling, self.beta[here], out=result)
        mask = self.basis.mask[here].unsqueeze(1)
        local = torch.empty_like(orbitals)
        for piece, bands in self.pieces.split(ks, orbitals.shape[1]):
            offset = slice(piece.start - ks.start, piece.stop - ks.start)
            values = self.pieces.to_grid(orbitals[offset, bands], piece)
            torch.view_as_real(values).mul_(self._doubled_potential[spin])
            local[offset, bands] = self.pieces.from_grid(values, piece)
        return result.add_(local.mul_(mask))

    def dense(self, spin: int, k: int, count: int) -> tuple[Tensor, Tensor]:
        """H in the `count` plane waves of lowest kinetic energy at one k-point.

        Returns
        -------
        matrix : Tensor
            (count, count), complex.
        chosen : Tensor
            Positions of these plane waves in the k-point's list, (count,).
        """
        basis = self.basis
        energy = torch.where(basis.mask[k] > 0, basis.kinetic[k], torch.inf)
        chosen = torch.argsort(energy)[:count]
        g = basis.orbital_g[k, chosen]
        size = torch.tensor(basis.fft_size, device=basis.device)
        difference = torch.remainder(g[:, None] - g[None, :], size)
        flat = (difference[..., 0] * size[1] + difference[..., 1]) * size[2] + difference[..., 2]
        box = torch.zeros(basis.ngrid, dtype=torch.complex128, device=basis.device)
        box[basis.density_index] = self.potential[spin]
        matrix = box[flat]
        beta = self.beta[k][:, chosen]
        # Rows are bands' plane waves: H_{GG'} acts on c_{G'} from the right in `apply`'s layout.
        matrix = matrix + beta.T @ self.coupling @ beta.conj()
        matrix.diagonal().add_(energy[chosen])
        return matrix, chosen


def density_from_orbitals(pieces: GridPieces, orbitals: Tensor, numbers: Tensor) -> Tensor:
    r"""Electron density of orbitals, not yet symmetrised.

    .. math:: \rho_\sigma(r) = \Omega^{-1} \sum_{nk} w_k f_{nk\sigma} |\psi_{nk\sigma}(r)|^2

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    numbers : Tensor
        Electrons per state times the k-point's weight, (n, nspin, nk, nband): n sets of numbers
        give n densities from one pass over the orbitals.

    Returns
    -------
    Tensor
        Sphere coefficients, (n, nspin, nG), bohr^-3.
    """
    basis = pieces.basis
    nspin, nk, nband = orbitals.shape[:3]
    count = len(numbers)
    density = torch.zeros((nspin, count, 2 * basis.ngrid), dtype=torch.float64, device=basis.device)
    # Bands that no set fills anywhere need no FFT.
    filled = (numbers.abs() > _NO_ELECTRON).any(0).any(1)  # (nspin, nband)
    for spin in range(nspin):
        places = filled[spin].nonzero()
        used = int(places[-1]) + 1 if len(places) else 0
        for ks, bands in pieces.split(range(nk), used):
            values = pieces.to_grid(orbitals[spin, ks, bands], ks).flatten(0, 1)
            squares = torch.view_as_real(values).view(len(values), -1).square_()
            density[spin].addmm_(numbers[:, spin, ks, bands].reshape(count, -1), squares)
    grid = density.transpose(0, 1).view(count, nspin, *basis.fft_size, 2).sum(-1)
    return basis.to_sphere(grid) / basis.volume
