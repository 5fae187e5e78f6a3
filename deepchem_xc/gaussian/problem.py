"""`MolecularProblem`: everything that the loop keeps fixed, and the energy of a density matrix."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from pyscf import scf
from torch import Tensor

from deepchem_xc.gaussian.coulomb import Coulomb, Interaction
from deepchem_xc.gaussian.grid import Grid
from deepchem_xc.gaussian.molecule import Molecule
from deepchem_xc.gaussian.semilocal import Semilocal
from deepchem_xc.numerics.implicit import added_gradients, explicit_gradients
from deepchem_xc.occupations.smearing import Smearing
from deepchem_xc.xc import XCFunctional, exchange_shares

#: Kinds of orbitals: one set for both spins and closed shells; one set for each spin; one set for
#: both spins, with open shells.
KINDS = ("restricted", "unrestricted", "open")


class Potential(NamedTuple):
    """Kohn-Sham matrices of a density, and the energies that its electrons' interaction has.

    Attributes
    ----------
    fock : Tensor
        Derivative of the energy with respect to the density matrices, (nspin, nao, nao), Hartree.
    energies : dict of str to float
        By term, Hartree.
    """

    fock: Tensor
    energies: dict[str, float]

    @property
    def energy(self) -> float:
        """Total energy of the density, without an entropy, Hartree."""
        return sum(self.energies.values())


@dataclass(frozen=True, eq=False)
class MolecularProblem:
    """A molecule, discretised, with its functional.

    Attributes
    ----------
    molecule : Molecule
        Atoms, electrons and basis functions.
    functional : XCFunctional
        Any.
    grid : Grid
        Points on which the functional is integrated.
    coulomb : Coulomb
        Interaction of the electrons.
    kind : str
        "restricted", "unrestricted" or "open", see `KINDS`.
    smearing : Smearing
        How electrons fill levels; integer occupations for open shells with one set of orbitals.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem
    >>> problem = make_problem(Atoms("He"), "PBE", basis="sto-3g")
    >>> problem.nspin, problem.overlap.shape
    (1, torch.Size([1, 1]))
    """

    molecule: Molecule
    functional: XCFunctional
    grid: Grid = field(repr=False)
    coulomb: Coulomb = field(repr=False)
    kind: str
    smearing: Smearing

    @property
    def nspin(self) -> int:
        """Number of density matrices: 1 (total), or 2 (up and down)."""
        return 1 if self.kind == "restricted" else 2

    @cached_property
    def semilocal(self) -> Semilocal:
        """The functional on the grid."""
        return Semilocal(self.functional, self.grid)

    @property
    def trained_tensors(self) -> list[Tensor]:
        """Parameters and buffers of the functional that require gradients."""
        tensors = (*self.functional.parameters(), *self.functional.buffers())
        return [tensor for tensor in tensors if tensor.requires_grad]

    @cached_property
    def overlap(self) -> Tensor:
        """Overlap of the basis functions, (nao, nao)."""
        return torch.from_numpy(np.ascontiguousarray(self.molecule.overlap))

    @cached_property
    def orthogonaliser(self) -> Tensor:
        """S^(-1/2), (nao, nao)."""
        values, vectors = torch.linalg.eigh(self.overlap)
        return (vectors * values.rsqrt()) @ vectors.T

    @cached_property
    def kinetic(self) -> Tensor:
        """Matrix of the kinetic energy, (nao, nao), Hartree."""
        matrix = self.molecule.mole.intor_symmetric("int1e_kin")
        return torch.from_numpy(np.ascontiguousarray(matrix))

    @cached_property
    def core(self) -> Tensor:
        """Kinetic energy, attraction of the nuclei and core potentials, (nao, nao), Hartree."""
        with warnings.catch_warnings():
            # PySCF's list of integrals lacks two of GTH potentials, which have one component.
            warnings.filterwarnings("ignore", "Function int1e_r[24]_origi")
            matrix = scf.hf.get_hcore(self.molecule.mole)
        return torch.from_numpy(np.ascontiguousarray(matrix))

    @cached_property
    def dipole(self) -> Tensor:
        """Matrices of the electrons' position, (3, nao, nao), bohr, from the origin."""
        matrices = self.molecule.mole.intor_symmetric("int1e_r", comp=3)
        return torch.from_numpy(np.ascontiguousarray(matrices))

    @cached_property
    def nuclear_repulsion(self) -> float:
        """Energy of the nuclei, or cores, among themselves, Hartree."""
        return float(self.molecule.mole.energy_nuc())

    def potential(self, density: Tensor) -> Potential:
        """Kohn-Sham matrices and energies of density matrices (nspin, nao, nao), without graph."""
        shares = self._shares()
        coulomb, exchange = self.coulomb.matrices(density, list(shares))
        energy, matrix = self.semilocal.energy_and_potential(density)
        total = density.sum(0)
        fock = self.core + coulomb + matrix
        energies = self._one_electron_energies(total)
        energies["hartree"] = 0.5 * _product(total, coulomb)
        energies["xc"] = energy
        if shares:
            mixed = self._mixed(list(shares.values()), exchange)
            fock = fock + mixed
            energies["exact_exchange"] = 0.5 * _product(density, mixed)
        return Potential(fock, energies)

    def kernel(self, density: Tensor) -> Kernel:
        """Derivative of `potential` with respect to the density matrices, without graph."""
        return Kernel(self, density)

    def change_of_interaction(self, change: Tensor) -> Tensor:
        """Coulomb and exact-exchange part of the kernel times a change, (nspin, nao, nao)."""
        shares = self._shares()
        coulomb, exchange = self.coulomb.matrices(change, list(shares))
        result = coulomb.expand_as(change)
        return result + self._mixed(list(shares.values()), exchange) if shares else result

    def energies_in_graph(self, density: Tensor) -> dict[str, Tensor]:
        """Energy by term, Hartree, in the graphs of density matrices and functional."""
        total = density.sum(0)
        terms = {
            "kinetic": (self.kinetic * total).sum(),
            "external": ((self.core - self.kinetic) * total).sum(),
            "nuclear": total.new_tensor(self.nuclear_repulsion),
        }
        shares = exchange_shares(self.functional)
        interactions = [Interaction(omega) for omega in shares]
        coulomb, exchange = _Interactions.apply(density, self.coulomb, interactions)
        terms["hartree"] = 0.5 * coulomb
        terms["xc"] = self.semilocal.energy_in_graph(density)
        if shares:
            parts = [share * value for share, value in zip(shares.values(), exchange, strict=True)]
            terms["exact_exchange"] = -0.5 * self._same_spin * torch.stack(parts).sum()
        return terms

    def parameter_gradients(
        self, density: Tensor, inputs: list[Tensor], direction: Tensor | None = None
    ) -> list[Tensor | None]:
        """Derivatives of the energy, or of its slope, with respect to the functional's tensors.

        Parameters
        ----------
        density, inputs, direction
            As for `Semilocal.parameter_gradients`.
        """
        found = self.semilocal.parameter_gradients(density, inputs, direction)
        trained = self.trained_interactions()
        if not trained:
            return found
        _, exchange = self.coulomb.matrices(density, trained)
        other, factor = (density, 0.5) if direction is None else (direction, 1.0)
        products = [factor * _product(other, k) for k in exchange]
        of_shares = self.share_gradients(inputs, dict(zip(trained, products, strict=True)))
        return added_gradients(found, of_shares)

    def trained_interactions(self) -> list[Interaction]:
        """Operators of exchange whose share requires gradients."""
        with torch.enable_grad():  # callers may have switched gradients off
            return [
                Interaction(omega)
                for omega, share in exchange_shares(self.functional).items()
                if isinstance(share, Tensor) and share.requires_grad
            ]

    def share_gradients(
        self, inputs: Sequence[Tensor], products: Mapping[Interaction, float]
    ) -> list[Tensor | None]:
        """Derivatives of exchange, as products of shares and matrices, by the functional's tensors.

        Parameters
        ----------
        inputs : sequence of Tensor
            As for `parameter_gradients`.
        products : mapping of Interaction to float
            What exchange with this operator, all of it, takes from the energy without regard to
            spin, such as ``<D|K|D> / 2``, Hartree; for all `trained_interactions`, at least one.
        """
        with torch.enable_grad():
            shares = exchange_shares(self.functional)
            terms = [shares[one.omega] * value for one, value in products.items()]
            return explicit_gradients(-self._same_spin * torch.stack(terms).sum(), inputs)

    def exchange_factors(self) -> dict[Interaction, float]:
        """Factors of ``-<D|K|D> / 2`` in the energy, summed over density matrices, by operator."""
        return {one: self._same_spin * share for one, share in self._shares().items()}

    def exchange_energies(self, density: Tensor) -> dict[float, float]:
        """Exact exchange at density matrices for each range that the functional declares, Hartree.

        By omega (1/bohr), 0.0 for all of the interaction; without the functional's fractions.
        """
        interactions = list(self._shares())
        if not interactions:
            return {}
        _, exchange = self.coulomb.matrices(density, interactions)
        return {
            one.omega: -0.5 * self._same_spin * _product(density, k)
            for one, k in zip(interactions, exchange, strict=True)
        }

    @property
    def _same_spin(self) -> float:
        """Part of a density matrix that has the spin of an electron in it."""
        return 0.5 if self.nspin == 1 else 1.0

    def _shares(self) -> dict[Interaction, float]:
        shares = exchange_shares(self.functional)
        return {Interaction(omega): float(share) for omega, share in shares.items()}

    def _mixed(self, shares: list[float], exchange: list[Tensor]) -> Tensor:
        parts = [share * k for share, k in zip(shares, exchange, strict=True)]
        return -self._same_spin * torch.stack(parts).sum(0)

    def _one_electron_energies(self, total: Tensor) -> dict[str, float]:
        return {
            "kinetic": _product(self.kinetic, total),
            "external": _product(self.core - self.kinetic, total),
            "nuclear": self.nuclear_repulsion,
        }


