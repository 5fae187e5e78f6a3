"""CHGCARs as VASP writes them, which pymatgen's own writer does not: each piece by VASP's format.

The text is written here, number by number, from the description of the format in VASP's manual: a
header like a POSCAR, values five to a line with the last line short, the occupancies of each atom's
augmentation charge, and for two spins the atoms' moments and a second block, the magnetisation.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deepchem_xc.data import DroppedAugmentationWarning, read_density
from deepchem_xc.numerics.errors import DamagedFileError

SHAPE = (7, 9, 8)  # 504 values: the last line has four
CELL = np.array([[3.1, 0.2, 0.0], [-0.4, 2.9, 0.3], [0.5, 0.1, 4.2]])
POSITIONS = np.array([[0.01, 0.02, 0.03], [0.4, 0.5, 0.6], [0.7, 0.2, 0.9], [0.25, 0.75, 0.35]])
SYMBOLS = ("Fe", "O", "O", "Fe")
ELECTRONS, MOMENT = 28.0, 4.5
VOLUME = abs(float(np.linalg.det(CELL)))


def fortran(value: float, digits: int, width: int) -> str:
    """A number as Fortran's E format has it: no digit before the point, 0.12E+03."""
    mantissa, exponent = f"{abs(value):.{digits - 1}E}".split("E")
    shifted = int(exponent) + (value != 0.0)
    sign = "-" if value < 0 else ""
    text = f"0.{mantissa.replace('.', '')}"
    # Exponents of three digits take the place of the letter.
    text += f"E{shifted:+03d}" if abs(shifted) < 100 else f"{shifted:+04d}"
    found = sign + (text[1:] if len(sign + text) > width else text)
    return found.rjust(width)


def lines_of(values: Sequence[float], digits: int, width: int, between: str = "") -> str:
    """Five numbers to a line."""
    texts = [between + fortran(value, digits, width) for value in values]
    return "\n".join("".join(texts[i : i + 5]) for i in range(0, len(texts), 5)) + "\n"


def header(
    scale: float = 1.0,
    cartesian: bool = False,
    selective: bool = False,
    species: str = "   Fe   O    Fe",
) -> str:
    """A cell that the scale, or a negative one as the volume, makes `CELL`."""
    cell = CELL / (scale if scale > 0 else 1.7)
    lines = ["unknown system", f"   {scale:.14f}"]
    lines += ["".join(f"{x:12.8f}" for x in row) for row in cell]
    lines += [species] if species else []
    lines += ["     1     2     1"]
    lines += ["Selective dynamics"] if selective else []
    lines += ["Cartesian" if cartesian else "Direct"]
    flags = "   T   F   T" if selective else ""
    positions = POSITIONS @ cell if cartesian else POSITIONS
    lines += ["".join(f"{x:12.8f}" for x in row) + flags for row in positions]
    return "\n".join(lines) + "\n \n"


def block(values: np.ndarray) -> str:
    """Grid and values, the first axis fastest, and two to seven lines of augmentation each."""
    text = "".join(f"{n:5d}" for n in SHAPE) + "\n"
    text += lines_of(values.ravel(order="F").tolist(), 11, 17, " ")
    rng = np.random.default_rng(0)
    for atom, number in enumerate((33, 8, 8, 33), start=1):
        text += f"augmentation occupancies{atom:4d}{number:4d}\n"
        text += lines_of(rng.normal(size=number).tolist(), 7, 15)
    return text


def waves() -> tuple[np.ndarray, np.ndarray]:
    """Electrons and moment per cell on the grid, of different shapes, negative in places."""
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in SHAPE), indexing="ij")
    total = ELECTRONS + 9.0 * np.cos(2 * np.pi * (x - y)) + 6.0 * np.sin(2 * np.pi * (y + 2 * z))
    return total, MOMENT + 7.0 * np.cos(2 * np.pi * (x + z))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def spin_file(path: Path, head: str) -> Path:
    total, moment = waves()
    moments = lines_of([2.1, -0.05, -0.05, 2.2], 12, 20)
    return write(path, head + block(total) + moments + block(moment))


