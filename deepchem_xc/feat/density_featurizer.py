"""What the featurizers of converged densities have in common: a functional, and its identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepchem_xc.feat.crystal_featurizer import CrystalFeaturizer
from deepchem_xc.feat.dft_system import DFTSystem

if TYPE_CHECKING:
    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional

# Significant digits of a functional's energies by which two functionals are told apart.
_DIGITS = 9


class DensityFeaturizer(CrystalFeaturizer):
    """Base of featurizers that solve crystals with a functional.

    Parameters
    ----------
    functional : str or XCFunctional
        Anything `get_xc` takes.
    *arguments, **keywords
        As for `CrystalFeaturizer`.
    """

    def __init__(self, functional: str | XCFunctional, *arguments: Any, **keywords: Any) -> None:
        from deepchem_xc.xc import get_xc

        self.functional, self._functional = functional, get_xc(functional)
        super().__init__(*arguments, **keywords)

    def _solved(self, system: DFTSystem) -> SCFResult:
        return system.crystal_calculation().solve(self._functional).detach()

    def _content(self, name: str, value: Any) -> Any:
        if name != "functional":
            return super()._content(name, value)
        from deepchem_xc.xc.identity import fixed_energies, name_or_content

        if isinstance(value, str):
            return name_or_content(value)
        energies = fixed_energies(self._functional).detach().reshape(-1).tolist()
        return [type(value).__name__, *(f"{energy:.{_DIGITS}g}" for energy in energies)]
