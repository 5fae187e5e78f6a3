"""Points drawn from densities, as DeepChem data sets.

The protocol draws points of each molecule without replacement, with probability proportional to
quadrature weight times density: where the electrons are. Molecule i has the seed ``seed + i``.
Points of no molecule can be added, for densities that are rare in molecules and common in solids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from deepchem.data import Dataset, NumpyDataset
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc._values import whole_number
from deepchem_xc.cloning.densities import GRID_LEVEL, GridDensity, KeptDensity
from deepchem_xc.store import digest_of_arrays
from deepchem_xc.xc import SpinParam, ValGrad
from deepchem_xc.xc.features import gradient_feature
from deepchem_xc.xc.sampling import densities_at
from deepchem_xc.xc.variables import DensityVariables

__all__ = [
    "POINTS",
    "SAMPLINGS",
    "SEED",
    "clone_dataset",
    "dataset_digest",
    "densinfo_of",
    "uniform_points",
]

#: Points of each molecule, and the seed of the first one, in the protocol.
POINTS, SEED = 800, 42
#: Ways to draw points: the protocol's, and half of the points evenly in the gradient's feature.
SAMPLINGS = ("density", "spread")
# Ranges of points of no molecule: radii (bohr) from the core of light atoms to the space between
# ions, gradients where energies are, and indicators up to those between closed shells.
_RADII, _GRADIENT, _INDICATOR = (0.15, 8.0), 3.0, 20.0
# Share of these points that is not polarised.
_UNPOLARISED = 0.7
# Width of a bin of x_2 (dimensionless) in which "spread" counts electrons.
_BIN = 0.1
# Density below which a functional is not sampled, bohr^-3: PySCF drops such points, too.
_LEAST_DENSITY = 1e-10


def sampling_probabilities(density: GridDensity, sampling: str = "density") -> NDArray[np.float64]:
    """Probability of each point of a grid, (nr,); the sum is 1.

    Parameters
    ----------
    density : GridDensity
        Density of a molecule.
    sampling : {"density", "spread"}, optional
        "density": quadrature weight times density. "spread": the mean of that and of a probability
        that is uniform in x_2 = (1 - exp(-s^2)) ln(1 + s), which favours gradients that are rare.

    Raises
    ------
    ValueError
        For another sampling, and densities without electrons.

    Examples
    --------
    >>> one = ValGrad(value=torch.tensor([1.0, 3.0]).double(), grad=torch.zeros(3, 2).double())
    >>> grid = GridDensity(SpinParam(u=one, d=one), torch.tensor([3.0, 1.0]).double())
    >>> sampling_probabilities(grid).tolist()
    [0.5, 0.5]
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}.")
    variables = DensityVariables(density.densinfo)
    total = variables.raw_density.sum(0)
    electrons = (density.weights * total).clamp(min=0.0).numpy().copy()
    electrons[total.numpy() < _LEAST_DENSITY] = 0.0
    if not electrons.sum() > 0.0:
        raise ValueError("the density has no electrons on its grid: there is nothing to sample.")
    probabilities = electrons / electrons.sum()
    if sampling == "density":
        return np.asarray(probabilities)
    bins = (gradient_feature(variables.s2) / _BIN).floor().long().numpy()
    bins[electrons == 0.0] = 0
    held = np.bincount(bins, weights=electrons)
    even = electrons / np.where(held > 0.0, held, 1.0)[bins]
    return np.asarray(0.5 * probabilities + 0.5 * even / even.sum())


def clone_dataset(
    densities: Sequence[KeptDensity],
    points: int = POINTS,
    *,
    seed: int = SEED,
    sampling: str = "density",
    uniform: int = 0,
    grid_level: int = GRID_LEVEL,
) -> NumpyDataset:
    """Points drawn from densities.

    Parameters
    ----------
    densities : sequence of KeptDensity
        Densities of molecules.
    points : int, optional
        Number of points of each.
    seed : int, optional
        Seed of the first molecule; that of molecule i is ``seed + i``.
    sampling : {"density", "spread"}, optional
        See `sampling_probabilities`.
    uniform : int, optional
        Number of points of no molecule that are added, see `uniform_points`.
    grid_level : int, optional
        Level of the grid from which points are drawn.

    Returns
    -------
    NumpyDataset
        X (n, 2, 5): up and down, each density, its gradient, kinetic energy density, atomic units.
        ids are the molecules' names, or "uniform". y is not used: a model computes the parent's
        factors.

    Raises
    ------
    ValueError
        For no densities, another sampling, and more points than a molecule has.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import clone_dataset, parent_densities
    >>> kept = parent_densities("PBE", ["H2"], tempfile.mkdtemp(), basis="sto-3g")
    >>> clone_dataset(kept, 100).X.shape
    (100, 2, 5)
    """
    points, seed = whole_number(points, "points"), whole_number(seed, "seed", 0)
    uniform = whole_number(uniform, "uniform", 0)
    if not densities:
        raise ValueError(
            "there are no densities to draw points from: parent_densities(parent, names) makes "
            "them."
        )
    drawn, ids = [], []
    for i, kept in enumerate(densities):
        grid = kept.on_grid(grid_level)
        probabilities = sampling_probabilities(grid, sampling)
        there = int((probabilities > 0.0).sum())
        if points > there:
            raise ValueError(
                f"{kept.name} has {there} points with electrons on a grid of level {grid_level}, "
                f"fewer than the {points} asked for: lower points, or raise grid_level."
            )
        chosen = np.random.default_rng(seed + i).choice(
            len(probabilities), points, replace=False, p=probabilities
        )
        drawn.append(_rows(grid.densinfo)[chosen])
        ids += [kept.name] * points
    if uniform:
        drawn.append(uniform_points(uniform, seed))
        ids += ["uniform"] * uniform
    return NumpyDataset(np.concatenate(drawn), ids=np.array(ids, dtype=object))


