"""Densities of other codes; the files are written by pymatgen, ASE and GPAW themselves."""

from __future__ import annotations

import gzip
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io.cube import write_cube
from ase.units import Bohr
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.outputs import Chgcar

from deepchem_xc.data import (
    DensityFileLoader,
    DroppedAugmentationWarning,
    read_density,
    write_chgcar,
)
from deepchem_xc.feat import DensityGrid
from deepchem_xc.numerics.errors import DamagedFileError

SHAPE = (8, 10, 12)


def crystal() -> Atoms:
    """A low-symmetry cell with two elements, in an order that a POSCAR does not have."""
    cell = [[3.0, 0.2, 0.1], [0.0, 3.6, 0.3], [0.1, 0.0, 4.2]]
    return Atoms(
        "ClLiCl", scaled_positions=[[0, 0, 0], [0.5, 0.4, 0.6], [0.2, 0.7, 0.3]], cell=cell
    )


def grid(electrons: float = 8.0, shape: tuple[int, int, int] = SHAPE, spin: int = 1) -> DensityGrid:
    """A smooth positive density with this integral."""
    atoms = crystal()
    x = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"))
    wave = 2.0 + np.cos(2 * np.pi * x[0]) + 0.5 * np.sin(2 * np.pi * (x[1] - x[2]))
    total = wave * electrons / wave.mean() / atoms.get_volume()
    values = total[None] if spin == 1 else np.stack([0.75 * total, 0.25 * total])
    return DensityGrid(values, atoms.cell.array, tuple(atoms.symbols), atoms.get_scaled_positions())


def cube(path: Path, density: DensityGrid, unit: float = Bohr**3) -> Path:
    with path.open("w") as file:
        write_cube(file, density.atoms, density.density.sum(axis=0) * unit)
    return path


def chgcar(path: Path, density: DensityGrid) -> Path:
    write_chgcar(path, density)
    return path


def test_a_chgcar_holds_electrons_per_cell(tmp_path: Path) -> None:
    density = grid(spin=2)
    path = chgcar(tmp_path / "CHGCAR", density)
    given = Chgcar.from_file(str(path))
    assert given.data["total"].mean() == pytest.approx(8.0, abs=1e-8)
    assert given.data["diff"].mean() == pytest.approx(4.0, abs=1e-8)
    found = read_density(path).density
    np.testing.assert_allclose(found.density, density.density, rtol=1e-6)
    assert found.electrons == pytest.approx(8.0, abs=1e-6)
    per_angstrom = replace(density, density=density.density / density.atoms.get_volume())
    with pytest.raises(ValueError, match=r"0\.17.* no whole.*electrons per cell .*be 8\.00"):
        read_density(chgcar(tmp_path / "CHGCAR.other", per_angstrom))


def test_a_written_chgcar_says_that_it_restarts_nothing_and_sorts_its_atoms(tmp_path: Path) -> None:
    path = chgcar(tmp_path / "CHGCAR", grid())
    assert "cannot restart a PAW run" in path.read_text().splitlines()[0]
    found = read_density(path).density.atoms
    assert found.get_chemical_symbols() == ["Li", "Cl", "Cl"]
    np.testing.assert_allclose(
        found.get_scaled_positions(), crystal().get_scaled_positions()[[1, 0, 2]], atol=1e-6
    )


def test_augmentation_is_dropped_with_a_notice(tmp_path: Path) -> None:
    density = grid()
    atoms = AseAtomsAdaptor.get_structure(density.atoms[[1, 0, 2]])
    data = {"total": density.density[0] * atoms.volume}
    augmentation = {"total": {1: np.linspace(0.1, 0.8, 8), 2: np.zeros(3), 3: np.ones(5)}}
    Chgcar(atoms, data, augmentation).write_file(tmp_path / "CHGCAR")
    assert "augmentation occupancies" in (tmp_path / "CHGCAR").read_text()
    with pytest.warns(DroppedAugmentationWarning, match="dropped"):
        found = read_density(tmp_path / "CHGCAR").density
    np.testing.assert_allclose(found.density, density.density, rtol=1e-6)


