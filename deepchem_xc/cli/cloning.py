"""Implementation of `deepchem-xc clone`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import typer

from deepchem_xc._files import write_json
from deepchem_xc.cli.options import say
from deepchem_xc.tables import as_table

# Points of a molecule, and steps, of a quick clone.
_QUICK_POINTS, _QUICK_STEPS = 200, 1000
# A molecule that tests a quick clone.
_QUICK_HELD_OUT = ("C2H2",)


def run_cloning(
    parent: str,
    output: Path,
    *,
    student: str,
    quick: bool,
    steps: int | None,
    points: int | None,
    sampling: str,
    uniform: int,
    energy_weight: float,
    polish: int,
    seed: int,
    compare: bool,
    data_dir: Path | None,
    results: Path | None,
    fresh: bool,
) -> None:
    """Train a clone, write it to a file, and compare its energies with the parent's.

    Checkpoints are in the folder ``<output>.checkpoints``; its files belong to one training.

    Parameters
    ----------
    parent, student, steps, seed
        As for `FunctionalCloning`; a quick clone has few steps by default.
    energy_weight : float
        As for `train_clone`.
    output : Path
        File of the clone.
    quick : bool
        Few molecules and points.
    points, sampling, uniform, data_dir
        As for `clone_dataset` and `parent_densities`.
    polish : int
        Steps of Levenberg-Marquardt after the training.
    compare : bool
        Whether energies of molecules that were not sampled are computed.
    results : Path or None
        JSON file of errors.
    fresh : bool
        Start again, whatever the folder holds.
    """
    from deepchem_xc import cloning
    from deepchem_xc.xc import get_xc

    sampled = cloning.QUICK if quick else cloning.SAMPLED
    steps = steps or (_QUICK_STEPS if quick else 20_000)
    points = points or (_QUICK_POINTS if quick else 800)
    folder = output.with_name(f"{output.name}.checkpoints")
    if fresh and folder.exists():
        shutil.rmtree(folder)
    # Refuses parents and students before densities are computed.
    cloning.FunctionalCloning(parent, student)
    kept = cloning.parent_densities(parent, sampled, data_dir)
    dataset = cloning.clone_dataset(kept, points, sampling=sampling, uniform=uniform)
    options: dict[str, Any] = {}
    if energy_weight > 0.0:
        free = cloning.parent_densities(parent, cloning.free_atoms(sampled), data_dir)
        options["energies"] = cloning.KeptEnergies(get_xc(parent), [*kept, *free])
        options["energy_weight"] = energy_weight
    added = f" and {uniform} of none" if uniform else ""
    say(f"{len(dataset) - uniform} points of {len(kept)} molecules{added}, {steps} steps")
    try:
        model = cloning.train_clone(
            parent,
            dataset,
            folder,
            student=student,
            steps=steps,
            polish=polish,
            seed=seed,
            **options,
        )
    except KeyboardInterrupt:
        if any(folder.rglob("*.pt")):
            say(f"checkpoints are kept in {folder}; the same command resumes from there")
        raise
    clone = model.functional
    clone.save(output)
    errors = model.evaluate(dataset)
    found: dict[str, Any] = {
        "parent": parent,
        "points": cloning.dataset_digest(dataset),
        "factor_errors": errors,
    }
    typer.echo(
        f"root mean square error of F_x {errors['exchange']:.2e}, F_c {errors['correlation']:.2e}"
    )
    if compare:
        names = _QUICK_HELD_OUT if quick else cloning.HELD_OUT
        energies = cloning.compare_energies(clone, parent, names, data_dir)
        rows = [[name, f"{error:.3f}", ""] for name, error in energies.atoms.items()]
        rows += [
            [name, f"{error:.3f}", f"{energies.atomisation[name]:.3f}"]
            for name, error in energies.molecules.items()
        ]
        header = ["clone less parent", "total energy (mHa)", "atomisation (kcal/mol)"]
        typer.echo(as_table(rows, header))
        found["energy_errors"] = {
            "atoms_mHa": energies.atoms,
            "molecules_mHa": energies.molecules,
            "atomisation_kcal_per_mol": energies.atomisation,
        }
    if results is not None:
        write_json(results, found)
    typer.echo(f"Written: {output}")
