"""Networks that predict densities of electrons from structures.

Contract: structures with plane waves (`PlaneWaveBasis`) in; total densities, or their differences
from superposed atoms, out: coefficients on the sphere, (nspin, nG), bohr^-3, in the graph of the
parameters, positions and lattice. `AtomDensityNetwork` sums functions around atoms and keeps the
number of electrons by construction; `ProbeDensityNetwork` evaluates points of a grid. `losses`
compares densities. A network knows neither records nor functionals: `DensityPredictor` holds what
it was made for, turns its output into total densities, and is what calculations are given.
`OtherCodePredictor` does this for records of another code, without our atoms, and calculations
refuse it. Nothing here knows data sets.
"""

from __future__ import annotations

from deepchem_xc.densities.atom_network import AtomDensityNetwork
from deepchem_xc.densities.losses import DensityLoss
from deepchem_xc.densities.neighbours import Neighbours, find_neighbours
from deepchem_xc.densities.network import DensityNetwork
from deepchem_xc.densities.other_code import OtherCodePredictor
from deepchem_xc.densities.predictor import DensityPredictor
from deepchem_xc.densities.probe_network import ProbeDensityNetwork

__all__ = [
    "AtomDensityNetwork",
    "DensityLoss",
    "DensityNetwork",
    "DensityPredictor",
    "Neighbours",
    "OtherCodePredictor",
    "ProbeDensityNetwork",
    "find_neighbours",
]
