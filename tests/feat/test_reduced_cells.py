"""`primitive: true`: a smaller calculation, and labels that keep the meaning of the given cell."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.data import PeriodicDFTLoader
from deepchem_xc.feat import DFTEntry, DFTSystem, PeriodicSystemFeaturizer
from deepchem_xc.losses import observables
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.structure.kpoints import make_kpoints
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning

WORDS: dict[str, Any] = {"ecut": 150.0, "occupations": {"name": "fermi-dirac", "width": 0.3}}
TIGHT = {"energy": 1e-9, "density": 1e-8}


def entry(e_type: str, label: Any, structure: Any, **more: Any) -> DFTEntry:
    scales = more.pop("scales", None)
    words = {"scales": scales} if scales else {}
    system = {"structure": structure, "primitive": True, **WORDS, **more}
    return DFTEntry.create(e_type, label, [system], **words)


def computed(entry: DFTEntry) -> torch.Tensor:
    results = [calculation.solve(_pbe(), None, {}) for calculation in entry.calculations]
    return entry.get_val(results).detach()


def _pbe() -> Any:
    from deepchem_xc.xc import get_xc

    return get_xc("PBE")


def test_a_conventional_cell_becomes_primitive_with_kpoints_of_that() -> None:
    cif = entry("energy", -228.0, bulk("Al", cubic=True), kpts={"density": 2.0})
    (calculation,) = cif.calculations
    assert (calculation.natom, cif.systems[0].cells) == (1, 4)
    own = DFTEntry.create(
        "energy",
        -57.0,
        [{"structure": cif.systems[0].atoms, **WORDS, "kpts": {"density": 2.0}}],
    )
    size = make_kpoints(calculation.keywords["kpts"], calculation.crystal).size
    assert size == make_kpoints({"density": 2.0}, own.calculations[0].crystal).size
    assert calculation.key == own.calculations[0].key  # kept densities serve both
    again = pickle.loads(pickle.dumps(cif))
    assert again.systems[0].cells == 4 and again.calculations[0].key == calculation.key
    assert again.identity == cif.identity != own.identity


def test_a_primitive_cell_is_computed_as_without_the_key() -> None:
    plain = DFTSystem({"structure": bulk("Si"), **WORDS})
    system = DFTSystem({"structure": bulk("Si"), "primitive": True, **WORDS})
    assert system.calculation().key == plain.calculation().key and system.cells == 1
    no = DFTSystem({"structure": bulk("Si", cubic=True), "primitive": False, **WORDS})
    assert len(no.atoms) == 8 and no.cells == 1


def test_energies_and_forces_are_those_of_the_given_cell() -> None:
    """Against the given cell itself, whose Gamma point is the 2 x 1 x 1 mesh of the primitive."""
    silicon = bulk("Si", a=5.43)
    silicon.positions[1] += [0.1, 0.0, 0.05]
    given = silicon * (2, 1, 1)
    given = given[[0, 1, 3, 2]]  # another order of the atoms
    whole = scf(given, "PBE", kpts={"size": (1, 1, 1), "gamma": True}, convergence=TIGHT, **WORDS)
    mesh = {"density": 1e-3, "gamma": True}
    # The primitive vectors that are found need not be those that were repeated: a mesh by
    # divisions would be another. This is the cell's own Gamma point, in its coordinates.
    reduced = entry("forces", np.zeros((4, 3)), given, kpts=mesh, convergence=TIGHT)
    system = reduced.systems[0]
    half = np.rint(np.linalg.solve(system.atoms.cell[:].T, given.cell[:].T).T).astype(int)
    points = [k for k in np.ndindex(2, 2, 2) if (half @ (np.array(k) / 2) % 1 == 0).all()]
    spec = {**system.system, "kpts": (np.array(points) / 2).tolist()}
    result = scf(system.atoms, "PBE", kpts=spec["kpts"], symmetry=False, convergence=TIGHT, **WORDS)
    forces = observables.forces(whole).detach().numpy()
    assert np.abs(forces).max() > 0.3
    assert reduced.value(result).detach().numpy() == pytest.approx(forces, abs=2e-3)
    energy = entry("energy", -215.0, given, kpts=mesh)
    total = observables.extrapolated_energy(whole).detach()
    one = observables.extrapolated_energy(result).detach()
    assert energy.value(one.reshape(1)).tolist() == pytest.approx([float(total)], abs=2e-3)


def test_every_energy_counts_the_cells() -> None:
    given = bulk("Al", cubic=True)
    energies = torch.tensor([3.0, 1.0, 0.0, 1.5, 4.0], dtype=torch.float64)
    scales = [0.9, 0.95, 1.0, 1.05, 1.1]
    curve = entry("eos", np.zeros(5), given, scales=scales)
    assert curve.value(energies).tolist() == pytest.approx((4 * (energies - 1.9)).tolist())
    box = Atoms("Al", cell=[5.0] * 3, pbc=True)
    crystal = {"structure": given, "primitive": True, **WORDS}
    atom = {"structure": box, "number": 4, **WORDS}
    cohesive = DFTEntry.create("cohesive_energy", 3.4, [crystal, atom])
    pair = torch.tensor([-57.0, -53.6], dtype=torch.float64)
    assert cohesive.value(pair).tolist() == pytest.approx([3.4])
    with pytest.raises(ValueError, match=r"\{'Al': 4\}, but the others together \{'Al': 1\}"):
        DFTEntry.create("cohesive_energy", 3.4, [crystal, {**atom, "number": 1}])
    twice = {**crystal, "number": 2}
    energy = DFTEntry.create("energy", -456.0, [twice])
    assert energy.value(pair[:1]).tolist() == pytest.approx([8 * -57.0])


def test_moments_count_the_cells() -> None:
    hydrogen = Atoms("H", cell=[3.0, 3.1, 3.2], pbc=True, magmoms=[1.0]) * (2, 1, 1)
    words = {"occupations": {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}}
    moment = entry("magnetic_moment", 2.0, hydrogen, **words)
    assert moment.calculations[0].natom == 1
    assert computed(moment).tolist() == pytest.approx([2.0], abs=1e-6)


def test_intensive_labels_stay() -> None:
    constant = entry("lattice_constant", 4.05, bulk("Al", cubic=True))
    assert constant.calculations[0].natom == 1
    energies = torch.tensor(
        [(scale ** (-2 / 3) - 1) ** 2 for scale in constant.series.scales], dtype=torch.float64
    )
    assert constant.value(energies).tolist() == pytest.approx([4.05], abs=1e-6)
    stress = entry("stress", np.zeros((3, 3)), bulk("Al", cubic=True))
    assert stress.calculations[0].natom == 1


def test_antiferromagnets_stay_as_they_are() -> None:
    iron = bulk("Fe", "bcc", a=2.87, cubic=True)
    iron.set_initial_magnetic_moments([2.2, -2.2])
    system = DFTSystem({"structure": iron, "primitive": True, **WORDS})
    assert system.cells == 1
    assert system.atoms.get_initial_magnetic_moments().tolist() == [2.2, -2.2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"e_type": "density", "label": np.zeros((1, 2, 2, 2))}, "grid of the given cell"),
        (
            {"e_type": "lattice_constant", "structure": bulk("Al") * (2, 2, 2)},
            r"primitive: the constant a of the given cell is 8\.1000 .* lattice 4\.0500",
        ),
        ({"fft_size": 24}, r"systems\[0\]\.fft_size: it is the grid of the given cell, which has"),
        ({"kpts": [[0, 0, 0], [0.5, 0, 0]]}, r"systems\[0\]\.kpts: a list of points"),
        ({"kpts": {"kpts": [[0, 0, 0]]}}, r"systems\[0\]\.kpts: a list of points"),
    ],
)
def test_what_has_no_meaning_in_the_smaller_cell_is_refused(
    values: dict[str, Any], message: str
) -> None:
    values = {"e_type": "energy", "label": 0.0, "structure": bulk("Al", cubic=True), **values}
    with pytest.raises(ValueError, match=message):
        entry(values.pop("e_type"), values.pop("label"), values.pop("structure"), **values)


def test_meshes_of_the_given_cell_are_noticed() -> None:
    with pytest.warns(IgnoredInputWarning, match=r"\[4, 4, 4\] is that of the primitive cell"):
        entry("energy", 0.0, bulk("Al", cubic=True), kpts=[4, 4, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredInputWarning)
        entry("energy", 0.0, bulk("Al"), kpts=[4, 4, 4])
        entry("energy", 0.0, bulk("Al", cubic=True), kpts={"density": 3.0})


def test_doubled_and_compressed_cells() -> None:
    doubled = bulk("Si") + bulk("Si")
    doubled.positions[2:] += np.array([0.5, 0.5, 0.5]) @ doubled.cell
    with pytest.raises(ValueError, match=r"systems\[0\]\.structure: the cell has 10\.0 Angstrom"):
        DFTEntry.create("energy", -214.0, [{"structure": doubled, **WORDS}])
    dense = {"structure": bulk("Si", a=4.4), **WORDS}
    with pytest.raises(ValueError, match="compressed: true"):
        DFTEntry.create("energy", -214.0, [dense])
    entry = DFTEntry.create("energy", -214.0, [{**dense, "compressed": True}])
    assert "compressed" not in entry.systems[0].keywords
    assert entry.calculations[0].key == DFTSystem(dense).calculation().key


def test_many_systems_give_one_warning_of_their_mesh_at_the_users_line(tmp_path: Path) -> None:
    for symbol in ("Al", "Si"):
        bulk(symbol, cubic=True).write(tmp_path / f"{symbol}.cif")
    words: dict[str, Any] = {"kpts": {"size": [2, 2, 2], "gamma": True}, "primitive": True, **WORDS}
    cells = [bulk("Al", cubic=True), bulk("Si", cubic=True)]
    makers: list[Callable[[], Any]] = [
        lambda: PeriodicDFTLoader([], e_type="energy", settings=words).create_dataset(tmp_path),
        lambda: PeriodicSystemFeaturizer("energy", **words).featurize(cells),
        lambda: DFTEntry.create("energy", -228.0, [{"structure": cells[0], **words}]),
    ]
    for make in makers:
        with pytest.warns(IgnoredInputWarning, match="primitive cell") as caught:
            make()
        (told,) = [w for w in caught if w.category is IgnoredInputWarning]
        assert told.filename == __file__


def test_other_settings_keep_label_structure_and_cells() -> None:
    mesh = {"size": [2, 2, 2], "gamma": True}
    with pytest.warns(IgnoredInputWarning):
        forces = entry("forces", [[0.0, 0.0, 0.0]] * 4, bulk("Al", cubic=True), kpts=mesh)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the mesh has been told of
        finer = forces.with_settings(ecut=180.0)
    assert finer.systems[0].cells == 4 and finer.systems[0].sites == (0, 0, 0, 0)
    assert finer.calculations[0].keywords["ecut"] == 180.0
    assert finer.identity != forces.identity == finer.with_settings(ecut=150.0).identity
    with pytest.warns(IgnoredInputWarning, match=r"\[3, 3, 3\] is that of the primitive cell"):
        forces.with_settings(kpts=[3, 3, 3])

    # A third has no binary form: subtracting the mean a second time would change it.
    scales = [0.9, 0.95, 1.0, 1.05, 1.1]
    system = {"structure": bulk("Si"), "kpts": mesh, **WORDS}
    curve = DFTEntry.create("eos", [1.0, 0.3, 0.0, 0.3, 1.0], [system], weight=3, scales=scales)
    assert curve.with_settings(ecut=180.0).with_settings(ecut=150.0).identity == curve.identity
    lattice = DFTEntry.create("lattice_constant", 5.43, [{**system, "structure": cube()}])
    smaller = lattice.with_settings(primitive=True, kpts={"density": 1.0}, scales=scales)
    assert smaller.systems[0].cells == 4 and smaller.scales == tuple(scales)
    assert smaller.get_true_val() == lattice.get_true_val()


def cube() -> Atoms:
    return bulk("Si", cubic=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ecut": -1}, r"systems\[0\]\.ecut"),
        ({"ecut": None}, r"systems\[0\]\.ecut: missing"),
        ({"ecutt": 300}, r"unknown key, did you mean 'ecut'"),
        ({"structure": bulk("Si")}, "structure: with_settings changes how"),
        ({"true_val": 1.0}, "true_val: with_settings changes how"),
        ({"fft_size": [8, 8, 8]}, "fft_size: it is the grid of the given cell"),
        ({"kpts": [[0.0, 0.0, 0.0]]}, "kpts: a list of points"),
        ({"primitive": False}, "primitive: the entry holds the primitive cell"),
    ],
)
def test_settings_that_are_not_valid_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entry("energy", -228.0, bulk("Al", cubic=True)).with_settings(**settings)


def test_potentials_of_several_systems_go_to_those_that_have_the_element() -> None:
    salt = {"structure": bulk("NaCl", "rocksalt", a=5.64), **WORDS}
    atoms = [{"structure": bulk(s, "fcc", a=12.0), **WORDS} for s in ("Na", "Cl")]
    cohesive = DFTEntry.create("cohesive_energy", 3.0, [salt, *atoms])
    given = {"Na": "GTH-GGA-q1", "default": "gth-pbe"}
    changed = cohesive.with_settings(pseudopotentials=given)
    found = [system.system["pseudopotentials"] for system in changed.systems]
    assert found == [given, given, {"default": "gth-pbe"}]
    with pytest.raises(ValueError, match="pseudopotentials: there is no Si"):
        cohesive.with_settings(pseudopotentials={"Si": "gth-pbe", "default": "gth-pbe"})


def test_a_curve_keeps_its_volumes() -> None:
    scales = [0.9, 0.95, 1.0, 1.05, 1.1]
    curve = entry("eos", [1.0, 0.5, 0.0, 0.5, 1.0], bulk("Si"), scales=scales)
    with pytest.raises(ValueError, match="scales: the label of type eos has one energy for each"):
        curve.with_settings(scales=[0.8, *scales[1:]])
