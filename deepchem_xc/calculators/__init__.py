"""The way out: what computes here serves other programs.

Contract: ASE's atoms and keywords in its units in (eV, Angstrom, mu_B), ASE's properties in its
units out. A value belongs to the atoms, settings and functional that are asked for, or is computed
anew. Stands on functionals and the solver alone; knows no data sets and no models.
"""

from __future__ import annotations

from deepchem_xc.calculators.plane_wave import PlaneWaveDFT

__all__ = ["PlaneWaveDFT"]
