"""Models know a solver by the contract of `Calculation` alone: here is one for an atom."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.units import Hartree

from deepchem_xc.losses import FrozenEnergy
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.xc import PBE, ValGrad, XCFunctional

RADII = torch.linspace(0.01, 8.0, 400, dtype=torch.float64)
WEIGHTS = 4.0 * torch.pi * RADII**2 * (RADII[1] - RADII[0])
DENSITY = torch.exp(-2.0 * RADII) / torch.pi  # of hydrogen
GRADIENT = torch.stack([-2.0 * DENSITY, 0.0 * RADII, 0.0 * RADII])


@dataclass(frozen=True)
class AtomStart:
    """Nothing but a name for orbitals."""

    orbitals: str | None

    def with_orbitals(self, orbitals: Any) -> AtomStart:
        return replace(self, orbitals=orbitals)

    def save(self, path: str | os.PathLike[str]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(self.orbitals))

    def state_dict(self) -> dict[str, Any]:
        return {"kind": "atom"}


@dataclass(frozen=True)
class AtomResult:
    """Energy of the functional at hydrogen's density."""

    extrapolated_energy: torch.Tensor
    is_differentiable: bool = True

    @property
    def free_energy(self) -> torch.Tensor:
        return self.extrapolated_energy

    def detach(self) -> AtomResult:
        return AtomResult(self.extrapolated_energy.detach(), False)


class Atom:
    """A calculation of a hydrogen atom whose density does not depend on the functional."""

    key, group, scale, natom = "hydrogen", "atoms", 1.0, 1

    def __init__(self) -> None:
        self.starts: list[AtomStart | None] = []
        self.options: Mapping[str, Any] | None = None

    def solve(
        self,
        functional: XCFunctional,
        start: AtomStart | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> AtomResult:
        self.starts.append(start)
        self.options = options
        self.last = self.frozen(functional)
        return AtomResult(self.last.at(functional))

    def energy_options(self, options: Mapping[str, Any]) -> str:
        return str(options.get("nbands"))

    def frozen(self, functional: XCFunctional) -> FrozenEnergy:
        channels = ({"value": DENSITY, "grad": GRADIENT},)
        information = ValGrad(**channels[0])
        with torch.no_grad():
            xc = float((WEIGHTS * functional.get_edensityxc(information)).sum())
        return FrozenEnergy(-0.2 + xc, xc, WEIGHTS, channels)

    def freeze(self, result: AtomResult) -> FrozenEnergy:
        return self.last

    def start_of(self, result: AtomResult) -> AtomStart:
        return AtomStart("1s")

    def read_start(self, path: str | os.PathLike[str]) -> AtomStart:
        try:
            return AtomStart(json.loads(Path(path).read_text()))
        except ValueError as error:
            raise DamagedFileError(f"{path} is damaged.") from error

    def start_from_state(self, state: Mapping[str, Any]) -> AtomStart:
        assert state == {"kind": "atom"}
        return AtomStart(None)


def test_energies_and_their_gradients_come_through_the_contract(tmp_path: Path) -> None:
    for cache in (None, tmp_path / "cache"):
        functional = PBE(trainable=True)
        atom, ground_states = Atom(), GroundStates(functional, 2, {"nbands": 1}, cache_dir=cache)
        for epoch in range(3):
            energy = ground_states.energies([atom], epoch)
            expected = atom.frozen(functional).energy * Hartree
            assert float(energy.detach()) == pytest.approx(expected, abs=1e-12)
            with torch.no_grad():
                for parameter in functional.parameters():
                    parameter *= 1.01
        energy = ground_states.energies([atom], 3)
        gradients = torch.autograd.grad(energy.sum(), list(functional.parameters()))
        assert all(float(gradient.abs()) > 1e-4 for gradient in gradients)
        # In the third epoch it is done again, from what the first one left.
        assert atom.starts == [None, AtomStart("1s")]
        assert atom.options == {"nbands": 1}
        assert ground_states.report.calculations == 2


def test_a_checkpoint_holds_what_the_solver_makes_of_it() -> None:
    functional = PBE(trainable=True)
    atom, ground_states = Atom(), GroundStates(functional, 1)
    before = ground_states.energies([atom], 0)
    ground_states.end_steps()
    state = ground_states.state_dict()
    again = GroundStates(functional, 5)
    again.load_state_dict(state)
    assert again.state_dict()["hydrogen"]["restart"] == {"kind": "atom"}
    assert float(again.energies([atom], 0).detach()) == pytest.approx(
        float(before.detach()), abs=1e-12
    )
    assert len(atom.starts) == 1  # at the density of the checkpoint
    assert float(again.predicted_energies([atom])) == pytest.approx(
        float(before.detach()), abs=1e-12
    )
    assert atom.starts[1:] == [AtomStart(None)]
