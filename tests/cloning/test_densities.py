"""The parent's own densities: equal to PySCF's, kept, and computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from pyscf import dft, gto

from deepchem_xc.cloning import KeptDensity, densities, parent_densities
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.numerics.errors import SCFConvergenceError


def test_energies_are_those_of_libxcs_parent_in_pyscf(kept: list[KeptDensity]) -> None:
    for one, spin in zip(kept, (0, 1)):
        atoms = g2_molecule(one.name)
        places = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist()))
        mol = gto.M(atom=places, basis="6-31g", spin=spin, verbose=0)
        mf = dft.UKS(mol, xc="pbe")
        mf.grids.level = 1
        mf.conv_tol = 1e-10
        # Both stop where the energy changes by 1e-9 Ha.
        assert one.energy == pytest.approx(mf.kernel(), abs=1e-7)


def test_a_grid_holds_all_electrons_and_the_kinetic_energy(kept: list[KeptDensity]) -> None:
    for one, electrons in zip(kept, (10, 9)):
        grid = one.on_grid(3)
        assert grid.nelectrons == pytest.approx(electrons, abs=1e-6)
        up, down = grid.densinfo.u, grid.densinfo.d
        kinetic = float((grid.weights * (up.kin + down.kin)).sum())
        mol = densities.pyscf_molecule(one.atoms, one.basis)
        exact = float(np.einsum("sij,ji->", one.density_matrix, mol.intor("int1e_kin")))
        assert kinetic == pytest.approx(exact, rel=1e-6)


def test_kept_densities_are_not_computed_again(
    kept: list[KeptDensity], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> float:
        raise AssertionError("computed again")

    monkeypatch.setattr(densities, "converge", refuse)
    again = parent_densities("PBE", ["CH3", "H2O"], folder, basis="6-31g", grid_level=1)
    assert np.array_equal(again[1].density_matrix, kept[0].density_matrix)
    for changed in ({"basis": "sto-3g"}, {"grid_level": 2}):
        options = {"basis": "6-31g", "grid_level": 1, **changed}
        with pytest.raises(AssertionError, match="computed again"):
            parent_densities("PBE", ["CH3"], folder, **options)
    with pytest.raises(AssertionError, match="computed again"):
        parent_densities("PBEsol", ["CH3"], folder, basis="6-31g", grid_level=1)


def test_an_interrupted_run_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = densities.converge, []

    def interrupted(mf: object, name: str, start: object = None) -> float:
        if name == "HF":
            raise KeyboardInterrupt
        done.append(name)
        return real(mf, name)

    monkeypatch.setattr(densities, "converge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parent_densities("LDA", ["H2", "HF"], tmp_path, basis="sto-3g")
    parent_densities("LDA", ["H2"], tmp_path, basis="sto-3g")
    assert done == ["H2"]


def test_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    (h2,) = parent_densities("LDA", ["H2"], tmp_path, basis="sto-3g")
    (file,) = tmp_path.rglob("*.json")
    file.write_text(file.read_text().replace("-1.", "-2.", 1))
    (again,) = parent_densities("LDA", ["H2"], tmp_path, basis="sto-3g")
    assert again.energy == h2.energy


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there are no molecules"),
        (["H2", "H2"], "each molecule must occur once"),
        (["H22"], "no molecule 'H22'; did you mean '.*'H2'"),
        ("OH", r"names is the text 'OH': give a list of names, \['OH'\]"),
        ({"HI": Atoms("HI", [[0, 0, 0], [0, 0, 1.61]])}, "core potential of I, and densities of"),
        ({"HF": Atoms("HF", [[0, 0, 0], [0, 0, 0.01]])}, "atoms overlap"),
        ({"OH": Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])}, "9 electrons cannot have 0 unpaired"),
    ],
)
def test_impossible_lists_of_molecules_are_refused(
    names: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        parent_densities("PBE", names, tmp_path)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"basis": "no such basis"}, "unknown basis set 'no such basis'"),
        ({"basis": "ccecp-cc-pvdz"}, "made for a core potential of Si, and densities of parents"),
        ({"grid_level": 11}, "grid_level must be 0 to 9, got 11"),
    ],
)
def test_impossible_basis_sets_and_grids_are_refused(
    keywords: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        parent_densities("PBE", ["Si2"], tmp_path, **keywords)


def test_a_density_that_does_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never:
        mo_coeff = mo_occ = None
        converged, e_tot, xc = False, -1.0, "PBE"

        class mol:  # noqa: N801
            spin = 0

        def kernel(self, *start: object) -> None: ...

        def newton(self) -> Never:
            return self

    with pytest.raises(SCFConvergenceError, match="H2O does not converge with PBE"):
        densities.converge(Never(), "H2O")


def test_own_molecules_are_computed_as_those_of_the_set_are(
    kept: list[KeptDensity], folder: Path
) -> None:
    own = {"radical": g2_molecule("CH3")}
    (found,) = parent_densities("PBE", own, folder, basis="6-31g", grid_level=1)
    assert found.polarized
    assert found.energy == pytest.approx(kept[1].energy, abs=1e-9)
    assert found.on_grid(1).nelectrons == kept[1].on_grid(1).nelectrons
