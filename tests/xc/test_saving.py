"""Functionals in files: what comes back is the same, and nothing else comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch

from deepchem_xc.models.functional import default_network
from deepchem_xc.xc import (
    NNLDA,
    NNPBE,
    PBE,
    B88Exchange,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    FunctionalFileError,
    HybridXC,
    LibXC,
    PW92Correlation,
    RPBEExchange,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
    XCFunctional,
    get_xc,
    load_functional,
)
from tests.xc.saved import header_of


def network(ninput):
    layers = torch.nn.Linear(ninput, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1, bias=False)
    return torch.nn.Sequential(*layers)


def with_one_activation(*sizes):
    """Linear layers with the same object behind each of them."""
    activation = torch.nn.Softplus()
    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:]):
        layers += [torch.nn.Linear(inputs, outputs), activation]
    return torch.nn.Sequential(*layers)


def with_names(ninput):
    layers = {"first": torch.nn.Linear(ninput, 4), "then": torch.nn.GELU()}
    named = torch.nn.Sequential(OrderedDict(layers))
    named.add_module("last", torch.nn.Linear(4, 1))
    return named


def trainable(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


FUNCTIONALS = {
    "LDA": lambda: get_xc("LDA"),
    "Teter93": lambda: get_xc("Teter93"),
    "PW92": lambda: PW92Correlation(modified=True),
    "VWN": lambda: get_xc("lda_c_vwn"),
    "PBE": lambda: PBE(),
    "PBE, trainable": lambda: PBE(kappa=0.9, trainable=True, name="mine"),
    "RPBE": lambda: RPBEExchange(mu=0.3) + PW92Correlation(),
    "BLYP": lambda: B88Exchange(beta=0.005, trainable=True) + get_xc("gga_c_lyp"),
    "r2SCAN": lambda: get_xc("r2SCAN"),
    "libxc": lambda: LibXC("gga_c_pw91"),
    "scaled": lambda: 0.7 * get_xc("gga_x_pbe") - get_xc("lda_c_pw") * trainable(0.2),
    "scaled by a constant tensor": lambda: torch.tensor(0.7, dtype=torch.float64) * PBE(),
    "NNLDA": lambda: NNLDA(network(2)),
    "NNPBE": lambda: NNPBE(network(3)),
    "one activation at several places": lambda: NNLDA(with_one_activation(2, 4, 3, 1)),
    "named layers": lambda: NNPBE(with_names(3)),
    "HybridXC": lambda: HybridXC("PBE", network(3), aweight0=0.4, bweight0=0.9),
    "HybridXC of a functional": lambda: HybridXC("r2SCAN", ConstrainedGGA(seed=1), 0.4),
    "ConstrainedGGA": lambda: ConstrainedGGA(start="random", name="mine"),
    "ConstrainedGGA, switched": lambda: ConstrainedGGA(
        start="random", width=5, depth=2, spin_scaling=False, lieb_oxford=False
    ),
    "ConstrainedGGA around PBE": lambda: ConstrainedGGA(start="random", base="pbe"),
    "ConstrainedMetaGGA": lambda: ConstrainedMetaGGA(start="random"),
    "linear limit": lambda: ConstrainedMetaGGA(start="random", linear_limit=True),
    "UnconstrainedGGA": lambda: UnconstrainedGGA(start="random"),
    "UnconstrainedMetaGGA": lambda: UnconstrainedMetaGGA(start="random"),
    "sum": lambda: ConstrainedGGA(start="random") + 0.1 * NNLDA(network(2)),
}


@pytest.fixture
def density(sample, densinfo):
    return densinfo(sample(2, npoints=50, s=(0.1, 3.0), alpha=(0.1, 10.0)))


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_what_is_loaded_is_what_was_saved(name, path, density):
    torch.manual_seed(0)
    functional = FUNCTIONALS[name]()
    functional.save(path)
    loaded = load_functional(path)
    expected = functional.get_edensityxc(density)
    assert torch.equal(loaded.get_edensityxc(density), expected)
    assert (type(loaded), loaded.name, loaded.family) == (
        type(functional),
        functional.name,
        functional.family,
    )
    ours, theirs = (dict(f.named_parameters()) for f in (functional, loaded))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert torch.equal(get_xc(str(path)).get_edensityxc(density), expected)
    loaded.save(path)  # and again
    assert torch.equal(load_functional(path).get_edensityxc(density), expected)


def test_the_second_default_network_of_deepchem(path, sample, densinfo):
    """exp(x) - 1 of large densities would be a test of rounding."""
    density = densinfo(sample(2, npoints=50, density=(1e-3, 1.0), s=(0.1, 3.0)))
    functional = NNPBE(default_network(3, modeltype=2))
    functional.save(path)
    again = load_functional(path).get_edensityxc(density)
    assert torch.allclose(again, functional.get_edensityxc(density), rtol=1e-13, atol=0.0)


def test_frozen_weights_stay_frozen(path):
    functional = ConstrainedGGA()
    functional.exchange_network.requires_grad_(False)
    functional.save(path)
    flags = {n: p.requires_grad for n, p in load_functional(path).named_parameters()}
    assert flags == {n: p.requires_grad for n, p in functional.named_parameters()}
    assert len(set(flags.values())) == 2


def test_a_threshold_is_kept(path):
    functional = ConstrainedGGA()
    functional.density_threshold = 1e-9
    (functional + PBE()).save(path)
    loaded = load_functional(path)
    assert loaded.density_threshold == loaded.terms[1].density_threshold == 1e-15
    assert loaded.terms[0].density_threshold == 1e-9
    for composed in (get_xc("LDA"), 0.5 * PBE(), HybridXC("PBE", network(3))):
        composed.density_threshold = 1e-7
        composed.save(path)
        assert load_functional(path).density_threshold == 1e-7


def test_the_header_describes_the_file(path):
    ConstrainedGGA(name="mine", lieb_oxford=False).save(path)
    header = header_of(path)
    assert header["format"] == 1 and header["name"] == "mine" and header["family"] == 2
    assert header["units"] == {"density": "1/bohr^3", "energy": "Hartree", "length": "bohr"}
    assert header["package"]
    assert header["functional"]["class"] == "ConstrainedGGA"
    assert header["functional"]["options"]["lieb_oxford"] is False


def test_an_interrupted_write_leaves_the_old_file(path, monkeypatch):
    PBE(name="old").save(path)

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        PBE(name="new").save(path)
    assert load_functional(path).name == "old"
    assert os.listdir(path.parent) == [path.name]


class Mine(XCFunctional):
    """A user's functional with a network."""

    name, family = "mine", 1

    def __init__(self, network, power=1.0):
        super().__init__()
        self.network, self.power = network, power

    def energy_density(self, variables):
        x = variables.density.pow(self.power)[..., None]
        return variables.density * self.network(x).squeeze(-1)


