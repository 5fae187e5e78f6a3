"""DeepChem's neural functionals: their definition, their training, what they refuse."""

from __future__ import annotations

import inspect

import pytest
import torch

from deepchem_xc.xc import (
    NNLDA,
    NNPBE,
    PBE,
    BaseXC,
    ConstrainedGGA,
    HybridXC,
    SpinParam,
    ValGrad,
    XCFunctional,
    get_xc,
)
from tests.differences import assert_exact_derivatives


def network(ninput, noutput=1):
    torch.manual_seed(ninput)
    return torch.nn.Sequential(
        torch.nn.Linear(ninput, 6), torch.nn.Softplus(), torch.nn.Linear(6, noutput)
    ).double()


class Recorder(torch.nn.Module):
    """Keeps what it is given."""

    def forward(self, x):
        self.seen = x
        return x.sum(-1, keepdim=True)


@pytest.fixture
def rho(sample):
    return torch.tensor(sample(2, npoints=24, density=(1e-3, 10.0), s=(0.05, 3.0)))


def energy(functional, density):
    return functional.get_edensityxc(density)


# the definition ----------------------------------------------------------------------------------


def test_inputs_of_the_networks(rho, densinfo):
    """n, xi and s in this order, as Kasim and Vinko (2021), s to 1e-9; for xi and -xi."""
    up, down = rho
    n = up[0] + down[0]
    xi = (up[0] - down[0]) / n
    s = (up[1:] + down[1:]).norm(dim=0) / (2 * (3 * torch.pi**2) ** (1 / 3) * n ** (4 / 3))
    for cls, expected in ((NNLDA, [n, xi]), (NNPBE, [n, xi, s])):
        recorder = Recorder()
        energies = energy(cls(recorder), densinfo(rho))
        both = torch.stack([torch.stack(expected, dim=-1)] * 2)
        both[1, :, 1] *= -1.0
        assert torch.allclose(recorder.seen, both.flatten(0, -2), rtol=1e-7, atol=1e-9)
        assert torch.allclose(
            energies, n * recorder.seen.sum(-1).view(2, -1).mean(0), rtol=1e-13, atol=0.0
        )


@pytest.mark.parametrize(("cls", "ninput"), [(NNLDA, 2), (NNPBE, 3)])
def test_one_channel_is_two_equal_ones(cls, ninput, rho, densinfo):
    functional = cls(network(ninput))
    one, two = densinfo(rho[0]), densinfo(torch.stack((0.5 * rho[0], 0.5 * rho[0])))
    assert torch.allclose(energy(functional, one), energy(functional, two), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(("cls", "ninput"), [(NNLDA, 2), (NNPBE, 3)])
def test_leading_axes(cls, ninput, nspin, rho, densinfo):
    """Batches of grids give what each grid gives."""
    functional = cls(network(ninput))
    fields = rho[:nspin].reshape(nspin, 4, 2, 3, 4)
    channels = [ValGrad(value=field[0], grad=field[1:].movedim(0, -2)) for field in fields]
    batch = energy(functional, channels[0] if nspin == 1 else SpinParam(*channels))
    assert batch.shape == (2, 3, 4)
    flat = energy(functional, densinfo(rho[0] if nspin == 1 else rho))
    assert torch.allclose(batch.flatten(), flat, rtol=1e-13, atol=0.0)


def test_signatures_of_deepchem():
    assert list(inspect.signature(NNLDA).parameters) == ["nnmodel"]
    assert list(inspect.signature(NNPBE).parameters) == ["nnmodel"]
    parameters = inspect.signature(HybridXC).parameters
    assert list(parameters) == ["xcstr", "nnmodel", "aweight0", "bweight0"]
    assert (parameters["aweight0"].default, parameters["bweight0"].default) == (0.0, 1.0)
    for functional in (NNLDA(network(2)), NNPBE(network(3)), HybridXC("PBE", network(3))):
        assert isinstance(functional, BaseXC) and isinstance(functional, XCFunctional)


@pytest.mark.parametrize(
    ("xcstr", "cls", "family"),
    [
        ("lda_x", NNLDA, 1),
        ("gga_x_pbe+gga_c_pbe", NNPBE, 2),
        ("PBE", NNPBE, 2),
        ("lda_c_pz", NNLDA, 1),
        ("r2SCAN", NNPBE, 4),
    ],
)
def test_the_family_chooses_the_network(xcstr, cls, family):
    functional = HybridXC(xcstr, network(2 if cls is NNLDA else 3))
    assert type(functional.nnxc) is cls
    assert functional.family == family


def test_hybrid_is_a_sum_with_weights(rho, densinfo):
    density = densinfo(rho)
    for part in (network(3), NNPBE(network(3)), ConstrainedGGA(start="random", seed=0)):
        functional = HybridXC("PBE", part, aweight0=0.3, bweight0=0.8)
        expected = 0.3 * energy(functional.nnxc, density) + 0.8 * energy(get_xc("PBE"), density)
        assert torch.allclose(energy(functional, density), expected, rtol=1e-13, atol=0.0)
    mixed = HybridXC("lda_x", NNPBE(network(3)), aweight0=1.0)
    assert mixed.family == 2
    assert torch.equal(energy(HybridXC("PBE", network(3)), density), energy(get_xc("PBE"), density))


# training ----------------------------------------------------------------------------------------


def test_weights_are_trained(rho, densinfo):
    """dE/da is the network's energy and dE/db the known functional's."""
    density = densinfo(rho)
    functional = HybridXC("PBE", network(3), aweight0=0.3)
    energy(functional, density).sum().backward()
    for weight, part in (
        (functional.aweight, functional.nnxc),
        (functional.bweight, functional.xc),
    ):
        assert torch.allclose(weight.grad, energy(part, density).sum(), rtol=1e-13, atol=0.0)
        assert weight.dtype == torch.float64 and weight.shape == ()
    assert all(parameter.grad.abs().sum() > 0 for parameter in functional.nnxc.parameters())


def test_no_gradient_reaches_the_network_while_its_weight_is_zero(rho, densinfo):
    functional = HybridXC("PBE", network(3))
    energy(functional, densinfo(rho)).sum().backward()
    assert all(torch.all(parameter.grad == 0) for parameter in functional.nnxc.parameters())
    assert functional.aweight.grad != 0


@pytest.mark.parametrize(("cls", "ninput"), [(NNLDA, 2), (NNPBE, 3)])
def test_gradient_by_the_weights_against_finite_differences(cls, ninput, rho, densinfo):
    functional = cls(network(ninput))
    names = [name for name, _ in functional.named_parameters()]

    def total(*values):
        state = dict(zip(names, values))
        return torch.func.functional_call(functional, state, (densinfo(rho),)).sum()

    assert_exact_derivatives(total, *functional.parameters())


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: NNLDA(network(2)),
        lambda: NNPBE(network(3)),
        lambda: HybridXC("PBE", network(3), 0.5),
    ],
)
def test_first_to_third_derivatives_against_finite_differences(make, nspin, rho, densinfo):
    functional = make()
    values = rho[:nspin, :, :2].clone() if nspin == 2 else rho[0, :, :2].clone()

    def total(values):
        return energy(functional, densinfo(values))

    assert_exact_derivatives(total, values, orders=(1, 2, 3))


