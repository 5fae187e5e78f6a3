"""`DensityModel`: learn the density of electrons of a structure with DeepChem's interface."""

from __future__ import annotations

import inspect
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from ase.units import Hartree
from deepchem.data import Dataset

from deepchem_xc._values import flag, real_number, torch_device, whole_number
from deepchem_xc.densities import DensityLoss, DensityNetwork
from deepchem_xc.densities.files import load_predictor, save_predictor
from deepchem_xc.metrics import density_error
from deepchem_xc.models.density_options import listed, named_function, predictor_of, scales
from deepchem_xc.models.density_rows import density_loss, rows_of, weights_of
from deepchem_xc.models.density_training import DensityTraining
from deepchem_xc.models.options import deepchem_options
from deepchem_xc.models.progress_bar import progress_bar

#: Learning rate unless one is given, batches of one structure.
_LEARNING_RATE = 0.003


class DensityModel(DensityTraining):
    """Predict the density of electrons from a structure: a DeepChem model of records.

    A trained model is a density for calculations: ``scf(..., start=model)`` and
    ``non_self_consistent(..., density=model)``.

    Parameters
    ----------
    elements : str, sequence of str, or mapping of str to float, optional
        Elements of the structures, such as "Si"; those of a network that is given. With
        `other_code` a mapping to their electrons in that code's files, such as ``{"Si": 4}``.
    network : {"atoms", "points"} or DensityNetwork, optional
        Functions around atoms (`AtomDensityNetwork`, electrons exact by construction), points of a
        grid (`ProbeDensityNetwork`), or a network, which the model trains itself.
    target : {"difference", "total"}, optional
        What the network learns: the difference from superposed atoms, or the total density. Both
        have the whole magnetisation, because that of superposed atoms is a guess.
    spin : bool, optional
        Two channels, for structures with initial magnetic moments.
    functional : str or XCFunctional, optional
        Functional of the densities, of which the name counts; a training on energies uses it. PBE
        by default; with `other_code` not known by default.
    pseudopotentials : str, path or mapping, optional
        Potentials of the densities, as for `scf`; "gth-pbe" by default.
    other_code : str, optional
        Learn densities of another code (`read_density`), named as its records' `other_code`, such
        as "chgcar". Calculations refuse such a model.
    ecut : float, optional
        Cutoff (eV) to which records are brought in a training; their own by default.
    loss : {"absolute", "squared", "coulomb"} or DensityLoss, optional
        What a training minimises.
    energy_weight : float, optional
        Weight of a second term of the loss: the error of the free energy that
        `planewave.non_self_consistent` finds at the model's density, Hartree per atom. 0, the
        default, leaves it out. Each step then computes the states of its structures.
    moment_scales : (float, float), optional
        In a training, all initial moments of a structure are scaled by a random number between
        these: their pattern is to count, not a size that was guessed. ``(1, 1)`` keeps them.
    network_options : mapping, optional
        Further keywords of the network, such as ``{"channels": 32}``.
    seed : int, optional
        Seed of initial weights and of the order of structures.
    max_gradient_norm : float, optional
        Scale gradients with a larger norm down to this one.
    log_frequency : int, optional
        Steps from one logged loss to the next; 0 logs only at the end of `fit`.
    progress : bool, optional
        Whether a bar is shown; by default on a terminal and in notebooks.
    device : torch.device or str, optional
        Device of the network; the CPU by default.
    **kwargs
        Keywords of DeepChem's `TorchModel`: batch_size (1 by default), learning_rate, optimizer,
        model_dir ...

    Attributes
    ----------
    network : DensityNetwork
        The network.
    functional : str
        Name of the functional, which calculations compare with theirs.
    elements : tuple of str
        Elements that it knows.
    potentials, atoms : dict
        Hashes of the elements' potentials, and of their atoms in superpositions.
    parameter_gradients : bool
        Whether `density_for` is in the graph of the network's parameters; False by default.
    energy_weight : float
        May be changed between trainings.

    Raises
    ------
    ValueError
        For options that are invalid or contradict a given network.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from deepchem.data import NumpyDataset
    >>> from deepchem_xc.models import DensityModel
    >>> from deepchem_xc.planewave import DensityRecord, scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(2, 2, 2))
    >>> records = np.array([DensityRecord.of(result)], dtype=object)
    >>> model = DensityModel("Si", network_options={"channels": 4, "l_max": 1})
    >>> losses = [model.fit(NumpyDataset(records), 5, checkpoint_interval=0) for _ in range(2)]
    >>> losses[1] < losses[0]
    True
    >>> (found,) = model.predict([bulk("Si", a=5.5)], ecut=100.0)
    >>> print(f"{found.nelectrons:.6f}")
    8.000000
    """

    def __init__(
        self,
        elements: str | Sequence[str] | Mapping[str, float] | None = None,
        *,
        network: str | DensityNetwork = "atoms",
        target: str | None = None,
        spin: bool | None = None,
        functional: str | Any = None,
        pseudopotentials: Any = None,
        other_code: str | None = None,
        ecut: float | None = None,
        loss: str | DensityLoss = "absolute",
        energy_weight: float = 0.0,
        moment_scales: Sequence[float] = (0.5, 2.0),
        network_options: Mapping[str, Any] | None = None,
        seed: int = 0,
        max_gradient_norm: float | None = None,
        log_frequency: int = 0,
        progress: bool | None = None,
        device: Any = None,
        **kwargs: Any,
    ) -> None:
        own = inspect.signature(DensityModel).parameters.keys() - {"kwargs"}
        kwargs = {"batch_size": 1, **deepchem_options(kwargs, own, "DensityModel")}
        if kwargs.get("optimizer") is None:
            kwargs.setdefault("learning_rate", _LEARNING_RATE)
        if kwargs.get("model_dir") is not None:
            kwargs["model_dir"] = os.path.abspath(kwargs["model_dir"])
        self.seed = whole_number(seed, "seed", 0)
        self.max_gradient_norm = (
            None
            if max_gradient_norm is None
            else real_number(max_gradient_norm, "max_gradient_norm")
        )
        if self.max_gradient_norm is not None and not self.max_gradient_norm > 0.0:
            raise ValueError(f"max_gradient_norm must be positive, got {max_gradient_norm!r}.")
        self.progress = None if progress is None else flag(progress, "progress")
        self.density_loss = density_loss(loss)
        self.moment_scales = scales(moment_scales)
        self.ecut = None if ecut is None else real_number(ecut, "ecut", "eV")
        if self.ecut is not None and not self.ecut > 0.0:
            raise ValueError(f"ecut must be positive (eV), got {ecut!r}.")
        self._cutoff = None if self.ecut is None else self.ecut / Hartree
        self.predictor, self._pseudopotentials = predictor_of(
            *(elements, network, target, spin, functional, pseudopotentials, other_code),
            *(network_options, self.seed),
        )
        self.energy_weight = energy_weight
        self._functional = functional
        super().__init__(
            self.network,
            loss=lambda outputs, labels, weights: None,
            output_types=["prediction"],
            # Not 0, because TorchModel divides by it.
            log_frequency=whole_number(log_frequency, "log_frequency", 0) or 10**9,
            device=torch_device(device) or torch_device("cpu"),
            **kwargs,
        )

    @property
    def network(self) -> DensityNetwork:
        """The network."""
        return self.predictor.network

    @property
    def functional(self) -> str | None:
        """Name of the functional of the densities; None where another code's is not known."""
        return self.predictor.functional

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that it knows."""
        return self.predictor.elements

    @property
    def target(self) -> str:
        """What the network learns: "difference" or "total"."""
        return self.predictor.target

    @property
    def potentials(self) -> dict[str, str]:
        """Hash of each element's potential."""
        return self.predictor.potentials

    @property
    def atoms(self) -> dict[str, str]:
        """Hash of each element's atom in superpositions."""
        return self.predictor.atoms

    @property
    def parameter_gradients(self) -> bool:
        """Whether `density_for` is in the graph of the network's parameters."""
        return self.predictor.parameter_gradients

    @parameter_gradients.setter
    def parameter_gradients(self, value: bool) -> None:
        self.predictor.parameter_gradients = flag(value, "parameter_gradients")

    @property
    def energy_weight(self) -> float:
        """Weight of the free energy's error (Hartree per atom) in the loss."""
        return self._energy_weight

    @energy_weight.setter
    def energy_weight(self, value: float) -> None:
        weight = real_number(value, "energy_weight")
        if not 0.0 <= weight < math.inf:
            raise ValueError(
                f"energy_weight must be at least 0 (loss per Hartree per atom), got {value!r}."
            )
        if weight > 0.0:
            self.predictor.check_calculations()
        self._energy_weight = weight

    def density_for(self, problem: Any) -> Any:
        """Density of a problem's structure on its plane waves, as `planewave.DensitySource`.

        Parameters
        ----------
        problem : KohnShamProblem
            Of known elements with the same potentials.

        Returns
        -------
        Fields
            (nspin, nG), bohr^-3, in the graph of positions and lattice where these require
            gradients, and with `parameter_gradients` of the network's parameters.

        Raises
        ------
        ValueError
            For elements, potentials, atoms or a spin that it does not know.
        """
        return self.predictor.density_for(problem)

    def predict(
        self, dataset: Any, transformers: Any = (), *, ecut: float | None = None
    ) -> list[Any]:
        """Records of predicted densities.

        Parameters
        ----------
        dataset : Dataset, structure or sequence
            Structures (ASE Atoms, pymatgen Structure, Crystal) or records, also as X of a data set.
            Differences from another code's superposition need records that have one.
        transformers : optional
            Not used: densities are not transformed.
        ecut : float, optional
            Cutoff, eV; that of a record, or of the training, by default.

        Returns
        -------
        list of DensityRecord
            One for each structure, with potentials, atoms and functional.

        Raises
        ------
        ValueError
            For no structures, elements or a spin that the model does not know, and without a
            cutoff.
        """
        structures = rows_of(dataset) if isinstance(dataset, Dataset) else listed(dataset)
        if not structures:
            raise ValueError("there are no structures to predict densities of: give at least one.")
        found = []
        for one in self._shown(structures, "densities"):
            cutoff = self.ecut if ecut is None and not hasattr(one, "fields") else ecut
            found.append(self.predictor.record(one, cutoff))
        return found

    def evaluate(
        self,
        dataset: Dataset,
        metrics: Any = density_error,
        transformers: Any = (),
        per_task_metrics: bool = False,
        use_sample_weights: bool = False,
        n_classes: int = 2,
    ) -> dict[str, float]:
        """Mean of metrics over the structures of a data set.

        Parameters
        ----------
        dataset : Dataset
            X holds records; each is compared at its own cutoff.
        metrics : function, Metric or list, optional
            Functions of two densities (nspin, n1, n2, n3), predicted and kept, bohr^-3, as
            `metrics.density_error` (%).
        transformers, per_task_metrics, n_classes : optional
            Not used.
        use_sample_weights : bool, optional
            Whether structures count by w.

        Returns
        -------
        dict
            ``{name of the metric: mean}``.

        Raises
        ------
        ValueError
            As `fit`.
        """
        given = metrics if isinstance(metrics, (list, tuple)) else [metrics]
        values = self.compare(dataset, [named_function(one)[1] for one in given])
        weighting = weights_of(dataset) if use_sample_weights else None
        return {
            named_function(one)[0]: float(np.average(column, weights=weighting))
            for one, column in zip(given, values.T, strict=True)
        }

    def compare(
        self, dataset: Dataset, metrics: Sequence[Any] = (density_error,), atoms: bool = False
    ) -> np.ndarray:
        """Metrics of each structure of a data set, (n, number of metrics).

        Parameters
        ----------
        dataset, metrics
            As for `evaluate`, metrics as functions.
        atoms : bool, optional
            Compare the superposition of atoms instead of the prediction.
        """
        values = []
        for record in self._shown(rows_of(dataset), "comparing"):
            self.predictor.check_record(record)
            made = self.predictor.superposed if atoms else self.predictor.record
            density = made(record).density
            values.append([metric(density, record.density) for metric in metrics])
        return np.array(values, dtype=np.float64)

    def energy_errors(self, dataset: Dataset) -> np.ndarray:
        """Errors of the Harris-Foulkes free energy at predicted densities, (n,), eV per atom.

        Each is that of `planewave.non_self_consistent` with the settings of the record, less the
        record's free energy.

        Parameters
        ----------
        dataset : Dataset
            X holds records with free energies.

        Raises
        ------
        ValueError
            As `fit` with an `energy_weight`.
        """
        references = self._energy_references(dataset)
        with torch.no_grad():
            errors = [float(x.error(self.predictor)) for x in self._shown(references, "energies")]
        return np.array(errors, dtype=np.float64) * Hartree

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the model to one safetensors file; without a path a checkpoint, as DeepChem does.

        Parameters
        ----------
        path : path, optional
            Should end in .safetensors. The file holds network, elements, functional, and hashes of
            potentials and atoms; a training is resumed from checkpoints.

        Raises
        ------
        ValueError
            For a network of your own class, and NaN in its parameters.
        """
        if path is None:
            self.save_checkpoint()
        else:
            save_predictor(self.predictor, path, self._pseudopotentials, self.ecut)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, pseudopotentials: Any = None, **kwargs: Any
    ) -> DensityModel:
        """Model from a file that `save` wrote, or from a name of those that are shipped.

        Parameters
        ----------
        path : path or str
            The file, or a name.
        pseudopotentials : optional
            Potentials of the elements; those that the file names by default.
        **kwargs
            Keywords of `DensityModel` for further training, such as device and learning_rate.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If it is not a complete file of a density model.
        ValueError
            If the potentials are not those that the model was made with.
        """
        predictor, header = load_predictor(path, pseudopotentials)
        given = header["pseudopotentials"] if pseudopotentials is None else pseudopotentials
        return cls(
            network=predictor.network,
            functional=predictor.functional,
            pseudopotentials=given,
            other_code=predictor.other_code,
            **{"ecut": header["ecut"], **kwargs},
        )

    def get_task_type(self) -> str:
        """Kind of the predictions: numbers, ``"regression"``."""
        return "regression"

    def fit_generator(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Refuse batches: `fit` with a data set orders and resumes them."""
        raise ValueError("fit_generator is not supported: give fit a data set of records.")

    def _shown(self, items: Iterable[Any], words: str) -> Iterable[Any]:
        with progress_bar(self.progress, iterable=items, desc=words, unit="structure") as bar:
            yield from bar

    def __getstate__(self) -> dict[str, Any]:
        # Prepared records are made again when they are needed.
        made = {"_kept": type(self._kept)(), "_kept_energies": type(self._kept_energies)()}
        return {**self.__dict__, **made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # DeepChem deletes a temporary folder with its model: a copy needs its own.
        self.__dict__.update(state)
        if self.model_dir_is_temp:
            self.model_dir = tempfile.mkdtemp()
