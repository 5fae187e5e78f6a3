"""Commands `deepchem-xc density ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepchem_xc.cli import options as option
from deepchem_xc.cli.options import command, say

group = typer.Typer(
    name="density", help="Densities of crystals, and models of them.", no_args_is_help=True
)


DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps the densities: the same command computes only what is missing.",
        show_default="DeepChem's data folder",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Densities computed at the same time, each with one thread.",
        show_default="one a core",
    ),
]


@group.callback()
def _group() -> None:
    """Keeps the names of the commands, also if there is only one."""


@group.command()
@command
def data(
    name: Annotated[
        str, typer.Argument(help="The set: silicon, mixed, molecules or magnets.")
    ] = "silicon",
    quick: Annotated[bool, typer.Option("--quick", help="A small part of the set.")] = False,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    scheduler: option.Scheduler = None,
    debug: option.Debug = False,
) -> None:
    """Compute the densities of a data set, or what is missing of them."""
    from deepchem_xc.molnet import DensitySet, compute_densities

    densities = DensitySet.read(name)
    with option.workers(scheduler, jobs) as places:
        paths = compute_densities(densities, data_dir, quick=quick, jobs=places, progress=None)
    (folder,) = {path.parent for path in paths.values()}
    say(f"{len(paths)} densities in {folder}")


@group.command()
@command
def train(
    name: Annotated[str, typer.Argument(help="The set, as for data.")] = "silicon",
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the model.")] = Path(
        "density.safetensors"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A small part of the set.")] = False,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    target: Annotated[
        str, typer.Option(help="What the network learns: difference or total.")
    ] = "difference",
    network: Annotated[str, typer.Option(help="The network: atoms or points.")] = "atoms",
    epochs: Annotated[
        int,
        typer.Option(
            help="Passes through the set, in all. More than before continue a finished training.",
            min=1,
        ),
    ] = 60,
    ecut: Annotated[
        float | None,
        typer.Option(
            help="Cutoff (eV) to which densities are brought in the training.",
            show_default="that of the densities",
        ),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(help="Of the first epoch; it falls to a fiftieth of it.")
    ] = 0.005,
    batch_size: Annotated[int, typer.Option(help="Structures a step.", min=1)] = 1,
    energy_weight: Annotated[
        float,
        typer.Option(
            help="Weight of the free energy's error (Ha per atom) beside the density's; steps then "
            "take as long as their calculations.",
            min=0.0,
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of initial weights and order.", min=0)] = 0,
    device: option.Device = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the training again.")] = False,
    debug: option.Debug = False,
) -> None:
    """Train a model of densities on a set; the same command resumes an interrupted training."""
    from deepchem_xc.cli.density_models import run_training

    network_and_steps = (target, network, epochs, ecut, learning_rate, batch_size, energy_weight)
    run_training(name, output, quick, data_dir, jobs, *network_and_steps, seed, device, fresh)


@group.command()
@command
def predict(
    model: Annotated[Path, typer.Argument(help="File of a model, or the name of a shipped one.")],
    structure: Annotated[Path, typer.Argument(help="File of a structure.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A record (.npz), a cube file (.cube) or a CHGCAR."),
    ],
    ecut: Annotated[float, typer.Option(help="Cutoff of the orbitals, eV.")] = 300.0,
    debug: option.Debug = False,
) -> None:
    """Write the density that a model predicts for a structure."""
    from deepchem_xc.cli.density_models import run_prediction

    run_prediction(model, structure, ecut, output)


@group.command()
@command
def evaluate(
    model: Annotated[Path, typer.Argument(help="File of a model, or the name of a shipped one.")],
    name: Annotated[str, typer.Argument(help="The set, as for data.")] = "silicon",
    part: Annotated[str, typer.Option(help="Part of the set: train, valid or test.")] = "test",
    quick: Annotated[bool, typer.Option("--quick", help="A small part of the set.")] = False,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    output: option.Output = None,
    debug: option.Debug = False,
) -> None:
    """Print how far a model's densities are from those of a set, beside superposed atoms."""
    from deepchem_xc.cli.density_models import run_evaluation

    run_evaluation(model, name, part, quick, data_dir, jobs, output)
