r"""The matrix whose orbitals make an open shell with one set of orbitals stationary.

Closed, open and empty orbitals mix only within themselves at the solution, where between them

.. math:: F_\downarrow = 0 \;(\text{closed, open}), \quad F_\uparrow = 0 \;(\text{open, empty}),
    \quad F_\uparrow + F_\downarrow = 0 \;(\text{closed, empty}).

Roothaan's matrix holds these blocks, and the mean of both spins inside of each space, which is the
convention that defines the levels.

References
----------
C. C. J. Roothaan, Rev. Mod. Phys. 32, 179 (1960).
"""

from __future__ import annotations

import torch
from torch import Tensor


def roothaan_matrix(fock: Tensor, orbitals: Tensor, filling: Tensor, overlap: Tensor) -> Tensor:
    """Roothaan's matrix, (1, nao, nao), Hartree.

    Parameters
    ----------
    fock : Tensor
        Kohn-Sham matrices of spin up and down, (2, nao, nao).
    orbitals : Tensor
        One set, (1, nao, norbital).
    filling : Tensor
        0 or 1 for each spin, (2, norbital).
    overlap : Tensor
        (nao, nao).

    Examples
    --------
    >>> fock = torch.stack([torch.eye(2), 3.0 * torch.eye(2)]).double()
    >>> unit = torch.eye(2).double()
    >>> roothaan_matrix(fock, unit[None], torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double(), unit)
    tensor([[[2., 0.],
             [0., 2.]]], dtype=torch.float64)
    """
    c = orbitals[0]
    up, down = c.T @ fock @ c
    shell = filling.sum(0)  # 2 closed, 1 open, 0 empty
    lower = torch.minimum(shell[:, None], shell)
    higher = torch.maximum(shell[:, None], shell)
    closed_open, open_empty = (higher == 2) & (lower == 1), (higher == 1) & (lower == 0)
    matrix = torch.where(closed_open, down, torch.where(open_empty, up, 0.5 * (up + down)))
    back = overlap @ c
    return (back @ matrix @ back.T)[None]