def test_a_cube_holds_electrons_per_cubic_bohr(tmp_path: Path) -> None:
    density = grid()
    path = cube(tmp_path / "density.cube", density)
    found = read_density(path).density
    np.testing.assert_allclose(found.density, density.density, rtol=1e-4)
    assert found.atoms.get_chemical_symbols() == ["Cl", "Li", "Cl"]
    per_angstrom = cube(tmp_path / "other.cube", density, unit=1.0)
    with pytest.raises(ValueError, match=r"has 53\.98.* not 8.*bohr\^3 .*it would be 8\.00"):
        read_density(per_angstrom, electrons=8)
    with pytest.raises(ValueError, match="no whole number"):
        read_density(cube(tmp_path / "half.cube", grid(7.5)))
    assert read_density(tmp_path / "half.cube", electrons=7.5).density.electrons == pytest.approx(
        7.5, rel=1e-4
    )


def test_more_electrons_than_protons_are_refused_unless_they_are_given(tmp_path: Path) -> None:
    """Electrons per Angstrom^3 in a cube may add up to a whole number by chance."""
    path = cube(tmp_path / "many.cube", grid(38.0))
    with pytest.raises(ValueError, match=r"38\.0+ electrons, more than the 37 protons .*bohr\^3"):
        read_density(path)
    anion = read_density(path, electrons=38)
    assert anion.density.electrons == pytest.approx(38.0, rel=1e-5)
    assert read_density(cube(tmp_path / "all.cube", grid(37.0))).density.electrons > 36.9


def test_a_cube_in_angstrom_is_the_one_in_bohr(tmp_path: Path) -> None:
    """Negative numbers of points say that lengths are in Angstrom; values keep their unit."""
    lines = cube(tmp_path / "bohr.cube", grid()).read_text().splitlines()
    natom = int(lines[2].split()[0])
    for i in (2, 3, 4, 5, *range(6, 6 + natom)):
        words = lines[i].split()
        first = 2 if i >= 6 else 1
        lengths = [f"{float(word) * Bohr:.9f}" for word in words[first:]]
        lines[i] = " ".join(["-" * (i in (3, 4, 5)) + words[0], *words[1:first], *lengths])
    (tmp_path / "angstrom.cube").write_text("\n".join(lines))
    expected, found = (read_density(tmp_path / f"{n}.cube").density for n in ("bohr", "angstrom"))
    np.testing.assert_allclose(found.cell, expected.cell, atol=1e-7)
    np.testing.assert_allclose(found.scaled_positions, expected.scaled_positions, atol=1e-7)
    np.testing.assert_array_equal(found.density, expected.density)
    lines[4] = lines[4].replace("-", " ", 1)
    (tmp_path / "mixed.cube").write_text("\n".join(lines))
    with pytest.raises(DamagedFileError, match=r"\[-8, 10, -12\] must be all positive"):
        read_density(tmp_path / "mixed.cube")


def test_cubes_of_fortran_in_other_encodings_and_compressed_are_read_alike(tmp_path: Path) -> None:
    path = cube(tmp_path / "si.cube", grid())
    expected, lines = read_density(path).density.density, path.read_text().splitlines()
    lines[0], lines[9:] = (
        "Dichte f\xfcr \xc5ngstr\xf6m",
        [line.upper().replace("E", "D") for line in lines[9:]],
    )
    path.write_bytes("\n".join(lines).encode("latin-1"))
    np.testing.assert_array_equal(read_density(path).density.density, expected)
    with gzip.open(tmp_path / "si.cube.gz", "wb") as file:
        file.write(path.read_bytes())
    np.testing.assert_array_equal(read_density(tmp_path / "si.cube.gz").density.density, expected)
    words = " ".join(lines[9:]).split()
    path.write_text("\n".join([*lines[1:2] * 2, *lines[2:9], " ".join(["0.1-100", *words[1:]])]))
    electrons = 8.0 * (1.0 - expected[0, 0, 0, 0] / expected.sum())
    found = read_density(path, electrons=electrons).density.density
    assert abs(found[0, 0, 0, 0]) < 1e-90
    np.testing.assert_array_equal(found[0, :, 1:], expected[0, :, 1:])


