"""Records on disk: whole, of the settings that are asked for, or not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from deepchem_xc.store import Store, digest

RECORD = {"settings": {"ecut": 400, "kpts": [2, 2, 2]}, "scale": 1.0, "point": {"energy": -56.4}}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> Store:
    return Store(tmp_path / "new" / "folder", said.append)


def test_a_record_comes_back_where_it_is_what_was_asked_for(store: Store, said: list[str]) -> None:
    assert store.read("Al") is None
    store.write("Al", RECORD)
    assert store.read("Al") == RECORD
    assert store.read("Al", scale=1.0, settings=RECORD["settings"]) == RECORD
    assert said == []
    assert store.read("Al", scale=1.02) is None
    assert len(said) == 1 and "other settings" in said[0] and "Al.json" in said[0]
    store.discard("Al")
    store.discard("Al")
    assert store.read("Al") is None


@pytest.mark.parametrize("text", ["", '{"scale": 1', "[1, 2]", "null", "3", '"text"', "{}"])
def test_a_damaged_file_is_no_record(store: Store, said: list[str], text: str) -> None:
    store.write("Al", RECORD)
    store.path("Al").write_text(text)
    assert store.read("Al", scale=1.0) is None
    assert len(said) == 1 and "damaged" in said[0]


def test_an_altered_number_is_seen(store: Store, said: list[str]) -> None:
    store.write("Al", RECORD)
    path = store.path("Al")
    path.write_text(path.read_text().replace("-56.4", "-56.5"))
    assert store.read("Al", scale=1.0) is None
    assert "checksum" in said[0]


def test_files_without_a_checksum_are_read(store: Store) -> None:
    # benchmarks/experiment.py of 0.1.0 wrote such files.
    store.folder.mkdir(parents=True)
    store.path("Al").write_text(json.dumps({"key": "abc", "a": 4.04}))
    assert store.read("Al", key="abc") == {"key": "abc", "a": 4.04}
    assert store.read("Al", key="other") is None


def test_files_are_those_of_0_1_0(store: Store) -> None:
    # Written out by that version's rule: the checksum is that of sorted JSON without spaces around.
    store.write("Al", RECORD)
    content = json.loads(store.path("Al").read_text())
    checksum = content.pop("sha256")
    assert content == RECORD
    assert checksum == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def test_infinite_numbers_are_not_kept(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write("Al", {"energy": float("nan")})
    assert store.read("Al") is None


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
