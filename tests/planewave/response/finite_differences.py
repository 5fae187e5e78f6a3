"""Derivatives through the self-consistent field next to differences of converged calculations.

A case is a crystal and its settings. Five numbers move it: kappa and mu of PBE, the weights of a
network, atoms and cell, each along a fixed random direction. What a result knows is differentiated
with respect to all five in one backward pass per quantity, and by central differences of
calculations that converge each displaced crystal anew, at the plane waves of the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from deepchem_xc.xc import GGAExchange, Ingredients, PBECorrelation, XCFunctional, get_xc
from deepchem_xc.xc.gga_exchange import KAPPA_PBE, MU_PBE
from deepchem_xc.xc.kinetic import scaled_iso_orbital_indicator
from deepchem_xc.xc.lda import SLATER, spin_scaled_mean
from tests.crystals import TIGHTER
from tests.differences import Difference, assert_agreement, named_differences

TIGHT = TIGHTER | {"maxiter": 60}
PARAMETERS = ("kappa", "mu", "network", "positions", "strain")
# Energies by term that are differentiated, of norm-conserving potentials and of PAW.
TERMS = ("kinetic", "local", "nonlocal", "hartree", "xc", "coulomb", "zero")
# Derivatives below this, in atomic units, are what is left of larger ones that cancel, such as a
# force that symmetry forbids: their errors are relative to it.
CANCELLED = 1e-5
# Largest steps of the differences.
STEPS = {"kappa": 0.04, "mu": 0.01, "network": 0.03, "positions": 0.0015, "strain": 0.002}


class NetworkExchange(GGAExchange):
    """PBE exchange times 1 + a small network of the reduced gradient, moved along a direction."""

    name = "network exchange"

    def __init__(self, kappa: Tensor, mu: Tensor, along: Tensor, hidden: int = 5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        for name, value in {"kappa": kappa, "mu": mu, "along": along}.items():
            self.register_buffer(name, value)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.first = torch.nn.Parameter(random(2, hidden))
        self.last = torch.nn.Parameter(0.1 * random(hidden))
        self.directions = [random(2, hidden), 0.3 * random(hidden)]

    def enhancement_factor(self, s2: Tensor) -> Tensor:
        """F(s^2) of PBE times the network."""
        first = self.first + self.along * self.directions[0].to(self.along)
        last = self.last + self.along * self.directions[1].to(self.along)
        features = (s2 / (1.0 + s2)).unsqueeze(-1)
        network = torch.tanh(features * first[0] + first[1]) @ last
        pbe = 1.0 + self.kappa - self.kappa**2 / (self.kappa + self.mu * s2)
        return pbe * (1.0 + 0.2 * network)


class NetworkMetaExchange(NetworkExchange):
    """The same, times 1 + a small network of the iso-orbital indicator, moved with it.

    It has all derivatives, as r2SCAN has not: its third one jumps at two values of the indicator.
    """

    name = "network meta-GGA exchange"
    ingredients = Ingredients.DENSITY | Ingredients.GRADIENT | Ingredients.TAU

    def energy_density(self, variables: Any) -> Tensor:
        """Energy per volume."""
        alpha = scaled_iso_orbital_indicator(variables)
        last = self.last + self.along * self.directions[1].to(self.along)
        network = torch.tanh((alpha / (2.0 + alpha)).unsqueeze(-1) - self.first[1]) @ last
        factor = self.enhancement_factor(variables.scaled_s2) * (1.0 + 0.2 * network)
        slater = variables.scaled_density * variables.scaled_inverse_rs
        return SLATER * spin_scaled_mean(variables, slater * factor)


class NetworkLDA(XCFunctional):
    """Dirac exchange times 1 + a small network of the density."""

    name, family = "network LDA", 1

    def __init__(self, along: Tensor) -> None:
        super().__init__()
        self.register_buffer("along", along)
        self.dirac = get_xc("lda_x")
        self.weights = torch.nn.Parameter(torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64))

    def energy_density(self, variables: Any) -> Tensor:
        """Energy per volume."""
        w = self.weights + self.along * torch.tensor([0.4, 0.3, -0.5]).to(self.along)
        network = torch.tanh(w[0] * variables.rs + w[1]) * w[2]
        return self.dirac.energy_density(variables) * (1.0 + network)


def make_functional(kind: str, numbers: dict[str, Tensor]) -> XCFunctional:
    """PBE with a network in it, a meta-GGA or an LDA with one."""
    if kind == "LDA":
        return NetworkLDA(numbers["network"]) + get_xc("lda_c_pw")
    exchange = NetworkMetaExchange if kind == "meta-GGA" else NetworkExchange
    kappa, mu = KAPPA_PBE + numbers["kappa"], MU_PBE + numbers["mu"]
    return exchange(kappa, mu, numbers["network"]) + PBECorrelation()


@dataclass(frozen=True)
class Case:
    """A crystal and its settings, Hartree atomic units."""

    lattice: Tensor
    symbols: tuple[str, ...]
    positions: Tensor
    ecut: float
    kpoints: Any
    occupations: dict[str, Any]
    moments: tuple[float, ...] | None = None
    pseudopotentials: Any = "gth-pbe"
    functional: str = "PBE"
    nbands: int | None = None
    symmetry: bool = False
    symmetric: bool = True
    omit: tuple[str, ...] = ()
    nlevels: int = 0
    # Convergence, where derivatives are small beside their terms.
    tight: dict[str, float] | None = None
    # Largest steps where noise shows in the differences with the usual ones.
    steps: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def crystal(self) -> Crystal:
        return Crystal(self.lattice, self.symbols, self.positions, magnetic_moments=self.moments)

    @property
    def basis(self) -> PlaneWaveBasis:
        return PlaneWaveBasis(
            self.crystal, self.ecut, self.kpoints, symmetry=self.symmetry, device=self.device
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        names = [n for n in PARAMETERS if n not in self.omit]
        if self.functional == "LDA":
            names = [n for n in names if n not in ("kappa", "mu")]
        if self.symmetry:
            names = [n for n in names if n not in ("positions", "strain")]
        return tuple(names)


def _random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def solved(
    case: Case,
    basis: PlaneWaveBasis,
    numbers: dict[str, Tensor],
    start: SCFResult | None = None,
    convergence: dict[str, float] | None = None,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
) -> SCFResult:
    """Ground state of a case at some values of the parameters."""
    lattice, positions = basis.crystal.lattice, basis.crystal.positions
    strain = _random((3, 3), 7).to(lattice)
    strain = 0.5 * (strain + strain.T)
    if not case.symmetry and not {"positions", "strain"} <= set(case.omit):
        # Atoms move by vectors of about one bohr times the number, not along with each other.
        moves = _random(tuple(positions.shape), 8).to(lattice) @ torch.linalg.inv(lattice)
        lattice = lattice @ (torch.eye(3).to(lattice) + numbers["strain"] * strain)
        basis = basis.with_geometry(lattice, positions + numbers["positions"] * moves)
    return scf(
        basis,
        make_functional(case.functional, numbers),
        occupations=case.occupations,
        pseudopotentials=case.pseudopotentials,
        convergence=convergence or TIGHT,
        nbands=case.nbands,
        start=start,
        gradient_tolerance=gradient_tolerance,
    )


def quantities(case: Case, result: SCFResult) -> dict[str, Tensor]:
    """Everything that is differentiated, each a number."""
    nspin = result.problem.nspin
    density = result.density
    weights = torch.rand(
        density.shape[1:], generator=torch.Generator().manual_seed(9), dtype=torch.float64
    ).to(density)
    volume = float(case.crystal.volume)
    scale = volume / result.basis.ngrid
    nat = len(case.symbols)
    terms = result.energies
    found = {
        "free energy": result.free_energy,
        "energy": result.energy,
        **{name: terms[name] for name in TERMS if name in terms},
        "density": (density.sum(0) * weights).sum() * scale,
        "stress": (result.stress * _random((3, 3), 11).to(density)).sum() * volume,
    }
    if result.fields.spheres is not None:
        occupations = result.fields.spheres
        found["spheres"] = (occupations * _random(tuple(occupations.shape), 12)).sum()
    if nat > 1:
        found["force"] = (result.forces * _random((nat, 3), 10).to(density)).sum()
    smeared = result.problem.smearing.width > 0.0
    if smeared:
        found["entropy"] = terms["entropy"]
        found["Fermi level"] = result.fermi_level.sum()
    else:
        found["gap"] = result.band_gap
    if nspin == 2:
        found["spin density"] = ((density[0] - density[1]) * weights).sum() * scale
        found["moment"] = result.magnetic_moment
    lowest = case.nlevels or math.ceil(result.problem.nelectrons / 2.0)
    levels = result.multiplet_eigenvalues[:, :, :lowest]
    levels = levels - result.fermi_level.max() if smeared else levels
    found["levels"] = (levels.square().sum(-1) * result.weights).sum()
    return found


@dataclass(frozen=True)
class Agreement:
    """One derivative twice; `scale` is the smallest size that an error is relative to."""

    quantity: str
    parameter: str
    implicit: float
    differences: Difference
    scale: float

    def check(self, rel: float) -> None:
        """Fail where both differ, or where the differences cannot tell."""
        name = f"{self.quantity} by {self.parameter}"
        # Where it vanishes by symmetry, the noise is that of what cancels.
        limit = 10.0 * rel if abs(self.differences.value) < self.scale else rel
        assert_agreement(self.implicit, self.differences, rel, self.scale, name, limit)

    @property
    def error(self) -> float:
        """Relative to the derivative, or to the scale."""
        return abs(self.implicit - self.differences.value) / self._size

    @property
    def relative_uncertainty(self) -> float:
        """Of the differences, in the same unit."""
        return self.differences.uncertainty / self._size

    @property
    def _size(self) -> float:
        return max(abs(self.differences.value), self.scale)


def gradients(
    case: Case, result: SCFResult, numbers: dict[str, Tensor]
) -> dict[str, dict[str, float]]:
    """Implicit derivatives of every quantity, one backward pass each."""
    found = {}
    leaves = [numbers[name] for name in case.parameters]
    for quantity, value in quantities(case, result).items():
        if not value.requires_grad:
            continue
        parts = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        found[quantity] = {
            name: 0.0 if part is None else float(part)
            for name, part in zip(case.parameters, parts, strict=True)
        }
    return found


def zeros(grad: bool, device: str = "cpu") -> dict[str, Tensor]:
    """All parameters at rest."""
    options: Any = {"dtype": torch.float64, "device": device, "requires_grad": grad}
    return {n: torch.zeros((), **options) for n in PARAMETERS}


def compare(
    case: Case,
    parameters: tuple[str, ...] | None = None,
    convergence: dict[str, float] | None = None,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    halvings: int = 2,
) -> list[Agreement]:
    """All derivatives of a case, both ways."""
    basis = case.basis
    leaves = zeros(grad=True)
    result = solved(case, basis, leaves, None, convergence or case.tight, gradient_tolerance)
    implicit = gradients(case, result, leaves)
    start = result.detach()
    table = []
    for parameter in parameters or case.parameters:
        step = case.steps.get(parameter, STEPS[parameter])

        def values(step: float, parameter: str = parameter) -> dict[str, float]:
            numbers = zeros(grad=False)
            numbers[parameter] = torch.tensor(step, dtype=torch.float64)
            with torch.no_grad():
                displaced = solved(case, basis, numbers, start, case.tight)
                return {n: float(v) for n, v in quantities(case, displaced).items()}

        for quantity, found in named_differences(values, step, halvings).items():
            if quantity not in implicit:
                continue
            # Sets that are degenerate by symmetry split: their edges have a kink, sums do not.
            if (
                quantity in ("gap", "levels")
                and parameter in ("positions", "strain")
                and case.symmetric
            ):
                continue
            largest = max(abs(x) for x in implicit[quantity].values())
            derivative = implicit[quantity][parameter]
            scale = max(1e-3 * largest, CANCELLED)
            table.append(Agreement(quantity, parameter, derivative, found, scale))
    return table
