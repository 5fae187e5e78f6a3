"""How far predicted densities are from references, as one number to minimise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepchem_xc._values import whole_number
from deepchem_xc.planewave import PlaneWaveBasis

_KINDS = ("absolute", "squared", "coulomb")
_WEIGHTS = ("electrons", "equal")


class DensityLoss:
    r"""Error of densities on the sphere, per electron, averaged over structures.

    The errors of one structure, of the total density and with spin also of the magnetisation, which
    are added up:

    ============ ================================================= ==============
    kind         :math:`L`                                          unit
    ============ ================================================= ==============
    "absolute"   integral of :math:`|\Delta|`, on the FFT grid      electrons
    "squared"    integral of :math:`\Delta^2`                       bohr^-3
    "coulomb"    :math:`\frac{1}{2}\int\Delta\Delta'/|r-r'|`        Hartree
    ============ ================================================= ==============

    Squares and the Coulomb norm are sums over plane waves and need no grid; G = 0, the number of
    electrons, does not enter the Coulomb norm.

    Parameters
    ----------
    kind : {"absolute", "squared", "coulomb"}
        See above.
    weights : {"electrons", "equal"}, optional
        Whether a structure counts by its electrons (the errors of all structures over the electrons
        of all of them), or structures count equally (the mean of errors per electron).
    points : int, optional
        Compare the network's own density at so many points of the grid, new random ones in every
        step, as networks with probe points are trained elsewhere: for `ProbeDensityNetwork`, whose
        time grows with the points. All plane waves by default. Not for "coulomb".

    Raises
    ------
    ValueError
        For another kind, other weights or a wrong number of points.

    Examples
    --------
    >>> import torch
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> wave = basis.to_sphere(0.01 + 0.0 * basis.to_grid(basis.density_q2 + 0j))[None]
    >>> loss = DensityLoss("absolute")
    >>> error = loss([basis], [wave], [torch.zeros_like(wave)], [8.0])
    >>> bool(torch.isclose(error, 0.01 * basis.volume / 8.0))
    True
    """

    def __init__(self, kind: str, weights: str = "electrons", points: int | None = None) -> None:
        if kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(_KINDS)}; got {kind!r}.")
        if weights not in _WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(_WEIGHTS)}; got {weights!r}.")
        self.kind, self.weights = kind, weights
        self.points = None if points is None else whole_number(points, "points")
        if self.points is not None and kind == "coulomb":
            raise ValueError(
                "the Coulomb energy needs all plane waves: leave points out, or compare "
                "'absolute' or 'squared' errors at points."
            )

    def error(self, basis: PlaneWaveBasis, density: Tensor, reference: Tensor) -> Tensor:
        """Error of one structure, 0-d, in the unit of the kind, not divided by electrons.

        Parameters
        ----------
        basis : PlaneWaveBasis
            Plane waves and grid.
        density, reference : Tensor
            (nspin, nG), bohr^-3, both total or both differences.

        Raises
        ------
        ValueError
            If the shapes are not equal.
        """
        if density.shape != reference.shape:
            raise ValueError(
                f"the density has the shape {tuple(density.shape)} and the reference "
                f"{tuple(reference.shape)}: compare densities with equal channels and plane waves."
            )
        change = _total_and_moment(density - reference)
        volume = basis.volume
        if self.kind == "absolute":
            return basis.to_grid(change).abs().sum() * volume / basis.ngrid
        squares = change.real.square() + change.imag.square()
        if self.kind == "squared":
            return volume * squares.sum()
        # The first plane wave is G = 0.
        return volume * 2.0 * torch.pi * (squares[:, 1:] / basis.density_q2[1:]).sum()

    def error_at_points(self, basis: PlaneWaveBasis, change: Tensor) -> Tensor:
        """Estimate of the error of one structure from differences at points, 0-d.

        Parameters
        ----------
        basis : PlaneWaveBasis
            Of the structure.
        change : Tensor
            Density minus reference at points drawn evenly from the cell, (nspin, npoint), bohr^-3.
        """
        change = _total_and_moment(change)
        values = change.abs() if self.kind == "absolute" else change.square()
        return values.mean(-1).sum() * basis.volume

    def __call__(
        self,
        bases: Sequence[PlaneWaveBasis],
        densities: Sequence[Tensor],
        references: Sequence[Tensor],
        electrons: Sequence[float],
        factors: Sequence[float] | None = None,
    ) -> Tensor:
        """Error per electron of several structures, 0-d.

        Parameters
        ----------
        bases, densities, references : sequence
            Of each structure, as for `error`.
        electrons : sequence of float
            Valence electrons of each structure.
        factors : sequence of float, optional
            Further weight of each structure, not all zero; equal for all by default.
        """
        errors = [self.error(*one) for one in zip(bases, densities, references, strict=True)]
        return self.average(errors, electrons, factors)

    def average(
        self,
        each: Sequence[Tensor],
        electrons: Sequence[float],
        factors: Sequence[float] | None = None,
    ) -> Tensor:
        """Error per electron of several structures from the error of each, 0-d."""
        errors = torch.stack(list(each))
        numbers = errors.new_tensor(list(electrons))
        counts = torch.ones_like(numbers) if factors is None else errors.new_tensor(list(factors))
        if self.weights == "electrons":
            return (counts * errors).sum() / (counts * numbers).sum()
        return (counts * errors / numbers).sum() / counts.sum()


def _total_and_moment(change: Tensor) -> Tensor:
    """The total alone, or total and magnetisation, (nspin, ...)."""
    if len(change) == 1:
        return change
    return torch.stack([change.sum(0), change[0] - change[1]])
