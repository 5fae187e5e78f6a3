"""Energies, forces and states of silicon's allotropes at predicted densities, without a loop."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree
from density_models_errors import paths_of, results
from density_models_plan import Training
from density_models_training import Data, model_file

from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, non_self_consistent
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.without_loop import InaccurateDensityWarning
from deepchem_xc.store import Store

#: Name of the calculations at converged densities, which are the reference.
CONVERGED = "converged"
#: States up to here above the Fermi level are compared, eV.
WINDOW = 2.0


class Superposed:
    """The density of superposed atoms, as a model."""

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Their sum on the plane waves of the problem."""
        return Fields(problem.superposition())


def states(structure: Any, density: Any, forces: bool = True) -> dict[str, Any]:
    """Energies (eV), forces (eV/Angstrom), eigenvalues and gap (eV) at a given density.

    Parameters
    ----------
    structure : DensityStructure
        The crystal, and how it is computed.
    density : DensitySource
        A model or a record.
    forces : bool
        Whether to compute forces.
    """
    began = time.process_time()
    keywords = dict(structure.keywords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InaccurateDensityWarning)  # this is what is measured
        result = non_self_consistent(structure.atoms, "PBE", density=density, **keywords)
    levels = result.eigenvalues.numpy() * Hartree
    return {
        "natom": len(structure.atoms),
        "free_energy": float(result.free_energy) * Hartree,
        "kohn_sham_free_energy": float(result.kohn_sham_free_energy) * Hartree,
        "forces": (result.forces.numpy() * Hartree / Bohr).tolist() if forces else None,
        "fermi_level": float(result.fermi_level) * Hartree,
        # Of each k-point the highest band may be unconverged.
        "eigenvalues": levels[..., :-1].tolist(),
        "gap": float(result.band_gap) * Hartree,
        "density_error": result.density_error,
        "cpu_seconds": time.process_time() - began,
    }


def errors(found: dict[str, Any], converged: dict[str, Any]) -> dict[str, float | None]:
    """Errors against the converged density.

    Returns
    -------
    dict
        Signed free energies of Harris and Foulkes, and of Kohn and Sham (meV/atom); largest force
        on an atom that is wrong (meV/Angstrom); gap (meV, None for metals); mean and largest
        error of the states below the Fermi level plus `WINDOW`, each relative to its own Fermi
        level (meV).
    """
    natom = converged["natom"]
    exact = converged["free_energy"]
    number = min(np.shape(one["eigenvalues"])[-1] for one in (found, converged))
    levels, reference = (
        np.array(one["eigenvalues"])[..., :number] - one["fermi_level"]
        for one in (found, converged)
    )
    compared = 1e3 * np.abs(levels - reference)[reference < WINDOW]
    forces = np.array(found["forces"]) - np.array(converged["forces"])
    return {
        "free_energy": 1e3 * (found["free_energy"] - exact) / natom,
        "kohn_sham_free_energy": 1e3 * (found["kohn_sham_free_energy"] - exact) / natom,
        "forces": 1e3 * float(np.linalg.norm(forces, axis=-1).max()),
        "gap": 1e3 * (found["gap"] - converged["gap"]) if converged["gap"] > 0.0 else None,
        "bands_mean": float(compared.mean()),
        "bands": float(compared.max()),
    }


def evaluate(training: Training | str, data: Data, output: Path, deadline: float) -> bool:
    """All test structures of a set at the densities of a model, of atoms, or at converged ones.

    Parameters
    ----------
    training : Training or str
        A finished training, or the name of a set: its superposed atoms.
    data, output, deadline
        As for `density_models_training.train`. ``energies/NAME/STRUCTURE.json`` gets the results,
        and ``energies/SET-converged/`` those at converged densities.

    Returns
    -------
    bool
        Whether all are there.
    """
    name = training if isinstance(training, str) else training.set
    store, identity, label = results(training, data, output, "energies")
    if store is None:
        return False
    exact = converged_store(name, data, output)
    model: Any = None
    for structure, path in paths_of(data, name).items():
        given = data.structures(name, "test")[structure]
        for one, place, source in ((given.digest, exact, None), (identity, store, training)):
            if place.read(path.stem, model=one) is not None:
                continue
            if time.monotonic() > deadline:
                return False
            if source is None:
                found = _at_converged(given, data.records(name, "test")[structure])
            else:
                model = model or _source(training, output)
                found = states(given, model)
            place.write(path.stem, {"model": one, "structure": structure, **found})
            print(f"{'converged' if source is None else label}, {structure}", flush=True)
    return True


def converged_store(name: str, data: Data, output: Path) -> Store:
    """Where the calculations at converged densities are."""
    quick = "quick-" if data.quick else ""
    return Store(output / "energies" / f"{quick}{name}-{CONVERGED}")


def _at_converged(structure: Any, record: DensityRecord) -> dict[str, Any]:
    """States at the converged density, with the free energy and forces of the loop."""
    found = states(structure, record, forces=False)
    assert record.free_energy is not None and record.forces is not None
    found["free_energy"] = record.free_energy * Hartree
    found["forces"] = (np.array(record.forces) * Hartree / Bohr).tolist()
    return found


def _source(training: Training | str, output: Path) -> Any:
    if isinstance(training, str):
        return Superposed()
    return DensityModel.load(model_file(output, training), progress=False)