def test_an_origin_moves_atoms_and_not_points(tmp_path: Path) -> None:
    density = grid()
    atoms = density.atoms
    origin = np.array([-1.0, 0.5, 2.0])
    atoms.positions += origin
    with (tmp_path / "moved.cube").open("w") as file:
        write_cube(file, atoms, density.density[0] * Bohr**3, origin=origin)
    found = read_density(tmp_path / "moved.cube").density
    np.testing.assert_allclose(found.atoms.positions, density.atoms.positions, atol=1e-5)


def test_the_difference_is_from_the_second_file(tmp_path: Path) -> None:
    density = grid()
    flat = DensityGrid(
        np.full_like(density.density, density.density.mean()),
        density.cell,
        density.symbols,
        density.scaled_positions,
    )
    paths = chgcar(tmp_path / "CHGCAR", density), chgcar(tmp_path / "CHGCAR.atoms", flat)
    found = read_density(paths[0], superposition=paths[1])
    np.testing.assert_allclose(found.difference.density, density.density - flat.density, atol=1e-6)
    assert abs(found.difference.electrons) < 1e-6
    with pytest.raises(ValueError, match="came without the superposition"):
        read_density(paths[0]).difference  # noqa: B018


def other_structure() -> DensityGrid:
    density = grid()
    positions = density.scaled_positions + [[0, 0, 0], [0, 0.02, 0], [0, 0, 0]]
    return DensityGrid(density.density, density.cell, density.symbols, positions)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (grid(shape=(8, 10, 10)), r"another grid .*\(8, 10, 10\), not \(8, 10, 12\)"),
        (grid(9.0), "another number of electrons"),
        (grid(spin=2), "another number of spin channels"),
        (other_structure(), r"another structure .*an atom is 0\.07"),
        (
            DensityGrid(grid().density, 1.01 * grid().cell, ("Cl",) * 3, np.eye(3)),
            "another sequence of atoms",
        ),
    ],
    ids=["grid", "electrons", "spin", "structure", "atoms"],
)
def test_a_superposition_that_does_not_belong_is_refused(
    other: DensityGrid, said: str, tmp_path: Path
) -> None:
    first, second = chgcar(tmp_path / "CHGCAR", grid()), tmp_path / "CHGCAR2"
    # A larger cell must hold whole electrons too, or the file is refused for that.
    values = other.density * round(other.electrons) / other.electrons
    write_chgcar(second, DensityGrid(values, other.cell, other.symbols, other.scaled_positions))
    with pytest.raises(ValueError, match=said):
        read_density(first, superposition=second)


@pytest.mark.parametrize("name", ["CHGCAR", "si.cube"])
@pytest.mark.parametrize("kept", [0.97, 0.6, 0.02, 0.0])
def test_truncated_files_are_refused(name: str, kept: float, tmp_path: Path) -> None:
    path = (chgcar if name == "CHGCAR" else cube)(tmp_path / name, grid())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DamagedFileError, match=f"{name}.*is not a complete"):
            read_density(path)


