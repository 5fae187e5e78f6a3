"""The command `deepchem-xc`.

Energies, cutoffs and widths are in eV, lengths in Angstrom. torch, DeepChem and ASE are imported
where a command needs them, so that the help appears at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepchem_xc import __version__
from deepchem_xc.cli import density, molecule
from deepchem_xc.cli import options as option
from deepchem_xc.cli.calculation import computes_a_crystal
from deepchem_xc.cli.options import command, say, write
from deepchem_xc.keywords import PotentialKind

if TYPE_CHECKING:
    from ase import Atoms

app = typer.Typer(
    name="deepchem-xc",
    help="Density functional theory with learnable exchange-correlation functionals: crystals in "
    "plane waves, molecules on Gaussian functions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(density.group)


def main() -> None:
    """Entry point of the command `deepchem-xc`."""
    app()


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"deepchem-xc {__version__}")
        raise typer.Exit()


@app.callback()
def _without_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the command line itself; see `app` for its help."""


@app.command()
@command
@computes_a_crystal
def scf(
    atoms: Atoms,
    keywords: dict[str, Any],
    output: option.Output = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not show the steps.")] = False,
    debug: option.Debug = False,
) -> None:
    """Ground state: energies, forces, stress, moment, eigenvalues."""
    from deepchem_xc import planewave
    from deepchem_xc.cli.results import UNITS, ground_state, print_ground_state, print_steps

    result = planewave.scf(atoms, **keywords, callback=print_steps(quiet))
    values = ground_state(result)
    print_ground_state(values, atoms.get_chemical_symbols())
    write(output, {"units": UNITS, **values})


app.command()(molecule.molecule)


@app.command()
@command
@computes_a_crystal
def eos(
    atoms: Atoms,
    keywords: dict[str, Any],
    strain: Annotated[
        float, typer.Option(help="Volumes (areas) from 1-strain to 1+strain times the file's.")
    ] = 0.06,
    points: Annotated[int, typer.Option(help="Number of volumes; at least 5.")] = 7,
    layer: Annotated[
        bool,
        typer.Option(
            "--layer",
            help="Strain only the two vectors in the layer: the periodic ones, or the first two.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Volumes computed at the same time, each with one thread.",
            show_default="one after another",
        ),
    ] = None,
    scheduler: option.Scheduler = None,
    keep_in: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps finished volumes: the same command computes only what is "
            "missing.",
            show_default=False,
        ),
    ] = None,
    output: option.Output = None,
    figure: option.Figure = None,
    debug: option.Debug = False,
) -> None:
    """Equation of state: equilibrium volume and bulk modulus at fixed shape of the cell."""
    from deepchem_xc.cli.eos import as_json, compute_curve, print_curve

    with option.workers(scheduler, jobs) as places:
        curve = compute_curve(atoms, keywords, strain, points, layer, places, keep_in)
    write(output, as_json(curve))
    print_curve(curve)
    if figure is not None:
        from deepchem_xc.plotting import EosCurve, EosPanel, plot_equations_of_state

        sizes = [point.size for point in curve.points]
        energies = [point.energy for point in curve.points]
        drawn = EosCurve(keywords["functional"], sizes, energies, curve.fit)
        plot_equations_of_state([EosPanel(str(atoms.symbols), [drawn])], figure)
        say(f"figure in {figure}")


@app.command()
@command
@computes_a_crystal
def bands(
    atoms: Atoms,
    keywords: dict[str, Any],
    path: Annotated[
        str | None,
        typer.Option(help="Special points, such as GXWKL.", show_default="ASE's for the lattice"),
    ] = None,
    npoints: Annotated[int, typer.Option(help="Number of k-points along the path.")] = 60,
    output: option.Output = None,
    figure: option.Figure = None,
    debug: option.Debug = False,
) -> None:
    """Band structure along a path through the Brillouin zone."""
    from deepchem_xc import planewave
    from deepchem_xc.cli.results import band_values, print_bands
    from deepchem_xc.planewave.properties.bands import band_structure, named_path

    # Refuse a path that does not exist before the ground state is computed.
    band_path = named_path(atoms, path, npoints)
    result = planewave.scf(atoms, **{**keywords, "nbands": None})
    bands = band_structure(result, band_path, nbands=keywords["nbands"])
    values = band_values(bands)
    print_bands(values, str(atoms.symbols))
    write(output, values)
    if figure is not None:
        from deepchem_xc.plotting import plot_bands

        plot_bands(bands, figure, title=str(atoms.symbols))
        say(f"figure in {figure}")


