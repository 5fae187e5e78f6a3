"""GTH potentials: PySCF's parser and form factors, real-space integrals, ABINIT's core energy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import erf, spherical_jn

from deepchem_xc.planewave.pseudo import (
    FAMILIES,
    GTHPseudopotential,
    load_gth,
    load_pseudopotentials,
    parse_gth,
)

NAMES = [
    ("H", "gth-pbe"),
    ("Si", "gth-pbe"),
    ("Ni", "GTH-PBE-q18"),
    ("Ni", "GTH-GGA-q10"),
    ("Ga", "gth-pbe"),  # three s projectors
    ("Ce", "gth-pbe"),  # f projectors
    ("C", "gth-pade"),
    ("O", "GTH-MGGA-q6"),
]


def pyscf_parameters(symbol: str, name: str) -> list:
    from pyscf.pbc.gto import pseudo

    return pseudo.load(name, symbol)


@pytest.mark.parametrize("family", ["gth-pbe", "gth-pade", "gth-blyp"])
def test_default_entries_of_all_elements_are_those_of_pyscf(family: str) -> None:
    from ase.data import chemical_symbols

    compared = 0
    for symbol in chemical_symbols[1:87]:
        try:
            ours = load_gth(symbol, family).parameters
        except ValueError:
            with pytest.raises(Exception, match=symbol):
                pyscf_parameters(symbol, family)
            continue
        electrons, r_loc, n, c, n_channels, *channels = pyscf_parameters(symbol, family)
        assert list(ours.electrons) == electrons, symbol
        assert ours.local_radius == r_loc and list(ours.local_coefficients) == c[:n], symbol
        theirs = [(l, r, h) for l, (r, m, h) in enumerate(channels) if m > 0]
        assert [(l, r, [list(row) for row in h]) for l, r, h in ours.projectors] == theirs, symbol
        compared += 1
    assert compared >= 50


def test_every_entry_of_every_family_can_be_read() -> None:
    from deepchem_xc.planewave.pseudo.gth_files import _build, _entries

    damaged, read = [], 0
    for family in FAMILIES:
        for symbol, entries in _entries(family).items():
            for entry in entries:
                try:
                    potential = _build(symbol, *entry, family)
                except ValueError as error:
                    damaged.append(str(error))
                    continue
                assert f"-q{potential.valence:g}" in potential.name
                read += 1
    assert read > 1000
    # PySCF's copy of the UZH set lost the last number of one entry
    assert len(damaged) <= 1 and all("GTH-HYB-q15 of Bi" in d for d in damaged)


@pytest.mark.parametrize("symbol, name", NAMES)
def test_form_factors_equal_those_of_pyscf(symbol: str, name: str) -> None:
    from pyscf.pbc import gto
    from pyscf.pbc.gto.pseudo import pp

    cell = gto.Cell()
    cell.atom = [[symbol, (0, 0, 0)]]
    cell.a = np.eye(3) * 8.0
    cell.basis = {symbol: [[0, [1.0, 1.0]]]}
    cell.pseudo = {symbol: pyscf_parameters(symbol, name)}
    cell.spin = None
    cell.mesh = [9, 9, 9]
    cell.verbose = 0
    cell.build()
    vectors = cell.Gv[1:]
    potential = load_gth(symbol, name)
    q2 = torch.from_numpy((vectors**2).sum(axis=1))

    theirs = -pp.get_gth_vlocG(cell, vectors)[0]
    np.testing.assert_allclose(potential.local(q2).numpy(), theirs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(potential.alpha, pp.get_alphas(cell)[0], rtol=1e-13)

    couplings, projectors = pp.get_gth_projG(cell, vectors)
    filled = [l for l, p in enumerate(projectors[0]) if len(p[0]) > 0]
    assert filled == [channel.l for channel in potential.channels]
    for index, channel in enumerate(potential.channels):
        l = channel.l
        np.testing.assert_array_equal(channel.coupling.numpy(), couplings[0][l])
        ours = potential.projectors(index, q2).numpy() * q2.numpy() ** (0.5 * l)
        for i, radial in enumerate(ours):
            # the sum over m of |Y_lm|^2 is (2 l + 1) / 4 pi
            power = sum(np.abs(m[i]) ** 2 for m in projectors[0][l])
            np.testing.assert_allclose(
                radial**2 * (2 * l + 1) / (4 * np.pi), power, rtol=1e-10, atol=1e-13
            )
            np.testing.assert_allclose(
                radial,
                pp.projG_li(np.sqrt(q2.numpy()), l, i, potential.parameters.projectors[index][1]),
                rtol=1e-11,
                atol=1e-13,
            )


def test_form_factors_are_the_integrals_of_the_real_space_formulas(analytic, gth_lines) -> None:
    potential = GTHPseudopotential("Si", "synthetic", parse_gth(gth_lines), "PBE")
    for q in (0.3, 1.7, 6.0):
        q2 = torch.tensor(q * q, dtype=torch.float64)

        def short(r: float, q: float = q) -> float:
            z, width = analytic.valence, math.sqrt(2) * analytic.r_loc
            return (
                r * (r * analytic.local(np.array(r)) + z * erf(r / width)) * np.sinc(q * r / np.pi)
            )

        integral = 4 * np.pi * quad(short, 0, 8, epsabs=1e-12, limit=400)[0]
        coulomb = -4 * np.pi * analytic.valence / q**2 * np.exp(-((q * analytic.r_loc) ** 2) / 2)
        assert potential.local(q2).item() == pytest.approx(integral + coulomb, abs=1e-9)
        for index, l in enumerate(analytic.h):
            ours = potential.projectors(index, q2) * q**l
            for i in range(len(analytic.h[l])):

                def product(r: float, l: int = l, i: int = i, q: float = q) -> float:
                    value = analytic.projectors(l, np.array(r))[i]
                    return r * r * value * spherical_jn(l, q * r)

                integral = 4 * np.pi * quad(product, 0, 8, epsabs=1e-12, limit=400)[0]
                assert ours[i].item() == pytest.approx(integral, abs=1e-9)


def test_core_energies_are_those_of_abinit(reference) -> None:
    compared = 0
    for name, run in reference("abinit_gth.json").items():
        potentials = {full.split(".")[0]: full for full in run["pseudo"]}
        loaded = load_pseudopotentials(potentials, run["species"])
        volume = abs(np.linalg.det(np.array(run["lattice_bohr"])))
        electrons = sum(loaded[s].valence for s in run["species"])
        core = electrons / volume * sum(loaded[s].alpha for s in run["species"])
        assert core == pytest.approx(run["energies_Ha"]["e_corepsp"], abs=1e-13), name
        compared += 1
    assert compared >= 9


def test_core_energy_of_silicon_is_that_of_abinit_9_6() -> None:
    # ABINIT 9.6.2, two Si atoms in the diamond structure, a = 10.26121285671793 bohr, GTH-PBE-q4:
    # e_corepsp in Hartree per cell
    volume, core = 10.26121285671793**3 / 4, -0.21000679143012102
    alpha = load_gth("Si", "gth-pbe").alpha
    assert 8 / volume * 2 * alpha == pytest.approx(core, rel=1e-12)


def test_the_default_is_the_entry_that_the_file_marks() -> None:
    assert load_gth("Ni", "gth-pbe").valence == 18
    assert load_gth("Mg", "gth-pbe").valence == 10
    assert load_gth("Au", "gth-pbe").valence == 11  # the file also has 19
    # the UZH set marks none: the valence of gth-pbe
    assert load_gth("Au", "gth-uzh").name == "GTH-GGA-q11"
    assert load_gth("Ga", "gth-uzh").valence == 13


def test_names_are_found_with_element_in_any_case_and_by_alias() -> None:
    by_name = [load_gth("Ni", n) for n in ("GTH-PBE-q18", "Ni.GTH-PBE-q18", "gth-pbe-Q18")]
    assert len({p.parameters for p in by_name}) == 1
    assert load_gth("Si", "gth-lda").parameters == load_gth("Si", "GTH-PADE-q4").parameters
    assert load_gth("Ni", "GTH-GGA-q18").parameters != by_name[0].parameters


@pytest.mark.parametrize(
    "family, functional",
    [("gth-pbe", "PBE"), ("gth-pade", "LDA"), ("gth-blyp", "BLYP"), ("gth-pbesol", "PBEsol")]
    + [("gth-uzh", "PBE"), ("gth-uzh-scan", "SCAN"), ("gth-uzh-pbe0", "PBE0")],
)
def test_families_know_their_functional(family: str, functional: str) -> None:
    assert load_gth("B", family).functional == functional


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'nothing' for Ni.*gth-pbe, gth-pade.*GTH-PBE-q18"):
        load_gth("Ni", "nothing")
    with pytest.raises(ValueError, match=r"'gth-hcth407' has no Ni.*gth-pbe.*holds: H"):
        load_gth("Ni", "gth-hcth407")
    with pytest.raises(ValueError, match="belongs to Fe, but was requested for Ni"):
        load_gth("Ni", "Fe.GTH-PBE-q16")
    with pytest.raises(ValueError, match="no pseudopotential 'Si.PBE.gz' for Si"):
        load_gth("Si", "Si.PBE.gz")


@pytest.mark.parametrize(
    "lines, message",
    [
        (["2 2", "0.44 2 -6.2"], "damaged GTH entry"),
        (["2 2", "0.44 x"], "damaged GTH entry"),
        ([], "damaged GTH entry"),
        (["2 2", "0.44 1 -6.2", "0", "NLCC 1"], "unexpected 'NLCC'"),
        (["0 0", "0.44 1 -6.2", "0"], "must be positive"),
        (["2 2", "-0.44 1 -6.2", "0"], "must be positive"),
    ],
)
def test_damaged_entries_are_refused(lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_gth(lines)
