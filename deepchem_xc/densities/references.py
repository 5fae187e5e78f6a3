"""Records of densities as what a network is compared with in a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.densities.initial_moments import with_moments
from deepchem_xc.densities.losses import DensityLoss
from deepchem_xc.densities.neighbours import Neighbours
from deepchem_xc.densities.predictor import DensityPredictor, unpolarised
from deepchem_xc.densities.probe_network import ProbeDensityNetwork
from deepchem_xc.planewave import DensityRecord, PlaneWaveBasis


@dataclass(frozen=True, eq=False)
class Reference:
    """One structure with the output that its network should have.

    Attributes
    ----------
    basis : PlaneWaveBasis
        Plane waves, and the crystal as the network sees it.
    neighbours : Neighbours
        Pairs of its atoms.
    density : Tensor
        Total density, (nspin, nG), bohr^-3.
    wanted : Tensor
        The same, or its difference from superposed atoms without magnetisation.
    electrons : float
        Valence electrons.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor
    >>> predictor = DensityPredictor(AtomDensityNetwork({"Si": 4}, channels=4, l_max=1), "gth-pbe")
    >>> reference = Reference.of(predictor, predictor.record(bulk("Si"), 100.0))
    >>> bool(loss_of(predictor, [reference], DensityLoss("squared")) < 1e-20)
    True
    """

    basis: PlaneWaveBasis
    neighbours: Neighbours
    density: Tensor
    wanted: Tensor
    electrons: float

    @classmethod
    def of(
        cls, predictor: DensityPredictor, record: DensityRecord, ecut: float | None = None
    ) -> Reference:
        """From a record.

        Parameters
        ----------
        predictor : DensityPredictor
            The network, its target and its atoms.
        record : DensityRecord
            With the same potentials.
        ecut : float, optional
            Cutoff to which the record is brought, Hartree; its own by default.

        Raises
        ------
        ValueError
            As `DensityPredictor.check_record`.
        """
        predictor.check_record(record)
        basis = predictor.basis_of(record, ecut)
        density = record.on(basis).fields.density.detach().to(basis.device)
        if len(density) < predictor.network.nspin:  # without spin: both channels are alike
            density = 0.5 * torch.cat([density, density])
        seen = predictor.seen(basis, record.nspin)
        pairs = predictor.network.neighbours(seen.crystal)
        wanted = _wanted(predictor, seen, density, record)
        return cls(seen, pairs, density, wanted, record.nelectrons)

    def with_scaled_moments(self, predictor: DensityPredictor, scale: float) -> Reference:
        """The same density as that of other initial moments, all of them scaled.

        Parameters
        ----------
        predictor : DensityPredictor
            A network with spin.
        scale : float
            Factor of the moments, which remain limited to what superposed atoms can have.
        """
        moments = [scale * moment for moment in self.basis.crystal.magnetic_moments or ()]
        scaled = with_moments(self.basis, moments)
        return replace(self, basis=predictor.seen(scaled, predictor.network.nspin))

    def with_varied_moments(
        self, predictor: DensityPredictor, scales: tuple[float, float], seed: Sequence[int]
    ) -> Reference:
        """The same density as that of initial moments of another size, all scaled alike.

        The size of initial moments is a guess, and the density does not depend on it: what is to
        count is their pattern.

        Parameters
        ----------
        predictor : DensityPredictor
            The network.
        scales : (float, float)
            Between these is the random factor.
        seed : sequence of int
            Of the factor.
        """
        low, high = scales
        if low == high == 1.0 or not any(self.basis.crystal.magnetic_moments or ()):
            return self
        rng = np.random.default_rng(list(seed))
        return self.with_scaled_moments(
            predictor, math.exp(rng.uniform(math.log(low), math.log(high)))
        )


def _wanted(
    predictor: DensityPredictor,
    basis: PlaneWaveBasis,
    density: Tensor,
    record: DensityRecord,
) -> Tensor:
    """What the network should predict."""
    if predictor.target == "total":
        return density
    atoms = predictor.superposition_of(basis, predictor.network.nspin, record)
    return density - unpolarised(atoms)


def loss_of(
    predictor: DensityPredictor,
    references: Sequence[Reference],
    loss: DensityLoss,
    factors: Sequence[float] | None = None,
    draw: Sequence[int] = (0,),
) -> Tensor:
    """Loss of a batch, 0-d, in the graph of the network's parameters.

    Parameters
    ----------
    predictor : DensityPredictor
        The network.
    references : sequence of Reference
        What it should predict.
    loss : DensityLoss
        How to compare.
    factors : sequence of float, optional
        Weight of each structure.
    draw : sequence of int, optional
        Seed of the points of a loss at points.

    Raises
    ------
    ValueError
        For a loss at points and a network without.
    """
    if loss.points is not None:
        errors = [
            loss.error_at_points(one.basis, _change_at_points(predictor, one, loss.points, draw))
            for one in references
        ]
        return loss.average(errors, [one.electrons for one in references], factors)
    bases = [one.basis for one in references]
    densities = predictor.network.densities(bases, [one.neighbours for one in references])
    wanted = [one.wanted for one in references]
    return loss(bases, densities, wanted, [one.electrons for one in references], factors)


def _change_at_points(
    predictor: DensityPredictor, reference: Reference, points: int, draw: Sequence[int]
) -> Tensor:
    """The network's own density minus the wanted one at random points, (nspin, npoint)."""
    network, basis = predictor.network, reference.basis
    if not isinstance(network, ProbeDensityNetwork):
        raise ValueError(
            f"a loss at points needs a network that is evaluated at points (network='points'), but "
            f"this one is a {type(network).__name__}: leave points out."
        )
    sizes = torch.tensor(basis.fft_size)
    flat = np.random.default_rng(list(draw)).integers(basis.ngrid, size=points)
    places = np.stack(np.unravel_index(flat, tuple(basis.fft_size)), -1)
    chosen = (torch.from_numpy(places) / sizes).to(basis.device)
    found = network.at_points(basis.crystal, chosen, [reference.neighbours])
    wanted = basis.to_grid(reference.wanted).flatten(1)
    return found - wanted[:, torch.from_numpy(flat).to(basis.device)]


@torch.no_grad()
def errors_of(
    predictor: DensityPredictor, references: Sequence[Reference], points: int | None = None
) -> list[float]:
    """Integral of the absolute error of the total density, per electron, of each structure [%].

    Parameters
    ----------
    predictor : DensityPredictor
        The network.
    references : sequence of Reference
        What it should predict.
    points : int, optional
        Estimate it from so many points of the grid, always the same.
    """
    errors = []
    for one in references:
        if points is None:
            (density,) = predictor.network.densities([one.basis], [one.neighbours])
            change = one.basis.to_grid((density - one.wanted).sum(0))
        else:
            change = _change_at_points(predictor, one, points, (0,)).sum(0)
        error = change.abs().mean() * one.basis.volume / one.electrons
        errors.append(100.0 * float(error))
    return errors
