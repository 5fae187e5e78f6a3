"""The way out: an ASE calculator, and functionals inside other codes.

Contract: for ASE, atoms and keywords in, in its units (eV, Angstrom, mu_B); ASE's properties out,
in its units. A kept value is returned only for the same atoms, settings and functional; otherwise
it is computed again. For other codes, a functional and the code's own object in; that object, in
the code's units, with the functional's energies and derivatives out; the code is imported
only then. The room uses functionals and the solver alone, no data sets and no models.
"""

from __future__ import annotations

from deepchem_xc.calculators.gpaw_functional import read_gpw, to_gpaw
from deepchem_xc.calculators.plane_wave import PlaneWaveDFT
from deepchem_xc.calculators.pyscf_functional import to_pyscf

__all__ = ["PlaneWaveDFT", "read_gpw", "to_gpaw", "to_pyscf"]
