"""Files that entries name, from any folder, and what else users hand over."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from deepchem.data import DiskDataset

from deepchem_xc.data import DFTEntry, DFTYamlLoader
from deepchem_xc.feat import DFTSystem
from deepchem_xc.models import XCModel
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning
from deepchem_xc.xc import PBE
from tests.models.systems import dataset, make, quick, silicon

# The fixtures write files of an analytic pseudopotential.
from tests.planewave.pseudo.conftest import analytic, psp8_text  # noqa: F401
from tests.planewave.structure.test_reading import CIF, SITES


@pytest.fixture
def folder(tmp_path: Path, psp8_text: Callable[..., str]) -> Path:  # noqa: F811
    """A folder with a data set that names a structure and a potential beside it."""
    place = tmp_path / "data"
    place.mkdir()
    (place / "si.psp8").write_text(psp8_text())
    write(place / "si.cif", bulk("Si"))
    systems = [{**quick(), "structure": "si.cif", "pseudopotentials": {"Si": "si.psp8"}}]
    entry = {"e_type": "energy", "true_val": -100.0, "systems": systems}
    (place / "d.yaml").write_text(yaml.safe_dump([entry]))
    return place


def test_stored_data_sets_find_their_files_from_anywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    DFTYamlLoader().create_dataset("data/d.yaml", data_dir="disk")
    disk = str(folder.parent / "disk")
    stored = DiskDataset(disk)
    path = stored.X[0].systems[0].system["pseudopotentials"]["Si"]
    assert path == str(folder / "si.psp8")
    model = XCModel(functional=PBE(trainable=True))
    expected = model.predict(stored)
    elsewhere = folder.parent / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    (elsewhere / "data" / "si.psp8").write_text("another file of this name")
    monkeypatch.chdir(elsewhere)
    assert model.predict(DiskDataset(disk)) == pytest.approx(expected, abs=1e-5)


def test_files_that_changed_or_are_gone_are_named(folder: Path) -> None:
    stored = DFTYamlLoader().create_dataset(folder / "d.yaml")
    file = folder / "si.psp8"
    model = XCModel(functional=PBE(trainable=True))
    text = file.read_text()
    where = (
        r"d\.yaml, entry 1 \(energy\) is not valid:\n  systems\[0\]\.pseudopotentials: the file "
    )
    file.write_text(text.replace("synthetic", "another one"))
    with pytest.raises(ValueError, match=where + ".*si.psp8 has changed since"):
        model.predict(stored)
    file.unlink()
    with pytest.raises(ValueError, match=where + ".*si.psp8.*is missing"):
        model.fit(stored, nb_epoch=1)
    file.write_text(text)
    assert np.isfinite(model.predict(stored)).all()


def test_a_potential_counts_by_its_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept densities are of the same calculation, wherever the file is."""
    moved = folder.parent / "moved.psp8"
    moved.write_text((folder / "si.psp8").read_text())
    other = folder.parent / "other.psp8"
    other.write_text((folder / "si.psp8").read_text().replace("synthetic", "other"))
    monkeypatch.chdir(folder)
    keys = [
        DFTEntry.create("energy", 0.0, [quick(pseudopotentials=file)]).calculations[0].key
        for file in ("si.psp8", folder / "si.psp8", moved, other)
    ]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_model_keeps_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    model = make(Path("model"), cache_dir="cache")
    monkeypatch.chdir(tmp_path / "other")
    model.fit(dataset(DFTEntry.create("energy", -215.0, [quick()])), nb_epoch=1)
    assert (tmp_path / "model" / "checkpoint1.pt").exists()
    assert list((tmp_path / "cache").glob("*.npz"))
    assert not os.listdir(tmp_path / "other")


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    plain = silicon(nbands=8, fft_size=[18, 18, 18])
    structure = plain["structure"]
    given = {
        **plain,
        "structure": {
            "symbols": np.array(structure["symbols"]),
            "cell": np.array(structure["cell"]),
            "scaled_positions": torch.tensor(structure["scaled_positions"]).double(),
            "magmoms": np.zeros(2),
            "pbc": np.array([True] * 3),
        },
        "ecut": np.float64(150.0),
        "nbands": np.int64(8),
        "fft_size": np.array([18, 18, 18]),
        "spinpol": np.bool_(False),
        "occupations": {"name": "fermi-dirac", "width": np.float64(0.2)},
    }
    plain["occupations"] = {"name": "fermi-dirac", "width": 0.2}
    plain["structure"]["magmoms"] = [0.0, 0.0]
    plain["spinpol"] = False
    plain["structure"]["pbc"] = [True] * 3
    meshes: list[tuple[Any, Any]] = [
        (np.array([2, 2, 2]), [2, 2, 2]),
        ([np.int64(2)] * 3, [2, 2, 2]),
        (
            {"size": np.array([2, 2, 2]), "gamma": np.bool_(True)},
            {"size": [2, 2, 2], "gamma": True},
        ),
        (2, [2, 2, 2]),
        (np.int64(2), [2, 2, 2]),
        ({"density": np.float64(3.0)}, {"density": 3.0}),
        (np.zeros((1, 3)), [[0.0, 0.0, 0.0]]),
    ]
    for mesh, listed in meshes:
        first = DFTEntry.create("energy", np.float64(-214), [{**given, "kpts": mesh}])
        second = DFTEntry.create("energy", -214.0, [{**plain, "kpts": listed}])
        assert first.systems[0].system == second.systems[0].system
        assert first.calculations[0].key == second.calculations[0].key
    scales = np.linspace(0.9, 1.1, 5)
    entry = DFTEntry.create("eos", np.arange(5), [given], scales=scales, weight=np.float32(2))
    assert entry.scales == pytest.approx(tuple(scales)) and entry.get_weight() == 2.0
    assert DFTSystem({**given, "number": np.int64(3)}).no == 3


