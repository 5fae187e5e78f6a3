"""The Kohn-Sham Hamiltonian and overlap applied to batches of k-points and bands.

It works in the precision of the orbitals: single precision takes half the time, and is enough
while the potential is far from self-consistent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.basis.real_gauge import RealGauge
from deepchem_xc.planewave.coupled_projectors import CoupledProjectors
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
        Gauge of real orbitals, if there is one.

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
        self.pieces, self._function, self._gauge = pieces, function, gauge

    @cached_property
    def _values(self) -> Tensor:
        return self._on_grid(self._function)

    @cached_property
    def _packed_values(self) -> Tensor:
        assert self._gauge is not None
        return self._on_grid(self._function * self._gauge.density_phase)

    def _on_grid(self, function: Tensor) -> Tensor:
        # The function carries the 1/N that the forward FFT leaves out. Each value is stored twice,
        # for real and imaginary part: a product of real and complex arrays would convert the real.
        basis = self.pieces.basis
        scaled = basis.to_orbital_grid(function) / basis.orbital_ngrid
        return scaled.unsqueeze(-1).expand(*scaled.shape, 2).contiguous()

    def apply(self, waves: Tensor, spin: int, ks: range, packed: bool = False) -> Tensor:
        """Product with rows of one spin, cut to the sphere of plane waves.

        Parameters
        ----------
        waves : Tensor
            Plane waves, (nk, n, npw), complex, single or double precision.
        spin : int
            Channel.
        ks : range
            Their k-points.
        packed : bool, optional
            Whether they are pairs of real orbitals, as `RealGauge.to_waves` packs them.

        Returns
        -------
        Tensor
            (nk, n, npw).
        """
        # Only one of them is needed as a rule: a transform less.
        values = self._packed_values if packed else self._values
        product = torch.empty_like(waves)
        values = values[spin].to(waves.real.dtype)
        for piece, bands in self.pieces.split(ks, waves.shape[1], waves.dtype):
            offset = slice(piece.start - ks.start, piece.stop - ks.start)
            on_grid = self.pieces.to_grid(waves[offset, bands], piece)
            torch.view_as_real(on_grid).mul_(values)
            product[offset, bands] = self.pieces.from_grid(on_grid, piece)
        mask = self.pieces.basis.mask[ks.start : ks.stop].unsqueeze(1)
        return product.mul_(mask.to(waves.real.dtype))


class LocalOperator:
    """A local potential v and, for meta-GGAs, the operator -1/2 div(v_tau grad).

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs; it knows the basis.
    potential : Potential
        `v`, for meta-GGAs with `v_tau`.
    gauge : RealGauge, optional
        Gauge of real orbitals, if there is one.

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
        self.basis, self.potential, self._gauge = pieces.basis, potential, gauge
        self._times_v = _Multiplication(pieces, potential.v, gauge)
        v_tau = potential.v_tau
        self._times_v_tau = None if v_tau is None else _Multiplication(pieces, v_tau, gauge)

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """As `Hamiltonian.apply`, for this part."""
        if orbitals.is_complex():
            return self._apply(orbitals, spin, ks)
        assert self._gauge is not None
        here = slice(ks.start, ks.stop)
        product = self._apply(self._gauge.to_waves(orbitals, here), spin, ks, packed=True)
        return self._gauge.from_waves(product, orbitals.shape[1], here)

    def _apply(self, waves: Tensor, spin: int, ks: range, packed: bool = False) -> Tensor:
        result = self._times_v.apply(waves, spin, ks, packed)
        if self._times_v_tau is not None:
            for q in self.basis.orbital_q[ks.start : ks.stop].unbind(-1):
                row = q.unsqueeze(1).to(waves.real.dtype)
                product = self._times_v_tau.apply(row * waves, spin, ks, packed)
                result.addcmul_(product, row, value=0.5)
        return result


class PotentialOperator:
    """A potential with its parts inside of PAW spheres: a change of the Hamiltonian.

    Parameters
    ----------
    local : LocalOperator
        The part on plane waves.
    inside : CoupledProjectors, optional
        The part inside of spheres.
    """

    def __init__(self, local: LocalOperator, inside: CoupledProjectors | None = None) -> None:
        self._local, self._inside = local, inside

    def apply(self, orbitals: Tensor, spin: int, ks: range) -> Tensor:
        """As `Hamiltonian.apply`, for this part."""
        product = self._local.apply(orbitals, spin, ks)
        if self._inside is None:
            return product
        projections = self._inside.project(orbitals, ks)
        return self._inside.add_coupling(product, projections, spin, ks)


