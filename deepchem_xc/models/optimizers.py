"""Optimisers beside DeepChem's: LBFGS, and weight decay of the networks' matrices alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from deepchem.models.optimizers import AdamW, LearningRateSchedule, Optimizer

from deepchem_xc._values import real_number, whole_number


class LBFGS(Optimizer):
    """Limited-memory BFGS with a line search, for few parameters and the whole data set in a batch.

    A step evaluates the loss up to 1.25 `max_iter` times. Between self-consistent epochs these
    evaluations take the energies at the kept densities and cost next to nothing.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, optional
        Length of the first trial step of a search, in units of the quasi-Newton step.
    max_iter : int, optional
        Iterations in a step.
    history_size : int, optional
        Number of earlier gradients that are kept.

    References
    ----------
    D. C. Liu and J. Nocedal, Mathematical Programming 45, 503 (1989).

    Examples
    --------
    >>> from deepchem_xc.models import LBFGS, XCModel
    >>> from deepchem_xc.xc import PBE
    >>> model = XCModel(functional=PBE(trainable=True), optimizer=LBFGS(max_iter=10))
    >>> model.optimizer.max_iter
    10
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 1.0,
        max_iter: int = 20,
        history_size: int = 20,
    ) -> None:
        super().__init__(learning_rate)
        self.max_iter = whole_number(max_iter, "max_iter")
        self.history_size = whole_number(history_size, "history_size")

    def _create_pytorch_optimizer(self, params: Iterable[torch.nn.Parameter]) -> Any:
        rate = self.learning_rate
        return torch.optim.LBFGS(
            list(params),
            lr=rate.initial_rate if isinstance(rate, LearningRateSchedule) else rate,
            max_iter=self.max_iter,
            history_size=self.history_size,
            line_search_fn="strong_wolfe",
        )


class WithWeightDecay(Optimizer):
    """An optimiser that pulls the matrices of networks to zero, and nothing else.

    Decay is a prior for networks, whose function fades with their matrices. Biases and single
    numbers, such as the kappa and mu of PBE, have no reason to be small, and keep their values.

    Parameters
    ----------
    optimizer : Optimizer
        Of `deepchem.models.optimizers`; it decides how the decay acts: AdamW shrinks matrices by
        learning rate times decay in each step, Adam, RMSProp and GradientDescent add decay times
        the matrix to the gradient.
    weight_decay : float
        At least 0.

    Raises
    ------
    ValueError
        When it is used, if the optimiser has no decay (LBFGS), or the functional no matrices.

    Examples
    --------
    >>> network = torch.nn.Linear(2, 3)
    >>> made = WithWeightDecay(AdamW(0.01), 0.1)._create_pytorch_optimizer(network.parameters())
    >>> [(len(group["params"]), group["weight_decay"]) for group in made.param_groups]
    [(1, 0.1), (1, 0.0)]
    """

    def __init__(self, optimizer: Optimizer, weight_decay: float) -> None:
        super().__init__(optimizer.learning_rate)
        self.optimizer = optimizer
        self.weight_decay = weight_decay

    def _create_pytorch_optimizer(self, params: Iterable[torch.nn.Parameter]) -> Any:
        every = list(params)
        made = self.optimizer._create_pytorch_optimizer(every)
        if "weight_decay" not in made.defaults:
            raise ValueError(
                f"{type(made).__name__} has no weight decay: leave out weight_decay, add a term "
                "with regularization_loss, or take AdamW, Adam, RMSProp or GradientDescent."
            )
        matrices = [p for p in every if p.ndim >= 2]
        if not matrices:
            raise ValueError(
                "weight_decay acts on the matrices of networks, and those that are trained have "
                "none: it would have no effect. Leave it out, or give regularization_loss."
            )
        others = [p for p in every if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        made.param_groups.clear()
        for group in groups:
            made.add_param_group(group)
        return made


def with_weight_decay(
    optimizer: Optimizer | None, learning_rate: Any, weight_decay: Any
) -> Optimizer | None:
    """Optimiser with weight decay; the given one, or None, without it.

    Parameters
    ----------
    optimizer : Optimizer or None
        AdamW with `learning_rate` by default, where there is a decay.
    learning_rate : float or LearningRateSchedule
        Learning rate of that default.
    weight_decay : float or None
        See `WithWeightDecay`.

    Raises
    ------
    ValueError
        If it is not a number of at least 0.

    Examples
    --------
    >>> with_weight_decay(None, 0.01, -1.0)
    Traceback (most recent call last):
    ValueError: weight_decay must be at least 0, got -1.0.
    """
    if weight_decay is None:
        return optimizer
    decay = real_number(weight_decay, "weight_decay")
    if not 0 <= decay < float("inf"):
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay!r}.")
    chosen = AdamW(learning_rate, weight_decay=decay) if optimizer is None else optimizer
    return WithWeightDecay(chosen, decay)
