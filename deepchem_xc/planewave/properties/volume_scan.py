"""Energies of a crystal at several volumes (of a layer at several areas), and their fit.

Units are those of ASE: eV, Angstrom, GPa, N/m, mu_B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc._signatures import takes_keywords_of
from deepchem_xc.eos.fits import (
    EquationOfStateFit,
    EquationOfStateTensors,
    NoMinimumError,
    fit_equation_of_state,
    fit_equation_of_state_tensors,
)
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.keywords import standard
from deepchem_xc.parallel import checked_jobs
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.low_cutoff import check_cutoff, told
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.potentials import load_potentials
from deepchem_xc.planewave.properties.kept_points import KeptPoints
from deepchem_xc.planewave.properties.volume_points import VolumePoint, points_side_by_side
from deepchem_xc.planewave.properties.volume_series import (
    bravais_constant,
    bravais_lattice,
    scaled,
    volume_series,
)
from deepchem_xc.planewave.settings import Settings

if TYPE_CHECKING:
    from ase import Atoms

    from deepchem_xc.parallel import Jobs
    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.results import Result
    from deepchem_xc.xc import XCFunctional


@dataclass(frozen=True)
class EquationOfState:
    """Energies at volumes or areas, their fit, and the structure at its minimum.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure at scale 1.
    dimension : int
        3 for a crystal, 2 for a layer.
    axis : int or None
        The lattice vector that is not scaled, for a layer.
    points : tuple of VolumePoint
        In order of size.
    energies : Tensor or None
        The points' energies in the graph of the functional's parameters, (npoint,), eV.

    Examples
    --------
    Points on Birch's curve of second order, with a = 4 Angstrom and B = 0.5 eV/Angstrom^3:

    >>> from ase.build import bulk
    >>> curve = [(s, 16.0 * s, 9.0 * (s ** (-2 / 3) - 1.0) ** 2) for s in VOLUME_SCALES]
    >>> points = tuple(VolumePoint(s, size, e, e, 0.0, 1) for s, size, e in curve)
    >>> aluminium = EquationOfState(bulk("Al", a=4.0), 3, None, points)
    >>> print(f"{aluminium.a0:.2f} Angstrom, {aluminium.fit.modulus:.0f} GPa")
    4.00 Angstrom, 80 GPa
    """

    atoms: Atoms
    dimension: int
    axis: int | None
    points: tuple[VolumePoint, ...]
    energies: Tensor | None = field(default=None, repr=False)
    _tensors: dict[bool, EquationOfStateTensors] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """State for pickles and deep copies: only numbers, because neither can hold a graph."""
        energies = None if self.energies is None else self.energies.detach()
        return {**self.__dict__, "energies": energies, "_tensors": {}}

    def __copy__(self) -> EquationOfState:
        return replace(self)

    @cached_property
    def fit(self) -> EquationOfStateFit:
        """Fit to the energies extrapolated to zero width: Angstrom^3, eV, GPa (layers: N/m).

        Raises
        ------
        ValueError
            If the points do not enclose a minimum.
        """
        return self._fit([point.energy for point in self.points])

    @cached_property
    def free_energy_fit(self) -> EquationOfStateFit:
        """Fit to the free energies; units and errors as for `fit`."""
        return self._fit([point.free_energy for point in self.points])

    def _fit(self, energies: list[float]) -> EquationOfStateFit:
        return fit_equation_of_state(
            [point.size for point in self.points], energies, self.dimension
        )

    @property
    def tensors(self) -> EquationOfStateTensors:
        """Values of `fit` as 0-d tensors, in the graph of the functional's parameters.

        Inside `torch.no_grad`, and for pickled or deeply copied curves, they have no graph.

        Raises
        ------
        ValueError
            If the points do not enclose a minimum.
        """
        in_graph = torch.is_grad_enabled()
        if in_graph not in self._tensors:
            with outside_inference_and_autocast():
                energies = self.energies
                if energies is None:
                    values = [point.energy for point in self.points]
                    energies = torch.tensor(values, dtype=torch.float64)
                sizes = [point.size for point in self.points]
                fitted = fit_equation_of_state_tensors(sizes, energies, self.dimension)
            self._tensors[in_graph] = fitted
        return self._tensors[in_graph]

    @property
    def lattice_constant(self) -> Tensor:
        """`a0` as a 0-d tensor in the graph of the functional's parameters, Angstrom."""
        reference = self.points[0].size / self.points[0].scale
        size = self.tensors.size
        return bravais_constant(self.atoms, self.axis) * (size / reference) ** (1 / self.dimension)

    @property
    def equilibrium(self) -> Atoms:
        """The structure scaled to the minimum."""
        reference = self.points[0].size / self.points[0].scale
        return scaled(self.atoms, self.fit.size / reference, self.axis)

    @property
    def lattice_constants(self) -> dict[str, float]:
        """Constants of the Bravais lattice at the minimum, Angstrom and degrees.

        For fcc, for example, ``a`` of the conventional cube, also for a primitive cell.
        """
        pbc = [i != self.axis for i in range(3)]
        return {k: float(v) for k, v in bravais_lattice(self.equilibrium, pbc).items()}

    @property
    def a0(self) -> float:
        """Lattice constant a at the minimum, Angstrom."""
        return self.lattice_constants["a"]

    def todict(self) -> dict[str, Any]:
        """Points, fit and lattice constants as JSON values.

        The last two are None if the points do not enclose a minimum.
        """
        try:
            fit, constants = asdict(self.fit), self.lattice_constants
        except NoMinimumError:
            fit, constants = None, None
        return {
            "dimension": self.dimension,
            "points": [asdict(point) for point in self.points],
            "fit": fit,
            "lattice_constants": constants,
        }


