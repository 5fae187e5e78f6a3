"""Labels and weights of batches are those that were given, to the last bit."""

import numpy as np
import pytest

try:
    import torch
    from deepchem.models.dft.dftxc import XCModel
except ModuleNotFoundError:
    pass

# A total energy in Hartree; single precision has steps of 8e-6 there.
ENERGY = -100.00000123456789


def _prepared(labels: np.ndarray, weights: np.ndarray):
    model = XCModel("lda_x", batch_size=1, device=torch.device("cpu"))
    _, (label,), (weight,) = model._prepare_batch(([None], [labels], [weights]))
    return label.detach().numpy(), weight.numpy()


@pytest.mark.torch
def test_labels():
    given = np.array([[ENERGY], [ENERGY / 3.0]])
    label, _ = _prepared(given, np.ones((2, 1)))
    assert label.dtype == np.float64
    np.testing.assert_array_equal(label, given)


@pytest.mark.torch
def test_weights():
    given = np.array([[0.1], [1.0 / 3.0]])
    _, weight = _prepared(np.ones((2, 1)), given)
    assert weight.dtype == np.float64
    np.testing.assert_array_equal(weight, given)
