"""The main benchmark: equations of state of four crystals next to GPAW.

Contract: cases in; energies, lattice constants, bulk moduli and their differences from GPAW's out,
as tables, JSON and figures, in eV, Angstrom and GPa. Every point is kept under a hash of its
settings and the version, and a run goes on from what is there.

cases.py says what is computed, points.py computes one energy, store.py keeps it, run.py works
through all of them, report.py compares and writes. Importing this package is cheap; the solver is
imported where a point is computed.
"""

from __future__ import annotations

from deepchem_xc.benchmark.cases import CASES, QUICK_CASES, Case, select_cases
from deepchem_xc.benchmark.report import compare, format_table, write_report
from deepchem_xc.benchmark.run import BenchmarkError, run_benchmark

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
