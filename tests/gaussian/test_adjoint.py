"""Derivatives with respect to functional parameters are those of converged calculations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from deepchem_xc.gaussian import MolecularResult, scf
from deepchem_xc.xc import (
    PBE,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    ExactExchange,
    XCFunctional,
    get_xc,
)
from tests.differences import assert_agreement, named_differences

TIGHT = {"energy": 1e-11, "commutator": 1e-10}
PLAIN: dict[str, Any] = {"basis": "6-31g", "grid_level": 0, "convergence": TIGHT}


def losses(result: MolecularResult) -> dict[str, Tensor]:
    """One number of every result; none depends on the orientation of a degenerate state."""
    matrix = result.density_matrix.sum(0)
    mixed = torch.linspace(-1.0, 1.0, matrix.numel(), dtype=torch.float64).view_as(matrix)
    density = result.density.sum(0)
    found = {
        "energy": result.energy,
        "free energy": result.free_energy,
        "density matrix": (mixed * matrix).sum(),
        "density": (result.weights * density**2).sum(),
        "dipole": result.dipole @ torch.tensor([0.3, 0.5, 1.0], dtype=torch.float64),
        "level": result.eigenvalues[0, 1] + 0.3 * result.eigenvalues[-1, -1],
        "gap": result.band_gap,
        "forces": (directions(result) * result.forces).sum(),
    }
    return found | {name: result.energies[name] for name in ("kinetic", "hartree", "xc")}


def directions(result: MolecularResult) -> Tensor:
    """Of the forces in a loss, a random one for each atom, always the same."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(result.forces.shape, generator=generator, dtype=torch.float64)


def assert_derivatives(
    compute: Callable[[], MolecularResult],
    move: Callable[[float], None],
    slope: Callable[[Tensor], float],
    step: float,
) -> None:
    """Adjoint and differences agree to 1e-6, beside the differences' own uncertainty.

    `slope` is the adjoint's derivative along the direction in which `move` changes parameters.
    """
    result = compute()
    exact = {name: slope(loss) for name, loss in losses(result).items()}

    def values(x: float) -> dict[str, Tensor]:
        move(x)
        with torch.no_grad():
            return losses(compute())

    found = named_differences(values, step, halvings=3)
    move(0.0)
    for name in exact:
        # Contributions to a derivative are of order 0.1; a small sum of them is no more accurate.
        assert_agreement(exact[name], found[name], 1e-6, 1e-2, name, limit=4e-6)


def of_parameter(parameter: Tensor, step: float) -> dict[str, Any]:
    """Arguments for the derivative with respect to one number."""
    start = parameter.detach().clone()

    def move(x: float) -> None:
        parameter.data.copy_(start + x)

    def slope(loss: Tensor) -> float:
        (gradient,) = torch.autograd.grad(loss, [parameter], retain_graph=True)
        return float(gradient)

    return {"move": move, "slope": slope, "step": step}


def along_random_direction(functional: XCFunctional, step: float) -> dict[str, Any]:
    """Arguments for the derivative along a random direction in the weights."""
    parameters = list(functional.parameters())
    starts = [p.detach().clone() for p in parameters]
    directions = [torch.randn_like(p) for p in parameters]

    def move(x: float) -> None:
        for parameter, start, along in zip(parameters, starts, directions):
            parameter.data.copy_(start + x * along)

    def slope(loss: Tensor) -> float:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return sum(float((g * d).sum()) for g, d in zip(found, directions) if g is not None)

    return {"move": move, "slope": slope, "step": step}


def hybrid(omega: float = 0.0, part: str = "all") -> tuple[XCFunctional, Tensor]:
    """PBE0, or its relative of a range, with the fraction as a parameter."""
    share = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    exact = ExactExchange(omega, part)
    return share * exact + (1 - share) * get_xc("gga_x_pbe") + get_xc("gga_c_pbe"), share


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "closed shell": ("H2O", {}),
    "radical": ("NH2", {"spin": 1}),
    "oxygen": ("O2", {"spin": 2}),
    "one set of orbitals": ("NH2", {"spin": 1, "restricted": "open"}),
    "smeared": ("H2O", {"occupations": {"name": "fermi-dirac", "width": 0.05}}),
    "smeared radical": ("NH2", {"spin": 1, "occupations": {"name": "gaussian", "width": 0.05}}),
}


@pytest.mark.parametrize("case", CASES)
def test_derivatives_of_every_result(case):
    name, keywords = CASES[case]
    functional = PBE(trainable=True)
    parameter = functional.terms[0].kappa

    def compute() -> MolecularResult:
        return scf(molecule(name), functional, **PLAIN, **keywords)

    assert_derivatives(compute, **of_parameter(parameter, 0.1))


@pytest.mark.parametrize(
    "name, keywords, range_",
    [
        ("HF", {}, (0.0, "all")),
        ("NH2", {"spin": 1}, (0.0, "all")),
        ("NH2", {"spin": 1, "restricted": "open"}, (0.0, "all")),
        ("HF", {}, (0.3, "short")),
    ],
)
def test_derivatives_with_respect_to_the_fraction_of_exact_exchange(name, keywords, range_):
    functional, share = hybrid(*range_)

    def compute() -> MolecularResult:
        return scf(molecule(name), functional, **PLAIN, **keywords)

    assert_derivatives(compute, **of_parameter(share, 0.1))


@pytest.mark.parametrize("kind, spin", [(ConstrainedGGA, 0), (ConstrainedMetaGGA, 1)])
def test_derivatives_along_a_random_direction_in_weights(kind, spin):
    functional = kind(seed=3)
    with torch.no_grad():
        for weight in functional.parameters():
            weight += 0.1 * torch.randn_like(weight)

    def compute() -> MolecularResult:
        return scf(molecule("NH2" if spin else "H2O"), functional, **PLAIN, spin=spin)

    assert_derivatives(compute, **along_random_direction(functional, 0.02))


def test_derivatives_where_a_gap_nearly_closes():
    """A stretched molecule: levels around the gap are 0.03 Ha apart, a tenth of the usual."""
    functional = PBE(trainable=True)
    stretched = Atoms("LiF", [[0.1, 0.0, 0.0], [0.0, 0.2, 2.6]])

    def compute() -> MolecularResult:
        return scf(stretched, functional, **PLAIN)

    assert compute().band_gap.item() < 0.04
    assert_derivatives(compute, **of_parameter(functional.terms[0].kappa, 0.02))


def test_the_energy_needs_no_response(monkeypatch):
    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, **PLAIN)
    monkeypatch.setattr(type(result.problem), "kernel", None)  # any call would fail
    result.energy.backward()
    assert all(p.grad is not None for p in functional.parameters())
    with pytest.raises(TypeError, match="not callable"):
        result.dipole.sum().backward()


def test_one_backward_pass_solves_one_equation(monkeypatch):
    from deepchem_xc.gaussian import adjoint

    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, **PLAIN)
    calls = []
    solve = adjoint.solve_adjoint
    monkeypatch.setattr(adjoint, "solve_adjoint", lambda *a, **k: calls.append(1) or solve(*a, **k))
    (result.dipole.sum() + result.band_gap + result.density.square().mean()).backward()
    assert len(calls) == 1


def test_a_gradient_is_not_differentiated_again():
    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, **PLAIN)
    parameter = functional.terms[0].kappa
    (gradient,) = torch.autograd.grad(result.dipole.sum(), [parameter], create_graph=True)
    with pytest.raises(NotImplementedError, match="first order"):
        torch.autograd.grad(gradient, [parameter])
