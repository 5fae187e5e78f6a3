"""Cells of a crystal at several volumes, or of a layer at several areas; lengths in Angstrom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from deepchem_xc.eos.fits import MINIMUM_POINTS
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.planewave.inputs import make_basis
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.kept_symmetry import kept_operations
from deepchem_xc.planewave.structure.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.values import real_number

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class VolumeSeries:
    """Cells of one crystal at several volumes, or of a layer at several areas.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure at scale 1.
    scales : tuple of float
        Volumes (areas) in units of that of `atoms`, ascending.
    axis : int or None
        The lattice vector that is not scaled, for a layer.
    kpoints : KPoints
        The same at every volume.
    fft_size : (int, int, int)
        The same at every volume.

    See Also
    --------
    volume_series : Makes it, with an example.
    """

    atoms: Atoms
    scales: tuple[float, ...]
    axis: int | None
    kpoints: KPoints
    fft_size: tuple[int, int, int]

    @property
    def dimension(self) -> int:
        """3 for a crystal, 2 for a layer."""
        return 3 if self.axis is None else 2

    def size(self, scale: float) -> float:
        """Volume (Angstrom^3) or area (Angstrom^2) at a scale."""
        cell = self.atoms.cell
        return scale * float(cell.volume if self.axis is None else cell.area(self.axis))

    def crystal(self, scale: float) -> Crystal:
        """The crystal at a scale."""
        crystal = Crystal.from_ase(self.atoms)
        factors = torch.as_tensor(_length_factors(scale, self.axis), device=crystal.device)
        return replace(crystal, lattice=crystal.lattice * factors[:, None])


def volume_series(
    atoms: Atoms,
    settings: Settings,
    scales: Sequence[float] = VOLUME_SCALES,
    dimension: int | None = None,
) -> VolumeSeries:
    """Cells, k-points and grid of an equation of state.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure at scale 1.
    settings : Settings
        Cutoff, k-points, grid and symmetry.
    scales, dimension : optional
        As of `equation_of_state`.

    Raises
    ------
    ValueError
        For fewer than five scales, or a dimension that does not fit the atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> series = volume_series(bulk("Al", a=4.0), Settings.of({"ecut": 150.0, "kpts": (2, 2, 2)}))
    >>> series.dimension, len(series.scales), series.size(1.0)
    (3, 7, 16.0)
    """
    try:
        ordered = tuple(sorted(real_number(scale, "scales") for scale in scales))
    except TypeError:  # not iterable
        ordered = ()
    usable = all(math.isfinite(scale) and scale > 0 for scale in ordered)
    if len(set(ordered)) < MINIMUM_POINTS or not usable:
        raise ValueError(
            f"an equation of state needs at least {MINIMUM_POINTS} different positive scales of "
            f"the volume, such as 0.94, 0.96, ..., 1.06, got {scales!r}."
        )
    axis = _layer_axis(atoms, dimension)
    crystal = Crystal.from_ase(atoms)
    kpts = settings.kpts
    kpoints = make_kpoints(kpts, crystal, symmetry=settings.symmetry)
    series = VolumeSeries(atoms.copy(), ordered, axis, kpoints, (0, 0, 0))
    # A layer in a cell as high as wide has operations at scale 1 that it has at no other.
    kept = [kept_operations(series.crystal(scale), kpoints.symmetry) for scale in ordered]
    everywhere = np.logical_and.reduce(kept)
    if not everywhere.all() and not isinstance(kpts, KPoints):
        lasting = kpoints.symmetry.subset(everywhere)
        series = replace(series, kpoints=make_kpoints(kpts, crystal, symmetry=lasting))
    if settings.fft_size is not None:
        return replace(series, fft_size=settings.fft_size)
    # The largest volume has the most G-vectors below a cutoff in every direction.
    largest = series.crystal(ordered[-1])
    basis = make_basis(largest, Settings.of({"ecut": settings.ecut, "symmetry": False}))
    return replace(series, fft_size=basis.fft_size)


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


def bravais_constant(atoms: Atoms, axis: int | None = None) -> float:
    """Constant a of the conventional Bravais lattice, Angstrom.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal, primitive or not, or a layer.
    axis : int, optional
        The lattice vector across a layer, which is left out.

    Examples
    --------
    >>> from ase.build import bulk
    >>> round(bravais_constant(bulk("Al", a=4.05)), 6)
    4.05
    """
    return bravais_lattice(atoms, [i != axis for i in range(3)])["a"]


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


def bravais_lattice(atoms: Atoms, pbc: Sequence[bool]) -> dict[str, float]:
    """Lengths and angles of the conventional Bravais lattice, Angstrom and degrees.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal or a layer.
    pbc : sequence of bool
        Directions that belong to the lattice.

    Examples
    --------
    >>> from ase.build import bulk
    >>> {k: round(v, 6) for k, v in bravais_lattice(bulk("Al", a=4.05), (True, True, True)).items()}
    {'a': 4.05}
    """
    variables: dict[str, float] = atoms.cell.get_bravais_lattice(pbc=pbc).vars()
    return variables
