"""Results on the command line: dictionaries in ASE's units, and their text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from ase.spectrum.band_structure import BandStructure

    from deepchem_xc.planewave import SCFResult

UNITS = {
    "energies": "eV per cell",
    "eigenvalues": "eV",
    "fermi_level": "eV",
    "band_gap": "eV",
    "magnetic_moment": "mu_B per cell",
    "atom_moments": "mu_B, one for each atom",
    "dipole": "e Angstrom; null where electrons fill the cell",
    "forces": "eV/Angstrom",
    "stress": "GPa; positive under tension",
    "volume": "Angstrom^3",
    "area": "Angstrom^2",
}


def print_steps(quiet: bool) -> Callable[[dict[str, float]], None] | None:
    """Return a callback that prints the steps of a self-consistency loop to standard error."""
    if quiet:
        return None
    from ase.units import Hartree

    def show(record: dict[str, float]) -> None:
        if record["step"] == 1:
            typer.echo("step      energy (eV)   density error   orbital error (eV)", err=True)
        moment = f"   {record['moment']:+.3f} mu_B" if "moment" in record else ""
        typer.echo(
            f"{record['step']:4.0f} {record['energy'] * Hartree:16.7f}   "
            f"{record['density_error']:13.2e}   {record['orbital_error'] * Hartree:18.2e}{moment}",
            err=True,
        )

    return show


def ground_state(result: SCFResult) -> dict[str, Any]:
    """Numbers of a ground state, in `UNITS`."""
    from ase.units import Bohr, GPa, Hartree

    result = result.detach()
    basis = result.basis
    values: dict[str, Any] = {
        "formula": str(basis.crystal.to_ase().symbols),
        "volume": float(basis.volume) * Bohr**3,
        "steps": result.nsteps,
        "irreducible_kpoints": basis.nk,
        "plane_waves": basis.npw,
        "bands": result.eigenvalues.shape[2],
        "fft_size": list(basis.fft_size),
        "energies": {name: float(term) * Hartree for name, term in result.energies.items()},
        "fermi_level": _fermi_level(result),
        "magnetic_moment": float(result.magnetic_moment),
        "atom_moments": result.atom_moments.tolist(),
        "dipole": _dipole(result),
        "forces": (result.forces * Hartree / Bohr).tolist(),
        "stress": (result.stress * Hartree / Bohr**3 / GPa).tolist(),
        "eigenvalues": (result.eigenvalues * Hartree).tolist(),
        "occupations": result.occupations.tolist(),
        "kpoints": basis.kpoints.coordinates.tolist(),
        "weights": result.weights.tolist(),
    }
    values["energies"]["extrapolated"] = float(result.extrapolated_energy) * Hartree
    has_empty = bool((result.occupations <= 1.0 / result.problem.nspin).any())
    values["band_gap"] = float(result.band_gap) * Hartree if has_empty else None
    return values


def _fermi_level(result: SCFResult) -> float | None | list[float | None]:
    """Fermi level or levels, eV; None for a channel without electrons."""
    from ase.units import Hartree

    levels = (result.fermi_level * Hartree).reshape(-1).tolist()
    known = [level if math.isfinite(level) else None for level in levels]
    return known if len(known) == 2 else known[0]


def _dipole(result: SCFResult) -> list[float | None]:
    """Dipole moment, e Angstrom; None for undefined components."""
    from ase.units import Bohr

    from deepchem_xc.planewave.observables.dipole import UndefinedDipoleError

    try:
        components = (result.dipole * Bohr).tolist()
    except UndefinedDipoleError:
        return [None, None, None]
    return [x if math.isfinite(x) else None for x in components]


def print_ground_state(values: dict[str, Any], symbols: list[str]) -> None:
    """Print what `ground_state` returns."""
    echo = typer.echo
    echo(f"{values['formula']}: volume {values['volume']:.4f} Angstrom^3")
    echo(
        f"{values['irreducible_kpoints']} k-points, up to {values['plane_waves']} plane waves, "
        f"{values['bands']} bands, grid {'x'.join(map(str, values['fft_size']))}; "
        f"converged in {values['steps']} steps"
    )
    echo("\nEnergy (eV per cell)")
    energies = [[name, f"{energy:.6f}"] for name, energy in values["energies"].items()]
    echo(as_table(energies, indent="  "))
    fermi = values["fermi_level"]
    levels = fermi if isinstance(fermi, list) else [fermi]
    shown = ["none" if level is None else f"{level:.4f} eV" for level in levels]
    spins = [" (up)", " (down)"] if len(levels) == 2 else [""]
    echo(f"\nFermi level   {', '.join(a + b for a, b in zip(shown, spins))}")
    if values["band_gap"] is not None:
        echo(f"Band gap      {values['band_gap']:.4f} eV (on these k-points)")
    echo(f"Moment        {values['magnetic_moment']:.4f} mu_B per cell")
    if any(x is not None for x in values["dipole"]):
        shown = ["undefined" if x is None else f"{x:.4f}" for x in values["dipole"]]
        echo(f"Dipole        {', '.join(shown)} e Angstrom")
    moments = values["atom_moments"]
    if any(abs(moment) > 5e-5 for moment in moments):
        echo("\nMoments of the atoms (mu_B)")
        echo(by_atom(symbols, [[moment] for moment in moments]))
    echo("\nForces (eV/Angstrom)")
    echo(by_atom(symbols, values["forces"]))
    echo("\nStress (GPa, positive under tension)")
    stress = [[f"{s:.4f}" for s in row] for row in values["stress"]]
    echo(as_table(stress, left=0, indent="  "))
    pressure = -sum(values["stress"][i][i] for i in range(3)) / 3
    echo(f"Pressure      {pressure:.4f} GPa")


def by_atom(symbols: list[str], vectors: list[list[float]]) -> str:
    """Table with index, symbol and one or more numbers for each atom."""
    rows = [
        [f"{index}", symbol, *(f"{x:.5f}" for x in vector)]
        for index, (symbol, vector) in enumerate(zip(symbols, vectors))
    ]
    return as_table(rows, left=2, indent="  ")


def band_values(bands: BandStructure) -> dict[str, Any]:
    """Content of the JSON file of bands: energies in eV, k-points in reduced coordinates.

    ``special_points`` holds name, index and distance of each named k-point, in the order of the
    path; ``breaks`` holds the indices of k-points that are not connected to the next one.
    """
    from deepchem_xc.planewave.properties.band_path import path_axis

    axis = path_axis(bands.path)
    return {
        "units": {
            "energies": "eV",
            "reference": "eV",
            "kpoints": "reduced coordinates",
            "distances": "1/Angstrom, 2 pi included",
        },
        "path": bands.path.path,
        "special_points": [
            {"label": name, "index": index, "distance": float(axis.distances[index])}
            for index, name in axis.points
        ],
        "breaks": list(axis.breaks),
        "distances": axis.distances.tolist(),
        "kpoints": bands.path.kpts.tolist(),
        "reference": float(bands.reference),
        "energies": bands.energies.tolist(),
    }


def print_bands(values: dict[str, Any], title: str) -> None:
    """Print the bands of `band_values` at the special points."""
    energies, reference = values["energies"], values["reference"]
    typer.echo(f"{title}: Fermi level {reference:.4f} eV; path {values['path']}")
    typer.echo("Eigenvalues at the special points, eV from the Fermi level")
    rows = []
    for point in values["special_points"]:
        for spin, channel in enumerate(energies):
            name = [f"spin {spin}"] if len(energies) == 2 else []
            levels = [f"{level - reference:.3f}" for level in channel[point["index"]]]
            rows.append([point["label"], *name, *levels])
        if point["index"] in values["breaks"]:
            rows.append([""] * len(rows[0]))
    typer.echo(as_table(rows, left=len(energies), indent="  "))
