"""Potentials and atoms are compared by their content."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from deepchem_xc.planewave.pseudo import (
    GTHPseudopotential,
    Pseudopotential,
    atom_digest,
    load_gth,
    potential_digest,
    read_psp8,
)


def altered(potential: GTHPseudopotential, **changes: Any) -> GTHPseudopotential:
    from dataclasses import replace

    parameters = replace(potential.parameters, **changes)
    return GTHPseudopotential("Si", "another name", parameters, functional=None)


def test_names_do_not_count_and_every_part_of_the_content_does() -> None:
    silicon = load_gth("Si", "gth-pbe")
    assert potential_digest(altered(silicon)) == potential_digest(silicon)
    given = silicon.parameters
    l, radius, matrix = given.projectors[0]
    stronger = tuple(tuple(x * (1 + 1e-12) for x in row) for row in matrix)
    others = [
        altered(silicon, local_radius=given.local_radius * (1 + 1e-12)),
        altered(silicon, local_coefficients=(*given.local_coefficients[:-1], -6.0)),
        altered(silicon, projectors=((l, radius, stronger), *given.projectors[1:])),
        altered(silicon, projectors=given.projectors[1:]),
        altered(silicon, electrons=(2, 3)),
        load_gth("Si", "gth-pade"),
    ]
    digests = {potential_digest(potential) for potential in (silicon, *others)}
    assert len(digests) == len(others) + 1


def test_the_atom_is_not_a_part_of_the_potential() -> None:
    silicon = load_gth("Si", "gth-pbe")
    other = altered(silicon, electrons=(1, 3))
    assert potential_digest(other) == potential_digest(silicon)
    assert atom_digest(other) != atom_digest(silicon)
    assert atom_digest(altered(silicon)) == atom_digest(silicon)


def test_copies_of_a_file_are_the_same_potential(psp8_text: Any, write: Any) -> None:
    one, copy = (read_psp8(write(f"{name}.psp8", psp8_text(h=0.05)), "Si") for name in "ab")
    assert potential_digest(one) == potential_digest(copy)
    other = read_psp8(write("c.psp8", psp8_text(h=0.04)), "Si")
    assert potential_digest(other) != potential_digest(one)


class Softened(Pseudopotential):
    """A format of one's own, which says nothing about its definition."""

    symbol, name, functional = "Si", "soft", None

    def __init__(self, of: Pseudopotential, factor: float = 1.0, noise: float = 0.0) -> None:
        self._of, self._factor, self._noise = of, factor, noise
        self.valence, self.alpha, self.channels = of.valence, of.alpha, of.channels

    def local(self, q2: torch.Tensor) -> torch.Tensor:
        coulomb = -4.0 * np.pi * self.valence / q2
        short = self._of.local(q2) - coulomb
        return coulomb + short * self._factor * (1.0 + self._noise)

    def projectors(self, channel_index: int, q2: torch.Tensor) -> torch.Tensor:
        return self._of.projectors(channel_index, q2)

    @property
    def atom(self) -> Any:
        return self._of.atom


def test_a_format_without_a_definition_is_compared_by_its_values() -> None:
    silicon = load_gth("Si", "gth-pbe")
    digest = potential_digest(Softened(silicon))
    assert potential_digest(Softened(silicon, noise=1e-15)) == digest
    assert potential_digest(Softened(silicon, factor=1.0001)) != digest


def test_hashes_are_those_of_any_machine() -> None:
    """Records, sets and models that were made elsewhere are recognised."""
    silicon = load_gth("Si", "gth-pbe")
    assert potential_digest(silicon) == "46072193e071225c6ff983382f5b7947"
    assert atom_digest(silicon) == "c2e19e3f108554517f11af3a91690241"
