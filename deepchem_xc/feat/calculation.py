"""`Calculation`: the interface between entries and solvers, and all that models know of solvers.

A calculation is one structure with its settings. It solves itself with a functional, provides the
start of later calculations, and freezes the density of a result. Crystals are solved with plane
waves (`crystal_calculation`), molecules on Gaussian basis functions (`molecule_calculation`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from deepchem_xc.results import Result

if TYPE_CHECKING:
    from deepchem_xc.losses.frozen import FrozenEnergy
    from deepchem_xc.xc import XCFunctional


class Start(Protocol):
    """Density and, if they are kept, orbitals from which a calculation can start."""

    @property
    def orbitals(self) -> Any:
        """Orbitals in the solver's own form; None if only the density is kept."""

    def with_orbitals(self, orbitals: Any) -> Start:
        """The same density with orbitals from another start of this solver."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file; an existing one is replaced only when the new one is complete."""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors of the density, without orbitals, for a checkpoint."""


ResultT = TypeVar("ResultT", bound=Result)
StartT = TypeVar("StartT", bound=Start)


class Calculation(Protocol[ResultT, StartT]):
    """One structure and everything that its calculation needs, except for the functional."""

    @property
    def key(self) -> str:
        """Name of the calculation, the same in any entry and any run."""

    @property
    def group(self) -> str:
        """Name that all volumes of a structure share: they can start from each other."""

    @property
    def scale(self) -> float:
        """Volume, or area, in units of the structure's."""

    @property
    def natom(self) -> int:
        """Number of atoms."""

    def solve(
        self,
        functional: XCFunctional,
        start: StartT | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ResultT:
        """Self-consistent ground state, in the graph of the functional's parameters.

        Parameters
        ----------
        functional : XCFunctional
            The functional.
        start : Start, optional
            From an earlier calculation of the same group.
        options : mapping, optional
            Keywords for all calculations of a data set, see `checked_solver_options`; those of
            this calculation take precedence.

        Raises
        ------
        SCFConvergenceError
            If it does not converge.
        """

    def energy_options(self, options: Mapping[str, Any]) -> str:
        """Digest of the keywords that the energy depends on, in addition to `key`.

        Parameters
        ----------
        options : mapping
            As in `solve`. Options that change the energy change the digest; options that only say
            how or where it is calculated do not.
        """

    def start_of(self, result: ResultT) -> StartT:
        """Start for later calculations, with orbitals."""

    def read_start(self, path: str | os.PathLike[str]) -> StartT:
        """Read what `Start.save` wrote.

        Raises
        ------
        DamagedFileError
            If the file is incomplete or of another kind.
        """

    def start_from_state(self, state: Mapping[str, Any]) -> StartT:
        """Inverse of `Start.state_dict`."""

    def freeze(self, result: ResultT) -> FrozenEnergy:
        """Energy of other functionals at the density of a result."""


def digest(content: Any) -> str:
    """Hash of anything that JSON can represent.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
