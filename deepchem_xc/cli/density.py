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
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the densities: the same command computes only what is missing.",
            show_default="DeepChem's data folder",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Densities computed at the same time, each with one thread.",
            show_default="one a core",
        ),
    ] = None,
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
