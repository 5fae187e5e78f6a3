"""What an entry may say, and what is said about mistakes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from deepchem_xc.eos.scales import WIDE_VOLUME_SCALES
from deepchem_xc.feat import ENTRY_TYPES, DFTEntry, DFTSystem
from deepchem_xc.planewave.structure.kpoints import make_kpoints
from tests.models.systems import aluminium, silicon

HF = {"moldesc": "H 0.86625 0 0; F -0.86625 0 0", "basis": "6-311++G(3df,3pd)"}


def test_an_entry_survives_pickling_with_all_it_says() -> None:
    for e_type, label in (("forces", np.zeros((2, 3))), ("eos", np.arange(9.0))):
        entry = DFTEntry.create(e_type, label, [silicon()], weight=2, name="silicon")
        keys = [cell.key for cell in entry.calculations]
        again = pickle.loads(pickle.dumps(entry))
        assert (again.name, again.get_weight(), again.entry_type) == ("silicon", 2.0, e_type)
        assert [cell.key for cell in again.calculations] == keys
        assert np.array_equal(again.get_true_val(), entry.get_true_val())


@pytest.mark.parametrize(
    ("symmetry", "number"),
    [(None, 2), (True, 2), ({}, 2), ("off", 8), (False, 8), ({"point_group": False}, 4)],
)
def test_symmetry_means_what_it_means_to_the_solver(symmetry: Any, number: int) -> None:
    entry = DFTEntry.create("energy", -214, [silicon(kpts=[2, 2, 2], symmetry=symmetry)])
    (cell,) = entry.calculations
    words = cell.keywords
    assert len(make_kpoints(words["kpts"], cell.crystal, words.get("symmetry"))) == number
    curve = DFTEntry.create("eos", np.arange(9.0), [silicon(kpts=[2, 2, 2], symmetry=symmetry)])
    assert {len(cell.keywords["kpts"]) for cell in curve.calculations} == {number}


def test_bands_may_be_counted_from_the_occupied_ones() -> None:
    DFTEntry.create("energy", -214, [silicon(nbands="120%")])
    DFTEntry.create("energy", -214, [silicon(nbands=-4)])


def test_volumes_share_mesh_and_grid_and_have_names_of_their_own() -> None:
    entry = DFTEntry.create("lattice_constant", "4.05", [aluminium()])
    assert [cell.scale for cell in entry.calculations] == list(WIDE_VOLUME_SCALES)
    assert len({cell.key for cell in entry.calculations}) == len(WIDE_VOLUME_SCALES)
    assert len({cell.group for cell in entry.calculations}) == 1
    assert len({tuple(cell.keywords["fft_size"]) for cell in entry.calculations}) == 1
    same = DFTEntry.create("bulk_modulus", 77, [aluminium(number=3)])
    assert [cell.key for cell in same.calculations] == [cell.key for cell in entry.calculations]
    other = DFTEntry.create("bulk_modulus", 77, [aluminium(ecut=210.0)])
    assert not {cell.key for cell in same.calculations} & {cell.key for cell in other.calculations}


def test_labels_of_curves_have_no_zero_and_follow_the_order_of_their_scales() -> None:
    scales = [1.1, 0.9, 1.0, 0.95, 1.05]
    entry = DFTEntry.create("eos", [5.0, 4.0, 1.0, 2.0, 3.0], [aluminium()], scales=scales)
    assert entry.get_true_val() == pytest.approx([2.0, 1.0, -2.0, -1.0, 0.0])
    import torch

    ascending = torch.tensor([4.0, 2.0, 1.0, 3.0, 5.0], dtype=torch.float64)  # by volume
    assert entry.value(ascending).tolist() == pytest.approx(entry.get_true_val().tolist())
    assert entry.summary(entry.value(ascending)) == pytest.approx(0.0, abs=1e-12)
    assert entry.label_summary == 0.0


def test_structures_come_from_files_too(tmp_path: Path) -> None:
    write(tmp_path / "si.cif", bulk("Si"))
    spec = {**silicon(), "structure": "si.cif"}
    values = {"e_type": "energy", "true_val": -214, "systems": [spec]}
    entry = DFTEntry.from_mapping(values, "data.yaml, entry 1", tmp_path)
    (tmp_path / "si.cif").unlink()  # the entry holds all it needs
    assert entry.calculations[0].crystal.symbols == ("Si", "Si")
    with pytest.raises(ValueError, match=r"systems\[0\]\.structure: there is no structure file"):
        DFTEntry.from_mapping(values, "data.yaml, entry 1", tmp_path)


def changed(**more: Any) -> dict[str, Any]:
    return {"e_type": "energy", "true_val": 0.0, "systems": [silicon()], **more}


def system_with(**more: Any) -> dict[str, Any]:
    return changed(systems=[{**silicon(), **more}])


def structure_with(**more: Any) -> dict[str, Any]:
    system = copy.deepcopy(silicon())
    system["structure"].update(more)
    return changed(systems=[system])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(e_type="eoss"), r"unknown type 'eoss', did you mean 'eos'\? Valid: energy, eos"),
        (
            changed(weigth=1),
            r"weigth: unknown key, did you mean 'weight'\? Valid: e_type",
        ),
        (changed(weight=-1), r"weight: input should be greater than or equal to 0, got -1"),
        (changed(weight=float("nan")), "weight: .* finite"),
        (changed(true_val="abc"), "true_val: 'abc' is not a number"),
        (
            changed(true_val=[1.0, 2.0]),
            r"type energy takes 1 numbers in eV, got .*\(2,\)",
        ),
        (changed(true_val=float("nan")), "true_val: it holds NaN"),
        (changed(true_val="none.npy"), "true_val: there is no file"),
        (changed(e_type="forces"), r"type forces takes 2 x 3 numbers in eV/Angstrom"),
        (
            changed(e_type="eos", true_val=[0.0]),
            r"type eos takes 9 numbers in eV, .*; its scales are 0\.88, 0\.91, .*, 1\.12",
        ),
        (changed(e_type="density"), "type density takes n x n x n x n numbers"),
        (changed(e_type="eos", scales=[1.0, 1.1]), "scales: list should have at least 5"),
        (changed(scales=[0.9, 0.95, 1.0, 1.05, 1.1]), "scales: an entry of type energy has none"),
        (changed(dimension=2), "dimension: type energy has none"),
        (changed(e_type="band_gap", systems=[silicon()] * 2), "takes exactly 1, got 2"),
        (changed(e_type="cohesive_energy"), "takes at least 2, got 1"),
        (changed(systems=[]), "systems: list should have at least 1"),
        (changed(systems=[HF]), r"systems\[0\]: type energy is for a structure"),
        (changed(e_type="ae"), r"systems\[0\]: type ae is for molecules"),
        (system_with(ecut=None), r"systems\[0\]\.ecut: .*give plane-wave cutoff"),
        (
            system_with(ecut=-5),
            r"systems\[0\]\.ecut: .*-5 eV. is not usable.*got -5; give plane",
        ),
        (system_with(ekut=5), r"systems\[0\]\.ekut: unknown key, did you mean 'ecut'"),
        (system_with(kpts=[2, 2, "x"]), r"systems\[0\]\.kpts: "),
        (system_with(occupations={"name": "fermi"}), r"systems\[0\]\.occupations: .*fermi-dirac"),
        (system_with(convergence={"energi": 1.0}), r"systems\[0\]\.convergence: .*energi"),
        (system_with(pseudopotentials="gth-xyz"), r"systems\[0\]\.pseudopotentials: .*gth-pbe"),
        (system_with(pseudopotentials={"C": "gth-pbe"}), r"pseudopotentials: .*nothing for Si"),
        (system_with(pseudopotentials="Si.upf"), r"systems\[0\]\.pseudopotentials: .*Si\.upf"),
        (structure_with(symbols=["Si"]), "scaled_positions has 2 rows for 1 symbols"),
        (structure_with(symbols=["Si", "Zz"]), r"structure\.symbols: there is no element 'Zz'"),
        (structure_with(positions=[[0, 0, 0]] * 2), "give either scaled_positions or positions"),
        (structure_with(cell=[[1, 0, 0], [0, 1, 0]]), r"structure\.cell\[2\]: missing"),
        (system_with(kpts="4"), r"systems\[0\]\.kpts: .*; give a mesh"),
        (system_with(nbands=0), r"systems\[0\]\.nbands: nbands = 0 is not a number of bands"),
        (system_with(nbands="many"), r"systems\[0\]\.nbands: nbands = 'many' is not a number"),
        (system_with(symmetry="none"), r"systems\[0\]\.symmetry: .*got 'none'; give true, false"),
        (system_with(symmetry={"pointgroup": False}), r"systems\[0\]\.symmetry: .*point_group"),
        (system_with(nbands=1), r"systems\[0\]\.nbands: 1 bands hold at most 2 electrons"),
        (system_with(fft_size=[4, 4, 4]), r"systems\[0\]\.ecut, ecut_smoothing, fft_size: .*\(4"),
        (system_with(ecut_smoothing=1e4), r"systems\[0\]\.ecut, ecut_smoothing, fft_size: "),
        (
            system_with(occupations={"name": "fixed", "fixmagmom": "no"}),
            r"systems\[0\]\.occupations: .*fixmagmom.* must be True or False, got 'no'",
        ),
        (
            system_with(occupations={"name": "fixed", "fixmagmom": True}, spinpol=False),
            r"systems\[0\]\.spinpol, magmoms, occupations: fixmagmom needs two spin channels",
        ),
        (
            system_with(pseudopotentials={"Si": "gth-pbe", "C": "gth-pbe"}),
            r"systems\[0\]\.pseudopotentials: there is no C in structure",
        ),
        (changed(systems=[None]), r"systems\[0\]: .*; give a list of systems"),
        (changed(systems=["al.cif"]), r"systems\[0\]: .*; give a list of systems"),
        (changed(e_type="eos", scales=[1.0] * 5), "scales, dimension: "),
        (changed(e_type="eos", dimension=2), "scales, dimension: "),
        (changed(e_type="magnetic_moment"), r"magnetic_moment needs two spin channels; give"),
        (
            changed(e_type="density", true_val=[[[[1.0]]]], systems=[silicon(fft_size=[24] * 3)]),
            r"true_val: the density has the grid \(1, 1, 1\), but the system has fft_size",
        ),
        ({"true_val": 0.0}, "e_type: must be one of energy, eos, .*, got 'nothing'"),
        ([1, 2], "must be a mapping with e_type"),
    ],
)
def test_mistakes_name_the_entry_the_key_and_what_is_valid(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        DFTEntry.from_mapping(values, "data.yaml, entry 3")
    assert "data.yaml, entry 3" in str(caught.value)


def test_cohesive_energies_count_their_atoms() -> None:
    with pytest.raises(ValueError, match=r"\{'Si': 2\}, but the others together \{'Si': 1\}"):
        DFTEntry.create("cohesive_energy", 4.6, [silicon(), atom()])
    entry = DFTEntry.create("cohesive_energy", 4.6, [silicon(), {**atom(), "number": 2}])
    import torch

    value = entry.value(torch.tensor([-214.0, -102.0], dtype=torch.float64))
    assert value.tolist() == [5.0]


@pytest.mark.parametrize(
    "other", ["gth-pade", "GTH-MGGA-q4", {"Si": "gth-uzh", "default": "gth-pbe"}]
)
def test_cohesive_energies_of_different_potentials_are_refused(other: Any) -> None:
    given = {**atom(), "number": 2}
    with pytest.raises(ValueError, match=r"systems\[1\].pseudopotentials: Si has .* GTH-PBE-q4 in"):
        DFTEntry.create("cohesive_energy", 4.6, [silicon(), {**given, "pseudopotentials": other}])
    with pytest.raises(ValueError, match="energies have another zero: give all systems the same"):
        DFTEntry.create("energy", 0.1, [silicon(), silicon(pseudopotentials=other)])
    same = {"Si": "GTH-PBE-q4"}
    assert DFTEntry.create("cohesive_energy", 4.6, [silicon(), {**given, "pseudopotentials": same}])


@pytest.mark.parametrize("other", ["paw-lda", "gth-pbe"])
def test_cohesive_energies_of_different_datasets_are_refused(other: str) -> None:
    pytest.importorskip("gpaw_data")
    systems = [silicon(), {**atom(), "number": 2}]
    for system, source in zip(systems, ("paw-pbe", other), strict=True):
        system["pseudopotentials"] = source
    with pytest.raises(ValueError, match=r"Si has (Si.LDA|GTH-PBE-q4) here and Si.PBE in systems"):
        DFTEntry.create("cohesive_energy", 4.6, systems)


def atom() -> dict[str, Any]:
    structure = {
        "symbols": ["Si"],
        "cell": np.diag([4.0, 4.0, 4.0]).tolist(),
        "positions": [[0, 0, 0]],
    }
    return {"structure": structure, "ecut": 100.0}


def test_calculations_have_the_names_that_0_1_0_gave_them() -> None:
    """Densities that were kept are found by these names, whatever keywords are added later."""
    everything = {
        "kpts": {"size": [2, 2, 2], "gamma": True},
        "occupations": "fixed",
        "spinpol": "no",
        "convergence": {"energy": "1e-8", "maxiter": 50},
        "nbands": "150%",
        "fft_size": [24, 24, 24],
        "symmetry": "off",
        "ecut_smoothing": "10",
    }
    for more, key in (
        ({}, "20de4156e1392c711cfb73cc"),
        (everything, "58e221387f50c625194fc83f"),
    ):
        assert DFTSystem({**silicon(), **more}).calculation().key == key


def test_every_type_has_a_deviation_that_counts_as_one() -> None:
    from deepchem_xc.losses import UNIT_DEVIATIONS

    assert set(UNIT_DEVIATIONS) == set(ENTRY_TYPES)


def test_the_modulus_of_a_layer_is_a_force_per_length() -> None:
    solid = DFTEntry.create("bulk_modulus", 77, [aluminium()])
    structure = {
        "symbols": ["C", "C"],
        "cell": [[2.46, 0, 0], [-1.23, 2.1304, 0], [0, 0, 8.0]],
        "scaled_positions": [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]],
    }
    layer = DFTEntry.create(
        "bulk_modulus", 208, [{"structure": structure, "ecut": 300.0}], dimension=2
    )
    assert (solid.unit, layer.unit) == ("GPa", "N/m")
    with pytest.raises(ValueError, match="numbers in N/m"):
        DFTEntry.create(
            "bulk_modulus", [1, 2], [{"structure": structure, "ecut": 300.0}], dimension=2
        )


def test_a_default_potential_stands_for_all_that_are_not_named() -> None:
    entry = DFTEntry.create(
        "stress", np.zeros((3, 3)), [silicon(pseudopotentials={"default": "gth-pade"})]
    )
    (cell,) = entry.calculations
    assert cell.keywords["pseudopotentials"] == {"default": "gth-pade"}


def test_magnets_with_other_starts_are_other_calculations(tmp_path: Path) -> None:
    """A record selects the magnetic state: energies of two states must not become one."""
    for name in ("ferro.npz", "antiferro.npz"):
        (tmp_path / name).write_bytes(name.encode())
    magnet = bulk("Ni")
    magnet.set_initial_magnetic_moments([1.0])

    def key(structure: Atoms, start: str | None, **more: Any) -> str:
        path = None if start is None else str(tmp_path / start)
        words = {"structure": structure, "ecut": 100.0, "start": path, **more}
        return DFTSystem(words).calculation().key

    keys = {key(magnet, start) for start in (None, "ferro.npz", "antiferro.npz")}
    assert len(keys) == 3
    silicon = bulk("Si")
    assert key(silicon, None) == key(silicon, "ferro.npz") == key(silicon, "antiferro.npz")
    words = {"spinpol": True}
    assert key(silicon, "ferro.npz", **words) != key(silicon, "antiferro.npz", **words)


def test_a_missing_start_is_named_by_its_key(tmp_path: Path) -> None:
    words = {**silicon(), "start": str(tmp_path / "absent.npz")}
    with pytest.raises(
        ValueError, match=r"systems\[0\]\.start: start = '.*absent.npz': there is no"
    ):
        DFTEntry.create("energy", -214, [words])
