"""`OnSiteTables`: matrices between partial waves, of which a sphere's energy is a polynomial.

With a symmetric matrix D (nstate, nstate) of an atom, summed over spin, its sphere adds to the
crystal

* a kinetic energy ``kinetic_constant + sum kinetic * D``,
* a Coulomb energy ``coulomb_constant + sum coulomb_linear * D + D . coulomb_quadratic . D``,
* an energy of the zero potential ``zero_constant + sum zero_linear * D``,
* multipoles ``multipoles : D``, with `fixed_multipole` for L = 0, of the compensation charges.

P. E. Bloechl, Phys. Rev. B 50, 17953 (1994); in this form J. J. Mortensen, L. B. Hansen,
K. W. Jacobsen, Phys. Rev. B 71, 035109 (2005), section II, and G. Kresse, D. Joubert, Phys. Rev.
B 59, 1758 (1999).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.numerics.harmonics import directions, gaunt, harmonics

from .dataset import PAWDataset
from .radial_grid import RadialGrid
from .shapes import HIGHEST_MULTIPOLE, shape_functions

__all__ = ["OnSiteTables", "on_site_tables"]

_SPHERICAL = math.sqrt(4.0 * math.pi)
_tables: WeakKeyDictionary[PAWDataset, OnSiteTables] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class OnSiteTables:
    """Matrices between the partial waves of one dataset, float64 on the CPU.

    The axes of nstate follow `PAWDataset.states`; inside a channel, and along the multipoles, the
    real spherical harmonics stand in the order of `deepchem_xc.numerics.harmonics`.

    Parameters
    ----------
    overlap : Tensor, shape (nstate, nstate)
        Overlap of all-electron less that of smooth partial waves.
    multipoles : Tensor, shape (9, nstate, nstate)
        Multipole moments of products of all-electron partial waves less those of smooth ones, L up
        to l = 2, bohr^l.
    fixed_multipole : float
        Moment L = 0 of the frozen core less the smooth core less the nucleus.
    smooth_core_electrons : float
        Integral of the smooth core density.
    kinetic : Tensor, shape (nstate, nstate)
        Kinetic energy of all-electron less that of smooth partial waves, Ha.
    kinetic_constant : float
        Kinetic energy of the core less that of the reference atom, Ha.
    coulomb_constant : float
        Coulomb energy of core and nucleus less that of the smooth core with its compensation
        charge less that of the reference atom, Ha.
    coulomb_linear : Tensor, shape (nstate, nstate)
        Coulomb energy between the core and one electron of the valence, as a difference, Ha.
    coulomb_quadratic : Tensor, shape (nstate, nstate, nstate, nstate)
        Half of the Coulomb integrals between products of partial waves, as a difference, Ha.
    zero_constant : float
        Energy of the smooth core in the zero potential, subtracted, Ha.
    zero_linear : Tensor, shape (nstate, nstate)
        Energy of the smooth partial waves in the zero potential, subtracted, Ha.
    """

    overlap: Tensor
    multipoles: Tensor
    fixed_multipole: float
    smooth_core_electrons: float
    kinetic: Tensor
    kinetic_constant: float
    coulomb_constant: float
    coulomb_linear: Tensor
    coulomb_quadratic: Tensor
    zero_constant: float
    zero_linear: Tensor


@dataclass(frozen=True, eq=False)
class _RadialProducts:
    """What the tables are integrals of, on the points of the sphere.

    Densities and potentials are coefficients of Y_00, products of waves (nwave, nwave, n).
    """

    grid: RadialGrid
    products: NDArray
    smooth_products: NDArray
    core: NDArray
    smooth_core: NDArray
    zero_potential: NDArray
    shapes: NDArray


def on_site_tables(dataset: PAWDataset) -> OnSiteTables:
    """Tables of a dataset; they are computed once for each object.

    All integrals are sums over the dataset's mesh up to twice the largest cutoff radius of its
    partial waves. The dataset's own reference energies were computed with such sums.

    Parameters
    ----------
    dataset : PAWDataset
        Any.

    Returns
    -------
    OnSiteTables

    Raises
    ------
    ValueError
        If the form of the compensation charges is unknown.
    """
    if dataset not in _tables:
        _tables[dataset] = _compute(dataset)
    return _tables[dataset]


def _compute(dataset: PAWDataset) -> OnSiteTables:
    radial = _radial_products(dataset)
    grid = radial.grid
    moments = np.array(
        [
            grid.integrate(radial.products - radial.smooth_products, l + 2)
            for l in range(HIGHEST_MULTIPOLE + 1)
        ]
    )
    nucleus = dataset.charge / _SPHERICAL
    fixed = float(grid.integrate(radial.core - radial.smooth_core)) - nucleus
    channel = np.array([j for j, _ in dataset.states])
    pairs = np.ix_(channel, channel)
    multipoles = np.concatenate(
        [
            _products_of_harmonics(dataset, l) * moments[l][pairs]
            for l in range(HIGHEST_MULTIPOLE + 1)
        ]
    )
    # Equal harmonics: a product's coefficient of Y_00 is 1 / sqrt(4 pi).
    spherical = _products_of_harmonics(dataset, 0)[0]
    compensated = radial.smooth_core + fixed * radial.shapes[0]
    constant, linear = _coulomb_with_core(dataset, radial, compensated, moments[0])
    zero = grid.integrate(radial.smooth_products * radial.zero_potential)
    reference = dataset.reference
    return OnSiteTables(
        overlap=torch.from_numpy(_SPHERICAL * multipoles[0]),
        multipoles=torch.from_numpy(multipoles),
        fixed_multipole=fixed,
        smooth_core_electrons=dataset.core - dataset.charge - _SPHERICAL * fixed,
        kinetic=torch.from_numpy(_SPHERICAL * spherical * dataset.kinetic_differences[pairs]),
        kinetic_constant=reference.core_kinetic - reference.kinetic,
        coulomb_constant=constant - reference.electrostatic,
        coulomb_linear=torch.from_numpy(spherical * linear[pairs]),
        coulomb_quadratic=torch.from_numpy(_coulomb_of_pairs(dataset, radial, moments)),
        zero_constant=-float(grid.integrate(radial.smooth_core * radial.zero_potential)),
        zero_linear=torch.from_numpy(-spherical * zero[pairs]),
    )


def _radial_products(dataset: PAWDataset) -> _RadialProducts:
    count = dataset.grid.count_below(2.0 * dataset.sphere_radius)
    waves, smooth = dataset.all_electron_waves[:, :count], dataset.smooth_waves[:, :count]
    return _RadialProducts(
        grid=dataset.grid.cut(count),
        products=waves[:, None] * waves[None],
        smooth_products=smooth[:, None] * smooth[None],
        core=_SPHERICAL * dataset.core_density[:count],
        smooth_core=_SPHERICAL * dataset.smooth_core_density[:count],
        zero_potential=_SPHERICAL * dataset.zero_potential[:count],
        shapes=shape_functions(dataset)[:, :count],
    )


def _products_of_harmonics(dataset: PAWDataset, l: int) -> NDArray:
    """Coefficients of the harmonics of l in products of two states, (2 l + 1, nstate, nstate)."""
    highest = max(dataset.angular_momenta)
    index = _harmonic_of_states(dataset)
    coefficients = gaunt(highest, highest, l)[l**2 : (l + 1) ** 2]
    found: NDArray = coefficients[:, index[:, None], index[None]]
    return found


def _harmonic_of_states(dataset: PAWDataset) -> NDArray:
    """Index l^2 + m of each state's harmonic, (nstate,)."""
    return np.array([dataset.waves[j].l ** 2 + m for j, m in dataset.states])


