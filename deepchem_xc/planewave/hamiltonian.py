"""The Kohn-Sham Hamiltonian applied to batches of k-points and bands.

It works in the precision of the orbitals: single precision takes half the time, and is enough
while the potential is far from self-consistent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.basis.real_gauge import RealGauge, pack, unpack
from deepchem_xc.planewave.fields import Potential


class _Multiplication:
    """Multiplication of batches of orbitals by a function of space.

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs; it knows the basis.
    function : Tensor
        Coefficients of the real function on the sphere, (nspin, nG).
    gauge : RealGauge, optional
        Gauge of real orbitals, in crystals with an inversion centre.

    Examples
    --------
    Multiplication by a constant:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> constant = torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128)
    >>> constant[0, 0] = 3.0
    >>> wave = torch.rand(1, 2, basis.npw, dtype=torch.complex128)
    >>> times = _Multiplication(GridPieces(basis), constant).apply(wave, 0, range(1))
    >>> bool(torch.allclose(times, 3.0 * wave))
    True
    """

    def __init__(
        self, pieces: GridPieces, function: Tensor, gauge: RealGauge | None = None
    ) -> None:
        self.pieces = pieces
        self._values = self._on_grid(function)
        if gauge is not None:
            self._centred_values = self._on_grid(function * gauge.density_phase)

    def _on_grid(self, function: Tensor) -> Tensor:
        # The function carries the 1/N that the forward FFT leaves out. Each value is stored twice,
        # for real and imaginary part: a product of real and complex arrays would convert the real.
        basis = self.pieces.basis
        scaled = basis.to_orbital_grid(function) / basis.orbital_ngrid
        return scaled.unsqueeze(-1).expand(*scaled.shape, 2).contiguous()

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """Product with orbitals of one spin, cut to the sphere of plane waves.

        Parameters
        ----------
        orbitals : Tensor
            (nk, nband, npw), complex, or real as the gauge makes them; single or double precision.
        spin : int
            Channel.
        ks : range
            Their k-points.

        Returns
        -------
        Tensor
            (nk, nband, npw), real or complex like the orbitals.
        """
        if orbitals.is_complex():
            product = self._multiply(orbitals, self._values[spin], ks)
        else:
            packed = self._multiply(pack(orbitals), self._centred_values[spin], ks)
            product = unpack(packed, orbitals.shape[1])
        mask = self.pieces.basis.mask[ks.start : ks.stop].unsqueeze(1)
        return product.mul_(mask.to(orbitals.real.dtype))

    def _multiply(self, orbitals: Tensor, values: Tensor, ks: range) -> Tensor:
        product = torch.empty_like(orbitals)
        values = values.to(orbitals.real.dtype)
        for piece, bands in self.pieces.split(ks, orbitals.shape[1], orbitals.dtype):
            offset = slice(piece.start - ks.start, piece.stop - ks.start)
            on_grid = self.pieces.to_grid(orbitals[offset, bands], piece)
            torch.view_as_real(on_grid).mul_(values)
            product[offset, bands] = self.pieces.from_grid(on_grid, piece)
        return product


class LocalOperator:
    """A local potential v and, for meta-GGAs, the operator -1/2 div(v_tau grad).

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs; it knows the basis.
    potential : Potential
        `v`, for meta-GGAs with `v_tau`.
    gauge : RealGauge, optional
        Gauge of real orbitals, in crystals with an inversion centre.

    Attributes
    ----------
    potential : Potential
        The given one.

    Examples
    --------
    With v_tau = 1 it is the kinetic energy:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> none, one = torch.zeros(2, 1, len(basis.g_vectors), dtype=torch.complex128)
    >>> one[0, 0] = 1.0
    >>> wave = torch.rand(1, 2, basis.npw, dtype=torch.complex128)
    >>> image = LocalOperator(GridPieces(basis), Potential(none, one)).apply(wave, 0, range(1))
    >>> bool(torch.allclose(image, basis.kinetic[:, None] * wave))
    True
    """

    def __init__(
        self, pieces: GridPieces, potential: Potential, gauge: RealGauge | None = None
    ) -> None:
        self.basis, self.potential = pieces.basis, potential
        self._times_v = _Multiplication(pieces, potential.v, gauge)
        v_tau = potential.v_tau
        self._times_v_tau = None if v_tau is None else _Multiplication(pieces, v_tau, gauge)

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """As `Hamiltonian.apply`, for this part."""
        result = self._times_v.apply(orbitals, spin, ks)
        if self._times_v_tau is not None:
            for q in self.basis.orbital_q[ks.start : ks.stop].unbind(-1):
                row = q.unsqueeze(1).to(orbitals.real.dtype)
                result.addcmul_(self._times_v_tau.apply(row * orbitals, spin, ks), row, value=0.5)
        return result


class _Operands(NamedTuple):
    kinetic: Tensor  # (nk, npw), real
    projectors: Tensor  # (nk, n, npw)
    conjugates: Tensor  # (nk, npw, n)
    coupling: Tensor  # (n, n)


class Hamiltonian:
    """Kinetic energy, a local potential and nonlocal projectors.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    potential : Potential
        Local potential, for meta-GGAs with `v_tau`.
    projectors : Tensor
        Projectors, (nk, nproj, npw).
    coupling : Tensor
        Their coupling, (nproj, nproj), Hartree.
    pieces : GridPieces, optional
        How to cut the FFTs; pass it to reuse its boxes.
    gauge : RealGauge, optional
        Gauge of real orbitals, in crystals with an inversion centre.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, convergence={"density": 1e-4})
    >>> hamiltonian = result.problem.hamiltonian(result.potential)
    >>> orbitals, levels = result.orbitals[0, :, :4], result.eigenvalues[0, :, :4]
    >>> residual = hamiltonian.apply(orbitals, 0, range(1)) - levels.unsqueeze(-1) * orbitals
    >>> bool(residual.norm(dim=-1).max() < 1e-3)
    True
    """

    def __init__(
        self,
        basis: PlaneWaveBasis,
        potential: Potential,
        projectors: Tensor,
        coupling: Tensor,
        pieces: GridPieces | None = None,
        gauge: RealGauge | None = None,
    ) -> None:
        self.basis = basis
        self.gauge = gauge
        self.pieces = GridPieces(basis) if pieces is None else pieces
        self.local = LocalOperator(self.pieces, potential, gauge)
        self.kinetic = basis.kinetic * basis.mask
        self.projectors = projectors
        self.coupling = coupling.to(torch.complex128)
        self._cast: dict[torch.dtype, _Operands] = {}

    @property
    def nspin(self) -> int:
        """Number of spin channels."""
        return self.local.potential.v.shape[0]

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """Apply H to orbitals of one spin.

        Parameters
        ----------
        orbitals : Tensor
            (nk, nband, npw), complex, or real as `gauge` makes them; single or double precision.
        spin : int
            Channel.
        ks : range
            Their k-points.

        Returns
        -------
        Tensor
            H c, (nk, nband, npw), of the orbitals' dtype; Hartree.

        Raises
        ------
        ValueError
            For real orbitals without a `gauge`.
        """
        kinetic, projectors, conjugates, coupling = self._operands(orbitals.dtype)
        here = slice(ks.start, ks.stop)
        result = orbitals * kinetic[here].unsqueeze(1)
        if coupling.numel():
            overlaps = orbitals @ conjugates[here]
            torch.baddbmm(result, overlaps @ coupling, projectors[here], out=result)
        return result.add_(self.local.apply(orbitals, spin, ks))

    def _operands(self, dtype: torch.dtype) -> _Operands:
        """Kinetic energies and projectors for orbitals of some dtype."""
        if dtype not in self._cast:
            if dtype.is_complex:
                projectors, coupling = self.projectors.to(dtype), self.coupling.to(dtype)
                conjugates = projectors.conj().transpose(-1, -2).resolve_conj()
            elif self.gauge is None:
                raise ValueError("real orbitals need a Hamiltonian with an inversion centre")
            else:
                projectors, coupling = (
                    self.gauge.projectors.to(dtype),
                    self.gauge.coupling.to(dtype),
                )
                conjugates = projectors.mT
            kinetic = self.kinetic.to(dtype.to_real())
            self._cast[dtype] = _Operands(kinetic, projectors, conjugates, coupling)
        return self._cast[dtype]

    def dense(self, spin: int, k: int, count: int) -> tuple[Tensor, Tensor]:
        """Matrix of H in the `count` plane waves of lowest kinetic energy at one k-point.

        Parameters
        ----------
        spin, k : int
            Channel and k-point.
        count : int
            At most the number of plane waves at this k-point.

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
        potential = self.local.potential
        g = basis.orbital_g_vectors[k, chosen]
        size = torch.tensor(basis.fft_size, device=basis.device)
        difference = torch.remainder(g[:, None] - g[None, :], size)
        flat = (difference[..., 0] * size[1] + difference[..., 1]) * size[2] + difference[..., 2]
        box = torch.zeros(basis.ngrid, dtype=torch.complex128, device=basis.device)
        box[basis.density_index] = potential.v[spin]
        matrix = box[flat]
        if potential.v_tau is not None:
            box[basis.density_index] = potential.v_tau[spin]
            q = basis.orbital_q[k, chosen]
            matrix = matrix + 0.5 * (q @ q.T) * box[flat]
        projectors = self.projectors[k][:, chosen]
        # Rows are bands' plane waves: H_{GG'} acts on c_{G'} from the right in `apply`'s layout.
        matrix = matrix + projectors.T @ self.coupling @ projectors.conj()
        matrix.diagonal().add_(energy[chosen])
        return matrix, chosen
