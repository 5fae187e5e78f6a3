"""Learn from experiment: a functional for lattice constants, tested on crystals it has not seen.

    python benchmarks/experiment.py            # or: make experiment
    python benchmarks/experiment.py --seeds 0 1 2
    python benchmarks/experiment.py --potentials gth

A neural functional around PBE (`ConstrainedGGA(base="pbe")`) is trained on measured lattice
constants without zero-point expansion (data/experiment.json). The crystals are dealt into folds;
each fold's constants are computed, self-consistently, with a functional trained on the others.
Printed and written: errors of PBE, PBEsol and the trained functionals, one a seed. All use PBE's
datasets (PAW), or PBE's GTH potentials. Finished results are kept in the output folder, and the
same command resumes from there.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import deepchem_xc  # first: it keeps DeepChem's import notices quiet

# isort: split
import torch
from deepchem.data import NumpyDataset
from deepchem.models.losses import HuberLoss
from deepchem.models.optimizers import ExponentialDecay
from enhancement import factors
from experiment_crystals import (
    all_electron,
    cost_of,
    crystals,
    definition_of,
    entry_of,
    folds,
    kind_of,
)
from torch import Tensor
from tqdm import tqdm

from deepchem_xc._atomic import replacing
from deepchem_xc._files import write_json
from deepchem_xc.data import entry_arrays
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.losses.observables import lattice_constant
from deepchem_xc.models import XCModel
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.parallel import default_jobs, parallel_map
from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
from deepchem_xc.plotting import plot_lattice_errors, plot_training
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table
from deepchem_xc.xc import ConstrainedGGA, XCFunctional, get_xc
from deepchem_xc.xc.identity import name_or_content

FOLDS = 5
# Number of ranges of volumes that are searched for a minimum.
_SHIFTS = 4
#: Settings of the training: Huber's loss, a rate that is halved three times. ``prior``: see
#: `prior_of`. Two layers, the rate and the prior's weight were chosen by errors of the same folds,
#: with linear estimates of the lattice constants; three layers are 0.02 to 0.03 % worse.
HOW: dict[str, Any] = {
    "base": "pbe",
    "depth": 2,
    "epochs": 120,
    "rate": 0.03,
    "loss": "huber",
    "prior": {"weight": 0.1, "deviation": 0.05},
}
# Of the division into folds; the trainings have seeds of their own.
_FOLD_SEED = 0
#: Published mean absolute relative errors, for comparison.
YARDSTICKS = {
    "PBE with two parameters fitted by forward-mode derivatives (on four crystals)": 0.0073,
    "PBEsol": 0.0065,
}


def compute(name: str, xc: str, folder: Path, potentials: PotentialKind = "paw") -> dict[str, Any]:
    """Self-consistent lattice constant of one crystal; kept densities go into ``folder``.

    Parameters
    ----------
    name : str
        Name of the crystal.
    xc : str
        Functional, as for `get_xc`.
    folder : Path
        ``{name}.json`` and ``{name}.pt`` are written there, and read if they are there.
    potentials : "paw" or "gth", optional
        GPAW's datasets or GTH potentials.
    """
    store = Store(folder)
    key = _key(definition_of(name, potentials), name_or_content(xc))
    if (found := store.read(name, key=key)) is not None:
        return found
    # All functionals use PBE's datasets on purpose, so that only the functional differs.
    warnings.simplefilter("ignore", FunctionalMismatchWarning)
    began, cpu = time.perf_counter(), time.process_time()
    ground_states = GroundStates(get_xc(xc), interval=1, entropy_response=False)
    shift = 1.0
    for _ in range(_SHIFTS):
        entry = entry_of(name, potentials, shift)
        with torch.no_grad():
            energies = ground_states.energies(entry.calculations, epoch=0)
        lowest = int(energies.argmin())
        if 0 < lowest < len(energies) - 1:
            break
        # The minimum is beyond the lowest end, which becomes the middle of the next range.
        scales = entry.series.scales
        shift *= scales[lowest] / scales[len(scales) // 2]
    result = {
        "key": key,
        "a": float(lattice_constant(energies, entry.series)),
        "energies": energies.tolist(),
        "scales": list(entry.series.scales),
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    with replacing(folder / f"{name}.pt", "wb") as file:
        torch.save(ground_states.state_dict(), file)
    store.write(name, result)
    return result


def train(
    names: Sequence[str],
    densities: Path,
    output: Path,
    seed: int = 0,
    potentials: PotentialKind = "paw",
) -> None:
    """Train on crystals whose PBE densities are in a folder; these are kept throughout.

    Parameters
    ----------
    names : sequence of str
        Crystals.
    densities : Path
        Folder of PBE's `compute`.
    output : Path
        Folder for ``functional.safetensors``, and the loss as ``training.png``.
    seed : int, optional
        Of the network's initial weights.
    potentials : "paw" or "gth", optional
        GPAW's datasets or GTH potentials.
    """
    known = [(Store(densities).read(name) or {}).get("energies") for name in names]
    key = _key([definition_of(name, potentials) for name in names], known, HOW, seed)
    functional, store = output / "functional.safetensors", Store(output)
    if functional.exists() and store.read("training", key=key) is not None:
        return
    warnings.simplefilter("ignore", FunctionalMismatchWarning)
    entries = [entry_of(name, potentials) for name in names]
    model = XCModel(
        functional=ConstrainedGGA(base=HOW["base"], depth=HOW["depth"], seed=seed),
        loss=HuberLoss(),
        scf_interval=HOW["epochs"],
        on_failure="skip",  # a minimum may leave its range of volumes for some epochs
        batch_size=len(entries),
        learning_rate=ExponentialDecay(HOW["rate"], 0.5, HOW["epochs"] // 4),
        model_dir=str(output),
    )
    kept: dict[str, Any] = {}
    for name in names:
        kept |= torch.load(densities / f"{name}.pt", weights_only=True)
    model.ground_states.load_state_dict(kept)
    model.regularization_loss = prior_of(model.functional, **HOW["prior"])
    model.fit(NumpyDataset(*entry_arrays(entries)), nb_epoch=HOW["epochs"], checkpoint_interval=0)
    plot_training(model.history, output / "training.png")
    model.functional.save(functional)
    skipped = Counter(name for record in model.history for name in record.skipped)
    last = model.history[-1]
    if last.skipped:
        raise RuntimeError(f"training ended with no minimum for {', '.join(last.skipped)}")
    store.write("training", {"key": key, "loss": last.loss, "skipped": skipped})


def prior_of(functional: XCFunctional, weight: float, deviation: float) -> Callable[[], Tensor]:
    """Loss that keeps a functional near PBE and PBEsol where no crystal says anything.

    Lattice constants say little about reduced gradients and densities that their crystals do not
    have; there a network may do anything that its exact conditions allow. PBE and PBEsol are two
    such functionals, each the better one for some crystals. A functional before training is taken
    to differ, at any density, from the nearest mixture of the two by `deviation` of Slater's
    exchange, as one standard deviation; the mixture costs nothing. Wigner-Seitz radii are from 0.3
    to 8 bohr and reduced gradients up to 3.

    Parameters
    ----------
    weight : float
        Of the mean squared deviation in the loss, whose errors are in units of `UNIT`.
    deviation : float
        Half of the largest difference of PBE and PBEsol is 0.05.
    """
    radius = torch.logspace(math.log10(0.3), math.log10(8.0), 16, dtype=torch.float64)
    s = torch.linspace(0.1, 3.0, 15, dtype=torch.float64)
    radii, gradients = (x.flatten() for x in torch.meshgrid(radius, s, indexing="ij"))
    with torch.no_grad():
        pbe, pbesol = (
            factors(get_xc(xc), gradients, radii).view(16, 15) for xc in ("PBE", "PBEsol")
        )
        towards = torch.nn.functional.normalize(pbesol - pbe, dim=1)

    def loss() -> Tensor:
        found = factors(functional, gradients, radii).view(16, 15) - pbe
        beside = found - (found * towards).sum(1, keepdim=True) * towards
        return weight * (beside / deviation).square().mean()

    return loss


def _key(*parts: Any) -> str:
    """Short hash of everything a result depends on, so that results are not confused."""
    return digest([deepchem_xc.__version__, *parts])[:12]


def in_parallel(
    function: Callable[..., Any], calls: Mapping[str, Sequence[Any]], what: str, jobs: int
) -> dict[str, Any]:
    """Results by name, with a progress bar; the first call that fails ends the run."""
    found = {}
    with (
        tqdm(desc=what, total=len(calls)) as bar,
        closing(parallel_map(function, calls, jobs=jobs, bar=bar)) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.error:
                raise SystemExit(
                    f"{what}, {outcome.name}: {outcome.error}\nWhat is finished is kept."
                )
            found[outcome.name] = outcome.value
    return found


def main() -> None:
    """Compute, train, compare, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", nargs="+", metavar="CRYSTAL", help="default: all")
    parser.add_argument("--potentials", choices=["paw", "gth"], default="paw")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the trainings")
    parser.add_argument("--jobs", type=int, default=default_jobs())
    parser.add_argument("--output", type=Path, default=Path("experiment-results"))
    arguments = parser.parse_args()
    start, output, jobs = time.perf_counter(), arguments.output, arguments.jobs
    potentials: PotentialKind = arguments.potentials
    there = crystals(potentials)
    if unknown := [name for name in arguments.systems or () if name not in there]:
        parser.error(f"{', '.join(unknown)}: {there_not(unknown[0])}")
    names = sorted(
        arguments.systems or there, key=lambda name: cost_of(name, potentials), reverse=True
    )
    dealt = [[n for n in fold if n in names] for fold in folds(FOLDS, _FOLD_SEED)]
    dealt = [fold for fold in dealt if fold]
    if len(dealt) < 2:
        parser.error(
            f"--systems {' '.join(names)}: one fold holds all of these, and nothing is left to "
            f"learn from. The folds are {'; '.join(map(' '.join, folds(FOLDS, _FOLD_SEED)))}."
        )

    def constants(xc: str, folder: Path) -> dict[str, Any]:
        calls = {name: (name, xc, folder, potentials) for name in names}
        return in_parallel(compute, calls, folder.name, jobs)

    found = {xc: constants(xc, output / xc) for xc in ("PBE", "PBEsol")}
    for seed in arguments.seeds:
        place = output / f"seed-{seed}"
        trainings = {
            f"fold {i}": [n for n in names if n not in fold] for i, fold in enumerate(dealt)
        }
        trainings["all"] = names
        folders = {label: place / label.removeprefix("fold ") for label in trainings}
        in_parallel(
            train,
            {
                label: (kept, output / "PBE", folders[label], seed, potentials)
                for label, kept in trainings.items()
            },
            f"training, seed {seed}",
            jobs,
        )
        fold_of = {name: folders[f"fold {i}"] for i, fold in enumerate(dealt) for name in fold}
        trained = {
            n: (n, str(fold_of[n] / "functional.safetensors"), fold_of[n], potentials)
            for n in names
        }
        found[f"seed {seed}"] = in_parallel(compute, trained, f"held out, seed {seed}", jobs)
    report(found, dealt, output, time.perf_counter() - start)


