"""Ground states that are minima, and those that are not: as PySCF finds them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from deepchem_xc.gaussian import MolecularResult, scf
from deepchem_xc.gaussian.stability import downhill
from tests.gaussian.molecules import CONVERGENCE, theirs

SMALL: dict[str, Any] = {"basis": "6-31g", "grid_level": 0, "convergence": CONVERGENCE}


def stretched_hydrogen(**keywords: Any) -> MolecularResult:
    return scf(Atoms("H2", [[0, 0, 0], [0, 0, 2.5]]), "PBE", **SMALL, **keywords)


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "water": ("H2O", "PBE", {}),
    "hybrid": ("H2O", "PBE0", {}),
    "radical": ("NH2", "PBE", {"spin": 1}),
    "one set of orbitals": ("NH2", "PBE", {"spin": 1, "restricted": "open"}),
}


def flags_of(mf: Any, external: bool) -> tuple[bool, bool]:
    """PySCF's verdicts: within the kind of calculation, and with a set for each spin."""
    return mf.stability(internal=True, external=external, return_status=True)[2:]


@pytest.mark.parametrize("case", CASES)
def test_stable_is_what_is_stable_for_pyscf(case):
    name, functional, keywords = CASES[case]
    result = scf(molecule(name), functional, **SMALL, **keywords)
    found = result.stability()
    mf = theirs(result, functional.lower(), same_start=True)
    external = result.problem.kind == "restricted"
    inside, outside = flags_of(mf, external)
    assert (found.internal.value > -1e-4) == inside
    if found.unrestricted is not None:
        assert (found.unrestricted.value > -1e-4) == outside
    assert found.is_stable == (inside and (outside or not external))
    assert str(found).startswith("stable" if found.is_stable else "not a minimum")


def test_the_lowest_curvature_is_that_of_the_whole_matrix():
    from deepchem_xc.gaussian.rotations import Rotations

    result = stretched_hydrogen()
    states, fock = result.converged.states, result.converged.potential.fock
    rotations = Rotations(
        states.orbitals, states.filling, fock, result.problem.kernel(states.density)
    )
    pairs = torch.triu(rotations.mixing[0], 1).nonzero().tolist()
    columns = []
    for p, q in pairs:
        unit = torch.zeros_like(rotations.gradient)
        unit[0, p, q], unit[0, q, p] = 1.0, -1.0
        image = rotations.product(unit)[0]
        columns.append(torch.stack([image[i, j] for i, j in pairs]))
    lowest = float(torch.linalg.eigvalsh(torch.stack(columns))[0])
    assert result.stability().internal.value == pytest.approx(lowest, abs=1e-6)


def test_the_direction_found_leads_to_the_broken_symmetry():
    pairs = stretched_hydrogen()
    found = pairs.stability()
    assert not found.is_stable and found.unrestricted is not None
    assert flags_of(theirs(pairs, "pbe"), external=True) == (True, False)
    from_atoms = stretched_hydrogen(restricted=False, start=pairs)
    assert abs(float(from_atoms.energy - pairs.energy)) < 1e-8
    broken = stretched_hydrogen(restricted=False, start=found.unrestricted.density)
    assert float(broken.energy) < float(pairs.energy) - 0.02
    assert broken.stability().is_stable
    mf = theirs(broken, "pbe", same_start=True)
    assert abs(float(broken.energy) - mf.e_tot) < 1e-8


def test_the_way_down_from_a_saddle_lowers_the_energy_and_a_minimum_has_none():
    pairs = stretched_hydrogen()
    saddle = stretched_hydrogen(restricted=False, start=pairs)
    below = downhill(saddle.problem, saddle.converged.states, saddle.converged.potential.fock)
    assert below is not None
    assert saddle.problem.potential(below.density).energy < float(saddle.energy) - 1e-3
    assert downhill(pairs.problem, pairs.converged.states, pairs.converged.potential.fock) is None


def test_smeared_levels_have_no_such_curvature():
    result = stretched_hydrogen(occupations={"name": "fermi-dirac", "width": 0.01})
    with pytest.raises(ValueError, match="whole occupations, .* fermi-dirac smearing"):
        result.stability()
