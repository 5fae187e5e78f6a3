"""Comparison of equations of state with GPAW's, as a table, JSON and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc._files import write_json
from deepchem_xc.against_gpaw.cases import Case
from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from deepchem_xc.eos.fits import EquationOfStateFit
    from deepchem_xc.plotting import EosPanel

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """Energies of one code and the quantities fitted to them.

    Attributes
    ----------
    sizes
        Volumes (Angstrom^3), or areas (Angstrom^2) of a layer.
    energies
        eV per cell, extrapolated to zero smearing width.
    fit
        Equation of state.
    a
        Lattice constant, Angstrom.
    moment
        Moment at scale 1, the same volume for both codes, mu_B per cell.
    seconds
        Computing time, summed over the points.
    """

    sizes: tuple[float, ...]
    energies: tuple[float, ...]
    fit: EquationOfStateFit
    a: float
    moment: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """One system compared with its reference, if there is one.

    Attributes
    ----------
    case
        Settings and expected agreement.
    curve, reference
        Curves of this package and of GPAW.
    gth_a
        Lattice constant with GTH potentials, Angstrom, to be shown beside the others.
    a_error, modulus_error
        Relative errors.
    moment_error
        Error, mu_B.
    """

    case: Case
    curve: Curve
    reference: Curve | None
    a_error: float | None = None
    modulus_error: float | None = None
    moment_error: float | None = None
    gth_a: float | None = None

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Names of the errors that exceed the case's limits."""
        errors = {
            "a": (self.a_error, self.case.a_limit),
            "modulus": (self.modulus_error, self.case.modulus_limit),
            "moment": (self.moment_error, self.case.moment_limit),
        }
        return tuple(
            name for name, (error, limit) in errors.items() if error and abs(error) > limit
        )


def lattice_constant(fit: EquationOfStateFit) -> float:
    """Lattice constant (Angstrom) of an fcc crystal or a hexagonal layer from its curve."""
    # A hexagonal cell has the area a^2 sqrt(3) / 2, the primitive fcc cell the volume a^3 / 4.
    if fit.dimension == 2:
        return float((2 * fit.size / 3**0.5) ** 0.5)
    return float((4 * fit.size) ** (1 / 3))


def make_curve(points: Iterable[Point]) -> Curve:
    """Fit points from `compute_point` or `load_gpaw_eos`."""
    from deepchem_xc.eos.fits import fit_equation_of_state

    points = sorted(points, key=lambda point: point["scale"])
    layer = "area" in points[0]
    sizes = tuple(float(point["area" if layer else "volume"]) for point in points)
    energies = tuple(float(point["energy"]) for point in points)
    fit = fit_equation_of_state(sizes, energies, dimension=2 if layer else 3)
    middle = min(points, key=lambda point: abs(point["scale"] - 1.0))
    return Curve(
        sizes,
        energies,
        fit,
        a=lattice_constant(fit),
        moment=abs(float(middle["magmom"])),
        seconds=sum(float(point["seconds"]) for point in points),
    )


def compare(
    case: Case,
    points: Iterable[Point],
    reference: Iterable[Point] | None,
    gth_a: float | None = None,
) -> Comparison:
    """Fit both sets of points and take the differences.

    Parameters
    ----------
    case : Case
        Crystal and settings.
    points : iterable of mapping
        From `run_benchmark`.
    reference : iterable of mapping, optional
        ``load_gpaw_eos()[system]["points"]``.
    gth_a : float, optional
        Lattice constant with GTH potentials, Angstrom, for a column of its own.

    Raises
    ------
    ValueError
        If the points do not enclose a minimum; the message names the system.
    """
    try:
        ours = make_curve(points)
    except ValueError as error:
        raise ValueError(f"{case.system}: {error}") from error
    if reference is None:
        return Comparison(case, ours, None, gth_a=gth_a)
    try:
        theirs = make_curve(reference)
    except ValueError as error:
        raise ValueError(f"reference of {case.system}: {error}") from error
    return Comparison(
        case,
        ours,
        theirs,
        a_error=ours.a / theirs.a - 1,
        modulus_error=ours.fit.modulus / theirs.fit.modulus - 1,
        moment_error=ours.moment - theirs.moment if case.magmom else None,
        gth_a=gth_a,
    )


_HEADER = (
    ("system", "a (Angstrom)", "GPAW", "error")
    + ("B (GPa; layer N/m)", "GPAW", "error")
    + ("moment (mu_B)", "GPAW", "error", "time (s)")
)
_GTH = "a, GTH"


