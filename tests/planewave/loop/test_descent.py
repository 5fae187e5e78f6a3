"""When the loop relaxes orbitals among each other, and when it mixes their densities."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deepchem_xc.occupations.smearing import FermiDirac, MethfesselPaxton, Smearing
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.loop.descent import Descent
from deepchem_xc.planewave.loop.policies import LocalisedLevels


def descent(smearing: Smearing, policy: LocalisedLevels | None = None) -> Descent:
    return Descent(SimpleNamespace(smearing=smearing), policy)  # type: ignore[arg-type]


def modes(errors: list[float], localised: bool = True, subspace: bool = True, **more: Any) -> str:
    """First letters of the modes that these errors lead to."""
    chosen = descent(more.get("smearing", FermiDirac(0.01)), more.get("policy"))
    mixing = SimpleNamespace(subspace=subspace)
    mixer: Any = SimpleNamespace(mixing=mixing, is_localised=lambda states: localised)
    letters = ""
    for step, error in enumerate(errors, start=1):
        chosen.choose(step, error, mixer, None)
        if chosen.mode != "plain":
            chosen._relaxed = SimpleNamespace(gain=more.get("gain", 1e-3))  # type: ignore[assignment]
        letters += chosen.mode[0]
    return letters


def test_it_begins_after_three_steps_and_ends_at_a_small_error() -> None:
    assert modes([0.3, 0.2, 0.1, 0.1, 0.2, 5e-4, 2e-5, 9e-6, 1e-5]) == "ppdddmmpp"
    assert modes([0.3, 0.2, 0.02, 0.01, 1e-3]) == "ppppp"  # nothing to do
    assert modes([0.3, 0.2, 0.1, 0.1], gain=1e-12) == "ppdp"  # nothing to gain


def test_when_it_begins_mixes_and_ends_is_a_matter_of_policy() -> None:
    policy = LocalisedLevels(start=0.2, steps=1, near=0.1, end=0.05)
    assert modes([0.3, 0.25, 0.15, 0.09, 0.04, 0.04], policy=policy) == "dddmpp"


@pytest.mark.parametrize(
    "case", [{"localised": False}, {"subspace": False}, {"smearing": MethfesselPaxton(0.01)}]
)
def test_it_rests_where_it_would_not_help(case: dict[str, Any]) -> None:
    assert modes([0.3] * 6, **case) == "pppppp"


def test_a_steady_fall_is_followed_by_mixing_as_long_as_that_helps() -> None:
    falling = [0.3, 0.2, 0.1, 0.04, 0.02, 0.018, 0.016]
    assert modes(falling) == "ppddddm"
    assert modes([*falling, 8e-3, 6e-3, 3e-3, 2e-3, 1.5e-3]) == "ppddddmmmmmm"
    assert modes([*falling, 0.02, 0.01, 0.02, 0.015, 0.014]) == "ppddddmmmmdd"


def test_a_stalled_loop_goes_downhill_wherever_its_levels_are() -> None:
    def modes_of(errors: list[float], states: Any = 1.0) -> str:
        chosen = descent(FermiDirac(0.01))
        mixing = SimpleNamespace(subspace=True)
        mixer: Any = SimpleNamespace(mixing=mixing, is_localised=lambda _: False)
        for step, error in enumerate(errors, start=1):
            chosen.choose(step, error, mixer, states)
        return chosen.mode

    stalled = [0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    assert modes_of(stalled) == "downhill"
    assert modes_of(stalled[:5]) == "plain"  # too early
    assert modes_of([0.1, 0.3, 0.2, 0.1, 0.1, 0.05]) == "plain"  # it rose once, but falls
    assert modes_of([3e-3, 2e-3, 9e-4, 9e-4, 9e-4, 9e-4]) == "plain"  # close to the solution
    assert modes_of(stalled, states=None) == "plain"  # integer occupations


def test_errors_of_a_moment_that_was_held_do_not_count_as_a_stall() -> None:
    chosen = descent(FermiDirac(0.01))
    mixing = SimpleNamespace(subspace=True)
    mixer: Any = SimpleNamespace(mixing=mixing, is_localised=lambda _: False)
    modes = []
    for step in range(1, 11):
        chosen.choose(step, 0.1, mixer, 1.0)  # type: ignore[arg-type]
        modes.append(chosen.mode)
        if step == 5:
            chosen.restart()
    assert modes == ["plain"] * 9 + ["downhill"]


def test_steps_are_as_long_as_the_last_residuals_say() -> None:
    """Of a response that overshoots, r(x) = -a x, the third residual vanishes."""
    for response, wanted in ((1.9, 1.0 / 1.9), (0.7, 1.0), (9.0, 0.25)):
        chosen, x, lengths = descent(FermiDirac(0.01)), Fields(torch.ones(1, 1)), []
        for _ in range(2):
            output = x + x * -response
            new = chosen.next_fields(x, output, lambda a, b: a.dot(b))
            lengths.append(float((new - x).density / (output - x).density))
            x = new
        assert lengths == pytest.approx([1.0, wanted])


def test_steps_are_halved_when_the_free_energy_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    energies = iter([-1.0, -2.0, -1.5, -1.4, -1.3, -1.2])
    module = "deepchem_xc.planewave.loop.descent.relax_in_subspace"
    monkeypatch.setattr(module, lambda *_: SimpleNamespace(free_energy=next(energies), gain=1.0))
    chosen = descent(FermiDirac(0.01))
    zero, one = Fields(torch.zeros(1, 1)), Fields(torch.ones(1, 1))
    lengths = []
    for _ in range(6):
        chosen.relax(Potential(torch.zeros(1)), torch.zeros(1), torch.zeros(1), None)
        lengths.append(float(chosen.next_fields(zero, one, lambda a, b: a.dot(b)).density))
    assert lengths == [1.0, 1.0, 0.5, 0.25, 0.25, 0.25]