class Cube(torch.nn.Module):
    """A user's layer."""

    def forward(self, x):
        return x**3


def test_functionals_of_ones_own(path, density):
    layers = torch.nn.Linear(1, 3), Cube(), torch.nn.Linear(3, 1)
    functional = 0.5 * Mine(torch.nn.Sequential(*layers).double(), power=0.5) + PBE()
    with pytest.raises(ValueError, match=r"Mine is not a functional .* classes=\[Mine\]"):
        functional.save(path)
    with pytest.raises(ValueError, match=r"the layer Cube cannot be saved: known are Sequential"):
        functional.save(path, classes=[Mine])
    assert not path.exists()
    functional.save(path, classes=[Mine, Cube])
    loaded = load_functional(path, classes=[Mine, Cube])
    assert torch.equal(loaded.get_edensityxc(density), functional.get_edensityxc(density))
    with pytest.raises(FunctionalFileError, match="unknown functional class 'Mine'; known are"):
        load_functional(path)
    with pytest.raises(FunctionalFileError, match="unknown layer 'Cube'"):
        load_functional(path, classes=[Mine])


class Stronger(ConstrainedGGA):
    """A user's variant of a functional, which hands most arguments on."""

    def __init__(self, strength=1.0, **options):
        super().__init__(**options)
        self.strength = strength

    def energy_density(self, variables):
        return self.strength * super().energy_density(variables)


def test_arguments_that_are_handed_on_are_kept(path, density):
    functional = Stronger(1.1, start="random", lieb_oxford=False, width=5)
    functional.save(path, classes=[Stronger])
    loaded = load_functional(path, classes=[Stronger])
    assert (loaded.lieb_oxford, loaded.width, loaded.strength) == (False, 5, 1.1)
    assert torch.equal(loaded.get_edensityxc(density), functional.get_edensityxc(density))


def test_a_network_made_in_single_precision(path, density):
    """What the constructor makes in single precision is loaded in double precision."""

    class Small(XCFunctional):
        name, family = "small", 1

        def __init__(self):
            super().__init__()
            self.network = torch.nn.Linear(1, 1)

        def energy_density(self, variables):
            return self.network(variables.density[..., None]).squeeze(-1)

    with pytest.raises(ValueError, match=r"'network\.weight' \(Small\) are torch.float32"):
        Small().get_edensityxc(density)
    with pytest.raises(ValueError, match=r"functional\.double\(\)"):
        Small().bfloat16().save(path)
    functional = Small().double()
    with torch.no_grad():
        functional.network.weight.fill_(1.0 / 3.0)
    functional.save(path, classes=[Small])
    loaded = load_functional(path, classes=[Small])
    assert torch.equal(loaded.get_edensityxc(density), functional.get_edensityxc(density))


def test_loading_imports_nothing_that_executes(path):
    """In a new process: no pickle is read, and nothing is printed."""
    HybridXC("PBE", network(3)).save(path)
    script = (
        "import pickle\n"
        "def refuse(*args, **kwargs): raise AssertionError('a pickle was read')\n"
        "from deepchem_xc.xc import load_functional\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        f"assert load_functional({str(path)!r}).name == 'a*NNPBE+b*PBE'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
