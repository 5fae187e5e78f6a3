"""The network of an untrained model has a gradient: the first step of a training moves it."""

import pytest

try:
    import torch
    from deepchem.models.dft.dftxc import DFTXC, XCModel
    from deepchem.models.dft.nnxc import HybridXC
    from deepchem.utils.dft_utils import ValGrad
except ModuleNotFoundError:
    pass


def _largest_gradient(functional) -> float:
    """Largest derivative of an energy with respect to a parameter of the network."""
    density = torch.linspace(0.1, 1.0, 5, dtype=torch.float64)
    gradient = torch.ones(3, 5, dtype=torch.float64)
    functional.get_edensityxc(ValGrad(value=density, grad=gradient)).sum().backward()
    return max(float(p.grad.abs().max()) for p in functional.nnxc.parameters())


@pytest.mark.torch
@pytest.mark.parametrize("xcstr, inputs", [("lda_x", 2), ("gga_x_pbe", 3)])
def test_of_a_functional(xcstr, inputs):
    torch.manual_seed(0)
    network = torch.nn.Linear(inputs, 1).to(torch.float64)
    assert _largest_gradient(HybridXC(xcstr, network)) > 0.0


@pytest.mark.torch
def test_of_a_layer():
    torch.manual_seed(0)
    layer = DFTXC("lda_x", torch.nn.Linear(2, 1).to(torch.float64))
    assert _largest_gradient(layer.hybridxc) > 0.0


@pytest.mark.torch
def test_of_a_model_with_its_own_network():
    torch.manual_seed(0)
    model = XCModel("lda_x", batch_size=1, device=torch.device("cpu"))
    assert _largest_gradient(model.model.hybridxc) > 0.0