def format_table(
    comparisons: Sequence[Comparison], quick: bool = False, live_gpaw: bool = False
) -> str:
    """Markdown table that is also readable as text; ``!`` marks errors beyond the limits.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One for each row.
    quick : bool, optional
        Note below the table that the settings are coarse.
    live_gpaw : bool, optional
        Note below the table that the reference was computed here, not taken from the project.
    """
    notes = []
    if quick:
        notes.append(
            "Coarse settings (--quick): these errors are mostly those of the settings. "
            "The full benchmark tells how well the two codes agree."
        )
    if live_gpaw:
        seconds = sum(c.reference.seconds for c in comparisons if c.reference)
        notes.append(f"GPAW's numbers were computed here (--live-gpaw), in {seconds:.0f} s.")
    if any(comparison.exceeded for comparison in comparisons):
        notes.append("! beyond the agreement that is expected of converged settings.")
    missing = [c.case.system for c in comparisons if c.reference is None]
    if missing:
        notes.append(f"No reference for {', '.join(missing)}.")
    notes.append("Moment at GPAW's reference volume. Time: sum over the points.")
    header: tuple[str, ...] = _HEADER
    rows = [_row(comparison) for comparison in comparisons]
    if any(comparison.gth_a is not None for comparison in comparisons):
        header = (*header, _GTH)
        rows = [(*row, _beside(one)) for row, one in zip(rows, comparisons)]
        notes.append(f"{_GTH}: with norm-conserving potentials, from data/gth_eos.json.")
    return "\n".join([as_table(rows, header, markdown=True), "", *notes])


def _beside(comparison: Comparison) -> str:
    """Lattice constant with GTH potentials and its error."""
    if comparison.gth_a is None:
        return "-"
    if comparison.reference is None:
        return f"{comparison.gth_a:.4f}"
    error = comparison.gth_a / comparison.reference.a - 1
    return f"{comparison.gth_a:.4f} ({100 * error:+.2f} %)"


def _row(comparison: Comparison) -> tuple[str, ...]:
    ours, theirs, exceeded = comparison.curve, comparison.reference, comparison.exceeded

    def percent(name: str, error: float | None) -> str:
        if error is None:
            return "-"
        return f"{100 * error:+.2f} %" + (" !" if name in exceeded else "")

    cells = [comparison.case.system, f"{ours.a:.4f}"]
    cells += [f"{theirs.a:.4f}" if theirs else "-", percent("a", comparison.a_error)]
    cells += [f"{ours.fit.modulus:.1f}", f"{theirs.fit.modulus:.1f}" if theirs else "-"]
    cells += [percent("modulus", comparison.modulus_error)]
    if comparison.case.magmom:
        cells += [f"{ours.moment:.3f}", f"{theirs.moment:.3f}" if theirs else "-"]
        error = comparison.moment_error
        mark = " !" if "moment" in exceeded else ""
        cells += ["-" if error is None else f"{error:+.3f}{mark}"]
    else:
        cells += ["-", "-", "-"]
    return (*cells, f"{ours.seconds:.0f}")


def about_run() -> dict[str, Any]:
    """Versions and processor, which record the origin of a result."""
    import platform
    from importlib.metadata import version

    packages = ("deepchem-xc", "torch", "deepchem", "ase", "pyscf", "numpy")
    return {
        "versions": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def write_report(
    comparisons: Sequence[Comparison],
    output: str | Path,
    quick: bool = False,
    about: Mapping[str, Any] | None = None,
    live_gpaw: bool = False,
) -> dict[str, Path]:
    """Write ``benchmark.json``, ``benchmark.md`` and ``benchmark.png`` into a folder.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One for each system.
    output : path
        Folder.
    quick : bool, optional
        Whether the settings are coarse.
    about : mapping, optional
        Further content of the JSON file: versions, times.
    live_gpaw : bool, optional
        Whether the reference was computed here, not taken from the project.

    Returns
    -------
    dict
        Path by kind: json, table, figure.
    """
    from deepchem_xc.plotting import plot_equations_of_state

    output = Path(output)
    paths = {
        "json": output / "benchmark.json",
        "table": output / "benchmark.md",
        "figure": output / "benchmark.png",
    }
    write_json(
        paths["json"],
        {
            "quick": quick,
            "live_gpaw": live_gpaw,
            **(about or {}),
            "units": {
                "sizes": "Angstrom^3, layers Angstrom^2",
                "energies": "eV per cell",
                "a": "Angstrom",
                "modulus": "GPa, layers N/m",
                "moment": "mu_B per cell",
            },
            "systems": {c.case.system: _as_dict(c) for c in comparisons},
        },
    )
    paths["table"].write_text(format_table(comparisons, quick, live_gpaw) + "\n")
    title = "Equations of state with PBE" + (" (coarse settings)" if quick else "")
    plot_equations_of_state([_panel(c) for c in comparisons], paths["figure"], title)
    return paths


def _panel(comparison: Comparison) -> EosPanel:
    from deepchem_xc.plotting import EosCurve, EosPanel

    named = (("deepchem_xc", comparison.curve), ("GPAW", comparison.reference))
    unit = "N/m" if comparison.curve.fit.dimension == 2 else "GPa"
    return EosPanel(
        comparison.case.system,
        tuple(
            EosCurve(
                f"{name}: a = {curve.a:.3f}, B = {curve.fit.modulus:.1f} {unit}",
                curve.sizes,
                curve.energies,
                curve.fit,
            )
            for name, curve in named
            if curve is not None
        ),
    )


def _as_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "settings": comparison.case.settings(),
        "ours": asdict(comparison.curve),
        "gpaw": asdict(comparison.reference) if comparison.reference else None,
        "gth_a": comparison.gth_a,
        "errors": {
            "a": comparison.a_error,
            "modulus": comparison.modulus_error,
            "moment": comparison.moment_error,
        },
        "beyond_expectation": list(comparison.exceeded),
    }
