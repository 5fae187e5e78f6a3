"""Energies and derivatives of a functional in the form in which GPAW asks for them.

GPAW passes arrays of numpy in Hartree atomic units: densities, products of their gradients in place
of the gradients, kinetic energy densities. Unlike a solver of this package it passes points at
which a density is negative, and kinetic energy densities below that of von Weizsaecker: zero in the
first step, and with the smooth partial waves and cores inside spheres. Such kinetic energy
densities are raised to von Weizsaecker's, in energy and derivatives alike, because a meta-GGA means
nothing below and can be of any size there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc.calculators.gpaw_points import distinct_points
from deepchem_xc.xc import Ingredients, SpinParam, ValGrad, XCFunctional, check_finite
from deepchem_xc.xc.identity import Identity
from deepchem_xc.xc.sampling import device_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deepchem_xc.xc._deepchem import SpinParam as Spins

    Array = NDArray[np.float64]

__all__ = ["FunctionalKernel", "kind_of"]

# Points that are differentiated together: memory stays bounded on any grid.
_PIECE = 32768
# Square of the smallest gradient, bohr^-8: derivatives with respect to a squared gradient are those
# with respect to the gradient over twice its length, which is exact down to any length except 0.
_LEAST_SIGMA = 1e-40


def kind_of(functional: XCFunctional) -> str:
    """GPAW's word for what a functional needs: "LDA", "GGA" or "MGGA".

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> kind_of(get_xc("r2SCAN"))
    'MGGA'
    """
    if Ingredients.TAU in functional.ingredients:
        return "MGGA"
    return "GGA" if Ingredients.GRADIENT in functional.ingredients else "LDA"


class FunctionalKernel:
    """A functional with the interface of GPAW's kernels.

    Parameters
    ----------
    functional : XCFunctional
        Its weights must stay as they are: every evaluation compares them.
    name : str
        What GPAW calls it.

    Attributes
    ----------
    type : str
        "LDA", "GGA" or "MGGA".

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem_xc.xc import get_xc
    >>> kernel = FunctionalKernel(get_xc("lda_x"), "mine")
    >>> energy, potential = np.empty(2), np.zeros((1, 2))
    >>> kernel.calculate(energy, np.array([[0.1, -1e-9]]), potential)
    >>> energy.round(4), potential.round(4)
    (array([-0.0343,  0.    ]), array([[-0.4571,  0.    ]]))
    """

    def __init__(self, functional: XCFunctional, name: str) -> None:
        self.functional = functional
        self.name = name
        self.type = kind_of(functional)
        self._identity = Identity.of(functional)
        self._weights = Identity.of_weights(functional)

    def calculate(
        self,
        e_g: Array,
        n_sg: Array,
        dedn_sg: Array,
        sigma_xg: Array | None = None,
        dedsigma_xg: Array | None = None,
        tau_sg: Array | None = None,
        dedtau_sg: Array | None = None,
    ) -> None:
        """Energies per volume and their derivatives, in place (part of GPAW's interface).

        Parameters
        ----------
        e_g : ndarray
            Energy per volume, any shape (...), Hartree / bohr^3; overwritten.
        n_sg : ndarray
            Density, (1, ...), or up and down, (2, ...), bohr^-3.
        dedn_sg : ndarray
            Derivative with respect to the density, Hartree; added to what is there.
        sigma_xg, dedsigma_xg : ndarray
            For GGA and MGGA: |grad n|^2, (1, ...), or the products up up, up down, down down,
            (3, ...), and the derivatives with respect to them; overwritten.
        tau_sg, dedtau_sg : ndarray
            For MGGA: kinetic energy density, shape of the density, and the derivative with
            respect to it; overwritten.

        Raises
        ------
        NotImplementedError
            For densities of non-collinear magnets.
        RuntimeError
            If the functional has changed since the kernel was made.
        FunctionalValueError
            Where it gives NaN or infinity.
        """
        if len(n_sg) > 2:
            raise NotImplementedError(
                f"{self.functional.name} in GPAW takes one density or two (up, down), not the "
                f"{len(n_sg)} of a non-collinear magnet: leave out magmoms with directions"
            )
        # Comparing everything takes as long as a hundred points of a sphere: once for each grid.
        self.check_unchanged(weights_only=n_sg.ndim < 4)
        given = [n_sg, *(x for x in (sigma_xg, tau_sg) if x is not None)]
        found = [dedn_sg, *(x for x in (dedsigma_xg, dedtau_sg) if x is not None)]
        flat = [np.ascontiguousarray(x, dtype=float).reshape(len(x), -1) for x in given]
        first, kind = distinct_points(*flat)
        pieces = np.array_split(first, -(-len(first) // (_PIECE * torch.get_num_threads())))
        parts = [_evaluated(self.functional, *(x[:, piece] for x in flat)) for piece in pieces]
        energies, *derivatives = (np.concatenate(x, axis=-1)[..., kind] for x in zip(*parts))
        e_g[...] = energies.reshape(e_g.shape)
        dedn_sg += derivatives[0].reshape(dedn_sg.shape)
        for target, derivative in zip(found[1:], derivatives[1:], strict=True):
            target[...] = derivative.reshape(target.shape)

    def check_unchanged(self, weights_only: bool = False) -> None:
        """Raise RuntimeError if the functional has changed since the kernel was made.

        Parameters
        ----------
        weights_only : bool, optional
            Compare only parameters and buffers, which is faster.
        """
        change = (self._weights if weights_only else self._identity).change(self.functional)
        if change is not None:
            raise RuntimeError(
                f"the functional {self.functional.name} has changed since to_gpaw was called "
                f"({change}): a calculation would mix old and new values. Call to_gpaw again and "
                "make a new GPAW calculator with the result"
            )


@outside_inference_and_autocast()
def _evaluated(
    functional: XCFunctional, n: Array, sigma: Array | None = None, tau: Array | None = None
) -> list[Array]:
    """Energy densities (nr,) and their derivatives, shapes of the arguments."""
    device = device_of(functional)

    def leaf(values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device).requires_grad_()

    with torch.enable_grad():
        leaves = [leaf(n)]
        lengths = None if sigma is None else _vectors(sigma)
        if lengths is not None:
            leaves.append(leaf(lengths))
        if tau is not None:
            leaves.append(leaf(tau))
        densinfo = _densinfo(*leaves)
        energy = functional.get_edensityxc(densinfo)
        check_finite(functional, densinfo, energy)
        slopes = (
            torch.autograd.grad(energy.sum(), leaves, materialize_grads=True)
            if energy.requires_grad
            else [torch.zeros_like(x) for x in leaves]
        )
    for slope in slopes:
        check_finite(functional, densinfo, slope, order=1)
    found = [x.cpu().numpy() for x in (energy.detach(), *slopes)]
    if lengths is not None:
        found[2] = _by_products(lengths, found[2])
    return found


def _densinfo(n: Tensor, gradient: Tensor | None = None, tau: Tensor | None = None) -> Spins:
    """Density of one channel or two, with tau at least that of von Weizsaecker."""
    if gradient is not None:
        # Functionals expect three components; the products fix at most two.
        gradient = torch.cat((gradient, torch.zeros_like(gradient[:, :1])), dim=1)
        if tau is not None:
            present = n > _LEAST_DENSITY
            safe = torch.where(present, n, torch.ones_like(n))
            least = torch.where(present, gradient.square().sum(1) / (8.0 * safe), 0.0)
            tau = torch.where(tau < least, least, tau)
    channels = [
        ValGrad(
            value=n[s],
            grad=None if gradient is None else gradient[s],
            kin=None if tau is None else tau[s],
        )
        for s in range(len(n))
    ]
    return channels[0] if len(channels) == 1 else SpinParam(*channels)


# Density, bohr^-3, below which a kinetic energy density is only kept positive: functionals switch
# such channels off.
_LEAST_DENSITY = 1e-15


def _vectors(sigma: Array) -> Array:
    """Plane vectors with given products, (1, 2, nr) or (2, 2, nr).

    The longer one is along x. The second component of the shorter one is never quite 0, so that
    all three products have a derivative.
    """
    if len(sigma) == 1:
        length = np.sqrt(np.maximum(sigma[0], _LEAST_SIGMA))
        return np.stack((length, np.zeros_like(length)))[None]
    up_is_longer = sigma[0] >= sigma[2]
    longer, shorter = np.where(up_is_longer, sigma[::2], sigma[::-2])
    length = np.sqrt(np.maximum(longer, _LEAST_SIGMA))
    along = sigma[1] / length
    across = np.sqrt(np.maximum(shorter - along**2, _LEAST_SIGMA))
    long, short = np.stack((length, np.zeros_like(length))), np.stack((along, across))
    return np.stack((np.where(up_is_longer, long, short), np.where(up_is_longer, short, long)))


def _by_products(vectors: Array, slopes: Array) -> Array:
    """Derivatives with respect to the products from those with respect to the vectors."""
    if len(vectors) == 1:
        return slopes[:, 0] / (2.0 * vectors[:, 0])
    up_is_longer = vectors[0, 1] == 0.0
    long, short = np.where(up_is_longer, vectors, vectors[::-1])
    by_long, by_short = np.where(up_is_longer, slopes, slopes[::-1])
    # de/d(long) = 2 e_ll long + e_ls short, de/d(short) = 2 e_ss short + e_ls long.
    mixed = by_long[1] / short[1]
    of_short = by_short[1] / (2.0 * short[1])
    of_long = (by_long[0] - mixed * short[0]) / (2.0 * long[0])
    return np.stack(
        (
            np.where(up_is_longer, of_long, of_short),
            mixed,
            np.where(up_is_longer, of_short, of_long),
        )
    )
