"""The training loop of every task: random batches, schedules, early stopping, the best weights.

with closing(Learner(model, loss, optimizer, batch_size=128, generator=generator)) as learner:
record = learner.fit(examples, score, epochs=20, patience=3)
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from memcom._annotations import check_fields
from memcom._check import shown, whole
from memcom.embeddings import Regularizers, attach
from memcom.tasks._model import TaskModel


class TrainingError(RuntimeError):
    """Training failed: the loss or the validation score is not finite."""


@dataclass(frozen=True)
class FitRecord:
    """Record of one training. The model itself holds the weights of the best epoch.

    Attributes:
        best_epoch: Epoch with the best validation score; 0 if nothing was to be learned.
        valid: That score, higher is better.
        epochs: Number of epochs run.
        seconds: Wall-clock time.
        curve: ``(epoch, mean loss since the last validation, validation score)``, one entry per
            validation.
    """

    best_epoch: int
    valid: float
    epochs: int
    seconds: float
    curve: list[tuple[int, float, float]] = field(default_factory=list)


class Learner:
    """A model with its loss and optimizer, trained on examples in random batches.

    Args:
        model: Trained in place.
        loss: ``loss(batch)`` is the loss of the examples ``batch (m,)`` as a scalar. What the
            tables of the model add to it is added here; see `CompressedEmbedding.regularizer`.
        optimizer: Optimizer of the model; None if the model has nothing to learn.
        batch_size: Examples per step.
        generator: Draws the order of the examples.
        num_steps: Steps of the whole training. Tables that become small while they train follow
            their schedules over these steps (see `memcom.embeddings`); without it they do not.
        reward: Validation score, for schedules that search.
    """

    def __init__(
        self,
        model: TaskModel,
        loss: Callable[[Tensor], Tensor],
        optimizer: Optimizer | None,
        *,
        batch_size: int,
        generator: torch.Generator,
        num_steps: int | None = None,
        reward: Callable[[], float] | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch_size, self.generator = batch_size, generator
        self.regularizers = Regularizers(model)
        self.schedules = None
        if num_steps is not None:
            self.schedules = attach(model, num_steps, optimizer=optimizer, reward=reward)

    def step(self, batch: Tensor) -> Tensor:
        """Make one update on the examples ``batch (m,)``; returns the loss, detached."""
        assert self.optimizer is not None
        loss = self.loss(batch) + self.regularizers.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.schedules is not None:
            self.schedules.step()
        return loss.detach()

    def learn(self, examples: Tensor) -> float:
        """Run one epoch over ``examples (n,)`` in random order; returns the mean loss."""
        self.model.train()
        order = examples[torch.randperm(len(examples), generator=self.generator)]
        losses = [self.step(batch) for batch in order.split(self.batch_size)]
        return float(torch.stack(losses).mean())

    def fit(
        self,
        examples: Tensor,
        score: Callable[[], float],
        *,
        epochs: int,
        patience: int,
        evaluate_every: int = 1,
        seed: int = 0,
        progress: bool = False,
    ) -> FitRecord:
        """Train until validation stops improving, then restore the best weights.

        Only epochs in which every table is within its budget can be the best. torch's global
        generator, which dropout draws from, is seeded during the training and restored after it.

        Args:
            examples: ``(n,)`` int64 training examples.
            score: Returns the validation score of the model; higher is better.
            epochs: Maximal number of epochs.
            patience: Epochs without improvement before training stops.
            evaluate_every: Epochs between two validations. The last epoch is always validated.
            seed: Seed of dropout.
            progress: Show a progress bar.

        Returns:
            The record. A model with nothing to learn is scored, not trained.

        Raises:
            TrainingError: The loss or the score became infinite or NaN.
        """
        start = time.perf_counter()
        if self.optimizer is None:
            return FitRecord(0, score(), 0, time.perf_counter() - start)
        best_epoch, best, best_state = 0, -math.inf, {}
        curve: list[tuple[int, float, float]] = []
        losses: list[float] = []
        bar = tqdm(total=epochs, unit="epoch", disable=not progress, leave=False)
        with bar, seeded(seed, self.model.device):
            for epoch in range(1, epochs + 1):
                losses.append(_finite(self.learn(examples), "loss"))
                bar.update()
                if epoch % evaluate_every and epoch < epochs:
                    continue
                valid = _finite(score(), "validation score")
                curve.append((epoch, sum(losses) / len(losses), valid))
                losses.clear()
                bar.set_postfix(valid=f"{valid:.4f}")
                if self.schedules is not None and not self.schedules.within_budget:
                    continue
                if valid > best:
                    state = copy.deepcopy(self.model.state_dict())
                    best_epoch, best, best_state = epoch, valid, state
                elif epoch - best_epoch >= patience:
                    break
        self.model.load_state_dict(best_state)
        return FitRecord(best_epoch, best, epoch, time.perf_counter() - start, curve)

    def close(self) -> None:
        """Detach the schedules and the regularizers from the model."""
        self.regularizers.close()
        if self.schedules is not None:
            self.schedules.close()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators inside the block; restore those of the CPU and ``device``."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def learned_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require gradients."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def check_options(options: Any, *at_least_one: str) -> None:
    """Refuse a field of a dataclass that is of another type, or below 1 where 1 is the least.

    Args:
        options: The dataclass.
        *at_least_one: Names of the fields.

    Raises:
        TypeError: A field is not of the type of its annotation.
        ValueError: A number is not finite, or one of those named is out of [1, 2**62].
    """
    check_fields(options)
    for name in at_least_one:
        value = getattr(options, name)
        if not 1 <= value <= 2**62:
            limit = "at least 1" if value < 1 else f"at most {2**62}"
            raise ValueError(f"{name} must be {limit}, got {shown(value)}")


def check_layers(options: Any, *at_least_one: str) -> None:
    """As `check_options`, for a model: its widths, its dropout and its spread too."""
    check_options(options, "embedding_dim", *at_least_one)
    for name in ("hidden", "bottom", "top", "deep"):
        for width in getattr(options, name, ()):
            whole(f"each of {name}", width, 1, 2**31)
    dropout, std = getattr(options, "dropout", 0.0), getattr(options, "std", 1.0)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    if not 0 < std < math.inf:
        raise ValueError(f"std must be > 0 and finite, got {std}")


def _finite(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise TrainingError(f"the {name} is {value}; the learning rate may be too large")
    return value
