"""NNPBE with leading axes: each system of a batch has the energy that it has alone."""

import pytest

try:
    import torch
    from deepchem.models.dft.nnxc import NNPBE
    from deepchem.utils.dft_utils import SpinParam, ValGrad
except ModuleNotFoundError:
    pass


def _channel(*leading: int):
    """Random density and gradient of shapes (*leading, 7) and (*leading, 3, 7)."""
    value = torch.rand(*leading, 7, dtype=torch.float64) + 0.5
    return ValGrad(value=value, grad=torch.randn(*leading, 3, 7, dtype=torch.float64))


def _functional():
    torch.manual_seed(0)
    return NNPBE(torch.nn.Linear(3, 1).to(torch.float64))


def _member(channel, index: int):
    return ValGrad(value=channel.value[index], grad=channel.grad[index])


@pytest.mark.torch
@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_batch_is_its_members(count):
    """Three systems hide the wrong axis: three Cartesian components fit, too."""
    functional = _functional()
    batch = _channel(count)
    one_by_one = torch.stack([functional.get_edensityxc(_member(batch, i)) for i in range(count)])
    torch.testing.assert_close(functional.get_edensityxc(batch), one_by_one)


@pytest.mark.torch
def test_a_batch_with_two_spins_is_its_members():
    functional = _functional()
    up, down = _channel(3), _channel(3)
    one_by_one = torch.stack(
        [
            functional.get_edensityxc(SpinParam(u=_member(up, i), d=_member(down, i)))
            for i in range(3)
        ]
    )
    torch.testing.assert_close(functional.get_edensityxc(SpinParam(u=up, d=down)), one_by_one)


@pytest.mark.torch
def test_turned_gradients_have_the_same_energy():
    functional = _functional()
    batch = _channel(3)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    turned = ValGrad(value=batch.value, grad=turn @ batch.grad)
    torch.testing.assert_close(functional.get_edensityxc(turned), functional.get_edensityxc(batch))
