"""Functionals that are written to a file and read again."""

from __future__ import annotations

import json
import struct

import torch
from torch.nn import Linear, Sequential, Tanh

from deepchem_xc.xc import load_functional
from deepchem_xc.xc.sampling import sample_points


def header_of(path):
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    return json.loads(header["__metadata__"]["deepchem_xc"])


def number(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def moved(functional):
    """With weights that are not the initial ones."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in functional.parameters():
            step = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * step)
    return functional


def assert_comes_back(functional, path, classes=()):
    functional.save(path, classes=classes)
    again = load_functional(path, classes=classes)
    for spins in (1, 2):
        points = sample_points(spins)
        found, expected = (f.get_edensityxc(points) for f in (again, functional))
        assert torch.equal(found, expected)
    names, expected = ([n for n, _ in f.named_parameters()] for f in (again, functional))
    assert names == expected
    assert again.name == functional.name
    return again


def net(*middle, nlast=8):
    torch.manual_seed(1)
    return Sequential(Linear(3, 8), *middle, Tanh(), Linear(nlast, 1))