@app.command()
@command
def benchmark(
    systems: Annotated[
        str | None,
        typer.Option(help="Some of al, ni, ca, graphene, comma-separated.", show_default="all"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Coarse settings: a trial run of a few minutes.")
    ] = False,
    potentials: Annotated[
        PotentialKind | None,
        typer.Option(
            help="GPAW's PAW datasets, or GTH potentials (an hour).",
            show_default="paw where gpaw-data is installed",
        ),
    ] = None,
    functionals: Annotated[
        bool | None,
        typer.Option(
            "--functionals/--pbe-only",
            help="Train and compare functionals; not with --quick.",
            show_default="functionals, with --quick pbe-only",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of trainings, comma-separated, for example 0,1,2.", show_default="0"
        ),
    ] = None,
    live_gpaw: Annotated[
        bool, typer.Option("--live-gpaw", help="Compute the reference with GPAW (half an hour).")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute again the points that are kept.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(help="Points computed at the same time.", show_default="cores / threads"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of each point.")] = 1,
    scheduler: option.Scheduler = None,
    device: option.Device = "cpu",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for results and finished points.")
    ] = Path("benchmark-results"),
    debug: option.Debug = False,
) -> None:
    """Equations of state of Al, Ni, Ca and graphene with PBE, next to GPAW's.

    Then a functional is trained from the LDA, on other crystals, and compared with PBE and LDA. An
    interrupted run resumes where it stopped when it is started again.
    """
    from deepchem_xc.cli.benchmark import run

    if quick and functionals:
        raise ValueError("--quick computes PBE alone: leave out one of --quick and --functionals.")
    trains = not quick and functionals is not False
    if seeds is not None and not trains:
        which = "--quick" if quick else "--pbe-only"
        raise ValueError(
            f"--seeds {seeds} would have no effect: {which} trains nothing. Leave out one of them."
        )
    chosen = option.seed_list("0" if seeds is None else seeds) if trains else []
    run(
        systems,
        output,
        quick=quick,
        potentials=potentials,
        seeds=chosen,
        live_gpaw=live_gpaw,
        fresh=fresh,
        jobs=jobs,
        threads=threads,
        scheduler=scheduler,
        device=device,
    )


@app.command()
@command
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the training.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for checkpoints, log and functional.")
    ] = Path("training-results"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start again, discarding a training in the folder.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Replaces the file's seed.", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Calculations at the same time, each with one thread.",
            show_default="one after another",
        ),
    ] = None,
    scheduler: option.Scheduler = None,
    device: option.Device = "cpu",
    threads: option.Threads = None,
    debug: option.Debug = False,
) -> None:
    """Train a functional on crystals and molecules, as a YAML file says (docs/training.md).

    An interrupted training resumes where it stopped when it is started again.
    """
    from deepchem_xc.cli.train import run_training

    place = option.torch_device(device, threads)
    with option.workers(scheduler, jobs) as places:
        run_training(config, output, fresh=fresh, device=place, seed=seed, jobs=places)


@app.command()
@command
def clone(
    parent: Annotated[
        str,
        typer.Argument(
            help="Functional to clone: a name (PBE, r2SCAN, ...), names joined with +, or a "
            ".safetensors file.",
            show_default=False,
        ),
    ],
    file: Annotated[
        Path, typer.Option("--output", "-o", help="File of the clone, .safetensors.")
    ] = Path("clone.safetensors"),
    student: Annotated[
        str, typer.Option(help="constrained, linear, unbounded or unconstrained.")
    ] = "constrained",
    quick: Annotated[
        bool, typer.Option("--quick", help="Few molecules, points and steps: a trial run.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of Adam.", show_default="20000")
    ] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Points of each molecule.", show_default="800")
    ] = None,
    sampling: Annotated[
        str, typer.Option(help="density: as the electrons. spread: half of them evenly in s.")
    ] = "density",
    uniform: Annotated[
        int,
        typer.Option(min=0, help="Points of no molecule, for what is rare in molecules."),
    ] = 0,
    polish: Annotated[
        int, typer.Option(min=0, help="Steps of Levenberg-Marquardt after Adam's.")
    ] = 0,
    energy_weight: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Weight of energies in 30 more such steps, 1 / Hartree^2.",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first weights.")] = 0,
    compare: Annotated[
        bool,
        typer.Option(help="Compute energies of molecules that were not sampled, with both."),
    ] = True,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps densities: the same command computes only what is missing.",
            show_default="DeepChem's data folder",
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Write errors as JSON.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start again, discarding checkpoints.")
    ] = False,
    threads: option.Threads = None,
    debug: option.Debug = False,
) -> None:
    """Train a network to be a known functional, at densities of molecules (docs/cloning.md).

    An interrupted run resumes where it stopped when it is started again.
    """
    from deepchem_xc.cli.cloning import run_cloning

    if file.suffix != ".safetensors":
        raise ValueError(f"--output {file} must end in .safetensors.")
    option.check_files(file)
    option.check_files(results)
    option.torch_device("cpu", threads)
    run_cloning(
        parent,
        file,
        student=student,
        quick=quick,
        steps=steps,
        points=points,
        sampling=sampling,
        uniform=uniform,
        energy_weight=energy_weight,
        polish=polish,
        seed=seed,
        compare=compare,
        data_dir=data_dir,
        results=results,
        fresh=fresh,
    )


@app.command()
@command
def export(
    functional: Annotated[
        str,
        typer.Argument(
            help="A functional in torch: a name (PBE, ..., cloned_r2scan), names joined with +, "
            "or a .safetensors file.",
            show_default=False,
        ),
    ],
    file: Annotated[Path, typer.Argument(help="File to write, .pt2.", show_default=False)],
    nspin: Annotated[
        int, typer.Option(help="1: for total densities. 2: for up and down densities.")
    ] = 1,
    debug: option.Debug = False,
) -> None:
    """Write a functional as a program that other codes run with torch alone."""
    from deepchem_xc.cli.export import export_and_describe

    option.check_files(file)
    export_and_describe(functional, file, nspin)


@app.command()
@command
def report(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder (--output) of a training or benchmark.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page.", show_default="report.html in the folder"),
    ] = None,
    debug: option.Debug = False,
) -> None:
    """Write one HTML page of a training or benchmark: settings, curves, tables, functional."""
    from deepchem_xc.report import write_html_report

    typer.echo(f"Written: {write_html_report(folder, output)}")
