"""Response of occupations and the Fermi level to the eigenvalues."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.occupations.fermi_level import fermi_level_shares
from deepchem_xc.occupations.occupy import Smearing
from deepchem_xc.planewave.problem import KohnShamProblem

# Fraction of a full state's electrons below which a state is empty.
NO_ELECTRON = 1e-10
# Difference of levels, in units of the smearing's width, below which the derivative of the
# occupation replaces the divided difference.
_CLOSE = 1e-4


class OccupationResponse:
    """Occupations of given eigenvalues, with their derivatives.

    Parameters
    ----------
    problem : KohnShamProblem
        Provides electrons, smearing and weights of the k-points.
    eigenvalues : Tensor
        (nspin, nk, nband), Hartree.
    moment : float, optional
        Magnetic moment to hold, mu_B; the problem's by default.

    Attributes
    ----------
    eigenvalues, occupations : Tensor
        (nspin, nk, nband), Hartree and electrons.
    fermi_level : float or tuple of float
        Hartree; one for each spin with a fixed moment.
    entropy_energy : Tensor
        -TS, 0-d, Hartree.
    nfilled : int
        Number of the highest band with electrons at any k-point.

    Examples
    --------
    A shift of all eigenvalues changes no occupation:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2), convergence={"density": 1e-4})
    >>> response = OccupationResponse(result.problem, result.eigenvalues)
    >>> cotangent = response.cotangent(torch.rand_like(response.occupations))
    >>> bool(cotangent.abs().max() > 0.0), abs(float(cotangent.sum())) < 1e-9
    (True, True)
    """

    def __init__(
        self, problem: KohnShamProblem, eigenvalues: Tensor, moment: float | None = None
    ) -> None:
        self._leaf = eigenvalues.detach().clone().requires_grad_()
        self.eigenvalues = self._leaf.detach()
        self.weights = problem.basis.weights
        self.smearing: Smearing = problem.smearing
        self._nelectrons = problem.nelectrons
        self._moment = problem.moment if moment is None else moment
        with torch.enable_grad():
            # This graph holds the derivatives of occupations with respect to eigenvalues.
            self._occupation = problem.occupy(self._leaf, moment)
        self.occupations = self._occupation.occupations.detach()
        self.fermi_level = self._occupation.fermi_level
        self.entropy_energy = self._occupation.entropy_energy.detach()
        full = 2.0 / problem.nspin
        filled = (self.occupations.abs() > full * NO_ELECTRON).any(0).any(0).nonzero()
        self.nfilled = int(filled[-1]) + 1

    def cotangent(
        self,
        occupations: Tensor,
        entropy_energy: Tensor | None = None,
        level: Tensor | None = None,
    ) -> Tensor:
        """Cotangent of the eigenvalues from those of occupations, -TS and Fermi level.

        Parameters
        ----------
        occupations : Tensor
            (nspin, nk, nband).
        entropy_energy : Tensor, optional
            0-d.
        level : Tensor, optional
            One value for each Fermi level.

        Returns
        -------
        Tensor
            (nspin, nk, nband).
        """
        outputs, cotangents = [self._occupation.occupations], [occupations]
        if entropy_energy is not None:
            outputs.append(self._occupation.entropy_energy)
            cotangents.append(entropy_energy)
        total = torch.zeros_like(occupations)
        if self.smearing.width > 0.0:
            (total,) = torch.autograd.grad(outputs, self._leaf, cotangents, retain_graph=True)
        if level is not None:
            total = total + self.level_cotangent(level)
        return total

    def divided_differences(self) -> Tensor:
        """(f_n - f_m) / (e_n - e_m) for filled n and all m, (nspin, nk, nfilled, nband)."""
        smearing = self.smearing
        energy = self.eigenvalues
        below, above = energy[:, :, : self.nfilled, None], energy[:, :, None, :]
        difference = below - above
        change = self.occupations[:, :, : self.nfilled, None] - self.occupations[:, :, None, :]
        if smearing.width == 0.0:
            close = difference.abs() < 1e-8
            if bool((close & (change.abs() > 1e-8)).any()):
                raise ResponseConvergenceError(
                    "a filled and an empty state have the same energy: integer occupations then "
                    "have no derivative. Smear the occupations.",
                    [],
                )
            return torch.where(close, 0.0, change / difference)
        close = difference.abs() < _CLOSE * smearing.width
        level = torch.as_tensor(self.fermi_level, dtype=energy.dtype)
        level = level.to(energy.device).reshape(-1, 1, 1, 1)
        middle = (0.5 * (below + above) - level) / smearing.width
        slope = smearing.occupation_derivative(middle) * (2.0 / len(energy) / smearing.width)
        slope = torch.where(middle.isfinite(), slope, 0.0)  # an empty channel has no level
        return torch.where(close, slope, change / difference)

    def level_cotangent(self, level: Tensor) -> Tensor:
        """Cotangent of the eigenvalues from that of the Fermi level, (nspin, nk, nband).

        The Fermi level depends on the states at it, in a gap on those at the edges, and with
        integer occupations on the highest filled ones. A channel without electrons has no level.

        Parameters
        ----------
        level : Tensor
            One value for each Fermi level.
        """
        cotangent = torch.zeros_like(self.eigenvalues)
        fermi = self.fermi_level if isinstance(self.fermi_level, tuple) else (self.fermi_level,)
        nspin, channels = len(cotangent), len(fermi)
        for i, (value, of_level) in enumerate(zip(fermi, level.reshape(-1), strict=True)):
            here = slice(None) if channels == 1 else slice(i, i + 1)
            levels = self.eigenvalues[here]
            if not math.isfinite(value) or not bool(of_level):
                continue
            if self.smearing.width == 0.0:
                share = ((levels - value).abs() < 1e-6).to(levels.dtype)
                share /= share.sum()
            else:
                electrons = self._nelectrons / 2 * nspin
                if self._moment is not None:
                    electrons = (self._nelectrons + (1, -1)[i] * self._moment) / 2
                weights = self.weights[None, :, None].expand_as(levels).reshape(-1)
                share = fermi_level_shares(levels.reshape(-1), weights, electrons, self.smearing)
            cotangent[here] = of_level * share.view_as(levels)
        return cotangent
