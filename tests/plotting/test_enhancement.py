"""Lines of enhancement factors, and slices of densities, hold the numbers they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.units import Bohr

from deepchem_xc.planewave import DensityRecord, SCFResult, scf
from deepchem_xc.planewave.properties.cube import density_part
from deepchem_xc.plotting import (
    density_slice,
    plot_density_slice,
    plot_enhancement,
    plot_exchange_enhancement,
)
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.enhancement import enhancement


def test_lines_of_exchange_have_the_limits_of_pbe_and_lda() -> None:
    ax = plot_exchange_enhancement([get_xc("PBE"), get_xc("LDA")], s=[0.0, 1.0, 1e5])
    pbe, lda = ax.lines
    assert (pbe.get_label(), lda.get_label()) == ("PBE", "LDA")
    assert pbe.get_ydata()[[0, 2]] == pytest.approx([1.0, 1.804], abs=1e-7)
    assert lda.get_ydata() == pytest.approx(1.0, abs=1e-7)
    assert pbe.get_color() != lda.get_color()


def test_a_meta_gga_has_one_line_for_each_alpha() -> None:
    ax = plot_exchange_enhancement(
        {"r2SCAN": get_xc("r2SCAN"), "PBE": get_xc("PBE")}, alpha=[0.0, 1.0], s=[0.0]
    )
    assert [line.get_label() for line in ax.lines] == [
        r"r2SCAN, $\alpha$ = 0",
        r"r2SCAN, $\alpha$ = 1",
        "PBE",
    ]
    assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx([1.174, 1, 1], abs=1e-6)


def test_lines_of_exchange_and_correlation_are_the_factors() -> None:
    s = np.linspace(0.0, 3.0, 4)
    one, two = get_xc("PBE"), get_xc("PBEsol")
    ax = plot_enhancement([one, two], rs=[1.0, 5.0], zeta=[0.0, 1.0], s=s)
    cases = [(xc, rs, zeta) for xc in (one, two) for zeta in (0.0, 1.0) for rs in (1.0, 5.0)]
    assert len({line.get_label() for line in ax.lines}) == len(cases) == len(ax.lines)
    for line, (xc, rs, zeta) in zip(ax.lines, cases, strict=True):
        assert line.get_ydata() == pytest.approx(enhancement(xc, rs, s, zeta))


@pytest.fixture(scope="module")
def silicon() -> dict[str, SCFResult]:
    how = {"ecut": 100.0, "kpts": (2, 2, 2), "convergence": {"density": 1e-4}}
    return {xc: scf(bulk("Si"), xc, **how) for xc in ("PBE", "LDA")}


def test_a_slice_on_grid_points_is_the_density_itself(silicon: dict[str, SCFResult]) -> None:
    density = density_part(silicon["PBE"]).numpy() / Bohr**3
    n = density.shape[0]
    third = 2 / n
    ax = plot_density_slice(silicon["PBE"], origin=(0, 0, third), npoints=n + 1)
    shown = np.asarray(ax.collections[0].get_array()).reshape(n + 1, n + 1)
    assert shown[:n, :n] == pytest.approx(density[:, :, 2], abs=1e-10)
    assert shown[n, :n] == pytest.approx(density[0, :, 2], abs=1e-10)


def test_a_difference_is_that_of_both_densities(silicon: dict[str, SCFResult]) -> None:
    pbe, lda = silicon["PBE"], silicon["LDA"]
    ax = plot_density_slice(pbe, lda, first=(1, 1, 0), second=(0, 0, 1), npoints=9)
    shown = np.asarray(ax.collections[0].get_array()).reshape(9, 9)
    parts = [
        density_slice(density_part(r).numpy() / Bohr**3, (0, 0, 0), (1, 1, 0), (0, 0, 1), 9)
        for r in (pbe, lda)
    ]
    assert np.abs(shown).max() > 1e-4
    assert shown == pytest.approx(parts[0] - parts[1], abs=1e-12)
    ax = plot_density_slice(
        DensityRecord.of(pbe), lda, first=(1, 1, 0), second=(0, 0, 1), npoints=9
    )
    assert np.asarray(ax.collections[0].get_array()).reshape(9, 9) == pytest.approx(
        shown, abs=1e-12
    )
    smaller = scf(bulk("Si", a=5.3), ecut=60.0, convergence={"density": 1e-2})
    with pytest.raises(ValueError, match="two densities of the same cell"):
        plot_density_slice(pbe, smaller)


def test_a_slice_between_grid_points_is_the_wave_itself() -> None:
    x, y, z = np.meshgrid(np.arange(8) / 8, np.arange(9) / 9, np.arange(10) / 10, indexing="ij")

    def wave(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return 0.3 + np.cos(2 * np.pi * (x - 2 * y + 3 * z)) + np.sin(2 * np.pi * (3 * x + z))

    origin, u, v = np.array([0.1, 0.2, 0.3]), np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.5, 1.5])
    a, b = np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 1, 7), indexing="ij")
    points = origin + a[..., None] * u + b[..., None] * v
    found = density_slice(wave(x, y, z), origin, u, v, 7)
    assert found == pytest.approx(wave(*np.moveaxis(points, -1, 0)), abs=1e-12)


def test_atoms_in_the_plane_are_marked(silicon: dict[str, SCFResult]) -> None:
    ax = plot_density_slice(silicon["PBE"], first=(1, 1, -1), second=(0, 0, 1), npoints=9)
    # That plane of diamond, (110), holds both atoms of the cell; its corners are atoms too.
    height = max(line.get_ydata()[0] for line in ax.lines)
    assert len(ax.lines) >= 4 and height > 0
    assert {text.get_text() for text in ax.texts} == {"Si"}


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"first": (1, 0, 0), "second": (2, 0, 0)}, "must not be parallel"),
        ({"npoints": 1}, "npoints must be at least 2, got 1"),
    ],
)
def test_impossible_planes_are_refused(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density_slice(np.ones((4, 4, 4)), **keywords)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has the shape"):
        density_slice(np.ones((2, 4, 4, 4)))
