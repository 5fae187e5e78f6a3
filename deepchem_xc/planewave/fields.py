"""The quantities that the loop mixes, and their potential.

`Fields` holds the densities of the orbitals; it is symmetrised, mixed, differentiated and kept in
files. `Potential` is its dual: the derivative of an energy with respect to each member of `Fields`.
Both are vectors, and only this file knows their members; a member that is None is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.spheres import Spheres

V = TypeVar("V", bound="_Vector")


@dataclass(frozen=True, eq=False)
class _Vector:
    """A record of tensors with the operations of a vector space."""

    @property
    def _members(self) -> tuple[Tensor | None, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The members that are not None, in order."""
        return tuple(member for member in self._members if member is not None)

    def with_leaves(self: V, leaves: Iterable[Tensor]) -> V:
        """The same members with other values, one for each of `leaves`."""
        values = iter(leaves)
        return type(self)(*(None if m is None else next(values) for m in self._members))

    def map(self: V, function: Callable[[Tensor], Tensor]) -> V:
        """Apply a function to every member."""
        return self.with_leaves(map(function, self.leaves))

    def detach(self: V) -> V:
        """The same values without a graph."""
        return self.map(Tensor.detach)

    @property
    def requires_grad(self) -> bool:
        """Whether any member requires gradients."""
        return any(leaf.requires_grad for leaf in self.leaves)

    def symmetrized(self: V, basis: PlaneWaveBasis, spheres: Spheres | None = None) -> V:
        """The average over the crystal's symmetry; `spheres` are needed if there are any."""
        *waves, inside = self.map_waves(basis.symmetrize)._members
        if inside is not None:
            assert spheres is not None, "only the spheres know how their matrices rotate"
            inside = spheres.symmetrize(inside)
        return type(self)(*[*waves, inside])

    def map_waves(self: V, function: Callable[[Tensor], Tensor]) -> V:
        """Apply a function to the members on plane waves, and leave the spheres' as they are."""
        *waves, inside = self._members
        return type(self)(*[*(None if m is None else function(m) for m in waves), inside])

    def dot(self, other: _Vector) -> Tensor:
        """Real inner product, the sum of Re(a* b), 0-d; potential times electrons is in Hartree."""
        pairs = zip(self._members, other._members, strict=True)
        products = [_dot(a, b) for a, b in pairs if a is not None and b is not None]
        return torch.stack(products).sum()

    def __add__(self: V, other: V) -> V:
        pairs = zip(self._members, other._members, strict=True)
        return type(self)(*(b if a is None else a if b is None else a + b for a, b in pairs))

    def __sub__(self: V, other: V) -> V:
        return self + other.map(torch.neg)

    def __mul__(self: V, factor: Tensor | float) -> V:
        return self.map(lambda leaf: leaf * factor)

    def __rmul__(self: V, factor: float) -> V:
        return self * factor

    def __truediv__(self: V, divisor: Tensor | float) -> V:
        return self.map(lambda leaf: leaf / divisor)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Real part of the sum of a* b, 0-d, without temporary arrays."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    # One potential may act on both channels.
    a, b = torch.broadcast_tensors(a.to(dtype), b.to(dtype))
    product = torch.vdot(a.flatten(), b.flatten())
    return product.real if product.is_complex() else product


@dataclass(frozen=True, eq=False)
class Fields(_Vector):
    """Densities of electrons on the sphere of plane waves.

    Parameters
    ----------
    density : Tensor
        (nspin, nG), bohr^-3: the total, or up and down.
    tau : Tensor, optional
        Kinetic energy density, (nspin, nG), Hartree bohr^-3, if a meta-GGA needs it.
    spheres : Tensor, optional
        Partial-wave occupations of all PAW spheres, (nspin, n), see `Spheres`; real.

    Examples
    --------
    >>> import torch
    >>> fields = Fields(torch.ones(1, 5), tau=torch.ones(1, 5))
    >>> (fields * 2.0 - fields).tau.sum()
    tensor(5.)
    >>> Fields(torch.ones(1, 5)).tau is None
    True
    """

    density: Tensor
    tau: Tensor | None = None
    spheres: Tensor | None = None

    def to_electrons(self, volume: Tensor) -> Fields:
        """Amounts per cell instead of densities; unchanged by a strain.

        Parameters
        ----------
        volume : Tensor
            Volume of the cell, 0-d, bohr^3.

        Returns
        -------
        Fields
            Electrons, and Hartree for `tau`; `spheres` are such amounts already.
        """
        return self.map_waves(lambda leaf: leaf * volume)

    def to_densities(self, volume: Tensor) -> Fields:
        """The inverse of `to_electrons`."""
        return self.map_waves(lambda leaf: leaf / volume)


@dataclass(frozen=True, eq=False)
class Potential(_Vector):
    """Derivative of an energy with respect to `Fields`.

    Parameters
    ----------
    v : Tensor
        With respect to the density, (nspin, nG), Hartree: the potential that multiplies orbitals.
    v_tau : Tensor, optional
        With respect to the kinetic energy density, (nspin, nG), without unit: v_tau in the operator
        -1/2 div(v_tau grad).
    spheres : Tensor, optional
        With respect to the partial-wave occupations, (nspin, n), Hartree: the coupling of the
        projectors.

    Examples
    --------
    A constant potential acts on the number of electrons:

    >>> import torch
    >>> v = Potential(torch.tensor([[3.0, 0.0]]))
    >>> v.energy(Fields(torch.tensor([[0.5, 0.1]]).to(torch.complex64)), torch.tensor(16.0))
    tensor(24.)
    """

    v: Tensor
    v_tau: Tensor | None = None
    spheres: Tensor | None = None

    @classmethod
    def of_derivatives(cls, derivatives: Fields) -> Potential:
        """From derivatives with respect to `Fields.to_electrons`, as autograd returns them."""
        return cls(*derivatives._members)  # type: ignore[arg-type]

    def energy(self, fields: Fields, volume: Tensor) -> Tensor:
        """Energy of `fields` in this potential, 0-d, Hartree per cell; `volume` in bohr^3."""
        return self.dot(fields.to_electrons(volume))


def stack(vectors: Sequence[V]) -> V:
    """Stack vectors, for example one for each spin, along a new first axis.

    Examples
    --------
    >>> import torch
    >>> stack([Fields(torch.zeros(5)), Fields(torch.ones(5))]).density.shape
    torch.Size([2, 5])
    """
    columns = zip(*(vector.leaves for vector in vectors), strict=True)
    return vectors[0].with_leaves(torch.stack(column) for column in columns)


def derivative(
    energy: Tensor,
    electrons: Fields,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Potential:
    """Derivative of an energy with respect to `Fields.to_electrons`, in one backward pass.

    Parameters
    ----------
    energy : Tensor
        0-d, Hartree, in the graph of `electrons`.
    electrons : Fields
        All members require gradients.
    create_graph, retain_graph : bool, optional
        As for `torch.autograd.grad`.

    Examples
    --------
    >>> import torch
    >>> electrons = Fields(torch.ones(1, 2, requires_grad=True))
    >>> derivative(electrons.density.square().sum(), electrons).v
    tensor([[2., 2.]])
    """
    found = torch.autograd.grad(
        energy,
        electrons.leaves,
        create_graph=create_graph,
        retain_graph=retain_graph,
        materialize_grads=True,
    )
    return Potential.of_derivatives(electrons.with_leaves(found))
