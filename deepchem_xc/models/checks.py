"""Checks before training computes anything."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.entry_types import MOLECULAR_TYPES
from deepchem_xc.xc import XCFunctional, refuse_exact_exchange

if TYPE_CHECKING:
    from deepchem_xc.models.ground_states import GroundStates


def check_entries(entries: Sequence[DFTEntry], weights: Sequence[float]) -> None:
    """Raise `ValueError` unless entries can be trained on with these weights."""
    if len(entries) == 0:
        raise ValueError("the data set is empty.")
    if len(weights) != len(entries):
        raise ValueError(
            f"{len(entries)} entries need as many weights, got {len(weights)}. With several tasks "
            "X, y and w are (n, ntasks), an entry for each label, as PeriodicSystemFeaturizer(["
            "'lattice_constant', 'bulk_modulus']) makes them."
        )
    for entry, weight in zip(entries, weights, strict=True):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of {entry!r} must be at least 0, got {weight}.")


def check_solvers(functional: XCFunctional, entries: Sequence[DFTEntry]) -> None:
    """Raise `ValueError` if a functional needs what the solver of an entry does not have."""
    for entry in entries:
        if any(system.is_crystal for system in entry.systems):
            refuse_exact_exchange(
                functional,
                f"the plane waves of {entry!r} do not compute: take a GGA or meta-GGA, or entries "
                f"of molecules alone ({', '.join(MOLECULAR_TYPES)})",
            )


def check_weighted(
    entries: Sequence[DFTEntry], weights: Sequence[float], type_weights: Mapping[str, float]
) -> None:
    """Raise `ValueError` if all entries of a data set have zero weight, or their types have."""
    pairs = list(zip(entries, weights, strict=True))
    if any(weight * type_weights[entry.entry_type] for entry, weight in pairs):
        return
    types = sorted({entry.entry_type for entry, weight in pairs if weight})
    if types:
        raise ValueError(
            f"type_weights are 0 for all entries with a weight ({', '.join(types)}), so that there "
            "is nothing to train on: give one of these types a positive weight."
        )
    raise ValueError(
        "all weights are 0, so that there is nothing to train on: DeepChem's NumpyDataset(X) "
        "without y sets them so. Make it with NumpyDataset(*entry_arrays(entries)), or give w."
    )


def check_trainable(functional: torch.nn.Module, variables: Iterable[Any] | None = None) -> None:
    """Raise an error if nothing could be trained.

    Parameters
    ----------
    functional : torch.nn.Module
        The functional to train.
    variables : iterable of Parameter, optional
        Its parameters to train; all by default.

    Raises
    ------
    RuntimeError
        Inside `torch.no_grad` or `torch.inference_mode`.
    ValueError
        If the parameters are frozen, or not the functional's.
    """
    if not torch.is_grad_enabled():
        mode = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise RuntimeError(
            f"training needs gradients, which torch.{mode}() switches off here: call fit outside "
            "of it."
        )
    own = dict(functional.named_parameters())
    if isinstance(variables, (str, torch.Tensor)):
        variables = [variables]
    chosen = list(own.values()) if variables is None else list(variables)
    if not chosen:
        raise ValueError(f"variables is empty: give some of {', '.join(own)}, or None for all.")
    ids = {id(parameter) for parameter in own.values()}
    foreign = [
        f"shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else repr(x)
        for x in chosen
        if id(x) not in ids
    ]
    if foreign:
        raise ValueError(
            f"variables must be parameters of the functional, the tensors themselves; "
            f"{len(foreign)} of {len(chosen)} are not ({', '.join(foreign)}). The model trains a "
            "copy of the functional that it is given: take them from model.functional. It has "
            f"{', '.join(own) or 'none'}: dict(functional.named_parameters())[name]."
        )
    if not any(parameter.requires_grad for parameter in chosen):
        names = [name for name, parameter in own.items() if any(parameter is x for x in chosen)]
        raise ValueError(
            f"nothing to train: no parameter requires gradients ({', '.join(names) or 'none'}). "
            "Set requires_grad_(True) on those to train."
        )


def warn_of_idle_jobs(ground_states: GroundStates, entries: Sequence[DFTEntry]) -> None:
    """Warn if all calculations of a training's steps run in this process, whatever `jobs` says."""
    if ground_states.jobs is None:
        return
    if ground_states.entropy_response:
        why = (
            "with entropy_response they are differentiated: give scf_interval above 1, or "
            "entropy_response=False"
        )
    elif not any(entry.kind.from_energies for entry in entries):
        why = "entries of these types differentiate them"
    else:
        return
    warnings.warn(
        f"jobs has an effect on predictions alone: calculations of the training's steps run here, "
        f"because {why}.",
        stacklevel=users_stacklevel(),
    )
