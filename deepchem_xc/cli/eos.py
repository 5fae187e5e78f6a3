"""Implementation of `deepchem-xc eos`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from deepchem_xc.parallel import Jobs
    from deepchem_xc.planewave.properties.volume_points import VolumePoint
    from deepchem_xc.planewave.properties.volume_scan import EquationOfState


def compute_curve(
    atoms: Atoms,
    keywords: dict[str, Any],
    strain: float,
    points: int,
    layer: bool,
    jobs: Jobs | None = None,
    keep_in: Path | None = None,
) -> EquationOfState:
    """Compute energies at scaled volumes, or areas, with a progress bar, and fit them.

    Parameters
    ----------
    atoms : Atoms
        Structure at the middle of the range.
    keywords : dict
        Keywords of `planewave.equation_of_state`.
    strain : float
        Half the relative range of volumes.
    points : int
        Number of volumes.
    layer : bool
        Scale only the first two lattice vectors.
    jobs : int, str or distributed.Client, optional
        Compute volumes side by side, as in `planewave.equation_of_state`.
    keep_in : Path, optional
        Folder that keeps finished volumes.

    Raises
    ------
    Exception
        Any error of a volume, after the finished points were printed.
    """
    from tqdm import tqdm

    from deepchem_xc.eos.fits import MINIMUM_POINTS
    from deepchem_xc.planewave import equation_of_state

    if not 0 < strain < 0.5:
        raise ValueError(f"strain must be between 0 and 0.5, got {strain}.")
    if points < MINIMUM_POINTS:
        raise ValueError(f"points must be at least {MINIMUM_POINTS}, got {points}.")
    done: list[VolumePoint] = []
    with tqdm(total=points, unit="volume", leave=False) as bar:

        def finished(point: VolumePoint) -> None:
            done.append(point)
            bar.update()

        try:
            return equation_of_state(
                atoms,
                **keywords,
                scales=np.linspace(1 - strain, 1 + strain, points).tolist(),
                dimension=2 if layer else 3,
                callback=finished,
                jobs=jobs,
                keep_in=keep_in,
            )
        except (Exception, KeyboardInterrupt):
            bar.close()
            if done:
                _print_points(sorted(done, key=lambda point: point.size), layer)
            raise


def as_json(curve: EquationOfState) -> dict[str, Any]:
    """Content of the JSON file: the curve, and the units of its numbers."""
    layer = curve.dimension == 2
    units = {
        "size": "Angstrom^2" if layer else "Angstrom^3",
        "energy": "eV per cell, extrapolated to zero width",
        "free_energy": "eV per cell",
        "magnetic_moment": "mu_B per cell",
        "modulus": "N/m" if layer else "GPa",
        "lattice_constants": "Angstrom and degrees",
    }
    return {"units": units, **curve.todict()}


def print_curve(curve: EquationOfState) -> None:
    """Print points, fit and lattice constants.

    Raises
    ------
    NoMinimumError
        After the points, if they do not enclose a minimum.
    """
    from deepchem_xc.eos.fits import NoMinimumError

    echo = typer.echo
    layer = curve.dimension == 2
    unit = "Angstrom^2" if layer else "Angstrom^3"
    _print_points(curve.points, layer)
    try:
        fit = curve.fit
    except NoMinimumError as error:
        raise NoMinimumError(
            f"{error} --strain sets the range of volumes, the structure its middle."
        ) from error
    echo(f"\nMinimum       {fit.energy:.6f} eV at {fit.size:.5f} {unit}")
    constants = ", ".join(f"{key} = {value:.4f}" for key, value in curve.lattice_constants.items())
    echo(f"Lattice       {constants} (Angstrom, degrees)")
    modulus, unit = ("Layer modulus", "N/m") if layer else ("Bulk modulus", "GPa")
    echo(f"{modulus:<13} {fit.modulus:.2f} {unit}, its derivative {fit.derivative:.2f}")
    echo(f"Fit's error   {1e3 * fit.residual:.3f} meV (root mean square)")


def _print_points(points: Sequence[VolumePoint], layer: bool) -> None:
    size = "area (Angstrom^2)" if layer else "volume (Angstrom^3)"
    rows = [
        [f"{point.size:.5f}", f"{point.energy:.6f}", f"{point.magnetic_moment:.4f}"]
        for point in points
    ]
    typer.echo(as_table(rows, [size, "energy (eV)", "moment (mu_B)"], left=0))
