"""The torch module inside `XCModel`: a functional, and the values of entries it gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.models.ahead import Ahead
from deepchem_xc.models.failures import EXPECTED_FAILURES
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.networks import check_weights


class EntryError(RuntimeError):
    """The calculation of an entry failed, or that of one entry in a batch.

    Attributes
    ----------
    entries : list of DFTEntry
        The entry, or the entries of the batch that contains it.
    error : Exception
        The original error.
    epoch : int or None
        Epoch of the training, counted from 0; None for a prediction.

    Examples
    --------
    >>> from deepchem_xc.models import EntryError
    >>> issubclass(EntryError, RuntimeError)
    True
    """

    def __init__(self, entries: list[DFTEntry], error: Exception, epoch: int | None = None) -> None:
        names = ", ".join(map(repr, entries))
        which = names if len(entries) == 1 else f"one of {names}"
        when = "" if epoch is None else f" in epoch {epoch}"
        super().__init__(f"{which} failed{when}: {type(error).__name__}: {error}")
        self.entries, self.error, self.epoch = entries, error, epoch

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send it to the main process.
        return type(self), (self.entries, self.error, self.epoch)


class DFTXC(torch.nn.Module):
    """A functional and the ground states of the entries it is trained on.

    Parameters
    ----------
            functional : XCFunctional
                The functional to train.
            ground_states : GroundStates
                Ground states with the same functional.

    Examples
    --------
    >>> from deepchem_xc.models import DFTXC
    >>> from deepchem_xc.models.ground_states import GroundStates
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> module = DFTXC(functional, GroundStates(functional))
    >>> [name for name, _ in module.named_parameters()][0]
    'functional.terms.0.kappa'
    """

    def __init__(self, functional: XCFunctional, ground_states: GroundStates) -> None:
        super().__init__()
        self.ground_states = ground_states
        self.functional = functional

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "functional":  # calculations must use the same one
            self.ground_states.functional = value

    def forward(self, entries: Iterable[DFTEntry]) -> Tensor:
        """Self-consistent number for each entry (`DFTEntry.summary`), (n,), without a graph."""
        check_weights(self.functional)
        summaries = [entry.summary(self.prediction(entry)) for entry in entries]
        return torch.tensor(summaries, dtype=torch.float64)

    def training_value(self, entry: DFTEntry, epoch: int, energies: Tensor | None = None) -> Tensor:
        """Value of an entry in the functional's graph, with the label's shape and unit.

        Parameters
        ----------
        entry : DFTEntry
            An entry.
        epoch : int
            Present epoch: it determines which kept densities are still valid.
        energies : Tensor, optional
            Energies of the entry's calculations (eV), if they are known already.

        Raises
        ------
        EntryError
            If a calculation does not converge, there is no minimum to fit, or the value is NaN.
        """
        try:
            if entry.kind.from_energies:
                if energies is None:
                    energies = self.ground_states.energies(entry.calculations, epoch)
                value = entry.value(energies)
            else:
                value = entry.value(self.ground_states.result(entry.calculations[0], epoch))
            _check_finite(value)
        except EXPECTED_FAILURES as error:
            raise EntryError([entry], error, epoch) from error
        return value

    def prediction(self, entry: DFTEntry, ahead: Ahead | None = None) -> Tensor:
        """Self-consistent value of an entry, without a graph; the training state stays as it is.

        Parameters
        ----------
        entry : DFTEntry
            An entry.
        ahead : Ahead, optional
            What is known already, see `ahead.known_ahead`.

        Raises
        ------
        EntryError
            As `training_value`.
        """
        try:
            with torch.no_grad():
                known = None if ahead is None else ahead.values.get(id(entry))
                if isinstance(known, Exception):
                    raise known
                if entry.kind.from_energies:
                    energies = {} if ahead is None else ahead.energies
                    found = self.ground_states.predicted_energies(entry.calculations, energies)
                    value = entry.value(found)
                elif known is not None:
                    value = known
                else:
                    value = entry.value(self.ground_states.predicted(entry.calculations[0]))
            _check_finite(value)
        except EXPECTED_FAILURES as error:
            raise EntryError([entry], error) from error
        return value


def _check_finite(value: Tensor) -> None:
    if not bool(torch.isfinite(value).all()):
        raise FloatingPointError("its value is NaN or infinite")
