"""Energies at a series of volumes (of a crystal) or areas (of a layer) and what follows from them.

Units are those of ASE: eV, Angstrom, GPa, N/m, mu_B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.units import Hartree
from numpy.typing import NDArray

from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.eos import MINIMUM_POINTS, EquationOfStateFit, fit_equation_of_state
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.inputs import make_basis
from deepchem_xc.planewave.kpoints import make_kpoints

if TYPE_CHECKING:
    from ase import Atoms

    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional

#: Volumes (areas, for layers) in units of that of the atoms given.
SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)


@dataclass(frozen=True)
class VolumePoint:
    """One point of an energy curve.

    Attributes
    ----------
    scale : float
        Volume or area in units of that of the atoms given.
    size : float
        Volume (Angstrom^3) or area (Angstrom^2).
    energy : float
        Extrapolated to zero smearing width, eV.
    free_energy : float
        eV.
    magnetic_moment : float
        mu_B per cell.
    steps : int
        Self-consistency steps.
    """

    scale: float
    size: float
    energy: float
    free_energy: float
    magnetic_moment: float
    steps: int


@dataclass(frozen=True)
class EquationOfState:
    """Energies over volumes or areas, the fit to them, and the structure at its minimum.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure at scale 1.
    dimension : int
        3 for a crystal, 2 for a layer.
    axis : int or None
        The lattice vector that is not scaled, for a layer.
    points : tuple of VolumePoint
        In order of size.

    Examples
    --------
    Points on Birch's curve of second order, with a = 4 Angstrom and B = 0.5 eV/Angstrom^3:

    >>> from ase.build import bulk
    >>> curve = [(s, 16.0 * s, 9.0 * (s ** (-2 / 3) - 1.0) ** 2) for s in SCALES]
    >>> points = tuple(VolumePoint(s, size, e, e, 0.0, 1) for s, size, e in curve)
    >>> aluminium = EquationOfState(bulk("Al", a=4.0), 3, None, points)
    >>> print(f"{aluminium.a0:.2f} Angstrom, {aluminium.fit.modulus:.0f} GPa")
    4.00 Angstrom, 80 GPa
    """

    atoms: Atoms
    dimension: int
    axis: int | None
    points: tuple[VolumePoint, ...]

    @cached_property
    def fit(self) -> EquationOfStateFit:
        """Fit to the energies extrapolated to zero width: Angstrom^3, eV, GPa (layers: N/m).

        Raises
        ------
        ValueError
            If the points do not enclose a minimum.
        """
        return self._fit([point.energy for point in self.points])

    @cached_property
    def free_energy_fit(self) -> EquationOfStateFit:
        """Fit to the free energies; units and errors as for `fit`."""
        return self._fit([point.free_energy for point in self.points])

    def _fit(self, energies: list[float]) -> EquationOfStateFit:
        return fit_equation_of_state(
            [point.size for point in self.points], energies, self.dimension
        )

    @property
    def equilibrium(self) -> Atoms:
        """The structure scaled to the minimum."""
        reference = self.points[0].size / self.points[0].scale
        return scaled(self.atoms, self.fit.size / reference, self.axis)

    @property
    def lattice_constants(self) -> dict[str, float]:
        """Constants of the Bravais lattice at the minimum, Angstrom and degrees.

        For fcc, say, ``a`` of the conventional cube also where the cell is primitive.
        """
        pbc = [i != self.axis for i in range(3)]
        return {k: float(v) for k, v in _bravais_lattice(self.equilibrium, pbc).items()}

    @property
    def a0(self) -> float:
        """Lattice constant a at the minimum, Angstrom."""
        return self.lattice_constants["a"]

    def todict(self) -> dict[str, Any]:
        """Points, fit and lattice constants as JSON can hold them."""
        return {
            "dimension": self.dimension,
            "points": [asdict(point) for point in self.points],
            "fit": asdict(self.fit),
            "lattice_constants": self.lattice_constants,
        }


def _bravais_lattice(atoms: Atoms, pbc: Sequence[bool]) -> dict[str, float]:
    variables: dict[str, float] = atoms.cell.get_bravais_lattice(pbc=pbc).vars()
    return variables


def scaled(atoms: Atoms, scale: float, axis: int | None = None) -> Atoms:
    """Atoms with `scale` times the volume or, with `axis`, times the area across that vector.

    Examples
    --------
    >>> from ase.build import bulk
    >>> print(f"{scaled(bulk('Al', a=4.0), 1.1).get_volume() / 16.0:.6f}")
    1.100000
    """
    copy = atoms.copy()
    factors = _length_factors(scale, axis)
    copy.set_cell(np.asarray(atoms.cell) * factors[:, None], scale_atoms=True)
    return copy


def _length_factors(scale: float, axis: int | None) -> NDArray[np.float64]:
    """Factors of the three lattice vectors."""
    factors = np.full(3, scale ** (1 / 3) if axis is None else scale**0.5)
    if axis is not None:
        factors[axis] = 1.0
    return factors


def equation_of_state(
    atoms: Atoms,
    functional: str | XCFunctional = "PBE",
    *,
    ecut: float,
    kpts: Any = None,
    scales: Sequence[float] = SCALES,
    dimension: int | None = None,
    fft_size: Sequence[int] | None = None,
    symmetry: bool = True,
    callback: Callable[[VolumePoint], None] | None = None,
    **keywords: Any,
) -> EquationOfState:
    """Energies of a crystal at several volumes, or of a layer at several areas.

    The k-points (in reduced coordinates) and the real-space grid are the same at every volume, so
    that neither steps within the curve; plane waves are those below `ecut` at each volume. Every
    calculation starts from the one next to it.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure at scale 1. A layer is scaled in its plane only and keeps the height of its cell.
    functional : str or XCFunctional, optional
        As for `scf`.
    ecut : float
        Cutoff, eV.
    kpts : optional
        As for `scf`; a density is turned into a mesh at scale 1.
    scales : sequence of float, optional
        At least five volumes or areas in units of that of `atoms`.
    dimension : int, optional
        3 or 2. By default 2 where exactly one direction is not periodic. With 2 and periodic
        atoms, the third lattice vector is the one across the layer.
    fft_size, symmetry : optional
        As for `scf`.
    callback : callable, optional
        Called with every `VolumePoint` when it is done.
    **keywords
        Anything else for `scf`.

    Returns
    -------
    EquationOfState
        Raw points, fit, lattice constants.

    Raises
    ------
    ValueError
        For fewer than five scales, or a dimension that does not fit the atoms. A minimum outside
        of the range raises when the fit is asked for: the points are not lost.

    Examples
    --------
    >>> from ase.build import bulk
    >>> curve = equation_of_state(
    ...     bulk("Si"), ecut=250.0, kpts=(2, 2, 2), scales=(0.9, 0.95, 1.0, 1.05, 1.1))
    >>> print(f"{curve.a0:.1f} Angstrom, {curve.fit.modulus:.0f} GPa")
    5.5 Angstrom, 81 GPa
    """
    scales = sorted(float(scale) for scale in scales)
    if len(set(scales)) < MINIMUM_POINTS or scales[0] <= 0:
        raise ValueError(
            f"an equation of state needs at least {MINIMUM_POINTS} different positive scales, "
            f"got {scales}."
        )
    axis = _layer_axis(atoms, dimension)
    crystal = Crystal.from_ase(atoms)
    kpoints = make_kpoints(kpts, crystal, symmetry=symmetry)

    def strained(scale: float) -> Crystal:
        factors = torch.as_tensor(_length_factors(scale, axis), device=crystal.device)
        return replace(crystal, lattice=crystal.lattice * factors[:, None])

    if fft_size is None:
        # The largest volume has the most G-vectors below a cutoff in every direction.
        fft_size = make_basis(strained(scales[-1]), ecut, symmetry=False).fft_size

    # From the middle outwards: there the initial moments are most likely to be right.
    done: dict[float, SCFResult] = {}
    points: dict[float, VolumePoint] = {}
    size = float(atoms.cell.volume if axis is None else atoms.cell.area(axis))
    for scale in sorted(scales, key=lambda s: abs(np.log(s))):
        nearest = min(done, key=lambda s: abs(s - scale), default=None)
        result = scf(
            strained(scale),
            functional,
            ecut=ecut,
            kpts=kpoints,
            fft_size=fft_size,
            start=None if nearest is None else done[nearest],
            **keywords,
        )
        plain = result.detach()
        points[scale] = VolumePoint(
            scale=scale,
            size=size * scale,
            energy=float(plain.extrapolated_energy) * Hartree,
            free_energy=float(plain.free_energy) * Hartree,
            magnetic_moment=float(plain.magnetic_moment),
            steps=result.nsteps,
        )
        # Only the ends of what is done can be next to what is to come.
        done[scale] = result
        for inner in [s for s in done if min(done) < s < max(done)]:
            del done[inner]
        if callback is not None:
            callback(points[scale])
    return EquationOfState(
        atoms=atoms.copy(),
        dimension=3 if axis is None else 2,
        axis=axis,
        points=tuple(points[scale] for scale in scales),
    )


def _layer_axis(atoms: Atoms, dimension: int | None) -> int | None:
    """Index of the lattice vector across a layer; None for a crystal."""
    apart = [i for i in range(3) if not atoms.pbc[i]]
    if dimension is None:
        dimension = 3 - len(apart)
    if dimension not in (2, 3):
        raise ValueError(
            f"an equation of state is for crystals (dimension=3) and layers (dimension=2); got "
            f"dimension={dimension} with pbc={atoms.pbc.tolist()}."
        )
    if dimension == 3:
        if apart:
            raise ValueError(
                f"dimension=3 scales the vacuum too: pbc={atoms.pbc.tolist()} says that "
                f"direction(s) {apart} are not periodic. Set atoms.pbc = True if it is a crystal."
            )
        return None
    if len(apart) > 1:
        raise ValueError(f"pbc={atoms.pbc.tolist()} is not that of a layer (dimension=2).")
    axis = apart[0] if apart else 2
    cell = np.asarray(atoms.cell)
    across = cell[axis] / np.linalg.norm(cell[axis])
    others = np.delete(cell, axis, axis=0)
    if np.abs(others @ across).max() > 1e-6 * np.linalg.norm(others, axis=1).max():
        raise ValueError(
            f"lattice vector {axis} must stand upright on a layer, so that scaling its plane "
            f"changes the area only; the cell is {cell.tolist()}."
        )
    return axis
