"""Density of states: eigenvalues broadened by Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Hartree
from numpy.typing import ArrayLike, NDArray

from deepchem_xc.planewave.bands import eigenvalues_at
from deepchem_xc.planewave.kpoints import make_kpoints
from deepchem_xc.planewave.result import SCFResult

# A Gaussian is zero to double precision this many widths from its centre.
_REACH = 6.0


@dataclass(frozen=True)
class DensityOfStates:
    """Density of states on a grid of energies.

    Attributes
    ----------
    energies : ndarray
        (nenergy,), eV, on the scale of the eigenvalues.
    values : ndarray
        (nspin, nenergy), states per eV and cell; a channel counts two electrons a state where
        there is only one.
    fermi_level : float
        eV.
    width : float
        Standard deviation of the broadening, eV.

    Examples
    --------
    Up to a Fermi level in the gap it adds up to the electrons, 8 in silicon:

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

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum over the spins, (nenergy,), 1/eV."""
        return self.values.sum(0)


def density_of_states(
    result: SCFResult,
    energies: ArrayLike | None = None,
    width: float = 0.1,
    kpts: Any = None,
    nbands: int | None = None,
    npoints: int = 1001,
    progress: bool | None = None,
) -> DensityOfStates:
    r"""Density of states per spin.

    .. math:: g_\sigma(E) = \frac{2}{n_{spin}} \sum_{nk} w_k
              \frac{e^{-(E - \epsilon_{nk\sigma})^2 / 2 s^2}}{\sqrt{2\pi} s}

    Parameters
    ----------
    result : SCFResult
        Converged ground state.
    energies : array_like, optional
        Where to evaluate it, eV; by default `npoints` that enclose all bands.
    width : float, optional
        Standard deviation s, eV.
    kpts : optional
        A mesh finer than the ground state's, as `make_kpoints` takes it: eigenvalues are computed
        there in the converged potential. The ground state's own by default.
    nbands : int, optional
        Number of bands on that mesh.
    npoints : int, optional
        Number of energies.
    progress : bool, optional
        Show a progress bar while the mesh is computed; by default if it is long.

    Raises
    ------
    ValueError
        If the width is not positive, or `nbands` is given without `kpts`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> dos = density_of_states(result)
    >>> step = dos.energies[1] - dos.energies[0]
    >>> print(f"{dos.total.sum() * step:.3f}")  # two electrons in each of 7 bands
    14.000
    """
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"the width of the broadening must be positive (eV), got {width}.")
    result = result.detach()
    levels, weights = result.eigenvalues, result.weights
    if kpts is not None:
        # The density has this symmetry, and so have the eigenvalues.
        group = result.kpoints.symmetry
        mesh = make_kpoints(kpts, result.basis.crystal, symmetry=group)
        levels = eigenvalues_at(result, mesh.coordinates, nbands, progress=progress)
        weights = mesh.weights
    elif nbands is not None:
        raise ValueError("nbands needs a mesh on which to compute them: give kpts as well.")
    epsilon = levels.cpu().numpy() * Hartree
    if energies is None:
        margin = _REACH * width
        grid = np.linspace(epsilon.min() - margin, epsilon.max() + margin, npoints)
    else:
        grid = np.asarray(energies, dtype=np.float64)
    nspin = len(epsilon)
    factors = weights.cpu().numpy() * (2.0 / nspin / (math.sqrt(2.0 * math.pi) * width))
    values = np.zeros((nspin, len(grid)))
    for k, factor in enumerate(factors):
        x = (grid[None, None, :] - epsilon[:, k, :, None]) / width  # (nspin, nband, nenergy)
        values += factor * np.exp(-0.5 * x**2).sum(1)
    return DensityOfStates(grid, values, float(result.fermi_level.mean()) * Hartree, width)
