"""Exchange-correlation functionals as torch modules: energy densities and nothing else."""

from __future__ import annotations

from ._deepchem import BaseXC, SpinParam, ValGrad
from .base import ScaledXC, SumXC, XCFunctional
from .gga_correlation import LYPCorrelation, PBECorrelation
from .gga_exchange import B88Exchange, GGAExchange, PBEExchange, RPBEExchange
from .lda import PW92Correlation, SlaterExchange, Teter93, VWNCorrelation
from .libxc import LibXC
from .pbe import PBE
from .registry import get_xc
from .variables import DensityVariables

__all__ = [
    "PBE",
    "B88Exchange",
    "BaseXC",
    "DensityVariables",
    "GGAExchange",
    "LYPCorrelation",
    "LibXC",
    "PBECorrelation",
    "PBEExchange",
    "PW92Correlation",
    "RPBEExchange",
    "ScaledXC",
    "SlaterExchange",
    "SpinParam",
    "SumXC",
    "Teter93",
    "VWNCorrelation",
    "ValGrad",
    "XCFunctional",
    "get_xc",
]
