"""Functionals inside GPAW: the same numbers as libxc's there, and derivatives of its energies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from deepchem_xc.calculators import to_gpaw
from deepchem_xc.xc import ConstrainedMetaGGA, OneOrbital, get_xc
from tests.calculators.gpaw_systems import (
    COARSE,
    functional_of,
    gpaw_class_of,
    libxc_in_gpaw,
    silicon,
    sphere_and_matrix,
)
from tests.calculators.test_gpaw_kernel import network
from tests.differences import assert_derivative

INTERFACES = pytest.mark.parametrize("legacy_gpaw", [False, True], ids=["new", "old"])
LIBXC = {
    "LDA": "LDA_X+LDA_C_PW",
    "PBE": "PBE",
    "r2SCAN": "MGGA_X_R2SCAN+MGGA_C_R2SCAN",
}


def libxc_bends_gradients() -> bool:
    """Whether libxc reduces gradients to the bound of the kinetic energy density."""
    from gpaw.xc.libxc import LibXC

    return not LibXC(LIBXC["r2SCAN"]).xc.disable_fhc()


def aluminium(xc: Any, legacy_gpaw: bool) -> Atoms:
    from gpaw.dft import GPAW

    atoms = bulk("Al")
    smearing = {"name": "fermi-dirac", "width": 0.2}
    atoms.calc = GPAW(xc=xc, nbands=6, occupations=smearing, legacy_gpaw=legacy_gpaw, **COARSE)
    return atoms


def iron(xc: Any, legacy_gpaw: bool) -> Atoms:
    """A ferromagnet."""
    from gpaw.dft import GPAW

    atoms = bulk("Fe")
    atoms.set_initial_magnetic_moments([2.3])
    smearing = {"name": "fermi-dirac", "width": 0.1}
    keywords = {**COARSE, "occupations": smearing, "convergence": {"density": 1e-6}}
    atoms.calc = GPAW(xc=xc, nbands=14, legacy_gpaw=legacy_gpaw, **keywords)
    return atoms


def antiferromagnet(xc: Any, legacy_gpaw: bool) -> Atoms:
    """Stretched H2 with opposite moments in a small box."""
    from gpaw.dft import GPAW

    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 3.0]], cell=[3.2, 3.2, 6.0], pbc=True, magmoms=[1, -1])
    keywords = {**COARSE, "kpts": (1, 1, 1), "convergence": {"density": 1e-6}}
    atoms.calc = GPAW(xc=xc, legacy_gpaw=legacy_gpaw, nbands=3, **keywords)
    return atoms


# the same numbers as libxc's functionals in GPAW --------------------------------------------------


@pytest.mark.gpaw
@INTERFACES
@pytest.mark.parametrize("make", [aluminium, iron, antiferromagnet])
def test_pbe_is_that_of_libxc_in_gpaw(make: Any, legacy_gpaw: bool) -> None:
    ours, theirs = make(to_gpaw("PBE"), legacy_gpaw), make(libxc_in_gpaw("PBE", legacy_gpaw),
                                                            legacy_gpaw)  # fmt: skip
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-6)
    moments = ours.get_magnetic_moments()
    np.testing.assert_allclose(moments, theirs.get_magnetic_moments(), atol=1e-4)
    if make is not aluminium:
        assert np.abs(moments).max() > 0.1  # it is a magnet
    assert "deepchem_xc" in type(functional_of(ours.calc)).__module__


@pytest.mark.gpaw
@INTERFACES
@pytest.mark.parametrize("name", LIBXC)
def test_energy_forces_and_stress_are_those_of_libxc_in_gpaw(name: str, legacy_gpaw: bool) -> None:
    if name == "r2SCAN" and legacy_gpaw:
        pytest.skip("the new interface shows it")
    # Where the kinetic energy density is below its bound in a sphere, libxc built without the
    # Fermi hole's curvature continues the functional beyond its domain: 1.5e-5 eV.
    tolerance = 1e-4 if name == "r2SCAN" and not libxc_bends_gradients() else 2e-6
    keywords = {"legacy_gpaw": legacy_gpaw, "convergence": {"density": 1e-6}}
    found = []
    for xc in (to_gpaw(name), libxc_in_gpaw(LIBXC[name], legacy_gpaw)):
        atoms = silicon(xc, **keywords)
        atoms.positions[0] += [0.1, 0.1, 0.1]
        found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    ours, theirs = found
    assert ours[0] == pytest.approx(theirs[0], abs=tolerance)
    np.testing.assert_allclose(ours[1], theirs[1], atol=20 * tolerance)
    np.testing.assert_allclose(ours[2], theirs[2], atol=tolerance)
    assert np.abs(ours[1]).max() > 0.1


@pytest.mark.gpaw
def test_built_in_pbe_of_gpaw_has_other_constants() -> None:
    ours, theirs = (silicon(xc).get_potential_energy() for xc in (to_gpaw("PBE"), "PBE"))
    assert 1e-4 < abs(ours - theirs) < 1e-3


# derivatives of GPAW's energies -------------------------------------------------------------------


@pytest.mark.gpaw
@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("name", ["LDA", "PBE", "network", "meta-GGA"])
def test_spheres_are_those_of_gpaw_point_by_point(name: str, spins: int) -> None:
    functional = {"network": network, "meta-GGA": lambda: get_xc("TPSS")}.get(name)
    xc = to_gpaw(functional() if functional else name)
    setup, matrix = sphere_and_matrix(xc, "Si", spins)
    ours, theirs = np.zeros_like(matrix), np.zeros_like(matrix)
    energy = xc.calculate_paw_correction(setup, matrix, ours)
    stock = gpaw_class_of(xc)
    assert energy == pytest.approx(stock.calculate_paw_correction(xc, setup, matrix, theirs),
                                   abs=1e-10)  # fmt: skip
    # GPAW leaves out the nucleus itself in the part of the potential from gradients.
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())

    direction = np.random.default_rng(2).normal(size=matrix.shape)

    def moved(step: float) -> float:
        return xc.calculate_paw_correction(setup, matrix + step * direction)

    # Where tau crosses its bound a meta-GGA has a kink: steps are short, and differences poorer.
    step, rel = (3e-6, 1e-4) if name == "meta-GGA" else (1e-3, 1e-6)
    assert_derivative((ours * direction).sum(), moved, step, rel=rel)
    assert xc.calculate_paw_correction(setup, matrix) == energy
    again = np.ones_like(matrix)
    xc.calculate_paw_correction(setup, matrix, again)
    np.testing.assert_allclose(again - 1.0, ours, atol=1e-12)


@pytest.mark.gpaw
def test_rare_spheres_are_left_to_gpaw() -> None:
    xc = to_gpaw("PBE")
    setup, matrix = sphere_and_matrix(xc, "Si", 1)
    stock = gpaw_class_of(xc)
    ours = xc.calculate_paw_correction(setup, matrix, addcoredensity=False)
    assert ours == stock.calculate_paw_correction(xc, setup, matrix, addcoredensity=False)
    setup.xc_correction = None
    assert xc.calculate_paw_correction(setup, matrix) == 0.0


def hydrogen(xc: Any, triplet: bool, stretch: float = 0.0, strain: float = 0.0) -> Atoms:
    """H2 in a small box; a strain keeps the set of plane waves and the grid."""
    from gpaw.dft import GPAW

    places = [[0, 0, 0], [0, 0, 0.8 + stretch]]
    atoms = Atoms("H2", places, cell=[3.0, 3.0, 3.6], pbc=True)
    atoms.set_cell((1.0 + strain) * atoms.cell, scale_atoms=True)
    keywords: dict[str, Any] = {}
    if triplet:
        atoms.set_initial_magnetic_moments([1, 1])
        smearing = {"name": "fermi-dirac", "width": 0.05, "fixmagmom": True}
        keywords = {"occupations": smearing, "nbands": 4}
    atoms.calc = GPAW(
        xc=xc,
        mode={"name": "pw", "ecut": 200 / (1.0 + strain) ** 2},
        gpts=(16, 16, 20),
        symmetry="off",
        convergence={"density": 1e-7, "eigenstates": 1e-10},
        txt=None,
        **keywords,
    )
    return atoms


@pytest.mark.gpaw
@pytest.mark.parametrize(
    "triplet",
    [
        pytest.param(False, id="closed shell"),
        pytest.param(True, id="triplet", marks=pytest.mark.slow),
    ],
)
def test_forces_and_stress_of_a_network_are_derivatives_of_the_energy(triplet: bool) -> None:
    xc = to_gpaw(network())
    atoms = hydrogen(xc, triplet)
    force = atoms.get_forces()[1, 2]
    trace = np.trace(atoms.get_stress(voigt=False)) * atoms.get_volume()

    def energy(stretch: float, strain: float = 0.0) -> float:
        return hydrogen(xc, triplet, stretch, strain).get_potential_energy(force_consistent=True)

    assert_derivative(-force, energy, 0.02, rel=1e-4)
    assert_derivative(trace, lambda strain: energy(0.0, strain), 0.02, rel=1e-4)
    assert min(abs(force), abs(trace)) > 0.5


# use ----------------------------------------------------------------------------------------------


@pytest.mark.gpaw
def test_two_calculators_of_one_object_do_not_disturb_each_other() -> None:
    for name in ("PBE", "r2SCAN"):
        xc = to_gpaw(name)
        stress = {}
        for scale in (1.0, 1.05):
            for alone in (True, False):
                small = silicon(to_gpaw(name) if alone else xc, legacy_gpaw=True)
                small.set_cell(scale * small.cell, scale_atoms=True)
                small.get_potential_energy()
                if not alone:
                    other = silicon(xc, legacy_gpaw=True)
                    other.get_potential_energy()
                stress[scale, alone] = small.get_stress()
        np.testing.assert_allclose(stress[1.05, False], stress[1.05, True], atol=1e-9)
        if name == "PBE":
            assert np.abs(stress[1.0, True] - stress[1.05, True]).max() > 1e-3


@pytest.mark.gpaw
@INTERFACES
def test_difference_to_another_functional_leaves_the_calculation_alone(legacy_gpaw: bool) -> None:
    atoms = silicon(to_gpaw("PBE"), legacy_gpaw=legacy_gpaw)
    energy = atoms.get_potential_energy()
    assert atoms.calc.get_xc_difference(to_gpaw("PBE")) == pytest.approx(0.0, abs=1e-6)
    theirs = atoms.calc.get_xc_difference(libxc_in_gpaw("RPBE", True))
    assert atoms.calc.get_xc_difference(to_gpaw("RPBE")) == pytest.approx(theirs, abs=1e-6)
    assert functional_of(atoms.calc).kernel.functional.name == "PBE"
    assert atoms.get_potential_energy() == energy


@pytest.mark.gpaw
@INTERFACES
def test_bands_and_new_calculators_keep_the_functional(legacy_gpaw: bool) -> None:
    functional = network()
    mesh = {"size": (2, 2, 2), "gamma": True}
    atoms = silicon(to_gpaw(functional), legacy_gpaw=legacy_gpaw, kpts=mesh)
    atoms.get_potential_energy()
    bands = atoms.calc.fixed_density(
        kpts={"kpts": [[0, 0, 0]]}, symmetry="off", nbands=6, txt=None, convergence={"bands": 4}
    )
    assert functional_of(bands).kernel.functional is functional
    expected = atoms.calc.get_eigenvalues(kpt=0)[:4]
    assert bands.get_eigenvalues(kpt=0)[:4] == pytest.approx(expected, abs=2e-3)
    again = atoms.copy()
    again.calc = atoms.calc.new(txt=None)
    assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert functional_of(again.calc).kernel.functional is functional


@pytest.mark.gpaw
@INTERFACES
def test_weights_that_changed_stop_the_calculation(legacy_gpaw: bool) -> None:
    functional = network()
    atoms = silicon(to_gpaw(functional), legacy_gpaw=legacy_gpaw)
    atoms.get_potential_energy()
    functional.aweight.data *= 2.0
    atoms.set_cell(1.01 * atoms.cell, scale_atoms=True)
    with pytest.raises(RuntimeError, match="changed since to_gpaw was called"):
        atoms.get_potential_energy()


@pytest.mark.gpaw
def test_names_files_and_functionals_are_taken(tmp_path: Path) -> None:
    functional = network()
    functional.save(tmp_path / "mine.safetensors")
    for given in (functional, tmp_path / "mine.safetensors", str(tmp_path / "mine.safetensors")):
        xc = to_gpaw(given)
        assert (xc.kernel.type, xc.get_setup_name()) == ("GGA", "PBE")
        assert repr(xc) == "to_gpaw(a*NNPBE+b*PBE)"
    assert to_gpaw("LDA", setup_name="LDA").get_setup_name() == "LDA"
    assert to_gpaw(ConstrainedMetaGGA()).type == "MGGA"


@pytest.mark.gpaw
def test_the_log_names_functional_and_setups(tmp_path: Path) -> None:
    for legacy_gpaw in (False, True):
        atoms = silicon(to_gpaw("PBE"), legacy_gpaw=legacy_gpaw, txt=str(tmp_path / "log.txt"))
        atoms.get_potential_energy()
        text = (tmp_path / "log.txt").read_text()
        assert "to_gpaw(PBE) of deepchem_xc, PBE setups with 2 nearest neighbor stencil" in text
        assert len(text) < 20000  # without the copy for files


# refusals -----------------------------------------------------------------------------------------


def test_functionals_that_cannot_work_are_refused_by_name() -> None:
    for hybrid in ("PBE0", "hyb_gga_xc_hse06"):
        with pytest.raises(ValueError, match=f"{hybrid} is a hybrid: .* GPAW adds to its own"):
            to_gpaw(hybrid)
    with pytest.raises(ValueError, match="PBE-D3"):
        to_gpaw("PBE-D3")
    with pytest.raises(ValueError, match="TPSS as a OneOrbital holds for a single orbital"):
        to_gpaw(0.5 * OneOrbital(get_xc("TPSS")))
    with pytest.raises(ValueError, match="unknown functional 'PEB'"):
        to_gpaw("PEB")


@pytest.mark.gpaw
def test_non_collinear_magnets_are_refused() -> None:
    from gpaw.dft import GPAW

    atoms = bulk("Si")
    atoms.calc = GPAW(xc=to_gpaw("LDA"), magmoms=[[0, 0, 1], [0, 0, 1]], symmetry="off", **COARSE)
    with pytest.raises(NotImplementedError, match="no form for non-collinear magnets"):
        atoms.get_potential_energy()


def test_without_gpaw_the_message_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['gpaw'] = None\n"
        "from deepchem_xc.calculators import to_gpaw, read_gpw\n"
        "for call in (lambda: to_gpaw('PBE'), lambda: read_gpw('x.gpw')):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.count("functionals inside GPAW need GPAW 26.7 or later") == 2
    assert run.stdout.count("pip install 'deepchem_xc[gpaw]'") == 2


def test_gpaw_is_imported_only_when_it_is_used() -> None:
    # ASE imports GPAW on its own, where it is installed, to register its formats.
    module = "deepchem_xc.calculators.gpaw_objects"
    code = f"import sys, deepchem_xc.calculators; print('{module}' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
