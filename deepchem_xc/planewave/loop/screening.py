"""Screening of residuals by electrons at the Fermi level: the preconditioner of the mixing.

The local density of states at the Fermi level models the independent-particle response [1]_. It
acts like Kerker's preconditioner where the crystal is metallic and does nothing in vacuum or where
there is a gap, so there is no choice to make by hand. Levels that fill a small part of the cell do
not screen: `participation_ratio` measures that part.

References
----------
.. [1] M. F. Herbst, A. Levitt, J. Phys.: Condens. Matter 33, 085503 (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.numerics.gmres import gmres
from deepchem_xc.numerics.vectors import dot
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.terms.hartree import coulomb_kernel

# Relative error of screened residuals: enough for a direction of a step.
_SCREENING_ERROR = 0.02


def participation_ratio(basis: PlaneWaveBasis, local_dos: Tensor) -> float:
    """Fraction of the cell that a local density of states fills: 1 if it is uniform.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides the grid.
    local_dos : Tensor
        Local density of states on the sphere, (nG,).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> round(participation_ratio(basis, (basis.density_q2 == 0).to(torch.complex128)), 9)
    1.0
    """
    dos = basis.to_grid(local_dos).clamp_min(0.0)
    return float(dos.mean().square() / dos.square().mean().clamp_min(1e-300))


def screen(
    basis: PlaneWaveBasis, residual: Tensor, local_dos: Tensor, iterations: int = 12
) -> Tensor:
    r"""Solve :math:`(1 - \chi_0 v_c) x = f` with the local-density-of-states model of chi0.

    .. math:: \chi_0 V = -D(r) V(r) + D(r) \int D V / \int D

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides the grid.
    residual : Tensor
        f, residual of the total density, (nG,), bohr^-3.
    local_dos : Tensor
        D, local density of states at the Fermi level on the sphere, (nG,), 1/(Hartree bohr^3).
    iterations : int, optional
        Largest number of GMRES steps; a preconditioner need not be exact.

    Returns
    -------
    Tensor
        x, (nG,), bohr^-3.

    Examples
    --------
    The homogeneous electron gas screens as G^2 / (G^2 + 4 pi D):

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> q2 = basis.density_q2
    >>> wave = (abs(q2 - q2[1:].min()) < 1e-9).to(torch.complex128)  # the shortest G
    >>> dos = 0.1 * (q2 == 0).to(torch.complex128)
    >>> bool(torch.allclose(screen(basis, wave, dos), wave * q2 / (q2 + 0.4 * torch.pi)))
    True
    """
    total = local_dos[0].real * basis.volume
    kernel = coulomb_kernel(basis)
    dos = basis.to_grid(local_dos)

    def operator(x: Tensor, _: float) -> Tensor:
        potential = basis.to_grid(kernel * x)
        mean = (dos * potential).sum() * (basis.volume / basis.ngrid) / total
        return x + basis.to_sphere(dos * (potential - mean))

    # The operator is close to normal in the Coulomb metric.
    metric = coulomb_metric(basis)

    def inner(left: Tensor, right: Tensor) -> Tensor:
        return dot(metric * left, right)

    return gmres(
        operator,
        residual,
        _SCREENING_ERROR,
        iterations,
        inner=inner,
        strict=False,
        equation="the screening of the density's residual",
        advice="Start from another density, or mix without (mixing={'preconditioner': None}).",
    )


def coulomb_metric(basis: PlaneWaveBasis) -> Tensor:
    """4 pi / G^2, (nG,), bohr^2, with the value of the shortest other G at G = 0.

    G = 0 needs a finite weight, because the magnetisation has a part there.
    """
    kernel = coulomb_kernel(basis)
    return torch.where(kernel > 0, kernel, kernel[1:].max())
