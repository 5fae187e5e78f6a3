"""The loss of a clone: squared errors of factors at points, and of energies of molecules."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.cloning.factors import FactorPoints
from deepchem_xc.xc import XCFunctional

__all__ = ["CloneLoss"]


@dataclass(frozen=True)
class CloneLoss:
    """Mean squared error of factors and, weighted, of energies.

    Attributes
    ----------
    student : XCFunctional
        The network that becomes a clone.
    points : FactorPoints
        Points, and the parent's factors.
    energies : KeptEnergies or None
        Molecules, and the parent's energies.
    energy_weight : float
        Weight of the mean squared error of the energies, 1 / Hartree^2.

    Examples
    --------
    >>> from deepchem_xc.cloning import new_student
    >>> from deepchem_xc.xc import get_xc
    >>> from deepchem_xc.xc.sampling import sample_points
    >>> student = new_student("constrained", get_xc("PBE"), 0)
    >>> loss = CloneLoss(student, FactorPoints(get_xc("PBE"), student, sample_points(2)))
    >>> loss.terms() == loss.backward()
    True
    """

    student: XCFunctional
    points: FactorPoints
    energies: KeptEnergies | None = None
    energy_weight: float = 0.0

    def terms(self) -> dict[str, float]:
        """Value of each term, without derivatives."""
        with torch.no_grad():
            error = (self.points.factors(self.student) - self.points.wanted).square().mean()
            terms = {"factors": float(error)}
            if self.energies is not None:
                squares = self.energies.errors(self.student).square()
                terms["energies"] = self.energy_weight * float(squares.mean())
        return terms

    def backward(self) -> dict[str, float]:
        """Value of each term; their derivatives are added to the gradients of the weights."""
        error = (self.points.factors(self.student) - self.points.wanted).square().mean()
        error.backward()
        terms = {"factors": float(error.detach())}
        if self.energies is not None:
            weight, total = self.energy_weight / len(self.energies.names), 0.0
            for one in self.energies.errors_in_graph(self.student):
                term = weight * one.square()
                term.backward()
                total += float(term.detach())
            terms["energies"] = total
        return terms
