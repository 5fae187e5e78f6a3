"""The equation of state behind `deepchem-xc eos`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from ase import Atoms

    from deepchem_xc.planewave.eos import EquationOfStateFit


def strained(atoms: Atoms, scale: float, layer: bool) -> Atoms:
    """Atoms with their volume, or with `layer` the area of the first two vectors, scaled."""
    atoms = atoms.copy()
    factors = [scale**0.5, scale**0.5, 1.0] if layer else [scale ** (1 / 3)] * 3
    atoms.set_cell(np.asarray(atoms.cell) * np.array(factors)[:, None], scale_atoms=True)
    return atoms


def size_of(atoms: Atoms, layer: bool) -> float:
    """Volume (Angstrom^3) or area of the first two vectors (Angstrom^2)."""
    if layer:
        return float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
    return float(atoms.get_volume())


def equation_of_state(
    atoms: Atoms, keywords: dict[str, Any], strain: float, points: int, layer: bool
) -> tuple[dict[str, Any], EquationOfStateFit]:
    """Compute and fit energies at scaled volumes, or areas.

    Parameters
    ----------
    atoms : Atoms
        The middle of the range.
    keywords : dict
        Of `scf`.
    strain : float
        Half the range.
    points : int
        Number of volumes.
    layer : bool
        Scale only the first two lattice vectors.
    """
    from ase.units import Hartree
    from tqdm import tqdm

    from deepchem_xc.planewave import scf
    from deepchem_xc.planewave.eos import MINIMUM_POINTS, fit_equation_of_state
    from deepchem_xc.planewave.inputs import make_basis

    if not 0 < strain < 0.5:
        raise ValueError(f"strain must be between 0 and 0.5, got {strain}.")
    if points < MINIMUM_POINTS:
        raise ValueError(f"an equation of state needs at least {MINIMUM_POINTS} points.")
    scales = np.linspace(1 - strain, 1 + strain, points)
    largest = strained(atoms, float(scales[-1]), layer)
    # Mesh and grid stay the same along the curve: a change would show as a jump in the energy.
    middle = make_basis(atoms, keywords["ecut"], keywords["kpts"])
    keywords = dict(keywords, kpts=fixed_mesh(keywords["kpts"], middle.kpoints.size))
    keywords["fft_size"] = make_basis(largest, keywords["ecut"]).fft_size
    rows = []
    previous = None
    for scale in tqdm(scales, unit="volume", leave=False):
        here = strained(atoms, float(scale), layer)
        result = previous = scf(here, **keywords, start=previous)
        rows.append(
            {
                "scale": float(scale),
                "area" if layer else "volume": size_of(here, layer),
                "energy": float(result.extrapolated_energy) * Hartree,
                "free_energy": float(result.free_energy) * Hartree,
                "magnetic_moment": float(result.magnetic_moment),
            }
        )
    key = "area" if layer else "volume"
    fit = fit_equation_of_state(
        [row[key] for row in rows], [row["energy"] for row in rows], dimension=2 if layer else 3
    )
    best = strained(atoms, fit.size / size_of(atoms, layer), layer)
    values = {
        "units": {
            "area": "Angstrom^2",
            "volume": "Angstrom^3",
            "energy": "eV per cell, extrapolated to zero width",
            "free_energy": "eV per cell",
            "magnetic_moment": "mu_B per cell",
            "modulus": "N/m" if layer else "GPa",
            "cell": "Angstrom and degrees",
        },
        "points": rows,
        "fit": {
            key: fit.size,
            "energy": fit.energy,
            "modulus": fit.modulus,
            "derivative": fit.derivative,
            "residual": fit.residual,
            "cell": best.cell.cellpar().tolist(),
        },
    }
    return values, fit


def fixed_mesh(kpts: dict[str, Any], size: tuple[int, ...] | None) -> dict[str, Any]:
    """Mesh of given size for a density of k-points that would change with the volume."""
    return kpts if size is None else {"size": tuple(size), "gamma": kpts["gamma"]}


def print_equation_of_state(values: dict[str, Any]) -> None:
    """Print what `equation_of_state` returns."""
    echo, fit = typer.echo, values["fit"]
    key, unit, modulus = (
        ("area", "Angstrom^2", "N/m") if "area" in fit else ("volume", "Angstrom^3", "GPa")
    )
    echo(f"{key + ' (' + unit + ')':>20} {'energy (eV)':>16} {'moment (mu_B)':>14}")
    for row in values["points"]:
        echo(f"{row[key]:20.5f} {row['energy']:16.6f} {row['magnetic_moment']:14.4f}")
    echo(f"\nMinimum       {fit['energy']:.6f} eV at {fit[key]:.5f} {unit}")
    lengths = ", ".join(f"{length:.4f}" for length in fit["cell"][:3])
    angles = ", ".join(f"{angle:.2f}" for angle in fit["cell"][3:])
    echo(f"Cell there    {lengths} Angstrom; {angles} degrees")
    name = "Layer modulus" if "area" in fit else "Bulk modulus"
    echo(f"{name:<13} {fit['modulus']:.2f} {modulus}, its derivative {fit['derivative']:.2f}")
    echo(f"Fit's error   {1e3 * fit['residual']:.3f} meV (root mean square)")
