"""Meta-GGAs where one orbital makes the density: the same functional, in a form that converges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFConvergenceError, SCFResult, scf
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.xc import LibXC, OneOrbital, SpinParam, ValGrad, get_xc
from tests.crystals import TIGHT, helium, hydrogen
from tests.differences import assert_agreement, named_differences

pytestmark = pytest.mark.filterwarnings("ignore:the functional is")


@pytest.mark.parametrize("side", [4.0, 6.0])
def test_a_hydrogen_atom_has_one_energy_with_scan_and_r2scan(side: float) -> None:
    """They differ where there are several orbitals only."""
    names = ("SCAN", "r2SCAN")
    energies = {name: float(scf(hydrogen(side), name, ecut=120.0).free_energy) for name in names}
    assert energies["SCAN"] == pytest.approx(energies["r2SCAN"], abs=2e-8)


@pytest.mark.parametrize(
    ("atoms", "name", "ecut"),
    [
        (hydrogen(), "SCAN", 120.0),
        (hydrogen(), "TPSS", 120.0),
        (hydrogen(), "revTPSS", 120.0),
        (helium(), "TPSS", 300.0),
        (helium(), "M06-L", 300.0),
    ],
    ids=["H-SCAN", "H-TPSS", "H-revTPSS", "He-TPSS", "He-M06-L"],
)
def test_meta_ggas_converge_for_one_orbital(atoms: Atoms, name: str, ecut: float) -> None:
    result = scf(atoms, name, ecut=ecut)
    assert result.nsteps < 25
    assert result.problem.functional.name == get_xc(name).name


@pytest.mark.parametrize("spinpol", [False, True])
def test_the_form_of_one_orbital_is_no_other_functional(spinpol: bool) -> None:
    """Energy, occupied level and forces are those of the loop that mixes tau."""
    basis = PlaneWaveBasis(Crystal.from_ase(helium()), 5.0, (1, 1, 1))
    reduced = make_problem(basis, "r2SCAN", spinpol=spinpol)
    assert isinstance(reduced.functional, OneOrbital)
    general = replace(reduced, functional=reduced.functional.functional)
    assert general.needs_kinetic_density and not reduced.needs_kinetic_density
    one, other = (solve(problem, Convergence(**TIGHT)) for problem in (reduced, general))
    assert float(one.free_energy) == pytest.approx(float(other.free_energy), abs=1e-9)
    levels = [float(result.eigenvalues[0, 0, 0]) for result in (one, other)]
    assert levels[0] == pytest.approx(levels[1], abs=1e-7)
    torch.testing.assert_close(one.stress, other.stress, rtol=0.0, atol=1e-7)
    torch.testing.assert_close(
        one.kinetic_energy_density, other.kinetic_energy_density, rtol=0.0, atol=1e-7
    )


@pytest.mark.parametrize("name", ["mgga_c_tpss", "mgga_c_revtpss", "mgga_c_scan", "mgga_c_pkzb"])
def test_correlation_is_zero_for_one_electron(name: str) -> None:
    """Exact condition of these functionals, also where the gradient is zero or rounding."""
    gradient = torch.tensor([0.0, 1e-17, 1e-6, 0.05, 1.0]).double()
    n = torch.full_like(gradient, 0.1)
    grad = torch.stack([gradient, torch.zeros_like(n), torch.zeros_like(n)])
    up = ValGrad(value=n, grad=grad)
    down = ValGrad(value=torch.zeros_like(n), grad=torch.zeros_like(grad))
    energy = OneOrbital(LibXC(name)).get_edensityxc(SpinParam(u=up, d=down))
    assert float(energy.abs().max()) < 1e-9


def test_derivatives_with_respect_to_a_scale_of_tpss() -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(helium()), 5.0, (1, 1, 1))
    weights = torch.rand(basis.fft_size, generator=torch.Generator().manual_seed(0)).double()

    def run(scale: Tensor, start: SCFResult | None = None) -> SCFResult:
        functional = scale * get_xc("mgga_x_tpss") + get_xc("mgga_c_tpss")
        return scf(basis, functional, convergence=TIGHT, start=start)

    def observed(result: SCFResult) -> dict[str, Tensor]:
        return {
            "free": result.free_energy,
            "density": (result.density * weights).sum(),
            "level": result.eigenvalues[0, 0, 0],
        }

    one = torch.ones((), dtype=torch.float64)
    scale = torch.nn.Parameter(one.clone())
    result = run(scale)
    start = result.detach()
    found = named_differences(lambda step: observed(run(one + step, start)), 0.02)
    for name, value in observed(result).items():
        (implicit,) = torch.autograd.grad(value, scale, retain_graph=True)
        assert_agreement(implicit, found[name], 1e-5, name=name)


def test_a_frozen_density_takes_any_meta_gga() -> None:
    result = scf(helium(), "TPSS", ecut=120.0)
    frozen = FrozenEnergy.of(result)
    again = FrozenEnergy.from_state_dict(frozen.state_dict())
    assert float(again.at(get_xc("TPSS"))) == pytest.approx(float(result.free_energy), abs=1e-12)
    other = float(scf(helium(), "r2SCAN", ecut=120.0).free_energy)
    assert float(again.at(get_xc("r2SCAN"))) == pytest.approx(other, abs=2e-3)


def test_several_orbitals_are_found_out() -> None:
    """Two electrons in a nearly degenerate pair of levels are not those of one orbital."""
    far = Atoms("H2", positions=[[0, 0, 0], [4.0, 0, 0]], cell=[8.0, 3.0, 3.0], pbc=True)
    result = scf(far, "r2SCAN", ecut=60.0, occupations={"width": 1.0})
    assert float(result.occupations[0, 0, 1]) > 0.01
    assert result.problem.needs_kinetic_density


def test_what_cannot_converge_is_refused_by_name() -> None:
    atoms = Atoms("LiH", positions=[[0, 0, 0], [0, 0, 1.6]], cell=[4.0] * 3, pbc=True)
    with pytest.raises(SCFConvergenceError, match=r"m06_l has de/dtau = .* where n = .*use r2SCAN"):
        scf(atoms, "M06-L", ecut=120.0)


def test_a_meta_gga_that_does_not_converge_is_named_with_advice() -> None:
    with pytest.raises(SCFConvergenceError, match="SCAN may vary too rapidly .* r2SCAN"):
        scf(bulk("Si"), "SCAN", ecut=60.0, convergence={"maxiter": 2})
