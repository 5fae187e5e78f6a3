"""Comparison of functionals: lattice constants of PBE, LDA and a trained functional.

The training (``data/recover_gga.yaml``) uses GPAW's equations of state of other crystals only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepchem_xc.against_gpaw.cases import Case
from deepchem_xc.tables import as_table

#: Five volumes, in the units of `Case.scales`, for each functional except PBE. The minima of the
#: LDA lie up to 10 % lower.
VOLUMES_OF: Mapping[str, tuple[float, ...]] = {
    "LDA": (0.85, 0.895, 0.94, 0.985, 1.03),
    "trained": (0.94, 0.98, 1.0, 1.02, 1.06),
}

# Tightest convergence of these curves: see `with_functional`.
_DENSITY, _ENERGY = 5e-4, 5e-6

#: Published errors of lattice constants of the one earlier system that trains a functional through
#: solids (arXiv 2602.15923).
PUBLISHED: Mapping[str, str] = {"Al": "5-10 %", "Ni": "5-10 %", "Ca": "5-10 %", "graphene": "fails"}
_PUBLISHED_NAME = "arXiv 2602.15923"


def with_functional(cases: Mapping[str, Case], name: str, xc: str) -> dict[str, Case]:
    """The same crystals and settings with another functional, by ``"system, functional"``.

    Datasets or potentials remain PBE's, so that only the functional differs. The loop ends earlier,
    because only lattice constants are compared.

    Parameters
    ----------
    cases : mapping
        From `select_cases`.
    name : str
        Name of the functional in tables.
    xc : str
        Name or file, as for `get_xc`.

    Examples
    --------
    >>> from deepchem_xc.against_gpaw import CASES
    >>> found = with_functional(CASES["paw"], "LDA", "LDA")
    >>> list(found)[0], found["Al, LDA"].scales[0]
    ('Al, LDA', 0.85)
    """
    scales = VOLUMES_OF.get(name, VOLUMES_OF["trained"])
    return {
        f"{system}, {name}": replace(
            case,
            xc=xc,
            scales=scales,
            density=max(case.density, _DENSITY),
            energy=max(case.energy, _ENERGY),
        )
        for system, case in cases.items()
    }


@dataclass(frozen=True)
class Row:
    """Lattice constants of one crystal.

    Attributes
    ----------
    system
        Name.
    reference
        GPAW's lattice constant with PBE, Angstrom.
    constants
        ``{functional: lattice constant}``, Angstrom; None if the curve has no minimum.
    """

    system: str
    reference: float
    constants: Mapping[str, float | None]

    def error(self, name: str) -> float | None:
        """Relative error of a functional."""
        a = self.constants[name]
        return None if a is None else a / self.reference - 1.0


def mean_error(rows: Sequence[Row], name: str) -> float | None:
    """Mean absolute relative error of a functional; None if a crystal has no minimum.

    Examples
    --------
    >>> rows = [Row("Al", 4.0, {"LDA": 3.96}), Row("Ni", 3.5, {"LDA": 3.57})]
    >>> print(f"{mean_error(rows, 'LDA'):.3f}")
    0.015
    """
    errors = [row.error(name) for row in rows]
    found = [abs(error) for error in errors if error is not None]
    return sum(found) / len(found) if rows and len(found) == len(rows) else None


def constants_of(
    cases: Mapping[str, Case],
    points: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str],
    reference: Mapping[str, Sequence[Mapping[str, Any]] | None],
) -> list[Row]:
    """Lattice constants of all functionals, for the crystals that have a reference.

    Parameters
    ----------
    cases : mapping
        The crystals, by system.
    points : mapping
        From `run_benchmark`; PBE's under the system's name, others under names from
        `with_functional`.
    names : sequence of str
        Functionals, including PBE.
    reference : mapping
        GPAW's points by system.
    """
    from deepchem_xc.against_gpaw.report import make_curve
    from deepchem_xc.eos.fits import NoMinimumError

    def constant(found: Sequence[Mapping[str, Any]]) -> float | None:
        try:
            return make_curve(found).a
        except NoMinimumError:
            return None

    rows = []
    for system in cases:
        theirs = reference[system]
        if theirs is None:
            continue
        keys = {name: system if name == "PBE" else f"{system}, {name}" for name in names}
        constants = {name: constant(points[key]) for name, key in keys.items()}
        rows.append(Row(system, make_curve(theirs).a, constants))
    return rows


def format_functionals(rows: Sequence[Row], quick: bool = False) -> str:
    """Markdown table of lattice constants and their errors.

    Parameters
    ----------
    rows : sequence of Row
        From `constants_of`.
    quick : bool, optional
        Note below the table that the settings are coarse.

    Examples
    --------
    >>> print(format_functionals([Row("Al", 4.0, {"LDA": 3.96})]).splitlines()[2])
    | Al            |   4.0000 | 3.9600 (-1.00 %) |           5-10 % |
    """
    names = list(rows[0].constants)
    lines = []
    for row in rows:
        cells = [row.system, f"{row.reference:.4f}"]
        for name in names:
            a, error = row.constants[name], row.error(name)
            if a is None or error is None:
                cells.append("no minimum")
            else:
                cells.append(f"{a:.4f} ({100 * error:+.2f} %)")
        lines.append([*cells, PUBLISHED.get(row.system, "-")])
    means = [mean_error(rows, name) for name in names]
    shown = ["-" if mean is None else f"{100 * mean:.2f} %" for mean in means]
    lines.append(["mean of errors", "", *shown, ""])
    header = ["system", "GPAW PBE", *names, _PUBLISHED_NAME]
    note = "Lattice constants in Angstrom, and errors against GPAW's with PBE."
    if quick:
        note += " Coarse settings (--quick): errors are mostly those of the settings."
    return "\n".join([as_table(lines, header, markdown=True), "", note])
