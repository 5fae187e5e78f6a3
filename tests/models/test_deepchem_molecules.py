"""DeepChem's molecular entries, from their documented behaviour: classes, keys, units, formulas.

DeepChem's own need dqc, which these tests do not.
"""

from __future__ import annotations

import inspect
import pickle
import warnings
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.units import Bohr
from pyscf import dft, gto

from deepchem_xc.data import DFTEntry, DFTSystem, DFTYamlLoader
from deepchem_xc.feat import OtherElectronsWarning
from deepchem_xc.models import EntryError, SkippedWarning, XCModel
from deepchem_xc.xc import PBE
from tests.models.molecules import MOLDESC, atomisation, system
from tests.models.systems import dataset, silicon

# Two entries in the form of DeepChem's documentation: numbers are text, spin and charge are left
# out where they are 0.
FILE = """
- e_type : 'ae'
  true_val : '0.09194410469'
  systems : [{
        'moldesc': 'Li 1.5070 0 0; H -1.5070 0 0',
        'basis': '6-311++G(3df,3pd)'
    },
    {'moldesc': 'Li 0 0 0', 'basis': '6-311++G(3df,3pd)', 'spin': '1'},
    {'moldesc': 'H 0 0 0', 'basis': '6-311++G(3df,3pd)', 'spin': '1'}]
- e_type : 'ie'
  true_val : '0.53411947056'
  systems : [
    {'moldesc': 'N 0 0 0', 'basis': '6-311++G(3df,3pd)', 'spin': '3'},
    {'moldesc': 'N 0 0 0', 'basis': '6-311++G(3df,3pd)', 'charge': 1, 'spin': '2'}]
- e_type : 'dm'
  true_val : 'dm.npy'
  systems : [{'moldesc': 'H 0.86625 0 0; F -0.86625 0 0', 'basis': '6-311++G(3df,3pd)'}]
- e_type : 'dens'
  true_val : 'dens.npy'
  systems : [{'moldesc': 'H 0.86625 0 0; F -0.86625 0 0', 'basis': '6-31G'}]
"""


def model() -> XCModel:
    return XCModel(functional=PBE(trainable=True), batch_size=1)


def by_pyscf(one: dict[str, Any], start: Any = None) -> Any:
    """The calculation of a system by PySCF, from its own molecule."""
    mole = gto.M(
        atom=one["moldesc"],
        basis=one["basis"],
        spin=int(one.get("spin", 0)),
        charge=one.get("charge", 0),
        unit="Bohr",
        verbose=0,
    )
    mf = (dft.UKS if mole.spin else dft.RKS)(mole, xc="pbe")
    mf.grids.level, mf.conv_tol, mf.conv_tol_grad = one.get("grid_level", 3), 1e-12, 1e-8
    mf.kernel(start)
    assert mf.converged
    return mf


def of_arrays(e_type: str, name: str, **more: Any) -> DFTEntry:
    return DFTEntry.create(e_type, None, [system(name, **more)])


