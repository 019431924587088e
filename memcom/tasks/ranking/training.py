"""Training of a ranker: options, batches of randomly divided histories, and `fit`.

In every epoch each user's training history is divided at random: a part is held out and predicted
from the rest, all of it at once. One history gives a new sample in every epoch, and every held-out
item is a label. With a single label per history the same model stays at the level of popularity
for tens of epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memcom._annotations import checked
from memcom._check import whole
from memcom.data import Interactions
from memcom.tasks._fit import FitRecord, Learner, check_options
from memcom.tasks._forms import Form
from memcom.tasks._groups import GROUPS, check_rates, optimizer_groups
from memcom.tasks.histories import Histories
from memcom.tasks.ranking.evaluation import HeldOut, evaluate
from memcom.tasks.ranking.loss import pairwise_loss, sampled_softmax_loss, softmax_loss
from memcom.tasks.ranking.model import Ranker


class Batch(NamedTuple):
    """Training histories of some users, divided at random.

    Attributes:
        given: Input histories.
        held_out: Items to be predicted, of the same users.
        samples: int64 ``(S,)`` items drawn with replacement; None for the exact softmax.
        log_q: float32 ``(num_items,)``, logarithm of the probability of drawing each item.
    """

    given: Histories
    held_out: Histories
    samples: Tensor | None
    log_q: Tensor


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training by a softmax over all items.

    The defaults were chosen on the validation part of MovieLens, with the full table.

    Attributes:
        learning_rate: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW (decoupled: a step shrinks weights by the factor
            ``1 - learning_rate * weight_decay``). Biases outside the embedding, batch norm and
            PEP's thresholds are not shrunk.
        rows: ``{"learning_rate": ..., "weight_decay": ...}``, or one of them, where the rows of the
            embedding are to have other values: all its parameters but its own weights.
        weights: The same for the own weights of the embedding: multipliers and biases per id. A
            product of k tables otherwise decays k times as fast as one table.
        dense: The same for all that is not in the embedding.
        batch_size: Users per step.
        epochs: Maximal number of passes over the users.
        patience: Epochs without improvement on validation before training stops. Curves have
            plateaus of tens of epochs, so a small patience measures the patience.
        evaluate_every: Epochs between two validations.
        held_out: Expected share of a history that is predicted from the rest.
        num_samples: Items per step of a sampled softmax; None is the exact softmax for at most
            20,000 items and 4,096 samples above.
        popularity: Samples are drawn with probability proportional to ``(count + 1)`` to this
            power: 0 is uniform, 1 by popularity; between the two, as in word2vec.
        k: Validation is by nDCG@k.
        forms: What a trained full table is measured as too, fitted without training: methods, with
            a ratio where the budget decides their size, as in ``rq@16``.
    """

    learning_rate: float = 1e-2
    weight_decay: float = 0.3
    batch_size: int = 128
    epochs: int = 100
    patience: int = 40
    evaluate_every: int = 5
    held_out: float = 0.2
    num_samples: int | None = None
    popularity: float = 0.75
    k: int = 10
    rows: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    dense: Mapping[str, float] = field(default_factory=dict)
    forms: tuple[str, ...] = ("int8", "int4")

    def __post_init__(self) -> None:
        check_options(self, "batch_size", "epochs", "patience", "evaluate_every", "k")
        if self.num_samples is not None:
            whole("num_samples", self.num_samples, 0, 2**40)
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be in (0, 1), got {self.held_out}")
        if not 0 <= self.popularity <= 4:
            raise ValueError(f"popularity must be in [0, 4], got {self.popularity}")
        for text in self.forms:
            Form.of(text)
        check_rates(self.rates)
        for group in GROUPS:
            check_rates(getattr(self, group), group)

    @property
    def rates(self) -> dict[str, float]:
        """Learning rate and weight decay of all parameters, but for those of single groups."""
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}

    def samples_for(self, num_items: int) -> int:
        """Return the number of samples for a vocabulary; 0 is the exact softmax."""
        if self.num_samples is not None:
            return self.num_samples
        return 0 if num_items <= 20_000 else 4096

    def loss(self, model: Ranker, batch: Batch) -> Tensor:
        """Return the training loss of a batch, a scalar."""
        given, held_out, samples, log_q = batch
        if samples is None:
            return softmax_loss(model, given, held_out)
        return sampled_softmax_loss(model, given, held_out, samples, log_q)


@dataclass(frozen=True)
class PairwiseOptions(TrainingOptions):
    """Options of training by RankNet: those of `TrainingOptions`, with negatives.

    Attributes:
        num_samples: Items drawn per step, shared by its users; each held-out item is paired with
            the samples that its user does not have.
        popularity: As in `TrainingOptions`.
    """

    num_samples: int | None = 256
    popularity: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.num_samples:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}")

    def loss(self, model: Ranker, batch: Batch) -> Tensor:
        """Return RankNet over all pairs of a held-out item and a sample; see `pairwise_loss`."""
        assert batch.samples is not None
        return pairwise_loss(model, batch.given, batch.held_out, batch.samples)


