"""Results of molecules on the command line: a dictionary in ASE's units, and its text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from ase import Atoms
from ase.units import Bohr, Debye, Hartree

from deepchem_xc.cli.results import by_atom
from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from deepchem_xc.gaussian import MolecularResult

UNITS = {
    "charge": "e",
    "energies": "eV",
    "eigenvalues": "eV",
    "homo": "eV, one for each spin; null without a filled level",
    "lumo": "eV, one for each spin; null without an empty level",
    "band_gap": "eV; null without an empty level",
    "magnetic_moment": "mu_B",
    "dipole": "e Angstrom, from negative to positive charge; of ions, from the origin",
    "forces": "eV/Angstrom",
    "curvatures": "eV",
}


def print_steps(quiet: bool) -> Callable[[dict[str, float]], None] | None:
    """Return a callback that prints the steps of the loop to standard error."""
    if quiet:
        return None

    def show(record: dict[str, float]) -> None:
        if record["step"] == 1:
            typer.echo("step        energy (eV)   change (eV)   commutator (eV)", err=True)
        change = record["energy_change"] * Hartree
        shown = f"{change:13.2e}" if math.isfinite(change) else " " * 13
        typer.echo(
            f"{record['step']:4.0f} {record['energy'] * Hartree:18.7f} {shown}   "
            f"{record['commutator'] * Hartree:15.2e}",
            err=True,
        )

    return show


def molecular_state(
    result: MolecularResult, *, forces: bool = False, stability: bool = False
) -> dict[str, Any]:
    """Numbers of a ground state, in `UNITS`.

    Parameters
    ----------
    result : MolecularResult
        Any; without smearing if `stability` is asked for.
    forces, stability : bool, optional
        What is computed in addition.
    """
    result = result.detach()
    molecule = result.molecule
    frontier = (result.frontier_levels * Hartree).T.tolist()
    homo, lumo = ([x if math.isfinite(x) else None for x in levels] for levels in frontier)
    values: dict[str, Any] = {
        "formula": Atoms(molecule.symbols).get_chemical_formula(),
        "charge": molecule.charge,
        "electrons": sum(molecule.nelectrons),
        "orbitals": result.problem.kind,
        "basis_functions": molecule.norbital,
        "points": len(result.weights),
        "steps": result.nsteps,
        "energies": {name: float(term) * Hartree for name, term in result.energies.items()},
        "homo": homo,
        "lumo": lumo,
        "band_gap": None if None in lumo else float(result.band_gap) * Hartree,
        "magnetic_moment": float(result.magnetic_moment),
        "dipole": (result.dipole * Bohr).tolist(),
        "eigenvalues": (result.eigenvalues * Hartree).tolist(),
        "occupations": result.occupations.tolist(),
    }
    values["energies"]["extrapolated"] = float(result.extrapolated_energy) * Hartree
    if forces:
        values["forces"] = (result.forces * Hartree / Bohr).tolist()
    if stability:
        found = result.stability()
        curvatures = {"same_kind": found.internal.value * Hartree}
        if found.unrestricted is not None:
            curvatures["unrestricted"] = found.unrestricted.value * Hartree
        values["stability"] = {"is_stable": found.is_stable, "curvatures": curvatures}
    return values


def print_state(values: dict[str, Any], symbols: list[str]) -> None:
    """Print what `molecular_state` returns."""
    echo = typer.echo
    charge = f", charge {values['charge']:+d}" if values["charge"] else ""
    echo(
        f"{values['formula']}{charge}: {values['electrons']} electrons, {values['orbitals']}; "
        f"{values['basis_functions']} basis functions, {values['points']} points; converged in "
        f"{values['steps']} steps"
    )
    echo("\nEnergy (eV)")
    energies = [[name, f"{energy:.6f}"] for name, energy in values["energies"].items()]
    echo(as_table(energies, indent="  "))
    echo(f"\nHOMO          {_by_spin(values['homo'])}")
    echo(f"LUMO          {_by_spin(values['lumo'])}")
    if values["band_gap"] is not None:
        echo(f"Gap           {values['band_gap']:.4f} eV")
    echo(f"Moment        {values['magnetic_moment']:.0f} mu_B")
    size = math.hypot(*values["dipole"])
    origin = "; from the origin" if values["charge"] else ""
    dipole = ", ".join(f"{round(x, 5) + 0.0:.5f}" for x in values["dipole"])
    echo(f"Dipole        {dipole} e Angstrom ({size / Debye:.4f} debye{origin})")
    if "stability" in values:
        echo(f"Stability     {_stability(values['stability'])}")
    if "forces" in values:
        echo("\nForces (eV/Angstrom)")
        echo(by_atom(symbols, values["forces"]))


def _by_spin(levels: list[float | None]) -> str:
    shown = ["none" if level is None else f"{level:.4f} eV" for level in levels]
    return shown[0] if len(shown) == 1 else f"{shown[0]} (up), {shown[1]} (down)"


def _stability(found: dict[str, Any]) -> str:
    curvatures = found["curvatures"]
    text = f"lowest curvature {curvatures['same_kind']:.4f} eV"
    if "unrestricted" in curvatures:
        text += f", with a set of orbitals for each spin {curvatures['unrestricted']:.4f} eV"
    if found["is_stable"]:
        return f"a minimum: {text}"
    return (
        f"not a minimum: {text}. In Python, start=result.stability().internal.density or "
        ".unrestricted.density leads to a lower energy (docs/molecules.md)."
    )