def there_not(name: str) -> str:
    """Why a crystal is not computed."""
    known = crystals().get(name)
    if known is None:
        return f"the crystals are {', '.join(crystals())}."
    return f"{known['not_with_gth']}; --potentials paw computes it."


def report(
    found: Mapping[str, Mapping[str, Any]],
    dealt: Sequence[Sequence[str]],
    output: Path,
    seconds: float,
) -> None:
    """Print the table, and write it, the numbers and a figure."""
    order = [name for name in crystals() if name in found["PBE"]]
    errors = {
        xc: [values[name]["a"] / crystals()[name]["a"] - 1.0 for name in order]
        for xc, values in found.items()
    }
    mare = {xc: sum(map(abs, e)) / len(e) for xc, e in errors.items()}
    mean = {xc: sum(e) / len(e) for xc, e in errors.items()}
    rows = []
    for row, name in enumerate(order):
        cells = [f"{100 * e[row]:+.2f} %" for e in errors.values()]
        fold = next(i for i, names in enumerate(dealt) if name in names)
        rows.append([name, f"{crystals()[name]['a']:.3f}", *cells, f"{fold}"])
    for label, values, sign in (("mean absolute", mare, ""), ("mean", mean, "+")):
        cells = [f"{100 * value:{sign}.2f} %" for value in values.values()]
        rows.append([label, "", *cells, ""])
    for kind in dict.fromkeys(map(kind_of, order)):
        own = [row for row, name in enumerate(order) if kind_of(name) == kind]
        cells = [
            f"{100 * sum(abs(e[row]) for row in own) / len(own):.2f} %" for e in errors.values()
        ]
        rows.append([f"{len(own)} {kind}", "", *cells, ""])
    header = ["crystal", "measured (Angstrom)", *errors, "fold"]
    table = as_table(rows, header, markdown=True)
    known = {name: all_electron(name) for name in order}
    potentials = {name: found["PBE"][name]["a"] / a - 1.0 for name, a in known.items() if a}
    if potentials:
        mean_of = sum(map(abs, potentials.values())) / len(potentials)
        each = ", ".join(f"{name} {100 * error:+.2f}" for name, error in potentials.items())
        table += f"\n\nPBE here against all-electron PBE: {100 * mean_of:.2f} % (%: {each})"
    print(table)
    for name, value in YARDSTICKS.items():
        print(f"published: {name} {100 * value:.2f} %")
    print(f"took {seconds / 60:.0f} min; results in {output}")
    (output / "experiment.md").write_text(table + "\n")
    plot_lattice_errors(order, errors, output / "experiment.png")
    content = {
        "units": {"a": "Angstrom", "errors": "relative"},
        "mean_absolute_errors": mare,
        "mean_errors": mean,
        "folds": [list(fold) for fold in dealt],
        "crystals": {
            name: {xc: values[name]["a"] for xc, values in found.items()} for name in order
        },
        "cpu_seconds": {
            xc: sum(values[name]["cpu_seconds"] for name in order) for xc, values in found.items()
        },
        "seconds": seconds,
    }
    write_json(output / "experiment.json", content)


if __name__ == "__main__":
    main()
