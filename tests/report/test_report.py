"""`deepchem-xc report`: one page of a training or benchmark, complete in itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepchem_xc import plotting
from deepchem_xc.against_gpaw.report import about_run
from deepchem_xc.cli.commands import app
from deepchem_xc.models import EpochRecord, write_log
from deepchem_xc.report import ReportError, write_html_report
from deepchem_xc.xc import PBE, ConstrainedGGA

HOSTILE = '<script>alert("x")</script>&'


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a training of six epochs leaves it, with names that look like HTML."""
    folder = tmp_path_factory.mktemp("runs") / "silicon"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"dataset: '{HOSTILE}'\nepochs: 6\n")
    write_training_log(folder)
    (folder / "validation.json").write_text(json.dumps({"band_gap (eV)": [[1, 0.4], [3, 0.2]]}))
    rows = [
        f'training,"{HOSTILE.replace(chr(34), chr(34) * 2)}",band_gap,eV,1.1,0.9',
        "training,Si,band_gap,eV,1.0,1.5",
        "validation,C,band_gap,eV,5.5,nan",
        "training,Al,forces,eV/Angstrom,0.0,0.02",
    ]
    header = "set,name,type,unit,label,prediction"
    (folder / "predictions.csv").write_text("\n".join([header, *rows, ""]))
    (folder / "versions.json").write_text(json.dumps(about_run()))
    PBE(kappa=0.9, trainable=True).save(folder / "functional.safetensors")
    ConstrainedGGA(start="random", seed=1).save(folder / "best.safetensors")
    return folder


def write_training_log(folder: Path) -> None:
    records = [
        EpochRecord(
            epoch,
            losses={"band_gap": 8.0 / (epoch + 1), "forces": 1.0},
            counts={"band_gap": 2, "forces": 1},
            calculations=3 * (epoch % 3 == 0),
            seconds=2.0,
            validation_loss={1: 0.9, 3: 0.25, 5: 0.5}.get(epoch),
        )
        for epoch in range(6)
    ]
    write_log(records, folder / "log.csv")


def write_benchmark(folder: Path) -> Path:
    """A folder as the benchmark leaves it, from the project's reference points."""
    from deepchem_xc.against_gpaw import CASES, compare, gpaw_reference
    from deepchem_xc.against_gpaw.functionals import constants_of
    from deepchem_xc.against_gpaw.report import write_report
    from deepchem_xc.cli.benchmark import write_functionals

    points = {name: gpaw_reference.load_gpaw_eos()[name]["points"] for name in ("Al", "graphene")}
    cases = {name: CASES["paw"][name] for name in points}
    comparisons = [compare(cases[name], points[name], points[name]) for name in points]
    write_report(comparisons, folder, about={**about_run(), "seconds": 12.0})
    rows = constants_of(
        cases,
        {**points, **{f"{name}, LDA": expanded(points[name]) for name in points}},
        ["PBE", "LDA"],
        points,
    )
    write_functionals(rows, ["PBE", "LDA"], {}, folder, quick=False)
    (folder / "training-0").mkdir()
    write_training_log(folder / "training-0")
    return folder


