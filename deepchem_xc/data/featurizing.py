"""A featurizer applied to many structures, of which some may fail."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepchem_xc.feat import FeaturizationWarning


def featurize_each(featurizer: Any, structures: Sequence[Any]) -> list[Any]:
    """Features of each structure, or an exception in their place.

    All structures are given together. If that fails for any reason, or a structure yields nothing
    and the featurizer's ``failures`` do not say why, each is given by itself, because DeepChem
    2.8.0 cannot return one bad result beside good ones. Featurizers' own warnings are left out:
    their numbers count within a shard, whereas the loader names file and row.

    Parameters
    ----------
    featurizer : Featurizer
        Anything with ``featurize(structures)``.
    structures : sequence
        The structures.

    Examples
    --------
    >>> class Count:
    ...     def featurize(self, structures):
    ...         return np.array([len(structure) for structure in structures])
    >>> from ase.build import bulk
    >>> featurize_each(Count(), [bulk("Al"), bulk("Si")]) == [1, 2]
    True
    """
    if not structures:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeaturizationWarning)
        try:
            together = list(featurizer.featurize(list(structures)))
        except Exception:
            together = []
        if len(together) == len(structures):
            reasons = getattr(featurizer, "failures", None)
            together = [
                ValueError(reasons[i])
                if _is_nothing(feature) and isinstance(reasons, Mapping) and i in reasons
                else feature
                for i, feature in enumerate(together)
            ]
            if not any(map(_is_nothing, together)):
                return together
        return [_one(featurizer, structure) for structure in structures]


def _one(featurizer: Any, structure: Any) -> Any:
    try:
        result = list(featurizer.featurize([structure]))
    except Exception as error:
        return error
    if len(result) != 1 or _is_nothing(result[0]):
        return ValueError(
            f"{type(featurizer).__name__} returned nothing for this structure; its message is in "
            "the log of deepchem.feat"
        )
    return result[0]


def _is_nothing(value: Any) -> bool:
    """Whether it is DeepChem's sign of a failure, an empty array, or None."""
    return value is None or (isinstance(value, np.ndarray) and value.size == 0)
