"""Formats of densities: how each is read, its units, and the check of its number of electrons."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray

from deepchem_xc._atomic import replacing
from deepchem_xc._caller import users_stacklevel
from deepchem_xc._values import real_number
from deepchem_xc.data.cube_files import read_cube_density, read_lines, with_letters
from deepchem_xc.feat.density_grid import DensityGrid
from deepchem_xc.numerics.errors import DamagedFileError

if TYPE_CHECKING:
    from ase import Atoms

Floats = NDArray[np.float64]

#: Comment of a CHGCAR that this package writes.
CHGCAR_COMMENT = "valence density by deepchem_xc; no augmentation: cannot restart a PAW run"
#: Distance from a whole number of electrons that rounding in a file explains.
WHOLE = 0.02
# Relative deviation from the number of electrons that a file is said to have.
ELECTRONS = 1e-3
# Relative deviation of GPAW's all-electron density on a grid, which cannot resolve cores.
_ALL_ELECTRONS = 2e-2


class DroppedAugmentationWarning(UserWarning):
    """A CHGCAR has augmentation occupancies, which are not part of the density on the grid.

    Examples
    --------
    >>> issubclass(DroppedAugmentationWarning, UserWarning)
    True
    """


def file_format(path: str | os.PathLike[str], given: str | None) -> str:
    """The format that is given, or that a file's name tells.

    Raises
    ------
    ValueError
        If it is unknown.

    Examples
    --------
    >>> file_format("run/CHGCAR.gz", None), file_format("si.cube", None)
    ('chgcar', 'cube')
    """
    name = Path(path).name.lower()
    found = given or next(
        (
            known
            for known, sign in (("gpaw", ".gpw"), ("cube", ".cub"), ("chgcar", "chg"))
            if sign in name
        ),
        None,
    )
    if found not in _READERS:
        raise ValueError(
            f"format must be one of {', '.join(map(repr, _READERS))}, got {found!r} for "
            f"{os.fspath(path)!r}; give format=, or a name with 'CHG', '.cube' or '.gpw'."
        )
    return str(found)


def read_grid(
    path: str | os.PathLike[str],
    format: str | None,
    electrons: float | Mapping[str, float] | None,
    all_electron: bool,
) -> DensityGrid:
    """The density of one file, its values and number of electrons checked; see `read_density`."""
    kind, name = file_format(path, format), os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {name!r}.")
    try:
        atoms, values = _READERS[kind](Path(path), all_electron)
    except (ImportError, NotImplementedError):
        raise
    except Exception as error:  # whatever the readers raise for files that are not complete
        raise DamagedFileError(
            f"{name!r} is not a complete {kind} file of a density ({type(error).__name__}: "
            f"{error}). Write it again, or name its format by format=."
        ) from error
    if not np.isfinite(values).all():
        raise ValueError(f"{name!r} has values that are not finite.")
    density = DensityGrid(
        values,
        np.asarray(atoms.cell.array),
        tuple(atoms.get_chemical_symbols()),
        atoms.get_scaled_positions(wrap=False),
    )
    expected = expected_electrons(density.symbols, electrons, name)
    if kind == "gpaw":
        _check_gpaw(density, name, all_electron, expected)
    else:
        _check_electrons(density, name, kind, expected)
    return density


def expected_electrons(
    symbols: Sequence[str], electrons: float | Mapping[str, float] | None, name: str
) -> float | None:
    """Number of electrons that a file is said to have, from those of its elements if need be.

    Raises
    ------
    ValueError
        For numbers that are not positive, and elements without one.

    Examples
    --------
    >>> expected_electrons(("Fe", "O"), {"Fe": 8, "O": 6}, "CHGCAR")
    14.0
    """
    if electrons is None:
        return None
    if isinstance(electrons, Mapping):
        missing = sorted(set(symbols) - set(electrons))
        if missing:
            raise ValueError(
                f"electrons = {dict(electrons)!r} has no number for {', '.join(missing)} of "
                f"{name!r}: name those of each element in this code's files (VASP's ZVAL)."
            )
        found = sum(real_number(electrons[symbol], "electrons") for symbol in symbols)
    else:
        found = real_number(electrons, "electrons")
    if not 0.0 < found < float("inf"):
        raise ValueError(f"electrons must be positive, got {electrons!r}.")
    return found


def _read_chgcar(path: Path, all_electron: bool) -> tuple[Atoms, Floats]:
    from pymatgen.io.vasp.outputs import Chgcar

    lines = read_lines(path)
    blank = (number for number, line in enumerate(lines) if number and not line.strip())
    end = next(blank, len(lines))
    atoms = _atoms_of_chgcar(path, lines[:end])
    # pymatgen reads two numbers where the letter is missing.
    lines[end:] = [with_letters(line) for line in lines[end:]]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "CHGCAR"
        copy.write_text("".join(lines))
        chgcar = Chgcar.from_file(str(copy))
    if "diff_x" in chgcar.data:
        raise NotImplementedError(f"{path} has a non-collinear magnetisation; give a collinear one")
    if any(chgcar.data_aug.values()):
        warnings.warn(
            f"{path} has augmentation occupancies, which are dropped: the density on the grid is "
            "all that is read",
            DroppedAugmentationWarning,
            stacklevel=users_stacklevel(),
        )
    total = chgcar.data["total"] / atoms.get_volume()
    if "diff" not in chgcar.data:
        return atoms, total[None]
    moment = chgcar.data["diff"] / atoms.get_volume()
    return atoms, np.stack([(total + moment) / 2, (total - moment) / 2])


def _atoms_of_chgcar(path: Path, header: Sequence[str]) -> Atoms:
    """The structure in a CHGCAR's header.

    From ASE: pymatgen multiplies Cartesian positions by the cell's volume where the header gives
    that instead of a scale, and invents elements where it names none.
    """
    from ase.io.vasp import read_vasp

    if all(word.isdigit() for word in header[5].split()):
        raise NotImplementedError(
            f"{path} does not name its elements, as files of VASP 4: insert a line with their "
            f"symbols above its sixth line ({header[5].strip()!r}), which has their numbers of "
            "atoms"
        )
    return read_vasp(io.StringIO("".join(header)))


def _read_cube(path: Path, all_electron: bool) -> tuple[Atoms, Floats]:
    return read_cube_density(path)


def _read_gpaw(path: Path, all_electron: bool) -> tuple[Atoms, Floats]:
    try:
        from gpaw import GPAW
    except ImportError as error:
        raise ImportError("GPAW's files need GPAW: pip install 'deepchem-xc[gpaw]'") from error

    calculator = GPAW(str(path), txt=None)
    atoms = calculator.get_atoms()
    if not atoms.pbc.all():
        raise NotImplementedError(
            f"{path} is not periodic in all directions, so that its grid lacks points; let GPAW "
            "compute it with pbc=True"
        )
    read: Callable[..., Any] = calculator.get_pseudo_density
    if all_electron:
        read = calculator.get_all_electron_density
    if calculator.get_number_of_spins() == 1:
        return atoms, np.asarray(read())[None]
    return atoms, np.stack([read(spin=0), read(spin=1)])


_READERS: Mapping[str, Callable[[Path, bool], tuple[Atoms, Floats]]] = MappingProxyType(
    {"chgcar": _read_chgcar, "cube": _read_cube, "gpaw": _read_gpaw}
)


def _check_electrons(density: DensityGrid, name: str, kind: str, electrons: float | None) -> None:
    """Refuse a density in other units."""
    found, nuclei = density.electrons, int(density.atoms.numbers.sum())
    expected = "no whole number" if electrons is None else f"not {electrons:g}"
    if electrons is not None:
        right = abs(found - electrons) <= ELECTRONS * electrons
    else:
        right = found > 0.5 and abs(found - round(found)) <= WHOLE
        if right and round(found) > nuclei:
            right, expected = False, f"more than the {nuclei} protons of its nuclei"
    if right:
        return
    units = {
        "cube": ("a cube's unit is electrons per bohr^3", Bohr**3),
        "chgcar": ("a CHGCAR's unit is electrons per cell", density.atoms.get_volume()),
    }
    unit, other = units[kind]
    raise ValueError(
        f"{name!r} has {found:.4f} electrons, {expected}: {unit} (per Angstrom^3 it would be "
        f"{found * other:.4f} electrons); give electrons= if that is right."
    )


def _check_gpaw(
    density: DensityGrid, name: str, all_electron: bool, electrons: float | None
) -> None:
    """Refuse a density that cannot be in electrons per Angstrom^3, or has not the given number."""
    found, nuclei = density.electrons, float(density.atoms.numbers.sum())
    if all_electron and abs(found - nuclei) > _ALL_ELECTRONS * nuclei:
        raise ValueError(f"{name!r} has {found:.3f} electrons, but its nuclei have {nuclei:g}.")
    if all_electron and electrons is not None and abs(found - electrons) > _ALL_ELECTRONS * found:
        raise ValueError(
            f"{name!r} has {found:.3f} electrons with those of the cores, not {electrons:g}: leave "
            "electrons out, or give all of them."
        )
    if not 0.0 < found < (1.0 + _ALL_ELECTRONS) * nuclei:
        raise ValueError(f"{name!r} has {found:.3f} electrons of {nuclei:g}.")


def write_chgcar(path: str | os.PathLike[str], density: DensityGrid) -> None:
    """Write a density as CHGCAR, for programs that show one.

    It has no augmentation occupancies, and its first line says that it cannot restart a PAW run.

    Parameters
    ----------
    path : path
        File to write; it is replaced only once the new one is complete.
    density : DensityGrid
        Total density, or that of up and down.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> path = tempfile.mkdtemp() + "/CHGCAR"
    >>> write_chgcar(path, DensityGrid.of(scf(bulk("Si"), ecut=100.0)))
    >>> print(open(path).readline().strip())
    valence density by deepchem_xc; no augmentation: cannot restart a PAW run
    """
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.vasp.outputs import Chgcar

    atoms = density.atoms
    # Atoms of one element stand together in a POSCAR.
    structure = AseAtomsAdaptor.get_structure(atoms[np.argsort(atoms.numbers, kind="stable")])
    values = density.density * structure.volume
    data = {"total": values.sum(axis=0)}
    if len(values) == 2:
        data["diff"] = values[0] - values[1]
    chgcar = Chgcar(structure, data)
    chgcar.name = CHGCAR_COMMENT
    with tempfile.TemporaryDirectory() as folder:
        chgcar.write_file(Path(folder) / "CHGCAR")
        text = (Path(folder) / "CHGCAR").read_text()
    with replacing(path) as file:
        file.write(text)
