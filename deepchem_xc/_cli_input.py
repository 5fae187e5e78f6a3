"""What the command line's options mean, and how its errors look.

Nothing heavy is imported here: `deepchem-xc --help` has to answer at once.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from ase import Atoms

# Smearing width where none is given, eV.
WIDTH = 0.1

Command = TypeVar("Command", bound=Callable[..., Any])

# Errors whose message says all a user needs; of others the kind is shown too.
_EXPECTED = (ValueError, OSError, ImportError, RuntimeError)


def parse_nbands(text: str) -> int | str:
    """Number of bands; with a minus or a % relative to the occupied ones.

    Examples
    --------
    >>> parse_nbands("12"), parse_nbands("-4"), parse_nbands("120%")
    (12, -4, '120%')
    """
    try:
        return int(text)
    except ValueError:
        return text  # a percentage, or refused with what is valid


Structure = Annotated[
    Path, typer.Argument(help="Structure file; anything that ASE reads.", show_default=False)
]
Ecut = Annotated[float, typer.Option(help="Plane-wave cutoff, eV.", show_default=False)]
EcutSmoothing = Annotated[
    float, typer.Option(help="Kinetic energies rise within this below the cutoff, eV.")
]
Kpts = Annotated[
    str,
    typer.Option(
        help="k-points: a mesh (8x8x8), or one number: a density in points per 1/Angstrom, "
        "so that 4 is not 4x4x4."
    ),
]
Gamma = Annotated[
    bool, typer.Option("--gamma/--no-gamma", help="Mesh that contains Gamma, or avoids it.")
]
Pseudopotentials = Annotated[
    str,
    typer.Option(
        help="Family, name or file; or one for each element: Ni=GTH-GGA-q18,O=O.psp8. "
        "'default=' stands for the elements that are not named."
    ),
]
Xc = Annotated[
    str,
    typer.Option(
        help="Functional: PBE, LDA, ..., libxc identifiers joined with +, or a .safetensors file."
    ),
]
Smearing = Annotated[
    str,
    typer.Option(
        help="fixed, fermi-dirac, gaussian, methfessel-paxton or marzari-vanderbilt.",
    ),
]
Width = Annotated[
    float | None,
    typer.Option(help="Smearing width, eV; not with fixed.", show_default=str(WIDTH)),
]
Magmom = Annotated[
    str,
    typer.Option(
        help="Initial moments, mu_B: one for all atoms (0.7) or for elements (Fe=2.3,O=0).",
        show_default="from the file",
    ),
]
Spinpol = Annotated[
    bool | None,
    typer.Option(
        "--spinpol/--no-spinpol", help="Two spin channels.", show_default="if there are moments"
    ),
]
FixMoment = Annotated[
    bool, typer.Option("--fix-moment", help="Keep the total of the initial moments.")
]
Nbands = Annotated[
    Any,
    typer.Option(
        parser=parse_nbands,
        metavar="NUMBER",
        help="Number of bands; -4 and 120% count from the occupied ones.",
        show_default="enough for the electrons",
    ),
]
Symmetry = Annotated[
    bool, typer.Option("--symmetry/--no-symmetry", help="Reduce the mesh of k-points by symmetry.")
]
Maxiter = Annotated[int, typer.Option(help="Largest number of self-consistency steps.")]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1, ...")]
Threads = Annotated[int | None, typer.Option(help="Threads.", show_default="torch's choice")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the results as JSON.", show_default=False),
]
Figure = Annotated[
    Path | None, typer.Option(help="Write a figure (.png, .pdf, ...).", show_default=False)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def command(function: Command) -> Command:
    """Make errors of a command one clear line and a non-zero exit status.

    With its ``debug=True`` the traceback comes first.
    """

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _say_warning
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader (head, less) has seen enough; what is left in the buffer is not wanted.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            if isinstance(error, typer.Exit) or type(error).__module__.startswith("typer."):
                raise
            if kwargs.get("debug"):
                say(getattr(error, "details", "") or traceback.format_exc())
            say(f"error: {describe(error)}")
            raise typer.Exit(1) from None

    return guarded  # type: ignore[return-value]


def _say_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    say(f"warning: {message}")


def describe(error: Exception) -> str:
    """Text of an error, with its kind where the text alone would not say enough."""
    text = str(error).strip()
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file {error.filename}"
    if text and isinstance(error, _EXPECTED):
        return text
    return f"{type(error).__name__}: {text}".rstrip(": ") + " (--debug shows where)"


def say(message: str) -> None:
    """Print to standard error, which is not what the results are written to."""
    typer.echo(f"deepchem-xc: {message}", err=True)


def parse_kpts(text: str, gamma: bool = True) -> dict[str, Any]:
    """Mesh or density of k-points.

    Examples
    --------
    >>> parse_kpts("8x8x1")
    {'size': (8, 8, 1), 'gamma': True}
    >>> parse_kpts("3.5", gamma=False)
    {'density': 3.5, 'gamma': False}
    """
    parts = re.split(r"[x,\s]+", text.strip().lower())
    try:
        if len(parts) == 3:
            n1, n2, n3 = (int(part) for part in parts)
            return {"size": (n1, n2, n3), "gamma": gamma}
        (density,) = (float(part) for part in parts)
    except ValueError as error:
        raise ValueError(
            f"kpts {text!r} is neither a mesh, such as 8x8x8, nor a density in points per "
            "1/Angstrom, such as 5.0."
        ) from error
    return {"density": density, "gamma": gamma}


def seed_list(text: str) -> list[int]:
    """Different whole numbers from a comma-separated list.

    Examples
    --------
    >>> seed_list("0, 1,2")
    [0, 1, 2]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ValueError(f"--seeds takes different whole numbers such as 0,1,2; got {text!r}.")
    return [int(part) for part in parts]