# Matrices of zeros hold no electrons.
@pytest.mark.filterwarnings("ignore::deepchem_xc.feat.OtherElectronsWarning")
def test_files_in_deepchems_form_are_read_and_computed(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(FILE)
    mole = gto.M(atom="H 0.86625 0 0; F -0.86625 0 0", basis="6-31G", unit="Bohr", verbose=0)
    grids = dft.gen_grid.Grids(mole)
    grids.build()
    np.save(tmp_path / "dm.npy", np.zeros((57, 57)))
    np.save(tmp_path / "dens.npy", np.zeros(len(grids.weights)))
    data = DFTYamlLoader().create_dataset(str(tmp_path / "data.yaml"))
    assert [entry.entry_type for entry in data.X] == ["ae", "ie", "dm", "dens"]
    assert data.y[:, 0].tolist() == [0.09194410469, 0.53411947056, 0.0, 0.0]
    first = data.X[0]
    assert [one.spin for one in first.get_systems()] == [0, 1, 1]
    assert first.get_systems()[0].moldesc == "Li 1.5070 0 0; H -1.5070 0 0"
    assert (first.get_weight(), first.unit) == (1.0, "Hartree")
    assert first.get_true_val().tolist() == [0.09194410469]
    quick = DFTEntry.create(
        "ae", "0.0919", [{**one.system, "basis": "6-31G"} for one in first.systems]
    )
    found = model().evaluate(dataset(quick), [dc.metrics.Metric(dc.metrics.mean_absolute_error)])
    assert 0.0 < found["mean_absolute_error"] < 0.02


def test_signatures_begin_as_deepchems() -> None:
    create = inspect.signature(DFTEntry.create).parameters
    assert list(create)[:4] == ["e_type", "true_val", "systems", "weight"]
    for name in ("entry_type", "get_systems", "get_true_val", "get_val", "get_weight"):
        assert hasattr(DFTEntry, name)
    for name in ("moldesc", "basis", "spin", "charge", "no", "system"):
        assert hasattr(DFTSystem(system("H2")), name)
    loader = inspect.signature(DFTYamlLoader().create_dataset).parameters
    assert list(loader) == ["inputs", "data_dir", "shard_size"]


ATOMISED = {"LiH": {"Li": 1, "H": 1}, "N2": {"N": 2}, "H2": {"H": 2}}


@pytest.mark.parametrize("name", ATOMISED)
def test_atomisation_energies_are_pyscfs(name: str) -> None:
    systems = atomisation(name, ATOMISED[name], basis="def2-svp", grid_level=3)
    numbers = [one.get("number", 1) for one in systems]
    energies = [by_pyscf(one).e_tot for one in systems]
    expected = sum(n * e for n, e in zip(numbers[1:], energies[1:])) - energies[0]
    (found,) = model().predict(dataset(DFTEntry.create("ae", None, systems)))
    assert found.item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    "name, charges, spins",
    [("Li", (0, 1), (1, 0)), ("H2O", (0, 1), (0, 1)), ("N", (-1, 0), (2, 3))],
)
def test_ionisation_energies_are_pyscfs(
    name: str, charges: tuple[int, int], spins: tuple[int, int]
) -> None:
    systems = [
        system(name, basis="def2-svp", grid_level=2, charge=charge, spin=spin)
        for charge, spin in zip(charges, spins)
    ]
    entry = DFTEntry.create("ie", None, systems)
    results = [one.solve(PBE()) for one in entry.calculations]
    # A degenerate ion keeps its orientation: the grid is not isotropic.
    starts = [result.density_matrix.squeeze(0).numpy() for result in results]
    first, last = (by_pyscf(one, start).e_tot for one, start in zip(systems, starts))
    assert float(entry.get_val(results)) == pytest.approx(last - first, abs=1e-7)
    (found,) = model().predict(dataset(entry))
    assert found.item() == pytest.approx(last - first, abs=1e-7)


@pytest.mark.parametrize("name", ["HF", "NH2"])
def test_density_matrices_and_densities_are_pyscfs(name: str) -> None:
    one = system(name, basis="6-31g*", grid_level=1)
    mf = by_pyscf(one)
    matrix = mf.make_rdm1()
    matrix = matrix if matrix.ndim == 2 else matrix.sum(0)
    values = dft.numint.eval_ao(mf.mol, mf.grids.coords)
    density = dft.numint.eval_rho(mf.mol, values, matrix)
    entries = [of_arrays(e_type, name, basis="6-31g*", grid_level=1) for e_type in ("dm", "dens")]
    found = model().predict_values(dataset(*entries))
    assert np.abs(found[0] - matrix).max() < 1e-6
    assert np.abs(found[1] - density).max() < 1e-6
    grid = entries[1].get_integration_grid()
    assert grid.coord_type == "cart"
    assert np.abs(grid.get_rgrid().numpy() - mf.grids.coords).max() < 1e-12
    assert np.abs(grid.get_dvolume().numpy() - mf.grids.weights).max() < 1e-12
    labelled = DFTEntry.create("dens", density, [one])
    (deviation,) = model().predict(dataset(labelled))
    assert deviation.item() < 1e-6


