from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepchem_xc._files import write_json
from deepchem_xc.against_gpaw import gpaw_reference
from deepchem_xc.against_gpaw.gpaw_reference import (
    GPAW_SETTINGS,
    load_gpaw_eos,
    run_gpaw_eos,
)
from deepchem_xc.eos.scales import VOLUME_SCALES


@pytest.mark.parametrize("name", GPAW_SETTINGS)
def test_committed_equations_of_state_agree_with_independent_gpaw_runs(
    name: str, reference: Callable[[str], Any]
) -> None:
    ours = load_gpaw_eos()[name]["fit"]["energy"]
    theirs = reference("gpaw_eos.json")[name]["fit"]["E_extrap_eV"]
    assert ours["a"] == pytest.approx(theirs["a0_A"], rel=5e-4)
    if name == "graphene":
        assert ours["layer_modulus"] == pytest.approx(theirs["B2D_N_m"], rel=0.01)
    else:
        assert ours["bulk_modulus"] == pytest.approx(theirs["B0_GPa"], rel=0.01)


@pytest.mark.parametrize("name", GPAW_SETTINGS)
def test_committed_data_is_complete_and_its_fits_follow_from_its_points(name: str) -> None:
    entry = load_gpaw_eos()[name]
    assert [point["scale"] for point in entry["points"]] == list(VOLUME_SCALES)
    for energy in ("energy", "free_energy"):
        fit = gpaw_reference._fit(entry["settings"]["a"], entry["points"], energy)
        assert fit == pytest.approx(entry["fit"][energy], rel=1e-5)
        assert fit["residual"] < 5e-5
    cell = GPAW_SETTINGS[name].atoms(VOLUME_SCALES[0])
    assert entry["points"][0]["volume"] == pytest.approx(cell.get_volume())
    moments = [point["magmom"] for point in entry["points"]]
    assert all(0.5 < moment < 0.7 for moment in moments) if name == "Ni" else not any(moments)


def test_unknown_system_is_refused_with_the_valid_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['Xx'\].*'Al', 'Ca', 'graphene', 'Ni'"):
        run_gpaw_eos(["Xx"], path=tmp_path / "eos.json")


def test_without_gpaw_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpaw_reference, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="make gpaw"):
        run_gpaw_eos(["Al"], path=tmp_path / "eos.json")


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "eos.json"
    path.write_text('{"Al": {"points": [')
    with pytest.raises(ValueError, match="eos.json is not a file of GPAW results"):
        load_gpaw_eos(path)


@pytest.mark.gpaw
def test_interrupted_run_resumes_and_new_settings_start_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "eos.json"
    coarse = replace(GPAW_SETTINGS["Al"], ecut=200, kpts=(2, 2, 2), gpts=(12, 12, 12))
    computed: list[float] = []
    stop_after = [2]
    point_by_gpaw = gpaw_reference._gpaw_point

    def counted(settings: Any, scale: float) -> dict[str, Any]:
        if len(computed) == stop_after[-1]:
            raise KeyboardInterrupt
        computed.append(scale)
        return point_by_gpaw(settings, scale)

    monkeypatch.setattr(gpaw_reference, "_gpaw_point", counted)
    monkeypatch.setattr(gpaw_reference, "VOLUME_SCALES", (0.9, 0.95, 1.0, 1.05, 1.1))
    with pytest.raises(KeyboardInterrupt):
        run_gpaw_eos(["Al"], {"Al": coarse}, path)
    kept = load_gpaw_eos(path)["Al"]["points"]
    assert [point["scale"] for point in kept] == [0.9, 0.95]

    computed.clear()
    stop_after.append(len(gpaw_reference.VOLUME_SCALES))
    results = run_gpaw_eos(["Al"], {"Al": coarse}, path)
    assert computed == [1.0, 1.05, 1.1]
    assert results == load_gpaw_eos(path)
    assert results["Al"]["points"][:2] == kept
    assert 3.5 < results["Al"]["fit"]["energy"]["a"] < 4.5

    computed.clear()
    stop_after.append(1)
    with pytest.raises(KeyboardInterrupt):
        run_gpaw_eos(["Al"], {"Al": replace(coarse, width=0.2)}, path)
    assert [point["scale"] for point in load_gpaw_eos(path)["Al"]["points"]] == [0.9]


@pytest.mark.slow
@pytest.mark.gpaw
def test_committed_aluminium_energy_is_reproduced_by_this_machines_gpaw() -> None:
    committed = load_gpaw_eos()["Al"]["points"][VOLUME_SCALES.index(1.0)]
    point = gpaw_reference._gpaw_point(GPAW_SETTINGS["Al"], 1.0)
    for energy in ("energy", "free_energy"):
        assert point[energy] == pytest.approx(committed[energy], abs=1e-5)


def test_results_of_other_systems_in_the_file_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "eos.json"
    write_json(path, {"Fe": {"points": [1, 2]}})
    data = {point["scale"]: point for point in load_gpaw_eos()["Al"]["points"]}
    monkeypatch.setattr(gpaw_reference, "find_spec", lambda name: True)
    monkeypatch.setattr(gpaw_reference, "version", lambda name: "1.0")
    monkeypatch.setattr(gpaw_reference, "_gpaw_point", lambda settings, scale: data[scale])
    seen: list[float] = []
    results = run_gpaw_eos(["Al"], path=path, on_point=lambda name, p: seen.append(p["scale"]))
    assert seen == list(VOLUME_SCALES)
    assert results["Fe"] == {"points": [1, 2]}
    assert results["Al"]["fit"]["energy"] == pytest.approx(load_gpaw_eos()["Al"]["fit"]["energy"])
