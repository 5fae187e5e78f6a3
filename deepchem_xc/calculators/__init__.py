"""ASE calculator, through which other programs use the solver.

Contract: ASE's atoms and keywords in, in its units (eV, Angstrom, mu_B); ASE's properties out, in
its units. A kept value is returned only for the same atoms, settings and functional; otherwise it
is computed again. The room uses functionals and the solver alone, no data sets and no models.
"""

from __future__ import annotations

from deepchem_xc.calculators.plane_wave import PlaneWaveDFT

__all__ = ["PlaneWaveDFT"]
