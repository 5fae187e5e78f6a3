"""PAW datasets and what happens inside their spheres.

Contract: files in; a `PAWDataset` out, with all functions on one radial mesh in Hartree atomic
units, and the tables of its sphere: matrices between partial waves that energies, overlaps and
charges are polynomials of. Nothing here knows a crystal or a basis: an atom is a symmetric matrix
(nstate, nstate) of partial-wave occupations for each spin.
"""

from __future__ import annotations

from .dataset import PartialWave, PAWDataset, ReferenceEnergies
from .loader import FAMILIES, available_variants, is_paw_source, load_paw
from .potential import PAWPotential
from .radial_grid import RadialGrid
from .reference_atom import ReferenceAtom
from .shapes import shape_functions
from .tables import OnSiteTables, on_site_tables
from .xml import is_paw_file, read_paw_xml

__all__ = [
    "FAMILIES",
    "OnSiteTables",
    "PAWDataset",
    "PAWPotential",
    "PartialWave",
    "RadialGrid",
    "ReferenceAtom",
    "ReferenceEnergies",
    "available_variants",
    "is_paw_file",
    "is_paw_source",
    "load_paw",
    "on_site_tables",
    "read_paw_xml",
    "shape_functions",
]
