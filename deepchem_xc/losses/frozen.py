r"""Energies of a functional at self-consistent densities of an earlier version of it.

.. math:: E[\theta] \approx E_{SCF}(\theta_0) + E_{xc}[\theta](\rho_0) - E_{xc}[\theta_0](\rho_0)

is exact to first order in :math:`\theta - \theta_0`, because the free energy is stationary with
respect to orbitals and occupations: value and gradient cost one evaluation of the functional. With
a smearing, the change of the entropy term is left out. Exact exchange, of which a functional
declares a fraction, is a number at a fixed density matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.structure.grid_orbits import irreducible_points
from deepchem_xc.planewave.terms.sphere_terms import SphereExchangeCorrelation
from deepchem_xc.planewave.terms.xc import core_fields, density_information
from deepchem_xc.xc.density_derivatives import density_of_rows

if TYPE_CHECKING:
    from deepchem_xc.gaussian import MolecularResult
    from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional

_INGREDIENTS = ("value", "grad", "kin")
# The last of these that a family needs.
_NEEDED = {1: "value", 2: "grad", 4: "kin"}


@dataclass(frozen=True, eq=False)
class FrozenEnergy:
    """A fixed density at symmetry-inequivalent points, for the energy of other functionals.

    Attributes
    ----------
    energy : float
        Energy of the calculation, extrapolated to zero width, Hartree per cell.
    xc_energy : float
        XC energy of the functional used in it, Hartree per cell.
    weights : Tensor
        Volumes of the points, (nr,), bohr^3. With PAW the points inside of spheres follow those of
        the grid; there smooth densities have negative volumes.
    channels : tuple of dict
        For each spin ``value`` (nr,), for GGAs ``grad`` (3, nr), for meta-GGAs ``kin`` (nr,).
    one_orbital : bool
        Whether it was made with an `OneOrbital`; other functionals are then wrapped in one, too.
    exchange : mapping
        Energy of exact exchange (Hartree) for each range that the functional used in it declares,
        by omega (1/bohr); of molecules.

    Examples
    --------
    A density found with PBE serves for a similar functional:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> from deepchem_xc.xc import get_xc
    >>> from deepchem_xc.losses import FrozenEnergy
    >>> result = scf(bulk("Al"), "PBE", ecut=100.0)
    >>> frozen = FrozenEnergy.of(result)
    >>> near = get_xc("PBE") + 0.01 * get_xc("lda_x")
    >>> exact = scf(bulk("Al"), near, ecut=100.0).extrapolated_energy
    >>> bool(abs(frozen.at(near) - exact) < 1e-3 * abs(result.extrapolated_energy - exact))
    True
    """

    energy: float
    xc_energy: float
    weights: Tensor = field(repr=False)
    channels: tuple[dict[str, Tensor], ...] = field(repr=False)
    one_orbital: bool = False
    exchange: Mapping[float, float] = field(default_factory=dict)

    @classmethod
    def of(cls, result: SCFResult) -> FrozenEnergy:
        """Freeze a converged calculation."""
        from deepchem_xc.xc import OneOrbital

        basis, functional = result.basis, result.problem.functional
        index, count = (
            x.to(basis.device) for x in irreducible_points(result.kpoints.symmetry, basis.fft_size)
        )
        with torch.no_grad():
            core = core_fields(
                basis, result.problem.pseudopotentials, result.problem.needs_kinetic_density
            )
            # Includes the kinetic energy density if the functional needs it.
            seen: Any = density_information(basis, functional, result.converged.fields, core)
            channels = tuple(
                {name: values[..., index] for name, values in spin.items()}
                for spin in _channels(seen)
            )
            energy = float(result.detach().extrapolated_energy)
            weights = count * (float(basis.volume) / basis.ngrid)
            for term in result.problem.terms:
                if isinstance(term, SphereExchangeCorrelation):
                    channels, weights = _with_spheres(
                        channels, weights, term.points(result.converged.fields)
                    )
            one_orbital = isinstance(functional, OneOrbital)
            frozen = cls(energy, 0.0, weights, channels, one_orbital)
            return replace(frozen, xc_energy=float(frozen._xc(functional)))

    @classmethod
    def of_molecule(cls, result: MolecularResult) -> FrozenEnergy:
        """Freeze a converged calculation of a molecule.

        Examples
        --------
        >>> from ase.build import molecule
        >>> from deepchem_xc.gaussian import scf
        >>> from deepchem_xc.xc import get_xc
        >>> result = scf(molecule("H2O"), "PBE", basis="sto-3g")
        >>> frozen = FrozenEnergy.of_molecule(result)
        >>> near = get_xc("PBE") + 0.01 * get_xc("lda_x")
        >>> exact = scf(molecule("H2O"), near, basis="sto-3g").energy
        >>> bool(abs(frozen.at(near) - exact) < 1e-2 * abs(result.energy - exact))
        True
        """
        problem = result.problem
        with torch.no_grad():
            plain = result.detach()
            rows = plain.rows
            seen = density_of_rows(rows.flatten(0, 1), len(rows))
            energy = float(plain.extrapolated_energy)
            exchange = problem.exchange_energies(plain.density_matrix)
            channels, weights = _channels(seen), plain.weights
            frozen = cls(energy, 0.0, weights, channels, exchange=exchange)
            return replace(frozen, xc_energy=float(frozen._xc(problem.functional)))

    def at(self, functional: XCFunctional) -> Tensor:
        """Energy of another functional at this density, in its graph, 0-d (Hartree per cell).

        Its backward pass raises `RuntimeError` if that functional has changed in the meantime.
        """
        from deepchem_xc.xc.identity import Unchanged, guarded

        energy = self.energy + (self._xc(functional) - self.xc_energy)
        if not energy.requires_grad:
            return energy
        return guarded(energy, Unchanged(functional, weights_only=True))

    def serves(self, functional: XCFunctional) -> bool:
        """Whether everything that a functional needs is kept.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import scf
        >>> from deepchem_xc.xc import get_xc
        >>> frozen = FrozenEnergy.of(scf(bulk("Al"), "PBE", ecut=100.0))
        >>> [frozen.serves(get_xc(name)) for name in ("LDA", "RPBE", "r2SCAN")]
        [True, True, False]
        """
        from deepchem_xc.xc import exchange_shares

        kept = all(_NEEDED[functional.family] in channel for channel in self.channels)
        return kept and set(exchange_shares(functional)) <= set(self.exchange)

    def _xc(self, functional: XCFunctional) -> Tensor:
        from deepchem_xc.xc import OneOrbital, exchange_shares, integrated_energy

        if self.one_orbital:
            functional = OneOrbital(functional)
        energy = integrated_energy(functional, self._information(), self.weights)
        shares = exchange_shares(functional)
        return energy + sum(share * self.exchange[omega] for omega, share in shares.items())

    def _information(self) -> ValGrad | SpinParam:
        from deepchem_xc.xc import SpinParam, ValGrad

        spins = [ValGrad(**channel) for channel in self.channels]
        return spins[0] if len(spins) == 1 else SpinParam(u=spins[0], d=spins[1])

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors, for a checkpoint."""
        return {
            "energy": self.energy,
            "xc_energy": self.xc_energy,
            "weights": self.weights,
            "channels": [dict(channel) for channel in self.channels],
            "one_orbital": self.one_orbital,
            "exchange": dict(self.exchange),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> FrozenEnergy:
        """Inverse of `state_dict`."""
        channels = tuple(dict(channel) for channel in state["channels"])
        numbers = state["energy"], state["xc_energy"], state["weights"]
        # Checkpoints of earlier versions hold no molecules.
        exchange = state.get("exchange", {})
        return cls(*numbers, channels, state.get("one_orbital", False), exchange)


def _channels(seen: Any) -> tuple[dict[str, Tensor], ...]:
    """What a functional sees, by name for each spin."""
    spins = (seen.u, seen.d) if hasattr(seen, "u") else (seen,)
    return tuple(
        {name: getattr(spin, name) for name in _INGREDIENTS if getattr(spin, name) is not None}
        for spin in spins
    )


def _with_spheres(
    channels: tuple[dict[str, Tensor], ...],
    weights: Tensor,
    points: Sequence[tuple[Any, Tensor]],
) -> tuple[tuple[dict[str, Tensor], ...], Tensor]:
    """Channels and weights of a grid followed by those of `SphereExchangeCorrelation.points`."""
    flat = [
        tuple({name: _flat(name, values) for name, values in spin.items()} for spin in own)
        for own in (_channels(seen) for seen, _ in points)
    ]
    joined = tuple(
        {
            name: torch.cat([values, *(own[spin][name] for own in flat)], dim=-1)
            for name, values in channel.items()
        }
        for spin, channel in enumerate(channels)
    )
    return joined, torch.cat([weights, *(volumes.flatten() for _, volumes in points)])


def _flat(name: str, values: Tensor) -> Tensor:
    """Points of spheres on one axis, as on the grid; the components of gradients come first."""
    return values.movedim(-2, 0).flatten(1) if name == "grad" else values.flatten()
