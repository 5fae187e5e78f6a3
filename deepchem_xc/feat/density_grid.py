"""Converged densities on the grid of their cell: labels and input for networks of densities."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray

from deepchem_xc.feat.density_featurizer import DensityFeaturizer
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.protocols import ProtocolTable
from deepchem_xc.losses import observables
from deepchem_xc.planewave.record import DensityRecord

if TYPE_CHECKING:
    from ase import Atoms

    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """A valence density on the grid of its cell, in Angstrom.

    Point (i, j, k) of a grid (n1, n2, n3) lies at the reduced coordinates (i/n1, j/n2, k/n3). Of a
    calculation with PAW it is the smooth density, whose integral is not the number of electrons;
    `deepchem_xc.planewave.all_electron_density` gives the true one.

    Attributes
    ----------
    density : ndarray
        (nspin, n1, n2, n3), electrons per Angstrom^3: total, or up and down. This is the label of
        an entry of type density.
    cell : ndarray
        Lattice vectors as rows, (3, 3), Angstrom.
    symbols : tuple of str
        Chemical symbols of the atoms.
    scaled_positions : ndarray
        Reduced coordinates of the atoms, (natom, 3).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat import DensityGrid
    >>> from deepchem_xc.planewave import scf
    >>> silicon = DensityGrid.of(scf(bulk("Si"), ecut=100.0))
    >>> silicon.density.shape, round(silicon.electrons, 9)
    ((1, 15, 15, 15), 8.0)
    """

    density: Floats = field(repr=False)
    cell: Floats = field(repr=False)
    symbols: tuple[str, ...]
    scaled_positions: Floats = field(repr=False)

    @classmethod
    def of(cls, result: SCFResult | DensityRecord) -> DensityGrid:
        """Density of a converged calculation, or of a record of one."""
        if isinstance(result, DensityRecord):
            crystal, density = result.crystal, result.density.detach() / Bohr**3
        else:
            result = result.detach()
            crystal, density = result.basis.crystal, observables.density(result)
        return cls(
            density.cpu().numpy(),
            (crystal.lattice.detach() * Bohr).cpu().numpy(),
            tuple(crystal.symbols),
            crystal.positions.detach().cpu().numpy(),
        )

    @property
    def weight(self) -> float:
        """Volume of each point, Angstrom^3."""
        return float(abs(np.linalg.det(self.cell)) / np.prod(self.density.shape[1:]))

    @property
    def electrons(self) -> float:
        """Integral of the density: valence electrons of the cell, except with PAW."""
        return float(self.density.sum() * self.weight)

    @property
    def atoms(self) -> Atoms:
        """The structure."""
        from ase import Atoms

        positions = self.scaled_positions
        return Atoms(self.symbols, cell=self.cell, scaled_positions=positions, pbc=True)


class DensityGridFeaturizer(DensityFeaturizer):
    """Converged densities of crystals as `DensityGrid`, one for each crystal.

    Every crystal is solved self-consistently, which takes seconds to minutes. A `DensityRecord`
    has its density, and none of the settings here matters to it.

    Parameters
    ----------
    functional : str or XCFunctional, optional
        Anything `get_xc` takes.
    protocol, kind, pseudopotentials, ecut, kpts, folder, table, on_error, **keywords : optional
        As for `PeriodicSystemFeaturizer`; ``fft_size`` sets the grid.

    Raises
    ------
    ValueError
        For settings that are not valid.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat import DensityGridFeaturizer
    >>> featurizer = DensityGridFeaturizer(ecut=100.0, kpts=[1, 1, 1], fft_size=16)
    >>> (silicon,) = featurizer.featurize(bulk("Si"))
    >>> silicon, silicon.density.shape
    (DensityGrid(symbols=('Si', 'Si')), (1, 16, 16, 16))
    """

    def __init__(
        self,
        functional: str | XCFunctional = "PBE",
        protocol: str = "balanced",
        kind: str = "metal",
        pseudopotentials: str | Mapping[str, str] = "gth-pbe",
        ecut: float | None = None,
        kpts: Any = None,
        folder: str | os.PathLike[str] | None = None,
        table: str | os.PathLike[str] | ProtocolTable | None = None,
        on_error: str = "raise",
        **keywords: Any,
    ) -> None:
        settings = (protocol, kind, pseudopotentials, ecut, kpts, folder, table, on_error)
        super().__init__(functional, *settings, keywords)

    def _read(self, given: Any) -> Any:
        return given if isinstance(given, DensityRecord) else super()._read(given)

    def _featurize_system(self, system: DFTSystem | DensityRecord) -> DensityGrid:
        return DensityGrid.of(system if isinstance(system, DensityRecord) else self._solved(system))
