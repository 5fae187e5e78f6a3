"""psp8 and UPF readers: files made from analytic functions, real files, ABINIT, damaged files."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from scipy.interpolate import make_interp_spline
from scipy.special import spherical_jn

from deepchem_xc.planewave.pseudo import (
    GTHPseudopotential,
    NumericPseudopotential,
    Pseudopotential,
    load_pseudopotential,
    parse_gth,
    read_psp8,
    read_upf,
)

Q2 = torch.cat([torch.tensor([1e-8]), torch.rand(500) * 26.0**2]).double()


@pytest.fixture(params=["psp8", "upf-linear", "upf-logarithmic"])
def numeric(request, psp8_text, upf_text, write) -> NumericPseudopotential:
    if request.param == "psp8":
        return read_psp8(write("Si.psp8", psp8_text()), "Si")
    return read_upf(write("Si.upf", upf_text(request.param.split("-")[1])), "Si")


@pytest.fixture
def exact(gth_lines) -> GTHPseudopotential:
    return GTHPseudopotential("Si", "synthetic", parse_gth(gth_lines), "PBE")


def kernel(potential: Pseudopotential, index: int, q2: torch.Tensor) -> torch.Tensor:
    """p(q) D p(q'): unlike the projectors themselves it does not depend on their basis."""
    p = potential.projectors(index, q2) * q2 ** (0.5 * potential.channels[index].l)
    return torch.einsum("iq,ij,jp->qp", p, potential.channels[index].coupling, p)


def test_readers_reproduce_the_analytic_local_potential(numeric, exact) -> None:
    assert numeric.alpha == pytest.approx(exact.alpha, abs=1e-9)
    difference = numeric.local(Q2[1:]) - exact.local(Q2[1:])
    assert difference.abs().max() < 1e-9
    # as q -> 0 the Coulomb part cancels
    limit = numeric.local(Q2[:1]) + 4 * torch.pi * numeric.valence / Q2[:1]
    assert limit.item() == pytest.approx(exact.alpha, abs=1e-5)


def test_readers_reproduce_the_analytic_projectors(numeric, exact) -> None:
    assert [c.l for c in numeric.channels] == [c.l for c in exact.channels] == [0, 1]
    for index in range(2):
        ours, theirs = (kernel(p, index, Q2[:60]) for p in (numeric, exact))
        assert (ours - theirs).abs().max() < 1e-9 * theirs.abs().max()


def test_readers_reproduce_the_analytic_densities(numeric, analytic) -> None:
    core = analytic.core_charge * torch.exp(-0.5 * Q2 * analytic.core_width**2)
    valence = analytic.valence * torch.exp(-0.5 * Q2 * analytic.density_width**2)
    assert numeric.has_core_density
    torch.testing.assert_close(numeric.core_density(Q2), core, rtol=0, atol=1e-10)
    torch.testing.assert_close(numeric.atomic_density(Q2), valence, rtol=0, atol=1e-9)


def test_readers_know_name_valence_and_functional(numeric) -> None:
    assert (numeric.symbol, numeric.valence, numeric.functional) == ("Si", 4.0, "PBE")
    assert numeric.name.startswith("Si.")


def test_missing_densities(psp8_text, upf_text, write) -> None:
    upf = read_upf(write("Si.upf", upf_text(core=False, core_correction="F")), "Si")
    assert not upf.has_core_density
    with pytest.raises(ValueError, match="no core density"):
        upf.core_density(Q2)
    # without a density in the file the atom is solved, and so it is for the same potential as GTH
    bare = read_psp8(write("bare.psp8", psp8_text(extension=0)), "Si")
    zero = torch.zeros(1, dtype=torch.float64)
    assert bare.atomic_density(zero).item() == pytest.approx(4.0, abs=1e-9)


def test_atom_of_a_table_equals_atom_of_the_formula(psp8_text, write, exact) -> None:
    bare = read_psp8(write("bare.psp8", psp8_text(extension=0)), "Si")
    ours, theirs = bare.atomic_density(Q2), exact.atomic_density(Q2)
    assert (ours - theirs).abs().max() < 1e-3


@pytest.mark.parametrize(
    "ixc, functional",
    [(1, "LDA"), (7, "LDA"), (11, "PBE"), (-101130, "PBE"), (-116133, "PBEsol")]
    + [(-1012, "LDA"), (-20, "LDA"), (99, None)],
)
def test_psp8_functionals(psp8_text, write, ixc: int, functional: str | None) -> None:
    assert read_psp8(write("Si.psp8", psp8_text(ixc=ixc, h=0.05)), "Si").functional == functional


def test_core_energies_with_psp8_are_those_of_abinit(reference, reference_path) -> None:
    for name, run in reference("abinit_psp8.json").items():
        (file,), (symbol,) = set(run["pseudo"]), set(run["species"])
        potential = read_psp8(reference_path(f"pseudos/{file}"), symbol)
        atoms = len(run["species"])
        volume = abs(np.linalg.det(np.array(run["lattice_bohr"])))
        core = atoms**2 * potential.valence * potential.alpha / volume
        assert core == pytest.approx(run["energies_Ha"]["e_corepsp"], abs=1e-9), name


@pytest.mark.parametrize("file", ["Si.psp8", "Ni-sp.psp8", "O.psp8", "Ca-sp.psp8"])
def test_real_psp8_files_against_splined_integrals_at_random_wave_vectors(
    reference_path, file
) -> None:
    path = reference_path(f"pseudos/{file}")
    potential = read_psp8(path, re.split(r"[.-]", file)[0])
    lines = path.read_text().replace("D", "E").splitlines()
    size = int(lines[2].split()[4])
    counts = [int(x) for x in lines[4].split()[:3]]
    q = np.random.default_rng(3).uniform(0.05, 20.0, 12)
    at = 6

    def block(start: int) -> np.ndarray:
        return np.array([line.split() for line in lines[start : start + size]], dtype=float)

    for index, (l, n) in enumerate((l, n) for l, n in enumerate(counts) if n):
        table = block(at + 1)
        energies = [float(x) for x in lines[at].split()[1 : 1 + n]]
        np.testing.assert_allclose(potential.channels[index].coupling.numpy(), np.diag(energies))
        ours = potential.projectors(index, torch.tensor(q**2)).numpy() * q**l
        r = table[:, 1]
        fine = np.linspace(0.0, r[-1], 10 * (len(r) - 1) + 1)
        for i in range(n):
            u = make_interp_spline(r, table[:, 2 + i], k=5)(fine)
            integral = simpson(fine * u * spherical_jn(l, np.outer(q, fine)), x=fine)
            np.testing.assert_allclose(ours[i], 4 * np.pi * integral, rtol=0, atol=1e-9)
        at += size + 1
    table = block(at + 1)
    r, v = table[:, 1], table[:, 2]
    z = potential.valence
    # V + Z/r on the mesh, plus the transform of -Z/r, needs no split into short and long range
    short = make_interp_spline(r, r * v + z, k=5)(fine)
    integral = simpson(np.sin(np.outer(q, fine)) * short, x=fine) * 4 * np.pi / q
    ours = potential.local(torch.tensor(q**2)).numpy()
    np.testing.assert_allclose(ours, integral - 4 * np.pi * z / q**2, rtol=0, atol=2e-9)
    if potential.has_core_density:
        table = block(at + 1 + size)
        n_core = make_interp_spline(r, table[:, 2], k=5)(fine)
        core = simpson(fine**2 * n_core * np.sinc(np.outer(q, fine) / np.pi), x=fine)
        ours = potential.core_density(torch.tensor(q**2)).numpy()
        np.testing.assert_allclose(ours, core, rtol=0, atol=1e-9)


@pytest.mark.parametrize("symbol", ["Si", "Ni"])
def test_real_upf_files(reference_path, symbol: str) -> None:
    potential = read_upf(reference_path(f"pseudos/{symbol}_ONCV_PBE_sr.upf"), symbol)
    assert potential.functional == "PBE"
    assert potential.valence == {"Si": 4, "Ni": 18}[symbol]
    zero = torch.zeros(1, dtype=torch.float64)
    assert potential.atomic_density(zero).item() == pytest.approx(potential.valence, abs=1e-10)
    # bound states: the projectors' couplings are of the order of Hartrees, not Rydbergs squared
    if symbol == "Ni":
        assert potential.channels[0].coupling[0, 0].item() == pytest.approx(-6.9002682837 / 2)


def cut(text: str, fraction: float) -> str:
    return text[: int(len(text) * fraction)]


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_psp8_cut_short_is_refused(psp8_text, write, fraction: float) -> None:
    path = write("Si.psp8", cut(psp8_text(h=0.05), fraction))
    with pytest.raises(ValueError, match=r"Si\.psp8.*(cut short|damaged)"):
        read_psp8(path, "Si")


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.2, 0.5, 0.8, 0.999])
def test_upf_cut_short_is_refused(upf_text, write, fraction: float) -> None:
    path = write("Si.upf", cut(upf_text("logarithmic"), fraction).removesuffix("</UPF>\n"))
    with pytest.raises(ValueError, match=r"Si\.upf.*(cut short|not a UPF)"):
        read_upf(path, "Si")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"charge": 6.0}, "potential of C was given for Si"),
        ({"code": 6}, "pspcod is 6"),
        ({"extension": 2}, "spin-orbit"),
        ({"extension": 3}, "spin-orbit"),
    ],
)
def test_psp8_that_cannot_be_used(psp8_text, write, changes: dict, message: str) -> None:
    path = write("Si.psp8", psp8_text(h=0.05, **changes))
    with pytest.raises(ValueError, match=message):
        read_psp8(path, "Si")


