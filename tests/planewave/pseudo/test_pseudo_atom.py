"""The atom that the self-consistent field starts from: against PySCF and against real files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from deepchem_xc.planewave.pseudo import Pseudopotential, load_gth, pseudo_atom, read_upf
from deepchem_xc.planewave.pseudo.gaussians import gaussian_coefficients, polynomial
from deepchem_xc.planewave.pseudo.pseudo_atom import aufbau

Q = torch.linspace(0.0, 12.0, 601, dtype=torch.float64)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Electrostatic self-energy of the difference of two spherical densities, Hartree."""
    return float(torch.trapezoid((a - b) ** 2, Q) / torch.pi)


def best_gaussian(density: torch.Tensor) -> float:
    """The same for the best of all single Gaussians."""
    total = density[0]
    fit = minimize_scalar(
        lambda w: distance(total * torch.exp(-0.5 * (w * Q) ** 2), density), bounds=(0.2, 4.0)
    )
    return float(fit.fun)


@pytest.mark.filterwarnings("ignore:Function int1e_r2_origi_sph")  # from inside PySCF
@pytest.mark.parametrize("symbol", ["Ar", "Ca"])
def test_closed_shell_atoms_equal_those_of_pyscf(symbol: str) -> None:
    from pyscf import dft, gto

    potential = load_gth(symbol, "gth-pbe")
    basis = gto.expand_etbs([(0, 13, 0.03, 1.9), (1, 12, 0.03, 1.9)])
    atom = gto.M(atom=symbol, basis={symbol: basis}, pseudo={symbol: "gth-pbe"}, verbose=0)
    # X-alpha with alpha = 0.7 is 1.05 times the exchange of the electron gas
    scf = dft.RKS(atom, xc="1.05*lda,")
    scf.kernel()
    assert scf.converged
    r = np.linspace(0.0, 12.0, 1201)
    orbitals = atom.eval_gto("GTOval_sph", np.outer(r, [0.36, 0.48, 0.8]))
    density = np.einsum("ri,ij,rj->r", orbitals, scf.make_rdm1(), orbitals)
    weights = 4 * np.pi * r**2 * density * r[1]
    q = Q.numpy()
    theirs = torch.from_numpy((np.sinc(np.outer(q, r) / np.pi) * weights).sum(axis=1))
    assert theirs[0].item() == pytest.approx(potential.valence, abs=2e-3)
    ours = potential.atomic_density(Q**2)
    assert (ours - theirs).abs().max() < 5e-3
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("symbol", ["Ni", "Si"])
def test_atoms_equal_those_of_the_files(reference_path, symbol: str) -> None:
    # the generator's atom (PBE, relativistic) and ours (exchange only) at the same potential
    potential = read_upf(reference_path(f"pseudos/{symbol}_ONCV_PBE_sr.upf"), symbol)
    theirs = potential.atomic_density(Q**2)
    ours = potential.atom.density(Q**2)[0]
    assert distance(ours, theirs) < 1e-3
    assert distance(ours, theirs) < 0.05 * best_gaussian(theirs)


@pytest.mark.parametrize("symbol", ["H", "Na", "Fe", "Cu", "Br", "Gd", "Au"])
@pytest.mark.parametrize("family", ["gth-pbe", "gth-uzh"])
def test_densities_are_positive_and_complete(symbol: str, family: str) -> None:
    potential: Pseudopotential = load_gth(symbol, family)
    q = torch.linspace(0.0, 30.0, 6001, dtype=torch.float64)
    form_factor = potential.atomic_density(q**2)
    assert form_factor[0].item() == pytest.approx(potential.valence, abs=1e-9)
    r = torch.linspace(0.05, 6.0, 60, dtype=torch.float64)
    kernel = torch.sinc(torch.outer(r, q) / torch.pi) * q**2
    density = torch.trapezoid(kernel * form_factor, q, dim=1) / (2 * torch.pi**2)
    # the transform back ends at q = 30 and so oscillates a little
    assert density.min() > -1e-3 * density.max()


@pytest.mark.parametrize(
    "symbol, valence, electrons",
    [
        ("H", 1, (1, 0, 0, 0)),
        ("Si", 4, (2, 2, 0, 0)),
        ("Ni", 10, (2, 0, 8, 0)),
        ("Ni", 18, (4, 6, 8, 0)),
        ("Ga", 13, (2, 1, 10, 0)),
        ("Pb", 4, (2, 2, 0, 0)),
        ("Ce", 12, (4, 6, 0, 2)),
    ],
)
def test_valence_configurations(symbol: str, valence: float, electrons: tuple) -> None:
    assert aufbau(symbol, valence) == electrons


@pytest.mark.parametrize("symbol", ["Ni", "Si", "Ce"])
def test_states_are_orthonormal_and_make_the_density(symbol: str) -> None:
    potential = load_gth(symbol, "gth-pbe")
    electrons = potential.parameters.electrons
    weight = 4 * torch.pi * Q**2 / (2 * torch.pi) ** 3 * Q[1]
    for l, orbitals in potential.atom.orbitals(Q**2):
        form = orbitals * Q**l  # Parseval: the overlap in q is that in r, without the angular part
        overlap = (form * weight) @ form.T / (4 * torch.pi)
        shells = -(-electrons[l] // (2 * (2 * l + 1)))
        assert torch.allclose(overlap, torch.eye(shells, dtype=Q.dtype), atol=2e-3)


@pytest.mark.parametrize("symbol", ["Si", "Na", "Cs"])
def test_the_form_factor_is_converged_to_1e_10_electrons(
    symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the analytic transform of its orbitals, and another mesh."""
    potential = load_gth(symbol, "gth-pbe")
    found = potential.atomic_density(Q**2)
    exact = torch.zeros_like(Q)
    for l, states in potential.atom.states:
        left, degeneracy = potential.parameters.electrons[l], 2 * (2 * l + 1)
        for coefficients in states:
            occupation, left = min(left, degeneracy), left - degeneracy
            for a, x in zip(pseudo_atom._EXPONENTS, coefficients, strict=True):
                for b, y in zip(pseudo_atom._EXPONENTS, coefficients, strict=True):
                    width = (0.5 / (a + b)) ** 0.5
                    terms = gaussian_coefficients(0, l, width)
                    t = (Q * width) ** 2
                    product = torch.exp(-0.5 * t) * polynomial(terms, t)
                    exact += occupation * x * y * product / (4 * torch.pi)
    assert found[0].item() == pytest.approx(potential.valence, abs=1e-13)
    assert (found - exact).abs().max() < 1e-10
    pseudo_atom._coulomb_of_pairs.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(pseudo_atom, "_MESH", np.linspace(0.0, 36.0, 4801))
        finer = load_gth(symbol, "gth-pbe").atomic_density(Q**2)
    pseudo_atom._coulomb_of_pairs.cache_clear()
    assert (finer - found).abs().max() < 1e-10
