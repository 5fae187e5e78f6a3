"""Reader of PAW-XML: what was written comes back; what is damaged or special is refused by name."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from deepchem_xc.planewave.paw import PAWDataset, is_paw_file, on_site_tables, read_paw_xml
from tests.planewave.paw.analytic_dataset import (
    CHANNELS,
    CHARGE,
    CORE,
    ENERGIES,
    KINETIC,
    MESHES,
    NAMES,
    RADIUS,
    AnalyticFile,
    core,
    smooth_core,
    smooth_wave,
    wave,
    zero_potential,
)


@pytest.mark.parametrize("equation", MESHES)
@pytest.mark.parametrize("name, root", [("Be.xml", "paw_dataset"), ("Be.PBE.gz", "paw_setup")])
def test_what_was_written_comes_back(equation: str, name: str, root: str, tmp_path: Path) -> None:
    dataset = read_paw_xml(AnalyticFile(equation, root=root).write(tmp_path / name), "Be")
    r = dataset.grid.r
    assert (dataset.symbol, dataset.functional, dataset.shape) == ("Be", "PBE", "gauss")
    assert dataset.name == name.removesuffix(".gz")
    assert (dataset.charge, dataset.core, dataset.valence) == (4.0, 2.0, 2.0)
    assert [wave.n for wave in dataset.waves] == [2, None, None, None, None]
    assert dataset.angular_momenta == tuple(l for l, _, _ in CHANNELS)
    assert dataset.sphere_radius == RADIUS
    spherical = np.sqrt(4.0 * np.pi)
    np.testing.assert_allclose(dataset.core_density, core(r) / spherical, rtol=1e-14)
    np.testing.assert_allclose(dataset.smooth_core_density, smooth_core(r) / spherical, rtol=1e-14)
    np.testing.assert_allclose(dataset.zero_potential, zero_potential(r) / spherical, rtol=1e-14)
    for j, found in enumerate(dataset.waves):
        np.testing.assert_array_equal(found.all_electron, wave(j)(r))
        np.testing.assert_array_equal(found.smooth, smooth_wave(j)(r))
    np.testing.assert_array_equal(dataset.kinetic_differences, KINETIC)
    assert dataset.reference.electrostatic == ENERGIES["electrostatic"]
    assert dataset.core_kinetic_density is None


def test_functions_on_a_shorter_mesh_give_the_same_tables(read: Callable[..., PAWDataset]) -> None:
    """Beyond the sphere both kinds of waves are equal, and so are compensated multipoles.

    Those above l = 2, of products with d waves, are not compensated: their tails count.
    """
    equation = "r=a*(exp(d*i)-1)"
    whole, cut = read(equation=equation), read(equation=equation, short=1000)
    assert 1.1 * RADIUS < cut.grid.r[1000] < 0.9 * 2.0 * RADIUS
    assert len(cut.grid) == len(whole.grid)
    assert np.all(cut.smooth_waves[:, 1000:] == 0.0)
    for name in ("multipoles", "coulomb_quadratic", "coulomb_linear", "zero_linear"):
        first, second = (getattr(on_site_tables(x), name) for x in (whole, cut))
        if name == "coulomb_quadratic":
            s_and_p = slice(0, 8)
            first, second = (x[(s_and_p,) * 4] for x in (first, second))
        np.testing.assert_allclose(first, second, rtol=0.0, atol=1e-9)


def test_numbers_as_fortran_writes_them_are_read(read: Callable[..., PAWDataset]) -> None:
    energy = '<ae_energy kinetic="  1.45D+01" xc="-2.7E0" electrostatic="-2.62-001"/>'
    reference = read(elements={"ae_energy": energy}).reference
    assert (reference.kinetic, reference.xc, reference.electrostatic) == (14.5, -2.7, -0.262)


@pytest.mark.parametrize(
    "kind, name, label",
    [
        ("GGA", "PBE", "PBE"),
        ("LDA", "PW", "LDA"),
        ("LDA", "LDA_X+LDA_C_PW", "LDA"),
        ("GGA", "GGA_X_PBE+GGA_C_PBE", "PBE"),
        ("GGA", "PW", "GGA PW"),
        ("GLLB", "GLLBSC", "GLLBSC"),
    ],
)
def test_the_functional_is_named_as_elsewhere_or_as_in_the_file(
    kind: str, name: str, label: str, read: Callable[..., PAWDataset]
) -> None:
    element = f'<xc_functional type="{kind}" name="{name}"/>'
    assert read(elements={"xc_functional": element}).functional == label


@pytest.mark.parametrize("equation", MESHES)
def test_the_local_ionic_potential_of_abinit_must_fit(
    equation: str, read: Callable[..., PAWDataset]
) -> None:
    """Potentials of Gaussian charges are error functions: smooth core and compensation charge."""
    file = AnalyticFile(equation)
    r = np.maximum(file.r, 1e-6)
    electrons = 0.11 * (np.pi / 1.2) ** 1.5
    rest = (CORE - CHARGE) / np.sqrt(4.0 * np.pi) - electrons / (4.0 * np.pi)
    ionic = zero_potential(r) + electrons * erf(np.sqrt(1.2) * r) / r
    ionic += 4.0 * np.pi * rest * erf(r / file.shape_radius) / r

    def element(values: np.ndarray) -> dict[str, str]:
        numbers = " ".join(repr(float(x)) for x in values)
        name = "blochl_local_ionic_potential"
        return {name: f'<{name} grid="long">{numbers}</{name}>'}

    assert read(equation=equation, elements=element(ionic)).valence == 2.0
    with pytest.raises(ValueError, match=r"contradict each other by 1\.\de-03 Ha"):
        read(equation=equation, elements=element(ionic + 1.5e-3 * (r < 1.0)))


def test_values_of_a_mesh_must_be_those_of_its_equation(read: Callable[..., PAWDataset]) -> None:
    r = AnalyticFile("r=d*i").r

    def mesh(step: float) -> str:
        values = " ".join(repr(float(x)) for x in r)
        slopes = " ".join([repr(step)] * len(r))
        return (
            f'<radial_grid eq="r = d*i" d="0.004" istart="0" iend="{len(r) - 1}" id="long">'
            f"<values>{values}</values><derivatives>{slopes}</derivatives></radial_grid>"
        )

    short = f'<radial_grid eq="r=d*i" d="0.004" istart="0" iend="{len(r) - 1}" id="short"/>'
    right = read(equation="r=d*i", elements={"radial_grid": mesh(0.004) + short})
    np.testing.assert_array_equal(right.grid.r, r)
    with pytest.raises(ValueError, match=r"<derivatives> of a mesh are not those of its equation"):
        read(equation="r=d*i", elements={"radial_grid": mesh(0.005) + short})


@pytest.mark.parametrize("name", [*AnalyticFile().parts()])
def test_every_missing_element_is_named(name: str, read: Callable[..., PAWDataset]) -> None:
    with pytest.raises(ValueError, match=rf"Be\.xml: .*<{name}>"):
        read(elements={name: None})


RADII = AnalyticFile().r


def changed(name: str, change: Callable[[list[str]], list[str]]) -> dict[str, str]:
    """The element of a density with other numbers."""
    values = {"ae_core_density": core, "pseudo_core_density": smooth_core}.get(name, zero_potential)
    numbers = [repr(float(x)) for x in values(RADII)]
    return {name: f'<{name} grid="long">{" ".join(change(numbers))}</{name}>'}


def _other_sign(numbers: list[str], index: int) -> list[str]:
    """One number with the other sign."""
    return [repr(-float(x)) if i == index else x for i, x in enumerate(numbers)]


def states(change: Callable[[str], str]) -> dict[str, str]:
    return {"valence_states": change(AnalyticFile().parts()["valence_states"])}


def atom(text: str) -> dict[str, str]:
    return {"atom": f"<atom {text}/>"}


@pytest.mark.parametrize(
    "elements, message",
    [
        (changed("zero_potential", lambda x: x[:-1]), "2000 values on a mesh of 2001 points"),
        (changed("zero_potential", lambda x: ["what", *x[1:]]), "number 1 is 'what', not a finite"),
        (changed("ae_core_density", lambda x: [*x[:9], "nan", *x[10:]]), "number 10 is 'nan'"),
        (changed("ae_core_density", lambda x: [*x[:9], "9", *x[10:]]), "electrons, not 2"),
        (changed("ae_core_density", lambda x: [x[0], *x[:-1]]), "<ae_core_density> holds 2.0"),
        (changed("pseudo_core_density", lambda x: _other_sign(x, 700)), "number 701 .* neighbours"),
        (changed("zero_potential", lambda x: _other_sign(x, 400)), "number 401 .* neighbours"),
        (
            {"ae_energy": '<ae_energy kinetic="14.5" xc="-3.7" electrostatic="-26.2" '
             'total="-14.4"/>'},
            "sum to -15.400000 Ha, not to their total, -14.400000",
        ),
        (changed("pseudo_core_density", lambda x: x[::-1]), "core densities differ by .* outside"),
        ({"zero_potential": '<zero_potential grid="g7">0</zero_potential>'}, "mesh 'g7'; those"),
        (atom('symbol="Mg" Z="4" core="2" valence="2"'), "a dataset of Mg, not of Be"),
        (atom('symbol="Be" Z="5" core="3" valence="2"'), "Z is 5, but Be has 4"),
        (atom('symbol="Be" Z="4" core="1.5" valence="2"'), "3.5 electrons for Z = 4.*core hole"),
        (atom('symbol="Be" Z="4" core="4" valence="0"'), "second must be positive"),
        (atom('symbol="Be" Z="4" core="2"'), "<atom> has no attribute 'valence'"),
        ({"core_energy": '<core_energy kinetic="inf"/>'}, "kinetic of <core_energy> is 'inf'"),
        ({"shape_function": '<shape_function type="exp" rc="1"/>'}, "'exp'; valid types are gauss"),
        ({"shape_function": '<shape_function type="num" rc="1"/>'}, "given as numbers"),
        ({"shape_function": '<shape_function type="gauss" rc="0"/>'}, "shape_function is 0 bohr"),
        (states(lambda x: x.replace('f="2"', 'f="1"')), "sum to 1, not to its 2 valence"),
        (states(lambda x: x.replace('l="2"', 'l="4"')), "state 5 has l = 4"),
        (states(lambda x: x.replace('l="2"', 'l="-1"')), "l of the state 'Be-d1' is '-1'"),
        (states(lambda x: x.replace('l="2"', 'l="0"')), "not dual"),
        (states(lambda x: x.replace('n="2"', 'n="1.5"')), "n of the state 'Be-2s' is 1.5"),
        (states(lambda x: x.replace(f'rc="{RADIUS}"', 'rc="1.0"', 1)), "partial waves of state 1"),
        (states(lambda x: x.replace(f'rc="{RADIUS}"', 'rc="99"')), "rc of state 1 is 99 bohr"),
        (states(lambda x: x.replace("Be-s1", "Be-2s")), "need distinct ids"),
        (states(lambda x: x.replace("Be-s1", "Be-9s")), "0 <ae_partial_wave> of the state 'Be-9s'"),
        (states(lambda x: "<valence_states/>"), r"distinct ids, got \[\]"),
        (
            {"kinetic_energy_differences": "<kinetic_energy_differences>1 2 3</kinetic_energy_diff"
             "erences>"},
            "3 values for 5 states, not 25",
        ),
        (
            {"kinetic_energy_differences": "<kinetic_energy_differences>" + "1 " * 25
             + "</kinetic_energy_differences>"},
            "couples states of different l",
        ),
        ({"core_hole_state": "<core_hole_state/>"}, "core hole"),
        (
            {"zero_potential": '<blochl_local_ionic_potential grid="long"/>'},
            "no <zero_potential> but <blochl_local_ionic_potential>",
        ),
        (
            {"radial_grid": '<radial_grid eq="r=a*exp(d*i)" a="1" d="1" istart="0" iend="9"/>'},
            r"'r=a\*exp\(d\*i\)' are not read; valid are r=d\*i",
        ),
        (
            {"radial_grid": '<radial_grid eq="r=d*i" d="-1" istart="0" iend="9"/>'},
            "needs positive parameters",
        ),
        (
            {"radial_grid": '<radial_grid eq="r=d*i" d="1" istart="1" iend="9"/>'},
            "increase from 0",
        ),
        (
            {"radial_grid": '<radial_grid eq="r=a*i/(n-i)" a="1" n="9" istart="0" iend="9"/>'},
            "not finite",
        ),
        (
            {"radial_grid": '<radial_grid eq="r=d*i" d="1" istart="0" iend="9" id="a"/>'
             '<radial_grid eq="r=d*i" d="2" istart="0" iend="8" id="b"/>'},
            "mesh 'b' has other radii than the longest",
        ),
        (
            {"radial_grid": '<radial_grid eq="r=d*i" d="1" istart="0" iend="9" id="a"/>' * 2},
            "two meshes have the id 'a'",
        ),
    ],
)  # fmt: skip
def test_contradictions_are_refused_with_the_files_name(
    elements: dict[str, str], message: str, read: Callable[..., PAWDataset]
) -> None:
    with pytest.raises(ValueError, match=rf"Be\.xml: .*{message}"):
        read(elements=elements)


@pytest.mark.parametrize("kind", ["ae_partial_wave", "pseudo_partial_wave", "projector_function"])
def test_a_damaged_function_of_a_state_is_refused(
    kind: str, read: Callable[..., PAWDataset]
) -> None:
    element = AnalyticFile().parts()[kind]
    first = re.search(rf'<{kind} [^>]*state="{NAMES[0]}">([^<]*)<', element)
    assert first is not None
    numbers = first.group(1).split()
    numbers[600] = "1.0"
    wrong = element.replace(first.group(1), " ".join(numbers))
    with pytest.raises(ValueError, match=r"Be\.xml: .*the file is damaged"):
        read(elements={kind: wrong})


def test_a_wrong_sign_of_an_all_electron_wave_is_refused(read: Callable[..., PAWDataset]) -> None:
    """Neither its norm nor another relation shows it."""
    element = AnalyticFile().parts()["ae_partial_wave"]
    first = re.search(rf'<ae_partial_wave [^>]*state="{NAMES[0]}">([^<]*)<', element)
    assert first is not None
    wrong = " ".join(_other_sign(first.group(1).split(), 600))
    with pytest.raises(ValueError, match=r"number 601 of <ae_partial_wave> of state 1 does not"):
        read(elements={"ae_partial_wave": element.replace(first.group(1), wrong)})


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    text = AnalyticFile(count=1801).text()
    path = tmp_path / "Be.xml"
    for part in range(1, 20):
        path.write_text(text[: part * len(text) // 20])
        with pytest.raises(ValueError, match=r"Be\.xml: it is not XML, or is damaged or cut short"):
            read_paw_xml(path, "Be")
    path.write_bytes(gzip.compress(text.encode())[:-2000])
    with pytest.raises(ValueError, match=r"Be\.xml: the compressed file is damaged or cut short"):
        read_paw_xml(path, "Be")


@pytest.mark.parametrize("text", ["<psml version='1.1'/>", "<html></html>"])
def test_other_xml_is_refused_by_the_name_of_its_root(text: str, tmp_path: Path) -> None:
    path = tmp_path / "Be.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"outermost element is <(psml|html)>.*<paw_dataset>"):
        read_paw_xml(path, "Be")


def test_paw_files_are_known_by_their_beginning(tmp_path: Path) -> None:
    file = AnalyticFile()
    assert is_paw_file(file.write(tmp_path / "Be.PBE.gz"))
    assert is_paw_file(file.write(tmp_path / "Be.PBE"))
    for name, content in (("a.gz", b"\x1f\x8bnothing"), ("b.gz", gzip.compress(b"<paw_basis>"))):
        (tmp_path / name).write_bytes(content)
        assert not is_paw_file(tmp_path / name)
    assert not is_paw_file(tmp_path / "absent")
