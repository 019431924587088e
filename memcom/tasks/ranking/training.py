"""Training of a ranker: options, batches of randomly divided histories, and `fit`.

In every epoch each user's training history is divided at random: a part is held out and predicted
from the rest, all of it at once. One history gives a new sample in every epoch, and every held-out
item is a label. With a single label per history the same model stays at the level of popularity
for tens of epochs.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from memcom.data import Interactions
from memcom.tasks._fit import FitRecord, Learner, require_at_least_one
from memcom.tasks.histories import Histories
from memcom.tasks.ranking.evaluation import HeldOut, evaluate
from memcom.tasks.ranking.loss import pairwise_loss, sampled_softmax_loss, softmax_loss
from memcom.tasks.ranking.model import Ranker


@dataclass(frozen=True)
class TrainingOptions:
    """Training by a softmax over all items. Defaults: best on MovieLens' validation, full table.

    Attributes:
        learning_rate: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW (decoupled: a step shrinks weights by the factor
            ``1 - learning_rate * weight_decay``). Biases of the output are not shrunk.
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

    def __post_init__(self) -> None:
        require_at_least_one(self, ("batch_size", "epochs", "patience", "evaluate_every", "k"))
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be in (0, 1), got {self.held_out}")
        if not 0 <= self.popularity <= 4:
            raise ValueError(f"popularity must be in [0, 4], got {self.popularity}")
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise ValueError(
                f"learning_rate must be > 0 and weight_decay >= 0, got {self.learning_rate} "
                f"and {self.weight_decay}"
            )

    def samples_for(self, num_items: int) -> int:
        """Return the number of samples for a vocabulary; 0 is the exact softmax."""
        if self.num_samples is not None:
            return self.num_samples
        return 0 if num_items <= 20_000 else 4096

    def loss(
        self,
        model: Ranker,
        given: Histories,
        held_out: Histories,
        samples: Tensor | None,
        log_q: Tensor,
    ) -> Tensor:
        """Return the training loss of a batch.

        Args:
            model: Scores any items.
            given: Input histories.
            held_out: Items to be predicted, of the same users.
            samples: int64 ``(S,)`` items drawn with replacement; None for the exact softmax.
            log_q: ``(num_items,)`` logarithm of the probability of drawing each item.

        Returns:
            A scalar.
        """
        if samples is None:
            return softmax_loss(model, given, held_out)
        return sampled_softmax_loss(model, given, held_out, samples, log_q)


@dataclass(frozen=True)
class PairwiseOptions(TrainingOptions):
    """Training by RankNet: the options of `TrainingOptions`, with negatives.

    Attributes:
        num_samples: Items drawn per step, shared by its users; each held-out item is paired with
            the samples that its user does not have.
        popularity: As in `TrainingOptions`.
    """

    num_samples: int | None = 256
    popularity: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_samples is None or self.num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}")

    def loss(
        self,
        model: Ranker,
        given: Histories,
        held_out: Histories,
        samples: Tensor | None,
        log_q: Tensor,
    ) -> Tensor:
        """Return RankNet over all pairs of a held-out item and a sample; see `pairwise_loss`."""
        assert samples is not None
        return pairwise_loss(model, given, held_out, samples)


class DividedHistories:
    """Batches of training histories, divided at random anew each time.

    Args:
        data: Gives the training histories, and the popularity that samples are drawn by.
        options: How to divide, and how many samples to draw.
        generator: Random generator on the CPU, so that a seed means the same on every device.

    Attributes:
        users: int64 ``(m,)``, the users with at least two training items.
        log_q: float32 ``(num_items,)``, logarithm of the probability of drawing each item.

    Raises:
        ValueError: No user has two training items.
    """

    def __init__(
        self, data: Interactions, options: TrainingOptions, generator: torch.Generator
    ) -> None:
        self.histories = Histories.of(data, "train")
        self.users = (self.histories.lengths >= 2).nonzero()[:, 0]
        if not len(self.users):
            raise ValueError(f"{data.name}: no user has two training items, nothing to learn from")
        self.options, self.generator = options, generator
        self.num_samples = options.samples_for(data.num_items)
        counts = torch.as_tensor(data.item_counts, dtype=torch.float64)
        q = (counts + 1) ** options.popularity  # items never seen are drawn as well
        self._cumulative = torch.cumsum(q, 0)
        self.log_q = torch.log(q / q.sum()).float()

    def batch(self, users: Tensor) -> tuple[Histories, Histories, Tensor | None]:
        """Return the input and the held-out part of ``users (m,)``, and the samples ``(S,)``."""
        histories = self.histories.take(users)
        items = len(histories.items)
        chosen = torch.rand(items, generator=self.generator) < self.options.held_out
        held_out, given = histories.divide(chosen)
        return given, held_out, self._draw() if self.num_samples else None

    def _draw(self) -> Tensor:
        draws = torch.rand(self.num_samples, generator=self.generator, dtype=torch.float64)
        samples = torch.searchsorted(self._cumulative, draws * self._cumulative[-1])
        return samples.clamp(max=len(self._cumulative) - 1)


def ranker_learner(
    model: Ranker, histories: DividedHistories, options: TrainingOptions, **schedule: Any
) -> Learner:
    """Return the learner of a ranker; ``schedule`` are `Learner`'s ``num_steps`` and ``reward``."""
    device = model.device
    log_q = histories.log_q.to(device)

    def loss(users: Tensor) -> Tensor:
        given, held_out, samples = histories.batch(users)
        samples = samples if samples is None else samples.to(device)
        return options.loss(model, given.to(device), held_out.to(device), samples, log_q)

    return Learner(
        model,
        loss,
        _adamw(model, options),
        batch_size=options.batch_size,
        generator=histories.generator,
        **schedule,
    )


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
    if model.num_items != data.num_items:
        raise ValueError(
            f"the model ranks {model.num_items} items, {data.name} has {data.num_items}"
        )
    valid = HeldOut.of(data, "valid").to(model.device)
    histories = DividedHistories(data, options, torch.Generator().manual_seed(seed))
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
    """AdamW that shrinks every weight but the biases of items; None if nothing is to be learned."""
    learned = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not learned:
        return None
    biases = [p for n, p in learned if n in ("output_bias", "bias")]
    weights = [p for n, p in learned if n not in ("output_bias", "bias")]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        fused=True,
    )
