"""The tables of a dataset are those of GPAW's object for the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepchem_xc.planewave.paw import (
    FAMILIES,
    PAWDataset,
    load_paw,
    on_site_tables,
    shape_functions,
)

# Format 0.6 and, for Gd (with f states), 0.7.
SOURCES = (
    *((symbol, "paw-pbe") for symbol in ("Si", "Al", "O", "Ni", "Na", "Cu", "Au", "Gd")),
    ("Ni", "paw-pbe:10"),
    ("Si", "paw-lda"),
)
# GPAW's m = -l ... l, by the numbers of the same harmonics here.
ORDERS = ((0,), (1, 2, 0), (0, 1, 3, 2, 4), (6, 4, 2, 0, 1, 3, 5))


def gpaw_order(dataset: PAWDataset) -> NDArray:
    """Numbers of the dataset's states in GPAW's order."""
    start, found = 0, []
    for l in dataset.angular_momenta:
        found += [start + m for m in ORDERS[l]]
        start += 2 * l + 1
    return np.array(found)


@pytest.mark.gpaw
@pytest.mark.parametrize("symbol, source", SOURCES)
def test_tables_equal_gpaws(symbol: str, source: str, setups: Path) -> None:
    from gpaw.setup import create_setup

    dataset = load_paw(source, symbol)
    family, _, variant = source.partition(":")
    setup = create_setup(symbol, FAMILIES[family], type=variant or "paw", lmax=2)
    tables, order = on_site_tables(dataset), gpaw_order(dataset)
    multipoles = np.array([l * l + m for l in range(3) for m in ORDERS[l]])
    upper = np.triu_indices(len(order))

    def packed(matrix: NDArray) -> NDArray:
        return np.asarray(matrix)[np.ix_(order, order)][upper]

    def assert_equal(ours: NDArray | float, gpaws: NDArray | float) -> None:
        np.testing.assert_allclose(ours, gpaws, rtol=0.0, atol=1e-10)

    assert_equal(packed(tables.overlap), setup.dO_ii[upper])
    moments = tables.multipoles.numpy()[np.ix_(multipoles, order, order)]
    assert_equal(moments.transpose(1, 2, 0), setup.Delta_iiL)
    assert_equal(tables.fixed_multipole, setup.Delta0)
    assert_equal(tables.smooth_core_electrons, setup.Nct)
    assert_equal(packed(tables.kinetic), setup.K_p)
    assert_equal(tables.kinetic_constant, setup.Kc)
    assert_equal(tables.coulomb_constant, setup.M)
    assert_equal(packed(tables.coulomb_linear), setup.M_p)
    assert_equal(tables.zero_constant, setup.MB)
    assert_equal(packed(tables.zero_linear), setup.MB_p)
    quadratic = tables.coulomb_quadratic.numpy()[np.ix_(order, order, order, order)][upper]
    ours = quadratic[:, upper[0], upper[1]]
    # GPAW's integrals of f states depend on the order of the pairs, by 2e-10 Ha.
    differences = np.minimum(np.abs(ours - setup.M_pp), np.abs(ours - setup.M_pp.T))
    assert differences.max() < 1e-10


@pytest.mark.gpaw
@pytest.mark.parametrize("name", ["O", "Ni"])
def test_shapes_equal_gpaws(name: str, setups: Path) -> None:
    from gpaw.setup import create_setup

    dataset = load_paw("paw-pbe", name)
    gpaws = create_setup(name, "PBE", lmax=2).g_lg
    ours = shape_functions(dataset)
    np.testing.assert_allclose(ours[:, : gpaws.shape[1]], gpaws, rtol=1e-10, atol=1e-10)
