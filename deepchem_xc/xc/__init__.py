"""Exchange-correlation functionals as torch modules: energy densities and nothing else.

Contract: a functional turns a `ValGrad`, or a `SpinParam` of two, into an energy per volume
(..., nr), Hartree / bohr^3, differentiable with respect to density and parameters. It declares its
`ingredients`, is registered by one line, and can be added, scaled, saved and compared. It sees
points, never a basis, a cell or a solver; `integrated_energy` sums over points with weights.
"""

from __future__ import annotations

from ._deepchem import BaseXC, SpinParam, ValGrad
from .base import ScaledXC, SumXC, XCFunctional
from .by_name import get_xc
from .constrained import (
    ConstrainedGGA,
    ConstrainedMetaGGA,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
)
from .exact_exchange import ExactExchange, exchange_shares, refuse_exact_exchange
from .export import export_functional
from .file_format import FunctionalFileError
from .finite import FunctionalValueError, check_finite
from .gga_correlation import LYPCorrelation, PBECorrelation
from .gga_exchange import B88Exchange, GGAExchange, PBEExchange, RPBEExchange
from .ingredients import Ingredients
from .integrate import integrated_energies, integrated_energy
from .lda import PW92Correlation, SlaterExchange, Teter93, VWNCorrelation
from .libxc import LibXC
from .loading import load_functional
from .neural import NNLDA, NNPBE, HybridXC
from .one_orbital import OneOrbital
from .pbe import PBE
from .plain import PlainXC
from .r2scan import R2SCANCorrelation, R2SCANExchange
from .saving import check_savable, save_functional
from .variables import DensityVariables

__all__ = [
    "B88Exchange",
    "BaseXC",
    "ConstrainedGGA",
    "ConstrainedMetaGGA",
    "DensityVariables",
    "ExactExchange",
    "FunctionalFileError",
    "FunctionalValueError",
    "GGAExchange",
    "HybridXC",
    "Ingredients",
    "LYPCorrelation",
    "LibXC",
    "NNLDA",
    "NNPBE",
    "OneOrbital",
    "PBE",
    "PBECorrelation",
    "PBEExchange",
    "PW92Correlation",
    "PlainXC",
    "R2SCANCorrelation",
    "R2SCANExchange",
    "RPBEExchange",
    "ScaledXC",
    "SlaterExchange",
    "SpinParam",
    "SumXC",
    "Teter93",
    "UnconstrainedGGA",
    "UnconstrainedMetaGGA",
    "VWNCorrelation",
    "ValGrad",
    "XCFunctional",
    "check_finite",
    "check_savable",
    "exchange_shares",
    "export_functional",
    "get_xc",
    "integrated_energies",
    "integrated_energy",
    "load_functional",
    "refuse_exact_exchange",
    "save_functional",
]
