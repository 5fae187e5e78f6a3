"""A converged state whose results are computed on first access, in the graph of their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from deepchem_xc.kept import KeptResults
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.converged import Converged
from deepchem_xc.planewave.given_density import DensityReport
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.adjoint import Geometry, attach, functional_tensors
from deepchem_xc.planewave.response.independent import GroundState
from deepchem_xc.xc.identity import Unchanged

# Relative residual of the adjoint equation; so small because some derivatives (of a layer's Fermi
# level, of single energy terms with respect to positions) are small differences of large ones.
GRADIENT_TOLERANCE = 3e-9


@dataclass(frozen=True, eq=False)
class AttachedState(KeptResults):
    """The end of a loop, and the graph of everything it depends on: the base of `SCFResult`.

    Sources are the functional's parameters, lattice and positions, as far as they require
    gradients. Each result is computed once without a graph, and once for each set of sources.

    Attributes
    ----------
    problem : KohnShamProblem
        Basis, functional, pseudopotentials and smearing; its geometry has no graph.
    converged : Converged
        Orbitals, eigenvalues, occupations, density and potential of the last step, without a graph.
    history : list of dict
        One record a step: energy, density_error, orbital_error, moment and so on.
    geometry : Geometry or None
        The given lattice and positions, if they require gradients.
    gradient_tolerance : float
        Relative residual of the adjoint equation.
    detached : bool
        Whether results stay out of any graph, even if inputs require gradients.
    start : DensityReport or None
        What was found of the density that the loop was given (``start=``): the part that its
        projection on the symmetry removed, and how much of it is negative. None after a start from
        atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> from deepchem_xc.xc import PBE
    >>> result = scf(bulk("Si"), PBE(trainable=True), ecut=100.0)
    >>> result.ground_state.eigenvalues.requires_grad
    True
    >>> result.detach().ground_state.eigenvalues.requires_grad
    False
    """

    problem: KohnShamProblem
    converged: Converged = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
    geometry: Geometry | None = field(default=None, repr=False)
    gradient_tolerance: float = GRADIENT_TOLERANCE
    detached: bool = field(default=False, repr=False)
    start: DensityReport | None = field(default=None, repr=False)
    _cache: dict[tuple[str, tuple[int, ...]], Any] = field(default_factory=dict, repr=False)
    _memory: list[Unchanged] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """As for all kept results; lattice and positions of the copy are leaves, too."""
        state = super().__getstate__()
        if self.geometry is not None:
            state["geometry"] = Geometry(*(_leaf(x) for x in self.geometry))
        return state

    @property
    def _sources(self) -> list[Tensor]:
        """Tensors of geometry and functional that require gradients."""
        moving = [x for x in self.geometry or () if x.requires_grad]
        return [] if self.detached else [*moving, *functional_tensors(self.problem)]

    @property
    def _attached_problem(self) -> KohnShamProblem:
        return self.problem if self.geometry is None else self.geometry.of(self.problem)

    @property
    def ground_state(self) -> GroundState:
        """All results of the loop, in the graph of everything they depend on."""
        return self._once("ground_state", self._attach)

    def _attach(self) -> GroundState:
        last, crystal = self.converged, self.basis.crystal
        if not self._in_graph:
            return last.ground_state(self.basis.volume)
        self._check_functional()
        geometry = self.geometry or Geometry(crystal.lattice, crystal.positions)
        return attach(
            self.problem,
            geometry,
            last.potential,
            last.fields,
            last.orbitals,
            self.gradient_tolerance,
        )

    @property
    def basis(self) -> PlaneWaveBasis:
        """Plane waves, k-points and grid, without a graph; for a volume with one see `volume`."""
        return self.problem.basis


def _leaf(tensor: Tensor) -> Tensor:
    if tensor.is_leaf:
        return tensor
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
