"""Input that makes no sense is refused at once, by a message that says what to do."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.occupations.occupy import TooFewBandsError
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave.inputs import make_problem, number_of_bands
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning
from deepchem_xc.planewave.values import band_count

SILICON = bulk("Si")


def run(atoms: Any = SILICON, functional: Any = "PBE", **options: Any) -> Any:
    return scf(atoms, functional, **({"ecut": 100.0, "kpts": (1, 1, 1)} | options))


def changed(**changes: Any) -> Atoms:
    atoms = SILICON.copy()
    for name, value in changes.items():
        getattr(atoms, f"set_{name}")(value)
    return atoms


@pytest.mark.parametrize("ecut", [-300.0, 0.0, 1e-3, float("nan"), float("inf")])
def test_a_cutoff_that_makes_no_sense(ecut: float) -> None:
    with pytest.raises(ValueError, match=r"cutoff must be a finite number of at least .* Ha"):
        run(ecut=ecut)


def test_no_cutoff() -> None:
    with pytest.raises(ValueError, match=r"ecut is missing: .* in eV.*docs/settings\.md"):
        run(ecut=None)


def test_an_empty_cell() -> None:
    with pytest.raises(ValueError, match="the cell holds no atoms"):
        run(Atoms(cell=np.eye(3) * 5.0, pbc=True))


def test_overlapping_atoms() -> None:
    atoms = Atoms("Si2", [(0, 0, 0), (0, 0, 0.1)], cell=np.eye(3) * 5.0, pbc=True)
    with pytest.raises(ValueError, match=r"atoms overlap: Si0 and Si1 are 0\.1000 Angstrom apart"):
        run(atoms)


def test_an_atom_listed_again_on_the_far_face() -> None:
    atoms = Atoms("Si2", [(0, 0, 0), (0, 0, 5.0)], cell=np.eye(3) * 5.0, pbc=True)
    with pytest.raises(ValueError, match=r"atoms overlap.*periodic images included"):
        run(atoms)


def test_a_left_handed_cell() -> None:
    with pytest.raises(ValueError, match="left-handed.*[Ee]xchange two lattice vectors"):
        run(changed(cell=SILICON.cell[[1, 0, 2]]))


@pytest.mark.parametrize(
    "cell", [[[3, 0, 0], [0, 3, 0], [3, 3, 0]], [[3, 0, 0], [0, 3, 0], [0, 0, 0]]]
)
def test_a_singular_cell(cell: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="singular.*three independent vectors"):
        run(changed(cell=cell))


def test_positions_that_are_not_numbers() -> None:
    with pytest.raises(ValueError, match=r"positions of atoms \[1\] contain NaN"):
        run(changed(positions=[(0, 0, 0), (1.0, np.nan, 0)]))


def test_something_that_is_no_structure() -> None:
    with pytest.raises(TypeError, match="str is not a structure: give ASE Atoms"):
        run("Si")


def test_an_odd_number_of_electrons_without_spin_or_smearing() -> None:
    with pytest.raises(ValueError, match=r"3 electrons cannot fill whole bands.*smearing.*spinpol"):
        run(bulk("Al"), occupations={"name": "fixed"})


@pytest.mark.parametrize("name", ["PEB", "gga_x_pbee", ""])
def test_an_unknown_functional(name: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)(unknown|not).*PBE.*"):
        run(functional=name)


def test_an_unknown_family_of_potentials() -> None:
    with pytest.raises(ValueError, match=r"(?s)gth-pbr.*gth-pbe.*gth-pade"):
        run(pseudopotentials="gth-pbr")


def test_an_unknown_potential_of_an_element() -> None:
    with pytest.raises(ValueError, match=r"(?s)GTH-PBE-q7.*GTH-PBE-q4"):
        run(pseudopotentials={"Si": "GTH-PBE-q7"})


def test_a_family_that_lacks_the_element() -> None:
    with pytest.raises(ValueError, match="(?s)Fr.*gth-pbe|gth-pbe.*Fr"):
        run(bulk("Fr", "bcc", a=6.0))


def test_a_potential_for_one_of_two_elements() -> None:
    with pytest.raises(ValueError, match="C"):
        run(bulk("SiC", "zincblende", a=4.36), pseudopotentials={"Si": "GTH-PBE-q4"})


def test_a_functional_that_does_not_belong_to_the_potential() -> None:
    with pytest.warns(UserWarning, match="(?s)LDA.*PBE|PBE.*LDA"):
        run(functional="LDA", pseudopotentials="gth-pbe")


def test_unknown_occupations() -> None:
    names = "fixed.*fermi-dirac.*gaussian.*methfessel-paxton.*marzari-vanderbilt"
    with pytest.raises(ValueError, match=f"(?s)fermi.*{names}"):
        run(occupations={"name": "fermi", "width": 0.1})


@pytest.mark.parametrize("width", [0.0, -0.1, float("nan")])
def test_a_smearing_without_a_width(width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        run(occupations={"name": "fermi-dirac", "width": width})


def test_an_unknown_key_of_occupations() -> None:
    with pytest.raises(ValueError, match="(?s)sigma.*width"):
        run(occupations={"name": "fermi-dirac", "width": 0.1, "sigma": 0.1})


def test_bands_that_cannot_hold_the_electrons() -> None:
    with pytest.raises(TooFewBandsError, match=r"3 bands hold at most 6 electrons, not 8"):
        run(nbands=3)


def test_a_metal_without_empty_bands() -> None:
    """Silently, this would give an energy that is too high."""
    with pytest.raises(TooFewBandsError, match=r"(?s)width 0\.0183747 Ha \(0\.5 eV\).*nbands"):
        run(bulk("Al"), kpts=(2, 2, 2), nbands=2, occupations={"name": "gaussian", "width": 0.5})


def test_more_bands_than_plane_waves() -> None:
    with pytest.raises(ValueError, match=r"500 bands do not fit into \d+ plane waves"):
        run(nbands=500)


@pytest.mark.parametrize("nbands", [0, 4.5, "8", "x%", "-5%", True, [8]])
def test_a_number_of_bands_that_is_no_number_of_bands(nbands: Any) -> None:
    with pytest.raises(ValueError, match="nbands = .* is not a number of bands: give .*120%"):
        run(nbands=nbands)


def test_a_grid_too_small_for_the_cutoff() -> None:
    with pytest.raises(ValueError, match=r"fft_size = \(8, 8, 8\) cannot hold.*at least \(\d+"):
        run(fft_size=(8, 8, 8))


def test_an_unknown_key_of_convergence() -> None:
    with pytest.raises(ValueError, match=r"\['forces'\]; the valid ones are \['energy', 'density'"):
        run(convergence={"forces": 1e-4})


@pytest.mark.parametrize("options", [{"energy": 0.0}, {"density": -1e-3}, {"maxiter": 0}])
def test_a_tolerance_that_cannot_be_met(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        run(convergence=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ecut": "300"}, r"ecut must be a number \(eV\), got '300' \(a str\)"),
        ({"ecut": (300,)}, r"ecut must be a number \(eV\), got \(300,\) \(a tuple\)"),
        ({"ecut": True}, "ecut must be a number"),
        ({"ecut_smoothing": "10"}, "ecut_smoothing must be a number"),
        ({"occupations": 0.1}, "occupations = 0.1 is neither .* {'name': 'fermi-dirac', 'width'"),
        ({"occupations": {"name": "gaussian", "width": "0.1"}}, "'width'.* must be a number"),
        ({"occupations": {"fixmagmom": "yes"}}, "'fixmagmom'.* must be True or False, got 'yes'"),
        ({"occupations": "fermi"}, "unknown occupations 'fermi'; valid names: fixed, fermi-dirac"),
        ({"convergence": 1e-6}, r"convergence = 1e-06 is not valid.*\{'energy': 1e-6\}"),
        ({"convergence": {"energy": "tight"}}, "convergence.'energy'.* must be a number"),
        ({"convergence": {"maxiter": 50.5}}, "convergence.'maxiter'.* whole number .* got 50.5"),
        ({"spinpol": "no"}, "spinpol must be True or False, got 'no'"),
        ({"fft_size": (24, 24)}, r"fft_size must be one or three whole numbers, got \(24, 24\)"),
        ({"fft_size": (24.5, 24, 24)}, "fft_size must be a whole number of at least 1, got 24.5"),
        ({"fft_size": "24"}, "fft_size must be a whole number"),
        ({"symmetry": "none"}, "symmetry = 'none' is not known: give True, None or 'on'"),
        ({"device": "gpu"}, "device = 'gpu' is not known"),
        ({"device": "mps"}, "device = 'mps' is not supported: give one of 'cpu', 'cuda'"),
        ({"gradient_tolerance": "small"}, "gradient_tolerance must be a number"),
        ({"callback": 5}, "callback = 5 is not a function"),
        ({"ecut": -5.0}, r"ecut = -0.183747 Ha \(-5 eV\) is not usable"),
        ({"ecut_smoothing": -1.0}, r"ecut_smoothing must be at least 0 \(eV\) .*, got -1; a tenth"),
        ({"ecut_smoothing": 100.0}, r"ecut_smoothing = 3.67\d+ Ha \(100 eV\) is not usable"),
        (
            {"occupations": {"width": -0.1}},
            "'width'.* must be a positive number, got -0.1; .*fixed",
        ),
        (
            {"start": "si.npz"},
            r"start = 'si.npz' is not an earlier result.*DensityRecord.load\(path\)",
        ),
    ],
)
def test_values_that_are_no_values_of_a_keyword(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="there is no CUDA device for 'cuda'.*Use 'cpu'"):
        run(device="cuda")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"functional": None, "pseudopotentials": None}, {}),
        ({"kpts": None, "ecut_smoothing": None, "gradient_tolerance": None}, {}),
        ({"convergence": {"energy": None, "maxiter": np.int64(50)}}, {}),
        ({"occupations": "fermi-dirac", "symmetry": None, "device": None}, {}),
        ({"occupations": {"width": np.float32(0.1), "fixmagmom": np.bool_(False)}}, {}),
        ({"occupations": {"name": "Fermi_Dirac", "width": None}}, {}),
        ({"ecut": np.int64(100), "spinpol": np.bool_(False)}, {}),
        ({"ecut": torch.tensor(100.0), "spinpol": 0}, {}),
        ({"nbands": np.int64(9)}, {"nbands": 9}),
        ({"nbands": -5}, {"nbands": 9}),
        ({"nbands": "225%"}, {"nbands": 9}),
        ({"nbands": "120%"}, {"nbands": 5}),
        ({"fft_size": np.int64(15)}, {"fft_size": (15, 15, 15)}),
        ({"kpts": 2, "symmetry": "off"}, {"kpts": (2, 2, 2), "symmetry": False}),
        ({"occupations": "fixed"}, {"occupations": {"name": "fixed"}}),
    ],
    ids=str,
)
def test_spellings_that_mean_the_same(given: dict[str, Any], meant: dict[str, Any]) -> None:
    first, second = run(**given), run(**meant)
    # The last digits of a calculation depend on where its numbers lie in memory.
    torch.testing.assert_close(first.eigenvalues, second.eigenvalues, rtol=0, atol=1e-5)
    assert first.basis.fft_size == second.basis.fft_size
    assert len(first.kpoints) == len(second.kpoints)


@pytest.mark.parametrize(
    ("atoms", "moment", "asked", "number"),
    [
        # GPAW's numbers for the same valence electrons
        ("Si", 0.0, -4, 8),
        ("Si", 0.0, "120%", 5),
        ("Al", 0.0, -4, 5),
        ("Al", 0.0, "200%", 3),
    ],
)
def test_bands_are_counted_from_the_occupied_ones(
    atoms: str, moment: float, asked: Any, number: int
) -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(bulk(atoms)), 4.0, (1, 1, 1))
    assert number_of_bands(asked, make_problem(basis)) == number


def test_a_moment_needs_more_bands() -> None:
    """8 electrons with 2.3 unpaired: 5.15 bands hold electrons of one spin."""
    assert [band_count(asked, 5.15) for asked in (-4, "120%", 12, None)] == [9, 7, 12, None]


def test_symmetry_that_displacements_may_break_is_refused_and_time_reversal_is_not() -> None:
    crystal = Crystal.from_ase(SILICON)
    crystal.positions.requires_grad_()
    mesh = (3, 1, 1)
    numbers = {}
    for name, symmetry in (
        ("default", None),
        ("GPAW's default", {}),
        ("time reversal", {"point_group": False}),
        ("none", "off"),
    ):
        numbers[name] = len(scf(crystal, ecut=60.0, kpts=mesh, symmetry=symmetry).kpoints)
    assert numbers == {"default": 2, "GPAW's default": 2, "time reversal": 2, "none": 3}
    for symmetry in (True, "on", {"time_reversal": False}):
        with pytest.raises(ValueError, match="may break the symmetry"):
            scf(crystal, ecut=60.0, kpts=mesh, symmetry=symmetry)


def test_kpoints_that_are_none() -> None:
    with pytest.raises(ValueError, match="three positive integers"):
        run(kpts=(2, 2, 0))


def test_moments_without_two_channels() -> None:
    with pytest.raises(ValueError, match="initial magnetic moments, but spinpol=False"):
        run(changed(initial_magnetic_moments=[1.0, -1.0]), spinpol=False)


def test_a_fixed_moment_the_electrons_cannot_make() -> None:
    atoms = changed(initial_magnetic_moments=[6.0, 6.0])
    with pytest.raises(ValueError, match="8 electrons cannot make a magnetic moment of 12"):
        run(atoms, occupations={"name": "fermi-dirac", "width": 0.1, "fixmagmom": True})


IMPOSSIBLE: dict[str, tuple[dict[str, Any], float, str]] = {
    "odd electrons without spin": ({"name": "fixed"}, 0.0, "3 electrons cannot fill whole bands"),
    "half an electron a channel": (
        {"name": "fixed", "fixmagmom": True},
        2.0,
        "3 electrons with a moment of 2 mu_B leave a fraction",
    ),
    "more unpaired electrons than there are": (
        {"name": "gaussian", "width": 0.1, "fixmagmom": True},
        4.0,
        "3 electrons cannot make a magnetic moment of 4",
    ),
}


@pytest.mark.parametrize(("occupations", "moment", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_occupations_are_refused_when_the_problem_is_made(
    occupations: dict[str, Any], moment: float, message: str
) -> None:
    atoms = bulk("Al")
    atoms.set_initial_magnetic_moments([moment])
    basis = PlaneWaveBasis(Crystal.from_ase(atoms), 4.0, (1, 1, 1))
    with pytest.raises(ValueError, match=message):
        make_problem(basis, "PBE", "gth-pbe", occupations)


@pytest.mark.parametrize(
    "options",
    [
        *({"occupations": o, "moment": m} for o, m, _ in IMPOSSIBLE.values()),
        {"nbands": 1},
        {"nbands": 2, "occupations": {"name": "fixed", "fixmagmom": True}, "moment": 3.0},
        {"nbands": 3, "occupations": {"name": "gaussian", "width": 0.1, "fixmagmom": True}}
        | {"moment": 3.0},
    ],
    ids=[*IMPOSSIBLE, "too few bands", "too few for one spin", "no empty band of one spin"],
)
def test_nothing_is_computed_for_electrons_that_cannot_be_placed(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: Any, **__: Any) -> Any:
        pytest.fail("something was computed")

    for name in ("atomic_density", "effective_potential", "hamiltonian"):
        monkeypatch.setattr(KohnShamProblem, name, computed)
    atoms = bulk("Al")
    atoms.set_initial_magnetic_moments([options.pop("moment", 0.0)])
    with pytest.raises(ValueError, match="electrons|empty bands"):
        run(atoms, callback=computed, **options)


def test_options_that_belong_to_a_basis_given_by_hand() -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(SILICON), 4.0, (1, 1, 1))
    with pytest.raises(ValueError, match=r"\['ecut', 'kpts'\] belong to the given PlaneWaveBasis"):
        run(basis)


def test_a_molecule_is_treated_as_a_box_with_a_notice() -> None:
    atoms = molecule("H2")
    with pytest.raises(ValueError, match=r"needs a box.*center\(vacuum="):
        run(atoms)
    atoms.center(vacuum=2.0)
    with pytest.warns(NonPeriodicWarning, match=r"not periodic.*vacuum"):
        result = run(atoms, occupations={"name": "fixed"})
    atoms.pbc = True
    with warnings.catch_warnings():
        warnings.simplefilter("error", NonPeriodicWarning)
        periodic = run(atoms, occupations={"name": "fixed"})
    assert float(result.free_energy) == pytest.approx(float(periodic.free_energy), abs=1e-7)


def test_a_loop_that_does_not_converge_says_so_and_how_far_it_came() -> None:
    seen: list[dict[str, float]] = []
    with pytest.raises(SCFConvergenceError, match=r"did not converge in 2 steps") as caught:
        run(convergence={"maxiter": 2}, callback=seen.append)
    message = str(caught.value)
    assert "raise maxiter" in message and "magnetic moments" in message
    assert caught.value.history == seen
    assert [record["step"] for record in seen] == [1.0, 2.0]
    assert {"energy", "density_error", "orbital_error"} <= set(seen[0])
    assert f"{seen[-1]['density_error']:.1e}" in message


@pytest.mark.parametrize("name", ["lattice", "positions"])
def test_displacements_need_unreduced_kpoints(name: str) -> None:
    crystal = Crystal.from_ase(bulk("Si"))
    getattr(crystal, name).requires_grad_()
    with pytest.raises(ValueError, match="symmetry=False"):
        scf(crystal, "PBE", ecut=100.0, symmetry=True)
    with pytest.raises(ValueError, match="symmetry=False"):
        scf(PlaneWaveBasis(crystal, 4.0, (2, 2, 2)), "PBE")


@pytest.mark.parametrize(
    ("key", "hint"), [("eigenstates", "'orbitals' is"), ("maximum iterations", "'maxiter' is")]
)
def test_keys_of_other_programs_have_a_hint(key: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"unknown convergence keys .* {hint}"):
        scf(bulk("Si"), ecut=60.0, convergence={key: 1e-4})
