"""Density of states: eigenvalues broadened by Gaussians, also by atom and angular momentum."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.units import Hartree
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.properties.atomic_weights import (
    atomic_weights,
    bound_momenta,
    symmetric_weights,
)
from deepchem_xc.planewave.properties.bands import states_at
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.structure.kept_symmetry import check_symmetry, operations_that_keep
from deepchem_xc.planewave.structure.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.values import real_number, whole_number

# Distance, in widths, beyond which a Gaussian is zero to double precision.
_REACH = 8.6
# Largest step, in widths, at which sums over a grid are exact to 1e-5. The default step is smaller,
# so that lines between the points look like Gaussians.
_LARGEST_STEP = 1.25
_STEP = 0.25
_FEWEST_POINTS = 1001
# Number of energies evaluated together, with the same nearby levels.
_PIECE = 256


class CoarseEnergiesWarning(UserWarning):
    """A density of states is sampled too coarsely for sums over its energies to be right."""


@dataclass(frozen=True)
class AtomicStates:
    """Density of states on one atom with one angular momentum.

    Attributes
    ----------
    atom : int
        Index of the atom.
    symbol : str
        Its chemical symbol.
    l : str
        Angular momentum: s, p, d or f.
    values : ndarray
        (nspin, nenergy), states per eV, see `DensityOfStates.values`.
    """

    atom: int
    symbol: str
    l: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class DensityOfStates:
    """Density of states on a grid of energies.

    Attributes
    ----------
    energies : ndarray
        (nenergy,), eV, on the scale of the eigenvalues.
    values : ndarray
        (nspin, nenergy), states per eV and cell; a single channel counts two electrons a state.
    fermi_level : float
        `SCFResult.reference_level`, eV.
    width : float
        Standard deviation of the broadening, eV.
    atomic : tuple of AtomicStates
        Its projections on atoms and angular momenta, if they were asked for.

    Examples
    --------
    Its sum up to a Fermi level in the gap is the number of electrons, 8 in silicon:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> dos = density_of_states(scf(bulk("Si"), ecut=100.0, kpts=(2, 2, 2)), width=0.05)
    >>> below = dos.energies < dos.fermi_level
    >>> print(f"{dos.total[below].sum() * (dos.energies[1] - dos.energies[0]):.3f}")
    8.000
    """

    energies: NDArray[np.float64]
    values: NDArray[np.float64]
    fermi_level: float
    width: float
    atomic: tuple[AtomicStates, ...] = ()

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum over the spins, (nenergy,), 1/eV."""
        return self.values.sum(0)

    def of(self, atoms: int | str | None = None, l: str | None = None) -> NDArray[np.float64]:
        """Sum of projections, (nspin, nenergy), 1/eV.

        Parameters
        ----------
        atoms : int or str, optional
            Index of an atom, or a chemical symbol; all atoms by default.
        l : {"s", "p", "d", "f"}, optional
            Angular momentum; all by default.

        Raises
        ------
        ValueError
            If there is no such projection.

        Examples
        --------
        >>> values = np.ones((1, 2))
        >>> parts = [AtomicStates(0, "Si", "s", values), AtomicStates(1, "Si", "s", 2 * values)]
        >>> dos = DensityOfStates(np.arange(2.0), 4 * values, 0.5, 0.1, tuple(parts))
        >>> dos.of("Si").tolist(), dos.of(1, "s").tolist()
        ([[3.0, 3.0]], [[2.0, 2.0]])
        """
        chosen = [
            part.values
            for part in self.atomic
            if (atoms is None or atoms in (part.atom, part.symbol)) and l in (None, part.l)
        ]
        if not chosen:
            known = ", ".join(f"{part.symbol} {part.atom} {part.l}" for part in self.atomic)
            raise ValueError(
                f"there is no projection on atoms={atoms!r}, l={l!r}; there are: "
                f"{known or 'none, compute the density of states with projected=True'}."
            )
        return np.sum(chosen, axis=0)


