"""The loaders, one a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence

from deepchem.feat import Featurizer
from deepchem.molnet.load_function.molnet_loader import TransformerGenerator
from deepchem.splits import Splitter

from deepchem_xc.keywords import PotentialKind
from deepchem_xc.molnet.collection import Collection
from deepchem_xc.molnet.loading import Loaded, load_collection

GPAW_BENCHMARK = Collection(
    name="gpaw_benchmark",
    entry_files=("gpaw_benchmark.yaml",),
    result_files=("gpaw_eos.json",),
    properties=("lattice_constant", "bulk_modulus", "magnetic_moment"),
    valid=("graphene",),
    test=("Ni",),
)
#: Tested on are all crystals of the elements of the benchmark, so that what is trained with the
#: default split has not seen these elements.
SOLIDS_EOS = Collection(
    name="solids_eos",
    entry_files=("gpaw_training.yaml", "solids_eos.yaml"),
    result_files=("gpaw_training.json", "solids_eos.json"),
    properties=("lattice_constant", "bulk_modulus"),
    valid=("ZrO2", "ZrN", "h-BN", "BN layer", "Mo", "InP"),
    test=("SiC", "ZrC", "NbC", "CaO", "AlN", "AlP", "AlAs"),
)
#: Validated and tested on is one crystal of each structure and kind of binding.
SOLIDS_EXPERIMENT = Collection(
    name="solids_experiment",
    entry_files=("solids_experiment.yaml",),
    result_files=(),
    properties=("lattice_constant",),
    valid=("Ta", "Ir", "Ge", "ZrN", "GaP"),
    test=("W", "Pd", "Si", "CaO", "NbC", "AlAs", "CoAl"),
)


def load_gpaw_benchmark(
    featurizer: Featurizer | None = None,
    splitter: Splitter | str | None = "fixed",
    transformers: Sequence[TransformerGenerator | str] = (),
    reload: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    tasks: Sequence[str] | None = None,
    potentials: PotentialKind = "paw",
) -> Loaded:
    """Load lattice constants and moduli of Al, Ni, Ca and graphene by GPAW with PBE.

    Without a featurizer there is one entry a crystal and property: lattice constant (Angstrom),
    bulk modulus (GPa; graphene N/m) and nickel's magnetic moment (mu_B). The calculations have the
    settings of ``deepchem-xc benchmark``: with PAW, PBE is within 0.03 % of the lattice constants
    and 1 % of the moduli, and a curve takes one to three minutes of one core; with GTH potentials
    within 0.2 and 5 %, and nickel takes half an hour (4000 eV).

    Parameters
    ----------
    featurizer : Featurizer, optional
        Object with a method ``featurize``, which gets a list of ASE `Atoms` (DeepChem's own
        featurizers of structures: pymatgen structures; of compositions: formulas). Each crystal
        is then one row, each property one column of y, and a property that a crystal does not
        have is 0 with weight 0, as the modulus of a layer in GPa.
    splitter : Splitter, str or None, optional
        ``"fixed"`` (default: Al and Ca for training, graphene for validation, Ni for the test),
        ``"crystal"`` (random, by crystal), ``"random"``, ``"index"``, ``"stratified"``, an
        object, or None for a single data set. Rows of one crystal share its calculations: of
        these only ``"fixed"`` and ``"crystal"`` keep them together.
    transformers : sequence of TransformerGenerator or str, optional
        As for DeepChem's loaders. The labels of the entries have several units, so that those
        that change y need a featurizer, or one task.
    reload : bool, optional
        Whether to keep the sets on disk, and to read them from there if they were kept by the
        same version, from the same files and arguments.
    data_dir : path, optional
        Folder to read the files from; by default they are the package's own.
    save_dir : path, optional
        Folder of kept sets; DeepChem's data folder by default.
    tasks : sequence of str, optional
        Types of entries, or columns of y; all by default.
    potentials : "paw" or "gth", optional
        Of the entries' calculations: PAW with GPAW's datasets (default), which need the package
        gpaw-data, or GTH potentials, which come with PySCF.

    Returns
    -------
    tasks : list of str
        Names of the columns of y; ``["property"]`` for entries of several types.
    datasets : tuple of Dataset
        Training, validation and test set, or all in one. y and w are (n, ntasks), ids the
        crystals, with the property after a colon.
    transformers : list of Transformer
        The transformers that were applied.

    Raises
    ------
    FileNotFoundError
        If data_dir lacks a file.
    ValueError
        If a name of a splitter, transformer, task or kind of potentials is unknown, a set would
        be empty, or the featurizer made nothing of a crystal.

    Examples
    --------
    >>> from deepchem_xc.molnet import load_gpaw_benchmark
    >>> tasks, (train, valid, test), transformers = load_gpaw_benchmark(reload=False)
    >>> tasks, train.ids.tolist()
    (['property'], ['Al:lattice_constant', 'Al:bulk_modulus', 'Ca:lattice_constant',
    'Ca:bulk_modulus'])
    >>> test.y.ravel().round(2).tolist()
    [3.53, 203.92, 0.61]
    """
    return load_collection(
        GPAW_BENCHMARK,
        featurizer,
        splitter,
        transformers,
        reload,
        data_dir,
        save_dir,
        tasks,
        potentials,
    )


def load_solids_eos(
    featurizer: Featurizer | None = None,
    splitter: Splitter | str | None = "fixed",
    transformers: Sequence[TransformerGenerator | str] = (),
    reload: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    tasks: Sequence[str] | None = None,
    potentials: PotentialKind = "paw",
) -> Loaded:
    """Load equations of state of crystals of all kinds of binding by GPAW with PBE.

    Without a featurizer an entry is a curve: energies (eV) at five volumes, or areas of layered
    crystals, which a trained functional reproduces with the settings of the entry. With one, the
    columns of y are the lattice constant (Angstrom) and the bulk modulus (GPa) of GPAW's curves;
    stacked layers, whose height is kept, are then left out, because a featurizer cannot see that.

    By default crystals with Al, Ca or C are the test set: with them no element of
    `load_gpaw_benchmark` is in the training set, and a functional that was trained with this split
    may be tested on both. ``data/README.md`` lists all crystals with their errors.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir, tasks, potentials : optional
        As for `load_gpaw_benchmark`.

    Returns
    -------
    tasks, datasets, transformers : tuple
        As for `load_gpaw_benchmark`; y of the curves is 0, see `DFTEntry.label_summary`.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `load_gpaw_benchmark`.

    Examples
    --------
    >>> from deepchem_xc.molnet import load_solids_eos
    >>> tasks, (train, valid, test), transformers = load_solids_eos(reload=False)
    >>> tasks, train.X[0], train.X[0].get_true_val().shape
    (['eos'], DFTEntry(eos, Si), (5,))
    >>> "SiC" in test.ids
    True
    """
    return load_collection(
        SOLIDS_EOS,
        featurizer,
        splitter,
        transformers,
        reload,
        data_dir,
        save_dir,
        tasks,
        potentials,
    )


def load_solids_experiment(
    featurizer: Featurizer | None = None,
    splitter: Splitter | str | None = "fixed",
    transformers: Sequence[TransformerGenerator | str] = (),
    reload: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    save_dir: str | os.PathLike[str] | None = None,
    *,
    tasks: Sequence[str] | None = None,
    potentials: PotentialKind = "paw",
) -> Loaded:
    """Load measured lattice constants (Angstrom) of cubic crystals without zero-point expansion.

    The 40 crystals, their sources and those left out are in ``data/experiment.json``; the settings
    of the calculations are those of ``benchmarks/experiment.py``.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir, tasks, potentials : optional
        As for `load_gpaw_benchmark`.

    Returns
    -------
    tasks, datasets, transformers : tuple
        As for `load_gpaw_benchmark`.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `load_gpaw_benchmark`.

    Examples
    --------
    >>> from deepchem_xc.molnet import load_solids_experiment
    >>> tasks, datasets, transformers = load_solids_experiment(reload=False)
    >>> tasks, [len(part) for part in datasets]
    (['lattice_constant'], [28, 5, 7])
    >>> float(datasets[2].y.ravel()[datasets[2].ids.tolist().index("Si")])
    5.422
    """
    return load_collection(
        SOLIDS_EXPERIMENT,
        featurizer,
        splitter,
        transformers,
        reload,
        data_dir,
        save_dir,
        tasks,
        potentials,
    )
