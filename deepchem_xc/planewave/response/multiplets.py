"""Degenerate states: their order is arbitrary, so that one of them alone has no derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.occupations.smearing import Smearing

# Difference, Hartree, below which neighbouring eigenvalues belong to one multiplet.
DEGENERATE = 1e-6
# Largest difference of cotangents within a multiplet, in units of the largest cotangent.
_SAME = 1e-6
# Slope of the occupation, per width, below which a state stays full or empty.
_MOVING = 1e-8


class DegenerateStatesError(ValueError):
    """A loss singles out one state of a degenerate set, which has no derivative.

    Examples
    --------
    >>> issubclass(DegenerateStatesError, ValueError)
    True
    """


def check_multiplets(
    energies: Tensor,
    cotangent: Tensor,
    what: str = "eigenvalues",
    advice: str = "Use result.multiplet_eigenvalues, where every eigenvalue is the mean of its set",
) -> None:
    """Raise `DegenerateStatesError` unless a loss treats the states of every set alike.

    Parameters
    ----------
    energies : Tensor
        Eigenvalues, (nspin, nk, nband), Hartree, ascending.
    cotangent : Tensor
        Derivative of the loss with respect to a quantity of each state, same shape.
    what, advice : str, optional
        Name of that quantity and advice, for the message.

    Examples
    --------
    >>> energies = torch.tensor([[[0.1, 0.2, 0.2]]], dtype=torch.float64)
    >>> check_multiplets(energies, torch.tensor([[[0.0, 1.0, 1.0]]]))
    >>> check_multiplets(energies, torch.tensor([[[0.0, 1.0, 0.0]]]))
    Traceback (most recent call last):
    ...
    deepchem_xc...DegenerateStatesError: the loss treats the eigenvalues ...
    """
    close = (energies.diff(dim=-1) < DEGENERATE) & (
        cotangent.diff(dim=-1).abs() > _SAME * cotangent.abs().max()
    )
    if bool(close.any()):
        spin, k, band = close.nonzero()[0].tolist()
        raise DegenerateStatesError(
            f"the loss treats the {what} of bands {band} and {band + 1} (spin {spin}, k-point {k}, "
            "counted from 0) differently, but they are degenerate at "
            f"{float(energies[spin, k, band]):.6f} Ha: their order is arbitrary, "
            f"and one of them alone has no derivative. {advice}; "
            "if the set is cut at the highest band, ask for more bands with nbands=."
        )


def checked_occupations(
    occupations: Tensor, energies: Tensor, fermi_level: Tensor, smearing: Smearing
) -> Tensor:
    """Occupations whose backward pass fails if a loss singles out one of a degenerate set.

    Energy terms may weigh the occupations of such a set differently: when its states mix, the
    orbitals compensate the change. For a loss of the occupations alone nothing does.

    Parameters
    ----------
    occupations, energies : Tensor
        Electrons in each state and eigenvalues (Hartree), (nspin, nk, nband).
    fermi_level : Tensor
        Hartree, 0-d or (2,).
    smearing : Smearing
        Its tails decide which states are full or empty, with a derivative of zero.

    Returns
    -------
    Tensor
        The same occupations, in the same graph.

    Examples
    --------
    >>> from deepchem_xc.occupations.smearing import FermiDirac
    >>> energies = torch.tensor([[[0.1, 0.2, 0.2]]], dtype=torch.float64)
    >>> occupations = torch.tensor([[[2.0, 1.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    >>> level, smearing = torch.tensor(0.2, dtype=torch.float64), FermiDirac(0.01)
    >>> checked_occupations(occupations, energies, level, smearing)[0, 0, 1:].sum().backward()
    >>> checked_occupations(occupations, energies, level, smearing)[0, 0, 1].backward()
    Traceback (most recent call last):
    ...
    deepchem_xc...DegenerateStatesError: the loss treats the occupations ...
    """
    if not occupations.requires_grad or smearing.width == 0.0:
        return occupations
    energies = energies.detach()
    level = fermi_level.detach().reshape(-1, 1, 1)
    slope = smearing.occupation_derivative((energies - level) / smearing.width)
    moving = slope.abs() > _MOVING

    def check(cotangent: Tensor) -> None:
        advice = "Sum the occupations of the set"
        check_multiplets(energies, torch.where(moving, cotangent, 0.0), "occupations", advice)

    shown = occupations.view_as(occupations)
    shown.register_hook(check)
    return shown