@takes_keywords_of(scf, Settings.model_fields)
@outside_inference_and_autocast()
def equation_of_state(
    atoms: Atoms,
    functional: str | XCFunctional = "PBE",
    *,
    scales: Sequence[float] = VOLUME_SCALES,
    dimension: int | None = None,
    entropy_response: bool = True,
    callback: Callable[[VolumePoint], None] | None = None,
    jobs: Jobs | None = None,
    keep_in: str | Path | None = None,
    **keywords: Any,
) -> EquationOfState:
    """Energies of a crystal at several volumes, or of a layer at several areas.

    The k-points (in reduced coordinates) and the real-space grid are the same at every volume, so
    that neither causes steps in the curve; plane waves are those below ``ecut`` at each volume.
    Every calculation starts from the nearest one done, the first from ``start=`` or from atoms.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure at scale 1. A layer is scaled in its plane only and keeps the height of its cell.
    functional : str or XCFunctional, optional
        As for `scf`.
    scales : sequence of float, optional
        At least five volumes or areas in units of that of `atoms`.
    dimension : int, optional
        3 or 2. By default 2 if exactly one direction is not periodic. With 2 and periodic atoms,
        the third lattice vector is the one across the layer.
    entropy_response : bool, optional
        Exact gradients, which cost one adjoint equation a volume if occupations are smeared. False
        omits the response of the entropy; see `extrapolated_energy`.
    callback : callable, optional
        Called with every finished `VolumePoint`.
    jobs : int, str or distributed.Client, optional
        Compute the volumes side by side: in this many processes, or on the workers of a Dask
        scheduler, given by its address or a client. All start from the middle volume, so that
        numbers do not depend on the number of processes. Without derivatives: a functional whose
        parameters require gradients is refused outside `torch.no_grad`.
    keep_in : path, optional
        Folder that keeps finished points: after an interruption the same call computes only what is
        missing. With `jobs` (1, if none are given), and for a functional that is given by its name
        or as a file. With two spin channels points belong to the content of ``start``, which may
        select another magnetic state; with one they do not depend on it.
    **keywords
        Those of `scf`, except `callback`: ``ecut`` (eV), ``kpts`` (a density becomes a
        mesh at scale 1), ...

    Returns
    -------
    EquationOfState
        Raw points, fit, lattice constants.

    Raises
    ------
    TypeError
        For unknown keywords.
    ValueError
        For fewer than five scales, or a dimension that does not fit the atoms, and for `keep_in`
        with a functional that is an object. A minimum outside the range raises only when the fit is
        used, so that the points are not lost.
    VolumeError
        If volumes fail that are computed with `jobs`.

    Warns
    -----
    LowCutoffWarning
        Once, if the cutoff is too low for PAW datasets; else as `scf`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import equation_of_state
    >>> curve = equation_of_state(
    ...     bulk("Si"), ecut=250.0, kpts=(2, 2, 2), scales=(0.9, 0.95, 1.0, 1.05, 1.1))
    >>> print(f"{curve.a0:.1f} Angstrom, {curve.fit.modulus:.0f} GPa")
    5.5 Angstrom, 81 GPa

    With a trainable functional, ``curve.lattice_constant``, ``curve.tensors.modulus`` and so on are
    in the graph of its parameters:

    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> curve = equation_of_state(
    ...     bulk("Si"), functional, ecut=250.0, kpts=(2, 2, 2), scales=(0.9, 0.95, 1.0, 1.05, 1.1))
    >>> curve.lattice_constant.backward()
    >>> all(p.grad is not None for p in functional.parameters())
    True
    """
    own = ("functional", "scales", "dimension", "entropy_response", "callback", "jobs", "keep_in")
    jobs = checked_jobs(jobs)
    settings = Settings.of(keywords, "equation_of_state", own)
    series = volume_series(atoms, settings, scales, dimension)
    _check_cutoff_once(atoms, settings)
    # The k-points of the series are reduced by the symmetry already.
    keywords |= {"kpts": series.kpoints, "fft_size": series.fft_size, "symmetry": None}
    if jobs is not None or keep_in is not None:
        kept = None if keep_in is None else KeptPoints(keep_in, series, functional, keywords)
        found = points_side_by_side(series, functional, keywords, jobs or 1, callback, kept)
        ordered = tuple(found[scale] for scale in series.scales)
        return EquationOfState(atoms.copy(), series.dimension, series.axis, ordered)
    # From the middle outwards, because initial moments are most likely right there.
    done: dict[float, SCFResult] = {}
    points: dict[float, VolumePoint] = {}
    energies: dict[float, Tensor] = {}
    for scale in sorted(series.scales, key=lambda s: abs(np.log(s))):
        nearest = min(done, key=lambda s: abs(s - scale), default=None)
        given = keywords if nearest is None else {**keywords, "start": done[nearest]}
        with told():
            result = scf(series.crystal(scale), functional, **given)
        if result.is_differentiable:
            energies[scale] = extrapolated_energy(result, entropy_response) * Hartree
        points[scale] = VolumePoint.of(result, series, scale)
        # Only the outermost results can be nearest to later volumes.
        done[scale] = result
        for inner in [s for s in done if min(done) < s < max(done)]:
            del done[inner]
        if callback is not None:
            callback(points[scale])
    return EquationOfState(
        atoms=atoms.copy(),
        dimension=series.dimension,
        axis=series.axis,
        points=tuple(points[scale] for scale in series.scales),
        energies=torch.stack([energies[s] for s in series.scales]) if energies else None,
    )