class Kernel:
    """Derivative of the Kohn-Sham matrices with respect to the density matrices.

    Parameters
    ----------
    problem : MolecularProblem
        Any.
    density : Tensor
        Where it is taken, (nspin, nao, nao).
    """

    def __init__(self, problem: MolecularProblem, density: Tensor) -> None:
        self._problem = problem
        self._semilocal = problem.semilocal.kernel(density)

    def __call__(self, change: Tensor) -> Tensor:
        """Change of the matrices, (nspin, nao, nao), Hartree; `change` is symmetric."""
        return self._problem.change_of_interaction(change) + self._semilocal(change)


class _Interactions(torch.autograd.Function):
    """<D|J|D> of the total density matrix, and for each operator <D|K|D>, in the graph of D."""

    @staticmethod
    def forward(ctx: Any, density: Tensor, coulomb: Coulomb, interactions: Any) -> Any:
        j, exchange = coulomb.matrices(density, interactions)
        ctx.slopes = [2.0 * j.expand_as(density), *(2.0 * k for k in exchange)]
        values = density.new_tensor([_product(density, k) for k in exchange])
        return (density.sum(0) * j).sum(), values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_coulomb: Tensor, of_exchange: Tensor) -> tuple[Tensor, None, None]:
        weights = [of_coulomb, *of_exchange]
        return sum(w * slope for w, slope in zip(weights, ctx.slopes, strict=True)), None, None


def _product(left: Tensor, right: Tensor) -> float:
    return float((left * right).sum())
