"""Functionals as objects of GPAW, which this module imports.

One object serves both of GPAW's interfaces. The new one takes a `gpaw.dft.XC` and asks it for a
functional, the old one takes the functional itself. Parameters of a calculation pass through
dictionaries inside GPAW, when a calculation at fixed density is set up or a file is written, so
that `todict` returns one that still is a `gpaw.dft.XC`: otherwise GPAW would look for a functional
of its own by that name.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from gpaw.dft import XC
from gpaw.xc.gga import GGA
from gpaw.xc.lda import LDA
from gpaw.xc.mgga import MGGA

from deepchem_xc.calculators.gpaw_kernel import FunctionalKernel
from deepchem_xc.calculators.gpaw_spheres import Sphere

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from deepchem_xc.xc import XCFunctional

    Array = NDArray[np.float64]

__all__ = ["CLASSES", "NAME", "Parameters"]

#: What GPAW calls the functional, in messages too: "Unknown functional: ..." follows when GPAW
#: itself opens a file of such a calculation. It must not contain names that GPAW looks for.
NAME = "one of deepchem_xc; open the file with deepchem_xc.calculators.read_gpw(path)"


class _InGPAW(XC):
    """What is common to functionals of all kinds; see the module's docstring."""

    kernel: FunctionalKernel
    _bound = False

    def __init__(self, functional: XCFunctional, setup_name: str, record: dict[str, Any]) -> None:
        # Not XC's constructor, whose attribute `name` is that of the other base classes too.
        super(XC, self).__init__(FunctionalKernel(functional, NAME))
        self.setup_name = setup_name
        self.record = record
        self._spheres: dict[int, Sphere] = {}

    def __repr__(self) -> str:
        functional = self.kernel.functional
        return f"to_gpaw({functional.name or type(functional).__name__})"

    def get_setup_name(self) -> str:
        """Functional of the PAW setups (part of GPAW's interface)."""
        return self.setup_name

    def get_description(self) -> str:
        """Text for the log (part of GPAW's interface)."""
        stencil = getattr(self, "stencil_range", None)
        tail = "" if stencil is None else f" with {stencil} nearest neighbor stencil"
        return f"{self!r} of deepchem_xc, {self.setup_name} setups{tail}"

    def todict(self) -> Parameters:
        """Content for files (part of GPAW's interface)."""
        return Parameters(self)

    def functional(self, *, collinear: bool, atoms: Atoms | None = None) -> _InGPAW:
        """Functional of one calculation (part of GPAW's new interface)."""
        if not collinear:
            raise NotImplementedError(
                f"{self!r} has no form for non-collinear magnets: leave out magmoms and soc, or "
                "take one of GPAW's functionals"
            )
        return self._for_one_calculation()

    def initialize(self, density: Any, hamiltonian: Any, wfs: Any) -> None:
        """Start of a calculation (part of GPAW's old interface)."""
        if not self._bound and hamiltonian.xc is self:
            # Functionals keep the grid of a calculation: give each its own, or two calculators that
            # were made with the same object would exchange them.
            hamiltonian.xc = self._for_one_calculation()
            hamiltonian.xc.initialize(density, hamiltonian, wfs)
        else:
            super().initialize(density, hamiltonian, wfs)

    def calculate_paw_correction(
        self,
        setup: Any,
        D_sp: Array,
        dEdD_sp: Array | None = None,
        addcoredensity: bool = True,
        a: int | None = None,
    ) -> float:
        """Energy of a sphere, Hartree (part of GPAW's interface); adds its derivative."""
        data = setup.xc_correction
        if data is None:
            return 0.0
        if not addcoredensity or data.nc_corehole_g is not None:
            # Rare cases, point by point as GPAW does it.
            slow: float = super().calculate_paw_correction(setup, D_sp, dEdD_sp, addcoredensity, a)
            return slow
        if id(data) not in self._spheres:
            self._spheres[id(data)] = Sphere(data, getattr(self, "initialize_kinetic", None))
        energy, derivative = self._spheres[id(data)].energy(self.kernel, D_sp)
        if dEdD_sp is not None:
            dEdD_sp += derivative
        return energy - float(data.e_xc0)

    def _for_one_calculation(self) -> _InGPAW:
        self.kernel.check_unchanged()
        mine = copy.copy(self)
        mine._bound = True
        mine._spheres = {}
        return mine


class _LDA(_InGPAW, LDA):
    pass


class _GGA(_InGPAW, GGA):
    pass


class _MGGA(_InGPAW, MGGA):
    pass


#: Class of the functionals of each type of GPAW's.
CLASSES: dict[str, type[_InGPAW]] = {"LDA": _LDA, "GGA": _GGA, "MGGA": _MGGA}


class Parameters(dict[str, Any], XC):
    """Dictionary for GPAW's files that also is the functional (see the module's docstring)."""

    def __init__(self, functional: _InGPAW) -> None:
        super().__init__(functional.record, name=NAME)
        self.name = NAME
        self._functional = functional

    def __repr__(self) -> str:
        return repr(self._functional)

    def todict(self) -> Parameters:
        """Again such a dictionary."""
        return Parameters(self._functional)

    def functional(self, *, collinear: bool, atoms: Atoms | None = None) -> _InGPAW:
        """Functional of one calculation."""
        return self._functional.functional(collinear=collinear, atoms=atoms)