def test_psp8_with_a_lost_line_is_refused(psp8_text, write) -> None:
    lines = psp8_text(h=0.05).splitlines()
    del lines[50]
    with pytest.raises(ValueError, match="numbered"):
        read_psp8(write("Si.psp8", "\n".join(lines)), "Si")


def test_psp8_without_a_coulomb_tail_is_refused(psp8_text, write) -> None:
    text = psp8_text(h=0.05).replace("14.0 4.0", "14.0 5.0")
    with pytest.raises(ValueError, match=r"not the -5/r of 5 valence"):
        read_psp8(write("Si.psp8", text), "Si")


@pytest.mark.parametrize(
    "header, message",
    [
        ({"element": "C"}, "potential of C was given for Si"),
        ({"pseudo_type": "US"}, "'US'.*norm-conserving"),
        ({"pseudo_type": "PAW"}, "'PAW'.*norm-conserving"),
        ({"is_ultrasoft": "T"}, "ultrasoft"),
        ({"is_paw": ".true."}, "PAW"),
        ({"has_so": "true"}, "spin-orbit"),
        ({"is_coulomb": "T"}, "Coulomb"),
        ({"number_of_proj": "4"}, r"number_of_proj is 4, .* PP_BETA\.1, PP_BETA\.2, PP_BETA\.3"),
        ({"number_of_proj": "2"}, r"number_of_proj is 2, .* PP_BETA\.1, PP_BETA\.2, PP_BETA\.3"),
        ({"number_of_proj": "0"}, "number_of_proj is 0"),
        ({"number_of_proj": "many"}, "PP_HEADER: number_of_proj is 'many'"),
        ({"core_correction": "F"}, "core_correction is F"),
        ({"core_correction": "yes"}, "core_correction is 'yes', expected T or F"),
        ({"mesh_size": "1129"}, "mesh_size is 1129, but PP_R holds 1130"),
        ({"l_max": "0"}, "l_max is 0, but there are projectors of l=1"),
        ({"relativistic": "full"}, "spin-orbit"),
        ({"z_valence": "inf"}, "PP_HEADER: z_valence is 'inf', not a finite number"),
        ({"z_valence": "5"}, "not the -5/r"),
    ],
)
def test_upf_that_cannot_be_used(upf_text, write, header: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_upf(write("Si.upf", upf_text("logarithmic", **header)), "Si")


def test_upf_of_other_versions_is_refused(upf_text, write) -> None:
    old = write("old.upf", "<PP_INFO>\n</PP_INFO>\n<PP_HEADER>\n 0 Version\n</PP_HEADER>\n")
    with pytest.raises(ValueError, match="version 1 is not supported"):
        read_upf(old, "Si")
    new = write("new.upf", upf_text("logarithmic").replace('"2.0.1"', '"3.0"'))
    with pytest.raises(ValueError, match="version 3 is not supported"):
        read_upf(new, "Si")


def test_upf_with_lost_or_spoilt_numbers_is_refused(upf_text, write) -> None:
    text = upf_text("logarithmic")
    start = text.index("<PP_LOCAL")
    number = re.search(r"-\d\.\d+E\S+", text[start:])
    assert number is not None
    for new, message in (
        ("", "instead of 1130"),
        ("nan", "PP_LOCAL: number 1 is .nan."),
        ("?", "number 1 is .\\?."),
    ):
        spoilt = text[:start] + text[start:].replace(number.group(), new, 1)
        with pytest.raises(ValueError, match=message):
            load_pseudopotential(write("Si.upf", spoilt), "Si")
