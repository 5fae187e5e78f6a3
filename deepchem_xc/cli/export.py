"""Implementation of `deepchem-xc export`."""

from __future__ import annotations

from pathlib import Path

import typer

from deepchem_xc.cli.options import say
from deepchem_xc.tables import as_table
from deepchem_xc.xc import exchange_shares, export_functional, get_xc


def export_and_describe(functional: str, file: Path, nspin: int) -> None:
    """Export a functional and print the signature of its program.

    Examples
    --------
    >>> import tempfile
    >>> export_and_describe("lda_x", Path(tempfile.mkdtemp()) / "slater.pt2", nspin=1)
            name    shape    unit            meaning
    input   rho     (1, n)   1/bohr^3        density, negative values count as zero
    output  exc     (n)      Hartree/bohr^3  energy per volume, not per electron
    output  vrho    (1, n)   Hartree         d exc / d rho
    """
    chosen = get_xc(functional)
    signature = export_functional(chosen, file, nspin=nspin)
    rows = []
    for kind, quantities in (("input", signature.inputs), ("output", signature.outputs)):
        for given in quantities:
            rows_of = f" ({', '.join(given.rows)})" if len(given.rows) > 1 else ""
            shape = f"({', '.join(map(str, given.shape))})"
            rows.append([kind, given.name, shape, given.unit, given.meaning + rows_of])
    typer.echo(as_table(rows, ["", "name", "shape", "unit", "meaning"], left=5))
    for omega, share in exchange_shares(chosen).items():
        of = "1/r" if omega == 0.0 else f"erf({omega:g} r)/r"
        typer.echo(
            f"not in the program, for the caller to add: {float(share):g} exact exchange of {of}"
        )
    say(f"program in {file}")
