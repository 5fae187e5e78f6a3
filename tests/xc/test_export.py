"""Exported files give the functional's numbers to torch alone, at any number of points."""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyscf.dft import libxc
from torch import Tensor

import deepchem_xc
from deepchem_xc.xc import (
    NNLDA,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    HybridXC,
    Ingredients,
    UnconstrainedMetaGGA,
    XCFunctional,
    export_functional,
    get_xc,
)
from tests.xc.conftest import _sample
from tests.xc.exported import hard_points, invariants_of, run_alone

SIZES = (0, 1, 2, 7)


def _network(ninput: int) -> torch.nn.Module:
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(ninput, 6), torch.nn.GELU(), torch.nn.LayerNorm(6), torch.nn.Linear(6, 1)
    )


def _mixture() -> XCFunctional:
    t = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    return t * get_xc("gga_x_b88") + (1 - t) * get_xc("lda_x") - 0.5 * get_xc("gga_c_lyp")


Make = Callable[[], XCFunctional]

# A functional and a number of channels each.
QUICK: dict[str, tuple[Make, int]] = {
    "LDA": (lambda: get_xc("LDA"), 2),
    "NNLDA": (lambda: NNLDA(_network(2)), 2),
    "PBE-polarised": (lambda: get_xc("PBE"), 2),
    "HybridXC": (lambda: HybridXC("gga_x_rpbe", _network(3), aweight0=0.2), 2),
    "r2SCAN": (lambda: get_xc("r2SCAN"), 1),
    "exchange-polarised": (lambda: get_xc("mgga_x_r2scan"), 2),
}
SLOW: dict[str, tuple[Make, int]] = {
    "PBE": (lambda: get_xc("PBE"), 1),
    "mixture": (_mixture, 1),
    "VWN+Teter93": (lambda: get_xc("lda_c_vwn") + 2.0 * get_xc("Teter93"), 2),
    "BLYP": (lambda: get_xc("BLYP"), 2),
    "mixture-polarised": (_mixture, 2),
    "ConstrainedGGA": (lambda: ConstrainedGGA(start="random", seed=1, base="pbe"), 2),
    "experiment_gga": (lambda: get_xc("experiment_gga"), 2),
    "r2SCAN-polarised": (lambda: get_xc("r2SCAN"), 2),
    "ConstrainedMetaGGA": (lambda: ConstrainedMetaGGA(start="random", seed=2), 2),
    "linear limit": (lambda: ConstrainedMetaGGA(start="random", seed=2, linear_limit=True), 2),
    "UnconstrainedMetaGGA": (lambda: UnconstrainedMetaGGA(start="random", seed=2), 1),
}


class _Case:
    """A functional, its file, and the batches that went through it."""

    def __init__(self, functional: XCFunctional, nspin: int, folder: Path) -> None:
        self.functional, self.nspin, self.folder = functional, nspin, folder
        self.file = folder / "functional.pt2"
        folder.mkdir()
        export_functional(functional, self.file, nspin=nspin)
        ordinary = _sample(nspin, npoints=sum(SIZES), seed=4, alpha=(1e-3, 5.0))
        edges = np.cumsum((0, *SIZES))
        self.batches = [ordinary[..., i:j] for i, j in zip(edges, edges[1:])]
        hard = hard_points(nspin)
        self.batches += [hard, np.concatenate((hard, ordinary), axis=-1)]
        #: Where libxc's functionals and those of this package agree to many digits.
        self.smooth = _sample(nspin, density=(1e-3, 10.0), seed=9, alpha=(0.1, 3.0))
        family = functional.family
        inputs = [invariants_of(rho, family) for rho in (*self.batches, self.smooth)]
        torch.save(inputs, folder / "inputs.pt")

    @property
    def outputs(self) -> list[list[Tensor]]:
        return torch.load(self.folder / "outputs.pt")


def _cases(made: dict[str, tuple[Make, int]], root: Path) -> dict[str, _Case]:
    cases = {name: _Case(make(), nspin, root / name) for name, (make, nspin) in made.items()}
    run_alone(*(case.folder for case in cases.values()))
    return cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Case]:
    return _cases(QUICK, tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def slow_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], _Case]:
    @functools.cache
    def make(name: str) -> _Case:
        return _cases({name: SLOW[name]}, tmp_path_factory.mktemp("slow"))[name]

    return make


@pytest.fixture
def case(request: pytest.FixtureRequest) -> _Case:
    if request.param in QUICK:
        found: _Case = request.getfixturevalue("cases")[request.param]
        return found
    return request.getfixturevalue("slow_case")(request.param)


