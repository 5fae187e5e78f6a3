"""The command line, `deepchem-xc`: one file a command; each option is defined once.

Contract: a command reads files and options (eV, Angstrom), calls the package as a user would, and
prints tables or writes JSON and figures. An error is one line and status 1. Nothing is computed
here. Neither importing this package nor the help imports torch or DeepChem.
"""

from __future__ import annotations

from deepchem_xc.cli.commands import app, main

__all__ = ["app", "main"]