def _check_cutoff_once(atoms: Atoms, settings: Settings) -> None:
    """Warn of a low cutoff for the whole curve, not at every volume."""
    potentials = load_potentials(
        standard("pseudopotentials")
        if settings.pseudopotentials is None
        else settings.pseudopotentials,
        dict.fromkeys(atoms.get_chemical_symbols()),
    )
    datasets = {k: p for k, p in potentials.items() if isinstance(p, PAWPotential)}
    if datasets and settings.ecut is not None:
        check_cutoff(settings.ecut / Hartree, datasets)


def extrapolated_energy(result: Result, entropy_response: bool = True) -> Tensor:
    """Energy extrapolated to zero width, in the graph of the functional's parameters.

    Parameters
    ----------
    result : Result
        A converged ground state.
    entropy_response : bool, optional
        Also differentiate the entropy, which needs the adjoint equation. Otherwise the gradient is
        that of the free energy, which costs nothing; the two differ by half the derivative of TS.

    Returns
    -------
    Tensor
        0-d, Hartree per cell; the value is the same either way.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Al"), "PBE", ecut=100.0)
    >>> bool(extrapolated_energy(result) == result.extrapolated_energy)
    True
    """
    if entropy_response or not result.is_differentiable:
        return result.extrapolated_energy
    free, plain = result.free_energy, result.detach()
    return free + (plain.extrapolated_energy - free.detach())