@pytest.mark.parametrize("scale", [1.0, 1.3, -VOLUME])
@pytest.mark.parametrize("cartesian", [False, True])
@pytest.mark.parametrize("selective", [False, True])
def test_electrons_moment_and_structure_are_vasps_for_every_header(
    scale: float, cartesian: bool, selective: bool, tmp_path: Path
) -> None:
    path = spin_file(tmp_path / "CHGCAR", header(scale, cartesian, selective))
    with pytest.warns(DroppedAugmentationWarning, match="CHGCAR has augmentation occupancies"):
        found = read_density(path, electrons={"Fe": 8, "O": 6}).density
    assert found.symbols == SYMBOLS
    np.testing.assert_allclose(found.cell, CELL, atol=1e-7)
    np.testing.assert_allclose(found.scaled_positions, POSITIONS, atol=1e-7)
    total, moment = (values / VOLUME for values in waves())
    np.testing.assert_allclose(found.density.sum(0), total, rtol=1e-7)
    np.testing.assert_allclose(found.density[0] - found.density[1], moment, rtol=0, atol=1e-8)
    assert found.electrons == pytest.approx(ELECTRONS, abs=1e-6)
    up, down = found.density.sum((1, 2, 3)) * found.weight
    assert up - down == pytest.approx(MOMENT, abs=1e-6)


def test_a_record_has_the_files_plane_waves_and_both_spins(tmp_path: Path) -> None:
    with pytest.warns(DroppedAugmentationWarning):
        other = read_density(spin_file(tmp_path / "CHGCAR", header()))
    record = other.record(magmoms=[2.0, 0.0, 0.0, 2.0])
    assert record.nelectrons == pytest.approx(ELECTRONS, abs=1e-9) and record.nspin == 2
    volume = record.crystal.volume
    rows = {tuple(g): i for i, g in enumerate(record.g_vectors.tolist())}
    up, down = record.fields.density * volume
    total, moment = up + down, up - down
    assert complex(total[rows[1, -1, 0]]) == pytest.approx(4.5, abs=1e-6)
    assert complex(total[rows[0, 1, 2]]) == pytest.approx(-3.0j, abs=1e-6)
    assert complex(moment[rows[1, 0, 1]]) == pytest.approx(3.5, abs=1e-6)
    assert complex(moment[rows[0, 0, 0]]) == pytest.approx(MOMENT, abs=1e-6)


@pytest.mark.parametrize("species", ["Fe_pv O Fe_pv", "Fe_pv/1bb2c4a  O/99f1  Fe_pv/1bb2c4a"])
def test_names_of_potentials_are_those_of_their_elements(species: str, tmp_path: Path) -> None:
    path = write(tmp_path / "CHGCAR", header(species=species) + block(waves()[0]))
    with pytest.warns(DroppedAugmentationWarning):
        assert read_density(path).density.symbols == SYMBOLS


def test_a_file_that_does_not_name_its_elements_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "CHGCAR", header(species="") + block(waves()[0]))
    with pytest.raises(NotImplementedError, match="does not name its elements.*'1     2     1'"):
        read_density(path)


def test_a_compressed_file_is_read_alike(tmp_path: Path) -> None:
    plain = spin_file(tmp_path / "CHGCAR", header(-VOLUME, cartesian=True))
    packed = tmp_path / "CHGCAR.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.warns(DroppedAugmentationWarning):
        one, other = read_density(plain).density, read_density(packed).density
    np.testing.assert_array_equal(one.density, other.density)
    np.testing.assert_array_equal(one.scaled_positions, other.scaled_positions)


def test_exponents_of_three_digits_are_read(tmp_path: Path) -> None:
    """Fortran drops the letter before an exponent of three digits: 0.12345678901-102."""
    total = waves()[0]
    total[2, 3, 4] = 1.2345678901e-103
    path = write(tmp_path / "CHGCAR", header() + block(total))
    assert "0.12345678901-102" in path.read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedAugmentationWarning)
        found = read_density(path, electrons=float(total.mean())).density
    np.testing.assert_allclose(found.density[0] * VOLUME, total, rtol=1e-7, atol=1e-12)


def test_a_file_cut_within_its_magnetisation_or_with_another_grid_there_is_refused(
    tmp_path: Path,
) -> None:
    whole = spin_file(tmp_path / "CHGCAR", header()).read_text()
    before, after = whole.rsplit("    7    9    8", 1)
    for text in (
        whole[: int(0.8 * len(whole))],
        f"{before}    9    7    8{after}",
    ):
        with pytest.raises(DamagedFileError, match="CHGCAR.*is not a complete chgcar file"):
            read_density(write(tmp_path / "CHGCAR", text))
