"""Errors of trained networks, and of superposed atoms, on unseen structures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from density_models_plan import Training
from density_models_training import Data, model_file, trained

from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor, ProbeDensityNetwork
from deepchem_xc.densities.files import valences_of
from deepchem_xc.densities.references import Reference
from deepchem_xc.models import DensityModel
from deepchem_xc.molnet import DensitySet
from deepchem_xc.planewave import DensityRecord
from deepchem_xc.store import Store

#: Name of the superposition of atoms among the models.
ATOMS = "superposition"
#: Points of each structure that parity is drawn with.
_SAMPLE = 200


def superposed(name: str) -> DensityPredictor:
    """A predictor that knows the atoms of a set, for `DensityPredictor.superposed`."""
    structures = list(DensitySet.read(name).structures.values())
    elements = sorted({s for one in structures for s in one.atoms.get_chemical_symbols()})
    (given,) = {str(one.keywords.get("pseudopotentials")) for one in structures}
    spin = any(one.atoms.get_initial_magnetic_moments().any() for one in structures)
    valences = valences_of(given, elements)
    # The network itself is never asked: "total" makes the density the reference, below.
    smallest = AtomDensityNetwork(valences, "total", spin, channels=1, l_max=1, l_density=1)
    return DensityPredictor(smallest, given)


@torch.no_grad()
def error_of(predictor: DensityPredictor, record: DensityRecord, atoms: bool) -> dict[str, Any]:
    """Error of one structure.

    Parameters
    ----------
    predictor : DensityPredictor
        The network.
    record : DensityRecord
        The converged density.
    atoms : bool
        Superposed atoms instead of the prediction.

    Returns
    -------
    dict
        Per cent of the electrons: ``error`` of the density that calculations get, and for points
        ``published``, of the network's own, with ``electrons`` that it has too many. ``sample`` has
        converged and predicted difference from superposed atoms at points, bohr^-3.
    """
    reference = Reference.of(predictor, record)
    basis, network = reference.basis, predictor.network
    found: dict[str, Any] = {}
    change: torch.Tensor
    if atoms:
        total = predictor.superposed(record).on(basis).fields.density.sum(0)
        change = basis.to_grid(total - record.on(basis).fields.density.sum(0))
    elif isinstance(network, ProbeDensityNetwork):
        own = network.on_grid(basis, [reference.neighbours]).sum(0)
        own = own - basis.to_grid(reference.wanted.sum(0))
        found["electrons"] = float(own.mean() * basis.volume)
        found["published"] = _per_cent(own, reference)
        change = basis.to_grid(basis.to_sphere(own - own.mean()))
    else:
        (density,) = network.densities([basis], [reference.neighbours])
        wrong = (density - reference.wanted).sum(0)
        found["electrons"] = float(wrong[0].real * basis.volume)
        change = basis.to_grid(wrong)
    found["error"] = _per_cent(change, reference)
    found["sample"] = _sample(predictor, record, reference, change)
    return found


def _per_cent(change: torch.Tensor, reference: Reference) -> float:
    return 100.0 * float(change.abs().mean() * reference.basis.volume) / reference.electrons


def _sample(
    predictor: DensityPredictor, record: DensityRecord, reference: Reference, change: torch.Tensor
) -> list[list[float]]:
    basis = reference.basis
    atoms = predictor.superposed(record).on(basis).fields.density
    bonding = basis.to_grid((record.on(basis).fields.density - atoms).sum(0)).flatten()
    places = np.random.default_rng(0).integers(len(bonding), size=_SAMPLE)
    pairs = torch.stack([bonding, bonding + change.flatten()], -1)[places]
    return [[float(f"{value:.4g}") for value in pair] for pair in pairs.tolist()]


def evaluate(training: Training | str, data: Data, output: Path, deadline: float) -> bool:
    """Errors of all test structures of a training's set, or of superposed atoms.

    Parameters
    ----------
    training : Training or str
        A finished training, or the name of a set: its superposed atoms.
    data, output, deadline
        As for `density_models_training.train`. ``errors/NAME/STRUCTURE.json`` gets the results.

    Returns
    -------
    bool
        Whether all are there.
    """
    name = training if isinstance(training, str) else training.set
    store, identity, label = results(training, data, output, "errors")
    if store is None:
        return False
    missing = [
        (path.stem, structure)
        for structure, path in paths_of(data, name).items()
        if store.read(path.stem, model=identity) is None
    ]
    if not missing:
        return True
    if isinstance(training, str):
        predictor = superposed(name)
    else:
        predictor = DensityModel.load(model_file(output, training), progress=False).predictor
    for stem, structure in missing:
        if time.monotonic() > deadline:
            return False
        began = time.process_time()
        record = data.records(name, "test")[structure]
        found = error_of(predictor, record, isinstance(training, str))
        store.write(
            stem,
            {
                "model": identity,
                "structure": structure,
                "elements": sorted(record.crystal.species),
                "natom": record.crystal.natom,
                "cpu_seconds": time.process_time() - began,
                **found,
            },
        )
        print(f"{label}, {structure}: {found['error']:.3g} %", flush=True)
    return True


def paths_of(data: Data, name: str) -> dict[str, Path]:
    """Files of the test densities of a set, there or not, small structures first."""
    structures = data.structures(name, "test")
    order = sorted(structures, key=lambda key: len(structures[key].atoms))
    return {key: data.path(name, key) for key in order}


def results(
    training: Training | str, data: Data, output: Path, kind: str
) -> tuple[Store | None, str, str]:
    """Where results of a model are kept, the hash they belong to, and its name.

    Without a finished training there is no place.
    """
    if isinstance(training, str):
        label = f"{'quick-' if data.quick else ''}{training}-{ATOMS}"
        return Store(output / kind / label), data.digest(training, "test")[:16], label
    record = trained(output, data, training)
    if record is None:
        return None, "", training.name
    identity = record["model"][:16] + data.digest(training.set, "test")[:16]
    return Store(output / kind / training.name), identity, training.name
