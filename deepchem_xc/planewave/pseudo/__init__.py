"""Norm-conserving pseudopotentials behind one small interface (see base.py)."""

from __future__ import annotations

from .base import Channel, Pseudopotential
from .functionals import FunctionalMismatchWarning, check_functional, functional_label
from .gth import GTHParameters, GTHPseudopotential, parse_gth
from .gth_files import FAMILIES, load_gth
from .loader import load_pseudopotential, load_pseudopotentials
from .numeric import NumericPseudopotential, RadialProjectors
from .psp8 import read_psp8
from .upf import read_upf

__all__ = [
    "FAMILIES",
    "Channel",
    "FunctionalMismatchWarning",
    "GTHParameters",
    "GTHPseudopotential",
    "NumericPseudopotential",
    "Pseudopotential",
    "RadialProjectors",
    "check_functional",
    "functional_label",
    "load_gth",
    "load_pseudopotential",
    "load_pseudopotentials",
    "parse_gth",
    "read_psp8",
    "read_upf",
]