@pytest.fixture(scope="module")
def polarised_pbe(cases: dict[str, _Case]) -> Any:
    return torch.export.load(cases["PBE-polarised"].file).module()


def _named(*names: str) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in names]


def _derivatives_of_gradients(
    functional: XCFunctional, rho: np.ndarray, densinfo: Callable[..., Any]
) -> tuple[Tensor, Tensor]:
    """Energy density, and its derivatives with respect to n, gradient and tau."""
    given = torch.tensor(rho, requires_grad=True)
    energy = functional.get_edensityxc(densinfo(given))
    (derivatives,) = torch.autograd.grad(energy.sum(), given)
    return energy.detach(), derivatives if rho.ndim == 3 else derivatives[None]


@pytest.mark.parametrize("case", _named(*QUICK, *SLOW), indirect=True)
def test_torch_alone_reproduces_energies_and_derivatives(
    case: _Case, densinfo: Callable[..., Any]
) -> None:
    sizes = []
    for rho, outputs in zip(case.batches, case.outputs):
        sizes.append(rho.shape[-1])
        energy, derivatives = _derivatives_of_gradients(case.functional, rho, densinfo)
        exc, vrho, *others = outputs
        assert exc.shape == (sizes[-1],) and vrho.shape == (case.nspin, sizes[-1])
        assert all(bool(torch.isfinite(x).all()) for x in outputs)
        _assert_same(exc, energy)
        _assert_same(vrho, derivatives[:, 0])
        if others:
            gradients = torch.tensor(rho if rho.ndim == 3 else rho[None])[:, 1:4]
            terms = _terms(others[0], gradients)
            # Terms of both channels cancel where their gradients are opposite.
            size = torch.stack(terms).abs().sum(0)
            _assert_same(torch.stack(terms).sum(0), derivatives[:, 1:4], size)
        if len(others) > 1:
            _assert_same(others[1], derivatives[:, 4])
    assert sizes[:4] == list(SIZES) and min(sizes[4:]) >= 13


def _terms(vsigma: Tensor, gradients: Tensor) -> list[Tensor]:
    if len(gradients) == 1:
        return [2.0 * vsigma[:, None] * gradients]
    return [2.0 * vsigma[::2, None] * gradients, vsigma[1] * gradients.flip(0)]


def _assert_same(got: Tensor, wanted: Tensor, size: Any = None) -> None:
    """Equal to twelve digits of each number; zeros are zeros."""
    allowed = 1e-12 * (wanted.abs() if size is None else size)
    assert bool(((got - wanted).abs() <= allowed).all()), (got - wanted).abs().max()


LIBXC = {
    "PBE": "pbe,pbe",
    "PBE-polarised": "pbe,pbe",
    "r2SCAN": "mgga_x_r2scan,mgga_c_r2scan",
    "exchange-polarised": "mgga_x_r2scan,",
    "r2SCAN-polarised": "mgga_x_r2scan,mgga_c_r2scan",
}


@pytest.mark.parametrize(
    ("case", "identifier"),
    [pytest.param(n, LIBXC[n], marks=[pytest.mark.slow] if n in SLOW else []) for n in LIBXC],
    indirect=["case"],
)
def test_programs_agree_with_libxc_in_its_own_order_of_rows(case: _Case, identifier: str) -> None:
    """libxc has the energy per electron, else the same rows: vrho, vsigma, vtau."""
    exc, *derivatives = case.outputs[-1]
    rho = case.smooth
    given = rho if case.functional.family == 4 else rho[..., :4, :]
    theirs = libxc.eval_xc1(identifier, given, spin=case.nspin - 1, deriv=1)
    density = rho[0] if case.nspin == 1 else rho[:, 0].sum(0)
    np.testing.assert_allclose(exc, theirs[0] * density, rtol=1e-12)
    ours = torch.cat(derivatives).numpy()
    assert ours.shape == theirs[1:].shape
    allowed = 1e-8 * np.abs(theirs[1:]) + 1e-10 * np.abs(theirs[1:]).max(axis=1, keepdims=True)
    assert (np.abs(ours - theirs[1:]) <= allowed).all()


