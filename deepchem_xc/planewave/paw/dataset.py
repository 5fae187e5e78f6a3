"""`PAWDataset`: the content of one PAW file, in the units and conventions of this package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .radial_grid import RadialGrid

__all__ = ["PAWDataset", "PartialWave", "ReferenceEnergies"]

# Steps of radii in `definition`, parts of the last radius; irrational, so that radii of regular
# meshes do not lie between two steps.
_RADIUS_STEP = 1e-7 * np.sqrt(2.0)


@dataclass(frozen=True, eq=False)
class PartialWave:
    """One radial channel: partial waves and their projector.

    The functions of space are these radial ones times a real spherical harmonic Y_lm.

    Parameters
    ----------
    l : int
        Angular momentum.
    n : int or None
        Principal quantum number of a bound state; None for an unbound one.
    occupation : float
        Electrons in the reference atom; 0 for unbound states.
    energy : float
        Eigenvalue or reference energy, Hartree.
    cutoff : float
        Radius beyond which both partial waves agree, bohr.
    all_electron, smooth : ndarray, shape (nr,)
        Partial waves, bohr^-3/2; bound ones are normalised (the all-electron ones).
    projector : ndarray, shape (nr,)
        Dual to the smooth partial waves, bohr^-3/2.
    """

    l: int
    n: int | None
    occupation: float
    energy: float
    cutoff: float
    all_electron: NDArray
    smooth: NDArray
    projector: NDArray


@dataclass(frozen=True)
class ReferenceEnergies:
    """Energies of the all-electron reference atom, spherical and without spin, Hartree."""

    kinetic: float
    xc: float
    electrostatic: float
    core_kinetic: float


@dataclass(frozen=True, eq=False)
class PAWDataset:
    """A PAW dataset of one element, as its file defines it.

    P. E. Bloechl, Phys. Rev. B 50, 17953 (1994). Densities and potentials are functions of the
    radius in space (files store coefficients of Y_00), on one mesh, in Hartree atomic units.

    Parameters
    ----------
    symbol, name : str
        Chemical symbol, and name of the file's dataset.
    functional : str or None
        Functional with which it was made ("PBE", "LDA"), or the file's own name of another one;
        None if unknown.
    charge : float
        Nuclear charge.
    core, valence : float
        Electrons in the frozen core and in the valence.
    grid : RadialGrid
        Mesh of all functions.
    waves : tuple of PartialWave
        Channels in the file's order.
    shape : str
        Form of the compensation charges: "gauss", "sinc" or "bessel".
    shape_radius : float
        Their radius, bohr: g_l is proportional to r^l exp(-(r / shape_radius)^2) for "gauss".
    core_density, smooth_core_density : ndarray, shape (nr,)
        Densities of the frozen core, bohr^-3.
    core_kinetic_density, smooth_core_kinetic_density : ndarray, shape (nr,), or None
        Kinetic energy densities of the core, Ha bohr^-3; None if the file has none.
    zero_potential : ndarray, shape (nr,)
        Local potential inside the sphere, Hartree.
    kinetic_differences : ndarray, shape (nwave, nwave)
        Kinetic energy of all-electron less that of smooth partial waves, Hartree.
    reference : ReferenceEnergies
        Energies of the atom that the dataset was made from.
    """

    symbol: str
    name: str
    functional: str | None
    charge: float
    core: float
    valence: float
    grid: RadialGrid
    waves: tuple[PartialWave, ...]
    shape: str
    shape_radius: float
    core_density: NDArray
    smooth_core_density: NDArray
    core_kinetic_density: NDArray | None
    smooth_core_kinetic_density: NDArray | None
    zero_potential: NDArray
    kinetic_differences: NDArray
    reference: ReferenceEnergies

    @cached_property
    def angular_momenta(self) -> tuple[int, ...]:
        """l of each channel."""
        return tuple(wave.l for wave in self.waves)

    @cached_property
    def states(self) -> tuple[tuple[int, int], ...]:
        """(channel, m) of each of the `nstate` projector functions; m counts from 0 to 2 l."""
        return tuple((j, m) for j, wave in enumerate(self.waves) for m in range(2 * wave.l + 1))

    @property
    def nstate(self) -> int:
        """Number of projector functions, with their m."""
        return len(self.states)

    @cached_property
    def all_electron_waves(self) -> NDArray:
        """All-electron partial waves, (nwave, nr), bohr^-3/2."""
        return np.array([wave.all_electron for wave in self.waves])

    @cached_property
    def smooth_waves(self) -> NDArray:
        """Smooth partial waves, (nwave, nr), bohr^-3/2."""
        return np.array([wave.smooth for wave in self.waves])

    @cached_property
    def projectors(self) -> NDArray:
        """Projectors, (nwave, nr), bohr^-3/2."""
        return np.array([wave.projector for wave in self.waves])

    @property
    def sphere_radius(self) -> float:
        """Largest radius beyond which partial waves agree, bohr."""
        return max(wave.cutoff for wave in self.waves)

    def definition(self) -> dict[str, NDArray[Any]]:
        """Arrays that determine every number of a calculation; name and functional do not.

        They are hashed (`potential_digest`), so they must be the same on every machine. Radii come
        from exponential functions, which differ in their last digit between machines: they enter as
        whole steps of a part of the last radius.
        """
        step = _RADIUS_STEP * self.grid.r[-1]
        reference = self.reference
        found = {
            "electrons": np.array([self.charge, self.core, self.valence]),
            "radii": np.rint(self.grid.r / step).astype(np.int64),
            "last radius": np.array(f"{self.grid.r[-1]:.7e}"),
            "channels": np.array([(w.l, -1 if w.n is None else w.n) for w in self.waves]),
            "states": np.array([(w.occupation, w.energy, w.cutoff) for w in self.waves]),
            "all-electron waves": self.all_electron_waves,
            "smooth waves": self.smooth_waves,
            "projectors": self.projectors,
            "shape": np.array(self.shape),
            "shape radius": np.array(self.shape_radius),
            "core density": self.core_density,
            "smooth core density": self.smooth_core_density,
            "zero potential": self.zero_potential,
            "kinetic differences": self.kinetic_differences,
            "reference": np.array(
                [
                    reference.kinetic,
                    reference.xc,
                    reference.electrostatic,
                    reference.core_kinetic,
                ]
            ),
        }
        for name, values in (
            ("core kinetic density", self.core_kinetic_density),
            ("smooth core kinetic density", self.smooth_core_kinetic_density),
        ):
            if values is not None:
                found[name] = values
        return found

    def __repr__(self) -> str:
        channels = ", ".join(f"{'spdf'[wave.l]}" for wave in self.waves)
        return (
            f"<PAWDataset {self.symbol} {self.name!r}, valence {self.valence:g}, "
            f"functional {self.functional}, channels {channels}>"
        )