def expanded(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same energies at volumes, or areas, that are 3 % larger."""
    sizes = ("volume", "area")
    return [{k: 1.03 * v if k in sizes else v for k, v in point.items()} for point in points]


class Content(HTMLParser):
    """Text of a page, its tags, and the targets of links and images."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [v or "" for k, v in attributes if k in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_of_a_training_has_every_section_and_its_numbers(training: Path) -> None:
    page = Content(write_html_report(training).read_text(encoding="utf-8"))
    for title in (
        *("Settings", "Curves", "Best epoch", "Metrics by type of entry"),
        *("Predictions and labels", "Enhancement factor", "Versions"),
    ):
        assert page.words.count(title) == 2, title  # in the list of sections and above one
    assert "Epoch 3 has the lowest validation loss, 0.25, of 3 validations" in page.text
    assert "6 epochs, 6 self-consistent calculations, 12 s" in page.text
    # Mean absolute, root mean square and mean error of -0.2 and 0.5 eV.
    assert "training band_gap eV 2 0.35 0.38079 +0.15" in page.text
    assert "validation band_gap eV 1 - - -" in page.text
    assert "validation C band_gap eV 5.5 failed -" in page.text
    assert "training Si band_gap eV 1 1.5 +0.5" in page.text
    assert f"torch {about_run()['versions']['torch']}" in page.text
    # Curves, the parity of gaps (not of forces, whose labels are arrays), enhancement factors.
    assert page.tags.count("img") == 3


def test_a_page_loads_nothing_and_escapes_what_files_say(training: Path) -> None:
    html = write_html_report(training).read_text(encoding="utf-8")
    page = Content(html)
    assert "script" not in page.tags and "<script" not in html
    assert page.text.count(HOSTILE) == 2  # in the settings and as an entry's name
    assert all(target.startswith(("data:", "#")) for target in page.targets)
    assert not re.search(r"https?://|@import|url\(", html)


def test_page_of_a_benchmark_has_tables_curves_and_figures(tmp_path: Path) -> None:
    page = Content(write_html_report(write_benchmark(tmp_path)).read_text(encoding="utf-8"))
    assert "Al 4.0420 4.0420 +0.00 %" in page.text
    assert "graphene 2.4675 2.4675 +0.00 %" in page.text
    assert "208.0 N/m" in page.text
    assert "(+0.99 %)" in page.text and "(+1.49 %)" in page.text  # 1.03^(1/3), 1.03^(1/2)
    assert "mean of absolute errors 0.00 % 1.24 %" in page.text
    assert "24 x 24 x 24" in page.text
    assert "training-0: 6 epochs" in page.text
    assert page.tags.count("img") == 3
    assert "GPAW's numbers are those that come with the project. The run took 12 s." in page.text


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    write_training_log(tmp_path)
    page = Content(write_html_report(tmp_path, tmp_path / "new" / "page.html").read_text("utf-8"))
    assert "has no config.yaml" in page.text
    assert "has no predictions.csv: the training has not ended" in page.text
    assert "has no functional: the training has not ended" in page.text
    assert "does not record the versions" in page.text


def test_a_functional_that_cannot_be_read_is_named(training: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(training, folder)
    (folder / "best.safetensors").write_bytes(b"damaged")
    page = Content(write_html_report(folder).read_text("utf-8"))
    assert "best.safetensors could not be drawn:" in page.text
    assert page.tags.count("img") == 3  # the last epoch's functional is drawn


def test_a_last_functional_that_is_also_the_best_is_drawn_once(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    draw = plotting.plot_enhancement

    def record(functionals: dict[str, Any], **how: Any) -> Any:
        drawn.append(list(functionals))
        return draw(functionals, **how)

    monkeypatch.setattr(plotting, "plot_enhancement", record)
    folder = tmp_path / "copy"
    shutil.copytree(training, folder)
    write_html_report(folder)
    shutil.copy(folder / "functional.safetensors", folder / "best.safetensors")
    write_html_report(folder)
    assert drawn == [
        ["last epoch", "best validation", "PBE"],
        ["last epoch, also best validation", "PBE"],
    ]


def test_logs_of_0_1_0_are_read(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "epoch,loss,entries,skipped,calculations,frozen_error_eV_per_atom,seconds,eos\n"
        "0,629.6,15,0,75,,668.4,629.6\n1,548.7,15,0,0,,4.2,548.7\n"
    )
    page = Content(write_html_report(tmp_path).read_text("utf-8"))
    assert "The training loss is lowest in epoch 1: 548.7." in page.text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds neither a training with a finished epoch"),
        ({"log.csv": "epoch,loss,calculations\n"}, "has no epoch"),
        ({"log.csv": "time,value\n1,2\n"}, "log.csv is damaged: it has no column epoch, loss"),
        ({"log.csv": "epoch,loss,calculations\n0,1.0\n"}, "line 2 has another number of cells"),
        ({"log.csv": "epoch,loss,calculations\n0,low,1\n"}, "log.csv is damaged: .*'low'"),
        ({"log.csv": b"\xff\xfe\x00"}, "log.csv is damaged: it is not text"),
        ({"benchmark.json": "{"}, "benchmark.json is damaged: it is not JSON"),
        ({"benchmark.json": "{}"}, "not as deepchem-xc wrote them .there is no 'systems'"),
        ({"benchmark.json": "[1, 2]"}, "not as deepchem-xc wrote them"),
        ({"benchmark.json": '{"systems": {"Al": {"ours": null}}}'}, "not as deepchem-xc wrote"),
    ],
)
def test_broken_and_foreign_folders_are_refused(
    files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ReportError, match=message):
        write_html_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("predictions.csv", "training,Si,band_gap,eV,1.0,much"),
        ("validation.json", "[1"),
        ("versions.json", "\x00"),
    ],
)
def test_a_damaged_file_beside_the_log_is_named(name: str, line: str, tmp_path: Path) -> None:
    write_training_log(tmp_path)
    header = "set,name,type,unit,label,prediction\n" if name.endswith("csv") else ""
    (tmp_path / name).write_text(header + line)
    with pytest.raises(ReportError, match=f"{name} is damaged"):
        write_html_report(tmp_path)


