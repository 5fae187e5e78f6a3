"""The Kohn-Sham Hamiltonian applied to batches of k-points and bands."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.inversion import RealGauge, pack, unpack
from deepchem_xc.planewave.terms.xc import split_fields

# FFTs run in pieces of about this size. Larger arrays leave the processor's caches and make every
# temporary page-fault; a GPU wants as much at once as it can get. See docs/performance.md.
_CPU_PIECE_BYTES = 2**20
_CUDA_PIECE_BYTES = 512 * 2**20
_COMPLEX_BYTES = 16


class GridPieces:
    """Cuts (k-point, band) arrays into pieces whose FFT boxes fit the processor.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid and k-points.
    piece_bytes : int, optional
        Size of one piece's complex boxes; by default what suits the basis's device.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> GridPieces(basis, piece_bytes=3 * 16 * basis.orbital_ngrid).split(range(1), 5)
    [(slice(0, 1, None), slice(0, 3, None)), (slice(0, 1, None), slice(3, 5, None))]
    """

    def __init__(self, basis: PlaneWaveBasis, piece_bytes: int | None = None) -> None:
        self.basis = basis
        if piece_bytes is None:
            cuda = basis.device.type == "cuda"
            piece_bytes = _CUDA_PIECE_BYTES if cuda else _CPU_PIECE_BYTES * torch.get_num_threads()
        self.grids = max(1, piece_bytes // (_COMPLEX_BYTES * basis.orbital_ngrid))
        self._empty_boxes: dict[tuple[int, int], Tensor] = {}

    def split(self, ks: range, nband: int) -> list[tuple[slice, slice]]:
        """Pieces as (k slice, band slice); several k-points only where all their bands fit.

        Parameters
        ----------
        ks : range
            k-points.
        nband : int
            Bands of each.
        """
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
        """Periodic parts of the orbitals of the k-points `ks` on the orbital grid.

        Parameters
        ----------
        orbitals : Tensor
            Coefficients, (nk, nband, npw), complex.
        ks : slice
            Which k-points these are.

        Returns
        -------
        Tensor
            (nk, nband, n1, n2, n3), complex: the sum over G of c_G exp(iG.r), whose square has the
            mean 1 where the orbital is normalised; divided by the volume it is in bohr^-3.
        """
        basis = self.basis
        nk, nband, npw = orbitals.shape
        index = basis.orbital_index[ks].unsqueeze(1).expand(nk, nband, npw)
        # The box is kept, empty, from call to call: a fresh one costs a third of the FFT.
        box = self._empty_boxes.pop((nk, nband), None)
        if box is None:
            box = orbitals.new_zeros((nk, nband, basis.orbital_ngrid))
        box.scatter_(2, index, orbitals)
        grid = box.view(nk, nband, *basis.orbital_fft_size)
        values = torch.fft.ifftn(grid, dim=(-3, -2, -1), norm="forward")
        self._empty_boxes[nk, nband] = box.scatter_(2, index, 0.0)
        return values

    def from_grid(self, values: Tensor, ks: slice) -> Tensor:
        """Coefficients (nk, nband, npw) of functions on the orbital grid (nk, nband, n1, n2, n3).

        They are in the functions' unit, times the number of grid points: the caller divides.
        """
        basis = self.basis
        nk, nband = values.shape[:2]
        box = torch.fft.fftn(values, dim=(-3, -2, -1)).view(nk, nband, basis.orbital_ngrid)
        index = basis.orbital_index[ks].unsqueeze(1).expand(nk, nband, basis.npw)
        return box.gather(2, index)


class LocalPotential:
    """A local potential that multiplies batches of orbitals.

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs; it knows the basis.
    potential : Tensor
        Sphere coefficients of a real function, (nspin, nG), Hartree.
    gauge : RealGauge, optional
        In crystals with an inversion centre: real orbitals are then taken as its.

    Examples
    --------
    A constant multiplies:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> constant = torch.zeros(1, len(basis.density_g), dtype=torch.complex128)
    >>> constant[0, 0] = 3.0
    >>> wave = torch.rand(1, 2, basis.npw, dtype=torch.complex128)
    >>> times = LocalPotential(GridPieces(basis), constant).apply(wave, 0, range(1))
    >>> bool(torch.allclose(times, 3.0 * wave))
    True
    """

    def __init__(
        self, pieces: GridPieces, potential: Tensor, gauge: RealGauge | None = None
    ) -> None:
        self.pieces = pieces
        self._values = self._on_grid(potential)
        if gauge is not None:
            self._centred_values = self._on_grid(potential * gauge.density_phase)

    def _on_grid(self, potential: Tensor) -> Tensor:
        # The forward FFT leaves out its 1/N: it is carried by the potential. Each value stands
        # twice, for real and imaginary part: a product of real and complex arrays would convert.
        basis = self.pieces.basis
        scaled = basis.to_orbital_grid(potential) / basis.orbital_ngrid
        return scaled.unsqueeze(-1).expand(*scaled.shape, 2).contiguous()

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """Product with orbitals of one spin, in the sphere of plane waves.

        Parameters
        ----------
        orbitals : Tensor
            (nk, nband, npw), complex, or real as the gauge makes them.
        spin : int
            Channel.
        ks : range
            Which k-points these are.

        Returns
        -------
        Tensor
            (nk, nband, npw), real or complex as the orbitals are.
        """
        if orbitals.is_complex():
            product = self._multiply(orbitals, self._values[spin], ks)
        else:
            packed = self._multiply(pack(orbitals), self._centred_values[spin], ks)
            product = unpack(packed, orbitals.shape[1])
        mask = self.pieces.basis.mask[ks.start : ks.stop].unsqueeze(1)
        return product.mul_(mask)

    def _multiply(self, orbitals: Tensor, values: Tensor, ks: range) -> Tensor:
        product = torch.empty_like(orbitals)
        for piece, bands in self.pieces.split(ks, orbitals.shape[1]):
            offset = slice(piece.start - ks.start, piece.stop - ks.start)
            on_grid = self.pieces.to_grid(orbitals[offset, bands], piece)
            torch.view_as_real(on_grid).mul_(values)
            product[offset, bands] = self.pieces.from_grid(on_grid, piece)
        return product


class LocalOperator:
    """A local potential and, for meta-GGAs, the term -1/2 div(v grad).

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs; it knows the basis.
    potential : Tensor
        (nspin, nG), Hartree, or (2, nspin, nG) with v, which has no unit.
    gauge : RealGauge, optional
        In crystals with an inversion centre: real orbitals are then taken as its.

    Attributes
    ----------
    potential : Tensor
        (nspin, nG), Hartree.
    mass : Tensor or None
        v, (nspin, nG).

    Examples
    --------
    Where v is 1, the kinetic energy:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> both = torch.zeros(2, 1, len(basis.density_g), dtype=torch.complex128)
    >>> both[1, 0, 0] = 1.0
    >>> wave = torch.rand(1, 2, basis.npw, dtype=torch.complex128)
    >>> image = LocalOperator(GridPieces(basis), both).apply(wave, 0, range(1))
    >>> bool(torch.allclose(image, basis.kinetic[:, None] * wave))
    True
    """

    def __init__(
        self, pieces: GridPieces, potential: Tensor, gauge: RealGauge | None = None
    ) -> None:
        self.basis = pieces.basis
        self.potential, self.mass = split_fields(potential)
        self._times = LocalPotential(pieces, self.potential, gauge)
        self._times_mass = None if self.mass is None else LocalPotential(pieces, self.mass, gauge)

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """As `LocalPotential.apply`."""
        result = self._times.apply(orbitals, spin, ks)
        if self._times_mass is not None:
            for q in self.basis.orbital_q[ks.start : ks.stop].unbind(-1):
                row = q.unsqueeze(1)
                result.addcmul_(self._times_mass.apply(row * orbitals, spin, ks), row, value=0.5)
        return result


class Hamiltonian:
    """Kinetic energy, a local potential and nonlocal projectors.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    potential : Tensor
        Local potential as sphere coefficients, (nspin, nG), Hartree; for meta-GGAs stacked with v
        of the term -1/2 div(v grad), (2, nspin, nG).
    beta : Tensor
        Projectors, (nk, nproj, npw).
    coupling : Tensor
        Their coupling, (nproj, nproj), Hartree.
    pieces : GridPieces, optional
        How to cut the FFTs; given where it is used again, with its boxes.
    gauge : RealGauge, optional
        In crystals with an inversion centre: real orbitals are then taken as its.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, convergence={"density": 1e-4})
    >>> hamiltonian = result.problem.hamiltonian(result.potential_g)
    >>> orbitals, levels = result.orbitals[0, :, :4], result.eigenvalues[0, :, :4]
    >>> residual = hamiltonian.apply(orbitals, 0, range(1)) - levels.unsqueeze(-1) * orbitals
    >>> bool(residual.norm(dim=-1).max() < 1e-3)
    True
    """

    def __init__(
        self,
        basis: PlaneWaveBasis,
        potential: Tensor,
        beta: Tensor,
        coupling: Tensor,
        pieces: GridPieces | None = None,
        gauge: RealGauge | None = None,
    ) -> None:
        self.basis = basis
        self.gauge = gauge
        self.pieces = GridPieces(basis) if pieces is None else pieces
        self.local = LocalOperator(self.pieces, potential, gauge)
        self.kinetic = basis.kinetic * basis.mask
        self.beta = beta
        self._beta_adjoint = beta.conj().transpose(-1, -2).resolve_conj()
        self.coupling = coupling.to(torch.complex128)

    @property
    def nspin(self) -> int:
        """Number of spin channels."""
        return self.local.potential.shape[0]

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """Apply H to orbitals of one spin.

        Parameters
        ----------
        orbitals : Tensor
            (nk, nband, npw), complex, or real as `gauge` makes them.
        spin : int
            Channel.
        ks : range
            Which k-points these are.

        Returns
        -------
        Tensor
            H c, (nk, nband, npw), real or complex as the orbitals are; Hartree.

        Raises
        ------
        ValueError
            For real orbitals without a `gauge`.
        """
        here = slice(ks.start, ks.stop)
        if orbitals.is_complex():
            beta, adjoint, coupling = self.beta[here], self._beta_adjoint[here], self.coupling
        else:
            if self.gauge is None:
                raise ValueError("real orbitals need a Hamiltonian with an inversion centre")
            beta, coupling = self.gauge.beta[here], self.gauge.coupling
            adjoint = beta.mT
        result = orbitals * self.kinetic[here].unsqueeze(1)
        if coupling.numel():
            torch.baddbmm(result, (orbitals @ adjoint) @ coupling, beta, out=result)
        return result.add_(self.local.apply(orbitals, spin, ks))

    def dense(self, spin: int, k: int, count: int) -> tuple[Tensor, Tensor]:
        """H in the `count` plane waves of lowest kinetic energy at one k-point.

        Parameters
        ----------
        spin, k : int
            Channel and k-point.
        count : int
            At most the number of plane waves there.

        Returns
        -------
        matrix : Tensor
            (count, count), complex, Hartree.
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
        box[basis.density_index] = self.local.potential[spin]
        matrix = box[flat]
        if self.local.mass is not None:
            box[basis.density_index] = self.local.mass[spin]
            q = basis.orbital_q[k, chosen]
            matrix = matrix + 0.5 * (q @ q.T) * box[flat]
        beta = self.beta[k][:, chosen]
        # Rows are bands' plane waves: H_{GG'} acts on c_{G'} from the right in `apply`'s layout.
        matrix = matrix + beta.T @ self.coupling @ beta.conj()
        matrix.diagonal().add_(energy[chosen])
        return matrix, chosen