def test_density_matrices_with_other_electrons_are_warned_of() -> None:
    one = system("HF")
    matrix = by_pyscf(one).make_rdm1()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DFTEntry.create("dm", matrix, [one])
    for wrong, number in ((0.5 * matrix, "5"), (matrix[::-1, ::-1], r"\d\.\d+")):
        with pytest.warns(OtherElectronsWarning, match=f"holds {number} electrons, and .* 10: it"):
            DFTEntry.create("dm", wrong, [one])


def test_densities_in_another_order_or_of_other_electrons_are_warned_of() -> None:
    one = system("HF")
    mf = by_pyscf(one)
    values = dft.numint.eval_ao(mf.mol, mf.grids.coords)
    density = dft.numint.eval_rho(mf.mol, values, mf.make_rdm1())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DFTEntry.create("dens", density, [one])
    for wrong in (0.5 * density, -density, density[::-1]):
        with pytest.warns(OtherElectronsWarning, match="the density of .* 10: it must"):
            DFTEntry.create("dens", wrong, [one])


@pytest.mark.parametrize("known, theirs", [("PBE0", "pbe0"), ("gga_x_pbe+gga_c_pbe", "pbe")])
def test_deepchems_model_without_its_network_is_the_known_functional(
    known: str, theirs: str
) -> None:
    (one,) = systems = [system("H2O")]
    mf = by_pyscf(one)
    mf.xc = theirs
    mf.kernel()
    (found,) = XCModel(known).predict(dataset(DFTEntry.create("ae", None, systems)))
    assert found.item() == pytest.approx(-mf.e_tot, abs=1e-7)


def test_a_molecule_that_does_not_converge_is_named_or_skipped() -> None:
    systems = atomisation("H2", {"H": 2}, convergence=None)
    entries = [
        DFTEntry.create("ae", 0.2, systems, name="short"),
        DFTEntry.create("energy", -214.0, [silicon(ecut=100.0)]),
    ]
    one_step = {"molecules": {"convergence": {"maxiter": 1}}}
    words: dict[str, Any] = {"functional": PBE(trainable=True), "solver": one_step}
    with pytest.raises(EntryError, match="short. failed: SCFConvergenceError: .* in 1 steps"):
        XCModel(**words).predict(dataset(*entries))
    skipping = XCModel(**words, on_failure="skip")
    with pytest.warns(SkippedWarning, match="1 of 2 entries failed"):
        found = skipping.predict(dataset(*entries))
    assert np.isnan(found[:, 0]).tolist() == [True, False]


def test_an_entry_of_one_system_is_minus_its_energy_as_in_deepchem() -> None:
    one = system("H2", number=2)
    (found,) = model().predict(dataset(DFTEntry.create("ae", None, [one])))
    assert found.item() == pytest.approx(-2.0 * by_pyscf(one).e_tot, abs=1e-7)


def test_a_molecule_may_come_from_ase_or_a_file(tmp_path: Path) -> None:
    atoms = Atoms("HF", [[0.86625 * Bohr, 0, 0], [-0.86625 * Bohr, 0, 0]])
    atoms.write(tmp_path / "hf.xyz")
    values = {"basis": "6-31g"}
    for given in (atoms, tmp_path / "hf.xyz", str(tmp_path / "hf.xyz")):
        entry = DFTEntry.create("dm", None, [{"moldesc": given, **values}])
        assert entry.systems[0].formula == "HF"
        # The file has eight digits.
        assert np.abs(entry.systems[0].atoms.positions - atoms.positions).max() < 1e-7
    data = {"e_type": "dm", "systems": [{"moldesc": "hf.xyz", **values}]}
    entry = DFTEntry.from_mapping(data, "entry 1", tmp_path)
    (tmp_path / "hf.xyz").unlink()  # the entry holds all it needs
    assert entry.calculations[0].natom == 2


