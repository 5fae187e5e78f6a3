"""A functional is the same as long as its values are, however they were written."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest
import torch

from deepchem_xc.xc import PBE, BaseXC, ConstrainedGGA, XCFunctional, get_xc
from deepchem_xc.xc.base import as_functional
from deepchem_xc.xc.identity import Identity, Unchanged, fingerprint, name_or_content, structure
from deepchem_xc.xc.sampling import sample_points


class Mine(XCFunctional):
    """Everything a functional may be made of."""

    name, family = "mine", 1

    def __init__(self):
        super().__init__()
        self.register_buffer("offset", torch.tensor(0.1, dtype=torch.float64), persistent=False)
        self.scale = 0.5
        self.frozen = torch.tensor(0.3, dtype=torch.float64)
        self.layers = [torch.nn.Linear(1, 1).double().requires_grad_(False)]
        self.options = {"power": 2.0}
        self.inner = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Tanh()).double()
        self.function = torch.tanh
        self.calls = 0

    def energy_density(self, variables):
        self.calls += 1
        n = variables.density
        features = self.inner(self.layers[0](n.unsqueeze(-1))).sum(-1)
        return n * self.function(features * self.scale) * (self.frozen + self.offset)


def vector_to_parameters(f):
    values = 1.01 * torch.nn.utils.parameters_to_vector(f.parameters()).detach()
    torch.nn.utils.vector_to_parameters(values, f.parameters())


def assigned(f):
    f.load_state_dict({k: 1.01 * v for k, v in f.state_dict().items()}, assign=True)


CHANGES = {
    "in place": lambda f: f.inner[0].weight.requires_grad_(False).add_(0.1),
    "data": lambda f: f.inner[0].weight.data.add_(0.1),
    "vector_to_parameters": vector_to_parameters,
    "assign": assigned,
    "replaced parameter": lambda f: setattr(
        f.inner[0], "bias", torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    ),
    "replaced module": lambda f: f.inner.__setitem__(1, torch.nn.GELU()),
    "removed module": lambda f: f.inner.__delitem__(1),
    "buffer": lambda f: f.offset.data.fill_(0.2),
    "plain number": lambda f: setattr(f, "scale", 0.6),
    "plain tensor": lambda f: f.frozen.data.fill_(0.4),
    "layer in a list": lambda f: f.layers[0].weight.data.add_(0.1),
    "number in a dictionary": lambda f: f.options.update(power=3.0),
    "function": lambda f: setattr(f, "function", torch.sin),
    "threshold": lambda f: setattr(f, "density_threshold", 1e-12),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_a_value_is_noticed(name):
    torch.manual_seed(0)
    functional = Mine()
    before, memory = Identity.of(functional), Unchanged(functional)
    assert before.holds(functional)
    CHANGES[name](functional)
    assert not before.holds(functional)
    with pytest.raises(RuntimeError, match="mine was changed after this calculation"):
        memory.check()


def test_what_is_no_change():
    """The former values, the mode, a name, copies, and what an evaluation itself counts."""
    functional = Mine()
    before = Identity.of(functional)
    state = {k: v.clone() for k, v in functional.state_dict().items()}
    for parameter in functional.parameters():
        parameter.data.mul_(2.0)
    assert not before.holds(functional)
    functional.load_state_dict(state)
    functional.eval()
    functional.name = "renamed"
    functional.requires_grad_(False)
    assert before.holds(functional)
    assert before.holds(copy.deepcopy(functional))
    functional.load_state_dict(state, assign=True)
    assert before.holds(functional)


def test_nan_is_what_it_is():
    functional = PBE(beta=-0.6)
    assert Identity.of(functional).holds(functional)
    assert not Identity.of(functional).holds(PBE(beta=-0.61))


def test_parameters_of_a_graph_must_be_the_functionals():
    """Equal values in another tensor get no gradient."""
    functional = PBE(trainable=True)
    memory = Unchanged(functional, tuple(functional.parameters()))
    memory.check()
    functional.load_state_dict(functional.state_dict(), assign=True)
    with pytest.raises(RuntimeError, match="a parameter was replaced"):
        memory.check()


def test_a_number_of_deepchems_functional():
    class Slater(BaseXC):
        family = 1

        def __init__(self):
            self.c = -0.7

        def get_edensityxc(self, densinfo):
            return self.c * densinfo.value ** (4 / 3)

    own = Slater()
    mixture = as_functional(own + get_xc("lda_c_pw"))
    before = Identity.of(mixture)
    own.c = -0.8
    assert before.change(mixture) == "terms.0.xc.c"


def test_the_random_numbers_of_the_program_are_left_alone():
    functional = ConstrainedGGA(start="random", seed=0)
    state = torch.get_rng_state()
    assert Identity.of(functional).holds(functional)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_a_functional_keeps_of_its_last_evaluation_is_no_change():
    """Whatever it was evaluated at before, and however often it was asked."""

    class Keeps(XCFunctional):
        name, family = "keeps", 1

        def energy_density(self, variables):
            self.last = -variables.density
            return self.last

    functional = Keeps()
    for _ in range(3):
        before = Identity.of(functional)
        functional.get_edensityxc(sample_points(1, 5, seed=9))
        assert before.holds(functional)


def test_weights_alone():
    """Cheaper: what is no weight does not count."""
    functional = Mine()
    before, memory = Identity.of_weights(functional), Unchanged(functional, weights_only=True)
    functional.scale = 0.6
    memory.check()
    assert before.holds(functional)
    functional.inner[0].weight.data.add_(0.1)
    assert before.change(functional) == "inner.0.weight"
    with pytest.raises(RuntimeError, match=r"after this calculation \(inner\.0\.weight\)"):
        memory.check()


def test_a_structure_is_what_training_leaves():
    functional = Mine()
    made_of, function = structure(functional), fingerprint(functional)
    calls = functional.calls
    functional.inner[0].weight.data.add_(0.1)
    functional.calls = 0
    assert structure(functional) == made_of
    assert torch.equal(fingerprint(functional), function)
    assert calls > 0
    functional.inner[0].weight.requires_grad_(False)
    assert structure(functional) != made_of
    functional.inner[0].weight.requires_grad_(True)
    functional.scale = 0.6
    assert structure(functional) != made_of
    assert not torch.equal(fingerprint(functional), function)


def test_a_file_is_known_by_its_content(tmp_path):
    PBE(kappa=0.9).save(tmp_path / "one.safetensors")
    PBE(kappa=0.9).save(tmp_path / "other.safetensors")
    one, other = (name_or_content(str(tmp_path / f"{x}.safetensors")) for x in ("one", "other"))
    assert one == other
    PBE(kappa=1.0).save(tmp_path / "other.safetensors")
    assert name_or_content(str(tmp_path / "other.safetensors")) != one
    assert name_or_content("PBE") == "PBE"


def test_structure_is_the_same_in_every_process() -> None:
    # Checkpoints hold its hash, and Python's sets have another order in every process.
    code = (
        "import deepchem_xc.xc as xc\n"
        "from deepchem_xc.xc.identity import structure\n"
        "print(repr(structure(xc.ConstrainedGGA())))"
    )
    found = set()
    for seed in "012":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found.add(run.stdout)
    assert len(found) == 1 and "ConstrainedGGA" in found.pop()