def uniform_points(number: int, seed: int = SEED) -> NDArray[np.float64]:
    """Points of no molecule, (number, 2, 5), as rows of a data set's X.

    Uniform in ln r_s from 0.15 to 8 bohr, in s from 0 to 3, and in x_3 = ln[(alpha + 1) / 2] for
    alpha from 0 to 20. Seven of ten are not polarised, the others uniform in zeta.

    Parameters
    ----------
    number : int
        Of points.
    seed : int, optional
        Another seed gives other points.

    Examples
    --------
    >>> uniform_points(7).shape
    (7, 2, 5)
    """
    random = np.random.default_rng(seed)
    least, most = _RADII
    rs = least * (most / least) ** random.random(number)
    s = _GRADIENT * random.random(number)
    alpha = (1.0 + _INDICATOR) ** random.random(number) - 1.0
    zeta = random.random(number) * (random.random(number) > _UNPOLARISED)
    found = densities_at(*(torch.as_tensor(x) for x in (rs, s, zeta, alpha)))
    if isinstance(found, ValGrad):
        half = ValGrad(value=found.value / 2, grad=found.grad / 2, kin=found.kin / 2)
        found = SpinParam(u=half, d=half)
    return _rows(found)


def _rows(densinfo: SpinParam) -> NDArray[np.float64]:
    """(nr, 2, 5)."""
    channels = [torch.cat([c.value[None], c.grad, c.kin[None]]).T for c in (densinfo.u, densinfo.d)]
    return torch.stack(channels, dim=1).numpy()


def densinfo_of(rows: NDArray[np.float64]) -> SpinParam:
    """Up and down densities of a data set's X.

    Parameters
    ----------
    rows : ndarray
        (n, 2, 5), as of `clone_dataset`.

    Raises
    ------
    ValueError
        For no points, another shape, NaN, and densities that are negative.

    Examples
    --------
    >>> densinfo_of(np.ones((7, 2, 5))).u.grad.shape
    torch.Size([3, 7])
    """
    given = np.asarray(rows)
    if given.ndim != 3 or given.shape[1:] != (2, 5) or given.dtype.kind != "f":
        raise ValueError(
            "X must hold points (n, 2, 5), for each channel density, gradient and kinetic energy "
            f"density, got {given.dtype} of shape {given.shape}; clone_dataset(densities) makes it."
        )
    if len(given) == 0:
        raise ValueError("the samples are empty; clone_dataset(densities) draws some.")
    tensor = torch.as_tensor(np.array(given, dtype=np.float64))
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("X contains NaN or infinity: remove such points.")
    if bool((tensor[:, :, 0].sum(1) <= 0.0).any()):
        raise ValueError("X contains points without density: a factor is not defined there.")
    return SpinParam(u=_of_columns(tensor[:, 0]), d=_of_columns(tensor[:, 1]))


def _of_columns(columns: Tensor) -> ValGrad:
    n, *gradient, tau = columns.T.contiguous()
    return ValGrad(value=n, grad=torch.stack(gradient), kin=tau)


def dataset_digest(dataset: Dataset) -> str:
    """SHA-256 of the points of a data set, and of their molecules' names.

    Examples
    --------
    >>> one = NumpyDataset(np.ones((7, 2, 5)))
    >>> dataset_digest(one) == dataset_digest(NumpyDataset(np.ones((7, 2, 5))))
    True
    """
    names = np.array([str(name) for name in dataset.ids])
    return digest_of_arrays({"X": np.ascontiguousarray(dataset.X), "ids": names})