def test_a_file_says_what_it_is(cases: dict[str, _Case], tmp_path: Path) -> None:
    case = cases["PBE-polarised"]
    texts = {"deepchem_xc.json": ""}
    torch.export.load(case.file, extra_files=texts)
    header = json.loads(texts["deepchem_xc.json"])
    assert header["deepchem_xc"] == deepchem_xc.__version__
    assert header["torch"] == torch.__version__
    assert (header["name"], header["family"], header["nspin"]) == ("PBE", 2, 2)
    assert header["dtype"] == "float64"
    names = [(given["name"], given["shape"], given["unit"]) for given in header["inputs"]]
    assert names == [("rho", [2, "n"], "1/bohr^3"), ("sigma", [3, "n"], "1/bohr^8")]
    assert header["inputs"][1]["rows"] == ["up up", "up down", "down down"]
    names = [(given["name"], given["shape"], given["unit"]) for given in header["outputs"]]
    assert names == [
        ("exc", ["n"], "Hartree/bohr^3"),
        ("vrho", [2, "n"], "Hartree"),
        ("vsigma", [3, "n"], "Hartree bohr^5"),
    ]
    # Definition and checksum are those of the functional's own file.
    case.functional.save(tmp_path / "pbe.safetensors")
    raw = (tmp_path / "pbe.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    saved = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["deepchem_xc"])
    assert header["sha256"] == saved["sha256"]
    assert header["functional"] == saved["functional"]


def test_files_of_other_weights_have_other_checksums(tmp_path: Path) -> None:
    sums = set()
    for c in (0.3, 0.4):
        texts = {"deepchem_xc.json": ""}
        export_functional(c * get_xc("lda_x"), tmp_path / "x.pt2")
        torch.export.load(tmp_path / "x.pt2", extra_files=texts)
        sums.add(json.loads(texts["deepchem_xc.json"])["sha256"])
    assert len(sums) == 2


@pytest.mark.parametrize("name", ["PBE-polarised", "NNLDA"])
def test_a_file_holds_plain_operations_and_no_trace_of_the_machine(
    cases: dict[str, _Case], name: str
) -> None:
    case = cases[name]
    program = torch.export.load(case.file)
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert called and all(
        str(target).startswith("aten.") or target.__module__ == "_operator" for target in called
    )
    assert not list(program.parameters())  # nothing to train
    content = case.file.read_bytes()
    for path in (Path(__file__).parents[2], Path(torch.__file__).parents[1], Path.home()):
        assert str(path).encode() not in content


def test_weights_at_the_time_of_writing_are_kept(tmp_path: Path) -> None:
    functional = get_xc("gga_x_pbe") * torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    given = invariants_of(hard_points(1), 2)
    export_functional(functional, tmp_path / "x.pt2")
    program = torch.export.load(tmp_path / "x.pt2").module()
    before = program(*given)[0]
    (factor,) = functional.parameters()
    factor.data.fill_(1.0)
    assert torch.equal(program(*given)[0], before)
    assert functional.factor.requires_grad  # the functional itself is as it was


def test_further_derivatives_are_not_there_instead_of_wrong(polarised_pbe: Any) -> None:
    given = [x.requires_grad_() for x in invariants_of(hard_points(2), 2)]
    assert not any(x.requires_grad for x in polarised_pbe(*given))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rho, sigma: (rho.float(), sigma.float()),
        lambda rho, sigma: (rho, sigma[:, :2]),
        lambda rho, sigma: (rho[:1], sigma),
        lambda rho, sigma: (rho, sigma[:1]),
        lambda rho, sigma: (rho,),
    ],
    ids=["single precision", "fewer points", "one channel", "one product", "no sigma"],
)
def test_a_program_refuses_other_inputs(polarised_pbe: Any, spoil: Any) -> None:
    with pytest.raises((RuntimeError, AssertionError, TypeError, ValueError)):
        polarised_pbe(*spoil(*invariants_of(hard_points(2), 2)))


def test_a_class_of_ones_own_is_named_as_for_files(
    tmp_path: Path, densinfo: Callable[..., Any]
) -> None:
    class Wigner(XCFunctional):
        name, ingredients = "Wigner", Ingredients.DENSITY

        def energy_density(self, variables: Any) -> Tensor:
            return -0.44 * variables.density / (variables.rs + 7.8)

    functional = get_xc("PBE") + Wigner()
    with pytest.raises(ValueError, match="Wigner"):
        export_functional(functional, tmp_path / "w.pt2")
    export_functional(functional, tmp_path / "w.pt2", classes=[Wigner])
    rho = hard_points(1)
    program = torch.export.load(tmp_path / "w.pt2").module()
    found = program(*invariants_of(rho, 2))[0]
    _assert_same(found, functional.get_edensityxc(densinfo(rho)))