# bad input ---------------------------------------------------------------------------------------


def test_wrong_sizes():
    with pytest.raises(ValueError, match=r"must map 2 inputs \(n, xi\) to one output.*shapes"):
        NNLDA(network(3))
    with pytest.raises(ValueError, match=r"must map 3 inputs \(n, xi, s\) to one output"):
        NNPBE(network(2))
    with pytest.raises(ValueError, match=r"for two points, \(2, 3\), it gives \(2, 3\)"):
        NNPBE(network(3, noutput=3))
    with pytest.raises(ValueError, match="3 inputs"):
        HybridXC("PBE", network(2))
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, not str"):
        NNLDA("network")
    with pytest.raises(ValueError, match="unknown functional 'PBBE'"):
        HybridXC("PBBE", network(3))


def test_single_precision_is_converted_in_place(rho, densinfo):
    single = network(3).float()
    weights = list(single.parameters())
    functional = NNPBE(single)
    assert functional.nnmodel is single
    assert all(parameter is weight for parameter, weight in zip(single.parameters(), weights))
    assert energy(functional, densinfo(rho)).dtype == torch.float64
    with pytest.raises(ValueError, match="the density is torch.float32"):
        energy(functional, densinfo(rho.float()))


def test_nan_in_weights(rho, densinfo):
    broken = network(3)
    functional = NNPBE(broken)
    with torch.no_grad():
        broken[0].bias[1] = torch.inf
    with pytest.raises(ValueError, match=r"'nnmodel\.0\.bias' .* contain NaN or infinity"):
        energy(functional, densinfo(rho))
    with pytest.raises(ValueError, match=r"'0\.bias' .* contain NaN or infinity"):
        NNPBE(broken)


def test_nan_beside_the_network(rho, densinfo):
    """Weights of sums and multiples and PBE's constants are looked at as well."""
    mixed = HybridXC("PBE", network(3), aweight0=0.1)
    with torch.no_grad():
        mixed.aweight.fill_(torch.nan)
    with pytest.raises(ValueError, match="'aweight' .* contain NaN"):
        energy(mixed, densinfo(rho))
    constants = PBE(trainable=True)
    with torch.no_grad():
        constants.terms[0].kappa.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"\.kappa' \(SumXC\) contain NaN"):
        energy(2.0 * (constants + get_xc("lda_x")) + get_xc("lda_x"), densinfo(rho))