def _coulomb_with_core(
    dataset: PAWDataset, radial: _RadialProducts, compensated: NDArray, moments: NDArray
) -> tuple[float, NDArray]:
    """Coulomb energy of core and nucleus, and that of products of waves with them.

    Parameters
    ----------
    compensated : ndarray, shape (n,)
        Smooth core with the compensation charge that belongs to it.
    moments : ndarray, shape (nwave, nwave)
        Moments of l = 0 of products of waves.

    Returns
    -------
    float
        Half of the energies of both charges with themselves, Ha.
    ndarray, shape (nwave, nwave)
        Energies without the harmonics' factor 1 / sqrt(4 pi), Ha.
    """
    grid, charge = radial.grid, _SPHERICAL * dataset.charge
    constant = 0.5 * grid.coulomb_energy(radial.core, radial.core, 0)
    constant -= charge * grid.integrate(radial.core, 1)
    constant -= 0.5 * grid.coulomb_energy(compensated, compensated, 0)
    linear = grid.coulomb_energy(radial.products, radial.core, 0)
    linear -= charge * grid.integrate(radial.products, 1)
    linear -= grid.coulomb_energy(radial.smooth_products, compensated, 0)
    linear -= moments * grid.coulomb_energy(radial.shapes[0], compensated, 0)
    return float(constant), linear


def _coulomb_of_pairs(dataset: PAWDataset, radial: _RadialProducts, moments: NDArray) -> NDArray:
    """Half of the Coulomb integrals between products of two states, (nstate,) * 4, Ha."""
    nwave = len(dataset.waves)
    # Pairs of channels, each once.
    first, second = np.triu_indices(nwave)
    position = np.zeros((nwave, nwave), dtype=int)
    position[first, second] = position[second, first] = np.arange(len(first))
    channel = np.array([j for j, _ in dataset.states])
    pair = position[np.ix_(channel, channel)]
    index = _harmonic_of_states(dataset)
    highest = max(dataset.angular_momenta)
    weight = radial.grid.r * radial.grid.dr
    total = np.zeros((len(channel),) * 4)
    for l in range(2 * highest + 1):
        true, smooth = radial.products[first, second], radial.smooth_products[first, second]
        if l <= HIGHEST_MULTIPOLE:
            smooth = smooth + moments[l][first, second][:, None] * radial.shapes[l]
        energy = (true * weight) @ radial.grid.coulomb_potential(true, l).T
        energy -= (smooth * weight) @ radial.grid.coulomb_potential(smooth, l).T
        # The sum over mesh points is symmetric only to rounding.
        energy = 0.25 * (energy + energy.T)
        angular = _coupled_pairs(highest, l)[np.ix_(index, index, index, index)]
        total += angular * energy[pair[:, :, None, None], pair[None, None]]
    return total


@cache
def _coupled_pairs(highest: int, l: int) -> NDArray:
    """sum_m G^lm_ij G^lm_kn of Gaunt coefficients, ((highest + 1)^2,) * 4.

    The addition theorem sum_m Y_lm(v) Y_lm(w) = (2 l + 1) / 4 pi P_l(v . w) spares harmonics of l
    up to 2 * highest.
    """
    points, weights = directions(2 * highest + l)
    vectors = torch.from_numpy(points)
    values = harmonics(highest, vectors).numpy()
    count = len(values)
    products = np.einsum("iv,jv,v->ijv", values, values, 4.0 * math.pi * weights)
    products = products.reshape(count**2, -1)
    legendre = np.polynomial.legendre.Legendre.basis(l)(points @ points.T)
    coupled: NDArray = products @ ((2 * l + 1) / (4.0 * math.pi) * legendre) @ products.T
    return coupled.reshape((count,) * 4)
