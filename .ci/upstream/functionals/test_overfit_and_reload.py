"""Functionals inside DeepChem's TorchModel: they can be overfitted, and reloaded."""

import deepchem as dc
import numpy as np
import pytest
import torch
from deepchem.models.dft.xc import ConstrainedGGA, HybridXC, ValGrad, get_xc
from deepchem.models.losses import L2Loss
from deepchem.models.torch_models.torch_model import TorchModel


class EnergyAtPoints(torch.nn.Module):
    """Energies per volume of a functional; the columns of its input are n and grad n."""

    def __init__(self, functional: torch.nn.Module) -> None:
        super().__init__()
        self.functional = functional

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        exact = points.to(torch.float64)
        energies = self.functional(ValGrad(value=exact[:, 0], grad=exact[:, 1:].T))
        # DeepChem's TorchModel has labels in single precision.
        return energies.unsqueeze(-1).to(points.dtype)


def _hybrid(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    return HybridXC("gga_x_pbe", network, aweight0=1.0)


def _constrained(seed: int) -> torch.nn.Module:
    return ConstrainedGGA(start="random", seed=seed)


FUNCTIONALS = {"HybridXC": _hybrid, "ConstrainedGGA": _constrained}


def _dataset() -> dc.data.NumpyDataset:
    """Points of random density and gradient, labelled with the energy of PBE."""
    rng = np.random.default_rng(0)
    density = rng.uniform(0.1, 1.0, 32)
    direction = rng.normal(size=(3, 32))
    direction /= np.linalg.norm(direction, axis=0)
    gradient = rng.uniform(0.0, 12.0, 32) * density ** (4.0 / 3.0) * direction
    points = np.vstack((density, gradient)).T
    labels = EnergyAtPoints(get_xc("PBE"))(torch.as_tensor(points)).detach().numpy()
    return dc.data.NumpyDataset(points, labels)


def _model(functional, folder: str) -> TorchModel:
    return TorchModel(
        EnergyAtPoints(functional),
        L2Loss(),
        batch_size=32,
        learning_rate=0.01,
        model_dir=folder,
        device=torch.device("cpu"),
    )


def _error(model: TorchModel, dataset: dc.data.NumpyDataset) -> float:
    """Root mean square, relative to that of the labels."""
    difference = model.predict(dataset) - dataset.y
    return float(np.sqrt((difference**2).mean() / (dataset.y**2).mean()))


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_overfit(name, tmp_path):
    dataset = _dataset()
    model = _model(FUNCTIONALS[name](0), str(tmp_path))
    before = _error(model, dataset)
    model.fit(dataset, nb_epoch=300, checkpoint_interval=0)
    after = _error(model, dataset)
    assert before > 0.1
    assert after < 0.1 * before


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_reload(name, tmp_path):
    dataset = _dataset()
    model = _model(FUNCTIONALS[name](0), str(tmp_path))
    model.fit(dataset, nb_epoch=3, checkpoint_interval=0)
    model.save_checkpoint()
    other = _model(FUNCTIONALS[name](1), str(tmp_path))
    assert not np.array_equal(other.predict(dataset), model.predict(dataset))
    other.restore()
    np.testing.assert_array_equal(other.predict(dataset), model.predict(dataset))
