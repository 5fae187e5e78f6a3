"""`deepchem-xc molecule`: options, and what the solver is called with.

Energies, widths and criteria are in eV, as those of crystals; they are converted here, because the
solver takes Hartree.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepchem_xc.cli import calculation
from deepchem_xc.cli import options as option

if TYPE_CHECKING:
    from ase import Atoms

#: Keywords of `gaussian.scf` that are not options: other calculations, functions, and derivatives.
WITHOUT_OPTION = ("start", "callback", "gradient_tolerance")
#: Hybrids by name, for the help.
HYBRID_NAMES = "PBE0, B3LYP, HSE06, TPSSh, HF"

Structure = Annotated[
    str,
    typer.Argument(
        help="File that ASE reads (.xyz, ...), or a molecule or atom of ASE's g2 set: H2O, C6H6, "
        "O2, ...",
        show_default=False,
    ),
]
Basis = Annotated[
    str,
    typer.Option(
        help="Basis set, as PySCF names it: def2-svp; or by element: O=def2-tzvp,default=def2-svp. "
        "Core potentials that belong to it come with it.",
        show_default=False,
    ),
]
Xc = Annotated[
    str,
    typer.Option(
        help=f"Functional: {option.FUNCTIONAL_NAMES}; a hybrid: {HYBRID_NAMES}; libxc identifiers "
        "joined with +; or a .safetensors file."
    ),
]
Spin = Annotated[
    int | None,
    typer.Option(
        help="Number of unpaired electrons.", show_default="sum of the file's initial moments"
    ),
]
Pseudopotentials = Annotated[
    str | None,
    typer.Option(
        help="Potentials that replace all cores, with a basis set made for them: gth-pbe with "
        "gth-dzvp; or by element.",
        show_default="all electrons, or the basis set's core potentials",
    ),
]
DensityFitting = Annotated[
    str | None,
    typer.Option(
        help="Auxiliary basis set of the electrons' interaction: def2-universal-jkfit.",
        show_default="exact integrals",
    ),
]
EnergyTolerance = Annotated[
    float | None,
    typer.Option(help="Change of the energy in a step at the end, eV.", show_default="2.7e-8"),
]
CommutatorTolerance = Annotated[
    float | None,
    typer.Option(help="Largest element of F D S - S D F at the end, eV.", show_default="2.7e-6"),
]


@option.command
def molecule(
    structure: Structure,
    basis: Basis,
    xc: Xc = "PBE",
    charge: Annotated[int, typer.Option(help="Total charge, e.")] = 0,
    spin: Spin = None,
    restricted: Annotated[
        bool,
        typer.Option(
            "--restricted", help="One set of doubly filled orbitals; the default without spin."
        ),
    ] = False,
    unrestricted: Annotated[
        bool,
        typer.Option("--unrestricted", help="A set for each spin; the default with spin."),
    ] = False,
    open_shells: Annotated[
        bool, typer.Option("--open", help="One set of orbitals with open shells (ROKS).")
    ] = False,
    pseudopotentials: Pseudopotentials = None,
    grid_level: Annotated[
        int, typer.Option(min=0, max=9, help="PySCF's level of the integration grid.")
    ] = 3,
    density_fitting: DensityFitting = None,
    smearing: calculation.Smearing = "fixed",
    width: calculation.Width = None,
    maxiter: calculation.Maxiter = 100,
    energy_tolerance: EnergyTolerance = None,
    commutator_tolerance: CommutatorTolerance = None,
    level_shift: Annotated[
        float,
        typer.Option(
            min=0.0, max=270.0, help="Energy added to empty levels in the first steps, eV."
        ),
    ] = 0.0,
    damping: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.99, help="Part of the earlier density that is kept in the first steps."
        ),
    ] = 0.0,
    forces: Annotated[bool, typer.Option("--forces", help="Compute forces.")] = False,
    stability: Annotated[
        bool, typer.Option("--stability", help="Test whether the energy is a minimum.")
    ] = False,
    threads: option.Threads = None,
    output: option.Output = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not show the steps.")] = False,
    debug: option.Debug = False,
) -> None:
    """Ground state of a molecule: energies, levels, dipole moment, forces (docs/molecules.md).

    Energies, widths and criteria are in eV, lengths in Angstrom.
    """
    option.check_files(output)
    chosen = {"restricted": restricted, "unrestricted": unrestricted, "open": open_shells}
    kind = kind_of_orbitals([name for name, given in chosen.items() if given])
    if stability and smearing != "fixed":
        raise ValueError(
            f"--stability is for whole occupations, and --smearing {smearing} has others: leave "
            "out one of them."
        )
    occupations = calculation.occupations_from(smearing, width)
    atoms = read_molecule(structure)
    set_threads(threads)
    from ase.units import Hartree

    from deepchem_xc import gaussian
    from deepchem_xc.calculators.gaussian import moments_explained, unpaired_electrons
    from deepchem_xc.cli.molecule_results import UNITS, molecular_state, print_state, print_steps

    if "width" in occupations:
        occupations["width"] /= Hartree
    tolerances = {"energy": energy_tolerance, "commutator": commutator_tolerance}
    convergence: dict[str, Any] = {
        name: value / Hartree for name, value in tolerances.items() if value is not None
    }
    keywords: dict[str, Any] = {
        "basis": calculation.parse_by_element(basis, "basis"),
        "charge": charge,
        "spin": unpaired_electrons(atoms) if spin is None else spin,
        "restricted": kind,
        "grid_level": grid_level,
        "density_fitting": density_fitting,
        "occupations": occupations,
        "convergence": {"maxiter": maxiter, **convergence},
        "level_shift": level_shift / Hartree,
        "damping": damping,
    }
    if pseudopotentials is not None:
        keywords["pseudopotentials"] = calculation.parse_by_element(
            pseudopotentials, "pseudopotentials"
        )
    try:
        with moments_explained(spin):
            result = gaussian.scf(atoms, xc, **keywords, callback=print_steps(quiet))
    except gaussian.SCFConvergenceError as error:
        raise gaussian.SCFConvergenceError(
            f"{error} Options of this command are --maxiter, --level-shift and, with --smearing, "
            "--width; in eV, 0.3 Ha are 8 and 0.005 Ha 0.14.",
            error.history,
        ) from error
    values = molecular_state(result, forces=forces, stability=stability)
    print_state(values, atoms.get_chemical_symbols())
    option.write(output, {"units": UNITS, **values})


def kind_of_orbitals(names: list[str]) -> bool | str | None:
    """Keyword `restricted` of the solver, from the flags that were given.

    Examples
    --------
    >>> kind_of_orbitals([]), kind_of_orbitals(["unrestricted"]), kind_of_orbitals(["open"])
    (None, False, 'open')
    >>> kind_of_orbitals(["restricted", "open"])
    Traceback (most recent call last):
    ValueError: --restricted and --open exclude each other: give one of them, or none.
    """
    if len(names) > 1:
        flags = " and ".join(f"--{name}" for name in names)
        raise ValueError(f"{flags} exclude each other: give one of them, or none.")
    keyword: dict[str, bool | str] = {"restricted": True, "unrestricted": False, "open": "open"}
    return keyword[names[0]] if names else None


def read_molecule(structure: str) -> Atoms:
    """Atoms from a file, or from ASE's g2 set if there is no such file.

    Raises
    ------
    ValueError
        If there is neither, and for a file with periodic boundary conditions.

    Examples
    --------
    >>> len(read_molecule("C6H6"))
    12
    >>> read_molecule("C6H7")
    Traceback (most recent call last):
    ValueError: there is neither a file C6H7 nor a molecule of this name in ASE's g2 set (C6H6, ...
    """
    path = Path(structure)
    if path.exists():
        atoms = calculation.read_structure(path)
        if atoms.pbc.any():
            raise ValueError(
                f"{structure} repeats periodically (pbc = {atoms.pbc.tolist()}): use deepchem-xc "
                "scf for a crystal; for a molecule, remove cell and pbc from the file."
            )
        return atoms
    from ase.build import molecule as of_g2
    from ase.collections import g2

    if structure in g2.names:
        return of_g2(structure)
    # Names are formulas, but "h2o" is no further from "H2O" than a letter.
    upper = {name.upper(): name for name in g2.names}
    found = difflib.get_close_matches(structure.upper(), upper, n=3, cutoff=0.4)
    near = [upper[name] for name in found] or ["H2O", "C6H6"]
    raise ValueError(
        f"there is neither a file {structure} nor a molecule of this name in ASE's g2 set "
        f"({', '.join(near)}, ...)."
    )


def set_threads(threads: int | None) -> None:
    """Threads of torch and of PySCF; None leaves both as they are."""
    option.torch_device("cpu", threads)
    if threads is not None:
        from pyscf import lib

        lib.num_threads(threads)
