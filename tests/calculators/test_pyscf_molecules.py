"""Functionals of this package in PySCF's calculations of molecules."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from pyscf import dft, scf
from pyscf.scf import cphf

from deepchem_xc.calculators import to_pyscf
from deepchem_xc.xc import PBE, ExactExchange, Ingredients, XCFunctional, get_xc
from tests.calculators.pyscf_systems import (
    SAME,
    amidogen,
    fast,
    hydrogen_fluoride,
    learned,
    learned_meta_gga,
)
from tests.differences import assert_agreement, differences


def difference(one: object, other: object) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


# the functionals that PySCF has too ---------------------------------------------------------------


@pytest.mark.parametrize("ours, theirs", SAME.items())
@pytest.mark.parametrize("before", ["b3lyp", "wb97x-v"])
def test_nothing_of_the_earlier_functional_survives(ours, theirs, before):
    expected = fast(dft.RKS(hydrogen_fluoride(), xc=theirs)).run()
    mf = fast(dft.RKS(hydrogen_fluoride(), xc=before))
    if before == "b3lyp":
        mf.run()  # with results to forget
    assert to_pyscf(ours, mf) is mf
    assert not mf.converged and mf.mo_energy is None and mf.mo_coeff is None and mf.e_tot == 0
    mf.kernel()
    assert abs(mf.e_tot - expected.e_tot) < 1e-8
    assert difference(mf.mo_energy, expected.mo_energy) < 1e-6
    assert difference(mf.nuc_grad_method().kernel(), expected.nuc_grad_method().kernel()) < 1e-6
    assert not mf.do_nlc() and mf._numint.rsh_and_hybrid_coeff(mf.xc) == (0, 0, 0)


def test_range_separation_that_was_set_by_hand_does_not_survive():
    mf = fast(dft.RKS(hydrogen_fluoride(), xc="camb3lyp"))
    mf.omega = 0.1
    expected = fast(dft.RKS(hydrogen_fluoride(), xc="pbe")).run()
    assert abs(to_pyscf("PBE", mf).kernel() - expected.e_tot) < 1e-8


@pytest.mark.parametrize("kind", [dft.RKS, dft.UKS])
@pytest.mark.parametrize("name", ["PBE0", "B3LYP", "HSE06", "camb3lyp"])
def test_hybrids_are_pyscfs(kind, name):
    """Energies, levels, forces and density fitting, which chooses another basis for hybrids."""
    expected = fast(kind(hydrogen_fluoride(), xc=name)).run()
    mf = to_pyscf(name, fast(kind(hydrogen_fluoride(), xc="pbe"))).run()
    assert abs(mf.e_tot - expected.e_tot) < 1e-8
    assert difference(mf.mo_energy, expected.mo_energy) < 1e-6
    assert difference(mf.nuc_grad_method().kernel(), expected.nuc_grad_method().kernel()) < 1e-6
    fitted = to_pyscf(name, fast(kind(hydrogen_fluoride(), xc="pbe")).density_fit()).kernel()
    theirs = fast(kind(hydrogen_fluoride(), xc=name)).density_fit().kernel()
    assert abs(fitted - theirs) < 1e-8


class Mine(XCFunctional):
    name, ingredients, exact_exchange = "mine", Ingredients.DENSITY, 0.25

    def energy_density(self, variables):
        return -0.5 * variables.density ** (4.0 / 3.0)


def test_exact_exchange_that_a_class_declares_is_added():
    density = fast(dft.RKS(hydrogen_fluoride(), xc="pbe"))
    density.kernel()
    matrix = density.make_rdm1()
    energies = [
        to_pyscf(functional, fast(dft.RKS(hydrogen_fluoride()))).energy_tot(matrix)
        for functional in (Mine(), 0.5 * Mine() + 0.5 * Mine(), Mine() - 0.25 * ExactExchange())
    ]
    assert abs(energies[0] - energies[1]) < 1e-9
    exchange = -0.25 * np.vdot(matrix, density.get_k())
    assert abs(energies[0] - energies[2] - 0.25 * exchange) < 1e-9


@pytest.mark.parametrize("kind", [dft.UKS, dft.ROKS])
@pytest.mark.parametrize("ours, theirs", SAME.items())
def test_open_shells_are_pyscfs(kind, ours, theirs):
    expected = fast(kind(amidogen(), xc=theirs)).run()
    mf = to_pyscf(ours, fast(kind(amidogen(), xc="b3lyp"))).run()
    assert abs(mf.e_tot - expected.e_tot) < 1e-8
    assert difference(mf.nuc_grad_method().kernel(), expected.nuc_grad_method().kernel()) < 1e-6


def test_second_order_properties_are_pyscfs():
    expected = fast(dft.RKS(hydrogen_fluoride(), xc="pbe")).run()
    mf = to_pyscf("PBE", fast(dft.RKS(hydrogen_fluoride(), xc="b3lyp"))).run()
    assert difference(mf.Hessian().kernel(), expected.Hessian().kernel()) < 1e-6
    for singlet in (True, False):
        excited, reference = mf.TDA(), expected.TDA()
        excited.singlet = reference.singlet = singlet
        assert difference(excited.run(nstates=3).e, reference.run(nstates=3).e) < 1e-6
    # The pure functional's own class, not the one for hybrids.
    assert type(mf.TDDFT()) is type(expected.TDDFT())
    assert difference(mf.TDDFT().run(nstates=2).e, expected.TDDFT().run(nstates=2).e) < 1e-6
    # Third derivatives.
    forces = [x.TDA().run(nstates=1).nuc_grad_method().kernel(state=1) for x in (mf, expected)]
    assert difference(*forces) < 1e-5


def test_second_order_properties_of_open_shells_are_pyscfs():
    expected = fast(dft.UKS(amidogen(), xc="r2scan")).run()
    mf = to_pyscf("r2SCAN", fast(dft.UKS(amidogen()))).run()
    assert difference(mf.TDA().run(nstates=2).e, expected.TDA().run(nstates=2).e) < 1e-5
    # libxc's r2SCAN clips tau below von Weizsaecker's: more shows in second derivatives.
    assert difference(mf.Hessian().kernel(), expected.Hessian().kernel()) < 1e-4


# a functional that only this package has ----------------------------------------------------------


@pytest.mark.parametrize("make", [learned, learned_meta_gga])
def test_forces_are_the_slope_of_the_energy(make):
    functional = make()

    def calculation(x: float) -> object:
        return to_pyscf(functional, fast(dft.RKS(hydrogen_fluoride(0.93 + x))))

    gradients = calculation(0.0).run().nuc_grad_method()
    gradients.grid_response = True
    slope = gradients.kernel()[1, 2] / 0.529177210903  # Hartree / Angstrom
    found = differences(lambda h: calculation(h).kernel(), 0.02)
    assert_agreement(slope, found, rel=1e-5)


def test_forces_and_more_channels_after_an_earlier_run_are_the_new_functionals():
    earlier = fast(dft.RKS(hydrogen_fluoride(), xc="b3lyp")).run()
    fresh = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride()))).run()
    forces = to_pyscf(learned(), earlier).nuc_grad_method().kernel()
    assert difference(forces, fresh.nuc_grad_method().kernel()) < 1e-6
    earlier = fast(dft.RKS(hydrogen_fluoride(), xc="b3lyp")).run()
    assert abs(to_pyscf(learned(), earlier).to_uks().kernel() - fresh.e_tot) < 1e-8


def test_forces_of_an_open_shell_are_the_slope_of_the_energy():
    functional = learned_meta_gga()
    molecule = amidogen()

    def calculation(x: float) -> object:
        coordinates = molecule.atom_coords()
        coordinates[1, 1] += x
        moved = molecule.set_geom_(coordinates, unit="bohr", inplace=False)
        return to_pyscf(functional, fast(dft.UKS(moved)))

    gradients = calculation(0.0).run().nuc_grad_method()
    gradients.grid_response = True
    slope = gradients.kernel()[1, 1]
    assert_agreement(slope, differences(lambda h: calculation(h).kernel(), 0.02), 1e-5, scale=0.1)


@pytest.mark.parametrize("make", [learned, learned_meta_gga])
def test_polarisability_of_the_kernel_is_that_of_finite_fields(make):
    molecule = hydrogen_fluoride()
    mf = to_pyscf(make(), fast(dft.RKS(molecule))).run()
    dipoles = molecule.intor("int1e_r")
    occupied, empty = mf.mo_coeff[:, mf.mo_occ > 0], mf.mo_coeff[:, mf.mo_occ == 0]
    response = mf.gen_response(hermi=1)

    def of_orbitals(u: np.ndarray) -> np.ndarray:
        density = 2.0 * np.einsum("pa,ai,qi->pq", empty, u.reshape(-1, occupied.shape[1]), occupied)
        return empty.T @ response(density + density.T) @ occupied

    perturbation = empty.T @ dipoles[2] @ occupied
    solution = cphf.solve(of_orbitals, mf.mo_energy, mf.mo_occ, perturbation, tol=1e-11)[0]
    polarisability = -4.0 * float((perturbation * solution).sum())

    def moment(field: float) -> float:
        inside = to_pyscf(make(), fast(dft.RKS(molecule)))
        core = inside.get_hcore() + field * dipoles[2]
        inside.get_hcore = lambda *_: core
        return -np.einsum("pq,qp->", inside.run().make_rdm1(), dipoles[2])

    assert_agreement(polarisability, differences(moment, 0.004), rel=1e-4)


def test_hessian_is_the_slope_of_the_forces():
    functional = learned()

    def calculation(x: float) -> object:
        mf = fast(dft.RKS(hydrogen_fluoride(0.93 + x * 0.529177210903)))
        mf.grids.atom_grid = (50, 110)
        return to_pyscf(functional, mf).run()

    # The force on hydrogen where fluorine moves: PySCF's Hessians leave out that the grid moves
    # with the atoms, which shows at the core of fluorine (PBE's too, by 8 % on this grid).
    hessian = calculation(0.0).Hessian().kernel()[0, 1, 2, 2]
    found = differences(lambda h: calculation(h).nuc_grad_method().kernel()[0, 2], 0.02)
    assert_agreement(hessian, found, rel=2e-4)


# what PySCF makes of mf ---------------------------------------------------------------------------


def test_other_calculations_made_from_it_keep_the_functional():
    mf = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride(), xc="b3lyp")))
    energy = mf.kernel()
    assert abs(mf.newton().kernel() - energy) < 1e-9
    assert abs(mf.to_uks().kernel() - energy) < 1e-9
    assert abs(mf.copy().kernel() - energy) < 1e-9
    assert abs(mf.as_scanner()(hydrogen_fluoride()) - energy) < 1e-9
    assert abs(mf.nuc_grad_method().as_scanner()(hydrogen_fluoride())[0] - energy) < 1e-9
    assert abs(pickle.loads(pickle.dumps(mf)).kernel() - energy) < 1e-9
    fitted = mf.density_fit()
    assert 1e-9 < abs(fitted.kernel() - energy) < 1e-3
    assert abs(fitted.newton().kernel() - fitted.e_tot) < 1e-9


def test_it_enters_calculations_that_newton_or_density_fitting_have_changed():
    plain = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride())))
    energy = plain.kernel()
    newton = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride(), xc="b3lyp")).newton())
    assert abs(newton.kernel() - energy) < 1e-9
    fitted = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride(), xc="b3lyp")).density_fit())
    assert (
        abs(fitted.kernel() - plain.density_fit(auxbasis=fitted.with_df.auxbasis).kernel()) < 1e-9
    )


def test_density_fitting_takes_the_basis_for_pure_functionals():
    molecule = hydrogen_fluoride()
    molecule.basis = "def2-svp"
    molecule.build()
    expected = dft.RKS(molecule, xc="pbe").density_fit()
    found = to_pyscf("PBE", dft.RKS(molecule, xc="b3lyp")).density_fit()
    assert found.with_df.auxbasis == expected.with_df.auxbasis is not None


def test_the_earlier_density_serves_as_a_first_guess_and_for_the_energy_at_it():
    mf = fast(dft.RKS(hydrogen_fluoride(), xc="pbe")).run()
    density = mf.make_rdm1()
    to_pyscf(learned(), mf)
    at_pbe = mf.energy_tot(density)
    assert 0.0 < at_pbe - mf.kernel(density) < 0.1  # the variational principle
    checkpoint = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride())))
    checkpoint.max_cycle = 2
    assert abs(checkpoint.kernel(checkpoint.from_chk(mf.chkfile)) - mf.e_tot) < 1e-9


def test_weights_that_change_are_followed():
    functional = PBE(trainable=True)
    mf = to_pyscf(functional, fast(dft.RKS(hydrogen_fluoride())))
    before = mf.kernel()
    with torch.no_grad():
        functional.terms[0].kappa.copy_(torch.tensor(1.245))
    expected = fast(dft.RKS(hydrogen_fluoride(), xc="gga_x_pbe_r,gga_c_pbe")).kernel()
    assert abs(mf.kernel() - expected) < 1e-8
    assert abs(before - expected) > 1e-3


def test_a_name_in_mf_xc_is_pyscfs_functional_again():
    mf = to_pyscf(learned(), fast(dft.RKS(hydrogen_fluoride())))
    assert str(mf.xc) == f"deepchem_xc:{learned().name}"
    for name in ("pbe0", "wb97x-v", "r2scan"):
        mf.xc = name
        assert abs(mf.kernel() - fast(dft.RKS(hydrogen_fluoride(), xc=name)).kernel()) < 1e-9
    mf.xc = to_pyscf("PBE", dft.RKS(hydrogen_fluoride())).xc
    assert abs(mf.kernel() - fast(dft.RKS(hydrogen_fluoride(), xc="pbe")).kernel()) < 1e-8


def test_a_functional_by_name_or_file(tmp_path):
    file = tmp_path / "mine.safetensors"
    functional = learned()
    functional.save(file)
    density = scf.RHF(hydrogen_fluoride()).get_init_guess()
    energies = [
        to_pyscf(given, fast(dft.RKS(hydrogen_fluoride()))).energy_tot(density)
        for given in (file, str(file), functional, "experiment_gga", get_xc("experiment_gga"))
    ]
    assert energies[0] == energies[1] == energies[2]
    assert energies[3] == energies[4] != energies[0]
