"""Density matrices from which calculations of a molecule start, in memory and in files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_xc._atomic import replacing
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.store import digest_of_arrays

_FORMAT, _CHECKSUM = "deepchem_xc density matrix 1", "sha256"


@dataclass(frozen=True, eq=False)
class MoleculeStart:
    """Density matrices of a molecule; it implements `Start`.

    Attributes
    ----------
    density : Tensor
        (nspin, nao, nao), total, or up and down, in PySCF's order.

    Examples
    --------
    >>> start = MoleculeStart(torch.full((1, 1, 1), 2.0, dtype=torch.float64))
    >>> MoleculeStart.from_state_dict(start.state_dict()).density
    tensor([[[2.]]], dtype=torch.float64)
    """

    density: Tensor = field(repr=False)

    @property
    def orbitals(self) -> None:
        """None: a molecule starts from its density matrices alone."""
        return None

    def with_orbitals(self, orbitals: Any) -> MoleculeStart:
        """The same start: orbitals follow from the density matrices."""
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file; an existing one is replaced only when the new one is complete."""
        arrays = {"format": np.array(_FORMAT), "density": self.density.detach().cpu().numpy()}
        arrays[_CHECKSUM] = np.array(digest_of_arrays(arrays))
        with replacing(path, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MoleculeStart:
        """Read what `save` wrote.

        Raises
        ------
        DamagedFileError
            If the file is incomplete or of another kind.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            if str(arrays["format"]) != _FORMAT:
                raise ValueError(f"its format is {str(arrays['format'])!r}, not {_FORMAT!r}")
            if str(arrays.pop(_CHECKSUM)) != digest_of_arrays(arrays):
                raise ValueError("its checksum does not match its content")
            return cls(torch.from_numpy(arrays["density"]))
        except FileNotFoundError:
            raise
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DamagedFileError(
                f"{os.fspath(path)!r} is not a complete file of a density matrix ({error})."
            ) from error

    def state_dict(self) -> dict[str, Any]:
        """The tensor, for a checkpoint."""
        return {"density_matrix": self.density}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> MoleculeStart:
        """Inverse of `state_dict`."""
        return cls(state["density_matrix"])
