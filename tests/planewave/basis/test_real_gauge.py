"""Real orbitals about an inversion centre are the complex ones in another gauge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.inversion_gauge import inversion_centre
from deepchem_xc.planewave.basis.real_gauge import pack, unpack
from deepchem_xc.planewave.density import density_from_orbitals, density_from_real_orbitals
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from tests.crystals import FIXED, doubles, fcc


def crystal(shift: float = 0.0, second: str = "Si") -> Crystal:
    return Crystal(fcc(10.26), ("Si", second), doubles([[0.0] * 3, [0.25] * 3]) + shift)


def problem(shift: float = 0.07) -> KohnShamProblem:
    basis = PlaneWaveBasis(crystal(shift), 6.0, {"size": (2, 2, 2), "gamma": True})
    return make_problem(basis, "PBE", "gth-pbe", FIXED)


def hamiltonian(chosen: KohnShamProblem) -> Hamiltonian:
    return chosen.hamiltonian(chosen.effective_potential(chosen.starting_fields())[0])


def real_orbitals(basis: PlaneWaveBasis, nband: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn((basis.nk, nband, basis.npw), dtype=torch.float64, generator=generator)
    return noise * basis.mask.unsqueeze(1)


def test_centre_lies_between_the_atoms_of_diamond() -> None:
    centre = inversion_centre(problem().basis)
    assert centre is not None
    twice = 2.0 * centre.numpy() - (0.25 + 2 * 0.07)  # maps one atom onto the other
    np.testing.assert_allclose(twice - np.rint(twice), 0.0, atol=1e-5)


def test_zinc_blende_has_no_centre() -> None:
    basis = PlaneWaveBasis(crystal(second="C"), 6.0, (1, 1, 1))
    assert inversion_centre(basis) is None
    unused = PlaneWaveBasis(crystal(), 6.0, (1, 1, 1), symmetry=False)
    assert inversion_centre(unused) is None


@pytest.mark.parametrize("nband", [1, 4, 5])
def test_hamiltonian_acts_the_same_on_real_and_complex_orbitals(nband: int) -> None:
    chosen = problem()
    h, gauge, ks = hamiltonian(chosen), chosen.gauge, range(1, chosen.basis.nk)
    assert gauge is not None
    here = slice(ks.start, ks.stop)
    real = real_orbitals(chosen.basis, nband)[here]
    image = h.apply(gauge.to_complex(real, here), 0, ks)
    torch.testing.assert_close(gauge.to_complex(h.apply(real, 0, ks), here), image)


def test_rows_survive_packing() -> None:
    for n in (1, 2, 5):
        rows = torch.randn((2, n, 7), dtype=torch.float64)
        assert torch.equal(unpack(pack(rows), n), rows)


def test_real_orbitals_span_what_the_complex_ones_do() -> None:
    chosen = problem()
    gauge, ks = chosen.gauge, slice(0, chosen.basis.nk)
    assert gauge is not None
    real = torch.linalg.qr(real_orbitals(chosen.basis, 4).mT)[0].mT
    mix = torch.linalg.qr(torch.randn((4, 4), dtype=torch.complex128))[0]
    mixed = mix @ gauge.to_complex(real, ks)
    again = gauge.to_real(mixed, ks)
    overlap = again @ real.mT
    unit = torch.eye(4, dtype=torch.float64).expand_as(overlap)
    torch.testing.assert_close(overlap @ overlap.mT, unit)


def test_symmetrised_densities_agree() -> None:
    chosen = problem()
    basis, gauge = chosen.basis, chosen.gauge
    assert gauge is not None
    orbitals = gauge.to_complex(real_orbitals(basis, 5), slice(0, basis.nk)).unsqueeze(0)
    weighted = torch.rand((2, 1, basis.nk, 5), dtype=torch.float64)
    weighted[1, :, :, :2] = 0.0
    pieces = GridPieces(basis)
    expected = basis.symmetrize(density_from_orbitals(pieces, orbitals, weighted))
    packed = basis.symmetrize(density_from_real_orbitals(pieces, gauge, orbitals, weighted))
    torch.testing.assert_close(packed, expected)


def test_energy_is_that_of_complex_orbitals() -> None:
    # Without the inversion, but with all other operations, orbitals are complex.
    basis = problem().basis
    proper = np.linalg.det(basis.kpoints.symmetry.rotations) > 0
    symmetry = basis.kpoints.symmetry.subset(proper)
    kpoints = replace(
        basis.kpoints, symmetry=SymmetryGroup(symmetry.rotations, symmetry.translations)
    )
    complex_basis = PlaneWaveBasis(basis.crystal, basis.ecut, kpoints)
    assert inversion_centre(complex_basis) is None
    settings = {"occupations": {"name": "fixed"}, "convergence": {"energy": 1e-11, "density": 1e-8}}
    energies = [float(scf(b, "PBE", **settings).free_energy) for b in (basis, complex_basis)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)
