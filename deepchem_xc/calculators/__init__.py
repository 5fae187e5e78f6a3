"""The way out: ASE calculators, and functionals inside other codes.

Contract: for ASE, atoms and keywords in, in its units (eV, Angstrom, mu_B); ASE's properties out,
in its units. A kept value is returned only for the same atoms, settings and functional; otherwise
it is computed again. For other codes, a functional and the code's own object in; that object, in
the code's units, with the functional's energies and derivatives out; the code is imported
only then. The room uses functionals and the solvers alone, no data sets and no models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepchem_xc.calculators.plane_wave import PlaneWaveDFT

if TYPE_CHECKING:
    from deepchem_xc.calculators.gaussian import GaussianDFT
    from deepchem_xc.calculators.gpaw_functional import read_gpw, to_gpaw
    from deepchem_xc.calculators.pyscf_functional import to_pyscf

__all__ = ["GaussianDFT", "PlaneWaveDFT", "read_gpw", "to_gpaw", "to_pyscf"]

# Imported when asked for: the first calculator needs no DeepChem, which functionals import.
_LATER = {
    "GaussianDFT": "gaussian",
    "read_gpw": "gpaw_functional",
    "to_gpaw": "gpaw_functional",
    "to_pyscf": "pyscf_functional",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
