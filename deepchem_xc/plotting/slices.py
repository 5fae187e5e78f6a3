"""Densities, and differences of two, on a plane through a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepchem_xc.plotting.style import axes_or_new, save

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes

    from deepchem_xc.planewave import DensityRecord
    from deepchem_xc.planewave.result import SCFResult

# Distance from the plane (Angstrom) within which an atom is marked.
_IN_PLANE = 0.05
# Coefficients below this part of the largest are left out: they change nothing that can be seen.
_NEGLIGIBLE = 1e-12


def density_slice(
    density: ArrayLike,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    first: Sequence[float] = (1.0, 0.0, 0.0),
    second: Sequence[float] = (0.0, 1.0, 0.0),
    npoints: int = 81,
) -> NDArray[np.float64]:
    """Values of a periodic density on a plane, in the density's unit.

    Parameters
    ----------
    density : array_like
        (n1, n2, n3), on the grid of the cell.
    origin, first, second : (3,), optional
        Corner and sides of the plane in units of the lattice vectors.
    npoints : int, optional
        Points along each side, both ends included.

    Returns
    -------
    ndarray
        (npoints, npoints), the first axis along `first`. The interpolation is trigonometric: exact
        for densities that the grid represents.

    Raises
    ------
    ValueError
        If the density is not three-dimensional, or the sides are parallel.

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem_xc.plotting import density_slice
    >>> x = np.arange(8) / 8
    >>> density = 1.0 + np.cos(2 * np.pi * x)[:, None, None] * np.ones((8, 8, 8))
    >>> density_slice(density, npoints=3)[:, 0]
    array([2., 0., 2.])
    """
    values = np.asarray(density, dtype=np.float64)
    if values.ndim != 3:
        raise ValueError(
            f"a density on a grid has the shape (n1, n2, n3), got {values.shape}: choose one spin, "
            "or their sum."
        )
    if npoints < 2:
        raise ValueError(f"npoints must be at least 2, got {npoints}.")
    start, u, v = (np.asarray(vector, dtype=np.float64) for vector in (origin, first, second))
    if np.linalg.norm(np.cross(u, v)) < 1e-8:
        raise ValueError(f"the sides of a plane must not be parallel, got {u} and {v}.")
    coefficients = np.fft.fftn(values, norm="forward")
    kept = np.abs(coefficients) > _NEGLIGIBLE * np.abs(coefficients).max()
    frequencies = [np.fft.fftfreq(n, 1.0 / n) for n in values.shape]
    g = np.stack(np.meshgrid(*frequencies, indexing="ij"), -1)[kept]  # (ng, 3)
    steps = np.linspace(0.0, 1.0, npoints)
    waves = coefficients[kept] * np.exp(2j * np.pi * (g @ start))
    total = np.zeros((npoints, npoints))
    # In pieces, so that memory does not grow with the grid.
    for piece in range(0, len(g), 8192):
        some = slice(piece, piece + 8192)
        along_u = np.exp(2j * np.pi * np.outer(steps, g[some] @ u)) * waves[some]
        along_v = np.exp(2j * np.pi * np.outer(g[some] @ v, steps))
        total += (along_u @ along_v).real
    return total


def plot_density_slice(
    result: SCFResult | DensityRecord,
    reference: SCFResult | DensityRecord | None = None,
    part: str = "total",
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    first: Sequence[float] = (1.0, 0.0, 0.0),
    second: Sequence[float] = (0.0, 1.0, 0.0),
    npoints: int = 81,
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw the valence density on a plane, or its difference from another one.

    Parameters
    ----------
    result : SCFResult or DensityRecord
        Ground state, or the record of a density, such as a model predicts.
    reference : SCFResult or DensityRecord, optional
        Another one of the same cell, for example of another functional or of superposed atoms
        (`DensityPredictor.superposed`); its density is subtracted.
    part : {"total", "up", "down", "magnetization"}, optional
        Which density.
    origin, first, second, npoints : optional
        The plane, as for `density_slice`.
    path : path, optional
        Image file.
    title : str, optional
        Title of the axes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        Positions in Angstrom; the values, 1/Angstrom^3, are those of ``ax.collections[0]``, row by
        row of `density_slice`. Atoms in the plane are marked.

    Raises
    ------
    ValueError
        If both states have different cells, for an unknown part, or as `density_slice`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> from deepchem_xc.plotting import plot_density_slice
    >>> silicon = scf(bulk("Si"), ecut=80.0, convergence={"density": 1e-3})
    >>> ax = plot_density_slice(silicon, first=(1, 1, -1), second=(0, 0, 1), npoints=21)
    >>> ax.get_xlabel(), len(ax.collections[0].get_array().ravel())
    ('position (Å)', 441)

    What bonding adds to superposed atoms:

    >>> from dataclasses import replace
    >>> from deepchem_xc.planewave import DensityRecord, Fields
    >>> record = DensityRecord.of(silicon)
    >>> atoms = replace(record, fields=Fields(silicon.problem.superposition()))
    >>> ax = plot_density_slice(record, atoms, first=(1, 1, -1), second=(0, 0, 1), npoints=21)
    >>> bool(ax.collections[0].get_array().min() < 0.0)
    True
    """
    from ase.units import Bohr

    from deepchem_xc.planewave import DensityRecord
    from deepchem_xc.planewave.properties.cube import density_part

    def atoms_of(state: SCFResult | DensityRecord) -> Atoms:
        return (state if isinstance(state, DensityRecord) else state.basis).crystal.to_ase()

    atoms = atoms_of(result)
    if reference is not None:
        other = atoms_of(reference).cell
        if not np.allclose(atoms.cell, other, atol=1e-6):
            raise ValueError(
                "a difference needs two densities of the same cell, got\n"
                f"{np.asarray(atoms.cell)}\nand\n{np.asarray(other)} Angstrom."
            )

    def values(state: SCFResult | DensityRecord) -> NDArray[np.float64]:
        plain = state if isinstance(state, DensityRecord) else state.detach()
        density = density_part(plain, part).detach().cpu().numpy() / Bohr**3
        return density_slice(density, origin, first, second, npoints)

    shown = values(result) if reference is None else values(result) - values(reference)
    ax = axes_or_new(ax, 5.4, 4.2)
    what = "density" if part == "total" else "magnetisation"
    what = f"{part} density" if part in ("up", "down") else what
    signed = reference is not None or part == "magnetization"
    largest = float(np.abs(shown).max()) or 1.0
    scale = {"vmin": -largest, "vmax": largest, "cmap": "PuOr"} if signed else {"cmap": "cividis"}
    plane = _Plane(np.asarray(atoms.cell), origin, first, second)
    x, y = plane.points(npoints)
    mesh = ax.pcolormesh(x, y, shown, shading="gouraud", rasterized=True, **scale)
    for symbol, position in plane.atoms_in(atoms):
        ax.plot(
            *position, ls="none", marker="o", mfc="white", mec="black", ms=5, mew=0.8, clip_on=False
        )
        # Towards the middle, so that the names of atoms at corners stay inside.
        right, low = position[0] > x.mean(), position[1] < y.mean()
        name = ax.annotate(
            symbol,
            position,
            (-6 if right else 6, 5 if low else -5),
            textcoords="offset points",
            fontsize="small",
            ha="right" if right else "left",
            va="bottom" if low else "top",
        )
        name.set_bbox({"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.8})
    label = f"difference of the {what}" if reference is not None else what
    ax.figure.colorbar(mesh, ax=ax, label=f"{label} (1/Å$^3$)")
    ax.set(aspect="equal", xlabel="position (Å)", ylabel="position (Å)")
    if title:
        ax.set_title(title)
    save(ax.figure, path)
    return ax


class _Plane:
    """A parallelogram in the crystal, and Cartesian coordinates in it (Angstrom)."""

    def __init__(self, cell: NDArray[np.float64], *vectors: Sequence[float]) -> None:
        self.origin, u, v = (np.asarray(vector, dtype=np.float64) @ cell for vector in vectors)
        x = u / np.linalg.norm(u)
        y = v - (v @ x) * x
        self.sides = np.stack([u, v])
        self.axes = np.stack([x, y / np.linalg.norm(y)])

    def points(self, npoints: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates of the points, two arrays (npoints, npoints)."""
        steps = np.linspace(0.0, 1.0, npoints)
        a, b = np.meshgrid(steps, steps, indexing="ij")
        (ux, uy), (vx, vy) = self.sides @ self.axes.T
        return a * ux + b * vx, a * uy + b * vy

    def atoms_in(self, atoms: Any) -> list[tuple[str, tuple[float, float]]]:
        """Symbols and coordinates of the atoms, and of their images, that lie in it."""
        far = np.abs(self.sides).sum() + np.abs(self.origin).sum()
        reach = 1 + np.ceil(far * np.linalg.norm(np.linalg.inv(atoms.cell), axis=0)).astype(int)
        shifts = np.stack(
            np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1
        ).reshape(-1, 3)
        found = []
        for symbol, position in zip(atoms.symbols, atoms.positions, strict=True):
            relative = position - self.origin + shifts @ np.asarray(atoms.cell)
            inside = relative @ self.axes.T
            height = np.linalg.norm(relative - inside @ self.axes, axis=1)
            parts = inside @ np.linalg.inv(self.sides @ self.axes.T)
            there = (height < _IN_PLANE) & ((parts > -1e-6) & (parts < 1 + 1e-6)).all(1)
            found += [(str(symbol), (float(x), float(y))) for x, y in inside[there]]
        return found
