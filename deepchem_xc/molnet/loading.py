"""Featurize, split, transform, and keep the result: what all loaders share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
from deepchem.data import Dataset, DiskDataset
from deepchem.feat import Featurizer
from deepchem.molnet.load_function.molnet_loader import TransformerGenerator
from deepchem.molnet.load_function.molnet_loader import transformers as _transformers_by_name
from deepchem.splits import Splitter
from deepchem.trans import Transformer
from deepchem.utils.data_utils import get_data_dir, load_transformers, save_transformers

from deepchem_xc import __version__
from deepchem_xc._files import source_digest
from deepchem_xc.feat.crystal_featurizer import CrystalFeaturizer
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.molnet.collection import Collection, entry_dataset, featurized_dataset
from deepchem_xc.molnet.splitting import splitters

Loaded = tuple[list[str], tuple[Dataset, ...], list[Transformer]]

Sets = tuple[tuple[Dataset, ...], list[Transformer]]

_SETS = ("train", "valid", "test")


def load_collection(
    collection: Collection,
    featurizer: Featurizer | None,
    splitter: Splitter | str | None,
    transformers: Sequence[TransformerGenerator | str],
    reload: bool,
    data_dir: str | os.PathLike[str] | None,
    save_dir: str | os.PathLike[str] | None,
    tasks: Sequence[str] | None = None,
    potentials: PotentialKind = "paw",
) -> Loaded:
    """Load a collection; parameters and errors as for `load_gpaw_benchmark`."""
    generators = [_generator(given) for given in transformers]
    split = named_splitter(splitter, collection.splitter())
    paths = collection.files(data_dir, potentials)

    def make() -> DiskDataset:
        if featurizer is not None:
            return featurized_dataset(collection, paths, featurizer, tasks)
        entries = collection.entries(paths, tasks)
        _check_labels(generators, {entry.entry_type for entry in entries})
        return entry_dataset(entries)

    key = None
    if reload:
        key = ([path.read_bytes() for path in paths], *featurizer_key(featurizer), tasks)
    sets, made = split_and_transformed(collection.name, make, key, split, generators, save_dir)
    return list(map(str, sets[0].tasks)), sets, made


def featurizer_key(featurizer: Featurizer | None) -> tuple[Any, ...]:
    """What features depend on: the featurizer, and what its potentials are by content.

    Parameters
    ----------
    featurizer : Featurizer, optional
        Anything that was given to a loader.
    """
    return featurizer, str(featurizer) if isinstance(featurizer, CrystalFeaturizer) else None


def split_and_transformed(
    name: str,
    make: Callable[[], Dataset],
    key: Any,
    splitter: Splitter | None,
    transformers: Sequence[TransformerGenerator | str],
    save_dir: str | os.PathLike[str] | None,
) -> Sets:
    """Sets of a dataset, read from disk if they were kept before.

    Parameters
    ----------
    name : str
        Name of the folder in which they are kept.
    make : callable
        Makes the dataset; a `DiskDataset` if it is to be kept.
    key : Any
        What the dataset depends on, besides the package's source; None to keep nothing.
    splitter, transformers, save_dir : optional
        As for `load_gpaw_benchmark`; the splitter is an object.
    """
    generators = [_generator(given) for given in transformers]
    folder = None
    if key is not None:
        # Sets of an older package are not found; development versions differ by their source alone.
        parts = ((__version__, source_digest()), key, splitter, _plain(generators))
        folder = Path(save_dir or get_data_dir()) / f"{name}-featurized" / _hash(parts)
        if folder.is_dir():
            return _read(folder)
    dataset = make()
    sets = _split(dataset, splitter)
    made = [generator.create_transformer(sets[0]) for generator in generators]
    for transformer in made:
        sets = tuple(transformer.transform(part) for part in sets)
    if folder is None:
        return sets, made
    _write(folder, sets, made)
    return _read(folder)


def named_splitter(given: Splitter | str | None, fixed: Splitter) -> Splitter | None:
    """The splitter of this name; `fixed` is the set's own, ``"fixed"``.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if not isinstance(given, str):
        return given
    name = given.lower()
    if name == "fixed":
        return fixed
    if name not in splitters:
        raise ValueError(
            f"splitter must be None, an object, or one of 'fixed', "
            f"{', '.join(map(repr, splitters))}; got {given!r}."
        )
    return splitters[name]()


def _generator(given: TransformerGenerator | str) -> TransformerGenerator:
    if not isinstance(given, str):
        return given
    if given.lower() not in _transformers_by_name:
        raise ValueError(
            f"transformers must be TransformerGenerator objects or among "
            f"{', '.join(map(repr, _transformers_by_name))}; got {given!r}."
        )
    generator: TransformerGenerator = _transformers_by_name[given.lower()]
    return generator


def _check_labels(generators: Sequence[TransformerGenerator], types: set[str]) -> None:
    """Refuse to transform labels that are curves, or of several units."""
    changing = [
        generator.transformer_class.__name__
        for generator in generators
        if generator.kwargs.get("transform_y")
    ]
    if changing and (len(types) > 1 or "eos" in types):
        raise ValueError(
            f"{changing[0]} would change y, and the labels here are "
            f"{'curves' if 'eos' in types else 'of several units: ' + ', '.join(sorted(types))}. "
            "Choose transformers=[], or one task with numbers by tasks= or a featurizer."
        )


def _split(dataset: Dataset, splitter: Splitter | None) -> tuple[Dataset, ...]:
    if splitter is None:
        return (dataset,)
    sets = splitter.train_valid_test_split(dataset)
    empty = [name for name, part in zip(_SETS, sets) if len(part) == 0]
    if empty:
        raise ValueError(
            f"{splitter} leaves no rows for the {' and the '.join(empty)} set of {len(dataset)} "
            "rows. Choose splitter='crystal' or 'fixed', or None to split by yourself."
        )
    return tuple(sets)


def _plain(generators: Sequence[TransformerGenerator]) -> list[Any]:
    return [
        (f"{g.transformer_class.__module__}.{g.transformer_class.__qualname__}", g.kwargs)
        for g in generators
    ]


def _hash(parts: Any) -> str:
    try:
        return str(joblib.hash(parts, hash_name="sha1"))[:16]
    except Exception as error:  # whatever an object raises when it is pickled
        raise ValueError(
            f"with reload=True the featurizer, splitter and transformers must be objects that can "
            f"be pickled ({error}); choose reload=False."
        ) from error


def _read(folder: Path) -> Sets:
    names = [name for name in _SETS if (folder / name).is_dir()]
    sets = tuple(DiskDataset(str(folder / name)) for name in names)
    return sets, load_transformers(str(folder))


def _write(folder: Path, sets: Sequence[Dataset], transformers: Sequence[Transformer]) -> None:
    """Write all sets or none."""
    with _complete(folder) as part:
        for name, dataset in zip(_SETS, sets):
            dataset.copy(str(part / name))
        save_transformers(str(part), list(transformers))


@contextmanager
def _complete(folder: Path) -> Iterator[Path]:
    """A new folder that becomes `folder` at the end, unless another process was first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield part
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