def parse_by_element(text: str, what: str) -> str | dict[str, str]:
    """One value for all elements, or one for each.

    Examples
    --------
    >>> parse_by_element("gth-pbe", "pseudopotentials")
    'gth-pbe'
    >>> parse_by_element("Ni=GTH-GGA-q18,default=gth-pbe", "pseudopotentials")
    {'Ni': 'GTH-GGA-q18', 'default': 'gth-pbe'}
    """
    if "=" not in text:
        return text
    values: dict[str, str] = {}
    for part in text.split(","):
        element, equals, value = (piece.strip() for piece in part.partition("="))
        if not (element and equals and value):
            raise ValueError(f"{what} {text!r}: write one value, or Element=value,Element=value.")
        values[element] = value
    return values


def read_structure(path: Path, magmom: str = "") -> Atoms:
    """Read a structure and, if `magmom` is not empty, set its initial moments (mu_B)."""
    from deepchem_xc.planewave.structure_files import read_atoms

    if not path.exists():
        raise ValueError(f"there is no structure file {path}.")
    atoms = read_atoms(path, moments=not magmom)
    if magmom:
        moments = parse_by_element(magmom, "magmom")
        try:
            values = (
                [float(moments)] * len(atoms)
                if isinstance(moments, str)
                else [
                    float(moments.get(symbol, moments.get("default", 0.0)))
                    for symbol in atoms.get_chemical_symbols()
                ]
            )
        except ValueError as error:
            raise ValueError(
                f"magmom {magmom!r}: give a number for all atoms, or Element=number."
            ) from error
        if isinstance(moments, dict):
            absent = set(moments) - set(atoms.get_chemical_symbols()) - {"default"}
            if absent:
                raise ValueError(f"magmom names {sorted(absent)}, which are not in {path}.")
        atoms.set_initial_magnetic_moments(values)
        atoms.calc = None  # moments of an earlier calculation do not count beside these
    return atoms


def check_files(output: Path | None, figure: Path | None = None) -> None:
    """Raise, before anything is computed, where results could not be written afterwards.

    Examples
    --------
    >>> check_files(Path("al.json"), Path("al.gif.txt"))
    Traceback (most recent call last):
    ValueError: a figure cannot be written to al.gif.txt: its name must end in one of ...
    """
    for path in (output, figure):
        if path is not None and path.is_dir():
            raise ValueError(f"{path} is a folder: name a file in it, such as {path / 'al.json'}.")
    if figure is not None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        valid = sorted(FigureCanvasAgg.get_supported_filetypes())
        if figure.suffix.lower().removeprefix(".") not in valid:
            raise ValueError(
                f"a figure cannot be written to {figure}: its name must end in one of "
                f"{', '.join('.' + ending for ending in valid)}."
            )


def torch_device(device: str, threads: int | None) -> str:
    """Check a device, and set the number of threads, if one is given."""
    import torch

    from deepchem_xc.planewave import settings

    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}.")
        torch.set_num_threads(threads)
    settings.torch_device(device)
    return device


def scf_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `deepchem_xc.planewave.scf` from the options that the commands share."""
    device = torch_device(options["device"], options["threads"])
    occupations: dict[str, Any] = {"name": options["smearing"]}
    width = options["width"]
    if options["smearing"] != "fixed":
        occupations["width"] = WIDTH if width is None else width
    elif width is not None:
        raise ValueError(
            f"--width {width:g} would have no effect: --smearing fixed has none. Leave out one of "
            "them; the others are fermi-dirac, gaussian, methfessel-paxton, marzari-vanderbilt."
        )
    if options["fix_moment"]:
        occupations["fixmagmom"] = True
    return {
        "functional": options["xc"],
        "ecut": options["ecut"],
        "ecut_smoothing": options["ecut_smoothing"],
        "kpts": parse_kpts(options["kpts"], options["gamma"]),
        "pseudopotentials": parse_by_element(options["pseudopotentials"], "pseudopotentials"),
        "occupations": occupations,
        "spinpol": options["spinpol"],
        "nbands": options["nbands"],
        "symmetry": options["symmetry"],
        "convergence": {"maxiter": options["maxiter"]},
        "device": device,
    }
