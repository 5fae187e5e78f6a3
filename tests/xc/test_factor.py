"""Mixtures with a trained weight follow it, as they are written."""

from __future__ import annotations

import copy

import pytest
import torch
from ase.build import bulk

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.factor import factor_of
from deepchem_xc.xc.trial import check_functional, check_trainable
from tests.differences import assert_agreement, named_differences
from tests.models.systems import dataset

softplus = torch.nn.functional.softplus


def number(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


FACTORS = {
    "1 - t": lambda t, u, w: 1 - t,
    "-t": lambda t, u, w: -t,
    "3 t / 7 - 2": lambda t, u, w: 3 * t / 7 - 2,
    "t + u": lambda t, u, w: t + u,
    "t u": lambda t, u, w: t * u,
    "t (1 - t)": lambda t, u, w: t * (1 - t),
    "1 / t": lambda t, u, w: 1 / t,
    "t / (t + u)": lambda t, u, w: t / (t + u),
    "t^2": lambda t, u, w: t**2,
    "1 - t^0.5": lambda t, u, w: 1 - t.sqrt(),
    "exp": lambda t, u, w: t.exp(),
    "sigmoid": lambda t, u, w: torch.sigmoid(2 * (t + 1) - 3),
    "1 - sigmoid": lambda t, u, w: 1 - torch.sigmoid(t),
    "tanh": lambda t, u, w: 0.5 * (1 + torch.tanh(t - u)),
    "softplus": lambda t, u, w: softplus(t),
    "clamp": lambda t, u, w: t.clamp(0, 1),
    "log": lambda t, u, w: t.log(),
    "cos^2": lambda t, u, w: torch.cos(t) ** 2,
    "gauss": lambda t, u, w: torch.exp(-(t**2)),
    "component": lambda t, u, w: w[0],
    "rest of the components": lambda t, u, w: 1 - w[0] - w[1],
    "mean": lambda t, u, w: w.mean(),
    "softmax": lambda t, u, w: torch.softmax(w, 0)[1],
    "softmax, last axis": lambda t, u, w: w.softmax(-1)[-1],
    "sum of squares": lambda t, u, w: 1 - (w**2).sum(),
    "one of exponentials": lambda t, u, w: t * w.exp()[2],
    "one of all softmax weights": lambda t, u, w: list(torch.softmax(w, 0))[2],
    "softmax at a temperature": lambda t, u, w: torch.softmax(w / t + 1, 0).unbind()[1],
    "softmax of stacked numbers": lambda t, u, w: torch.softmax(torch.stack([t, u]), 0)[1],
    "softmax beside zero": lambda t, u, w: torch.softmax(torch.cat([w[:2], 0 * w[:1]]), 0)[2],
    "softmax of softplus": lambda t, u, w: torch.softmax(softplus(w), -1)[0],
    "exp of log_softmax": lambda t, u, w: torch.log_softmax(w, 0).chunk(3)[1].exp().squeeze(),
    "one of normalised": lambda t, u, w: (w / w.sum())[1],
    "one of normalised squares": lambda t, u, w: (w**2 / (w**2).sum()).split(1)[2].squeeze(),
    "component of a unit vector": lambda t, u, w: torch.nn.functional.normalize(w, dim=0)[0] ** 2,
    "softplus, normalised": lambda t, u, w: (softplus(w) / softplus(w).sum())[0],
    "broken stick": lambda t, u, w: (1 - torch.sigmoid(w[0])) * torch.sigmoid(w[1]),
    "product": lambda t, u, w: w.prod(),
    "dot product": lambda t, u, w: torch.dot(w, t * w) + torch.dot(w, torch.ones(3).to(w)),
    "matrix": lambda t, u, w: (torch.arange(9.0).to(w).reshape(3, 3) @ w)[1],
    "permuted": lambda t, u, w: w.flip(0).cumsum(0)[torch.tensor([1])][0],
    "t^u": lambda t, u, w: t**u + 2**t,
    "between": lambda t, u, w: torch.lerp(t, u, 0.3),
    "larger and smaller": lambda t, u, w: torch.maximum(t, u) - 0.1 * torch.minimum(t, u),
    "clamped below": lambda t, u, w: torch.clamp_min(1 - t.clamp(max=1.0), 0.0),
    "arcus tangens": lambda t, u, w: 0.5 + torch.atan(t) / torch.pi,
    "log1p of expm1": lambda t, u, w: torch.log1p(torch.expm1(t)) + torch.erf(u),
    "logsumexp": lambda t, u, w: w.logsumexp(0) + torch.rsqrt(t),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_is_computed_again(name):
    """Value and gradient are those of the expression at the present numbers."""
    t, u, w = number(0.3), number(0.7), number([0.2, 0.3, 0.5])
    multiple = FACTORS[name](t, u, w) * get_xc("lda_x")
    assert set(multiple.parameters()) <= {t, u, w}
    t.data.fill_(0.45)
    u.data.fill_(0.11)
    w.data.copy_(torch.tensor([0.7, 0.1, 0.15]))
    expected = FACTORS[name](t, u, w)
    assert torch.allclose(multiple.factor, expected, rtol=1e-14, atol=1e-15)
    of = [p for p in (t, u, w) if any(p is q for q in multiple.parameters())]
    found = torch.autograd.grad(multiple.factor, of)
    gradients = torch.autograd.grad(expected, of)
    assert len(found) == len(gradients)
    for one, other in zip(found, gradients):
        assert torch.allclose(one, other, rtol=1e-13, atol=1e-15)


def test_a_number_that_does_not_matter_is_no_obstacle():
    """t^0 is a constant, whatever its graph says."""
    t, u = number(0.3), number(0.7)
    multiple = (0 * t + u) * get_xc("lda_x")
    assert [*multiple.parameters()] == [u]
    check_trainable(multiple)


def test_one_parameter_in_all_terms():
    t = number(0.5)
    mixture = t * get_xc("PBE") + (1 - t) * get_xc("LDA") - get_xc("lda_x") / t
    assert [p is t for p in mixture.parameters()] == [True]
    t.data.fill_(0.2)
    assert [float(term.factor.detach()) for term in mixture.terms[:2]] == [0.2, 0.8]


def test_the_mixture_is_kept_in_training():
    """And its gradient is that of the mixture: differences of converged energies."""
    a = 5.43 / 2
    silicon = {
        "structure": {
            "symbols": ["Si"] * 2,
            "cell": [[0, a, a], [a, 0, a], [a, a, 0]],
            "scaled_positions": [[0, 0, 0], [0.25] * 3],
        },
        "ecut": 100.0,
        "kpts": [2, 2, 2],
    }
    data = dataset(DFTEntry.create("energy", -213.0, [silicon]))
    t = number(0.5)
    mixture = t * get_xc("PBE") + (1 - t) * get_xc("LDA")
    model = XCModel(functional=mixture, batch_size=1, learning_rate=0.1)
    model.fit(data, nb_epoch=5, checkpoint_interval=0)
    assert float(t.detach()) == 0.5  # the model trains a copy
    mixture = model.functional
    (t,) = mixture.parameters()
    assert abs(float(t.detach()) - 0.5) > 0.01
    assert float(mixture.terms[1].factor.detach()) == pytest.approx(
        1 - float(t.detach()), abs=1e-15
    )

    tight = {"energy": 1e-11, "density": 1e-10}
    here = float(t.detach())

    def converged(functional):
        silicon = bulk("Si", a=5.43)
        return scf(silicon, functional, ecut=100.0, kpts=(2, 2, 2), convergence=tight)

    def values(step):
        plain = (here + step) * get_xc("PBE") + (1 - here - step) * get_xc("LDA")
        result = converged(plain)
        return {name: float(getattr(result, name)) for name in ("free_energy", "band_gap")}

    result = converged(mixture)
    for name, difference in named_differences(values, 0.04).items():
        (slope,) = torch.autograd.grad(getattr(result, name), t, retain_graph=True)
        assert_agreement(slope, difference, rel=2e-6, name=name)


def test_copies_and_loaded_weights_stay_mixtures():
    t = number(0.5)
    mixture = t * get_xc("PBE") + (1 - torch.sigmoid(t)) * get_xc("LDA")
    copied = copy.deepcopy(mixture)
    (own,) = copied.parameters()
    t.data.fill_(0.1)
    assert float(copied.terms[0].factor.detach()) == 0.5
    own.data.fill_(0.0)
    assert float(copied.terms[1].factor.detach()) == 0.5
    state = {name: torch.full_like(value, 0.25) for name, value in mixture.state_dict().items()}
    mixture.load_state_dict(state, assign=True)
    assert len(list(mixture.parameters())) == 1
    check_trainable(mixture)


def test_constants_stay_constants():
    """The value of a parameter that was taken out of its graph does not follow it."""
    t = number(0.5)
    fixed = t.detach() * get_xc("lda_x")
    t.data.fill_(0.9)
    assert float(fixed.factor) == 0.5
    assert not list(fixed.parameters())


def test_a_function_that_is_not_known():
    """Good for one gradient; refused where it would be left behind, or copied."""
    t = number(0.5)
    assert factor_of(torch.lgamma(t)) is None
    functional = torch.lgamma(t) * get_xc("PBE")
    check_functional(functional)
    assert float(functional.factor.detach()) == float(torch.lgamma(t).detach())
    with pytest.raises(ValueError, match=r"computed from tensors .* t \* f \+ \(1 - t\) \* g"):
        check_trainable(functional)
    with pytest.raises(ValueError, match="was computed from other tensors .* copy"):
        copy.deepcopy(functional)
    both = functional + t * get_xc("LDA")
    with pytest.raises(ValueError, match=r"from the parameter 'terms\.1\.factor' when it was made"):
        scf(bulk("Si"), both, ecut=100.0)
