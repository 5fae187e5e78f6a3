"""Options of DeepChem models, checked when one is made; errors name valid values and remedies."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

from deepchem.data import Dataset
from deepchem.models.optimizers import LearningRateSchedule, Optimizer
from deepchem.models.torch_models.torch_model import TorchModel
from deepchem.trans import Transformer

from deepchem_xc._values import whole_number

# Parameters of TorchModel that XCModel sets itself.
_SET = ("self", "model", "loss", "output_types", "kwargs")
_ADVICE = "NumpyDataset(*entry_arrays(entries)) makes one from entries, DFTYamlLoader from a file"


def deepchem_options(
    options: Mapping[str, Any], own: Iterable[str] = (), name: str = "XCModel"
) -> dict[str, Any]:
    """Checked keywords for DeepChem's `TorchModel`.

    Parameters
    ----------
    options : mapping
        Keywords of an `XCModel` that are not its own.
    own : iterable of str, optional
        Its own keywords, for the message.
    name : str, optional
        Name of another model, for the message.

    Raises
    ------
    ValueError
        For unknown keywords, which DeepChem would silently ignore, and invalid values.

    Examples
    --------
    >>> deepchem_options({"learning_rat": 0.1})
    Traceback (most recent call last):
    ValueError: XCModel has no keyword 'learning_rat'; did you mean 'learning_rate'? Valid: ...
    """
    known = [name for name in inspect.signature(TorchModel.__init__).parameters if name not in _SET]
    valid = sorted({*own, *known})
    for given in options:
        if given not in known:
            near = difflib.get_close_matches(given, valid, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "nb_epoch and similar belong to fit."
            raise ValueError(f"{name} has no keyword {given!r}; {hint} Valid: {', '.join(valid)}.")
    found = dict(options)
    if "batch_size" in found:
        found["batch_size"] = whole_number(found["batch_size"], "batch_size")
    if found.get("learning_rate") is not None:
        _check_learning_rate(found["learning_rate"])
    optimizer = found.get("optimizer")
    if optimizer is not None and "learning_rate" in found:
        raise ValueError(
            "learning_rate would have no effect beside optimizer, which has its own: give "
            f"optimizer={type(optimizer).__name__}(learning_rate={found['learning_rate']!r})."
        )
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ValueError(
            "optimizer must be one of deepchem.models.optimizers, such as Adam(learning_rate=0.01),"
            f" got {optimizer!r}."
        )
    if optimizer is not None:
        _check_is_made_of_parameters(optimizer)
    regularization = found.get("regularization_loss")
    if regularization is not None and not callable(regularization):
        raise ValueError(
            "regularization_loss must be a function without arguments that returns a 0-d tensor, "
            f"got {regularization!r}."
        )
    return found


def _check_is_made_of_parameters(optimizer: Optimizer) -> None:
    try:
        inspect.signature(optimizer._create_pytorch_optimizer).bind([])
    except TypeError:
        raise ValueError(
            f"optimizer: DeepChem's {type(optimizer).__name__} cannot be made from parameters "
            "alone, which TorchModel needs: take Adam, AdamW, RMSProp, GradientDescent or "
            "your own class with _create_pytorch_optimizer(self, params)."
        ) from None


def _check_learning_rate(rate: Any) -> None:
    if isinstance(rate, LearningRateSchedule):
        return
    try:
        good = math.isfinite(rate) and rate > 0
    except TypeError:
        good = False
    if not good:
        raise ValueError(
            "learning_rate must be a positive number, or a schedule of "
            f"deepchem.models.optimizers such as ExponentialDecay, got {rate!r}."
        )


def checked_transformers(transformers: Any) -> list[Transformer]:
    """Transformers as a list; a single one is accepted.

    Examples
    --------
    >>> checked_transformers(None)
    []
    """
    if transformers is None:
        return []
    given = [transformers] if isinstance(transformers, Transformer) else transformers
    if not isinstance(given, Iterable) or isinstance(given, str):
        given = [given]
    found = list(given)
    for transformer in found:
        if not isinstance(transformer, Transformer):
            raise ValueError(
                "transformers must be the DeepChem transformers that made y, such as "
                f"NormalizationTransformer(...), got {transformer!r}."
            )
    return found


def checked_callbacks(callbacks: Any) -> list[Any]:
    """Callbacks for `fit` as a list.

    Examples
    --------
    >>> checked_callbacks([3])
    Traceback (most recent call last):
    ValueError: callbacks must be functions of the model and the step, got 3.
    """
    if callbacks is None:
        return []
    given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in given:
        if callback is not None and not callable(callback):
            raise ValueError(
                f"callbacks must be functions of the model and the step, got {callback!r}."
            )
    return [callback for callback in given if callback is not None]


def checked_dataset(dataset: Any) -> Dataset:
    """Check that this is a data set with at least one entry, and return it.

    Examples
    --------
    >>> checked_dataset([])
    Traceback (most recent call last):
    ValueError: a data set must be one of deepchem.data, got a list; NumpyDataset(*entry_arrays...
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"a data set must be one of deepchem.data, got a {type(dataset).__name__}; {_ADVICE}."
        )
    try:
        length = len(dataset)
    except (IndexError, TypeError):
        length = -1  # reading X will tell what is wrong with it
    if length == 0:
        raise ValueError(f"the data set is empty; {_ADVICE}.")
    return dataset


def checked_checkpoints(keep: Any, interval: Any) -> tuple[int, int]:
    """Checked number of checkpoints, and of steps between them.

    Examples
    --------
    >>> checked_checkpoints(5, 1.5)
    Traceback (most recent call last):
    ValueError: checkpoint_interval must be a whole number of at least 0, got 1.5.
    """
    return (
        whole_number(keep, "max_checkpoints_to_keep", 0),
        whole_number(interval, "checkpoint_interval", 0),
    )
