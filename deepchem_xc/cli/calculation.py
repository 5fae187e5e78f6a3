"""Options of the commands that compute a crystal: a structure, and the keywords of its calculation.

Options take name, type and description from `deepchem_xc.keywords`. A few keywords are split into
several options here, because a dictionary is awkward to type in a shell.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from deepchem_xc.cli.options import (
    FUNCTIONAL_NAMES,
    Device,
    Threads,
    check_files,
    help_of,
    torch_device,
)
from deepchem_xc.keywords import Keywords, by_default, field, standard, valid_values

if TYPE_CHECKING:
    from ase import Atoms

#: Keywords that are not options, because commands compute no derivatives.
WITHOUT_EFFECT = ("gradient_tolerance",)
_OCCUPATIONS = standard("occupations")


def _option(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


Structure = Annotated[
    Path, typer.Argument(help="Structure file; anything that ASE reads.", show_default=False)
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
        help=help_of("pseudopotentials").removesuffix(".") + ": Ni=GTH-GGA-q18,O=O.psp8. "
        "'default=' stands for all other elements."
    ),
]
Xc = Annotated[
    str,
    typer.Option(
        help=f"Functional: {FUNCTIONAL_NAMES}, libxc identifiers joined with +, or a "
        ".safetensors file."
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
    typer.Option(
        help="Smearing width, eV; not with fixed.", show_default=str(_OCCUPATIONS["width"])
    ),
]
Magmom = Annotated[
    str,
    typer.Option(
        help="Initial moments, mu_B: one for all atoms (0.7) or for elements (Fe=2.3,O=0).",
        show_default="from the file",
    ),
]
FixMoment = Annotated[
    bool, typer.Option("--fix-moment", help="Keep the total of the initial moments.")
]
Maxiter = Annotated[int, typer.Option(help="Largest number of self-consistency steps.")]

# Options of keywords that are spelled differently on the command line.
_SPELLED: dict[str, list[inspect.Parameter]] = {
    "ecut": [
        _option("ecut", Annotated[float, typer.Option(help=help_of("ecut"), show_default=False)])
    ],
    "kpts": [_option("kpts", Kpts, "5.0"), _option("gamma", Gamma, True)],
    "pseudopotentials": [
        _option("pseudopotentials", Pseudopotentials, standard("pseudopotentials"))
    ],
    "occupations": [
        _option("smearing", Smearing, _OCCUPATIONS["name"]),
        _option("width", Width, None),
        _option("fix_moment", FixMoment, False),
    ],
    "convergence": [_option("maxiter", Maxiter, 100)],
    "device": [_option("device", Device, "cpu")],
}


def options_of(keyword: str) -> list[inspect.Parameter]:
    """Options of the command line for a keyword."""
    if keyword in _SPELLED:
        return _SPELLED[keyword]
    kinds = [kind for kind in get_args(field(keyword).annotation) if kind is not NoneType]
    about: dict[str, Any] = {"help": help_of(keyword), "show_default": by_default(keyword) or True}
    flag = f"--{keyword}/--no-{keyword}".replace("_", "-")
    if bool in kinds:
        annotation: Any = Annotated[bool | None, typer.Option(flag, **about)]
    elif kinds in ([float], [str]):
        annotation = Annotated[kinds[0] | None, typer.Option(**about)]
    else:
        if field(keyword).description != (valid := valid_values(field(keyword))):
            about["help"] = f"{about['help'].removesuffix('.')}: {valid}."
        annotation = Annotated[Any, typer.Option(parser=parse_value, metavar="VALUE", **about)]
    return [_option(keyword, annotation, standard(keyword))]


def computes_a_crystal(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a calculation, and pass it their meaning.

    Parameters
    ----------
    function : callable
        Takes atoms, the keywords of `planewave.scf` including ``functional``, and its own options.
    """
    # Atoms are not an option, so that the help need not import ASE.
    own = inspect.signature(function, eval_str=True, locals={"Atoms": Any}).parameters
    before = [
        _option("structure", Structure),
        *(
            option
            for name in Keywords.model_fields
            if name not in WITHOUT_EFFECT
            for option in options_of(name)
        ),
        _option("xc", Xc, "PBE"),
        _option("magmom", Magmom, ""),
        _option("threads", Threads, None),
    ]
    after = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        if name not in ("atoms", "keywords")
    ]

    @functools.wraps(function)
    def run(**options: Any) -> None:
        given = {parameter.name: options.pop(parameter.name) for parameter in before}
        check_files(options.get("output"), options.get("figure"))
        atoms = read_structure(given["structure"], given["magmom"])
        function(atoms, keywords_from(given), **options)

    signature = inspect.Signature([*before, *after])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*before, *after)}
    return run


def keywords_from(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `planewave.scf`, and its functional, from the options of a calculation."""
    occupations = occupations_from(options["smearing"], options["width"])
    if options["fix_moment"]:
        occupations["fixmagmom"] = True
    same = [name for name in Keywords.model_fields if name in options]
    return {
        "functional": options["xc"],
        **{name: options[name] for name in same},
        "kpts": parse_kpts(options["kpts"], options["gamma"]),
        "pseudopotentials": parse_by_element(options["pseudopotentials"], "pseudopotentials"),
        "occupations": occupations,
        "convergence": {"maxiter": options["maxiter"]},
        "device": torch_device(options["device"], options["threads"]),
    }


def occupations_from(smearing: str, width: float | None) -> dict[str, Any]:
    """Keyword `occupations`, its width in eV, from two options.

    Examples
    --------
    >>> occupations_from("gaussian", None), occupations_from("fixed", None)
    ({'name': 'gaussian', 'width': 0.1}, {'name': 'fixed'})
    """
    if smearing != "fixed":
        return {"name": smearing, "width": _OCCUPATIONS["width"] if width is None else width}
    if width is not None:
        raise ValueError(
            f"--width {width:g} would have no effect: --smearing fixed has none. Leave out one of "
            "them; fermi-dirac, gaussian, methfessel-paxton and marzari-vanderbilt have a width."
        )
    return {"name": "fixed"}


def parse_value(text: str) -> Any:
    """Whole numbers, several of them, and lists and mappings as YAML writes them; text otherwise.

    Examples
    --------
    >>> parse_value("12"), parse_value("-4"), parse_value("120%"), parse_value("{beta: 0.3}")
    (12, -4, '120%', {'beta': 0.3})
    >>> parse_value("24x24x30"), parse_value("[24, 24, 30]"), parse_value("010")
    ([24, 24, 30], [24, 24, 30], 10)
    """
    import yaml

    parts = re.split(r"[x,\s]+", text.strip().lower())
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        pass
    else:
        return numbers if len(numbers) > 1 else numbers[0]
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: something like a date, but not one
        return text
    # Anything else that YAML makes of it (nothing, a date) is refused as text, in a message that
    # says what is valid.
    return value if isinstance(value, (list, dict, float)) else text


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
    from deepchem_xc.planewave.structure.files import read_atoms

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
        atoms.calc = None  # these moments replace those of an earlier calculation
    return atoms
