"""Enhancement factors of exchange and correlation, for the comparison of functionals."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from deepchem_xc.xc import ValGrad, XCFunctional


def enhancement_factor(
    functional: XCFunctional, s: ArrayLike, radius: float
) -> NDArray[np.float64]:
    """Energy of exchange and correlation relative to Slater's exchange, closed shell.

    Parameters
    ----------
    functional : XCFunctional
        An LDA or a GGA.
    s : array_like
        Reduced gradients, (n,).
    radius : float
        Wigner-Seitz radius, bohr; 1.5 to 4 for valence electrons.

    Returns
    -------
    ndarray
        (n,).
    """
    gradient = torch.as_tensor(np.asarray(s, dtype=np.float64))
    with torch.no_grad():
        found = factors(functional, gradient, torch.full_like(gradient, radius))
    return np.asarray(found.numpy())


def factors(functional: XCFunctional, s: Tensor, radius: Tensor) -> Tensor:
    """The same at pairs of reduced gradient and radius, (n,), in the functional's graph."""
    density = 3.0 / (4.0 * math.pi * radius**3)
    fermi_wavevector = (3.0 * math.pi**2 * density) ** (1.0 / 3.0)
    grad = torch.zeros(3, len(s), dtype=torch.float64)
    grad[0] = 2.0 * fermi_wavevector * density * s
    energy = functional.get_edensityxc(ValGrad(value=density, grad=grad))
    slater = -0.75 * (3.0 / math.pi) ** (1.0 / 3.0) * density ** (4.0 / 3.0)
    return energy / slater
