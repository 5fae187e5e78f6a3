"""Densities of other codes as records: written by pymatgen and ASE, refused by calculations."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io.cube import write_cube
from ase.units import Bohr, Hartree
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.outputs import Chgcar

from deepchem_xc.data import OtherDensity, TruncatedDensityWarning, read_density, write_chgcar
from deepchem_xc.feat import DensityGrid
from deepchem_xc.planewave import DensityRecord, SCFResult, non_self_consistent, scf

KEYWORDS: dict[str, Any] = {"ecut": 100.0, "kpts": (1, 1, 1)}
SHAPE = (8, 10, 13)


def compound() -> Atoms:
    cell = [[3.0, 0.2, 0.1], [0.0, 3.6, 0.3], [0.1, 0.0, 4.2]]
    return Atoms("LiCl", scaled_positions=[[0, 0, 0], [0.5, 0.4, 0.6]], cell=cell, pbc=True)


def waves(amplitude: float, constant: float) -> np.ndarray:
    """Electrons per cell on the grid: 8, and cosines that the spheres of the tests hold."""
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in SHAPE), indexing="ij")
    found: np.ndarray = constant + amplitude * (
        np.cos(2 * np.pi * x) + 0.5 * np.sin(2 * np.pi * (2 * y - z))
    )
    return found


def write_pair(kind: str, folder: Path) -> tuple[Path, Path]:
    """A density and its superposition; the second has lost 4e-5 of the electrons in rounding."""
    atoms = compound()
    paths = folder / f"{kind}.1", folder / f"{kind}.2"
    for path, values in zip(paths, (waves(3.0, 8.0), waves(1.0, 7.9997)), strict=True):
        if kind == "CHGCAR":
            Chgcar(AseAtomsAdaptor.get_structure(atoms), {"total": values}).write_file(path)
        else:
            with path.open("w") as file:
                write_cube(file, atoms, values / atoms.get_volume() * Bohr**3)
    return paths


@pytest.mark.parametrize("kind", ["CHGCAR", "density.cube"])
def test_density_and_superposition_come_on_one_sphere_with_the_same_electrons(
    kind: str, tmp_path: Path
) -> None:
    """The cosines' coefficients are known, whatever the code's units."""
    density, atoms = write_pair(kind, tmp_path)
    record = read_density(density, superposition=atoms).record()
    assert record.superposition_fields is not None
    volume = float(record.crystal.volume)  # formats round the cell
    for fields, amplitude in ((record.fields, 3.0), (record.superposition_fields, 1.0)):
        assert fields.density.shape == (1, len(record.g_vectors)) and fields.tau is None
        found = {
            tuple(g): complex(value) * volume
            for g, value in zip(record.g_vectors.tolist(), fields.density[0], strict=True)
            if abs(value) * volume > 1e-2
        }
        assert found.pop((0, 0, 0)) == pytest.approx(8.0, abs=1e-12)
        expected = {
            (1, 0, 0): 0.5,
            (-1, 0, 0): 0.5,
            (0, 2, -1): -0.25j,
            (0, -2, 1): 0.25j,
        }
        assert found == {
            g: pytest.approx(amplitude * value, abs=2e-4) for g, value in expected.items()
        }
    # The largest sphere in the grid: 8 points hold G = 3 along the first axis, 10 and 13 more.
    assert record.g_vectors.abs().amax(0).tolist()[0] == 3
    np.testing.assert_allclose(record.crystal.to_ase().positions, compound().positions, atol=1e-5)
    assert record.potentials is None and record.functional is None and record.version is None


def test_a_record_of_another_code_is_kept_with_its_superposition(tmp_path: Path) -> None:
    record = read_density(*write_pair("CHGCAR", tmp_path)[:1]).record()
    pair = read_density(
        write_pair("CHGCAR", tmp_path)[0], superposition=tmp_path / "CHGCAR.2"
    ).record(magmoms=[0.0, 1.0])
    pair.save(tmp_path / "licl.npz")
    again = DensityRecord.load(tmp_path / "licl.npz")
    assert again.digest == pair.digest and again.other_code == "chgcar"
    assert again.superposition_fields is not None and pair.superposition_fields is not None
    assert torch.equal(again.superposition_fields.density, pair.superposition_fields.density)
    assert again.crystal.magnetic_moments == (0.0, 1.0)
    assert again.ecut is not None
    coarse = again.at(0.5 * again.ecut)
    assert coarse.superposition_fields is not None
    assert coarse.superposition_fields.density.shape == coarse.fields.density.shape
    others = (record, pair, replace(pair, other_code="cube"), replace(pair, crystal=record.crystal))
    assert len({other.digest for other in others}) == 4


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), "PBE", **KEYWORDS)


def test_our_own_density_survives_a_chgcar(silicon: SCFResult, tmp_path: Path) -> None:
    """The sphere that is found holds all plane waves of the calculation."""
    write_chgcar(tmp_path / "CHGCAR", DensityGrid.of(silicon))
    record = read_density(tmp_path / "CHGCAR").record()
    assert record.ecut is not None and record.ecut * Hartree >= 100.0
    same = record.on(silicon.basis).fields.density
    assert float((same - silicon.density_g).abs().max()) < 1e-7
    given = read_density(tmp_path / "CHGCAR").record(ecut=100.0)
    assert torch.equal(given.g_vectors, silicon.basis.g_vectors)
    assert float((given.fields.density - silicon.density_g).abs().max()) < 1e-7


def test_calculations_refuse_the_density_of_another_code(
    silicon: SCFResult, tmp_path: Path
) -> None:
    """Its electrons may even be as many, as here."""
    write_chgcar(tmp_path / "CHGCAR", DensityGrid.of(silicon))
    record = read_density(tmp_path / "CHGCAR").record(ecut=100.0)
    record.save(tmp_path / "si.npz")
    for given in (record, tmp_path / "si.npz"):
        with pytest.raises(ValueError, match=r"read from another code's file \(chgcar\): its elec"):
            scf(bulk("Si"), "PBE", start=given, **KEYWORDS)
        with pytest.raises(ValueError, match=r"another code's file .* Models can learn from it"):
            non_self_consistent(bulk("Si"), "PBE", density=given, **KEYWORDS)


def test_what_a_grid_does_not_hold_is_refused_or_reported(tmp_path: Path) -> None:
    other = read_density(write_pair("CHGCAR", tmp_path)[0])
    held = other.record().ecut
    assert held is not None
    for ecut, said in (
        (held * Hartree * 1.01, r"the grid \(8, 10, 13\) of .*CHGCAR\.1 holds .* up to"),
        (0.0, "ecut = 0 eV"),
        ("much", "ecut"),
    ):
        with pytest.raises(ValueError, match=said):
            other.record(ecut=ecut)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error", TruncatedDensityWarning)
        other.record()
    sharp = waves(3.0, 8.0)
    sharp[0, 0, 0] += 20.0
    grid = replace(other.density, density=sharp[None] / compound().get_volume())
    rough = OtherDensity(grid, None, "chgcar", "CHGCAR")
    with pytest.warns(TruncatedDensityWarning, match=r"hold \d\.\de-0\d of .* out: let the other"):
        rough.record()
    with pytest.warns(TruncatedDensityWarning, match=r"higher ecut \(up to \d+ eV\), or let"):
        rough.record(ecut=held * Hartree * 0.8)


def test_a_pseudo_density_without_its_spheres_is_refused(tmp_path: Path) -> None:
    other = read_density(write_pair("CHGCAR", tmp_path)[0])
    pseudo = replace(other, format="gpaw")
    with pytest.raises(ValueError, match=r"pseudo-density.*all_electron=True"):
        pseudo.record()
    assert replace(pseudo, all_electron=True).record().other_code == "gpaw"


def test_electrons_that_are_no_whole_number_stay(tmp_path: Path) -> None:
    other = read_density(write_pair("CHGCAR", tmp_path)[0])
    half = replace(other.density, density=other.density.density * 7.5 / 8.0)
    for given, expected in ((7.5, 7.5), (None, half.electrons)):
        record = OtherDensity(half, None, "chgcar", "CHGCAR", electrons=given).record()
        assert record.nelectrons == pytest.approx(expected, abs=1e-12)
