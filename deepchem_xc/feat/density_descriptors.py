"""What functionals see of a converged density, point by point: input of pointwise training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from deepchem_xc.feat.density_featurizer import DensityFeaturizer
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.protocols import ProtocolTable
from deepchem_xc.planewave.potentials import dataset_digests
from deepchem_xc.planewave.structure.grid_orbits import irreducible_points

if TYPE_CHECKING:
    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional

Floats = NDArray[np.float64]

#: Density, bohr^-3, below which reduced quantities say nothing: points below are left out.
THRESHOLD = 1e-8


@dataclass(frozen=True, eq=False)
class DensityDescriptors:
    """Descriptors of the valence density at the points of a grid, in atomic units.

    It is no array by itself, because crystals differ in their number of points, and DeepChem's
    loaders put only arrays of equal shape into one data set.

    Attributes
    ----------
    values : ndarray
        (npoint, 5), columns as in `columns`: density n (bohr^-3), polarisation zeta, reduced
        gradient ``s = |grad n| / (2 (3 pi^2)^(1/3) n^(4/3))``, iso-orbital indicator alpha, and
        volume (bohr^3) of the point; zeta, s and alpha have no unit.
    electrons : float
        Valence electrons of the whole cell.
    volume : float
        Volume of the whole cell, bohr^3.
    name : str
        Chemical formula.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat import DensityDescriptors
    >>> from deepchem_xc.planewave import scf
    >>> silicon = DensityDescriptors.of(scf(bulk("Si"), ecut=100.0))
    >>> silicon.values.shape[1], round(float(silicon.weights @ silicon.density), 6)
    (5, 8.0)
    """

    columns: ClassVar[tuple[str, ...]] = ("density", "zeta", "s", "alpha", "weights")

    values: Floats = field(repr=False)
    electrons: float
    volume: float
    name: str = ""

    @classmethod
    def of(
        cls, result: SCFResult, threshold: float = THRESHOLD, irreducible: bool = True
    ) -> DensityDescriptors:
        """Descriptors of a converged calculation.

        Parameters
        ----------
        result : SCFResult
            With any functional, and norm-conserving potentials. Partial core densities, which some
            of them add for exchange and correlation, are not included.
        threshold : float, optional
            Points whose density is lower (bohr^-3) are left out.
        irreducible : bool, optional
            One of each set of symmetry-equivalent points, whose weight is that of the set.
            Otherwise all points of the grid, in its order.

        Raises
        ------
        NotImplementedError
            With PAW datasets: the grid has their smooth density, and a part of the electrons is
            inside of the spheres.
        ValueError
            If the threshold is not positive.
        """
        from deepchem_xc.xc import DensityVariables, SpinParam, ValGrad
        from deepchem_xc.xc.kinetic import iso_orbital_indicator

        if not threshold > 0:
            raise ValueError(f"threshold must be a positive density in bohr^-3, got {threshold!r}.")
        result.problem.norm_conserving("a table of density descriptors")
        result, basis = result.detach(), result.basis
        with torch.no_grad():
            density, tau = result.density.flatten(1), result.kinetic_energy_density.flatten(1)
            gradient = torch.stack([basis.gradient(n).flatten(1) for n in result.density_g])
            total = density.sum(0)
            index = torch.arange(total.numel(), device=total.device)
            count = torch.ones_like(total)
            if irreducible:
                points = irreducible_points(result.kpoints.symmetry, basis.fft_size)
                index, count = (x.to(total.device) for x in points)
            kept = total[index] >= threshold
            index, count = index[kept], count[kept]
            channels = [
                ValGrad(value=n[index], grad=g[:, index], kin=t[index])
                for n, g, t in zip(density, gradient, tau, strict=True)
            ]
            polarized = len(channels) == 2
            seen: Any = SpinParam(u=channels[0], d=channels[1]) if polarized else channels[0]
            variables = DensityVariables(seen)
            n = total[index]
            columns = (
                n,
                variables.zeta if polarized else torch.zeros_like(n),
                variables.s2.sqrt(),
                iso_orbital_indicator(variables),
                count * (float(basis.volume) / basis.ngrid),
            )
            values = torch.stack(columns, dim=-1).cpu().numpy()
            electrons = float(total.mean() * basis.volume)
        formula = result.problem.basis.crystal.to_ase().get_chemical_formula()
        return cls(values, electrons, float(basis.volume), formula)

    @property
    def density(self) -> Floats:
        """Density, (npoint,), bohr^-3."""
        return self._column("density")

    @property
    def zeta(self) -> Floats:
        """Relative polarisation (n_up - n_down) / n, (npoint,); 0 without spin channels."""
        return self._column("zeta")

    @property
    def s(self) -> Floats:
        """Reduced gradient of the total density, (npoint,)."""
        return self._column("s")

    @property
    def alpha(self) -> Floats:
        """Iso-orbital indicator of the total density, (npoint,), as in `deepchem_xc.xc.kinetic`.

        0 for one orbital, 1 in the uniform gas.
        """
        return self._column("alpha")

    @property
    def weights(self) -> Floats:
        """Volumes of the points, (npoint,), bohr^3; times the density they add up to electrons."""
        return self._column("weights")

    def _column(self, name: str) -> Floats:
        return self.values[:, self.columns.index(name)]


class DensityDescriptorFeaturizer(DensityFeaturizer):
    """Converged densities of crystals as `DensityDescriptors`, one for each crystal.

    Every crystal is solved self-consistently, which takes seconds to minutes. Potentials must be
    norm-conserving.

    Parameters
    ----------
    functional : str or XCFunctional, optional
        Anything `get_xc` takes. alpha is computed from the orbitals, so it need not be a meta-GGA.
    threshold, irreducible : optional
        As for `DensityDescriptors.of`.
    protocol, kind, pseudopotentials, ecut, kpts, folder, table, on_error, **keywords : optional
        As for `PeriodicSystemFeaturizer`.

    Raises
    ------
    ValueError
        For settings that are not valid, and datapoints with PAW datasets.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.feat import DensityDescriptorFeaturizer
    >>> featurizer = DensityDescriptorFeaturizer("PBE", ecut=100.0, kpts=[1, 1, 1])
    >>> x = featurizer.featurize([bulk("Al"), bulk("Si")])
    >>> x[0].columns
    ('density', 'zeta', 's', 'alpha', 'weights')
    >>> np.concatenate([crystal.values for crystal in x]).shape[1]
    5
    """

    def __init__(
        self,
        functional: str | XCFunctional = "PBE",
        protocol: str = "balanced",
        kind: str = "metal",
        pseudopotentials: str | Mapping[str, str] = "gth-pbe",
        ecut: float | None = None,
        kpts: Any = None,
        threshold: float = THRESHOLD,
        irreducible: bool = True,
        folder: str | os.PathLike[str] | None = None,
        table: str | os.PathLike[str] | ProtocolTable | None = None,
        on_error: str = "raise",
        **keywords: Any,
    ) -> None:
        if not threshold > 0:
            raise ValueError(f"threshold must be a positive density in bohr^-3, got {threshold!r}.")
        self.threshold, self.irreducible = threshold, irreducible
        settings = (protocol, kind, pseudopotentials, ecut, kpts, folder, table, on_error)
        super().__init__(functional, *settings, keywords)

    def _read(self, given: Any) -> DFTSystem:
        system: DFTSystem = super()._read(given)
        symbols = system.atoms.get_chemical_symbols()
        if datasets := dataset_digests(system.keywords["pseudopotentials"], symbols):
            raise ValueError(
                f"{', '.join(datasets)} would have PAW datasets, whose grid has a smooth density "
                "and whose spheres have a part of the electrons: density descriptors are those of "
                "norm-conserving potentials, for example pseudopotentials='gth-pbe'"
            )
        return system

    def _featurize_system(self, system: DFTSystem) -> DensityDescriptors:
        return DensityDescriptors.of(self._solved(system), self.threshold, self.irreducible)
