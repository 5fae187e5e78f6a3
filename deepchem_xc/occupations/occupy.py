"""Occupations: integer filling, or smearing with its Fermi level and entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.occupations.by_name import make_smearing, smearing_kind
from deepchem_xc.occupations.electron_count import (
    TooFewBandsError,
    check_bands,
    check_electrons,
    whole_states,
)
from deepchem_xc.occupations.fermi_level import COUNT_TOLERANCE, find_fermi_level
from deepchem_xc.occupations.smearing import (
    SMEARINGS,
    FermiDirac,
    FixedOccupations,
    Gaussian,
    MarzariVanderbilt,
    MethfesselPaxton,
    Smearing,
)

__all__ = [
    "SMEARINGS",
    "FermiDirac",
    "FixedOccupations",
    "Gaussian",
    "MarzariVanderbilt",
    "MethfesselPaxton",
    "Occupations",
    "Smearing",
    "TooFewBandsError",
    "check_enough_bands",
    "make_smearing",
    "occupy",
    "smearing_kind",
]


@dataclass(frozen=True, eq=False)
class Occupations:
    """Occupations with Fermi level and entropy.

    Parameters
    ----------
    occupations : Tensor
        Electrons in each state, (nspin, nk, nband), at most ``2 / nspin``, without the k-point
        weight.
    fermi_level : float or tuple of float
        Hartree; the highest occupied level for fixed occupations. One per spin if the moment is
        fixed; minus infinity for an empty channel.
    entropy_energy : Tensor
        -TS, Hartree, 0-d.
    smearing : Smearing
        Smearing with which they were computed.

    Examples
    --------
    One electron in a level for two has the entropy ln 2 for each spin:

    >>> smearing = make_smearing({"name": "fermi-dirac", "width": 0.01})
    >>> level = torch.tensor([[[0.0, 1.0]]], dtype=torch.float64)
    >>> half = occupy(level, torch.ones(1), 1.0, smearing)
    >>> print(half.occupations.tolist(), f"{half.entropy_energy:.6f} {-0.02 * math.log(2.0):.6f}")
    [[[1.0, 0.0]]] -0.013863 -0.013863
    """

    occupations: Tensor
    fermi_level: float | tuple[float, float]
    entropy_energy: Tensor
    smearing: Smearing

    @property
    def width(self) -> float:
        """Width of the smearing, Hartree; 0 for fixed occupations."""
        return self.smearing.width


def occupy(
    eigenvalues: Tensor,
    weights: Tensor,
    nelectrons: float,
    smearing: Smearing,
    magnetic_moment: float | None = None,
) -> Occupations:
    """Occupy states with electrons.

    Parameters
    ----------
    eigenvalues : Tensor
        Shape (nspin, nk, nband), Hartree; ascending order is not required.
    weights : Tensor
        Weights of the k-points, shape (nk,), sum 1.
    nelectrons : float
        Electrons in the cell; an integer for fixed occupations.
    smearing : Smearing
        From `make_smearing`. Fixed occupations fill the lowest states at each k-point: those of
        each channel if a moment is given, otherwise those of both channels together.
    magnetic_moment : float, optional
        Fixes ``N_up - N_down`` (mu_B); needs two spin channels.

    Returns
    -------
    Occupations
        If the eigenvalues carry a graph, occupations and entropy have exact first derivatives
        with respect to them, including the shift of the Fermi level.

    Raises
    ------
    ValueError
        For an odd number of electrons without spin or smearing, a moment without two channels or
        too large for the electrons, wrong shapes, NaN.
    TooFewBandsError
        If the bands cannot hold the electrons, or a smearing has no empty state to use.

    Notes
    -----
    `find_fermi_level` explains which Fermi level is taken if several solve the equation.

    Examples
    --------
    >>> levels = torch.tensor([[[-0.5, -0.1, 0.1, 0.4]]], dtype=torch.float64)
    >>> occupied = occupy(levels, torch.ones(1, dtype=torch.float64), 4.0,
    ...                   make_smearing({"name": "fermi-dirac", "width": 0.01}))
    >>> abs(occupied.fermi_level) < 1e-9, round(float(occupied.occupations.sum()), 9)
    (True, 4.0)
    """
    _check_input(eigenvalues, weights)
    nspin, _, nband = eigenvalues.shape
    check_electrons(nelectrons, nspin, smearing, magnetic_moment)
    check_bands(nband, nelectrons, nspin, smearing, magnetic_moment)
    weights = weights.to(eigenvalues)
    if isinstance(smearing, FixedOccupations):
        filled, fermi_level = _fill(eigenvalues.detach(), nelectrons, magnetic_moment)
        return Occupations(filled, fermi_level, filled.new_zeros(()), smearing)
    if magnetic_moment is None:
        full = 2.0 / nspin
        mu, occupation, entropy_energy = _smear(eigenvalues, weights, nelectrons / full, smearing)
        return Occupations(full * occupation, mu, full * entropy_energy, smearing)
    channels = [
        _smear(eigenvalues[s : s + 1], weights, (nelectrons + sign * magnetic_moment) / 2, smearing)
        for s, sign in enumerate((1, -1))
    ]
    return Occupations(
        torch.cat([occupation for _, occupation, _ in channels]),
        (channels[0][0], channels[1][0]),
        channels[0][2] + channels[1][2],
        smearing,
    )


def check_enough_bands(
    occupations: Occupations, tolerance: float = 1e-4, purpose: str = ""
) -> None:
    """Raise `TooFewBandsError` if the highest band holds electrons.

    Call it on converged occupations: with a smearing, an occupied top band means that electrons
    which belong into higher bands were left out, and energies are too high without any other sign.
    Fixed occupations pass with any number of bands.

    Parameters
    ----------
    occupations : Occupations
    tolerance : float, optional
        Largest occupation of the highest band, as a fraction of a full one.
    purpose : str, optional
        Purpose of the limit, for the message.

    Examples
    --------
    >>> flat = torch.zeros(1, 1, 2, dtype=torch.float64)
    >>> check_enough_bands(occupy(flat, torch.ones(1), 2.0, make_smearing(
    ...     {"name": "fermi-dirac", "width": 0.01})))
    Traceback (most recent call last):
    deepchem_xc.occupations.electron_count.TooFewBandsError: the highest of 2 bands is occupied ...
    """
    if isinstance(occupations.smearing, FixedOccupations):
        return
    filled = occupations.occupations.detach()
    nspin, _, nband = filled.shape
    top = float(filled[:, :, -1].abs().max()) * nspin / 2
    if top > tolerance:
        raise TooFewBandsError(
            f"the highest of {nband} bands is occupied (to {top:.1e} of a full band, at most "
            f"{tolerance:.0e} is safe{purpose}): with {occupations.smearing.name} smearing of "
            f"width {occupations.width:g} Ha ({occupations.width * Hartree:g} eV) more bands are "
            f"needed. Raise nbands, for example to {nband + max(4, nband // 5)}."
        )


def _check_input(eigenvalues: Tensor, weights: Tensor) -> None:
    if eigenvalues.ndim != 3 or eigenvalues.shape[0] not in (1, 2):
        raise ValueError(
            "eigenvalues must have shape (nspin, nk, nband) with nspin 1 or 2, got "
            f"{tuple(eigenvalues.shape)}."
        )
    nk = eigenvalues.shape[1]
    if weights.shape != (nk,):
        raise ValueError(f"weights must have shape ({nk},), got {tuple(weights.shape)}.")
    if not bool(torch.isfinite(eigenvalues.detach()).all()):
        raise ValueError("the eigenvalues contain NaN or infinite numbers.")


def _fill(
    eigenvalues: Tensor, nelectrons: float, magnetic_moment: float | None
) -> tuple[Tensor, float | tuple[float, float]]:
    """Integer occupations of the lowest states at every k-point."""
    nspin, nk, nband = eigenvalues.shape
    counts = whole_states(nelectrons, nspin, magnetic_moment)
    if nspin == 1:
        filled = 2.0 * _lowest(eigenvalues, counts[0])
        return filled, _highest_occupied(eigenvalues, filled)
    if magnetic_moment is None:
        merged = eigenvalues.transpose(0, 1).reshape(1, nk, nspin * nband)
        filled = _lowest(merged, counts[0]).reshape(nk, nspin, nband).transpose(0, 1)
        return filled, _highest_occupied(eigenvalues, filled)
    channels = [_lowest(channel[None], n) for channel, n in zip(eigenvalues, counts, strict=True)]
    up, down = (
        _highest_occupied(channel[None], filled)
        for channel, filled in zip(eigenvalues, channels, strict=True)
    )
    return torch.cat(channels), (up, down)


def _lowest(eigenvalues: Tensor, count: int) -> Tensor:
    """1 for the `count` lowest states of (1, nk, n) at every k-point; ties keep their order."""
    order = torch.sort(eigenvalues, dim=-1, stable=True).indices[..., :count]
    return torch.zeros_like(eigenvalues).scatter(-1, order, 1.0)


def _highest_occupied(eigenvalues: Tensor, occupations: Tensor) -> float:
    return float(torch.where(occupations > 0, eigenvalues, -math.inf).max())


def _smear(
    eigenvalues: Tensor, weights: Tensor, nstates: float, smearing: Smearing
) -> tuple[float, Tensor, Tensor]:
    """Fermi level, occupations in [0, 1] and -TS of `nstates` filled states per cell."""
    if nstates < COUNT_TOLERANCE:  # an empty channel
        zeros = torch.zeros_like(eigenvalues)
        return -math.inf, zeros, zeros.sum()
    levels = eigenvalues.detach()
    # Every state has the weight of its k-point; the order of states does not matter.
    state_weights = weights[None, :, None].expand_as(levels).reshape(-1)
    flat = levels.reshape(-1)
    mu = find_fermi_level(flat, state_weights, nstates, smearing)

    shift: Tensor | float = 0.0
    x = (eigenvalues - mu) / smearing.width
    if eigenvalues.requires_grad:
        # A Newton step at the solution changes no value, but carries d mu / d eigenvalues.
        slope = -(smearing.occupation_derivative(x.detach()).reshape(-1) * state_weights).sum()
        excess = (smearing.occupation(x).reshape(-1) * state_weights).sum() - nstates
        moving = slope.abs() > 1e-12
        # With no state near mu, use zero instead of a quotient whose derivative would be NaN.
        shift = torch.where(moving, -excess / torch.where(moving, slope, 1.0), 0.0 * excess)
        x = x - shift
    occupation = smearing.occupation(x)
    entropy = (smearing.entropy(x).reshape(-1) * state_weights).sum()
    return mu, occupation, -smearing.width * entropy
