"""The command line, `deepchem-xc`: one file a command, its options once.

Contract: a command reads files and options (eV, Angstrom), calls the package as a user would, and
prints tables or writes JSON and figures. An error is one line and status 1. Nothing is computed
here, and importing this package, or asking for help, imports neither torch nor DeepChem.
"""

from __future__ import annotations

from deepchem_xc.cli.commands import app, main

__all__ = ["app", "main"]
