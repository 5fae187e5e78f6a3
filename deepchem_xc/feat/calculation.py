"""`Calculation`: what an entry asks a solver for, and all that models know of solvers.

A calculation is one structure with its settings. It solves itself with a functional, says what a
later calculation can start from, and freezes the density of a result. Crystals are solved by
plane waves (`crystal_calculation`); a solver of molecules offers the same.
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
    """Density and, where they are kept, orbitals that a calculation can start from."""

    @property
    def orbitals(self) -> Any:
        """Orbitals, None where only the density is kept; what they are is the solver's affair."""

    def with_orbitals(self, orbitals: Any) -> Start:
        """The same density with the orbitals of another start of this solver."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file, which is replaced only once the new one is complete."""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors of the density, without orbitals, for a checkpoint."""


ResultT = TypeVar("ResultT", bound=Result)
StartT = TypeVar("StartT", bound=Start)


class Calculation(Protocol[ResultT, StartT]):
    """One structure and everything that its calculation needs, except for the functional."""

    @property
    def key(self) -> str:
        """The same for the same calculation, in any entry and any run."""

    @property
    def group(self) -> str:
        """The same for one structure at all volumes: what one can be started from another."""

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
            What is trained.
        start : Start, optional
            From an earlier calculation of this one's group.
        options : mapping, optional
            Keywords for all calculations of a data set, see `checked_solver_options`; those of
            this calculation take precedence.

        Raises
        ------
        SCFConvergenceError
            If it does not converge.
        """

    def energy_options(self, options: Mapping[str, Any]) -> str:
        """Digest of the keywords that the energy depends on, besides what `key` stands for.

        Parameters
        ----------
        options : mapping
            As those of `solve`: energies that differ in them only have different digests, unless
            the options say how or where a calculation is done, and not what is calculated.
        """

    def start_of(self, result: ResultT) -> StartT:
        """What a later calculation can start from, with orbitals."""

    def read_start(self, path: str | os.PathLike[str]) -> StartT:
        """Read what `Start.save` wrote.

        Raises
        ------
        DamagedFileError
            If the file is anything else, or a part of one.
        """

    def start_from_state(self, state: Mapping[str, Any]) -> StartT:
        """The inverse of `Start.state_dict`."""

    def freeze(self, result: ResultT) -> FrozenEnergy:
        """Energy of other functionals at the density of a result."""


def digest(content: Any) -> str:
    """Name of anything that JSON can hold.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
