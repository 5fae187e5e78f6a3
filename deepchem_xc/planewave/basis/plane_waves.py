"""The plane-wave discretisation of a crystal: G-vectors, k-points and the grids between them.

A `PlaneWaveBasis` fixes *integers* (which G-vectors exist, where they sit in the FFT box) for the
crystal it is made for, and derives metric quantities (lengths, kinetic energies) from the
crystal's lattice on demand. `PlaneWaveBasis.with_geometry` keeps the integers and changes the
lattice or positions; forces and stress are derivatives of this.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.planewave.basis.cutoff import check_cutoff, smooth_kinetic
from deepchem_xc.planewave.basis.fft_boxes import (
    SphereTransform,
    box_index,
    chosen_size,
    fastest_size,
)
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.density_symmetry import DensitySymmetrizer
from deepchem_xc.planewave.structure.kept_symmetry import check_symmetry
from deepchem_xc.planewave.structure.kpoints import KPoints, make_kpoints

# Factor on the squared radius, so that plane waves on the edge are in or out together with their
# symmetry partners.
_EDGE = 1.0 + 1e-10


class PlaneWaveBasis:
    r"""Plane waves up to a kinetic energy, at every k-point, and the FFT grid for densities.

    The orbitals are :math:`\psi(r) = \Omega^{-1/2} \sum_G c_G e^{i(k+G)r}` with
    :math:`|k+G|^2/2 \le E_{cut}`; densities and potentials live on the sphere of twice that
    radius, which contains every product of two orbitals, and on a real-space grid that contains it.

    Parameters
    ----------
    crystal : Crystal
        Lattice (bohr), species and reduced positions.
    ecut : float
        Kinetic-energy cutoff of the orbitals, Hartree.
    kpoints : KPoints or any specification `make_kpoints` takes
        For example ``(4, 4, 4)`` (Monkhorst-Pack) or ``{"size": (4, 4, 4), "gamma": True}``.
    fft_size : (int, int, int) or int, optional
        Real-space grid. By default the smallest grid with prime factors 2, 3 and 5 that holds the
        density sphere without aliasing.
    symmetry : bool, optional
        Reduce the k-points by the crystal's symmetry, as `make_kpoints` does (ignored if `kpoints`
        is a `KPoints`).
    device : torch.device or str, optional
        Device of the tensors; the crystal's device by default.
    ecut_smoothing : float, optional
        Width below the cutoff within which kinetic energies rise to infinity, Hartree: energies
        then change smoothly with the lattice at a fixed cutoff (`smooth_kinetic`). 0, none, by
        default.

    Attributes
    ----------
    orbital_g_vectors : Tensor
        Integer G of the orbitals, (nk, npw, 3), padded to the longest list.
    fft_size, orbital_fft_size : (int, int, int)
        Grids of densities and functionals, and of products with orbitals.
    mask : Tensor
        1.0 where a plane wave exists and 0.0 in the padding, (nk, npw).
    g_vectors : Tensor
        Integer G of the density sphere, (nG, 3); the first one is G = 0.

    Raises
    ------
    ValueError
        For an invalid cutoff, grid or smoothing, a grid too small for the cutoff, or k-points that
        were reduced by a symmetry that the crystal does not have.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), ecut=10.0, kpoints=(2, 2, 2))
    >>> basis.fft_size
    (24, 24, 24)
    """

    def __init__(
        self,
        crystal: Crystal,
        ecut: float,
        kpoints: KPoints | Any,
        fft_size: Sequence[int] | int | None = None,
        symmetry: Any = None,
        device: torch.device | str | None = None,
        ecut_smoothing: float = 0.0,
    ) -> None:
        check_cutoff(ecut)
        if not 0.0 <= ecut_smoothing < ecut:
            raise ValueError(
                f"ecut_smoothing = {ecut_smoothing:g} Ha ({ecut_smoothing * Hartree:g} eV) is not "
                f"usable with ecut = {ecut:g} Ha ({ecut * Hartree:g} eV): it "
                "must lie between 0 (none) and the cutoff; a tenth of the cutoff is usual."
            )
        self.crystal = crystal if device is None else crystal.to(device)
        self.ecut = float(ecut)
        self.ecut_smoothing = float(ecut_smoothing)
        self.kpoints = make_kpoints(kpoints, crystal, symmetry=symmetry)
        check_symmetry(self.crystal, self.kpoints.symmetry)
        self.device = self.crystal.lattice.device
        lattice = self.crystal.lattice.detach().cpu().numpy()

        sphere = _g_vectors(lattice, 2.0 * np.sqrt(2.0 * self.ecut), np.zeros(3))
        largest = np.abs(sphere).max(axis=0)
        self.fft_size = chosen_size(lattice, 2.0 * np.sqrt(2.0 * self.ecut), largest, fft_size)
        self.ngrid = int(np.prod(self.fft_size))
        self.g_vectors = torch.as_tensor(sphere, device=self.device)
        self.density_index = torch.as_tensor(box_index(sphere, self.fft_size), device=self.device)

        # Products of two orbitals, or of an orbital and a potential, are exact on every grid that
        # contains the density sphere: use the fastest, independent of the functional's grid.
        self.orbital_fft_size = fastest_size(2 * largest + 1)
        self.orbital_ngrid = int(np.prod(self.orbital_fft_size))
        self._transform, self._orbital_transform = (
            SphereTransform(sphere, size, self.device)
            for size in (self.fft_size, self.orbital_fft_size)
        )

        # Spheres are always cut in this lattice, even if the basis is strained later.
        self._cut_lattice = lattice
        self._set_orbitals()

    def _set_orbitals(self) -> None:
        """Set the plane waves of the orbitals at all ``self.kpoints``."""
        lattice = self._cut_lattice
        k_coordinates = self.kpoints.coordinates.detach().cpu().numpy()
        lists = [_g_vectors(lattice, np.sqrt(2.0 * self.ecut), k) for k in k_coordinates]
        self.npw_per_k = [len(g) for g in lists]
        nk, npw = len(lists), max(self.npw_per_k)
        orbital_g = np.zeros((nk, npw, 3), dtype=np.int64)
        mask = np.zeros((nk, npw))
        # The box's corner, (n/2, n/2, n/2) from a sphere's centre, is outside the sphere: padding
        # goes there.
        corners = np.array(self.orbital_fft_size) // 2 - np.rint(k_coordinates).astype(np.int64)
        parked = box_index(corners, self.orbital_fft_size)
        index = np.repeat(parked[:, None], npw, axis=1)
        for k, g in enumerate(lists):
            orbital_g[k, : len(g)] = g
            mask[k, : len(g)] = 1.0
            index[k, : len(g)] = box_index(g, self.orbital_fft_size)
        self.orbital_g_vectors = torch.as_tensor(orbital_g, device=self.device)
        self.mask = torch.as_tensor(mask, device=self.device)
        self.orbital_index = torch.as_tensor(index, device=self.device)
        self.k_coordinates = self.kpoints.coordinates.to(self.device)
        self.weights = self.kpoints.weights.to(self.device)
        self.symmetrize = DensitySymmetrizer(self.kpoints.symmetry, self.g_vectors)

    def __repr__(self) -> str:
        """Sizes at a glance."""
        return (
            f"PlaneWaveBasis(ecut={self.ecut} Ha, {self.nk} k-points, "
            f"{min(self.npw_per_k)}-{self.npw} plane waves, grid {self.fft_size}, "
            f"{len(self.g_vectors)} density G-vectors)"
        )

    @property
    def nk(self) -> int:
        """Number of (irreducible) k-points."""
        return self.orbital_g_vectors.shape[0]

    @property
    def npw(self) -> int:
        """Length of the padded plane-wave lists."""
        return self.orbital_g_vectors.shape[1]

    @property
    def volume(self) -> Tensor:
        """Cell volume in bohr^3, 0-d, in the graph of the lattice."""
        return self.crystal.volume

    # -- metric quantities; differentiable with respect to the crystal's lattice ------------------

    @cached_property
    def density_q(self) -> Tensor:
        """Cartesian G of the density sphere, (nG, 3), 1/bohr."""
        return self.g_vectors.to(torch.float64) @ self.crystal.reciprocal_lattice

    @cached_property
    def density_q2(self) -> Tensor:
        """``|G|^2`` of the density sphere, (nG,), bohr^-2."""
        return self.density_q.square().sum(-1)

    @cached_property
    def orbital_q(self) -> Tensor:
        """Cartesian k + G, (nk, npw, 3), 1/bohr."""
        reduced = self.orbital_g_vectors.to(torch.float64) + self.k_coordinates[:, None, :]
        return reduced @ self.crystal.reciprocal_lattice

    @cached_property
    def kinetic(self) -> Tensor:
        """Kinetic energies, smoothed, (nk, npw), Hartree; meaningless in the padding."""
        energies = 0.5 * self.orbital_q.square().sum(-1)
        return smooth_kinetic(energies, self.ecut, self.ecut_smoothing)

    def with_geometry(
        self, lattice: Tensor | None = None, positions: Tensor | None = None
    ) -> PlaneWaveBasis:
        """Return the same integers on another lattice and positions.

        Forces and stress are derivatives at this fixed set of plane waves. The symmetry of the
        k-points stays too: `scf` refuses a geometry that does not have it.

        Parameters
        ----------
        lattice : Tensor, optional
            (3, 3), rows, bohr; the present one if omitted.
        positions : Tensor, optional
            (natom, 3), reduced; the present ones if omitted.

        Returns
        -------
        PlaneWaveBasis
            Its metric quantities are in the graphs of both; this basis stays as it is.
        """
        other = self._copy(("density_q", "density_q2", "orbital_q", "kinetic"))
        other.crystal = self.crystal.with_geometry(lattice=lattice, positions=positions)
        return other

    def with_kpoints(self, kpoints: KPoints | Any) -> PlaneWaveBasis:
        """Return the same density sphere and grids with orbitals at other k-points.

        Densities and potentials of this basis fit the other one, even if `with_geometry` made this
        one: the spheres are cut in the same lattice.

        Parameters
        ----------
        kpoints : KPoints or any specification `make_kpoints` takes
            Meshes are reduced by the crystal's symmetry.

        Returns
        -------
        PlaneWaveBasis
            This basis stays as it is.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
        >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (2, 2, 2))
        >>> other = basis.with_kpoints([[0.1, 0.2, 0.3]])
        >>> other.nk, other.g_vectors is basis.g_vectors
        (1, True)
        """
        other = self._copy(("orbital_q", "kinetic"))
        other.kpoints = make_kpoints(kpoints, self.crystal)
        other._set_orbitals()
        return other

    def _copy(self, forgotten: Sequence[str]) -> PlaneWaveBasis:
        """Copy without these metric quantities, which are computed again."""
        other = copy.copy(self)
        for name in forgotten:
            other.__dict__.pop(name, None)
        return other

    def larger_sphere(self, radius: float) -> Tensor:
        """Integer G of the density sphere and those beyond it up to a radius, (n, 3).

        Parameters
        ----------
        radius : float
            Largest ``|G|`` in the lattice in which this basis was cut, 1/bohr.

        Returns
        -------
        Tensor
            The first nG rows are `g_vectors`.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
        >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
        >>> larger = basis.larger_sphere(8.0)
        >>> bool((larger[: len(basis.g_vectors)] == basis.g_vectors).all())
        True
        """
        own = 2.0 * np.sqrt(2.0 * self.ecut)
        if radius <= own:
            return self.g_vectors
        sphere = _g_vectors(self._cut_lattice, radius, np.zeros(3))
        q = sphere @ (2.0 * np.pi * np.linalg.inv(self._cut_lattice).T)
        beyond = sphere[np.einsum("gi,gi->g", q, q) > own**2 * _EDGE]
        return torch.cat([self.g_vectors, torch.as_tensor(beyond, device=self.device)])

    # -- between the density sphere and the real-space grid ---------------------------------------

    def to_grid(self, coefficients: Tensor) -> Tensor:
        """Real function on the grid from its coefficients, in the coefficients' unit.

        Parameters
        ----------
        coefficients : Tensor
            (..., nG), complex, of a real function: f(-G) is the conjugate of f(G).

        Returns
        -------
        Tensor
            (..., n1, n2, n3).
        """
        return self._transform.to_grid(coefficients)

    def to_sphere(self, values: Tensor) -> Tensor:
        """Coefficients of a real function on the grid, in the function's unit.

        Inverse of `to_grid`; parts of the function outside the sphere are dropped.

        Parameters
        ----------
        values : Tensor
            (..., n1, n2, n3).

        Returns
        -------
        Tensor
            (..., nG), complex; the first is the mean of the function.
        """
        return self._transform.to_sphere(values)

    def to_orbital_grid(self, coefficients: Tensor) -> Tensor:
        """As `to_grid`, on the grid for products with orbitals."""
        return self._orbital_transform.to_grid(coefficients)

    def from_orbital_grid(self, values: Tensor) -> Tensor:
        """As `to_sphere`, from the grid for products with orbitals."""
        return self._orbital_transform.to_sphere(values)

    def gradient(self, coefficients: Tensor) -> Tensor:
        """Gradient on the grid of a function on the sphere.

        Parameters
        ----------
        coefficients : Tensor
            (..., nG), complex.

        Returns
        -------
        Tensor
            Cartesian, (..., 3, n1, n2, n3), in the coefficients' unit per bohr.

        Examples
        --------
        Parseval's theorem:

        >>> import torch
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
        >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
        >>> f = basis.to_sphere(torch.rand(basis.fft_size, dtype=torch.float64))
        >>> mean_square = basis.gradient(f).square().sum(0).mean()
        >>> bool(torch.isclose(mean_square, (basis.density_q2 * f.abs() ** 2).sum()))
        True
        """
        return self.to_grid(1j * self.density_q.T * coefficients.unsqueeze(-2))


def _g_vectors(lattice: np.ndarray, radius: float, k: np.ndarray) -> np.ndarray:
    """Integer G with |k + G| <= radius, shortest |G| box first; shape (n, 3)."""
    lengths = np.linalg.norm(lattice, axis=1)
    reach = np.floor(radius * lengths / (2.0 * np.pi) + np.abs(k) + 1e-9).astype(int)
    axes = [np.concatenate([np.arange(m + 1), np.arange(-m, 0)]) for m in reach]
    g = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    q = (g + k) @ (2.0 * np.pi * np.linalg.inv(lattice).T)
    return g[np.einsum("gi,gi->g", q, q) <= radius**2 * _EDGE]
