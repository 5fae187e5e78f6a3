r"""Screening of residuals in a gapped crystal: a model of its dielectric function.

Without states at the Fermi level the electrons still screen long waves, by the dielectric constant:
about 12 in silicon. A step along the bare residual overshoots there. The model needs no input: the
dielectric constant follows from the levels, its decrease with G from the mean density.

Only strong screening is modelled. A crystal of ions screens little, and not at all uniformly.
"""

from __future__ import annotations

import math

from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

# Part of a full level by which occupations of a gapped crystal may differ from zero and one.
_PARTLY = 0.2
# Dielectric constant above which the model is used.
_STRONG = 10.0
# Smallest energy difference, Hartree, in the estimate of the dielectric constant.
_CLOSE = 1e-2
# Coefficient of the Thomas-Fermi term of the dielectric function, as published for semiconductors.
_THOMAS_FERMI = 1.563


def strong_screening(
    basis: PlaneWaveBasis, eigenvalues: Tensor, occupations: Tensor
) -> float | None:
    r"""Dielectric constant of a gapped crystal that screens strongly; None for any other.

    All filled states v are excited to the mean energy :math:`\bar e` of the empty bands, with the
    oscillator strength of free electrons [1]_:

    .. math:: \epsilon = 1 + \frac{4 \pi}{\Omega} \sum_v \frac{f_v}{(\bar e - e_v)^2}

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides volume and weights of the k-points.
    eigenvalues : Tensor
        (nspin, nk, nband), Hartree.
    occupations : Tensor
        (nspin, nk, nband), electrons.

    Returns
    -------
    float or None
        Dielectric constant. None if it is below 10, if levels are partly filled, if the number of
        filled bands differs between k-points, or if there is no empty band.

    References
    ----------
    .. [1] D. R. Penn, Phys. Rev. 128, 2093 (1962).

    Examples
    --------
    >>> import torch
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> levels = torch.tensor([[[0.0, 0.2, 0.2, 0.2, 0.35]]], dtype=torch.float64)
    >>> filled = torch.tensor([[[2.0, 2.0, 2.0, 2.0, 0.0]]], dtype=torch.float64)
    >>> round(strong_screening(basis, levels, filled), 1)
    14.2
    >>> print(strong_screening(basis, 2.0 * levels, filled))
    None
    """
    full = 2.0 / eigenvalues.shape[0]
    parts = occupations / full
    filled = parts > 0.5
    weights = basis.weights[:, None].expand_as(eigenvalues)
    of_empty = weights * ~filled
    bands = filled.sum(-1)
    crossed = bool((bands != bands[:, :1]).any())
    partly = float((parts - filled.to(parts.dtype)).abs().max()) > _PARTLY
    if crossed or partly or not bool(of_empty.any()):
        return None
    mean = (of_empty * eigenvalues).sum() / of_empty.sum()
    squares = (mean - eigenvalues).clamp_min(_CLOSE).square()
    strength = (weights * filled * full / squares).sum() / basis.volume
    constant = 1.0 + 4.0 * math.pi * float(strength)
    return constant if constant > _STRONG else None


def dielectric_function(basis: PlaneWaveBasis, nelectrons: float, constant: float) -> Tensor:
    r"""Model dielectric function of a semiconductor at every G, (nG,), without unit [1]_.

    .. math:: \epsilon(G) = 1 + \left[ \frac{1}{\epsilon - 1} + 1.563 \frac{G^2}{q_{TF}^2}
              + \frac{G^4}{4 \omega_p^2} \right]^{-1}

    The Thomas-Fermi wave number and the plasma frequency are those of the mean density.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides G and volume.
    nelectrons : float
        Valence electrons in the cell.
    constant : float
        Dielectric constant, the value at G = 0; above 1.

    References
    ----------
    .. [1] G. Cappellini, R. Del Sole, L. Reining, F. Bechstedt, Phys. Rev. B 47, 9892 (1993).

    Examples
    --------
    Long waves are screened by the dielectric constant, short ones not at all:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 20.0, (1, 1, 1))
    >>> screening = dielectric_function(basis, 8.0, 12.0)
    >>> [round(float(screening[i]), 2) for i in (0, int(basis.density_q2.argmax()))]
    [12.0, 1.0]
    """
    density = nelectrons / float(basis.volume)
    thomas_fermi = 4.0 * (3.0 * density / math.pi) ** (1.0 / 3.0)
    plasma = 4.0 * math.pi * density
    q2 = basis.density_q2
    inverse = _THOMAS_FERMI * q2 / thomas_fermi + q2.square() / (4.0 * plasma)
    return 1.0 + 1.0 / (1.0 / (constant - 1.0) + inverse)
