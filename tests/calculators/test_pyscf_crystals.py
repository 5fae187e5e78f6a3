"""Functionals of this package in PySCF's calculations of crystals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyscf.pbc.dft as dft
import pytest
from pyscf.pbc import gto

from deepchem_xc.calculators import to_pyscf
from tests.calculators.pyscf_systems import SAME, learned
from tests.differences import assert_agreement, differences


def silicon(shift: float = 0.0, mesh: int = 9) -> Any:
    """Silicon; energies by two roads agree on a mesh of points that is too coarse for slopes."""
    cell = gto.Cell()
    cell.atom = [("Si", (0.0, 0.0, 0.0)), ("Si", (1.3575 + shift, 1.3575, 1.3575))]
    cell.a = 2.715 * (1.0 - np.eye(3))
    cell.basis, cell.pseudo = "gth-szv", "gth-pbe"
    cell.mesh, cell.verbose = [mesh] * 3, 0
    return cell.build()


def calculation(kind: Any, cell: Any, xc: str, mesh: tuple[int, int, int] = (2, 1, 1)) -> Any:
    mf = kind(cell, cell.make_kpts(mesh), xc=xc)
    mf.conv_tol = 1e-10
    return mf


@pytest.mark.parametrize("kind", [dft.KRKS, dft.KUKS])
@pytest.mark.parametrize("ours, theirs", SAME.items())
def test_energies_are_pyscfs(kind, ours, theirs):
    expected = calculation(kind, silicon(), theirs).run()
    mf = to_pyscf(ours, calculation(kind, silicon(), "pbe0")).run()
    assert abs(mf.e_tot - expected.e_tot) < 1e-8
    assert np.abs(np.asarray(mf.mo_energy) - np.asarray(expected.mo_energy)).max() < 1e-6


def test_gradients_are_pyscfs():
    mf = to_pyscf("PBE", calculation(dft.KRKS, silicon(0.05), "lda,vwn")).run()
    expected = calculation(dft.KRKS, silicon(0.05), "pbe").run()
    found = mf.nuc_grad_method().kernel()
    assert np.abs(found - expected.nuc_grad_method().kernel()).max() < 1e-6


@pytest.mark.slow
def test_gradients_are_the_slope_of_the_energy():
    functional = learned()

    def energy(x: float) -> float:
        cell = silicon(0.05 + x * 0.529177210903, mesh=15)
        return to_pyscf(functional, calculation(dft.KRKS, cell, "pbe")).kernel()

    mf = to_pyscf(functional, calculation(dft.KRKS, silicon(0.05, mesh=15), "pbe")).run()
    slope = mf.nuc_grad_method().kernel()[1, 0]
    assert_agreement(slope, differences(energy, 0.05), rel=1e-3)


def test_bands_newton_fitting_and_more_channels_keep_the_functional():
    functional = learned()
    mf = to_pyscf(functional, calculation(dft.KRKS, silicon(), "pbe0"))
    energy = mf.kernel()
    assert abs(mf.newton().kernel() - energy) < 1e-8
    assert abs(mf.to_uks().kernel() - energy) < 1e-8
    bands = mf.get_bands(mf.kpts)[0]
    assert np.abs(np.asarray(bands) - np.asarray(mf.mo_energy)).max() < 1e-5


def test_one_k_point():
    cell = silicon()
    expected = dft.RKS(cell, xc="pbe").run(conv_tol=1e-10)
    mf = to_pyscf("PBE", dft.RKS(cell, xc="lda,vwn")).run(conv_tol=1e-10)
    assert abs(mf.e_tot - expected.e_tot) < 1e-8
    # PySCF computes bands with another integrator.
    k = cell.make_kpts((2, 1, 1))[1:]
    assert np.abs(mf.get_bands(k)[0][0] - expected.get_bands(k)[0][0]).max() < 1e-6
    unrestricted = to_pyscf("PBE", dft.UKS(cell, xc="lda,vwn")).run(conv_tol=1e-10)
    assert abs(unrestricted.e_tot - expected.e_tot) < 1e-8


def test_an_integrator_that_cannot_is_refused():
    mf = calculation(dft.KRKS, silicon(), "pbe", (1, 1, 1))
    with pytest.raises(ValueError, match="MultiGridNumInt.*without multigrid_numint"):
        to_pyscf("PBE", mf.multigrid_numint())
    with pytest.raises(TypeError, match="KGKS has noncollinear spin"):
        to_pyscf("PBE", dft.KGKS(silicon()))
    # Never another functional instead.
    with pytest.raises(KeyError, match="DEEPCHEM_XC"):
        to_pyscf("PBE", mf).multigrid_numint().kernel()
