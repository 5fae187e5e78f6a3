"""The main benchmark, `deepchem-xc benchmark`: equations of state of four crystals next to GPAW's.

Contract: crystals with their settings in (`Case`), energies by volume out (eV, Angstrom^3), and
their comparison with GPAW's as text, JSON and a figure. cases.py defines the calculations,
points.py computes one energy, store.py keeps it, run.py runs all of them, report.py compares and
writes. Importing this package is cheap; only the computation of a point imports the solver.
"""

from __future__ import annotations

from deepchem_xc.against_gpaw.cases import CASES, QUICK_CASES, Case, select_cases
from deepchem_xc.against_gpaw.report import compare, format_table, write_report
from deepchem_xc.against_gpaw.run import BenchmarkError, run_benchmark

__all__ = [
    "CASES",
    "QUICK_CASES",
    "BenchmarkError",
    "Case",
    "compare",
    "format_table",
    "run_benchmark",
    "select_cases",
    "write_report",
]
