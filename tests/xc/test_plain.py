"""Functionals that are only DeepChem's `BaseXC` work as those of this package."""

from __future__ import annotations

import copy

import pytest
import torch
from ase.build import bulk

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.data import DFTEntry
from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import (
    BaseXC,
    HybridXC,
    ScaledXC,
    SumXC,
    ValGrad,
    XCFunctional,
    get_xc,
)
from deepchem_xc.xc.networks import multilayer_perceptron
from deepchem_xc.xc.sampling import sample_points
from tests.differences import assert_agreement, named_differences
from tests.models.systems import dataset, quick

SILICON = {"ecut": 100.0, "convergence": {"energy": 1e-10, "density": 1e-9}}
DIRAC = 0.75 * (3.0 / torch.pi) ** (1.0 / 3.0)


def slater(densinfo, c=0.7):
    """-c n^(4/3) of one channel, and its form of two."""
    if isinstance(densinfo, ValGrad):
        return -c * densinfo.value.abs() ** (4 / 3)
    u, d = densinfo.u.value.abs(), densinfo.d.value.abs()
    return -c * 2 ** (1 / 3) * (u ** (4 / 3) + d ** (4 / 3))


class MyXC(BaseXC):
    """As DeepChem's tests write them."""

    family = property(lambda self: 1)

    def get_edensityxc(self, densinfo):
        return slater(densinfo)


class Listed(BaseXC):
    """A parameter of an object that is no module, told by `getparamnames`."""

    family = 1

    def __init__(self):
        self.c = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def get_edensityxc(self, densinfo):
        return slater(densinfo, self.c)

    def getparamnames(self, methodname, prefix=""):
        return [prefix + "c"]


class Unlisted(Listed):
    """The same without saying so."""

    def getparamnames(self, methodname, prefix=""):
        raise KeyError(methodname)


class Module(BaseXC, torch.nn.Module):
    """A torch module, as DeepChem's own networks."""

    family = 1

    def __init__(self):
        super().__init__()
        self.c = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def get_edensityxc(self, densinfo):
        return slater(densinfo, self.c)


class Gradients(BaseXC):
    """A GGA that divides by the density and has an unbounded exponential."""

    family = 2

    def get_edensityxc(self, densinfo):
        if not isinstance(densinfo, ValGrad):
            densinfo = ValGrad(
                value=densinfo.u.value + densinfo.d.value, grad=densinfo.u.grad + densinfo.d.grad
            )
        n = densinfo.value
        s2 = densinfo.grad.square().sum(-2) / n ** (8 / 3)
        return slater(ValGrad(value=n)) * (1.0 + 0.01 * s2 / (1.0 + s2))


def energy(functional, **options):
    return float(scf(bulk("Si"), functional, **SILICON, **options).free_energy)


def known(factor=1.0):
    """The same functional of this package."""
    return (factor * 0.7 / DIRAC) * get_xc("lda_x")


def test_it_is_slaters_exchange():
    """In `scf`, with one and two spins, and in the calculator."""
    expected = energy(known())
    assert energy(MyXC()) == pytest.approx(expected, abs=1e-8)
    assert energy(MyXC(), spinpol=True) == pytest.approx(expected, abs=1e-8)
    energies = []
    for xc in (MyXC(), known()):
        atoms = bulk("Si")
        atoms.calc = PlaneWaveDFT(xc=xc, **SILICON)
        energies.append([atoms.get_potential_energy(), *atoms.get_stress()[:3]])
    assert energies[0] == pytest.approx(energies[1], abs=1e-6)
    assert PlaneWaveDFT(xc=MyXC()).todict()["xc"] == "MyXC"


