"""How a ranker is trained by a softmax: on all items, or on samples where there are many."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from memcom.tasks.histories import Histories
from memcom.tasks.losses import sampled_softmax_loss, softmax_loss
from memcom.tasks.rankers import Ranker


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
        popularity: Samples are drawn with probability proportional to ``(count + 1)`` to this
            power, 0 uniform, 1 by popularity; between the two, as in word2vec.
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
        for name in ("batch_size", "epochs", "patience", "evaluate_every", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
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
        """Number of samples of the softmax for a vocabulary; 0 is the exact softmax."""
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
        """What is minimised.

        Args:
            model: Scores any items.
            given: Input histories.
            held_out: What is to be predicted, of the same users.
            samples: ``(S,)`` items drawn with replacement; None where no samples are used.
            log_q: ``(num_items,)`` logarithm of the probability of drawing each item.

        Returns:
            A scalar.
        """
        if samples is None:
            return softmax_loss(model, given, held_out)
        return sampled_softmax_loss(model, given, held_out, samples, log_q)