class DividedHistories:
    """Batches of training histories, each divided anew.

    Args:
        data: Gives the training histories, and the popularity that samples are drawn by.
        options: How to divide, and how many samples to draw.
        seed: Seed of the divisions and samples, drawn on the CPU, so that it means the same on
            every device.
        device: Device of the batches.

    Attributes:
        generator: The random generator.
        users: int64 ``(m,)``, the users with at least two training items.

    Raises:
        ValueError: No user has two training items.
    """

    def __init__(
        self,
        data: Interactions,
        options: TrainingOptions,
        seed: int,
        device: torch.device,
    ) -> None:
        self.histories = Histories.of(data, "train")
        self.users = (self.histories.lengths >= 2).nonzero()[:, 0]
        if not len(self.users):
            raise ValueError(f"{data.name}: no user has two training items, nothing to learn from")
        self.options, self.device = options, device
        self.generator = torch.Generator().manual_seed(seed)
        self.num_samples = options.samples_for(data.num_items)
        counts = torch.as_tensor(data.item_counts, dtype=torch.float64)
        q = (counts + 1) ** options.popularity  # items never seen are drawn as well
        self._cumulative = torch.cumsum(q, 0)
        self._log_q = torch.log(q / q.sum()).float().to(device)

    def batch(self, users: Tensor) -> Batch:
        """Divide the histories of ``users (m,)`` at random, and draw the samples."""
        histories = self.histories.take(users)
        items = len(histories.items)
        chosen = torch.rand(items, generator=self.generator) < self.options.held_out
        held_out, given = (part.to(self.device) for part in histories.divide(chosen))
        return Batch(given, held_out, self._draw(), self._log_q)

    def _draw(self) -> Tensor | None:
        if not self.num_samples:
            return None
        draws = torch.rand(self.num_samples, generator=self.generator, dtype=torch.float64)
        samples = torch.searchsorted(self._cumulative, draws * self._cumulative[-1])
        return samples.clamp(max=len(self._cumulative) - 1).to(self.device)


def ranker_learner(
    model: Ranker, histories: DividedHistories, options: TrainingOptions, **schedule: Any
) -> Learner:
    """Return the learner of a ranker; ``schedule`` are `Learner`'s ``num_steps`` and ``reward``."""
    return Learner(
        model,
        lambda users: options.loss(model, histories.batch(users)),
        _adamw(model, options),
        batch_size=options.batch_size,
        generator=histories.generator,
        **schedule,
    )


@checked
def fit(
    model: Ranker,
    data: Interactions,
    options: TrainingOptions | None = None,
    *,
    seed: int = 0,
    progress: bool = False,
    **changes: Any,
) -> FitRecord:
    """Train a ranker on the training part; stop on the validation part; never see the test part.

    The options choose the loss: `TrainingOptions` a softmax over all items, `PairwiseOptions`
    RankNet. A table that becomes small while it trains (see `memcom.embeddings`) follows its
    schedule, and only epochs in which it is within its budget can be the best.

    The same seed gives the same weights on a CPU, with the same number of threads. Batches and
    held-out parts depend on the seed only, so that models can be compared on equal samples.

    Args:
        model: Trained in place, on the device it is on; ends with the weights of its best epoch.
        data: Interactions with training and validation parts.
        options: How to train; the defaults if None.
        seed: Seed of batches, held-out parts, samples and dropout. (The model's own initialisation
            comes before and is the caller's.)
        progress: Show a progress bar.
        **changes: Replace single options, such as ``epochs=20``.

    Returns:
        The training record; its score is nDCG@k.

    Raises:
        TrainingError: The loss became infinite or NaN.
        ValueError: There are no histories to train on, or the sizes do not fit.
    """
    options = replace(options or TrainingOptions(), **changes)
    whole("seed", seed, 0, 2**62)
    if model.num_items != data.num_items:
        raise ValueError(
            f"the model ranks {model.num_items} items, {data.name} has {data.num_items}"
        )
    valid = HeldOut.of(data, "valid").to(model.device)
    histories = DividedHistories(data, options, seed, model.device)
    num_steps = options.epochs * -(-len(histories.users) // options.batch_size)

    def score() -> float:
        return float(evaluate(model, valid, k=options.k).ndcg.mean())

    with closing(
        ranker_learner(model, histories, options, num_steps=num_steps, reward=score)
    ) as learner:
        return learner.fit(
            histories.users,
            score,
            epochs=options.epochs,
            patience=options.patience,
            evaluate_every=options.evaluate_every,
            seed=seed,
            progress=progress,
        )


def _adamw(model: Ranker, options: TrainingOptions) -> torch.optim.Optimizer | None:
    """AdamW of all groups of parameters; None if nothing is to be learned."""
    own = {group: getattr(options, group) for group in GROUPS}
    groups = optimizer_groups(model, options.rates, own)
    return torch.optim.AdamW(groups, fused=True) if groups else None
