"""Whether a ground state is a minimum: the lowest curvature of its energy.

Rotations of the orbitals at whole occupations are tried within the kind of the calculation, and for
closed shells also with a set of orbitals for each spin. The lowest eigenvalue of the Hessian comes
from Davidson's method.

References
----------
R. Seeger, J. A. Pople, J. Chem. Phys. 66, 3045 (1977).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.gaussian.problem import MolecularProblem
from deepchem_xc.gaussian.rotations import Rotations, pair_product
from deepchem_xc.gaussian.states import States
from deepchem_xc.numerics.errors import DiagonalizationError

# Norm of the residual at which the eigenvalue counts as found, Hartree; its error is of second
# order. Largest number of products.
_RESIDUAL, _PRODUCTS = 1e-4, 200
# First trial vectors: rotations of the pairs with the smallest curvature, and noise, so that no
# symmetry is left out.
_PAIRS, _NOISE = 4, 1e-2
# Eigenvalue, Hartree, above which a state counts as a minimum: degenerate orbitals that a grid does
# not quite keep so have curvatures of both signs.
_ZERO = -1e-4
# Rotation of the density that leads away from a state that is no minimum: about 45 degrees in each
# spin.
_TURN = 1.0
# Curvature, Hartree, below which a state is left for a lower one, well beyond those of rotations in
# space, and the rotation that does so: short enough for the energy to fall.
_SADDLE, _SHORT_TURN = -1e-3, 0.2


class Curvature(NamedTuple):
    """Lowest curvature of the energy.

    Attributes
    ----------
    value : float
        Eigenvalue of the Hessian, Hartree; negative where the energy falls.
    density : Tensor
        Density matrices turned in its direction, (nspin, nao, nao): a start for another loop.
    """

    value: float
    density: Tensor


@dataclass(frozen=True)
class Stability:
    """What was found of a ground state.

    Attributes
    ----------
    internal : Curvature
        Within the calculation's kind of orbitals.
    unrestricted : Curvature or None
        With a set of orbitals for each spin, for closed shells; None for others.

    Examples
    --------
    Stretched hydrogen prefers one electron at each atom. The density of the direction found is a
    start that breaks the symmetry:

    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian import scf
    >>> atoms = Atoms("H2", [[0, 0, 0], [0, 0, 2.5]])
    >>> pairs = scf(atoms, "PBE", basis="6-31g")
    >>> found = pairs.stability()
    >>> found.is_stable, found.internal.value > 0.0 > found.unrestricted.value
    (False, True)
    >>> broken = scf(atoms, basis="6-31g", restricted=False, start=found.unrestricted.density)
    >>> bool(broken.energy < pairs.energy - 0.02)
    True
    """

    internal: Curvature = field(repr=False)
    unrestricted: Curvature | None = field(repr=False)

    @property
    def is_stable(self) -> bool:
        """Whether the energy rises in all directions that were tried."""
        found = [self.internal, *([] if self.unrestricted is None else [self.unrestricted])]
        return all(one.value > _ZERO for one in found)

    def __str__(self) -> str:
        text = f"lowest curvature {self.internal.value:.4f} Ha"
        if self.unrestricted is not None:
            text += f", with a set of orbitals for each spin {self.unrestricted.value:.4f} Ha"
        return f"{'stable' if self.is_stable else 'not a minimum'}: {text}"


def find_stability(problem: MolecularProblem, states: States, fock: Tensor) -> Stability:
    """Curvatures of the energy at a converged state.

    Parameters
    ----------
    problem : MolecularProblem
        Without smearing.
    states : States
        Its ground state.
    fock : Tensor
        Kohn-Sham matrices, (nspin, nao, nao).

    Raises
    ------
    ValueError
        With smearing.
    DiagonalizationError
        If Davidson's method does not converge.
    """
    if problem.smearing.width > 0.0:
        raise ValueError(
            f"stability is defined for whole occupations, and this calculation has "
            f"{problem.smearing.name} smearing: leave occupations out."
        )
    internal = _lowest(problem, states, fock)
    if problem.kind != "restricted":
        return Stability(internal, None)
    two = replace(problem, kind="unrestricted")
    doubled = replace(
        states,
        orbitals=states.orbitals.repeat(2, 1, 1),
        eigenvalues=states.eigenvalues.repeat(2, 1),
        filling=0.5 * states.filling.repeat(2, 1),
    )
    return Stability(internal, _lowest(two, doubled, fock.repeat(2, 1, 1)))


def downhill(problem: MolecularProblem, states: States, fock: Tensor) -> States | None:
    """States of a lower energy near a saddle, of the same kind; None at a minimum.

    Parameters
    ----------
    problem, states, fock
        As for `find_stability`.

    Raises
    ------
    DiagonalizationError
        If Davidson's method does not converge.
    """
    rotations = _rotations(problem, states, fock)
    value, direction = _davidson(rotations)
    if value > _SADDLE:
        return None
    return replace(states, orbitals=rotations.turned(_SHORT_TURN * direction))


def _rotations(problem: MolecularProblem, states: States, fock: Tensor) -> Rotations:
    return Rotations(states.orbitals, states.filling, fock, problem.kernel(states.density))


def _lowest(problem: MolecularProblem, states: States, fock: Tensor) -> Curvature:
    rotations = _rotations(problem, states, fock)
    value, direction = _davidson(rotations)
    turned = replace(states, orbitals=rotations.turned(_TURN * direction))
    return Curvature(value, turned.density)


def _davidson(rotations: Rotations) -> tuple[float, Tensor]:
    """Lowest eigenvalue of the Hessian and its normalised rotation."""
    mixing, curvature = rotations.mixing, rotations.curvature
    if not bool(mixing.any()):  # all orbitals are filled: nothing rotates
        return 0.0, torch.zeros_like(curvature)
    vectors: list[Tensor] = []
    images: list[Tensor] = []
    new = _first(mixing, curvature)
    while True:
        for vector in new:
            for _ in range(2):  # after one pass they are orthogonal to a few digits only
                for known in vectors:
                    vector = vector - pair_product(known, vector) * known
            norm = pair_product(vector, vector).sqrt()
            if float(norm) > 1e-12:
                vectors.append(vector / norm)
                images.append(rotations.product(vectors[-1]))
        small = torch.stack([torch.stack([pair_product(v, i) for i in images]) for v in vectors])
        values, weights = torch.linalg.eigh(0.5 * (small + small.T))
        lowest, first = float(values[0]), weights[:, 0]
        direction = torch.einsum("i,iabc->abc", first, torch.stack(vectors))
        residual = torch.einsum("i,iabc->abc", first, torch.stack(images)) - lowest * direction
        error = float(pair_product(residual, residual).sqrt())
        if error < _RESIDUAL or len(vectors) >= 0.5 * float(mixing.sum()):
            return lowest, direction
        if len(vectors) >= _PRODUCTS:
            raise DiagonalizationError(
                f"the lowest curvature did not converge in {_PRODUCTS} products: its residual is "
                f"{error:.1e} Ha, and {_RESIDUAL:.0e} is needed. Converge the ground state more "
                "tightly."
            )
        apart = (curvature - lowest).clamp_min(0.1)
        new = [torch.where(mixing, residual / apart, 0.0)]


def _first(mixing: Tensor, curvature: Tensor) -> list[Tensor]:
    """First trial rotations."""
    upper = torch.triu(mixing, 1)
    order = torch.where(upper, curvature, torch.inf).flatten().argsort()
    generator = torch.Generator().manual_seed(0)
    found = []
    for place in order[: min(_PAIRS, int(upper.sum()))]:
        unit = torch.zeros_like(curvature).flatten()
        unit[place] = 1.0
        vector = unit.view_as(curvature)
        noise = torch.randn(curvature.shape, generator=generator, dtype=curvature.dtype)
        vector = vector + _NOISE * torch.where(upper, noise, 0.0)
        found.append(vector - vector.mT)
    return found
