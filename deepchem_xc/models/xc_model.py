"""`XCModel`: train an exchange-correlation functional with DeepChem's interface."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.losses import Loss
from deepchem.trans import Transformer

from deepchem_xc._modes import refuse_inference_tensors
from deepchem_xc._values import flag, real_number, torch_device, whole_number
from deepchem_xc.losses.objective import LossFunction, Objective, elementwise
from deepchem_xc.models.checkpoint import (
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from deepchem_xc.models.dft_xc import DFTXC
from deepchem_xc.models.functional import make_functional
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.models.optimizers import with_weight_decay
from deepchem_xc.models.options import (
    checked_dataset,
    checked_transformers,
    deepchem_options,
)
from deepchem_xc.models.training_loop import TrainingLoop
from deepchem_xc.parallel import Jobs, checked_jobs
from deepchem_xc.xc import XCFunctional


class XCModel(TrainingLoop):
    """Train a functional on `DFTEntry` objects: DeepChem's `XCModel`, extended to crystals.

    Parameters
    ----------
    xcstr : str, optional
        Known functional of a `HybridXC`, ``a * network + b * xcstr``.
    nnmodel : torch.nn.Module, optional
        Its network; by default one described by the next four parameters.
    input_size, hidden_size, n_layers, modeltype : int, optional
        The default network: inputs (by default 2 for an LDA, 3 otherwise), width, number of
        hidden layers, and 1 (softplus) or 2 (the last activation is exp(x) - 1).
    n_tasks : int, optional
        Number of columns of y, which `get_num_tasks` returns; data sets with any other number work.
    log_frequency : int, optional
        Steps from one logged loss to the next; 0 logs only at the end of `fit`. Losses, and a line
        for each epoch, are messages of level INFO of the logger "deepchem_xc.models".
    mode : str, optional
        Ignored; for compatibility with DeepChem.
    device : torch.device, optional
        Device of functional and calculations; the CPU by default.
    functional : str or XCFunctional, optional
        Any functional with trainable parameters, instead of `xcstr` and `nnmodel`. The model
        trains a copy, `model.functional`, in float64; the given object, or `nnmodel`, stays as it
        is, so that all models of a hyperparameter search begin with the same one.
    loss, scales, type_weights : optional
        See `Objective`.
    scf_interval : int, optional
        Epochs between self-consistent calculations for entries that depend only on energies
        (energy, eos, lattice_constant, bulk_modulus, cohesive_energy; of molecules ae and ie). In
        between, energies follow the functional at the kept density. Other entries are
        self-consistent in every epoch.
    entropy_response : bool, optional
        Exact gradients of the smeared energies, instead of those of the free energy, at one adjoint
        equation for every calculation. It needs ``scf_interval=1``, for which it is the default.
    on_failure : str, optional
        What to do with an entry whose calculation does not converge or has no minimum: ``"raise"``
        an error, or ``"skip"`` it: leave it out of this epoch, and of the metrics of a data set
        (its prediction is NaN), and count it.
    transformers : sequence of deepchem Transformer, optional
        Transformers applied to y of the data sets, such as `NormalizationTransformer`. They are
        undone before y is compared with predictions, which are in the labels' units.
    solver : mapping, optional
        Keywords of `planewave.scf` for all entries, such as ``{"convergence": {"density": 1e-5}}``;
        those of a system take precedence. All that do not belong to one structure are valid:
        `feat.solver_options.SOLVER_OPTIONS`. Of molecules, ``{"molecules": {"level_shift": 0.2}}``.
    cache_dir : path, optional
        Keep densities and orbitals in files there; see `GroundStates`. Here and in ``model_dir``,
        a relative path refers to the working directory at the time the model is made.
    seed : int, optional
        Seed of the order of entries, which differs from epoch to epoch.
    aweight0, bweight0 : float, optional
        Initial weights of `HybridXC`.
    max_gradient_norm : float, optional
        Scale gradients with a larger norm down to this one; `history` has the norms.
    weight_decay : float, optional
        Decay of the matrices of networks; biases and single parameters do not decay. Without
        `optimizer` it makes DeepChem's AdamW the optimiser; see `WithWeightDecay`.
    progress : bool, optional
        Whether `fit` and predictions show a bar; by default on a terminal and in notebooks, if it
        takes more than a second.
    jobs : int, str or distributed.Client, optional
        Compute side by side, see `parallel.parallel_map`: predictions, and in trainings the
        self-consistent calculations of a batch whose entries depend only on energies, which needs
        ``scf_interval`` above 1 or ``entropy_response=False``. Others run in this process.
    **kwargs
        Keywords of DeepChem's `TorchModel`: batch_size, learning_rate, optimizer, model_dir ...
        Optimisers that evaluate losses within a step, such as `LBFGS`, work; entries that depend
        only on energies then need no further self-consistent calculations.

    Attributes
    ----------
    skipped : dict
        ``{entry name: reason}`` of the last prediction or evaluation.

    Raises
    ------
    ValueError
        For options that are invalid or would have no effect (those of a network or of `HybridXC`
        beside `functional`), and a functional without parameters, or with NaN in them.

    Notes
    -----
    Labels are y of the data set: numbers in the entries' units, or the output of `transformers`.
    Where an entry holds a different label, y takes precedence, with a `LabelWarning`. Labels that
    are arrays come from the entries.

    `predict` returns one number for each entry, with the shape of y, so that DeepChem's metrics can
    compare the two: the value in the label's unit, or, if the label is an array, the root mean
    square deviation from it. `predict_values` returns the arrays.

    Examples
    --------
    >>> from deepchem.data import NumpyDataset
    >>> from deepchem_xc.data import DFTEntry, entry_arrays
    >>> from deepchem_xc.xc import PBE
    >>> from deepchem_xc.models import XCModel
    >>> silicon = {
    ...     "structure": {"symbols": ["Si", "Si"],
    ...                   "cell": [[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]],
    ...                   "scaled_positions": [[0, 0, 0], [0.25, 0.25, 0.25]]},
    ...     "ecut": 100.0, "kpts": [2, 2, 2]}
    >>> entry = DFTEntry.create("energy", -214.0, [silicon])
    >>> dataset = NumpyDataset(*entry_arrays([entry]))
    >>> model = XCModel(functional=PBE(trainable=True), batch_size=1, learning_rate=0.01)
    >>> losses = [model.fit(dataset, nb_epoch=1, checkpoint_interval=0) for _ in range(2)]
    >>> losses[1] < losses[0]
    True
    """

    def __init__(
        self,
        xcstr: str | None = None,
        nnmodel: torch.nn.Module | None = None,
        input_size: int | None = None,
        hidden_size: int = 10,
        n_layers: int = 1,
        modeltype: int = 1,
        n_tasks: int = 0,
        log_frequency: int = 0,
        mode: str = "regression",
        device: torch.device | str | None = None,
        *,
        functional: str | XCFunctional | None = None,
        loss: Loss | LossFunction | None = None,
        scales: Mapping[str, float] | None = None,
        type_weights: Mapping[str, float] | None = None,
        scf_interval: int = 10,
        entropy_response: bool | None = None,
        on_failure: str = "raise",
        transformers: Transformer | Sequence[Transformer] | None = (),
        solver: Mapping[str, Any] | None = None,
        cache_dir: str | Path | None = None,
        seed: int = 0,
        aweight0: float = 0.0,
        bweight0: float = 1.0,
        max_gradient_norm: float | None = None,
        weight_decay: float | None = None,
        progress: bool | None = None,
        jobs: Jobs | None = None,
        **kwargs: Any,
    ) -> None:
        if on_failure not in ("raise", "skip"):
            raise ValueError(f"on_failure must be 'raise' or 'skip', got {on_failure!r}.")
        if entropy_response is not None and not isinstance(entropy_response, bool):
            raise ValueError(
                f"entropy_response must be True, False or None, got {entropy_response!r}."
            )
        kwargs = deepchem_options(kwargs, inspect.signature(XCModel).parameters.keys() - {"kwargs"})
        kwargs["optimizer"] = with_weight_decay(
            kwargs.get("optimizer"), kwargs.get("learning_rate", 0.001), weight_decay
        )
        if max_gradient_norm is not None:
            max_gradient_norm = real_number(max_gradient_norm, "max_gradient_norm")
            if not max_gradient_norm > 0:
                raise ValueError(f"max_gradient_norm must be positive, got {max_gradient_norm}.")
        if progress is not None:
            progress = flag(progress, "progress")
        self.max_gradient_norm, self.progress = max_gradient_norm, progress
        log_frequency = whole_number(log_frequency, "log_frequency", 0)
        scf_interval = whole_number(scf_interval, "scf_interval")
        place = torch_device(device) or torch.device("cpu")
        if kwargs.get("model_dir") is not None:
            kwargs["model_dir"] = os.path.abspath(kwargs["model_dir"])
        if cache_dir is not None:
            cache_dir = Path(cache_dir).absolute()
        chosen = make_functional(
            functional,
            xcstr,
            nnmodel,
            input_size=input_size,
            hidden_size=hidden_size,
            n_layers=n_layers,
            modeltype=modeltype,
            weights=(aweight0, bweight0),
            copied=True,
        )
        tensors = (*chosen.parameters(), *chosen.buffers())
        refuse_inference_tensors("the functional", tensors)
        if not isinstance(solver or {}, Mapping):
            raise ValueError(f"solver must be a dictionary of keywords, got {solver!r}.")
        options = dict(solver or {})
        if place.type != "cpu":
            options.setdefault("device", str(place))
        ground_states = GroundStates(chosen, scf_interval, options, entropy_response, cache_dir)
        ground_states.jobs = checked_jobs(jobs)
        self.objective = Objective(loss, scales, type_weights)
        self.xc, self.mode, self.n_tasks = xcstr, mode, n_tasks
        self.on_failure, self.seed = on_failure, whole_number(seed, "seed", 0)
        self.transformers = checked_transformers(transformers)
        self.skipped: dict[str, str] = {}
        super().__init__(
            DFTXC(chosen, ground_states),
            loss=self.objective.function,
            output_types=["prediction"],
            # Not 0, because TorchModel divides by it.
            log_frequency=log_frequency or 10**9,
            device=place,
            **kwargs,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        # DeepChem deletes a model's temporary folder with the model: give a copy its own, or the
        # first to be deleted takes the checkpoints of both.
        self.__dict__.update(state)
        if self.model_dir_is_temp:
            original = state["model_dir"]
            self.model_dir = tempfile.mkdtemp()
            if os.path.isdir(original):
                shutil.copytree(original, self.model_dir, dirs_exist_ok=True)

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int = 10,
        max_checkpoints_to_keep: int = 5,
        checkpoint_interval: int = 1000,
        deterministic: bool = False,
        restore: bool = False,
        variables: list[torch.nn.Parameter] | None = None,
        loss: Loss | LossFunction | None = None,
        callbacks: Callable[..., Any] | list[Callable[..., Any]] | None = None,
        all_losses: list[float] | None = None,
        *,
        validation: Dataset | None = None,
        validation_interval: int = 1,
        patience: int | None = None,
    ) -> float:
        """Train on a data set; parameters are those of DeepChem's `TorchModel.fit`, and three more.

        Started by `torchrun`, several processes share the calculations of each batch; results are
        those of one process.

        Parameters
        ----------
        dataset : Dataset
            X holds entries, (n,) or (n, 1), y their labels, w their weights. With several tasks X,
            y and w are (n, ntasks).
        nb_epoch : int, optional
            Epochs to train for; with `restore`, the interrupted one counts as the first.
        max_checkpoints_to_keep, checkpoint_interval : int, optional
            Number of checkpoints, and steps between them; an interval of 0 writes none.
        deterministic : bool, optional
            Whether entries keep the order of the data set.
        restore : bool, optional
            Continue from the latest checkpoint: weights, optimiser, learning rate, order of entries
            and kept densities are those of a run without interruption. With other `solver` options
            these densities only serve as starts, and the first step is self-consistent; checkpoints
            of 0.1.0 do not contain theirs and are assumed to have the same.
        variables : list of Parameter, optional
            Parameters to train; all by default.
        loss : deepchem Loss or callable, optional
            Loss for this fit; see `Objective`.
        callbacks : callable or list, optional
            Called as ``f(model, step)`` after every step.
        all_losses : list, optional
            Logged losses are appended to it.
        validation : Dataset, optional
            Entries whose loss at self-consistent values is recorded (`history`); the best
            functional so far is kept in the file best.pt of the model's folder, for
            `best_functional` and `restore`. An epoch in which fewer entries failed is better.
        validation_interval : int, optional
            Epochs between validations; each needs a calculation of all its entries.
        patience : int, optional
            Number of successive validations without an improvement that ends the training. The
            functional is then the last one. With `restore`, earlier validations count, otherwise
            they are counted from here.

        Returns
        -------
        float
            Mean loss of the steps since the last logged one.

        Raises
        ------
        ValueError
            For entries without a label, hybrids and entries of crystals, y on another scale than
            the entries' own labels, weights that are negative, NaN or, times those of types, all
            zero, NaN in the functional's parameters, if none of these is trained, and for options
            that would have no effect.
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all entries of an epoch fail, and inside `torch.no_grad` or `inference_mode`.
        """
        nb_epoch = whole_number(nb_epoch, "nb_epoch")
        schedule = None
        if validation is not None:
            chosen = None if loss is None else elementwise(loss)
            schedule = self._schedule(validation, validation_interval, patience, chosen)
        elif patience is not None:
            raise ValueError("patience needs validation=..., the data set to judge by.")
        steps = nb_epoch * -(-np.size(checked_dataset(dataset).X) // self.batch_size)
        return self._train(
            self._epochs(dataset, nb_epoch, deterministic),
            max_checkpoints_to_keep,
            checkpoint_interval,
            restore,
            variables,
            loss,
            callbacks,
            all_losses,
            schedule,
            steps,
        )

    def save_checkpoint(
        self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None
    ) -> None:
        """Write weights, optimiser, position in the training and kept densities.

        Of several processes (`torchrun`), the first one writes.

        Parameters
        ----------
        max_checkpoints_to_keep : int, optional
            Older ones are deleted; 0 writes none.
        model_dir : str, optional
            Folder; the model's by default.
        """
        if max_checkpoints_to_keep > 0 and self._team.leads:
            state = self.training_state().state_dict()
            write_checkpoint(state, Path(model_dir or self.model_dir), max_checkpoints_to_keep)

    def restore(
        self,
        checkpoint: str | None = None,
        model_dir: str | None = None,
        strict: bool | None = True,
    ) -> None:
        """Read what `save_checkpoint` wrote.

        Parameters
        ----------
        checkpoint : str, optional
            A file; the latest one in the folder by default.
        model_dir : str, optional
            Folder; the model's by default.
        strict : bool, optional
            Ignored; a checkpoint of another architecture is always refused.

        Raises
        ------
        ValueError
            If there is no checkpoint, or it is damaged or belongs to another functional.
        """
        latest = latest_checkpoint(Path(model_dir or self.model_dir))
        path = latest if checkpoint is None else Path(checkpoint)
        self.load_training_state(read_checkpoint(path, self.device), str(path))

    def save(self) -> None:
        """Write a checkpoint to the model's folder, as DeepChem's models do.

        ``model.functional.save(path)`` writes the functional itself, for use elsewhere.
        """
        self.save_checkpoint()

    def reload(self) -> None:
        """Read the latest checkpoint of the model's folder, as `restore` does."""
        self.restore()

    def get_task_type(self) -> str:
        """Kind of the predictions: numbers, ``"regression"``."""
        return "regression"

    def get_num_tasks(self) -> int:
        """Number of columns of y: `n_tasks`, or one if it was not given."""
        return max(1, self.n_tasks)
