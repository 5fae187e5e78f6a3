"""The clones that come with the project are their parents, also where no training looked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.units import Hartree, kcal, mol

from deepchem_xc.cloning import SAMPLED
from deepchem_xc.gaussian import scf
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.enhancement import enhancement

CLONES = {"cloned_pbe": "PBE", "cloned_pbesol": "PBEsol", "cloned_r2scan": "r2SCAN"}
GRADIENTS = (0.3, 0.5, 1.0, 1.5, 2.0, 3.0)


@pytest.mark.parametrize(("clone", "parent"), CLONES.items())
def test_a_clone_has_its_parents_enhancement_factor(clone: str, parent: str) -> None:
    for rs, zeta, alpha in itertools.product((0.2, 1.0, 2.0), (0.0, 0.6), (0.7, 3.0)):
        options = {"zeta": zeta, "alpha": alpha}
        wanted = torch.as_tensor(enhancement(get_xc(parent), rs, GRADIENTS, **options))
        found = torch.as_tensor(enhancement(get_xc(clone), rs, GRADIENTS, **options))
        assert float((found - wanted).abs().max()) < 5e-3, (rs, zeta, alpha)


def test_a_clone_of_a_meta_gga_is_its_parent_near_the_uniform_gas_and_between_ions() -> None:
    """Where alpha is near 1, with its slope, and where it is far above that of any molecule."""
    s, alpha = (x.ravel() for x in np.meshgrid([0.0, 0.1, 0.2], np.linspace(0.8, 1.2, 9)))
    ions = np.meshgrid([0.2, 0.5], [8.0, 12.0, 18.0])
    for rs, points in ((0.6, (s, alpha)), (2.5, ions)):
        found, wanted = (
            enhancement(get_xc(name), rs, points[0], alpha=points[1])
            for name in ("cloned_r2scan", "r2SCAN")
        )
        assert found == pytest.approx(wanted, abs=5e-4), rs


@pytest.mark.parametrize(("clone", "parent"), CLONES.items())
def test_a_clone_gives_the_energy_of_a_reaction_that_it_has_not_seen(
    clone: str, parent: str
) -> None:
    """H2CO + 2 H2O -> CH3OH + H2O2, of which neither product was sampled."""
    reaction = {"CH3OH": 1, "H2O2": 1, "H2CO": -1, "H2O": -2}
    assert not {"CH3OH", "H2O2"} & set(SAMPLED)
    energies = {
        xc: sum(
            number * float(scf(molecule(name), xc, basis="def2-svp", grid_level=1).energy.detach())
            for name, number in reaction.items()
        )
        for xc in (clone, parent)
    }
    assert abs(energies[clone] - energies[parent]) * Hartree / (kcal / mol) < 0.1
