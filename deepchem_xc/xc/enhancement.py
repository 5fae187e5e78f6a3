"""Enhancement factors: energy densities relative to exchange of the uniform gas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ._deepchem import BaseXC
from .base import SumXC, as_functional
from .lda import SLATER
from .sampling import densities_at, device_of

__all__ = ["enhancement", "exchange_enhancement"]

# Wigner-Seitz radii (bohr) at which a functional counts as exchange if both give the same factor,
# and those at which the correlation that it contains is negligible: its share vanishes as
# r_s ln(r_s), 1e-8 at the last one.
_ORDINARY = (1.0, 0.1)
_SMALL = (1e-8, 1e-9)
_EQUAL = 1e-9
_CONVERGED = 1e-6


def enhancement(
    functional: BaseXC,
    rs: ArrayLike,
    s: ArrayLike,
    zeta: ArrayLike = 0.0,
    alpha: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    r"""Enhancement factor of exchange and correlation, dimensionless.

    .. math:: F_{xc}(r_s, s, \zeta, \alpha) = e_{xc} / e_x^{LDA}(n, \zeta = 0)

    Parameters
    ----------
    functional : BaseXC
        Of any family.
    rs : array_like
        Wigner-Seitz radius of the total density, bohr.
    s : array_like
        Reduced gradient ``|grad n| / (2 kF n)``, of the total density; without effect on an LDA.
    zeta : array_like, optional
        Relative polarisation, -1 to 1, taken to be uniform: both channels have gradients in
        proportion to their densities.
    alpha : array_like, optional
        Iso-orbital indicator of each channel, for meta-GGAs; 1 is that of the uniform gas.

    Returns
    -------
    ndarray
        With the common shape of the arguments.

    Raises
    ------
    ValueError
        If a radius is not positive, a gradient or alpha is negative, or a polarisation is outside
        -1 to 1.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> from deepchem_xc.xc.enhancement import enhancement
    >>> enhancement(get_xc("PBE"), 2.0, [0.0, 1.0, 2.0]).round(3).tolist()
    [1.195, 1.25, 1.435]
    """
    xc = as_functional(functional)
    arrays = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (rs, s, zeta, alpha))
    )
    for name, array, valid, what in zip(
        ("rs", "s", "zeta", "alpha"),
        arrays,
        (arrays[0] > 0, arrays[1] >= 0, np.abs(arrays[2]) <= 1, arrays[3] >= 0),
        ("above 0", "at least 0", "from -1 to 1", "at least 0"),
    ):
        if not (valid & np.isfinite(array)).all():
            wrong = array[~(valid & np.isfinite(array))].flat[0]
            raise ValueError(f"{name} must be {what}, got {wrong}.")
    device = device_of(xc)
    tensors = [torch.as_tensor(a.ravel().copy(), dtype=torch.float64).to(device) for a in arrays]
    with torch.no_grad():
        factor = xc.get_edensityxc(densities_at(*tensors)) / _uniform_exchange(tensors[0])
    return np.asarray(factor.cpu().numpy().reshape(arrays[0].shape))


def exchange_enhancement(
    functional: BaseXC, s: ArrayLike, alpha: ArrayLike = 1.0
) -> NDArray[np.float64]:
    r"""Enhancement factor of exchange of an unpolarised density, dimensionless.

    Under uniform scaling to high density only exchange remains [1]_:
    :math:`F_x(s) = \lim_{r_s \to 0} F_{xc}(r_s, s)`. Terms of a sum that do not depend on r_s are
    exchange and evaluated exactly; of the others the limit is taken at r_s = 1e-9 bohr, where the
    share of correlation is about 1e-8.

    Parameters
    ----------
    functional : BaseXC
        Of any family.
    s, alpha : array_like
        As for `enhancement`.

    Returns
    -------
    ndarray
        With the common shape of the arguments.

    Raises
    ------
    ValueError
        If the functional does not obey the scaling, so that its exchange is not defined.

    References
    ----------
    .. [1] M. Levy and J. P. Perdew, Phys. Rev. A 32, 2010 (1985).

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> from deepchem_xc.xc.enhancement import exchange_enhancement
    >>> exchange_enhancement(get_xc("PBE"), [0.0, 1.0]).round(4)
    array([1.    , 1.1724])
    """
    xc = as_functional(functional)
    total: Any = 0.0
    for term in xc.terms if isinstance(xc, SumXC) else [xc]:
        total = total + _scaled_part(term, s, alpha)
    return np.asarray(total, dtype=np.float64)


def _scaled_part(term: Any, s: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    one, other = (enhancement(term, rs, s, alpha=alpha) for rs in _ORDINARY)
    if np.allclose(one, other, rtol=_EQUAL, atol=_EQUAL):
        return one
    before, last = (enhancement(term, rs, s, alpha=alpha) for rs in _SMALL)
    change = float(np.max(np.abs(last - before)))
    if not change < _CONVERGED:
        raise ValueError(
            f"{term.name} has no exchange by scaling: its factor changes by {change:.2g} between "
            f"r_s = {_SMALL[0]} and {_SMALL[1]} bohr instead of reaching a limit. Take "
            "enhancement(functional, rs, s) at the densities of interest."
        )
    return last


def _uniform_exchange(rs: Tensor) -> Tensor:
    """Energy density of exchange of the unpolarised uniform gas, Hartree / bohr^3."""
    energy: Tensor = SLATER * 3.0 / (4.0 * math.pi * rs**4)
    return energy
