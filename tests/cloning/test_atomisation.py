"""Atomisation energies at kept densities: PySCF's, and their derivatives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pyscf import dft
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from deepchem_xc.cloning import AtomisationErrors, KeptDensity, new_student, parent_densities
from deepchem_xc.cloning.atomisation import KCAL_PER_MOL
from deepchem_xc.cloning.densities import pyscf_molecule
from deepchem_xc.cloning.energies import trainable_weights
from deepchem_xc.xc import XCFunctional, get_xc

WANTED = {"CH3": 300.0, "H2O": 230.0}


@pytest.fixture(scope="module")
def with_atoms(kept: list[KeptDensity], folder: Path) -> list[KeptDensity]:
    free = parent_densities("PBE", ["H", "C", "O"], folder, basis="6-31g", grid_level=1)
    return [*kept, *free]


@pytest.fixture(scope="module")
def energies(with_atoms: list[KeptDensity]) -> AtomisationErrors:
    return AtomisationErrors(get_xc("PBE"), with_atoms, WANTED, 1)


@pytest.mark.parametrize(("name", "libxc"), [("PBE", "pbe"), ("LDA", "lda,pw")])
def test_errors_are_those_of_pyscfs_total_energies_at_the_same_densities(
    name: str, libxc: str, with_atoms: list[KeptDensity], energies: AtomisationErrors
) -> None:
    totals = {}
    for one in with_atoms:
        mf = dft.UKS(pyscf_molecule(one.atoms, one.basis), xc=libxc)
        mf.grids.level = 1
        totals[one.name] = mf.energy_tot(one.density_matrix)
    apart = {
        "CH3": totals["C"] + 3 * totals["H"] - totals["CH3"],
        "H2O": totals["O"] + 2 * totals["H"] - totals["H2O"],
    }
    wanted = [apart[one] * KCAL_PER_MOL - WANTED[one] for one in energies.names]
    # PySCF leaves out points of small density: 1e-6 Ha a system.
    assert energies.errors(get_xc(name)).tolist() == pytest.approx(wanted, abs=3e-3)


def test_the_jacobian_is_the_derivative_with_respect_to_the_weights(
    energies: AtomisationErrors,
) -> None:
    student = new_student("constrained", get_xc("PBE"), 0)
    residuals, jacobian = energies.linearised(student)
    assert torch.allclose(residuals, energies.residuals(student), atol=1e-9)
    weights = trainable_weights(student)
    start = parameters_to_vector(weights).detach().clone()
    direction = torch.randn(len(start), dtype=start.dtype, generator=torch.manual_seed(0))

    def at(step: float) -> torch.Tensor:
        vector_to_parameters(start + step * direction, weights)
        return energies.residuals(student)

    # Fourth-order differences; energies of 1e4 kcal/mol are known to 1e-11 of that.
    h = 1e-3
    slopes = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h)
    assert torch.allclose(jacobian @ direction, slopes, rtol=1e-6)


def test_squared_residuals_are_the_mean_squared_errors_and_the_weighted_changes_of_atoms(
    with_atoms: list[KeptDensity],
) -> None:
    energies = AtomisationErrors(get_xc("PBE"), with_atoms, WANTED, 0, atom_weight=0.25)
    lda = get_xc("LDA")
    errors, changes = energies.errors(lda), energies.atom_changes(lda)
    assert energies.atoms == ["H", "C", "O"]
    assert energies.atom_changes(get_xc("PBE")).tolist() == [0.0, 0.0, 0.0]
    # The LDA's exchange of atoms is too small: their energies rise.
    assert bool((changes > 0.0).all())
    wanted = errors.square().mean() + 0.25 * changes.square().mean()
    assert float(energies.residuals(lda).square().sum()) == pytest.approx(float(wanted), rel=1e-12)


def test_weights_without_influence_have_no_derivative(energies: AtomisationErrors) -> None:
    class WithSpare(torch.nn.Module):
        """A network that has a weight it does not use."""

        def __init__(self) -> None:
            super().__init__()
            self.used = new_student("constrained", get_xc("PBE"), 0)
            self.spare = torch.nn.Parameter(torch.ones(3).double())

        def energy_density(self, variables: object) -> torch.Tensor:
            return self.used.energy_density(variables)

    functional: XCFunctional = WithSpare()  # type: ignore[assignment]
    _, jacobian = energies.linearised(functional)
    assert not jacobian[:, :3].any() and jacobian[:, 3:].any()


def test_missing_densities_and_energies_are_named(with_atoms: list[KeptDensity]) -> None:
    parent = get_xc("PBE")
    with pytest.raises(ValueError, match="there is no density of N2, whose"):
        AtomisationErrors(parent, with_atoms, {"N2": 228.0})
    with pytest.raises(ValueError, match="the free atoms C, H of CH3"):
        AtomisationErrors(parent, with_atoms[:2], {"CH3": 300.0})
    with pytest.raises(ValueError, match="H is an atom, and has no atomisation energy"):
        AtomisationErrors(parent, with_atoms, {**WANTED, "H": 0.0})
    with pytest.raises(ValueError, match="atom_weight must be at least 0, got -1"):
        AtomisationErrors(parent, with_atoms, WANTED, atom_weight=-1)
    with pytest.raises(ValueError, match="there are no reference energies"):
        AtomisationErrors(parent, with_atoms, {})
