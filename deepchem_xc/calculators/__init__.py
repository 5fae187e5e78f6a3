"""The way out: the solver as an ASE calculator, and functionals inside other codes.

Contract: ASE's atoms and keywords in, in its units (eV, Angstrom, mu_B); ASE's properties out, in
its units. A kept value is returned only for the same atoms, settings and functional; otherwise it
is computed again. `to_gpaw` makes GPAW's object of a functional; GPAW is imported only then. The
room uses functionals and the solver alone, no data sets and no models.
"""

from __future__ import annotations

from deepchem_xc.calculators.gpaw_functional import read_gpw, to_gpaw
from deepchem_xc.calculators.plane_wave import PlaneWaveDFT

__all__ = ["PlaneWaveDFT", "read_gpw", "to_gpaw"]
