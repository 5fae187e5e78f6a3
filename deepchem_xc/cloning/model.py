"""`FunctionalCloning`: a network that learns the energy density of a known functional."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.optimizers import Adam
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc._values import flag, real_number, whole_number
from deepchem_xc.cloning.checkpoints import CloningCheckpoints
from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.cloning.factors import FactorPoints, check_student, exchange_and_correlation
from deepchem_xc.cloning.least_squares import DampedLeastSquares, LevenbergMarquardt
from deepchem_xc.cloning.loss import CloneLoss
from deepchem_xc.cloning.residuals import check_linear_layers, normal_equations
from deepchem_xc.cloning.samples import dataset_digest, densinfo_of
from deepchem_xc.cloning.schedule import CloningRate
from deepchem_xc.models.density_options import named_function
from deepchem_xc.models.functional import own_copy
from deepchem_xc.models.options import (
    checked_callbacks,
    checked_checkpoints,
    checked_dataset,
    deepchem_options,
)
from deepchem_xc.models.progress_bar import progress_bar
from deepchem_xc.models.training_log import EpochRecord, Stopwatch
from deepchem_xc.xc import (
    ConstrainedGGA,
    ConstrainedMetaGGA,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
    XCFunctional,
    get_xc,
)
from deepchem_xc.xc.ingredients import Ingredients

#: Steps of the protocol.
STEPS = 20_000
STUDENTS = ("constrained", "linear", "unbounded", "unconstrained")


def root_mean_square(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Root of the mean squared difference of two arrays.

    Examples
    --------
    >>> root_mean_square(np.zeros(2), np.array([3.0, 3.0]))
    3.0
    """
    return math.sqrt(float(np.mean((found - wanted) ** 2)))


def new_student(kind: str, parent: XCFunctional, seed: int) -> XCFunctional:
    """A network of the protocol with random weights: three layers of 16 for each part.

    Parameters
    ----------
    kind : {"constrained", "linear", "unbounded", "unconstrained"}
        "constrained": F = 1 + L_a(x net), exchange sees x_2 (and x_3) alone, in each channel. Large
        gradients are not damped, because a parent's need not be. "linear": the same with
        `linear_limit`: parents reach the uniform gas with s^2, and meta-GGAs with alpha - 1, where
        x net has s^3 and (alpha - 1)^2. "unbounded": F = 1 + net, without bounds and uniform limit.
        "unconstrained": F = 1 + net, and exchange is one factor of both channels, which sees x_0
        and x_1, too. Exchange of an open shell depends on the gradient of each channel, of which
        the latter sees the sum alone.
    parent : XCFunctional
        A meta-GGA has a meta-GGA as its student.
    seed : int
        Seed of the weights.

    Examples
    --------
    >>> new_student("constrained", get_xc("r2SCAN"), 0).name
    'clone of r2SCAN'
    """
    if kind not in STUDENTS:
        raise ValueError(f"student must be one of {', '.join(STUDENTS)}, got {kind!r}.")
    tau = Ingredients.TAU in parent.ingredients
    options: dict[str, Any] = {"start": "random", "seed": seed, "name": f"clone of {parent.name}"}
    if kind == "unconstrained":
        return (UnconstrainedMetaGGA if tau else UnconstrainedGGA)(**options)
    bounds = ("uniform_limit", "lieb_oxford", "correlation_bounds") if kind == "unbounded" else ()
    options |= dict.fromkeys((*bounds, "high_gradient"), False)
    if kind == "linear":
        options["linear_limit"] = True
    return (ConstrainedMetaGGA if tau else ConstrainedGGA)(**options)


