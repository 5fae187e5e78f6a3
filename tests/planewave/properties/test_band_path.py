"""Paths through the Brillouin zone that jump: every row is its own k-point's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.dft.kpoints import BandPath
from ase.spectrum.band_structure import BandStructure
from ase.units import Hartree

from deepchem_xc import plotting
from deepchem_xc.cli.results import band_values
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.properties.band_path import path_axis
from deepchem_xc.planewave.properties.bands import band_structure, eigenvalues_at

CUBE = Atoms("Li", cell=[3.0] * 3, pbc=True, magmoms=[1.0])


@pytest.fixture(scope="module")
def lithium() -> SCFResult:
    # A moment that is held splits the channels.
    occupations = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    settings = {"pseudopotentials": "gth-pade", "ecut": 120.0, "kpts": (2, 2, 2)}
    return scf(CUBE, "LDA", occupations=occupations, **settings)


@pytest.mark.parametrize("text", ["GXMGRX,MR", "GX,MR,XM", "RG,XM", "GX,XM"])
def test_rows_are_those_of_their_own_points(lithium: SCFResult, text: str) -> None:
    path = CUBE.cell.bandpath(text, npoints=17)
    bands = band_structure(lithium, path, nbands=3)
    axis = path_axis(bands.path)
    assert "".join(name for _, name in axis.points) == text.replace(",", "")
    assert len(axis.breaks) == text.count(",")
    points = [path.special_points[name] for _, name in axis.points]
    levels = eigenvalues_at(lithium, points, nbands=3, tolerance=1e-6).numpy() * Hartree
    rows = [index for index, _ in axis.points]
    np.testing.assert_allclose(bands.energies[:, rows], levels, rtol=0.0, atol=1e-5)
    # The channels differ, and so do the points on both sides of a jump that leads elsewhere.
    assert np.abs(bands.energies[0] - bands.energies[1]).max() > 0.1
    for i in axis.breaks:
        assert axis.distances[i] == axis.distances[i + 1]
        moved = np.abs(path.kpts[i + 1] - path.kpts[i]).max() > 0.1
        assert (np.abs(bands.energies[:, i] - bands.energies[:, i + 1]).max() > 0.1) == moved
    values = band_values(bands)
    assert [point["index"] for point in values["special_points"]] == rows
    assert values["breaks"] == list(axis.breaks)
    assert np.shape(values["distances"]) == (len(path.kpts),)


@pytest.mark.parametrize(
    "atoms",
    [bulk("Al", cubic=True), bulk("Fe"), bulk("Co"), Atoms("H", cell=[3, 4, 5], pbc=True)],
    ids=["cubic", "bcc", "hexagonal", "orthorhombic"],
)
def test_ases_default_paths_jump_where_their_text_has_a_comma(atoms: Atoms) -> None:
    path = atoms.cell.bandpath(npoints=60)
    axis = path_axis(path)
    assert "".join(name for _, name in axis.points) == path.path.replace(",", "")
    sections = path.path.split(",")
    assert len(axis.sections) == len(sections)
    for section, text in zip(axis.sections, sections, strict=True):
        names = [name for index, name in axis.points if section.start <= index < section.stop]
        assert "".join(names) == text
        # Straight pieces: steps within a section are about as long as each other.
        steps = np.diff(axis.distances[section])
        assert steps.min() > 0.0 and steps.max() < 4.0 * np.median(steps)
    # Where nothing jumps twice in a row, this is ASE's axis.
    np.testing.assert_allclose(axis.distances, path.get_linear_kpoint_axis()[0], atol=1e-12)
    ends = {f"{a[-1]}|{b[0]}" for a, b in zip(sections, sections[1:])}
    assert {label for _, label in axis.ticks if "|" in label} == ends


def test_two_points_next_to_each_other_are_not_a_jump() -> None:
    axis = path_axis(CUBE.cell.bandpath("GXM", npoints=3))
    np.testing.assert_allclose(axis.distances, np.array([0.0, 1.0, 2.0]) * np.pi / 3.0)
    assert axis.breaks == ()


def test_a_path_without_text_jumps_where_a_step_is_long() -> None:
    named = CUBE.cell.bandpath("GXMGRX,MR,GM", npoints=40)
    bare = BandPath(CUBE.cell, named.kpts, special_points=named.special_points)
    assert path_axis(bare).breaks == path_axis(named).breaks != ()
    assert path_axis(bare).points == path_axis(named).points
    foreign = BandPath(CUBE.cell, named.kpts[:5], named.special_points, path="XR")
    assert path_axis(foreign).points == ((0, "G"), (3, "X"))
    assert path_axis(foreign).breaks == ()
    assert path_axis(BandPath(CUBE.cell, [[0.1, 0.2, 0.3]])).distances.tolist() == [0.0]


def test_paths_that_name_nothing_useful_are_refused(lithium: SCFResult) -> None:
    with pytest.raises(ValueError, match=r"names \['Q'\].*\['G', 'M', 'R', 'X'\]"):
        band_structure(lithium, "GQ", npoints=2)
    with pytest.raises(ValueError, match=r"'GX,M' has a part with fewer than two points, \['M'\]"):
        band_structure(lithium, "GX,M", npoints=5)
    with pytest.raises(ValueError, match="names no points"):
        band_structure(lithium, "", npoints=5)
    for path in (["G", "X"], [[0, 0, 0], [0, 0, 0.5]], 5):
        with pytest.raises(
            ValueError, match="is neither text, such as 'GXMGRX,MR'.*eigenvalues_at"
        ):
            band_structure(lithium, path, npoints=5)
    for tolerance in (0.0, -1.0, "fine"):
        with pytest.raises(ValueError, match="tolerance must be"):
            eigenvalues_at(lithium, [[0, 0, 0]], tolerance=tolerance)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="npoints must be a whole number of at least 1, got -4"):
        band_structure(lithium, "GX", npoints=-4)


def test_lines_of_the_figure_end_at_jumps() -> None:
    path = CUBE.cell.bandpath("GXMGRX,MR", npoints=30)
    energies = np.random.default_rng(0).normal(size=(2, len(path.kpts), 3))
    ax = plotting.plot_bands(BandStructure(path, energies, reference=0.5))
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["Γ", "X", "M", "Γ", "R", "X|M", "R"]
    assert len(set(ax.get_xticks())) == len(labels)
    (jump,) = path_axis(path).breaks
    bands = [line for line in ax.lines if len(line.get_xdata()) > 2]
    lengths = sorted(len(line.get_xdata()) for line in bands)
    assert lengths == sorted(6 * [jump + 1, len(path.kpts) - jump - 1])
    shown = np.concatenate([line.get_ydata() for line in bands])
    np.testing.assert_allclose(np.sort(shown), np.sort(energies.ravel() - 0.5))
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"spin up", "spin down"}


def test_bands_that_share_a_multiplet_with_the_next_one_converge() -> None:
    """The 8th of the nine lowest free-electron states at Gamma of the cubic cell of aluminium."""
    atoms = bulk("Al", cubic=True)
    result = scf(atoms, ecut=80.0, kpts={"size": (2, 2, 2), "gamma": True})
    few = eigenvalues_at(result, [[0, 0, 0], [0.1, 0, 0]], nbands=8)
    many = eigenvalues_at(result, [[0, 0, 0], [0.1, 0, 0]], nbands=24)
    assert torch.allclose(few, many[:, :, :8], rtol=0.0, atol=1e-7)


def test_levels_along_a_path_belong_to_its_cell(lithium: SCFResult) -> None:
    path = CUBE.cell.bandpath("GX", npoints=2)
    levels = eigenvalues_at(lithium, path, nbands=2)
    assert torch.equal(levels, eigenvalues_at(lithium, path.kpts, nbands=2))
    with pytest.raises(ValueError, match="the path belongs to a cell with lengths"):
        eigenvalues_at(lithium, bulk("Al").cell.bandpath("GX", npoints=2), nbands=2)
