"""The functionals in torch on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.xc import PBE, ConstrainedGGA, ConstrainedMetaGGA, HybridXC, get_xc
from tests.devices import DEVICES, GPU

LEARNED = {
    "ConstrainedGGA": lambda: ConstrainedGGA(start="random", seed=0),
    "ConstrainedMetaGGA": lambda: ConstrainedMetaGGA(start="random", seed=0),
    "HybridXC": lambda: HybridXC("PBE", torch.nn.Linear(3, 1), aweight0=0.5),
}


@pytest.mark.gpu
@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(
    "name", ["LDA", "lda_c_vwn", "Teter93", "PBE", "RPBE", "BLYP", "r2SCAN", *LEARNED]
)
def test_same_as_on_the_cpu(name, nspin, tensor, densinfo):
    rho = tensor(nspin, s=(0.1, 3.0))
    functional = LEARNED[name]() if name in LEARNED else get_xc(name)
    rho[..., -3:] = 0.0  # vacuum
    results = []
    for device in DEVICES:
        inputs = rho.to(device).requires_grad_()
        energy = functional.to(device).get_edensityxc(densinfo(inputs))
        (potential,) = torch.autograd.grad(energy.sum(), inputs, create_graph=True)
        (kernel,) = torch.autograd.grad((potential * inputs.detach()).sum(), inputs)
        assert kernel.device.type == device
        results.append([tensor.detach().cpu() for tensor in (energy, potential, kernel)])
    for one, other in zip(*results):
        scale = one.abs() if one.ndim == 1 else one.abs().amax(-2, keepdim=True)
        assert torch.all((one - other).abs() <= 1e-10 * scale)


@pytest.mark.gpu
def test_files_know_no_device(tensor, densinfo, tmp_path):
    functional = ConstrainedGGA(start="random").to(GPU)
    functional.save(tmp_path / "mine.xc.safetensors")
    loaded = get_xc(str(tmp_path / "mine.xc.safetensors"))
    assert all(parameter.device.type == "cpu" for parameter in loaded.parameters())
    density = densinfo(tensor(1))
    expected = functional.to("cpu").get_edensityxc(density)
    assert torch.equal(loaded.get_edensityxc(density), expected)


@pytest.mark.gpu
def test_trainable_constants_move_along(sample, densinfo):
    functional = PBE(trainable=True).to(GPU)
    density = densinfo(torch.tensor(sample(1, s=(0.1, 3.0))).to(GPU))
    functional.get_edensityxc(density).sum().backward()
    assert all(parameter.grad.device.type == GPU for parameter in functional.parameters())
