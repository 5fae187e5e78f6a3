"""Protocols keep what they promise, and refuse what was not measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.build import bulk

from deepchem_xc._files import data_file
from deepchem_xc.feat import PeriodicSystemFeaturizer, ProtocolTable
from deepchem_xc.feat.protocols import KINDS, TOLERANCES
from deepchem_xc.planewave import equation_of_state

TABLE = ProtocolTable(
    {
        "Al": {"GTH-PBE-q3": {"fast": 160.0, "balanced": 270.0}},
        "Si": {"GTH-PBE-q4": {"fast": 90.0}},
    },
    {"metal": {"fast": 3.0}},
    0.07,
    {"name": "fermi-dirac", "width": 0.1},
)


def test_every_cutoff_and_density_of_the_table_follows_from_its_errors() -> None:
    content = json.loads(data_file("protocols.json").read_text())
    series = [
        (row["ecut"], row["errors"])
        for rows in content["elements"].values()
        for row in rows.values()
    ]
    series += [(row["density"], row["errors"]) for row in content["meshes"].values()]
    assert series
    for chosen, errors in series:
        for protocol, tolerance in TOLERANCES.items():
            if chosen[protocol] is None:
                continue
            assert chosen[protocol] in [setting for setting, _ in errors]
            higher = [error for setting, error in errors if setting >= chosen[protocol]]
            assert all(error is not None and abs(error) <= tolerance for error in higher)
    for kind, densities in content["densities"].items():
        assert kind in KINDS
        rows = [row["density"] for row in content["meshes"].values() if row["kind"] == kind]
        for protocol, density in densities.items():
            assert density == max(row[protocol] for row in rows)


def test_stricter_protocols_cost_more() -> None:
    table = ProtocolTable.read()
    for rows in table.cutoffs.values():
        for row in rows.values():
            assert list(row.values()) == sorted(row.values())
    for row in table.densities.values():
        assert list(row.values()) == sorted(row.values())


def test_a_cutoff_keeps_its_promise_in_a_crystal_in_which_it_was_not_measured() -> None:
    table = ProtocolTable.read()
    assert (
        json.loads(data_file("protocols.json").read_text())["elements"]["Al"]["GTH-PBE-q3"][
            "structure"
        ]
        == "fcc"
    )

    def lattice_constant(ecut: float) -> float:
        curve = equation_of_state(
            bulk("Al", "bcc", a=3.25),
            ecut=ecut,
            ecut_smoothing=table.smoothing(ecut),
            kpts={"size": (3, 3, 3), "gamma": True},
            scales=(0.92, 0.96, 1.0, 1.04, 1.08),
            occupations={"name": "fermi-dirac", "width": 0.3},
            convergence={"energy": 1e-7, "density": 1e-5},
        )
        return curve.a0

    reference = lattice_constant(600.0)
    for protocol in ("fast", "balanced"):
        error = lattice_constant(table.cutoff(protocol, ["Al"])) / reference - 1.0
        assert abs(error) < TOLERANCES[protocol]


def test_a_compound_takes_the_largest_cutoff_of_its_elements() -> None:
    words = TABLE.keywords("fast", ["Si", "Al", "Si"])
    assert (words["ecut"], words["ecut_smoothing"]) == (160.0, 11.0)
    assert words["kpts"] == {"density": 3.0, "gamma": True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fast", ["O"]), "measured for O with the potential GTH-PBE-q6.*elements.*Al, Si.*ecut="),
        (("fast", ["Si"], {"Si": "GTH-PADE-q4"}), "GTH-PADE-q4. Measured for Si: GTH-PBE-q4"),
        (("balanced", ["Si"]), r"Measured for Si: GTH-PBE-q4 \(fast only\)"),
        (("fast", ["Si"], "gth-pbe", "insulator"), "no k-point density.*'insulator'.*kpts="),
        (("fast", ["Si"], "gth-pbe", "semimetal"), "kind must be one of metal, insulator"),
        (("quick", ["Si"]), "protocol must be one of fast, balanced, precise, got 'quick'"),
    ],
)
def test_what_was_not_measured_is_refused_with_a_way_out(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TABLE.keywords(*arguments)


def test_sodium_with_nine_electrons_is_refused_and_the_measured_potential_named() -> None:
    table = TABLE.with_cutoffs({"Na": {"GTH-GGA-q1": {"fast": 100.0}}})
    with pytest.raises(ValueError, match="GTH-PBE-q9. Measured for Na: GTH-GGA-q1"):
        table.cutoff("fast", ["Na"])
    for name in ("GTH-GGA-q1", "GTH-PBE-q1"):  # two names of one potential
        assert table.cutoff("fast", ["Na"], {"Na": name}) == 100.0


def test_datasets_have_cutoffs_of_their_own_and_the_same_meshes() -> None:
    pytest.importorskip("gpaw_data")
    table = ProtocolTable.read()
    for protocol in TOLERANCES:
        paw, gth = (
            table.keywords(protocol, ["Al"], family, "metal") for family in ("paw-pbe", "gth-pbe")
        )
        assert paw["ecut"] == table.cutoffs["Al"]["Al.PBE"][protocol] < gth["ecut"]
        assert paw["kpts"] == gth["kpts"] and paw["pseudopotentials"] == "paw-pbe"
    with pytest.raises(ValueError, match=r"Na\.1\.PBE\. Measured for Na: .*ecut="):
        table.cutoff("fast", ["Na"], "paw-pbe:1")
    with pytest.raises(ValueError, match="cannot be combined"):
        table.cutoff("fast", ["Al", "Si"], {"Al": "paw-pbe", "Si": "gth-pbe"})


def test_a_structure_gets_the_cutoff_of_its_dataset() -> None:
    pytest.importorskip("gpaw_data")
    featurizer = PeriodicSystemFeaturizer(protocol="fast", pseudopotentials="paw-pbe")
    (system,) = featurizer.featurize([bulk("Al")])
    assert system.keywords["ecut"] == ProtocolTable.read().cutoffs["Al"]["Al.PBE"]["fast"]


def test_a_table_grows_without_changing_the_old_one() -> None:
    larger = TABLE.with_cutoffs({"Al": {"al.psp8": {"fast": 200.0}}})
    assert set(larger.cutoffs["Al"]) == {"GTH-PBE-q3", "al.psp8"}
    assert set(TABLE.cutoffs["Al"]) == {"GTH-PBE-q3"}
    with pytest.raises(ValueError, match="positive"):
        TABLE.with_cutoffs({"Al": {"al.psp8": {"fast": 0.0}}})
    with pytest.raises(ValueError, match="protocol must be"):
        TABLE.with_cutoffs({"Al": {"al.psp8": {"coarse": 10.0}}})


def test_a_table_for_other_tolerances_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    content = json.loads(data_file("protocols.json").read_text())
    path = tmp_path / "protocols.json"
    path.write_text(json.dumps({**content, "tolerances": {"fast": 0.05}}))
    with pytest.raises(ValueError, match="measured for the tolerances"):
        ProtocolTable.read(path)
    path.write_text('{"tolerances": 1}')
    with pytest.raises(ValueError, match="not a table of protocols"):
        ProtocolTable.read(path)
    with pytest.raises(FileNotFoundError):
        ProtocolTable.read(tmp_path / "none.json")