def density_of_states(
    result: SCFResult,
    energies: ArrayLike | None = None,
    width: float = 0.1,
    kpts: Any = None,
    nbands: int | str | None = None,
    npoints: int | None = None,
    progress: bool | None = None,
    projected: bool = False,
) -> DensityOfStates:
    r"""Density of states per spin.

    .. math:: g_\sigma(E) = \frac{2}{n_{spin}} \sum_{nk} w_k
              \frac{e^{-(E - \epsilon_{nk\sigma})^2 / 2 s^2}}{\sqrt{2\pi} s}

    Parameters
    ----------
    result : SCFResult
        Converged ground state.
    energies : array_like, optional
        Energies at which to evaluate it, eV; by default `npoints` equal steps that enclose all
        bands.
    width : float, optional
        Standard deviation s, eV.
    kpts : optional
        A mesh finer than the ground state's, in the notation of `make_kpoints`, on which
        eigenvalues are computed in the converged potential. The ground state's own by default.
    nbands : int, optional
        Number of bands on that mesh.
    npoints : int, optional
        Number of energies, at least 2; by default 1001, or more to have steps of at most a quarter
        of the width.
    progress : bool, optional
        Show a progress bar while the mesh is computed; by default if it is long.
    projected : bool, optional
        Also compute the projections on atoms and angular momenta, with the weights of
        `deepchem_xc.planewave.properties.atomic_weights`, as GPAW does. Needs PAW datasets.

    Returns
    -------
    DensityOfStates
        Energies in eV, values in states per eV and cell for each spin.

    Raises
    ------
    ValueError
        If the width is not positive, `nbands` is given without `kpts`, `npoints` is below 2 or
        given together with `energies`, or these are not a list of finite numbers; if `kpts` is a
        `KPoints` reduced by a symmetry that the state does not have.
    NotImplementedError
        If projections are asked for with norm-conserving potentials.

    Warns
    -----
    CoarseEnergiesWarning
        If equally spaced energies are more than 1.25 widths apart: the values are right, but their
        sum times the step is not the number of states.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import density_of_states, scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> dos = density_of_states(result)
    >>> step = dos.energies[1] - dos.energies[0]
    >>> print(f"{dos.total.sum() * step:.3f}")  # two electrons in each of 7 bands
    14.000
    """
    width = real_number(width, "width", "eV")
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"the width of the broadening must be positive (eV), got {width}.")
    result = result.detach()
    spheres = result.problem.paw_spheres("a projected density of states") if projected else None
    mesh = result.kpoints
    if kpts is not None:
        # The density has this symmetry, and so have the eigenvalues.
        mesh = make_kpoints(kpts, result.basis.crystal, symmetry=result.kpoints.symmetry)
        if isinstance(kpts, KPoints):
            _check_mesh(result, mesh)
    elif nbands is not None:
        raise ValueError("nbands needs a mesh on which to compute them: give kpts as well.")
    if kpts is None:
        levels = result.eigenvalues
        weights = _weights(spheres, result.problem.projectors, result.orbitals)
    else:
        found = states_at(result, mesh.coordinates, nbands, progress=progress)
        pieces = [(e, _weights(spheres, h.coupled.projectors, c)) for h, e, c in found]
        levels, weights = (torch.cat(piece, dim=1) for piece in zip(*pieces, strict=True))
    epsilon = levels.cpu().numpy() * Hartree
    grid = _energies(epsilon, energies, width, npoints)
    shares = mesh.weights.cpu().numpy()[:, None] * (2.0 / len(epsilon))

    def broadened(factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of all levels with these factors, (nspin, nk, nband)."""
        pairs = zip(epsilon, shares * factors, strict=True)
        return np.stack([_broaden(one.ravel(), w.ravel(), grid, width) for one, w in pairs])

    atomic: list[AtomicStates] = []
    if spheres is not None:
        weights = symmetric_weights(weights, result.basis.crystal, mesh.symmetry)
        atomic = [
            AtomicStates(atom, symbol, "spdf"[l], broadened(weights[..., atom, l].cpu().numpy()))
            for atom, symbol in enumerate(result.basis.crystal.symbols)
            for l in bound_momenta(spheres.potentials[symbol].dataset)
        ]
    reference = float(result.reference_level) * Hartree
    total = broadened(np.ones_like(epsilon))
    return DensityOfStates(grid, total, reference, width, tuple(atomic))


def _weights(spheres: Spheres | None, projectors: Tensor, orbitals: Tensor) -> Tensor:
    """`atomic_weights`; without spheres those of no atoms."""
    if spheres is None:
        return orbitals.real.new_zeros((*orbitals.shape[:-1], 0, 0))
    return atomic_weights(spheres, projectors, orbitals)


def _check_mesh(result: SCFResult, mesh: KPoints) -> None:
    """Raise ValueError unless the state has the symmetry that reduced these k-points."""
    crystal, symmetry = result.basis.crystal, mesh.symmetry
    check_symmetry(crystal, symmetry)
    if not operations_that_keep(result.atom_moments, crystal, symmetry).all():
        raise ValueError(
            "the k-points were reduced by symmetry operations that the magnetic moments of this "
            "state do not have: give the mesh itself, such as kpts=(8, 8, 8)."
        )


def _energies(
    levels: NDArray[np.float64], energies: ArrayLike | None, width: float, npoints: int | None
) -> NDArray[np.float64]:
    """Given energies, or equal steps around all levels (eV)."""
    if energies is not None:
        if npoints is not None:
            raise ValueError(
                f"npoints={npoints} sets how many energies are chosen, and energies= which ones: "
                "give one of them."
            )
        grid = _one_axis(energies)
        steps = np.diff(grid)
        equal = len(steps) > 1 and np.ptp(steps) < 1e-6 * abs(steps[0])
    else:
        low, high = levels.min() - _REACH * width, levels.max() + _REACH * width
        if npoints is None:
            npoints = max(_FEWEST_POINTS, math.ceil((high - low) / (_STEP * width)) + 1)
        grid, equal = np.linspace(low, high, whole_number(npoints, "npoints", minimum=2)), True
    if equal and (step := abs(float(grid[1] - grid[0]))) > _LARGEST_STEP * width:
        warnings.warn(
            f"the energies are {step:.3g} eV apart and the levels {width:g} eV wide: sums over "
            "them are wrong. Raise the width, or sample more finely: the default, "
            f"{_STEP * width:.3g} eV, is safe.",
            CoarseEnergiesWarning,
            stacklevel=users_stacklevel(),
        )
    return grid


def _one_axis(energies: ArrayLike) -> NDArray[np.float64]:
    try:
        grid = np.asarray(energies, dtype=np.float64)
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) == 0 or not np.isfinite(grid).all():
        raise ValueError(
            f"energies must be a list of finite numbers (eV), got {energies!r}; leave it out for "
            "steps around all levels."
        )
    return grid


def _broaden(
    levels: NDArray[np.float64],
    shares: NDArray[np.float64],
    energies: NDArray[np.float64],
    width: float,
) -> NDArray[np.float64]:
    """Sum of Gaussians at the levels with the integrals `shares`, (nenergy,), 1/eV."""
    values = np.zeros(len(energies))
    for first in range(0, len(energies), _PIECE):
        piece = energies[first : first + _PIECE]
        reach = _REACH * width
        near = (levels > piece.min() - reach) & (levels < piece.max() + reach)
        x = (piece[:, None] - levels[near]) / width
        values[first : first + _PIECE] = np.exp(-0.5 * x**2) @ shares[near]
    return values / (math.sqrt(2.0 * math.pi) * width)