@pytest.mark.filterwarnings("ignore::deepchem_xc.feat.OtherElectronsWarning")
def test_settings_of_molecules_change_the_calculation_alone() -> None:
    entry = DFTEntry.create("ae", 0.09, atomisation("LiH", {"Li": 1, "H": 1}))
    other = entry.with_settings(basis="def2-svp", grid_level=2)
    assert [one.basis for one in other.systems] == ["def2-svp"] * 3
    assert other.systems[1].grid_level == 2 and other.systems[1].spin == 1
    mixed = entry.with_settings(basis={"Li": "6-31g", "default": "sto-3g"})
    assert [one.molecule.norbital for one in mixed.systems] == [10, 9, 1]
    assert other.get_true_val() == entry.get_true_val() and other.name == entry.name
    assert not {c.key for c in entry.calculations} & {c.key for c in other.calculations}
    again = pickle.loads(pickle.dumps(entry))
    assert [c.key for c in again.calculations] == [c.key for c in entry.calculations]
    for key in ("moldesc", "spin", "charge"):
        with pytest.raises(ValueError, match=f"{key}: with_settings changes how"):
            entry.with_settings(**{key: 0})
    with pytest.raises(ValueError, match=r"systems\[0\]\.ecut: unknown key.*Valid: .*basis"):
        entry.with_settings(ecut=300.0)
    matrix = DFTEntry.create("dm", np.zeros((2, 2)), [{**system("H2"), "basis": "sto-3g"}])
    with pytest.raises(ValueError, match="takes 4 x 4 numbers"):
        matrix.with_settings(basis="6-31g")


def test_keywords_of_all_molecules_come_with_those_of_crystals() -> None:
    h2 = DFTEntry.create("ae", None, [system("H2", convergence=None)])
    loose = {"molecules": {"convergence": {"energy": 1e-3, "commutator": 1e-1}}}
    mixed = dataset(h2, DFTEntry.create("energy", None, [silicon(ecut=100.0)]))
    values = [
        XCModel(functional=PBE(trainable=True), solver=solver).predict(mixed)
        for solver in ({}, loose, {"nbands": 8, "molecules": {"level_shift": 0.1}})
    ]
    assert 1e-9 < abs(values[0][0, 0] - values[1][0, 0]) < 1e-2
    assert values[1][1, 0] == values[0][1, 0]
    assert values[2][0, 0] == pytest.approx(values[0][0, 0], abs=1e-8)
    (one,) = h2.calculations
    assert one.energy_options(loose) != one.energy_options({})
    for wrong, message in (
        ({"convergence": {"density": 1e-8}}, "unknown key 'density' of convergence"),
        ({"damping": 2.0}, "damping: .*got 2.0; give a number from 0 to 0.99"),
        ({"ecut": 1.0}, "ecut: unknown key. Valid: convergence, occupations"),
    ):
        with pytest.raises(ValueError, match=f"(?s)solver: molecules is not valid.*{message}"):
            XCModel(functional=PBE(trainable=True), solver={"molecules": wrong})


def test_calculations_run_in_other_processes_and_start_from_files(tmp_path: Path) -> None:
    data = dataset(
        DFTEntry.create("ae", 0.09, atomisation("LiH", {"Li": 1, "H": 1})),
        of_arrays("dm", "H2"),
        DFTEntry.create("energy", -214.0, [silicon(ecut=100.0)]),
    )
    here = model().predict(data)
    there = XCModel(functional=PBE(trainable=True), jobs=2)
    values = np.abs(there.predict(data) - here)
    assert np.nanmax(values) < 1e-7
    keywords: dict[str, Any] = {"functional": PBE(trainable=True), "scf_interval": 2, "jobs": 2}
    kept = XCModel(**keywords, cache_dir=tmp_path / "kept", batch_size=2)
    labelled = dataset(data.X[0], data.X[2])
    kept.fit(labelled, nb_epoch=1, checkpoint_interval=0)
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 4
    later = XCModel(functional=PBE(trainable=True), cache_dir=tmp_path / "kept")
    (first, *_) = data.X[0].calculations
    start = later.ground_states.kept.start(first)
    assert start is not None and first.solve(PBE(), start).nsteps <= 3


