"""Densities, and kinetic energy densities, of products of two sets of orbitals."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.real_gauge import RealGauge
from deepchem_xc.planewave.density import sum_of_squares
from deepchem_xc.planewave.fields import Fields


def pair_density(
    pieces: GridPieces,
    gauge: RealGauge | None,
    left: Tensor,
    right: Tensor,
    ks: range,
    factor: Tensor | None = None,
) -> Tensor:
    r"""Sum of Re(left* right) over bands and some k-points of one spin, not yet symmetrised.

    .. math:: n_G = \int e^{-iG.r} \sum_{nk} Re[a_{nk}^*(r) b_{nk}(r)] dr

    in electrons if a and b are normalised; divided by the volume it is a density.

    Parameters
    ----------
    pieces : GridPieces
        How to cut the FFTs.
    gauge : RealGauge or None
        Needed for real orbitals. About an inversion centre the result may then contain parts that
        are odd under inversion; symmetrise it.
    left, right : Tensor
        (nk, nband, npw), both complex or both real.
    ks : range
        Their k-points.
    factor : Tensor, optional
        Real factor of the plane waves of both, (nk, npw).

    Returns
    -------
    Tensor
        Sphere coefficients, (nG,).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, convergence={"density": 1e-4})
    >>> filled = result.orbitals[0, :, :4]
    >>> n = pair_density(result.problem.pieces, None, filled, 2.0 * filled, range(1))
    >>> round(float(n[0].real), 9)
    8.0
    """
    basis = pieces.basis
    # 4 Re(a* b) = |a + b|^2 - |a - b|^2. Scaling b to the norm of a limits the rounding.
    scale = left.norm() / right.norm().clamp_min(1e-300)
    parts = []
    for sign in (1.0, -1.0):
        total = torch.add(left, right, alpha=sign * float(scale))
        if gauge is not None and not total.is_complex():
            total = gauge.to_waves(total, slice(ks.start, ks.stop))
        total = total if factor is None else total * factor.unsqueeze(1)
        parts.append(sum_of_squares(pieces, total, ks))
    grid = (parts[0] - parts[1]).view(basis.orbital_fft_size) * (0.25 / scale)
    density = basis.from_orbital_grid(grid)
    return density if left.is_complex() or gauge is None else density * gauge.density_phase.conj()


def pair_fields(
    pieces: GridPieces,
    gauge: RealGauge | None,
    left: Tensor,
    right: Tensor,
    ks: range,
    tau: bool = False,
) -> Fields:
    """As `pair_density`, with the kinetic energy density if requested.

    Parameters
    ----------
    pieces, gauge, left, right, ks
        As for `pair_density`.
    tau : bool, optional
        Whether the kinetic energy density is wanted.

    Returns
    -------
    Fields
        (nG,) each, as `Fields.to_electrons` returns them.
    """
    density = pair_density(pieces, gauge, left, right, ks)
    if not tau:
        return Fields(density)
    components = pieces.basis.orbital_q[ks.start : ks.stop].unbind(-1)
    gradients = [pair_density(pieces, gauge, left, right, ks, q) for q in components]
    return Fields(density, 0.5 * torch.stack(gradients).sum(0))
