"""Norm-conserving pseudopotentials behind one small interface (see base.py)."""

from __future__ import annotations

from .base import Channel, Pseudopotential
from .gth import GTHParameters, GTHPseudopotential, parse_gth
from .gth_files import FAMILIES, load_gth
from .loader import load_pseudopotential, load_pseudopotentials

__all__ = [
    "FAMILIES",
    "Channel",
    "GTHParameters",
    "GTHPseudopotential",
    "Pseudopotential",
    "load_gth",
    "load_pseudopotential",
    "load_pseudopotentials",
    "parse_gth",
]
