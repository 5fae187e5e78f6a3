"""Models of another code's densities: pairs of CHGCARs of elements that have no potential here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, Hartree
from deepchem.data import NumpyDataset
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.outputs import Chgcar

from deepchem_xc.data import DensityFileLoader, read_density
from deepchem_xc.densities import AtomDensityNetwork, OtherCodePredictor
from deepchem_xc.densities.references import Reference
from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, non_self_consistent, scf
from deepchem_xc.planewave.pseudo import load_pseudopotentials

ELECTRONS = {"Pu": 16, "U": 14}  # of VASP's potentials
SHAPE = (16, 16, 16)
WIDTHS = {"Pu": 0.8, "U": 0.95}  # bohr
SMALL: dict[str, Any] = {"channels": 4, "l_max": 1}


def compound(seed: int) -> Atoms:
    atoms = Atoms("PuU", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=[3.4] * 3, pbc=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def gaussians(atoms: Atoms, centres: np.ndarray, charges: Any, widths: Any) -> np.ndarray:
    """Electrons per cell on the grid: Gaussians with all periodic images."""
    integers = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in SHAPE), indexing="ij"), -1)
    squares = ((2 * np.pi * integers @ np.linalg.inv(atoms.cell.array).T * Bohr) ** 2).sum(-1)
    phases = integers @ np.linalg.solve(atoms.cell.array.T, np.asarray(centres).T)
    values = np.exp(-0.5 * squares[..., None] * np.square(widths) - 2j * np.pi * phases)
    found: np.ndarray = np.fft.ifftn((values * np.asarray(charges)).sum(-1)).real * np.prod(SHAPE)
    return found


def atomic(atoms: Atoms) -> np.ndarray:
    """The other code's superposition."""
    symbols = atoms.get_chemical_symbols()
    widths = [WIDTHS[s] for s in symbols]
    return gaussians(atoms, atoms.positions, [ELECTRONS[s] for s in symbols], widths)


def bonds(atoms: Atoms) -> np.ndarray:
    """What bonding adds: from both atoms to the middle of each of eight bonds, more if shorter."""
    found = np.zeros(SHAPE)
    first, second = atoms.positions
    for shift in np.ndindex(2, 2, 2):
        end = second - np.array(shift) @ atoms.cell.array
        charge = 0.5 * (2.9445 / np.linalg.norm(end - first)) ** 4
        centres = np.array([first, 0.5 * (first + end), end])
        found += gaussians(atoms, centres, [-charge / 2, charge, -charge / 2], [0.9] * 3)
    return found


def write(path: Path, atoms: Atoms, total: np.ndarray, moment: np.ndarray | None = None) -> Path:
    data = {"total": total} if moment is None else {"total": total, "diff": moment}
    Chgcar(AseAtomsAdaptor.get_structure(atoms), data).write_file(path)
    return path


def write_pair(folder: Path, seed: int) -> tuple[Path, Path]:
    atoms = compound(seed)
    density = write(folder / f"CHGCAR.{seed}", atoms, atomic(atoms) + bonds(atoms))
    return density, write(folder / f"CHGCAR.{seed}.atoms", atoms, atomic(atoms))


