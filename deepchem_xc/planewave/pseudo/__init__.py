"""Norm-conserving pseudopotentials behind one small interface.

Contract: files and built-in tables in, a `Pseudopotential` out: form factors as functions of
``|q|^2`` (bohr^-2) of any shape, in Hartree atomic units, at least twice differentiable. `base.py`
states this in full. A file with contradictions is refused when it is read. Nothing here knows a
crystal or a basis.
"""

from __future__ import annotations

from .base import AtomicPotential, Channel, Pseudopotential
from .digests import atom_digest, potential_digest
from .functionals import FunctionalMismatchWarning, check_functional, functional_label
from .gth import GTHParameters, GTHPseudopotential, parse_gth
from .gth_files import FAMILIES, load_gth
from .loader import load_pseudopotential, load_pseudopotentials
from .numeric import NumericPseudopotential, RadialProjectors
from .psp8 import read_psp8
from .upf import read_upf

__all__ = [
    "FAMILIES",
    "AtomicPotential",
    "Channel",
    "FunctionalMismatchWarning",
    "GTHParameters",
    "GTHPseudopotential",
    "NumericPseudopotential",
    "Pseudopotential",
    "RadialProjectors",
    "atom_digest",
    "check_functional",
    "functional_label",
    "load_gth",
    "load_pseudopotential",
    "load_pseudopotentials",
    "parse_gth",
    "potential_digest",
    "read_psp8",
    "read_upf",
]