def test_the_command_writes_the_page_or_says_why_not(training: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run = CliRunner().invoke(app, ["report", str(training), "-o", str(page)])
    assert run.exit_code == 0, run.stderr
    assert f"Written: {page}" in run.stdout and page.exists()
    for folder, message in ((tmp_path / "none", "is not there: give the folder"), (page, "a file")):
        run = CliRunner().invoke(app, ["report", str(folder)])
        assert run.exit_code == 1 and message in run.stderr
    run = CliRunner().invoke(app, ["report", str(training), "-o", str(tmp_path)])
    assert run.exit_code == 1 and "is a folder: name a file in it" in run.stderr


_MEASURE = """<script>addEventListener("load", () => {
  for (const image of document.images) image.dataset.width = image.naturalWidth;
  document.body.dataset.wide = document.documentElement.scrollWidth > innerWidth;
  document.body.dataset.loaded = performance.getEntriesByType("resource").length;
});</script></body>"""


@pytest.mark.parametrize("kind", ["training", "benchmark"])
def test_a_browser_shows_figures_and_tables(kind: str, training: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no Chromium: apt-get install chromium (.ci/run does)")
    folder = training if kind == "training" else write_benchmark(tmp_path)
    html = write_html_report(folder, tmp_path / "page.html").read_text("utf-8")
    # The copy measures itself: the page's own policy would forbid the script that does it.
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy".*?>', re.DOTALL)
    measured, found = policy.subn("", html.replace("</body>", _MEASURE))
    assert found == 1
    copy = tmp_path / "measured.html"
    copy.write_text(measured, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    run = subprocess.run(
        [
            *(browser, *options, f"--user-data-dir={tmp_path / 'profile'}"),
            *("--window-size=1200,900", "--virtual-time-budget=10000", "--dump-dom"),
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    widths = [int(width) for width in re.findall(r'data-width="(\d+)"', run.stdout)]
    assert len(widths) == 3 and min(widths) > 300
    assert 'data-wide="false"' in run.stdout
    shown = Content(run.stdout.replace(_MEASURE.removesuffix("</body>"), ""))
    expected = ("Best epoch", "Enhancement factor") if kind == "training" else ("Functionals",)
    for words in (*expected, "Versions", "torch"):
        assert words in shown.text
    assert shown.tags.count("table") >= 3