def test_the_default_network_of_deepchems_model_trains_on_molecules() -> None:
    torch.manual_seed(0)
    entry = DFTEntry.create("ae", 0.2, atomisation("H2", {"H": 2}))
    trained = XCModel("lda_x", batch_size=1, aweight0=0.01, learning_rate=1e-2)
    losses = [trained.fit(dataset(entry), nb_epoch=1, checkpoint_interval=0) for _ in range(3)]
    assert losses[2] < losses[0]


H2 = {"moldesc": MOLDESC["H2"][0], "basis": "6-31g"}
H = {"moldesc": "H 0 0 0", "basis": "6-31g", "spin": 1}
O = {"moldesc": "O 0 0 0", "basis": "6-31g", "spin": 2}


@pytest.mark.parametrize(
    ("e_type", "label", "systems", "message"),
    [
        ("dm", np.zeros((3, 3)), [H2], r"takes 4 x 4 numbers.*got shape \(3, 3\); the basis set"),
        ("dm", np.zeros((2, 4, 4)), [H2], r"takes 4 x 4.*\(2, 4, 4\).*sum of both spins"),
        ("dens", np.zeros(7), [H2], r"takes \d{4,5} numbers.*got shape \(7,\).*grid_level = 3"),
        ("dens", None, [H2, H2], "type dens takes exactly 1, got 2"),
        ("ie", 0.5, [H], "systems: type ie takes exactly 2, got 1"),
        ("ie", 0.5, [H, H], r"give the ion second, got the charges 0 and 0"),
        ("ie", 0.5, [H, H2], "type ie takes one molecule twice.*got H and H2"),
        ("ae", 0.5, [H2, H], "the first one holds .*'H': 2.* but the others together .*'H': 1"),
        (
            "ae",
            0.5,
            [{**H2, "charge": 1, "spin": 1}, {**H, "number": 2}],
            "the first one has the charge 1, but the others together 0",
        ),
        (
            "ae",
            0.5,
            [H2, {**H, "basis": "sto-3g", "number": 2}],
            r"systems\[1\]\.basis: H has other basis functions than in systems\[0\]",
        ),
        ("ae", 0.5, [{**H2, "basis": "none"}], r"systems\[0\]\.basis: unknown basis set 'none'"),
        (
            "ae",
            0.5,
            [{"moldesc": "U 0 0 0", "basis": "cc-pvdz"}],
            r"systems\[0\]\.basis: the basis set 'cc-pvdz' has no functions for U",
        ),
        ("ae", 0.5, [{**H2, "basis": {"H": "6-31g", "Hx": "6-31g"}}], r"basis: .* key\(s\) 'Hx'"),
        ("ae", 0.5, [{**H2, "basis": {"C": "6-31g"}}], "has nothing for H"),
        ("ae", 0.5, [{**H2, "spin": 1}], r"systems\[0\]\.spin, charge, basis: 2 electrons cannot"),
        ("ae", 0.5, [{**H2, "spin": -2}], r"systems\[0\]\.spin: .*got -2"),
        ("ae", 0.5, [{**H2, "charge": 2}], "the molecule has 0 electrons"),
        ("ae", 0.5, [{**H2, "charge": 0.5}], r"systems\[0\]\.charge: "),
        (
            "ae",
            0.5,
            [{**H2, "moldesc": "H 0 0 0; H 0 0 0.1"}],
            r"systems\[0\]\.moldesc: atoms overlap: H0 and H1",
        ),
        ("ae", 0.5, [{**H2, "moldesc": "H 0 0"}], r"systems\[0\]\.moldesc: 'H 0 0' is neither"),
        ("ae", 0.5, [{**H2, "moldesc": "Hx 0 0 0"}], r"moldesc: .*there is no element 'Hx'"),
        ("ae", 0.5, [{**H2, "moldesc": "H 0 0 nan"}], r"moldesc: .*NaN or infinite"),
        ("ae", 0.5, [{**H2, "moldesc": "no.xyz"}], r"moldesc: 'no.xyz' is neither atoms nor a"),
        ("ae", 0.5, [{**H2, "grid_level": 10}], r"grid_level: .*got 10; give level of PySCF's"),
        ("ae", 0.5, [{**H2, "ecut": 100}], r"ecut: unknown key.*Valid: .*grid_level"),
        ("ae", 0.5, [{**H2, "density_fit": "x"}], "did you mean 'density_fitting'"),
        ("ae", 0.5, [{**H2, "density_fitting": "x"}], "density_fitting = 'x' is no auxiliary"),
        ("ae", 0.5, [{**H, "restricted": True}], "restricted=True holds pairs of electrons"),
        (
            "ae",
            0.5,
            [{**H2, "pseudopotentials": "none"}],
            r"systems\[0\]\.pseudopotentials: there is no pseudopotential 'none' for H",
        ),
        (
            "ae",
            0.5,
            [{**H2, "basis": "gth-szv"}],
            r"systems\[0\]\.basis, pseudopotentials: the basis set 'gth-szv' was made for",
        ),
        (
            "ae",
            0.5,
            [
                {
                    "moldesc": "O 0 0 0",
                    "basis": "gth-szv",
                    "spin": 2,
                    "pseudopotentials": "gth-pbe",
                },
                {"moldesc": "O 0 0 0", "basis": "6-31g", "spin": 2},
            ],
            r"systems\[1\]\.basis: O has 8 electrons here and 6 in systems\[0\]",
        ),
        ("ae", 0.5, [{**H2, "occupations": "fermi"}], "unknown occupations 'fermi'"),
        ("ae", 0.5, [silicon()], r"systems\[0\]: type ae is for molecules"),
        ("energy", 0.5, [H2], r"systems\[0\]: type energy is for a structure"),
    ],
)
def test_mistakes_are_refused_when_the_entry_is_made(
    e_type: str, label: Any, systems: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        DFTEntry.create(e_type, label, systems)


def test_charge_and_moments_that_atoms_declare_are_not_passed_over() -> None:
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], magmoms=[1, 1])
    with pytest.raises(ValueError, match="moments add up to 2 mu_B, .* give spin=2, or spin=0"):
        DFTSystem({"moldesc": oxygen, "basis": "6-31g"})
    assert DFTSystem({"moldesc": oxygen, "basis": "6-31g", "spin": 2}).formula == "O2"
    hydroxide = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    with pytest.raises(ValueError, match="says -1, .* give charge=-1"):
        DFTSystem({"moldesc": hydroxide, "basis": "6-31g"})


def test_a_molecule_has_no_volumes_and_a_crystal_no_grid_of_pyscf() -> None:
    with pytest.raises(ValueError, match="is a molecule, which has no volumes"):
        DFTSystem(H2).series([0.9, 0.95, 1.0, 1.05, 1.1])
    with pytest.raises(ValueError, match="type energy has no grid of a molecule"):
        DFTEntry.create("energy", None, [silicon()]).get_integration_grid()
    with pytest.raises(ValueError, match="repeats periodically.*'structure' with 'ecut'"):
        DFTSystem({"moldesc": Atoms("H2", [[0, 0, 0], [0, 0, 1]], pbc=True), "basis": "6-31g"})