def test_structures_come_as_paths_texts_and_objects(tmp_path: Path) -> None:
    atoms = bulk("Al", a=4.05)
    write(tmp_path / "al.cif", atoms)
    text = io.BytesIO()
    write(text, atoms, format="cif")
    pymatgen = pytest.importorskip("pymatgen.core")
    cell = np.asarray(atoms.cell)
    structure = pymatgen.Structure(pymatgen.Lattice(cell), ["Al"], [[0, 0, 0]])
    for given in (
        tmp_path / "al.cif",
        str(tmp_path / "al.cif"),
        text.getvalue().decode(),
        atoms,
        structure,
    ):
        system = DFTSystem({"structure": given, "ecut": 100.0})
        assert str(system.atoms.symbols) == "Al"
        assert system.atoms.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-5)
    magnetic = Atoms("Fe", cell=[3.0] * 3, pbc=True, magmoms=[2.2])
    system = DFTSystem({"structure": magnetic, "ecut": 100.0})
    assert system.atoms.get_initial_magnetic_moments().tolist() == [2.2]


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("none.cif", "there is no structure file none.cif"),
        (Path("none.cif"), "there is no structure file none.cif"),
        ("data_" + 5000 * "x", r"there is no structure file data_x+\.\.\."),
        ("data_x\nnothing here", r"the text .* cannot be read as a CIF"),
        (3.5, r"structure: .*give symbols, cell and positions, the path of"),
    ],
)
def test_structures_that_cannot_be_read(structure: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DFTSystem({"structure": structure, "ecut": 100.0})


@pytest.mark.parametrize("form", ["alloy.cif", "alloy.traj", "alloy.xyz", "text", "atoms"])
def test_partially_occupied_sites_are_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the structure gets into an entry."""
    monkeypatch.chdir(tmp_path)
    text = CIF.format(sites=SITES["alloy"])
    Path("alloy.cif").write_text(text)
    atoms = ase.io.read("alloy.cif")
    write("alloy.traj", atoms)
    column = atoms.copy()
    column.set_array("occupancy", np.where(atoms.numbers == 8, 1.0, 0.6))
    write("alloy.xyz", column, format="extxyz")
    given = {"text": text, "atoms": atoms}.get(form, form)
    message = r"structure: .*partially occupied sites \(Al.? 0\.6.*ordered cell"
    with pytest.raises(ValueError, match=message):
        DFTSystem({"structure": given, "ecut": 100.0})
    with pytest.raises(ValueError, match=message):
        DFTEntry.create("energy", 0.0, [quick(structure=given)])
    if isinstance(given, str):
        entry = {"e_type": "energy", "true_val": 0.0, "systems": [quick(structure=given)]}
        Path("d.yaml").write_text(yaml.safe_dump([entry]))
        with pytest.raises(ValueError, match=r"d\.yaml, entry 1 \(energy\).*\n.*" + message):
            DFTYamlLoader().create_dataset("d.yaml")


def test_moments_that_a_file_holds_as_results_are_initial_ones(tmp_path: Path) -> None:
    path = tmp_path / "h.xyz"
    path.write_text(
        '1\nLattice="3 0 0 0 3.1 0 0 0 3.2" pbc="T T T" '
        "Properties=species:S:1:pos:R:3:magmoms:R:1\nH 0 0 0 1.0\n"
    )
    with pytest.warns(IgnoredInputWarning, match="taken as initial moments"):
        system = DFTSystem({"structure": path, "ecut": 100.0})
    assert system.atoms.get_initial_magnetic_moments().tolist() == [1.0]


def test_labels_come_from_paths(tmp_path: Path) -> None:
    np.save(tmp_path / "forces.npy", np.ones((2, 3)))
    entry = DFTEntry.create("forces", tmp_path / "forces.npy", [silicon()])
    assert entry.get_true_val().tolist() == [[1.0] * 3] * 2