MIXTURES = {
    "ours + theirs": (lambda f: get_xc("lda_c_pw") + f, 1.0),
    "theirs + ours": (lambda f: f + get_xc("lda_c_pw"), 1.0),
    "ours - theirs": (lambda f: get_xc("lda_c_pw") - f, -1.0),
    "half of theirs": (lambda f: 0.5 * f + get_xc("lda_c_pw"), 0.5),
    "times a tensor": (lambda f: f * torch.tensor([0.5]).double() + get_xc("lda_c_pw"), 0.5),
    "ScaledXC": (lambda f: ScaledXC(f, 2) + get_xc("lda_c_pw"), 2.0),
    "SumXC": (lambda f: SumXC(f, get_xc("lda_c_pw")), 1.0),
    "sums of sums": (lambda f: 0.5 * (f + f) + (get_xc("lda_c_pw") + 2 * f), 3.0),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_in_either_order(name):
    make, factor = MIXTURES[name]
    for cls in (MyXC, Module, Listed):
        mixture, exact = get_xc(make(cls())), known(factor) + get_xc("lda_c_pw")
        assert isinstance(mixture, XCFunctional)
        for spins in (1, 2):
            points = sample_points(spins)
            found, expected = (f.get_edensityxc(points) for f in (mixture, exact))
            assert torch.allclose(found, expected, rtol=1e-12, atol=0.0)


def test_beside_a_network():
    network = multilayer_perceptron(2, width=4, depth=1, seed=0)
    for functional in (
        HybridXC(MyXC(), network, aweight0=0.0),
        HybridXC("lda_c_pw", MyXC(), aweight0=1.0, bweight0=0.0),
        HybridXC("lda_c_pw", Module(), aweight0=1.0, bweight0=0.0),
    ):
        points = sample_points(1)
        found = functional.get_edensityxc(points)
        assert torch.allclose(found, slater(points), rtol=1e-12, atol=0.0)


@pytest.mark.filterwarnings("ignore:.*could not write it")
@pytest.mark.parametrize("cls", [Module, Listed])
def test_its_parameters_are_trained(cls):
    """Gradients through the loop are complete: differences of converged calculations."""
    own = cls()
    functional = get_xc("lda_c_pw") + own
    assert [p is own.c for p in functional.parameters()] == [True]
    tight = {"ecut": 100.0, "convergence": {"energy": 1e-11, "density": 1e-10}}
    result = scf(bulk("Si"), functional, **tight)
    found = {name: getattr(result, name) for name in ("free_energy", "band_gap")}
    slopes = {name: float(torch.autograd.grad(x, own.c)[0]) for name, x in found.items()}

    def values(step):
        own.c.data.fill_(0.7 + step)
        result = scf(bulk("Si"), functional, **tight).detach()
        return {name: float(getattr(result, name)) for name in slopes}

    for name, difference in named_differences(values, 0.02).items():
        assert_agreement(slopes[name], difference, rel=2e-6, name=name)
    own.c.data.fill_(0.7)
    data = dataset(DFTEntry.create("energy", -213.0, [quick()]))
    model = XCModel(functional=functional, batch_size=1, learning_rate=0.01)
    losses = [model.fit(data, nb_epoch=1, checkpoint_interval=0) for _ in range(2)]
    assert losses[1] < losses[0]
    (c,) = model.functional.parameters()
    assert c.item() != 0.7 == own.c.item()  # the model trains a copy
    fresh = XCModel(functional=model.functional).predict(data)
    assert model.predict(data) == pytest.approx(fresh, abs=1e-5)


def test_a_weight_in_their_algebra_is_trained():
    t = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    mixture = get_xc(MyXC() * t + (1 - t) * get_xc("lda_x"))
    assert [p is t for p in mixture.parameters()] == [True]
    t.data.fill_(0.5)
    assert [term.factor.item() for term in mixture.terms] == [0.5, 0.5]


def test_tensors_that_it_does_not_list_are_refused():
    with pytest.raises(ValueError, match=r"Unlisted depends on 'xc\.c', a tensor that requires"):
        scf(bulk("Si"), Unlisted(), **SILICON)


def test_a_tensor_that_was_replaced_is_noticed():
    """The sum has the old one, which the object no longer uses: no silent mixture of both."""
    own = Listed()
    functional = get_xc("lda_c_pw") + 2 * own
    points, message = sample_points(1), "'c' of Listed was replaced.*copy_.*get_xc"
    own.c.data.fill_(0.8)
    copied = copy.deepcopy(functional)
    own.c = torch.nn.Parameter(torch.tensor(1.4, dtype=torch.float64))
    with pytest.raises(ValueError, match=message):
        functional.get_edensityxc(points)
    for use in (
        lambda: scf(bulk("Si"), functional, **SILICON),
        lambda: XCModel(functional=functional),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    anew = get_xc("lda_c_pw") + 2 * own
    correlation = get_xc("lda_c_pw").get_edensityxc(points)
    for made, c in ((anew, 1.4), (copied, 0.8)):
        expected = correlation + 2 * slater(points, c)
        assert torch.allclose(made.get_edensityxc(points), expected, rtol=1e-12)


def test_weights_that_are_loaded_are_used():
    """Also as new parameters, of the functional alone; its object keeps its own."""
    own = Listed()
    functional = get_xc(own)
    state = {"xc_c": torch.tensor(0.9, dtype=torch.float64)}
    functional.load_state_dict(state, assign=True)
    points = sample_points(1)
    assert torch.allclose(functional.get_edensityxc(points), slater(points, 0.9), rtol=1e-12)


def test_vacuum():
    """No density, a negative one and next to none: finite energies and derivatives."""
    n = torch.tensor([0.0, -1e-8, 1e-30, 1e-16, 1e-12, 0.1]).double().requires_grad_()
    gradient = torch.full((3, 6), 1e-9, dtype=torch.float64)
    energies = get_xc(Gradients()).get_edensityxc(ValGrad(value=n, grad=gradient))
    (first,) = torch.autograd.grad(energies.sum(), n, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), n)
    assert torch.isfinite(torch.stack([energies, first, second])).all()
    assert not energies[:3].any()


def test_what_is_wrong_with_it_is_said():
    class NoFamily(MyXC):
        family = 3

    class Detached(MyXC):
        def get_edensityxc(self, densinfo):
            return slater(densinfo).detach()

    with pytest.raises(ValueError, match=r"NoFamily has family = 3: set it to 1 \(LDA\)"):
        scf(bulk("Si"), NoFamily(), **SILICON)
    with pytest.raises(ValueError, match="Detached gives a tensor without a graph"):
        scf(bulk("Si"), Detached(), **SILICON)
    single = ValGrad(value=torch.ones(2))
    with pytest.raises(ValueError, match=r"the density is torch\.float32"):
        get_xc(MyXC()).get_edensityxc(single)
    with pytest.raises(TypeError, match="must be a name or a functional, not float"):
        get_xc(3.0)
    with pytest.raises(TypeError, match="must be a deepchem_xc.xc.XCFunctional or DeepChem's"):
        SumXC(3)


def test_a_copy_is_its_own():
    functional = get_xc(Listed())
    copied = copy.deepcopy(functional)
    functional.xc_c.data.fill_(0.1)
    points = sample_points(1)
    assert torch.allclose(copied.get_edensityxc(points), slater(points), rtol=1e-12)
    assert torch.allclose(functional.get_edensityxc(points), slater(points, 0.1), rtol=1e-12)


@pytest.mark.parametrize("cls", [MyXC, Module])
def test_saving_says_what_is_missing(cls, tmp_path):
    functional = get_xc(cls() + get_xc("lda_c_pw"))
    for classes in ((), (cls,)):
        with pytest.raises(ValueError, match=f"{cls.__name__} is only DeepChem's BaseXC.*XCFunct"):
            functional.save(tmp_path / "mine.safetensors", classes=classes)


def test_a_class_of_one_channel_says_so():
    class OneChannel(BaseXC):
        family = 1

        def get_edensityxc(self, densinfo):
            return -0.7 * densinfo.value.abs() ** (4 / 3)

    functional = get_xc(OneChannel())
    assert functional.get_edensityxc(sample_points(1)).shape == (16,)
    with pytest.raises(
        ValueError, match=r"OneChannel does not take two spin channels.*densinfo\.u"
    ):
        functional.get_edensityxc(sample_points(2))