class Hamiltonian:
    """Kinetic energy, a local potential and nonlocal projectors; and the overlap S.

    Its states solve H c = e S c; S = 1 unless projectors have an overlap matrix.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    potential : Potential
        Local potential, for meta-GGAs with `v_tau`.
    projectors : Tensor
        Projectors, (nk, nproj, npw).
    coupling : Tensor
        Their coupling, real and symmetric, (nproj, nproj), or (nspin, nproj, nproj) if it differs
        between the spins; Hartree.
    pieces : GridPieces, optional
        How to cut the FFTs; pass it to reuse its boxes.
    gauge : RealGauge, optional
        Gauge of real orbitals, if there is one.
    overlap : Tensor, optional
        Coupling of the projectors in S - 1, real and symmetric, (nproj, nproj); None where S = 1.

    Raises
    ------
    ValueError
        If the shapes of coupling or overlap do not fit the projectors and spins.

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
        overlap: Tensor | None = None,
    ) -> None:
        self.basis = basis
        self.gauge = gauge
        self.pieces = GridPieces(basis) if pieces is None else pieces
        self.local = LocalOperator(self.pieces, potential, gauge)
        self.kinetic = basis.kinetic * basis.mask
        self.coupled = CoupledProjectors(projectors, coupling, overlap, gauge)
        if coupling.ndim == 3 and len(coupling) != self.nspin:
            raise ValueError(
                f"the potential has {self.nspin} spin channels, but the projectors have "
                f"{len(coupling)} couplings: give one for each channel, or one matrix for all."
            )
        self._kinetic: dict[torch.dtype, Tensor] = {}

    @property
    def nspin(self) -> int:
        """Number of spin channels."""
        return self.local.potential.v.shape[0]

    @property
    def has_overlap(self) -> bool:
        """Whether S differs from 1, so that the eigenproblem is a generalised one."""
        return self.coupled.overlap is not None

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
        return self._apply(orbitals, self.coupled.project(orbitals, ks), spin, ks)

    def apply_both(self, orbitals: Tensor, spin: int, ks: range) -> tuple[Tensor, Tensor]:
        """Apply H and S, from one projection of the orbitals.

        Parameters
        ----------
        orbitals, spin, ks
            As for `apply`.

        Returns
        -------
        image, overlap_image : Tensor
            H c in Hartree and S c, (nk, nband, npw); S c is the argument itself where S = 1.
        """
        projections = self.coupled.project(orbitals, ks)
        image = self._apply(orbitals, projections, spin, ks)
        return image, self.coupled.add_overlap(orbitals, projections, ks)

    def operator(
        self, spin: int, ks: range
    ) -> Callable[[Tensor], Tensor] | Callable[[Tensor], tuple[Tensor, Tensor]]:
        """`apply_both` for one spin and some k-points, or `apply` alone where S = 1.

        Parameters
        ----------
        spin, ks
            As for `apply`.

        Returns
        -------
        callable
            From orbitals (nk, nband, npw) to what these methods return, as `davidson` takes it.
        """
        if self.has_overlap:
            return lambda orbitals: self.apply_both(orbitals, spin, ks)
        return lambda orbitals: self.apply(orbitals, spin, ks)

    def apply_overlap(self, orbitals: Tensor, ks: range) -> Tensor:
        """Apply S alone, which is the same for both spins.

        Parameters
        ----------
        orbitals, ks
            As for `apply`.

        Returns
        -------
        Tensor
            S c, (nk, nband, npw); the argument itself where S = 1.
        """
        if not self.has_overlap:
            return orbitals
        return self.coupled.add_overlap(orbitals, self.coupled.project(orbitals, ks), ks)

    def _apply(self, orbitals: Tensor, projections: Tensor, spin: int, ks: range) -> Tensor:
        dtype = orbitals.real.dtype
        if dtype not in self._kinetic:
            self._kinetic[dtype] = self.kinetic.to(dtype)
        result = orbitals * self._kinetic[dtype][ks.start : ks.stop].unsqueeze(1)
        self.coupled.add_coupling(result, projections, spin, ks)
        return result.add_(self.local.apply(orbitals, spin, ks))

    def dense(self, spin: int, k: int, count: int) -> tuple[Tensor, Tensor]:
        """Matrix of H in the `count` plane waves of lowest kinetic energy at one k-point.

        `dense_overlap` is the matrix of S in the same plane waves.

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
        matrix = matrix + self.coupled.dense_coupling(spin, k, chosen)
        matrix.diagonal().add_(energy[chosen])
        return matrix, chosen

    def dense_overlap(self, k: int, chosen: Tensor) -> Tensor:
        """Matrix of S in some plane waves of one k-point, as `dense` chooses them.

        Parameters
        ----------
        k : int
            k-point.
        chosen : Tensor
            Positions of the plane waves in the k-point's list, (count,).

        Returns
        -------
        Tensor
            (count, count), complex, without unit.
        """
        return self.coupled.dense_overlap(k, chosen)
