"""The functionals in torch on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.xc import PBE, get_xc


@pytest.mark.gpu
@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ["LDA", "lda_c_vwn", "Teter93", "PBE", "RPBE", "BLYP"])
def test_same_as_on_the_cpu(name, nspin, sample, densinfo):
    rho = torch.tensor(sample(nspin, s=(0.1, 3.0)))
    rho[..., -3:] = 0.0  # vacuum
    results = []
    for device in ("cpu", "cuda"):
        inputs = rho.to(device).requires_grad_()
        energy = get_xc(name).to(device).get_edensityxc(densinfo(inputs))
        (potential,) = torch.autograd.grad(energy.sum(), inputs, create_graph=True)
        (kernel,) = torch.autograd.grad((potential * inputs.detach()).sum(), inputs)
        assert kernel.device.type == device
        results.append([tensor.detach().cpu() for tensor in (energy, potential, kernel)])
    for one, other in zip(*results):
        scale = one.abs() if one.ndim == 1 else one.abs().amax(-2, keepdim=True)
        assert torch.all((one - other).abs() <= 1e-10 * scale)


@pytest.mark.gpu
def test_trainable_constants_move_along(sample, densinfo):
    functional = PBE(trainable=True).to("cuda")
    density = densinfo(torch.tensor(sample(1, s=(0.1, 3.0))).cuda())
    functional.get_edensityxc(density).sum().backward()
    assert all(parameter.grad.device.type == "cuda" for parameter in functional.parameters())
