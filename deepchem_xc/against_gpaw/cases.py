"""Calculations of the benchmark: a table of crystals and settings from a convergence study."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deepchem_xc import __version__
from deepchem_xc._files import file_digest
from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.planewave.potentials import dataset_digests, potential_files
from deepchem_xc.store import digest

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Case:
    """A crystal and the settings of its calculation.

    Attributes
    ----------
    system
        Name in `GPAW_SETTINGS`, which defines the crystal.
    pseudopotential
        Family or name.
    ecut
        Plane-wave cutoff, eV.
    kpts
        Gamma-centred mesh.
    ecut_smoothing
        Width below the cutoff within which kinetic energies rise, eV.
    width
        Fermi-Dirac width, eV; GPAW's, because the lattice constant depends on it.
    magmom
        Initial moment per atom, mu_B; zero computes without spin polarisation.
    vacuum
        Height of the cell of a layer, Angstrom.
    xc
        Functional, as for `get_xc`: a name, or the path of a functional's file.
    density, energy
        Convergence of the self-consistency loop: integrated density error, and energy change in
        eV, per valence electron.
    scales
        Volumes (areas, for layers) of the curve, relative to the reference's.
    a_limit, modulus_limit, moment_limit
        Expected agreement with GPAW: relative, relative, mu_B.
    """

    system: str
    pseudopotential: str
    ecut: float
    kpts: tuple[int, int, int]
    width: float = 0.1
    magmom: float = 0.0
    vacuum: float | None = None
    ecut_smoothing: float = 0.0
    xc: str = "PBE"
    density: float = 1e-5
    energy: float = 1e-6
    scales: tuple[float, ...] = VOLUME_SCALES
    a_limit: float = 0.003
    modulus_limit: float = 0.05
    moment_limit: float = 0.05

    def atoms(self, scale: float = 1.0) -> Atoms:
        """Primitive cell with the volume (area, for a layer) of GPAW's cell times `scale`.

        Examples
        --------
        >>> from deepchem_xc.against_gpaw import CASES
        >>> print(f"{CASES['paw']['Al'].atoms(1.0).cell.lengths()[0] * 2**0.5:.4f}")
        4.0400
        """
        crystal = replace(GPAW_SETTINGS[self.system], vacuum=self.vacuum, magmom=self.magmom)
        return crystal.atoms(scale)

    def keywords(self) -> dict[str, Any]:
        """Keywords of `planewave.scf`, without the grid, which is common to a curve.

        Examples
        --------
        >>> from deepchem_xc.against_gpaw import CASES
        >>> CASES["paw"]["Al"].keywords()["occupations"]
        {'name': 'fermi-dirac', 'width': 0.1}
        """
        return {
            "ecut": self.ecut,
            "kpts": {"size": self.kpts, "gamma": True},
            "pseudopotentials": self.pseudopotential,
            "occupations": {"name": "fermi-dirac", "width": self.width},
            "convergence": {"energy": self.energy, "density": self.density},
            "ecut_smoothing": self.ecut_smoothing,
        }

    def settings(self) -> dict[str, Any]:
        """Everything an energy depends on, in the form in which JSON returns it.

        The limits are left out, because they change the judgement of a result, not the result. The
        volumes are left out, because points are independent. The version is included, so that
        energies of different solvers are not mixed, and so is the content of PAW datasets, which
        are not part of this package.

        Raises
        ------
        ImportError
            If the datasets are gpaw-data's, and it is not installed.
        """
        from deepchem_xc.xc.identity import name_or_content

        values = asdict(self)
        for other in ("scales", "a_limit", "modulus_limit", "moment_limit"):
            del values[other]
        values.update(xc=name_or_content(self.xc), version=__version__)
        if datasets := self._datasets():
            values["datasets"] = datasets
        settings: dict[str, Any] = json.loads(json.dumps(values))
        return settings

    def _datasets(self) -> dict[str, str]:
        """Hashes of the PAW datasets; empty for norm-conserving potentials."""
        files = tuple(file_digest(path) for path in potential_files(self.pseudopotential))
        symbols = tuple(sorted(set(self.atoms().get_chemical_symbols())))
        return _digests(self.pseudopotential, symbols, files)

    def key(self) -> str:
        """Short hash of `settings`, the same in every process.

        Examples
        --------
        >>> from dataclasses import replace
        >>> from deepchem_xc.against_gpaw import CASES
        >>> len(CASES["gth"]["Al"].key())
        12
        >>> replace(CASES["gth"]["Al"], ecut=1.0).key() == CASES["gth"]["Al"].key()
        False
        """
        return digest(self.settings())[:12]

    def cost(self) -> float:
        """Rough relative cost of one point, by which the longest start first."""
        mesh = self.kpts[0] * self.kpts[1] * self.kpts[2]
        spins = 2 if self.magmom else 1
        return spins * mesh * float(self.atoms().get_volume()) * float(self.ecut) ** 1.5


@lru_cache
def _digests(source: str, symbols: tuple[str, ...], files: tuple[str, ...]) -> dict[str, str]:
    """`dataset_digests` of a source, read once for many points; `files` is the content of files."""
    return dataset_digests(source, symbols)


def _table(*cases: Case) -> Mapping[str, Case]:
    return {case.system: case for case in cases}


# Limits of agreement: with GPAW's datasets the same physics, with GTH potentials another core.
_SAME_CORE: dict[str, Any] = {"a_limit": 0.0003, "modulus_limit": 0.01, "moment_limit": 0.005}

#: Settings of the benchmark, by kind of potentials. With PAW, GPAW's cutoffs and meshes; with GTH
#: potentials those that docs/convergence.md explains.
CASES: Mapping[PotentialKind, Mapping[str, Case]] = {
    "paw": _table(
        Case("Al", "paw-pbe", ecut=600, kpts=(24, 24, 24), **_SAME_CORE),
        Case("Ni", "paw-pbe", ecut=800, kpts=(16, 16, 16), magmom=0.7, **_SAME_CORE),
        Case("Ca", "paw-pbe", ecut=700, kpts=(20, 20, 20), **_SAME_CORE),
        Case("graphene", "paw-pbe", ecut=800, kpts=(24, 24, 1), vacuum=8.0, **_SAME_CORE),
    ),
    "gth": _table(
        Case("Al", "gth-pbe", ecut=600, kpts=(24, 24, 24)),
        Case(
            "Ni",
            "GTH-PBE-q18",
            ecut=4000,
            ecut_smoothing=220,
            kpts=(16, 16, 16),
            magmom=0.7,
            density=1e-4,
            a_limit=0.005,
        ),
        Case("Ca", "gth-pbe", ecut=1200, ecut_smoothing=110, kpts=(12, 12, 12), density=1e-4),
        Case("graphene", "gth-pbe", ecut=1400, kpts=(15, 15, 1), vacuum=8.0),
    ),
}

# Cutoffs (eV), meshes and vacuum (Angstrom) of ``--quick``.
_COARSE: Mapping[PotentialKind, Mapping[str, Mapping[str, Any]]] = {
    "paw": {
        "Al": {"ecut": 300, "kpts": (8, 8, 8)},
        "Ni": {"ecut": 400, "kpts": (4, 4, 4)},
        "Ca": {"ecut": 400, "kpts": (5, 5, 5)},
        "graphene": {"ecut": 400, "kpts": (6, 6, 1), "vacuum": 7.0},
    },
    "gth": {
        "Al": {"ecut": 400, "kpts": (8, 8, 8)},
        "Ni": {"ecut": 3000, "kpts": (4, 4, 4)},
        "Ca": {"ecut": 900, "kpts": (5, 5, 5)},
        "graphene": {"ecut": 900, "kpts": (6, 6, 1), "vacuum": 7.0},
    },
}
#: Settings of ``--quick``: enough to test that everything works, not to judge the numbers.
QUICK_CASES: Mapping[PotentialKind, Mapping[str, Case]] = {
    kind: _table(*(replace(CASES[kind][n], density=1e-4, **c) for n, c in coarse.items()))
    for kind, coarse in _COARSE.items()
}


def select_cases(
    names: str | Iterable[str] | None = None, quick: bool = False, potentials: PotentialKind = "paw"
) -> dict[str, Case]:
    """Cases by name.

    Parameters
    ----------
    names : str or iterable of str, optional
        Names, upper or lower case, as a list or separated by commas; all by default.
    quick : bool, optional
        Coarse settings.
    potentials : "paw" or "gth", optional
        GPAW's datasets, or norm-conserving potentials.

    Raises
    ------
    ValueError
        If a name is unknown or none is given.

    Examples
    --------
    >>> from deepchem_xc.against_gpaw import select_cases
    >>> list(select_cases("ni,al"))
    ['Ni', 'Al']
    """
    table = (QUICK_CASES if quick else CASES)[potentials]
    if names is None:
        return dict(table)
    if isinstance(names, str):
        names = names.split(",")
    known = {name.lower(): name for name in table}
    wanted = [name.strip() for name in names if name.strip()]
    unknown = [name for name in wanted if name.lower() not in known]
    if unknown or not wanted:
        raise ValueError(f"unknown systems {unknown}; the benchmark has {', '.join(table)}")
    return {known[name.lower()]: table[known[name.lower()]] for name in wanted}
