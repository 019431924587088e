"""Training of a ranker: AdamW on random parts of the histories, early stopping on validation.

In every epoch each user's training history is divided at random: a part is held out and is to be
predicted from the rest, all of it at once. One history so gives a new sample in every epoch, and
every held-out item is a label. With a single label per history the same model stays at the level
of popularity for tens of epochs.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from memcom.data import Interactions
from memcom.models import Ranker
from memcom.procedures import Schedule, schedule_for
from memcom.training.evaluation import HeldOut, evaluate
from memcom.training.histories import Histories
from memcom.training.losses import sampled_softmax_loss, softmax_loss


class TrainingError(RuntimeError):
    """Training went wrong: the loss is no number any more."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. The defaults were chosen on the validation part of MovieLens, full table.

    Attributes:
        learning_rate: Of AdamW.
        weight_decay: Of AdamW (decoupled: a step shrinks weights by the factor
            ``1 - learning_rate * weight_decay``). Biases of the output are not shrunk.
        batch_size: Users per step.
        epochs: At most so many passes over the users.
        patience: Stop when validation has not improved for so many epochs. Curves have plateaus
            of tens of epochs, so a small patience measures the patience.
        evaluate_every: Epochs between two looks at validation.
        held_out: Expected share of a history that is to be predicted from the rest.
        num_samples: Sampled softmax with so many items per step; None is the exact softmax for at
            most 20,000 items and 4,096 samples above.
        k: Validation is by nDCG@k.
    """

    learning_rate: float = 1e-2
    weight_decay: float = 0.3
    batch_size: int = 128
    epochs: int = 100
    patience: int = 40
    evaluate_every: int = 5
    held_out: float = 0.2
    num_samples: int | None = None
    k: int = 10

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "patience", "evaluate_every", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be in (0, 1), got {self.held_out}")
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise ValueError(
                f"learning_rate must be > 0 and weight_decay >= 0, got {self.learning_rate} "
                f"and {self.weight_decay}"
            )

    def samples_for(self, num_items: int) -> int:
        """Number of samples of the softmax for a vocabulary; 0 is the exact softmax."""
        if self.num_samples is not None:
            return self.num_samples
        return 0 if num_items <= 20_000 else 4096


@dataclass(frozen=True)
class Fit:
    """What happened in training. The model itself holds the weights of the best epoch.

    Attributes:
        best_epoch: Epoch with the best validation score; 0 if nothing was to be learned.
        valid_ndcg: That score.
        epochs: Epochs run.
        seconds: Wall-clock time.
        curve: ``(epoch, mean loss since the last look, validation nDCG@k)`` at every look.
    """

    best_epoch: int
    valid_ndcg: float
    epochs: int
    seconds: float
    curve: list[tuple[int, float, float]] = field(default_factory=list)


def fit(
    model: Ranker,
    data: Interactions,
    options: TrainingOptions | None = None,
    *,
    seed: int = 0,
    progress: bool = False,
    **changes: Any,
) -> Fit:
    """Train a ranker on the training part; stop on the validation part; never see the test part.

    A table that becomes small while it trains (see `memcom.procedures`) follows its schedule, and
    only epochs in which it keeps to its budget can be the best.

    The same seed gives the same weights on a CPU, with the same number of threads. Batches and
    held-out parts depend on the seed only, so that models can be compared on equal samples.

    Args:
        model: Trained in place, on the device it is on; ends with the weights of its best epoch.
        data: Interactions with training and validation parts.
        options: How to train; the defaults if None.
        seed: Of batches, held-out parts and dropout. (The model's own initialisation comes before
            and is the caller's.)
        progress: Show a progress bar.
        **changes: Replace single options, such as ``epochs=20``.

    Returns:
        The training record.

    Raises:
        TrainingError: The loss became infinite or NaN.
        ValueError: There are no histories to train on, or the sizes do not fit.
    """
    options = replace(options or TrainingOptions(), **changes)
    if model.num_items != data.num_items:
        raise ValueError(
            f"the model ranks {model.num_items} items, {data.name} has {data.num_items}"
        )
    start = time.perf_counter()
    device = next(model.parameters()).device
    valid = HeldOut.of(data, "valid").to(device)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        score = float(evaluate(model, valid, k=options.k).ndcg.mean())
        return Fit(0, score, 0, time.perf_counter() - start)

    histories = Histories.of(data, "train")
    users = (histories.lengths >= 2).nonzero()[:, 0]
    if not len(users):
        raise ValueError(f"{data.name}: no user has two training items, nothing to learn from")
    curve: list[tuple[int, float, float]] = []
    best_epoch, best, best_state = 0, -math.inf, {}
    bar = tqdm(total=options.epochs, unit="epoch", disable=not progress, leave=False)
    devices = [device] if device.type == "cuda" else []
    with bar, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        stepper = Stepper(model, data, histories, options, seed)
        stepper.schedule = schedule_for(
            getattr(model, "embedding", model),
            options.epochs * -(-len(users) // options.batch_size),
            model=model,
            optimizer=stepper.optimizer,
            reward=lambda: float(evaluate(model, valid, k=options.k).ndcg.mean()),
        )
        losses = []
        for epoch in range(1, options.epochs + 1):
            losses.append(_epoch(stepper, users))
            bar.update()
            if epoch % options.evaluate_every and epoch < options.epochs:
                continue
            score = float(evaluate(model, valid, k=options.k).ndcg.mean())
            curve.append((epoch, sum(losses) / len(losses), score))
            losses.clear()
            bar.set_postfix(nDCG=f"{score:.4f}")
            if not stepper.within_budget:
                continue
            if score > best:
                best_epoch, best, best_state = epoch, score, copy.deepcopy(model.state_dict())
            elif epoch - best_epoch >= options.patience:
                break
    model.load_state_dict(best_state)
    return Fit(best_epoch, best, epoch, time.perf_counter() - start, curve)


class Stepper:
    """Optimizer, random divisions and loss of one model: what a training step needs.

    Args:
        model: Trained in place.
        data: Gives the popularity that samples are drawn by.
        histories: Training histories of all users.
        options: How to train.
        seed: Of the divisions and samples, drawn on the CPU so that it means the same on every
            device.
    """

    def __init__(
        self,
        model: Ranker,
        data: Interactions,
        histories: Histories,
        options: TrainingOptions,
        seed: int = 0,
    ) -> None:
        self.model, self.histories, self.options = model, histories, options
        self.device = next(model.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = _adamw(model, options)
        self.num_samples = options.samples_for(model.num_items)
        # Between uniform and popularity, as in word2vec; items never seen are drawn as well.
        q = (torch.as_tensor(data.item_counts, dtype=torch.float64) + 1) ** 0.75
        self.cumulative = torch.cumsum(q, 0)
        self.log_q = torch.log(q / q.sum()).float().to(self.device)
        self.schedule: Schedule[Any] | None = None

    @property
    def within_budget(self) -> bool:
        """Whether the table has become as small as it has to be."""
        return self.schedule is None or self.schedule.steps >= self.schedule.prune_steps

    def step(self, users: Tensor) -> Tensor:
        """One update on the histories of ``users (m,)``; returns the loss, detached."""
        loss = self.loss(users)
        loss.backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step(self.histories.take(users).items)
        self.optimizer.zero_grad()
        return loss.detach()

    def loss(self, users: Tensor) -> Tensor:
        """Loss on a fresh random division of the histories of ``users (m,)``."""
        histories = self.histories.take(users)
        chosen = torch.rand(len(histories.items), generator=self.generator) < self.options.held_out
        held_out, given = (part.to(self.device) for part in histories.divide(chosen))
        if not self.num_samples:
            return softmax_loss(self.model, given, held_out)
        draws = torch.rand(self.num_samples, generator=self.generator, dtype=torch.float64)
        samples = torch.searchsorted(self.cumulative, draws * self.cumulative[-1])
        samples = samples.clamp(max=self.model.num_items - 1).to(self.device)
        return sampled_softmax_loss(self.model, given, held_out, samples, self.log_q)


def _epoch(stepper: Stepper, users: Tensor) -> float:
    """One pass over the users in random order; returns the mean loss of its steps."""
    stepper.model.train()
    order = users[torch.randperm(len(users), generator=stepper.generator)]
    batches = order.split(stepper.options.batch_size)
    mean = float(torch.stack([stepper.step(batch) for batch in batches]).mean())
    if not math.isfinite(mean):
        raise TrainingError(
            f"the loss is {mean}; learning rate {stepper.options.learning_rate} may be too large"
        )
    return mean


def _adamw(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """AdamW that shrinks every weight but the biases of items."""
    learned = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    biases = [p for n, p in learned if n in ("output_bias", "bias")]
    weights = [p for n, p in learned if n not in ("output_bias", "bias")]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        fused=True,
    )
