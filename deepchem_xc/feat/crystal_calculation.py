"""Plane-wave calculations of crystals, each with a key under which its density is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deepchem_xc.feat.calculation import digest
from deepchem_xc.feat.files import check_digests, content_digests
from deepchem_xc.feat.molecule_keywords import OPTIONS_OF_MOLECULES
from deepchem_xc.feat.solver_options import ENERGY_OPTIONS
from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.potentials import load_potentials
from deepchem_xc.planewave.properties.volume_series import VolumeSeries
from deepchem_xc.planewave.pseudo import AtomicPotential
from deepchem_xc.planewave.record import DensityRecord
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.structure.crystal import Crystal

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional

# Largest number of pseudopotential sets in memory, one for each choice of elements and sources.
_LOADED = 256


@dataclass(frozen=True, eq=False)
class CrystalCalculation:
    """One crystal and everything that its calculation needs, except for the functional.

    It implements `Calculation`.

    Attributes
    ----------
    key : str
        Name of the calculation, the same in any entry and any run.
    group : str
        Name that all volumes of a crystal share: they can start from each other.
    scale : float
        Volume, or area, in units of the structure's.
    crystal : Crystal
        The structure at this scale.
    keywords : mapping
        Keywords of `planewave.scf`, as the plain values of a system.
    files : mapping
        ``{path: SHA-256}`` of its pseudopotential files.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.xc import get_xc
    >>> silicon = single_calculation(Crystal.from_ase(bulk("Si")), {"ecut": 80.0}, "silicon")
    >>> silicon.scale, len(silicon.key), silicon.natom
    (1.0, 24, 2)
    >>> result = silicon.solve(get_xc("PBE"))
    >>> again = silicon.solve(get_xc("PBE"), silicon.start_of(result))
    >>> again.nsteps < result.nsteps
    True
    """

    key: str
    group: str
    scale: float
    crystal: Crystal
    keywords: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def natom(self) -> int:
        """Number of atoms in the cell."""
        return self.crystal.natom

    def solve(
        self,
        functional: XCFunctional,
        start: DensityRecord | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> SCFResult:
        """Ground state, in the graph of the functional's parameters.

        Parameters
        ----------
        functional : XCFunctional
            The functional.
        start : DensityRecord, optional
            From an earlier calculation; takes precedence over ``start`` of `options`.
        options : mapping, optional
            Keywords for all calculations of a data set, without ``molecules`` those of
            `planewave.scf`; those of this one take precedence, in ``convergence`` key by key.

        Raises
        ------
        SCFConvergenceError
            If it does not converge.
        ValueError
            If a pseudopotential file is missing or has changed since the entry was made.
        """
        keywords = self._keywords(options or {})
        keywords["pseudopotentials"] = self._potentials()
        if start is not None:
            keywords["start"] = start
        return scf(self.crystal, functional, **keywords)

    def energy_options(self, options: Mapping[str, Any]) -> str:
        """Digest of the keywords among `ENERGY_OPTIONS` that `solve` would use.

        Examples
        --------
        >>> from ase.build import bulk
        >>> silicon = single_calculation(Crystal.from_ase(bulk("Si")), {"ecut": 80.0}, "silicon")
        >>> silicon.energy_options({"nbands": 8}) == silicon.energy_options({})
        False
        >>> silicon.energy_options({"mixing": {"beta": 0.5}}) == silicon.energy_options({})
        True
        """
        keywords = self._keywords(options)
        given = {name: keywords.get(name) for name in ENERGY_OPTIONS}
        # Omitted keywords do not enter, so that later versions can add keywords.
        return digest({name: value for name, value in given.items() if value is not None})

    def _keywords(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords of `planewave.scf`."""
        keywords = {**options, **self.keywords}
        keywords.pop(OPTIONS_OF_MOLECULES, None)
        keywords["convergence"] = {
            **(options.get("convergence") or {}),
            **(self.keywords.get("convergence") or {}),
        }
        return keywords

    def _potentials(self) -> dict[str, AtomicPotential]:
        given, species = self.keywords.get("pseudopotentials", "gth-pbe"), self.crystal.species
        sources = tuple(given.items()) if isinstance(given, Mapping) else given
        named = [source for _, source in sources] if isinstance(given, Mapping) else [given]
        if not all(isinstance(source, str) for source in named):
            return load_potentials(given, species)
        files = self.files or content_digests(given)
        return _loaded(sources, species, tuple(sorted(files.items())))

    def start_of(self, result: SCFResult) -> DensityRecord:
        """Start for later calculations, with orbitals."""
        return DensityRecord.of(result, results=False)

    def read_start(self, path: str | os.PathLike[str]) -> DensityRecord:
        """Read what `DensityRecord.save` wrote; errors as for `DensityRecord.load`."""
        return DensityRecord.load(path)

    def start_from_state(self, state: Mapping[str, Any]) -> DensityRecord:
        """Inverse of `DensityRecord.state_dict`."""
        return DensityRecord.from_state_dict(state)

    def freeze(self, result: SCFResult) -> FrozenEnergy:
        """Energy of other functionals at the density of a result."""
        return FrozenEnergy.of(result)


def single_calculation(
    crystal: Crystal,
    keywords: Mapping[str, Any],
    identity: Any,
    files: Mapping[str, str] | None = None,
) -> CrystalCalculation:
    """Calculation of the structure itself.

    Parameters
    ----------
    crystal : Crystal
        The structure.
    keywords : mapping
        Keywords of `planewave.scf`.
    identity : object
        Its identity: anything that JSON can represent.
    files : mapping, optional
        ``{path: SHA-256}`` of its pseudopotential files.
    """
    group = digest(identity)
    key = digest([group, 1.0])
    return CrystalCalculation(key, group, 1.0, crystal, keywords, files or {})


def series_calculations(
    series: VolumeSeries,
    keywords: Mapping[str, Any],
    identity: Any,
    files: Mapping[str, str] | None = None,
) -> list[CrystalCalculation]:
    """One calculation for each volume; all of them share k-points and grid.

    Parameters
    ----------
    series : VolumeSeries
        The volumes.
    keywords : mapping
        Keywords of `planewave.scf`, without k-points and grid.
    identity : object
        Identity of the crystal: anything that JSON can represent.
    files : mapping, optional
        ``{path: SHA-256}`` of its pseudopotential files.
    """
    shared = {**keywords, "kpts": series.kpoints, "fft_size": series.fft_size}
    group = digest([identity, series.axis, series.fft_size])
    return [
        CrystalCalculation(
            digest([group, scale]), group, scale, series.crystal(scale), shared, files or {}
        )
        for scale in series.scales
    ]


@lru_cache(maxsize=_LOADED)
def _loaded(
    given: str | tuple[tuple[str, str], ...],
    species: tuple[str, ...],
    files: tuple[tuple[str, str], ...],
) -> dict[str, AtomicPotential]:
    """Cached pseudopotentials: loading them takes a quarter of the time of a small cell.

    The cache key includes the content of files, which is checked when they are read.
    """
    check_digests(dict(files))
    return load_potentials(given if isinstance(given, str) else dict(given), species)
