"""Weights in several places of a functional are one again when its file is read."""

from __future__ import annotations

import pytest
import torch
from torch.nn import GELU, Linear

from deepchem_xc.xc import (
    NNPBE,
    PBE,
    ConstrainedGGA,
    FunctionalFileError,
    get_xc,
    load_functional,
)
from deepchem_xc.xc.sampling import sample_points
from tests.xc.saved import assert_comes_back, header_of, moved, net, number


def mixture():
    t = number(0.3)
    return t * get_xc("PBE") + (1 - t) * get_xc("LDA")


def tied_network():
    layer = Linear(8, 8)
    return NNPBE(net(layer, GELU(), layer, GELU(), layer))


def twice():
    functional = ConstrainedGGA(start="random", seed=0)
    return functional + 0.5 * functional


def functions():
    t, w = number(0.3), number([0.2, 0.5])
    first = torch.sigmoid(2 * t - 1) * get_xc("PBE") + get_xc("lda_x") / t
    second = w[0] * get_xc("gga_x_b88") + (1 - w[1] * t**2) * get_xc("gga_c_lyp")
    return first + second + torch.softmax(w, 0)[1] * get_xc("lda_c_vwn")


SHARED = {"mixture": mixture, "tied": tied_network, "twice": twice, "functions": functions}


@pytest.mark.parametrize("name", SHARED)
def test_one_parameter_in_several_places(name, path):
    """It is one again, and what is trained then stays together."""
    functional = moved(SHARED[name]())
    again = assert_comes_back(functional, path)
    points = sample_points(2)
    found, expected = (moved(f).get_edensityxc(points) for f in (again, functional))
    assert torch.equal(found, expected)


def test_a_file_of_shared_weights_is_of_the_second_format(path):
    for functional, version in ((mixture(), 2), (PBE(), 1)):
        functional.save(path)
        assert header_of(path)["format"] == version


def test_a_plain_tensor_among_the_leaves(path):
    """It comes back as a constant."""
    x = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    functional = (number(0.5) * x) * get_xc("lda_x")
    functional.save(path)
    again = load_functional(path)
    assert again.factor.item() == pytest.approx(0.2, abs=1e-15)
    assert len(list(again.parameters())) == 1


TAMPERED = {
    "an unknown operation": ["system", 0],
    "a leaf that is not there": ["affine", 0.0, [[1.0, 7]]],
    "no expression": {"a": 1},
    "a chain without end": 0,
}


@pytest.mark.parametrize("name", TAMPERED)
def test_factors_that_were_tampered_with(name, path):
    from deepchem_xc.xc.definition import build, definition_of

    definition = definition_of((1 - number(0.5)) * get_xc("lda_x"))
    expression = TAMPERED[name]
    if name == "a chain without end":
        for _ in range(5000):
            expression = ["Exp", expression]
    definition["options"]["factor"]["$factor"] = expression
    with pytest.raises(ValueError, match="a factor cannot be computed from"):
        build(definition)


def test_shared_names_that_were_tampered_with(path):
    from deepchem_xc.xc import saving
    from deepchem_xc.xc.file_format import rebuilt

    functional = mixture()
    header, tensors = saving.file_contents(functional, ())
    for shared in ({"nothing": "terms.0.factor"}, {"a": 1}, ["a"]):
        with pytest.raises(ValueError, match="no parameters|shared weights are"):
            rebuilt({**header, "shared": shared}, tensors, ())


def test_a_mixture_of_a_damaged_file(path):
    mixture().save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FunctionalFileError, match="damaged"):
        load_functional(path)