def test_bad_values_names_and_formats_are_refused(tmp_path: Path) -> None:
    density = grid()
    density.density[0, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        read_density(cube(tmp_path / "nan.cube", density))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_density(tmp_path / "none.cube")
    with pytest.raises(ValueError, match="'chgcar', 'cube', 'gpaw', got None"):
        read_density(tmp_path / "density.dat")
    with pytest.raises(ValueError, match="all_electron=True is for GPAW"):
        read_density(tmp_path / "nan.cube", all_electron=True)
    with pytest.raises(ValueError, match="inputs must be paths, or pairs"):
        DensityFileLoader().create_dataset([])


def test_the_loader_makes_one_row_a_file(tmp_path: Path) -> None:
    first, second = chgcar(tmp_path / "CHGCAR", grid()), cube(tmp_path / "li.cube", grid(10.0))
    dataset = DensityFileLoader().create_dataset([(first, first), second])
    assert [found.format for found in dataset.X] == ["chgcar", "cube"]
    assert dataset.ids.tolist() == [str(first), str(second)]
    np.testing.assert_allclose(dataset.y, [[8.0], [10.0]], atol=1e-3)
    assert dataset.X[1].superposition is None


def test_the_loader_checks_electrons_and_gives_moments_to_records(tmp_path: Path) -> None:
    """A grid that lost electrons has the right number in its record, by file or by element."""
    paths = [chgcar(tmp_path / "CHGCAR", grid(15.0)), cube(tmp_path / "li.cube", grid(14.99))]
    assert grid().symbols == ("Cl", "Li", "Cl")
    moments = [0.5, -1.0, 0.25]
    for electrons in (15, {"Li": 1, "Cl": 7, "Na": 9}):
        loader = DensityFileLoader(records=True, electrons=electrons)
        first, second = loader.create_dataset(paths, magmoms=[None, moments]).X
        assert second.nelectrons == pytest.approx(15.0, abs=1e-9)
        assert first.crystal.magnetic_moments is None
        assert second.crystal.magnetic_moments == tuple(moments)
    with pytest.raises(ValueError, match=r"li.cube' has 14.9900 electrons, not 16"):
        DensityFileLoader(electrons={"Li": 2, "Cl": 7}).create_dataset(paths[1:])
    with pytest.raises(ValueError, match=r"has no number for Cl of .*li.cube.*VASP's ZVAL"):
        DensityFileLoader(electrons={"Li": 3}).create_dataset(paths[1:])
    for wrong in (0.0, {"Li": -1, "Cl": 0}):
        with pytest.raises(ValueError, match="electrons must be positive, got"):
            DensityFileLoader(electrons=wrong).create_dataset(paths)
    loader = DensityFileLoader(records=True)
    with pytest.raises(ValueError, match="for each of the 1 files, got 2"):
        loader.create_dataset(paths[:1], magmoms=[moments, moments])
    with pytest.raises(ValueError, match=r"3 atoms of .*CHGCAR \(Li, Cl, Cl\), got 2"):
        loader.create_dataset(paths[:1], magmoms=[moments[:2]])
    with pytest.raises(ValueError, match="records=True"):
        DensityFileLoader().create_dataset(paths[:1], magmoms=[moments])


@pytest.mark.gpaw
def test_gpaws_densities_are_read_with_and_without_cores(tmp_path: Path) -> None:
    from gpaw import GPAW, PW

    atoms = bulk("Si")
    atoms.calc = GPAW(mode=PW(150), xc="LDA", kpts=(1, 1, 1), txt=None)
    atoms.get_potential_energy()
    path = tmp_path / "si.gpw"
    atoms.calc.write(path)
    pseudo = read_density(path).density
    np.testing.assert_allclose(pseudo.density[0], atoms.calc.get_pseudo_density(), atol=1e-10)
    assert 4.0 < pseudo.electrons < 8.1
    full = read_density(path, all_electron=True).density
    assert full.electrons == pytest.approx(28.0, rel=2e-2)
    assert full.atoms.get_chemical_symbols() == ["Si", "Si"]
    given = read_density(path, all_electron=True, electrons={"Si": 14})
    assert given.record().nelectrons == pytest.approx(28.0, abs=1e-9)
    with pytest.raises(ValueError, match=r"has 28.*with those of the cores, not 8: leave"):
        read_density(path, all_electron=True, electrons={"Si": 4})
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DamagedFileError, match=r"si\.gpw"):
        read_density(path)