class FunctionalCloning(CloningCheckpoints):
    """Train a network to be a known functional: a DeepChem model of points in densities.

    The loss is the mean squared error of the factors F_x and F_c (`FactorPoints`) over all points,
    in one batch, as in arXiv:2605.10331. The energy of whole molecules can be added.

    Parameters
    ----------
    parent : str, path-like or XCFunctional
        The functional to clone: a sum of exchange and correlation, anything that `get_xc` takes.
    student : {"constrained", "linear", "unbounded", "unconstrained"} or XCFunctional, optional
        Network of the protocol (`new_student`), or your own; the model trains a copy.
    steps : int, optional
        Steps of the whole training, of which the learning rate is a function.
    energies : KeptEnergies, optional
        Molecules whose energies are a term of the loss.
    energy_weight : float, optional
        Weight of the mean squared error of these energies, 1 / Hartree^2; 0 leaves them out.
    seed : int, optional
        Seed of the initial weights.
    log_frequency : int, optional
        Steps from one record in `history` to the next.
    progress : bool, optional
        Whether a bar is shown; by default on a terminal and in notebooks.
    **kwargs
        Keywords of DeepChem's `TorchModel`: optimizer (such as `LevenbergMarquardt`), learning_rate
        (`CloningRate` by default), model_dir ...

    Attributes
    ----------
    functional : XCFunctional
        The student.
    parent : XCFunctional
        The functional that is cloned.
    history : list of EpochRecord
        Mean losses of the steps since the last record, by term: "factors", "energies".

    Raises
    ------
    ValueError
        For parents that are not a sum of both parts, students that cannot become their clone, and
        invalid options.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import FunctionalCloning, clone_dataset, parent_densities
    >>> kept = parent_densities("PBE", ["H2"], tempfile.mkdtemp(), basis="sto-3g")
    >>> dataset = clone_dataset(kept, 100)
    >>> model = FunctionalCloning("PBE", steps=20)
    >>> before = model.evaluate(dataset)["exchange"]
    >>> _ = model.fit(dataset, checkpoint_interval=0)
    >>> model.evaluate(dataset)["exchange"] < before
    True
    """

    def __init__(
        self,
        parent: str | os.PathLike[str] | XCFunctional,
        student: str | XCFunctional = "constrained",
        *,
        steps: int = STEPS,
        energies: KeptEnergies | None = None,
        energy_weight: float = 0.0,
        seed: int = 0,
        log_frequency: int = 100,
        progress: bool | None = None,
        **kwargs: Any,
    ) -> None:
        own = inspect.signature(FunctionalCloning).parameters.keys() - {"kwargs"}
        kwargs = deepchem_options(kwargs, own, "FunctionalCloning")
        if "batch_size" in kwargs:
            raise ValueError("batch_size would have no effect: all points are in one batch.")
        self.steps = whole_number(steps, "steps")
        self.seed = whole_number(seed, "seed", 0)
        self.parent = get_xc(parent)
        exchange_and_correlation(self.parent)  # refuses parents without both parts
        made = new_student(student, self.parent, self.seed) if isinstance(student, str) else student
        check_student(made, self.parent)
        self.energies = energies
        self.energy_weight = real_number(energy_weight, "energy_weight")
        if not 0.0 <= self.energy_weight < math.inf:
            raise ValueError(f"energy_weight must be at least 0, got {energy_weight!r}.")
        if (energies is not None) != (self.energy_weight > 0.0):
            raise ValueError(
                "energies and a positive energy_weight belong together: give both, or neither."
            )
        self.progress = None if progress is None else flag(progress, "progress")
        if isinstance(kwargs.get("optimizer"), LevenbergMarquardt):
            check_linear_layers(made)
        elif kwargs.get("optimizer") is None:
            rate = kwargs.pop("learning_rate", None)
            kwargs["optimizer"] = Adam(CloningRate(steps=self.steps) if rate is None else rate)
        if kwargs.get("model_dir") is not None:
            kwargs["model_dir"] = os.path.abspath(kwargs["model_dir"])
        super().__init__(
            own_copy(made),
            loss=lambda outputs, labels, weights: None,
            output_types=["prediction"],
            log_frequency=whole_number(log_frequency, "log_frequency"),
            device=torch.device("cpu"),
            **kwargs,
        )

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int | None = None,
        max_checkpoints_to_keep: int = 5,
        checkpoint_interval: int = 1000,
        deterministic: bool = True,
        restore: bool = False,
        variables: list[torch.nn.Parameter] | None = None,
        loss: Callable[..., Any] | None = None,
        callbacks: Callable[..., Any] | list[Callable[..., Any]] | None = None,
        all_losses: list[float] | None = None,
    ) -> float:
        """Train on points; parameters are those of DeepChem's `TorchModel.fit`.

        Parameters
        ----------
        dataset : Dataset
            As `clone_dataset` makes it; y and w are not used.
        nb_epoch : int, optional
            Steps; by default those that are left of `steps`.
        max_checkpoints_to_keep, checkpoint_interval : int, optional
            Number of checkpoints, and steps between them; an interval of 0 writes none.
        deterministic : bool, optional
            Without effect: all points are in each step.
        restore : bool, optional
            Continue from the latest checkpoint, with the weights of a run without interruption.
        variables, loss : optional
            Not supported.
        callbacks : callable or list, optional
            Called as ``f(model, step)`` after every step.
        all_losses : list, optional
            Logged losses are appended to it.

        Returns
        -------
        float
            Mean loss of the steps of the last record.

        Raises
        ------
        ValueError
            For empty data sets and those without points, options without effect, and checkpoints
            of a training on other points, from other weights, with other energies or another
            number of steps.
        RuntimeError
            If the loss is no longer finite; earlier checkpoints are kept.
        """
        for name, given in (("variables", variables), ("loss", loss)):
            if given is not None:
                raise ValueError(f"{name} is not supported; see energy_weight for the loss.")
        keep, interval = checked_checkpoints(max_checkpoints_to_keep, checkpoint_interval)
        hooks = checked_callbacks(callbacks)
        points = self._points(dataset)
        loss_of = CloneLoss(self.functional, points, self.energies, self.energy_weight)
        self._ensure_built()
        identity = dataset_digest(dataset)
        if restore:
            self.restore()
            self._check_resumed(identity)
        self._trained_on = identity
        left = max(self.steps - self._global_step, 0)
        wanted = left if nb_epoch is None else whole_number(nb_epoch, "nb_epoch")
        record, watch, mean = EpochRecord(len(self.history)), Stopwatch(), math.nan
        with progress_bar(self.progress, total=wanted, desc="cloning", unit="step") as bar:
            for i in range(wanted):
                terms = self._step(loss_of)
                for name, value in terms.items():
                    record.add(name, value)
                self._global_step += 1
                bar.update()
                last = i == wanted - 1
                if self._global_step % self.log_frequency == 0 or last:
                    record.seconds = watch.lap()
                    mean = sum(record.loss_by_type.values())
                    bar.set_postfix(loss=f"{mean:.3g}", refresh=False)
                    self.history.append(record)
                    record = EpochRecord(len(self.history))
                    if all_losses is not None:
                        all_losses.append(mean)
                if interval > 0 and (self._global_step % interval == 0 or last):
                    self.save_checkpoint(keep)
                for hook in hooks:
                    hook(self, self._global_step)
        return mean

    def _step(self, loss: CloneLoss) -> dict[str, float]:
        """Take a step; returns the terms of the loss before it."""
        optimizer = self._pytorch_optimizer
        if isinstance(optimizer, DampedLeastSquares):
            first = self._finite(loss.terms())
            optimizer.search(
                lambda: normal_equations(loss), lambda: math.fsum(loss.terms().values())
            )
            return first
        first = {}

        def closure() -> Tensor:
            optimizer.zero_grad()
            with torch.enable_grad():
                terms = self._finite(loss.backward())
            first.update(terms if not first else {})
            return torch.tensor(math.fsum(terms.values()), dtype=torch.float64)

        optimizer.step(closure)
        if self._lr_schedule is not None:
            self._lr_schedule.step()
        return first

    def _finite(self, terms: dict[str, float]) -> dict[str, float]:
        if not all(map(math.isfinite, terms.values())):
            raise RuntimeError(
                f"the loss is {terms} in step {self._global_step}: lower learning_rate, and "
                "restore the last checkpoint."
            )
        return terms

    def predict(self, dataset: Dataset, transformers: Any = ()) -> NDArray[np.float64]:
        """Factors F_x and F_c of the student, (n, 2).

        Parameters
        ----------
        dataset : Dataset
            As for `fit`.
        transformers : optional
            Not used: factors are not transformed.
        """
        points = self._points(dataset)
        with torch.no_grad():
            return np.asarray(points.factors(self.functional).T.numpy())

    def evaluate(
        self,
        dataset: Dataset,
        metrics: Any = root_mean_square,
        transformers: Any = (),
        per_task_metrics: bool = False,
        use_sample_weights: bool = False,
        n_classes: int = 2,
    ) -> dict[str, float]:
        """Errors of the factors at the points of a data set.

        Parameters
        ----------
        dataset : Dataset
            As for `fit`.
        metrics : function or Metric, optional
            Function of wanted and found factors, (n,) each; the root mean square by default.
        transformers, per_task_metrics, use_sample_weights, n_classes : optional
            Not used.

        Returns
        -------
        dict
            ``{"exchange": error of F_x, "correlation": error of F_c}``.
        """
        _, metric = named_function(metrics)
        points = self._points(dataset)
        with torch.no_grad():
            found = points.factors(self.functional).numpy()
        pairs = zip(points.wanted.numpy(), found, strict=True)
        values = [float(metric(wanted, given)) for wanted, given in pairs]
        return dict(zip(("exchange", "correlation"), values, strict=True))

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the student to one file for `get_xc`; without a path a checkpoint.

        Parameters
        ----------
        path : path, optional
            Ends in .safetensors.
        """
        if path is None:
            self.save_checkpoint()
        else:
            self.functional.save(path)

    def get_task_type(self) -> str:
        """Kind of the predictions: numbers, ``"regression"``."""
        return "regression"

    def fit_generator(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Refuse batches: all points are in each step."""
        raise ValueError("fit_generator is not supported: give fit a data set of points.")

    def _points(self, dataset: Any) -> FactorPoints:
        rows = np.asarray(checked_dataset(dataset).X)
        return FactorPoints(self.parent, self.functional, densinfo_of(rows))
