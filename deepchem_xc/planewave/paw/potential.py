"""`PAWPotential`: a dataset as plane waves see it, by form factors."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.planewave.pseudo.base import AtomicPotential
from deepchem_xc.planewave.pseudo.radial import RadialTransform

from .dataset import PAWDataset
from .reference_atom import ReferenceAtom, radial_transform
from .shapes import shape_functions
from .tables import OnSiteTables, on_site_tables

__all__ = ["PAWPotential"]

# Self-energy of a unit charge, Hartree, that may be lost beyond the plane waves of compensation
# charges; charges of spheres are up to twenty.
_REST = 1e-10
# Largest wave number of the search for them, and its spacing, 1/bohr.
_LONGEST, _SPACING = 100.0, 0.05


class PAWPotential(AtomicPotential):
    """The potential of a PAW dataset: projectors, smooth core, compensation charges.

    Parameters
    ----------
    dataset : PAWDataset
        Content of the file.

    Attributes
    ----------
    dataset : PAWDataset
        The given one.
    tables : OnSiteTables
        Matrices of its sphere.
    """

    def __init__(self, dataset: PAWDataset) -> None:
        self.dataset = dataset
        self.symbol, self.name = dataset.symbol, dataset.name
        self.valence, self.functional = dataset.valence, dataset.functional

    @property
    def angular_momenta(self) -> tuple[int, ...]:
        """l of each channel of projectors."""
        return self.dataset.angular_momenta

    @cached_property
    def tables(self) -> OnSiteTables:
        """Matrices of the sphere."""
        return on_site_tables(self.dataset)

    def _transform(self, function: NDArray, l: int = 0) -> RadialTransform:
        return radial_transform(self.dataset.grid, function, l)

    @cached_property
    def _projectors(self) -> list[RadialTransform]:
        return [self._transform(wave.projector, wave.l) for wave in self.dataset.waves]

    @cached_property
    def _smooth_core(self) -> RadialTransform:
        return self._transform(self.dataset.smooth_core_density)

    @cached_property
    def _zero_potential(self) -> RadialTransform:
        return self._transform(self.dataset.zero_potential)

    @cached_property
    def _smooth_core_kinetic(self) -> RadialTransform:
        values = self.dataset.smooth_core_kinetic_density
        assert values is not None
        return self._transform(values)

    @property
    def has_core_kinetic_density(self) -> bool:
        """Whether the dataset holds the kinetic energy density of its core."""
        return self.dataset.smooth_core_kinetic_density is not None

    def projectors(self, channel_index: int, q2: Tensor) -> Tensor:
        """Form factor of one channel's projector, see `AtomicPotential.projectors`."""
        return self._projectors[channel_index](q2)

    @property
    def has_core_density(self) -> bool:
        """Always: the smooth core is part of the smooth density."""
        return True

    def core_density(self, q2: Tensor) -> Tensor:
        """Form factor of the smooth core density, in electrons."""
        return self._smooth_core(q2)[0]

    def core_kinetic_density(self, q2: Tensor) -> Tensor:
        """Form factor of the smooth core's kinetic energy density, Hartree."""
        if not self.has_core_kinetic_density:
            return super().core_kinetic_density(q2)
        return self._smooth_core_kinetic(q2)[0]

    def zero_potential(self, q2: Tensor) -> Tensor:
        """Form factor of the local potential inside the sphere, Hartree bohr^3."""
        return self._zero_potential(q2)[0]

    def shape(self, l: int, q2: Tensor) -> Tensor:
        """Form factor of the compensation charge with unit multipole l, over q^l.

        4 pi int r^2 g_l(r) j_l(qr) dr / q^l = 4 pi exp(-q^2 r_c^2 / 4) / (2 l + 1)!!, analytic for
        g_l proportional to r^l exp(-r^2 / r_c^2), and integrated on the mesh for other shapes.
        """
        if self.dataset.shape != "gauss":
            return self._shapes[l](q2)[0]
        odd = math.prod(range(1, 2 * l + 2, 2))
        return 4.0 * math.pi / odd * torch.exp(-0.25 * self.dataset.shape_radius**2 * q2)

    @cached_property
    def _shapes(self) -> list[RadialTransform]:
        return [self._transform(g, l) for l, g in enumerate(shape_functions(self.dataset))]

    @cached_property
    def shape_cutoff(self) -> float:
        """Wave number up to which compensation charges have plane waves, 1/bohr.

        The self-energy of a unit charge beyond it, the integral of (g(q) / 4 pi)^2 dq / pi, is
        below `_REST`.
        """
        q = torch.arange(0.0, _LONGEST, _SPACING, dtype=torch.float64)
        density = (self.shape(0, q.square()) / (4.0 * math.pi)).square() * (_SPACING / math.pi)
        beyond = density.flip(0).cumsum(0).flip(0)
        return float(q[beyond > _REST][-1]) + _SPACING

    @cached_property
    def atom(self) -> ReferenceAtom:
        """The dataset's reference atom, from which the self-consistent field starts."""
        return ReferenceAtom(self.dataset, self.tables)

    def definition(self) -> dict[str, NDArray[Any]]:
        """Arrays that determine the potential, see `AtomicPotential.definition`."""
        return self.dataset.definition()

    def __repr__(self) -> str:
        return repr(self.dataset).replace("PAWDataset", "PAWPotential", 1)
