r"""Gaussians times solid harmonics around atoms, in real space and as plane waves.

The function of width w is

.. math:: f_{lm}(r) = (2\pi)^{-3/2} w^{-3} S_{lm}(r/w)\, e^{-r^2/2w^2}, \qquad
          f_{lm}(q) = \int f_{lm}(r)\, e^{-iqr}\, d^3r = (-i)^l S_{lm}(wq)\, e^{-w^2q^2/2}

with the solid harmonics S of `angular`, for which the integral of the function with l = 0 is 1
(electron). Both are exact, so that the coefficients of a crystal's density need no grid and hold
all periodic images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deepchem_xc.densities.angular import block, solid_harmonics
from deepchem_xc.densities.half_sphere import HalfSphere

#: Root of the integral of the square of each shape, electrons bohr^-3/2, so that coefficients of
#: difference densities are of the order of 1 (measured on silicon, aluminium, LiCl and AlAs).
_SIZE = 0.02
#: Atoms times plane waves that are held at a time: with 8 bytes each and some ten arrays of this
#: size, 200 MB.
_AT_A_TIME = 2**21


class GaussianShapes(nn.Module):
    """Orthonormal combinations of Gaussians of several widths, and their sum on the sphere.

    Gaussians of similar widths are almost equal, and coefficients of the Gaussians themselves large
    and of alternating sign. A network therefore gives coefficients of combinations that are
    orthonormal (times a typical size). With l = 0 these combinations hold no charge: they are
    made from differences of normalised Gaussians.

    Parameters
    ----------
    widths : sequence of float
        Widths w of the Gaussians, bohr, the same for all atoms.
    l_max : int
        Largest l.

    Attributes
    ----------
    nwidth, l_max : int
        The number of widths and the largest l.

    Examples
    --------
    >>> shapes = GaussianShapes([0.5, 1.0, 2.0], l_max=2)
    >>> [shapes.counts(l) for l in range(3)]
    [2, 3, 3]
    """

    def __init__(self, widths: Sequence[float], l_max: int) -> None:
        super().__init__()
        values = torch.tensor(list(widths), dtype=torch.float64)
        self.nwidth, self.l_max = len(values), l_max
        self.widths: Tensor
        self.register_buffer("widths", values, persistent=False)
        for l in range(l_max + 1):
            self.register_buffer(f"shapes{l}", _SIZE * _orthonormal(values, l, l == 0), False)
        self.register_buffer("charged0", _SIZE * _orthonormal(values, 0, False), False)

    def counts(self, l: int) -> int:
        """Number of combinations of one l that hold no charge."""
        return int(self.get_buffer(f"shapes{l}").shape[1])

    def neutral(self, coefficients: Sequence[Tensor]) -> Tensor:
        """From coefficients of the combinations to those of the Gaussians; without charge.

        Parameters
        ----------
        coefficients : sequence of Tensor
            For each l (natom, number of combinations, 2l + 1).

        Returns
        -------
        Tensor
            (natom, nwidth, components), electrons, float64.
        """
        return self._gaussians(coefficients, "shapes0")

    def charged(self, coefficients: Sequence[Tensor]) -> Tensor:
        """The same with nwidth combinations for l = 0 too, which hold charge."""
        return self._gaussians(coefficients, "charged0")

    def _gaussians(self, coefficients: Sequence[Tensor], first: str) -> Tensor:
        names = [first, *(f"shapes{l}" for l in range(1, self.l_max + 1))]
        parts = [
            torch.einsum("wk,akm->awm", self.get_buffer(name), part.to(torch.float64))
            for name, part in zip(names, coefficients, strict=True)
        ]
        return torch.cat(parts, -1)

    def on_sphere(
        self, coefficients: Tensor, positions: Tensor, reciprocal: Tensor, g_vectors: Tensor
    ) -> Tensor:
        """Fourier sums of the atoms' functions.

        Parameters
        ----------
        coefficients : Tensor
            Of the Gaussians, (nspin, natom, nwidth, components), electrons, float64.
        positions : Tensor
            Reduced, (natom, 3).
        reciprocal : Tensor
            Reciprocal lattice, rows, (3, 3), 1/bohr.
        g_vectors : Tensor
            Integers, (nG, 3), with each G also -G.

        Returns
        -------
        Tensor
            (nspin, nG), complex128, electrons: coefficients of the density times the volume. That
            of -G is exactly the conjugate of that of G. Differentiable with respect to all real
            inputs; plane waves are summed in pieces of bounded memory, which are computed again in
            a backward pass.
        """
        half = HalfSphere(g_vectors)
        size = max(_AT_A_TIME // (coefficients.shape[0] * positions.shape[0]), 64)
        repeat = torch.is_grad_enabled() and any(
            x.requires_grad for x in (coefficients, positions, reciprocal)
        )
        sums = []
        for piece in half.g_vectors.split(size):
            g = piece.to(torch.float64)
            if repeat and len(half.g_vectors) > size:
                found = checkpoint(
                    self._piece, coefficients, positions, reciprocal, g, use_reentrant=False
                )
            else:
                found = self._piece(coefficients, positions, reciprocal, g)
            sums.append(found)
        return half.complete(torch.cat(sums, -1))

    def _piece(
        self, coefficients: Tensor, positions: Tensor, reciprocal: Tensor, g: Tensor
    ) -> Tensor:
        """`on_sphere` for some plane waves, (nspin, n)."""
        q = g @ reciprocal
        harmonics = solid_harmonics(q, self.l_max)
        radial = torch.exp(-0.5 * self.widths.square() * q.square().sum(-1, keepdim=True))
        # (-i)^l is real or imaginary: even and odd l are two real products of matrices.
        even, odd = (
            self._real_sum(coefficients, radial, harmonics, range(first, self.l_max + 1, 2))
            for first in (0, 1)
        )
        angle = 2.0 * math.pi * positions @ g.T
        cos, sin = torch.cos(angle), torch.sin(angle)
        real = (even * cos - odd * sin).sum(-2)
        return torch.complex(real, -(even * sin + odd * cos).sum(-2))

    def _real_sum(
        self, coefficients: Tensor, radial: Tensor, harmonics: Tensor, ls: Iterable[int]
    ) -> Tensor:
        """Each atom's sum over functions of some l, without phases, (nspin, natom, n)."""
        total = coefficients.new_zeros(())
        for l in ls:
            scaled = radial * ((-1.0) ** (l // 2) * self.widths**l)
            functions = torch.einsum("gw,gm->wmg", scaled, harmonics[:, block(l)])
            total = total + coefficients[..., block(l)].flatten(-2) @ functions.flatten(0, 1)
        return total

    def in_space(self, vectors: Tensor) -> Tensor:
        """The Gaussians around one atom in real space, without periodic images.

        Parameters
        ----------
        vectors : Tensor
            From the atom, (n, 3), bohr.

        Returns
        -------
        Tensor
            (n, nwidth, components), bohr^-3.
        """
        scaled = vectors.unsqueeze(-2) / self.widths.unsqueeze(-1)
        norm = (2.0 * math.pi) ** -1.5 / self.widths**3
        gaussians = norm * torch.exp(-0.5 * scaled.square().sum(-1))
        return gaussians.unsqueeze(-1) * solid_harmonics(scaled, self.l_max)


def _orthonormal(widths: Tensor, l: int, without_charge: bool) -> Tensor:
    """Combinations of the Gaussians of one l that are orthonormal in space, (nwidth, number)."""
    differences = torch.eye(len(widths), dtype=torch.float64)
    if without_charge:
        differences = differences[:, :-1] - differences[:, 1:]
    overlap = differences.T @ _overlap(widths, l) @ differences
    # The nearest ones to the normalised functions (P.-O. Loewdin): each keeps its size in space.
    scale = overlap.diagonal().rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * overlap * scale)
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    return differences @ (scale[:, None] * root)


def _overlap(widths: Tensor, l: int) -> Tensor:
    """Integrals of products of two Gaussians with equal l and m, (nwidth, nwidth), bohr^-3."""
    squares = widths.square()
    total = squares[:, None] + squares
    # The integral of q^(2l+2) exp(-s q^2/2) from zero to infinity.
    moments = math.prod(range(1, 2 * l + 2, 2)) / total ** (l + 1) * (math.pi / 2 / total).sqrt()
    found: Tensor = (widths[:, None] * widths) ** l * moments / (2.0 * math.pi**2)
    return found
