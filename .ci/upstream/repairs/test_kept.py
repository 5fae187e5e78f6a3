"""What the repairs leave as it is: these tests pass before them and after them."""

import numpy as np
import pytest

try:
    import torch
    from deepchem.models.dft.dftxc import XCModel
    from deepchem.models.dft.nnxc import NNPBE, HybridXC
    from deepchem.utils.dft_utils import ValGrad, get_xc
except ModuleNotFoundError:
    pass


class _Gradient(torch.nn.Module):
    """The reduced gradient itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., 2:]


@pytest.mark.torch
def test_one_system_has_the_reduced_gradient_of_the_literature():
    torch.manual_seed(0)
    n = torch.rand(7, dtype=torch.float64) + 0.5
    gradient = torch.randn(3, 7, dtype=torch.float64)
    found = NNPBE(_Gradient()).get_edensityxc(ValGrad(value=n, grad=gradient))
    s = gradient.norm(dim=0) / (2.0 * (3.0 * np.pi**2) ** (1.0 / 3.0) * n ** (4.0 / 3.0))
    torch.testing.assert_close(found, n * s, rtol=1e-10, atol=0.0)


@pytest.mark.torch
def test_a_network_with_weight_zero_changes_nothing():
    density = ValGrad(value=torch.linspace(0.1, 1.0, 5, dtype=torch.float64))
    network = torch.nn.Linear(2, 1).to(torch.float64)
    found = HybridXC("lda_x", network, aweight0=0.0).get_edensityxc(density)
    torch.testing.assert_close(found, get_xc("lda_x").get_edensityxc(density))


@pytest.mark.torch
def test_labels_in_single_precision_and_absent_ones():
    model = XCModel("lda_x", batch_size=1, device=torch.device("cpu"))
    given = np.array([[0.25], [0.5]], dtype=np.float32)
    inputs, (label,), (weight,) = model._prepare_batch((["entry"], [given], [given]))
    assert inputs == ["entry"]
    assert label.dtype == weight.dtype == torch.float64 and label.requires_grad
    np.testing.assert_array_equal(label.detach().numpy(), given)
    assert model._prepare_batch((["entry"], None, None)) == (["entry"], [], [])