def dataset(*records: Any) -> NumpyDataset:
    x = np.empty(len(records), dtype=object)
    x[:] = records
    return NumpyDataset(x, np.zeros((len(records), 1)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> NumpyDataset:
    folder = tmp_path_factory.mktemp("other")
    pairs = [write_pair(folder, seed) for seed in (1, 2)]
    return DensityFileLoader(records=True).create_dataset(pairs)


def model_of(target: str = "difference", **keywords: Any) -> DensityModel:
    given = {"other_code": "CHGCAR", "progress": False, "network_options": SMALL, **keywords}
    return DensityModel(ELECTRONS, target=target, **given)


@pytest.fixture(scope="module")
def trained(data: NumpyDataset) -> DensityModel:
    model = model_of(learning_rate=0.01)
    model.fit(data, 40, checkpoint_interval=0)
    return model


def test_the_difference_from_the_codes_own_atoms_is_learned_and_added_to_them(
    trained: DensityModel, data: NumpyDataset, tmp_path: Path
) -> None:
    """None of these elements has atoms here, and the bonds are known by their formula."""
    for symbol in ELECTRONS:
        with pytest.raises(ValueError, match=symbol):
            load_pseudopotentials("gth-pbe", [symbol])
    assert trained.potentials == trained.atoms == {} and trained.functional is None
    reference = Reference.of(trained.predictor, data.X[0])
    known = [bonds(compound(seed)) for seed in (1, 2)]
    volume = float(data.X[0].crystal.volume)
    wanted = reference.basis.to_grid(reference.wanted)[0].numpy() * volume
    assert np.abs(wanted - known[0]).max() < 1e-3 * np.abs(known[0]).max()
    of_atoms = trained.compare(data, atoms=True)[:, 0]
    expected = [100 * np.abs(one).mean() / 30 for one in known]
    np.testing.assert_allclose(of_atoms, expected, rtol=1e-3)
    assert of_atoms.min() > 8.0
    assert trained.evaluate(data)["density_error"] < 0.25 * of_atoms.min()
    # A third structure, of which only the superposition is known.
    atoms = compound(3)
    path = write(tmp_path / "CHGCAR", atoms, atomic(atoms))
    (found,) = trained.predict([read_density(path, superposition=path).record()])
    assert (found.other_code, found.potentials, found.superposition) == ("chgcar", None, None)
    assert found.nelectrons == pytest.approx(30.0, abs=1e-9) and found.functional is None
    error = found.density[0].numpy() * volume - atomic(atoms) - bonds(atoms)
    assert 100 * np.abs(error).mean() / 30 < 0.25 * of_atoms.min()
    lower = trained.predict([data.X[0]], ecut=0.5 * data.X[0].ecut * Hartree)[0]
    again = trained.predict([data.X[0]])[0].on(trained.predictor.basis_of(lower))
    assert float((again.fields.density - lower.fields.density).abs().max()) < 1e-12


def test_totals_need_no_superposition_and_are_predicted_of_structures(data: NumpyDataset) -> None:
    model = model_of("total", functional="PBEsol")
    alone = dataset(*(replace(record, superposition_fields=None) for record in data.X))
    losses = [model.fit(alone, 2, checkpoint_interval=0) for _ in range(2)]
    assert losses[1] < losses[0]
    (found,) = model.predict(compound(5), ecut=80.0)
    assert found.nelectrons == pytest.approx(30.0, abs=1e-9)
    assert (found.other_code, found.potentials, found.functional) == ("chgcar", None, "PBEsol")
    model.evaluate(dataset(found))  # a prediction is a record of that code, too
    with pytest.raises(ValueError, match="no superposition of its own code's atoms"):
        model.compare(alone, atoms=True)
    half = [replace(r, superposition_fields=r.superposition_fields * 0.5) for r in data.X]
    with pytest.raises(
        ValueError, match=r"superposition has 15.0+ electrons, but its atoms have 3"
    ):
        model.compare(dataset(*half), atoms=True)


def test_a_file_and_checkpoints_say_which_code(
    trained: DensityModel, data: NumpyDataset, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    trained.save(path)
    again = DensityModel.load(path, progress=False)
    assert isinstance(again.predictor, OtherCodePredictor)
    assert again.predictor.other_code == "chgcar" and again.functional is None
    one, other = (model.predict(data) for model in (trained, again))
    assert [record.digest for record in one] == [record.digest for record in other]
    with pytest.raises(ValueError, match=r"another code \(chgcar\).* leave pseudopotentials out"):
        DensityModel.load(path, pseudopotentials="gth-pbe")
    trained.save_checkpoint(model_dir=str(tmp_path))
    model_of().restore(model_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"belongs to another model \(other_code differ"):
        model_of(other_code="cube").restore(model_dir=str(tmp_path))


def test_initial_moments_are_those_that_were_given_and_vary(tmp_path: Path) -> None:
    """They are not limited to what our atoms hold; a superposition's moments are no part of it."""
    atoms = compound(1)
    total, moment = atomic(atoms) + bonds(atoms), 0.2 * atomic(atoms)
    pair = write(tmp_path / "CHGCAR.1", atoms, total, moment), tmp_path / "CHGCAR.2"
    write(pair[1], atoms, atomic(atoms), 0.1 * atomic(atoms))
    record = read_density(pair[0], superposition=pair[1]).record(magmoms=[9.0, -8.0])
    assert record.superposition_fields is not None
    for target in ("difference", "total"):
        predictor = model_of(target, spin=True).predictor
        reference = Reference.of(predictor, record)
        assert reference.basis.crystal.magnetic_moments == (9.0, -8.0)
        other = reference.with_varied_moments(predictor, (0.5, 0.6), (0,))
        assert other.basis.crystal.magnetic_moments not in (None, (9.0, -8.0))
        assert torch.equal(other.wanted, reference.wanted)
    own, others = record.fields.density, record.superposition_fields.density
    difference = Reference.of(model_of(spin=True).predictor, record).wanted
    assert torch.allclose(difference.sum(0), own.sum(0) - others.sum(0), rtol=0.0, atol=1e-15)
    assert torch.allclose(difference[0] - difference[1], own[0] - own[1], rtol=0.0, atol=1e-15)


def test_records_of_this_package_and_of_a_code_are_not_mixed(
    trained: DensityModel, data: NumpyDataset
) -> None:
    result = scf(bulk("Si"), "PBE", ecut=60.0, kpts=(1, 1, 1))
    own, ours = DensityRecord.of(result, orbitals=False), DensityModel("Si", network_options=SMALL)
    silicon = DensityModel({"Si": 4}, other_code="chgcar", network_options=SMALL)
    for use in (silicon.fit, silicon.evaluate, silicon.predict):
        with pytest.raises(ValueError, match=r"computed by this package, but .* without other_cod"):
            use(dataset(own))
    with pytest.raises(ValueError, match=r"is of 'cube', but .*'chgcar'.* with other_code='cube'"):
        trained.fit(dataset(replace(data.X[0], other_code="cube")))
    theirs = replace(own, other_code="cube")
    for use in (ours.fit, ours.evaluate, ours.predict):
        with pytest.raises(ValueError, match=r"another code's file \(cube\).* other_code='cube'"):
            use(dataset(theirs))
    for call, keyword in ((scf, "start"), (non_self_consistent, "density")):
        with pytest.raises(ValueError, match=r"made for densities of another code \(chgcar\)"):
            call(bulk("Si"), "PBE", ecut=60.0, kpts=(1, 1, 1), **{keyword: silicon})


def test_what_cannot_be_right_is_refused(trained: DensityModel, data: NumpyDataset) -> None:
    record = data.X[0]
    alone = replace(record, superposition_fields=None)
    for use in (trained.fit, trained.evaluate, trained.predict):
        with pytest.raises(ValueError, match="no superposition of its own code's atoms"):
            use(dataset(alone))
    with pytest.raises(ValueError, match="which a structure alone does not have: let that code wr"):
        trained.predict([compound(1)], ecut=80.0)
    half = replace(record, superposition_fields=record.fields * 0.5)
    for use in (trained.fit, trained.predict):
        with pytest.raises(
            ValueError, match=r"superposition has 15.0+ electrons, .* have 30: give"
        ):
            use(dataset(half))
    high = 1.5 * record.ecut * Hartree
    with pytest.raises(ValueError, match="is above the .* eV of a record"):
        trained.predict([record], ecut=high)
    with pytest.raises(ValueError, match="is above the .* eV of a record"):
        model_of(ecut=high).fit(data)
    with pytest.raises(ValueError, match="does not say its cutoff"):
        trained.fit(dataset(replace(record, ecut=None)))
    wrong = DensityModel({"Pu": 16, "U": 92}, other_code="chgcar", network_options=SMALL)
    with pytest.raises(ValueError, match=r"30.0+ electrons, but its atoms have 108: .* ZVAL"):
        wrong.fit(data)
    with pytest.raises(ValueError, match="which calculations and free energies of this package"):
        trained.energy_weight = 1.0
    with pytest.raises(ValueError, match="which calculations and free energies of this package"):
        trained.energy_errors(data)
    with pytest.raises(ValueError, match="got an OtherDensity|got a OtherDensity"):
        trained.fit(dataset(read_density(data.ids[0])))


@pytest.mark.parametrize(
    ("elements", "keywords", "message"),
    [
        (["Si"], {"other_code": "chgcar"}, "names the electrons of each element"),
        ({"Si": 4}, {}, "gives numbers of electrons, which for densities of this package"),
        ({"Si": 4}, {"other_code": ""}, "other_code must name the other code"),
        ({"Si": 0}, {"other_code": "chgcar"}, "must be positive"),
        (
            {"Si": 4},
            {"other_code": "chgcar", "pseudopotentials": "gth-pbe"},
            "leave one of both out",
        ),
        ({"Si": 4}, {"other_code": "chgcar", "energy_weight": 1.0}, "made for densities of anoth"),
        (
            {"Si": 5},
            {"other_code": "chgcar", "network": AtomDensityNetwork({"Si": 4}, **SMALL)},
            "elements contradict the given network",
        ),
    ],
)
def test_contradictory_options_are_refused(elements: Any, keywords: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DensityModel(elements, **keywords)
