r"""Response of a density matrix to a change of the Kohn-Sham matrices, at fixed interaction.

In the orbitals, with levels :math:`\epsilon` and occupations n that a smearing gives,

.. math:: (\chi\, \delta F)_{pq} = \frac{n_p - n_q}{\epsilon_p - \epsilon_q}\, \delta F_{pq}, \quad
    (\chi\, \delta F)_{pp} = n'_p\, (\delta F_{pp} - \delta \mu),

where the quotient of equal levels is the slope n', and the shift of the Fermi level keeps the
number of electrons of each density matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.gaussian.states import States

# Difference of levels, in widths of the smearing, below which the quotient is a slope; its error
# is a twenty-fourth of the square.
_SAME = 1e-4


class LevelResponse:
    """The map chi among orbitals; it is symmetric.

    Parameters
    ----------
    states : States
        With a set of orbitals for each density matrix.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem
    >>> from deepchem_xc.gaussian.states import diagonalised
    >>> problem = make_problem(Atoms("He"), "PBE", basis="6-31g")
    >>> states = diagonalised(problem, problem.core[None])
    >>> change = LevelResponse(states)(torch.ones(1, 2, 2, dtype=torch.float64))
    >>> bool(change[0, 0, 0] == 0.0), bool(change[0, 0, 1] < 0.0)
    (True, True)
    """

    def __init__(self, states: States) -> None:
        assert states.occupation is not None
        levels, filling = states.eigenvalues, states.filling
        smearing = states.occupation.smearing
        apart = levels[:, :, None] - levels[:, None, :]
        difference = filling[:, :, None] - filling[:, None, :]
        if smearing.width == 0.0:
            same = difference == 0.0
            slopes, self._slope = torch.zeros_like(apart), torch.zeros_like(levels)
        else:
            fermi = levels.new_tensor(states.occupation.fermi_level).reshape(-1, 1)
            full = (2.0 if len(filling) == 1 else 1.0) / smearing.width

            def slope(at: Tensor, level: Tensor) -> Tensor:
                found = full * smearing.occupation_derivative((at - level) / smearing.width)
                # A channel without electrons has its Fermi level at minus infinity.
                return torch.where(torch.isfinite(level), found, 0.0)

            middle = 0.5 * (levels[:, :, None] + levels[:, None, :])
            same = apart.abs() < _SAME * smearing.width
            slopes, self._slope = slope(middle, fermi[:, :, None]), slope(levels, fermi)
        self._quotient = torch.where(same, slopes, difference / torch.where(same, 1.0, apart))

    def __call__(self, change: Tensor) -> Tensor:
        """Change of the density matrices of a symmetric change of F, both (nspin, norb, norb)."""
        result = self._quotient * change
        diagonal = change.diagonal(dim1=-2, dim2=-1)
        total = self._slope.sum(1)
        moving = total != 0.0
        shift = (self._slope * diagonal).sum(1) / torch.where(moving, total, 1.0)
        return result - torch.diag_embed(self._slope * shift[:, None])
