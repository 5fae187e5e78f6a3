"""A featurizer applied to many structures, of which some may fail."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from deepchem.feat import MaterialCompositionFeaturizer, MaterialStructureFeaturizer

from deepchem_xc.feat import FeaturizationWarning


def as_read_by(featurizer: Any, structures: Sequence[Any]) -> list[Any]:
    """Structures in the form that a featurizer reads.

    Parameters
    ----------
    featurizer : Featurizer
        DeepChem's own featurizers of compositions read formulas, those of structures pymatgen's
        alone; all others get what is given.
    structures : sequence of ase.Atoms
        The structures.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem.feat import ElementPropertyFingerprint
    >>> as_read_by(ElementPropertyFingerprint(), [bulk("Al"), bulk("NaCl", "rocksalt", a=5.6)])
    ['Al', 'ClNa']
    """
    if isinstance(featurizer, MaterialCompositionFeaturizer):
        return [atoms.get_chemical_formula() for atoms in structures]
    if getattr(type(featurizer), "featurize", None) is MaterialStructureFeaturizer.featurize:
        from pymatgen.io.ase import AseAtomsAdaptor

        return [AseAtomsAdaptor.get_structure(atoms) for atoms in structures]
    return list(structures)


def why_nothing(featurizer: Any, given: Any) -> str:
    """Reason why DeepChem's ``featurize`` yields nothing for a datapoint, which it does not tell.

    Parameters
    ----------
    featurizer : Featurizer
        DeepChem's ``featurize`` hides the errors of ``_featurize``, which is called again.
    given : object
        What it got; see `as_read_by`.

    Examples
    --------
    >>> class Nothing:
    ...     def featurize(self, structures):
    ...         return [np.array([])] * len(structures)
    >>> why_nothing(Nothing(), "Al")
    'Nothing returned nothing for this structure'
    """
    name = type(featurizer).__name__
    if isinstance(featurizer, MaterialCompositionFeaturizer):
        from pymatgen.core.composition import Composition

        given = Composition(given)
    if hasattr(featurizer, "_featurize"):
        try:
            featurizer._featurize(given)
        except Exception as error:
            return f"{name} failed: {type(error).__name__}: {error}"
    return f"{name} returned nothing for this structure"


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
    structures : sequence of ase.Atoms
        The structures; the featurizer gets them as `as_read_by` says.

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
    given = as_read_by(featurizer, structures)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeaturizationWarning)
        try:
            together = list(featurizer.featurize(list(given)))
        except Exception:
            together = []
        if len(together) == len(given):
            reasons = getattr(featurizer, "failures", None)
            together = [
                ValueError(reasons[i])
                if _is_nothing(feature) and isinstance(reasons, Mapping) and i in reasons
                else feature
                for i, feature in enumerate(together)
            ]
            if not any(map(_is_nothing, together)):
                return together
        return [_one(featurizer, structure) for structure in given]


def _one(featurizer: Any, structure: Any) -> Any:
    try:
        result = list(featurizer.featurize([structure]))
    except Exception as error:
        return error
    if len(result) != 1 or _is_nothing(result[0]):
        return ValueError(why_nothing(featurizer, structure))
    return result[0]


def _is_nothing(value: Any) -> bool:
    """Whether it is DeepChem's sign of a failure, an empty array, or None."""
    return value is None or (isinstance(value, np.ndarray) and value.size == 0)
