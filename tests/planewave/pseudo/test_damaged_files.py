"""A changed potential file is refused, or means what it meant: it never gives other numbers."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.planewave.pseudo import (
    NumericPseudopotential,
    load_pseudopotential,
    load_pseudopotentials,
    parse_gth,
    read_psp8,
    read_upf,
)
from deepchem_xc.planewave.pseudo.files import read_number
from deepchem_xc.planewave.pseudo.tables import check_smooth

Q2 = torch.linspace(0.2, 8.0, 9, dtype=torch.float64) ** 2
NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[EeDd][+-]?\d+)?")


def content(potential: NumericPseudopotential) -> torch.Tensor:
    """All that a calculation takes from a potential, at a few wave vectors."""
    parts = [torch.tensor([potential.valence]), potential.local(Q2)]
    for index, channel in enumerate(potential.channels):
        p = potential.projectors(index, Q2) * Q2 ** (0.5 * channel.l)
        kernel = torch.einsum("iq,ij,jp->qp", p, channel.coupling, p)
        parts += [torch.tensor([float(channel.l)]), kernel.flatten()]
    if potential.has_core_density:
        parts.append(potential.core_density(Q2))
    return torch.cat(parts)


class Recorded(NumericPseudopotential):
    """Keeps what a reader found: comparing that is faster than Fourier transforms."""

    def __init__(self, symbol: str, name: str, valence: float, *rest: Any) -> None:
        super().__init__(symbol, name, valence, *rest)
        _, r, local, projectors, core, *_ = (*rest, None, None)
        arrays = [np.array([valence]), r, local, *([] if core is None else [core])]
        for p in projectors:
            arrays += [np.array([p.l]), p.functions.ravel(), p.coupling.ravel()]
        self.found = np.concatenate(arrays)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in ("psp8", "upf"):
        monkeypatch.setattr(
            f"deepchem_xc.planewave.pseudo.{reader}.NumericPseudopotential", Recorded
        )


def number_changes(line: str) -> Iterator[str]:
    for match in NUMBER.finditer(line):
        old = match.group()
        news = ["inf", "nan", "", "0"]
        if old.isdigit():
            news += [str(int(old) + 1), str(int(old) - 1)]
        for new in news:
            yield line[: match.start()] + new + line[match.end() :]


def line_changes(
    lines: list[str], at: int, change: Callable[[str], Iterator[str]]
) -> Iterator[str]:
    yield "\n".join(lines[:at] + lines[at + 1 :])
    for new in change(lines[at]):
        yield "\n".join([*lines[:at], new, *lines[at + 1 :]])


def check_none_is_silent(texts: list[str], path: Path, read: Callable, right: str) -> None:
    path.write_text(right)
    expected = read(path, "Si").found
    refused = 0
    for text in texts:
        path.write_text(text)
        try:
            found = read(path, "Si").found
        except ValueError as error:
            assert str(path) in str(error), "the file is not named"
            refused += 1
            continue
        pairs = zip(right.splitlines(), text.splitlines(), strict=False)
        assert np.array_equal(found, expected), next((a, b) for a, b in pairs if a != b)
    assert refused > len(texts) / 3


@pytest.mark.usefixtures("recorded")
def test_no_change_of_a_psp8_header_is_silent(psp8_text, tmp_path: Path) -> None:
    """Couplings excepted: any finite number but zero is one."""
    text = psp8_text(h=0.05)
    lines = text.splitlines()
    block = int(lines[2].split()[4]) + 1
    texts = [new for at in range(6) for new in line_changes(lines, at, number_changes)]
    for at in (6, 6 + block, 6 + 2 * block):

        def spoil_head(line: str) -> Iterator[str]:
            yield from (new for new in number_changes(line) if line.split()[1:] != new.split()[1:])

        texts += list(line_changes(lines, at, spoil_head))[:5]
    check_none_is_silent(texts, tmp_path / "Si.psp8", read_psp8, text)


@pytest.mark.usefixtures("recorded")
def test_no_change_of_a_upf_header_is_silent(upf_text, tmp_path: Path) -> None:
    text = upf_text("logarithmic", l_max="1", mesh_size="1130", relativistic="scalar")
    lines = text.replace(' z_valence="', '\nz_valence="').replace('" ', '"\n').splitlines()
    heads = [at for at, line in enumerate(lines) if "<" in line or "=" in line]

    def changes(line: str) -> Iterator[str]:
        yield from number_changes(line)
        for flag in re.finditer(r'"(T|F|\.false\.)"', line):
            yield line.replace(flag.group(), '"F"' if flag.group(1) == "T" else '"T"')
        for name in re.finditer(r"PP_\w+|\w+(?==)", line):
            yield line[: name.start()] + "X" + line[name.start() :]

    texts = [new for at in heads for new in line_changes(lines, at, changes)]
    check_none_is_silent(texts, tmp_path / "Si.upf", read_upf, "\n".join(lines))


@pytest.mark.parametrize("kind", ["psp8", "upf"])
def test_a_spoilt_number_anywhere_is_noticed(kind, psp8_text, upf_text, tmp_path: Path) -> None:
    """One number of a table in error, or lost, or standing there twice."""
    text = psp8_text(h=0.05) if kind == "psp8" else upf_text("logarithmic")
    lines = text.splitlines()
    rng = np.random.default_rng(0)
    rows = [at for at, line in enumerate(lines) if re.fullmatch(r"[\s\d.eEdD+-]+", line)]
    texts = []
    for at in rng.choice(rows[5:-5], 25, replace=False):
        line = lines[at]
        match = rng.choice(list(NUMBER.finditer(line)))
        digit = "9" if match.group()[0] != "9" else "5"
        for new in ("inf", "", digit + match.group()[1:], f"{match.group()} {match.group()}"):
            changed = line[: match.start()] + new + line[match.end() :]
            texts.append("\n".join([*lines[:at], changed, *lines[at + 1 :]]))
        texts.append("\n".join([*lines[: at + 1], *lines[at:]]))
    path = tmp_path / f"Si.{kind}"
    reader = read_psp8 if kind == "psp8" else read_upf
    path.write_text(text)
    expected = content(reader(path, "Si"))
    for new in texts:
        path.write_text(new)
        try:
            found = content(reader(path, "Si"))
        except ValueError:
            continue
        # What is too small to tell from rounding changes little.
        assert (found - expected).abs().max() < 2e-2 * expected.abs().max()


def test_projectors_without_a_count_are_all_there(upf_text, write) -> None:
    whole = upf_text("logarithmic")
    without = re.sub(r'number_of_proj="[^"]*"', "", whole)
    right = content(read_upf(write("a.upf", whole), "Si"))
    assert torch.equal(content(read_upf(write("b.upf", without), "Si")), right)


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e999", "****"])
@pytest.mark.parametrize(
    "tag", ["PP_DIJ", "PP_BETA.1", "PP_LOCAL", "PP_NLCC", "PP_RHOATOM", "PP_R", "PP_RAB"]
)
def test_numbers_of_upf_that_are_not_finite(upf_text, write, tag: str, number: str) -> None:
    pattern = rf"(<{re.escape(tag)} [^>]*>\s*)\S+"
    text = re.sub(pattern, lambda m: m.group(1) + number, upf_text("logarithmic"))
    with pytest.raises(ValueError, match=rf"Si\.upf: .*{tag}: number 1 is '{re.escape(number)}'"):
        load_pseudopotential(write("Si.upf", text), "Si")


@pytest.mark.parametrize("number", ["inf", "nan"])
@pytest.mark.parametrize("row", [1, 2, 3, 6, 50, 200])
def test_numbers_of_psp8_that_are_not_finite(psp8_text, write, row: int, number: str) -> None:
    lines = psp8_text(h=0.05).splitlines()
    words = lines[row].split()
    lines[row] = " ".join([words[0], number, *words[2:]])
    with pytest.raises(ValueError, match=rf"Si\.psp8, line {row + 1}:.*'{number}'"):
        load_pseudopotential(write("Si.psp8", "\n".join(lines)), "Si")


@pytest.mark.parametrize("at", [1, 3, 6, 8])
def test_numbers_of_gth_that_are_not_finite(gth_lines, at: int) -> None:
    words = " ".join(gth_lines).split()
    assert parse_gth(gth_lines)
    lines = [line.split() for line in gth_lines if line.split()]
    flat = [(i, j) for i, line in enumerate(lines) for j in range(len(line))]
    i, j = flat[at]
    lines[i][j] = "nan"
    with pytest.raises(ValueError, match=r"damaged GTH entry \(.* is 'nan'"):
        parse_gth([" ".join(line) for line in lines])
    assert words[at] != "nan"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5d-02", 0.015),
        ("-2.18-106", -2.18e-106),
        ("1.0D+00", 1.0),
        ("3.+100", 3e100),
        (" 4 ", 4),
    ],
)
def test_exponents_of_fortran(text: str, value: float) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize("text", ["", "1.0-2.0", "1_000", "0x10", "infinity", "1.2.3", "***"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="x is '.*', not a finite number"):
        read_number(text, "x")


def test_files_in_the_spelling_of_fortran_mean_the_same(upf_text, psp8_text, write) -> None:
    upf, psp8 = upf_text("logarithmic"), psp8_text(h=0.05)
    right = content(read_upf(write("a.upf", upf), "Si"))
    for letter in "dD":
        text = re.sub(r"(\d\.\d+)E([+-]\d\d)", rf"\g<1>{letter}\2", upf)
        text = text.replace('z_valence="   4.00"', 'z_valence="4.0d0"')
        assert torch.equal(content(read_upf(write("b.upf", text), "Si")), right)
    # Fortran drops the letter where the exponent has three digits.
    for name, text, read in (("c.upf", upf, read_upf), ("c.psp8", psp8, read_psp8)):
        long = re.sub(r"(\d\.\d+)[ED]([+-])(\d\d)\b", r"\1\g<2>0\3", text)
        assert torch.equal(
            content(read(write(name, text), "Si")), content(read(write(f"long-{name}", long), "Si"))
        )


def test_a_header_that_is_not_valid_xml(upf_text, write) -> None:
    text = upf_text("logarithmic", author="A & B <b@c.org>", comment="Z < 15 &amp; more")
    right = content(read_upf(write("a.upf", upf_text("logarithmic")), "Si"))
    assert torch.equal(content(read_upf(write("b.upf", text), "Si")), right)


def test_projectors_that_are_cut_off_are_refused(upf_text, write) -> None:
    text = upf_text("logarithmic").replace(
        'cutoff_radius_index="1130"', 'cutoff_radius_index="900"'
    )
    with pytest.raises(ValueError, match=r"cutoff_radius_index is at most 900, but PP_BETA\.\d is"):
        read_upf(write("Si.upf", text), "Si")


def test_the_angular_momentum_of_a_projector_shows_in_its_form(upf_text, write) -> None:
    text = upf_text("logarithmic").replace('angular_momentum="1"', 'angular_momentum="0"')
    with pytest.raises(
        ValueError, match=r"rises as r\^2 near the origin, which l=0 does not allow"
    ):
        read_upf(write("Si.upf", text), "Si")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("<PP_PAW><PP_OCC>1.0</PP_OCC></PP_PAW>", "PP_PAW: ultrasoft and PAW"),
        ("<PP_SPIN_ORB><PP_RELBETA.1/></PP_SPIN_ORB>", "spin-orbit"),
        ("<PP_NONLOCAL></PP_NONLOCAL><PP_BETA.4>1.0</PP_BETA.4>", "number_of_proj is 3"),
        ("<PP_LOCAL>1.0</PP_LOCAL>", "PP_LOCAL occurs twice"),
    ],
)
def test_parts_that_contradict_the_header(upf_text, write, part: str, message: str) -> None:
    text = upf_text("logarithmic").replace("</UPF>", f"{part}\n</UPF>")
    with pytest.raises(ValueError, match=message):
        read_upf(write("Si.upf", text), "Si")


def test_a_semilocal_potential_without_projectors_is_refused(upf_text, write) -> None:
    text = upf_text("logarithmic", pseudo_type="SL", number_of_proj="0")
    text = re.sub(r"<PP_NONLOCAL>.*</PP_NONLOCAL>", "", text, flags=re.DOTALL)
    text = text.replace("</UPF>", "<PP_SEMILOCAL><PP_VNL.1>1.0</PP_VNL.1></PP_SEMILOCAL></UPF>")
    with pytest.raises(ValueError, match="there is a PP_SEMILOCAL, but there are no projectors"):
        read_upf(write("Si.upf", text), "Si")


@pytest.mark.parametrize("name", ["Si.psp8.gz", "Si.upf.gz", "Si.UPF.GZ"])
def test_compressed_files_are_read(name: str, psp8_text, upf_text, tmp_path: Path) -> None:
    text = psp8_text(h=0.05) if "psp8" in name else upf_text("logarithmic")
    plain, packed = tmp_path / name[:-3], tmp_path / name
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    first = load_pseudopotentials({"Si": plain}, ["Si"])["Si"]
    second = load_pseudopotentials({"Si": str(packed)}, ["Si"])["Si"]
    assert isinstance(first, NumericPseudopotential) and isinstance(second, NumericPseudopotential)
    assert torch.equal(content(first), content(second))
    packed.write_bytes(packed.read_bytes()[:1000])
    with pytest.raises(ValueError, match="compressed file is damaged or cut short"):
        load_pseudopotentials({"Si": packed}, ["Si"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Si.psml", r"Si\.psml: PSML files are not read.*\.psp8 or \.upf"),
        ("Si.xml.gz", "XML .* files are not read"),
        ("Si.psf", "SIESTA files are not read"),
        ("potentials/POTCAR", "VASP's PAW files are not read"),
        ("Si.pot", "no pseudopotential 'Si.pot' for Si"),
    ],
)
def test_files_of_other_formats_are_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_pseudopotentials(name, ["Si"])


def test_kinks_and_steps_are_not_taken_for_damage() -> None:
    x = np.linspace(-1.0, 1.0, 101)
    for values in (np.abs(x), np.where(x < 0.1, 1.0, 0.0), np.round(np.exp(-(x**2)), 4), x * 0.0):
        check_smooth(values, "function")


def test_a_projector_of_zeros_is_not_lost_in_silence(upf_text, write) -> None:
    text = re.sub(
        r"(<PP_BETA\.2\b[^>]*>)([^<]*)",
        lambda node: node[1] + NUMBER.sub("0.0", node[2]),
        upf_text(),
    )
    with pytest.raises(ValueError, match="projector 1 of l=0 contains only zeros: it would"):
        read_upf(write("zeros.upf", text), "Si")
