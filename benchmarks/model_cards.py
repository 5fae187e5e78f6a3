"""Errors of the shipped functionals on the crystals that they were trained on, for their cards.

    python benchmarks/model_cards.py recovered_paw              # all 15 crystals, with PBE
    python benchmarks/model_cards.py experiment_paw --crystals Si C GaAs
    python benchmarks/model_cards.py recovered_paw --factors    # enhancement factors; seconds

Lattice constants are self-consistent, with the settings of the training: names that end in _paw
were trained with PAW, those in _gga with GTH potentials. Everything finished is
kept in docs/models/errors.json, from which the tables in docs/models/ are, and is not computed
again. A file that has changed is another functional: its constants are computed anew.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deepchem_xc  # first: it keeps DeepChem's import notices quiet

# isort: split
import torch
from enhancement import enhancement_factor
from experiment_crystals import cost_of, crystals, entry_of

from deepchem_xc._files import data_file, write_json
from deepchem_xc.data import DFTYamlLoader
from deepchem_xc.feat import DFTEntry
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.losses.observables import lattice_constant
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import name_or_content

GRADIENTS, RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0), (1.5, 2.0, 3.0, 4.0)
ERRORS = Path(__file__).parents[1] / "docs" / "models" / "errors.json"


CARDS = ("recovered_paw", "experiment_paw", "recovered_gga", "experiment_gga")


def training_crystals(card: str) -> dict[str, tuple[DFTEntry, float]]:
    """Entries with a series of volumes, and their reference lattice constants in Angstrom.

    Parameters
    ----------
    card : str
        One of `CARDS`: references of ``"recovered_..."`` are fits to GPAW's energies, those of
        ``"experiment_..."`` are measured.
    """
    potentials: PotentialKind = "paw" if card.endswith("_paw") else "gth"
    if card.startswith("experiment"):
        known = crystals(potentials)
        names = sorted(known, key=lambda name: cost_of(name, potentials))
        return {name: (entry_of(name, potentials), known[name]["a"]) for name in names}
    file = "gpaw_training.yaml" if potentials == "paw" else "gpaw_training_gth.yaml"
    entries = DFTYamlLoader().create_dataset(str(data_file(file))).X
    found = {}
    for entry in entries:
        energies = torch.as_tensor(entry.get_true_val(), dtype=torch.float64)
        found[entry.name] = (entry, float(lattice_constant(energies, entry.series)))
    return found


def self_consistent(entry: DFTEntry, xc: str) -> float:
    """Lattice constant with a functional (a name, or the path of its file), Angstrom."""
    ground_states = GroundStates(get_xc(xc), interval=1, entropy_response=False)
    with torch.no_grad():
        energies = ground_states.energies(entry.calculations, epoch=0)
    return float(lattice_constant(energies, entry.series))


def compute(card: str, wanted: list[str], functionals: list[str]) -> Iterator[dict[str, Any]]:
    """Rows that are not in the file yet; the file is written after each of them."""
    rows: list[dict[str, Any]] = json.loads(ERRORS.read_text()) if ERRORS.exists() else []
    known = {(row["card"], row["crystal"], row["content"]) for row in rows}
    for name, (entry, reference) in training_crystals(card).items():
        for xc in functionals if name in wanted else ():
            content = name_or_content(xc)
            if (card, name, content) in known:
                continue
            row = {
                "card": card,
                "crystal": name,
                "functional": Path(xc).stem,
                "content": content,
                "a": self_consistent(entry, xc),
                "reference": reference,
                "version": deepchem_xc.__version__,
            }
            rows.append(row)
            write_json(ERRORS, rows)
            yield row


def table(card: str) -> str:
    """All rows of a card: errors of the lattice constants, and the mean of their magnitudes."""
    rows = [row for row in json.loads(ERRORS.read_text()) if row["card"] == card]
    functionals = list(dict.fromkeys(row["functional"] for row in rows))
    errors = {(r["crystal"], r["functional"]): r["a"] / r["reference"] - 1.0 for r in rows}
    references = {row["crystal"]: row["reference"] for row in rows}
    complete = [name for name in references if all((name, f) in errors for f in functionals)]
    lines = ["| crystal | reference (Angstrom) | " + " | ".join(functionals) + " |"]
    lines.append("|---|---:|" + "---:|" * len(functionals))
    for name in complete:
        cells = [f"{100 * errors[name, f]:+.2f} %" for f in functionals]
        lines.append(f"| {name} | {references[name]:.3f} | " + " | ".join(cells) + " |")
    means = [sum(abs(errors[n, f]) for n in complete) / len(complete) for f in functionals]
    lines.append("| mean absolute | | " + " | ".join(f"{100 * m:.2f} %" for m in means) + " |")
    return "\n".join(lines)


def factors(card: str) -> str:
    """Enhancement factors of the LDA, PBE and the card's functional, as a table."""
    functionals = {
        "LDA": get_xc("LDA"),
        "PBE": get_xc("PBE"),
        card: get_xc(str(data_file(f"{card}.safetensors"))),
    }
    lines = ["| r_s (bohr) | | " + " | ".join(f"s = {s:g}" for s in GRADIENTS) + " |"]
    lines.append("|---:|---|" + "---:|" * len(GRADIENTS))
    for radius in RADII:
        for name, functional in functionals.items():
            values = enhancement_factor(functional, GRADIENTS, radius)
            cells = " | ".join(f"{value:.3f}" for value in values)
            lines.append(f"| {radius:g} | {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("card", choices=CARDS)
    parser.add_argument("--crystals", nargs="+", help="all of the training by default")
    parser.add_argument("--functionals", nargs="+", help="the card's and PBE by default")
    parser.add_argument("--factors", action="store_true", help="enhancement factors, no crystals")
    arguments = parser.parse_args()
    if arguments.factors:
        print(factors(arguments.card))
        return
    torch.set_num_threads(1)
    known = training_crystals(arguments.card)
    wanted = arguments.crystals or list(known)
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"--crystals {' '.join(unknown)}: the training has {' '.join(known)}")
    functionals = arguments.functionals or [
        str(data_file(f"{arguments.card}.safetensors")),
        "PBE",
    ]
    with warnings.catch_warnings():
        # All functionals use PBE's potentials, as in the training.
        warnings.simplefilter("ignore", FunctionalMismatchWarning)
        for row in compute(arguments.card, wanted, functionals):
            error = 100 * (row["a"] / row["reference"] - 1.0)
            print(f"{row['crystal']}, {row['functional']}: {row['a']:.4f} ({error:+.2f} %)")
    print(table(arguments.card))


if __name__ == "__main__":
    main()
