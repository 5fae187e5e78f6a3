"""The loaders of densities, one for silicon and one for all other sets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import Hartree
from deepchem.data import Dataset, DiskDataset, NumpyDataset
from deepchem.feat import Featurizer
from deepchem.molnet.load_function.molnet_loader import TransformerGenerator
from deepchem.splits import Splitter

from deepchem_xc.feat import DensityGridFeaturizer
from deepchem_xc.molnet.collection import features_of
from deepchem_xc.molnet.computed_densities import compute_densities
from deepchem_xc.molnet.density_structures import DensitySet
from deepchem_xc.molnet.kept_record import read_record
from deepchem_xc.molnet.loading import (
    Loaded,
    featurizer_key,
    named_splitter,
    split_and_transformed,
)
from deepchem_xc.molnet.splitting import FixedSplitter
from deepchem_xc.parallel import Jobs
from deepchem_xc.planewave.record import DensityRecord

#: Task of all sets: free energy of the cell, eV.
TASK = "free_energy"


def load_si_allotropes(
    featurizer: Featurizer | None = None,
    splitter: Splitter | str | None = "fixed",
    transformers: Sequence[TransformerGenerator | str] = (),
    reload: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    quick: bool = False,
    jobs: Jobs | None = None,
    progress: bool | None = None,
) -> Loaded:
    """Load densities of silicon: cells around diamond to train on, allotropes to test on.

    Densities that are not kept in `data_dir` yet are computed first, which resumes after an
    interruption: about an hour of one thread for all. Those of the part `quick` come with the
    package, and nothing is computed for it.

    Parameters
    ----------
    featurizer : Featurizer, optional
        X holds `DensityRecord` objects without one. A `DensityGridFeaturizer` gets these records;
        any other object with a method ``featurize`` gets structures, as for `load_gpaw_benchmark`.
    splitter : Splitter, str or None, optional
        ``"fixed"`` (default: strained, rattled, defective and disordered cells for training and
        validation, allotropes for the test), or as for `load_gpaw_benchmark`.
    transformers : sequence of TransformerGenerator or str, optional
        As for DeepChem's loaders.
    reload : bool, optional
        Whether to keep what the featurizer makes in `save_dir`, and to read it from there. Without
        a featurizer nothing else is kept: records are read from `data_dir`.
    data_dir : path, optional
        Folder of the densities; DeepChem's data folder by default.
    save_dir : path, optional
        Folder of kept features; DeepChem's data folder by default.
    quick : bool, optional
        A small part of the set.
    jobs, progress : optional
        As for `compute_densities`.

    Returns
    -------
    tasks : list of str
        ``["free_energy"]``: eV per cell.
    datasets : tuple of Dataset
        Training, validation and test set, or all in one. y and w are (n, 1), ids the names.
    transformers : list of Transformer
        The transformers that were applied.

    Raises
    ------
    MissingDensitiesError
        If a density could not be computed.
    ValueError
        If the name of a splitter or transformer is unknown, a set would be empty, or the
        featurizer made nothing of a structure.

    Examples
    --------
    >>> from deepchem_xc.molnet import load_si_allotropes
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> tasks, sets, transformers = load_si_allotropes(data_dir=folder, quick=True, progress=False)
    >>> train, valid, test = sets
    >>> len(train), test.ids.tolist()
    (22, ['lonsdaleite', 'beta-Sn', 'bcc', 'sc'])
    """
    densities = DensitySet.read("silicon")
    given = (featurizer, splitter, transformers, reload, data_dir, save_dir, quick, jobs, progress)
    return load_densities(densities, *given)


def load_crystal_densities(
    featurizer: Featurizer | None = None,
    splitter: Splitter | str | None = "fixed",
    transformers: Sequence[TransformerGenerator | str] = (),
    reload: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    name: str = "mixed",
    quick: bool = False,
    jobs: Jobs | None = None,
    progress: bool | None = None,
) -> Loaded:
    """Load densities of crystals of many elements, of molecules in boxes, or of magnets.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir, quick, jobs, progress : optional
        As for `load_si_allotropes`. The fixed split is by chemical system (molecules: by formula):
        no combination of elements is in two sets.
    name : {"mixed", "molecules", "magnets", "silicon"}, optional
        The set: metals, semiconductors, ionic and molecular crystals of 21 elements, molecules and
        silicon take about an hour each with one thread, magnets a night.

    Returns
    -------
    tasks, datasets, transformers : tuple
        As for `load_si_allotropes`.

    Raises
    ------
    MissingDensitiesError, ValueError
        As for `load_si_allotropes`.

    Examples
    --------
    >>> from deepchem_xc.molnet import load_crystal_densities
    >>> tasks, datasets, transformers = load_crystal_densities(quick=True)  # doctest: +SKIP
    """
    densities = DensitySet.read(name)
    given = (featurizer, splitter, transformers, reload, data_dir, save_dir, quick, jobs, progress)
    return load_densities(densities, *given)


def load_densities(
    densities: DensitySet,
    featurizer: Featurizer | None,
    splitter: Splitter | str | None,
    transformers: Sequence[TransformerGenerator | str],
    reload: bool,
    data_dir: str | os.PathLike[str] | None,
    save_dir: str | os.PathLike[str] | None,
    quick: bool,
    jobs: Jobs | None,
    progress: bool | None,
) -> Loaded:
    """Load any set of densities; parameters and errors as for `load_si_allotropes`."""
    wanted = densities.select(quick=quick)
    fixed = FixedSplitter(
        *([s.name for s in wanted.values() if s.part == part] for part in ("valid", "test"))
    )
    split = named_splitter(splitter, fixed)
    paths = compute_densities(densities, data_dir, quick=quick, jobs=jobs, progress=progress)

    def make() -> Dataset:
        records = _records(densities, paths)
        energies = [record.free_energy for record in records.values()]
        y = np.array([[energy] for energy in energies], dtype=np.float64) * Hartree
        ids = np.array(list(records), dtype=object)
        x = _features(featurizer, records)
        if featurizer is None:
            return NumpyDataset(x, y, ids=ids)
        return DiskDataset.from_numpy(x, y, np.ones_like(y), ids, tasks=[TASK])

    key = None
    if reload and featurizer is not None:
        key = (
            [wanted[name].digest for name in paths],
            [p.stat().st_mtime_ns for p in paths.values()],
            *featurizer_key(featurizer),
        )
    sets, made = split_and_transformed(
        f"density_{densities.name}", make, key, split, transformers, save_dir
    )
    return [TASK], sets, made


def _records(densities: DensitySet, paths: Mapping[str, Path]) -> dict[str, DensityRecord]:
    records = {}
    for name, path in paths.items():
        record = read_record(path, densities.structures[name].digest)
        if record is None:
            raise RuntimeError(f"{path} was replaced while the set was loaded; load it again.")
        records[name] = record
    return records


def _features(featurizer: Featurizer | None, records: Mapping[str, DensityRecord]) -> Any:
    if featurizer is None or isinstance(featurizer, DensityGridFeaturizer):
        x = np.empty(len(records), dtype=object)
        for i, record in enumerate(records.values()):
            x[i] = record
        return x if featurizer is None else featurizer.featurize(x)
    return features_of(featurizer, {name: r.crystal.to_ase() for name, r in records.items()})
