from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ase.build import bulk

from deepchem_xc.molnet import (
    DensitySet,
    DensityStructure,
    MissingDensitiesError,
    compute_densities,
)
from deepchem_xc.molnet.computed_densities import density_paths
from deepchem_xc.molnet.kept_record import read_record
from deepchem_xc.planewave import scf

KEYWORDS = {"ecut": 60.0, "kpts": [1, 1, 1], "convergence": {"density": 1e-3}}


def crystal(name: str, a: float, **keywords: object) -> DensityStructure:
    atoms = bulk("Si", "diamond", a=a)
    return DensityStructure(name, "train", "diamond", "ASE", atoms, {**KEYWORDS, **keywords})


def made(*structures: DensityStructure) -> DensitySet:
    return DensitySet("mine", "Silicon", {s.name: s for s in structures}, (structures[0].name,))


def times(paths: dict[str, Path]) -> dict[str, int]:
    return {name: path.stat().st_mtime_ns for name, path in paths.items()}


def test_kept_densities_are_those_of_scf_and_are_not_computed_again(tmp_path: Path) -> None:
    given = made(crystal("small", 5.3), crystal("large", 5.6))
    assert list(compute_densities(given, tmp_path, quick=True, jobs=1)) == ["small"]
    paths = compute_densities(given, tmp_path, jobs=1)
    assert list(paths) == ["small", "large"] and all(path.is_file() for path in paths.values())
    for name, structure in given.structures.items():
        record = read_record(paths[name], structure.digest)
        expected = scf(structure.atoms, "PBE", **structure.keywords)
        assert record is not None
        assert float((record.fields.density - expected.density_g).abs().max()) < 1e-12
    before = times(paths)
    assert times(compute_densities(given, tmp_path, jobs=1)) == before


def test_other_settings_and_damaged_files_are_computed_again(tmp_path: Path) -> None:
    given = made(crystal("small", 5.3), crystal("large", 5.6), crystal("larger", 5.7))
    paths = compute_densities(given, tmp_path, jobs=1)
    before = times(paths)
    paths["large"].write_bytes(paths["large"].read_bytes()[:-200])
    small = crystal("small", 5.3, ecut=70.0)
    other = replace(given, structures={**given.structures, "small": small})
    after = times(compute_densities(other, tmp_path, jobs=1))
    assert {name for name in before if before[name] != after[name]} == {"small", "large"}
    assert read_record(paths["large"], given.structures["large"].digest) is not None
    assert read_record(paths["small"], given.structures["small"].digest) is None


def test_a_failure_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    failing = crystal("fails", 5.4, convergence={"maxiter": 1})
    given = made(failing, crystal("large", 5.6))
    with pytest.raises(MissingDensitiesError, match=r"1 of 2 .*'mine'.*fails: SCFConv") as caught:
        compute_densities(given, tmp_path, jobs=1)
    assert list(caught.value.reasons) == ["fails"]
    paths = density_paths(given, given.structures, tmp_path)
    assert not paths["fails"].exists() and paths["large"].exists()


def test_names_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    given = made(crystal("Si/a", 5.4), crystal("si a", 5.4))
    with pytest.raises(ValueError, match="must differ in letters"):
        compute_densities(given, tmp_path, jobs=1)


@pytest.mark.parametrize("name", ["silicon", "mixed", "molecules", "magnets"])
def test_every_structure_of_a_set_has_a_file_of_its_own(name: str, tmp_path: Path) -> None:
    given = DensitySet.read(name)
    paths = density_paths(given, given.structures, tmp_path)
    assert {path.parent.name for path in paths.values()} == {f"density_{name}"}
