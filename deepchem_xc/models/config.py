"""The configuration file of `deepchem-xc train`: its keys, and the model built from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from deepchem.models.losses import HuberLoss, L1Loss, L2Loss
from deepchem.models.optimizers import Adam, AdamW, ExponentialDecay, Optimizer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deepchem_xc import xc
from deepchem_xc.feat.schema import describe_mistakes
from deepchem_xc.feat.solver_options import SolverSpec
from deepchem_xc.models.functional import ignored_options
from deepchem_xc.models.optimizers import LBFGS
from deepchem_xc.models.own_class import build, load_class
from deepchem_xc.models.xc_model import XCModel
from deepchem_xc.parallel import Jobs
from deepchem_xc.xc.registry import trained_classes, trained_files

_LOSSES = {"l2": L2Loss, "l1": L1Loss, "huber": HuberLoss}
#: Functionals with parameters, by the name of their class.
FUNCTIONALS = (*trained_classes(), *trained_files())


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class FunctionalSpec(_Spec):
    """Functional to train: a class with options, a file, or a network beside a known functional.

    The trained functionals that come with the project are types too, without options. A class of
    your own is given by the path of its module.

    Examples
    --------
    >>> FunctionalSpec(type="PBE").make_functional().name
    'PBE'
    """

    type: Literal[FUNCTIONALS] | None = Field(  # type: ignore[valid-type]
        None, description=f"one of {', '.join(FUNCTIONALS)}"
    )
    class_: str | None = Field(
        None, alias="class", description="a class of yours, such as package.module.Class"
    )
    options: dict[str, Any] = Field({}, description="keywords of that class")
    file: str | None = Field(None, description="a file that functional.save(...) wrote")
    xcstr: str | None = Field(None, description="a known functional, such as lda_x")
    input_size: int | None = Field(None, gt=0, description="inputs of the network beside xcstr")
    hidden_size: int = Field(10, gt=0, description="width of the network beside xcstr")
    n_layers: int = Field(1, gt=0, description="hidden layers of the network beside xcstr")
    modeltype: Literal[1, 2] = Field(1, description="1 or 2")
    aweight0: float = Field(0.0, description="initial weight of the network beside xcstr")
    bweight0: float = Field(1.0, description="initial weight of xcstr")

    @model_validator(mode="after")
    def _one(self) -> FunctionalSpec:
        if sum(x is not None for x in (self.type, self.class_, self.file, self.xcstr)) != 1:
            raise ValueError("give one of type, class, file and xcstr")
        if self.options and self.type is None and self.class_ is None:
            raise ValueError("options belong to type or class")
        if self.options and self.type in trained_files():
            raise ValueError(
                f"options would have no effect: {self.type} is trained already. Leave them out, or "
                f"take another type: {', '.join(trained_classes())}"
            )
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if ignored := ignored_options(given, has_functional=self.xcstr is None):
            kind = "type" if self.type else "class" if self.class_ else "file"
            raise ValueError(
                f"{', '.join(ignored)} would have no effect beside {kind}: leave out, or give "
                "xcstr; keywords of a type or class belong under options"
            )
        return self

    def make_functional(self, folder: Path | None = None) -> xc.XCFunctional | None:
        """The functional, or None if the model builds it from `xcstr`."""
        if self.file is not None:
            return xc.load_functional((folder or Path()) / self.file)
        if self.class_ is not None:
            try:
                return build(load_class(self.class_, folder), self.options)
            except ValueError as error:
                if str(error).startswith("class:"):
                    raise ValueError(f"functional.{error}") from error
                raise
        if self.type is None:
            return None
        if self.type in trained_files():
            trained: xc.XCFunctional = xc.get_xc(self.type)
            return trained
        return build(trained_classes()[self.type], self.options)


class ScheduleSpec(_Spec):
    """A learning rate that falls by a factor.

    Examples
    --------
    >>> ScheduleSpec(initial=0.01, decay=0.9, steps=10).steps
    10
    """

    initial: float = Field(gt=0, description="learning rate at the beginning")
    decay: float = Field(gt=0, le=1, description="factor, above 0 and at most 1")
    steps: int = Field(gt=0, description="steps between two applications of the factor")


class TrainingSpec(_Spec):
    """Contents of a training's YAML file.

    Examples
    --------
    >>> TrainingSpec(dataset=["data.yaml"], functional={"type": "PBE"}).epochs
    100
    """

    dataset: list[str] = Field(min_length=1, description="YAML files of entries")
    validation: list[str] = Field([], description="YAML files of entries")
    functional: FunctionalSpec = Field(description="a mapping with type, class, file or xcstr")
    epochs: int = Field(100, gt=0, description="number of epochs")
    batch_size: int = Field(1, gt=0, description="entries in a step")
    learning_rate: Annotated[float, Field(gt=0)] | ScheduleSpec = Field(
        1e-3, description="a positive number, or {initial: 0.01, decay: 0.9, steps: 100}"
    )
    optimizer: Literal["adam", "adamw", "lbfgs"] | None = Field(
        None, description="adam, adamw or lbfgs"
    )
    weight_decay: float | None = Field(
        None, ge=0, description="a number, at least 0: decay of the matrices of networks"
    )
    max_gradient_norm: float | None = Field(
        None, gt=0, description="a positive number, to which gradients are scaled down"
    )
    loss: Literal["l2", "l1", "huber"] = Field("l2", description="l2, l1 or huber")
    scales: dict[str, float] = Field({}, description="{type: deviation that counts as one}")
    type_weights: dict[str, float] = Field({}, description="{type: factor of its loss}")
    scf_interval: int = Field(10, gt=0, description="epochs between self-consistent ones")
    entropy_response: bool = Field(False, description="true or false")
    on_failure: Literal["raise", "skip"] = Field("raise", description="raise or skip")
    solver: SolverSpec = Field(
        default_factory=lambda: SolverSpec.model_validate({}),
        description="a mapping with convergence, gradient_tolerance and so on",
    )
    cache: bool = Field(False, description="true keeps densities and orbitals in files")
    validation_interval: int = Field(10, gt=0, description="epochs between validations")
    patience: int | None = Field(
        None, gt=0, description="validations without an improvement that end the training"
    )
    seed: int = Field(0, ge=0, description="a number, at least 0")
    deterministic: bool = Field(False, description="true keeps the order of the entries")
    final_errors: bool = Field(True, description="false ends without the errors of all entries")
    checkpoint_interval: int = Field(1, gt=0, description="epochs between checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given: dict[str, Any] = {
            k: [v] for k in ("dataset", "validation") if isinstance(v := values.get(k), str)
        }
        if values.get("entropy_response") is None:
            # Resolved here because the run folder keeps a copy of the resolved configuration.
            given["entropy_response"] = values.get("scf_interval") == 1
        if values.get("optimizer") == "lbfgs" and values.get("learning_rate") is None:
            given["learning_rate"] = 1.0  # a full quasi-Newton step
        return {**values, **given}

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSpec:
        if self.patience is not None and not self.validation:
            raise ValueError("patience needs validation, the entries to judge by")
        if self.optimizer == "lbfgs":
            given = {"weight_decay": self.weight_decay, "max_gradient_norm": self.max_gradient_norm}
            if ignored := [name for name, value in given.items() if value is not None]:
                raise ValueError(f"{', '.join(ignored)} cannot be combined with lbfgs: leave out")
        return self

    def _make_optimizer(self, rate: Any) -> Optimizer | None:
        """The optimiser; None for the model's own."""
        if self.optimizer is None:
            return None
        if self.optimizer == "lbfgs":
            return LBFGS(rate)
        # Without a decay of every parameter, which is AdamW's default.
        return Adam(rate) if self.optimizer == "adam" else AdamW(rate, weight_decay=0.0)

    def make_model(
        self, folder: Path, output: Path, device: str = "cpu", jobs: Jobs | None = None
    ) -> XCModel:
        """Model for this training.

        Parameters
        ----------
        folder : Path
            Folder to which relative file names refer.
        output : Path
            Folder for checkpoints and cached densities.
        device : str, optional
            Torch device.
        jobs : int, str or distributed.Client, optional
            As for `XCModel`.
        """
        import torch

        torch.manual_seed(self.seed)
        rate: Any = self.learning_rate
        if isinstance(rate, ScheduleSpec):
            rate = ExponentialDecay(rate.initial, rate.decay, rate.steps, staircase=True)
        functional = self.functional
        network = functional.model_dump(exclude={"type", "class_", "options", "file"})
        optimizer = self._make_optimizer(rate)
        step: dict[str, Any] = {"learning_rate": rate} if optimizer is None else {}
        return XCModel(
            functional=functional.make_functional(folder),
            **network,
            device=device,
            loss=_LOSSES[self.loss](),
            scales=self.scales,
            type_weights=self.type_weights,
            scf_interval=self.scf_interval,
            entropy_response=self.entropy_response,
            on_failure=self.on_failure,
            solver=self.solver.model_dump(exclude_none=True),
            cache_dir=output / "densities" if self.cache else None,
            seed=self.seed,
            batch_size=self.batch_size,
            **step,
            optimizer=optimizer,
            weight_decay=self.weight_decay,
            max_gradient_norm=self.max_gradient_norm,
            model_dir=str(output / "checkpoints"),
            jobs=jobs,
        )


def read_training(path: str | Path) -> TrainingSpec:
    """Read a training's configuration file.

    Parameters
    ----------
    path : path
        YAML file.

    Raises
    ------
    ValueError
        With one line for each mistake that names the key and the valid values.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.yaml"
    >>> _ = path.write_text("{dataset: data.yaml, functional: {type: PBE}, epoch: 5}")
    >>> read_training(path)
    Traceback (most recent call last):
    ValueError: train.yaml is not valid:
      epoch: unknown key, did you mean 'epochs'? Valid: dataset, validation, ...
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a mapping with the keys dataset, functional and so on.")
    try:
        return TrainingSpec.model_validate(content)
    except ValidationError as error:
        raise ValueError(describe_mistakes(error, path.name, TrainingSpec)) from None
