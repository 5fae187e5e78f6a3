"""Exchange-correlation functionals as torch modules: energy densities and nothing else."""

from __future__ import annotations

from ._deepchem import BaseXC, SpinParam, ValGrad
from .base import ScaledXC, SumXC, XCFunctional
from .constrained import (
    ConstrainedGGA,
    ConstrainedMetaGGA,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
)
from .finite import FunctionalValueError, check_finite
from .gga_correlation import LYPCorrelation, PBECorrelation
from .gga_exchange import B88Exchange, GGAExchange, PBEExchange, RPBEExchange
from .lda import PW92Correlation, SlaterExchange, Teter93, VWNCorrelation
from .libxc import LibXC
from .neural import NNLDA, NNPBE, HybridXC
from .one_orbital import OneOrbital
from .pbe import PBE
from .plain import PlainXC
from .r2scan import R2SCANCorrelation, R2SCANExchange
from .registry import get_xc
from .saving import FunctionalFileError, check_savable, load_functional, save_functional
from .variables import DensityVariables

__all__ = [
    "B88Exchange",
    "BaseXC",
    "ConstrainedGGA",
    "ConstrainedMetaGGA",
    "DensityVariables",
    "FunctionalFileError",
    "FunctionalValueError",
    "GGAExchange",
    "HybridXC",
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
    "get_xc",
    "load_functional",
    "save_functional",
]
