"""Pairwise ranking: RankNet on implicit data.

Burges et al., "Learning to Rank using Gradient Descent", ICML 2005 (equation 3). For a pair of
items with scores s_i and s_j, and y = 1 if i is to stand above j,

    L = -[y log sigma(s_i - s_j) + (1 - y) log(1 - sigma(s_i - s_j))]

Implicit data only has pairs with y = 1: i is an item of the user, held out of the history the
model sees, and j one of the sampled items that the user does not have. Unlike a softmax, the loss
of a pair does not know how many other items there are, and all pairs of a user weigh the same,
whether at the top of the ranking or far below: nDCG@k is not what is optimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from memcom.tasks.histories import Histories
from memcom.tasks.losses import owned
from memcom.tasks.rankers import Ranker
from memcom.tasks.training_options import TrainingOptions


@dataclass(frozen=True)
class PairwiseOptions(TrainingOptions):
    """How to train with RankNet: `TrainingOptions` with negatives.

    Attributes:
        num_samples: Items drawn per step, shared by its users; each held-out item is paired with
            those of them that its user does not have.
        popularity: Negatives are drawn with probability proportional to ``(count + 1)`` to this
            power: 0 is uniform, 1 by popularity.
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
        """RankNet over all pairs of a held-out item and a sample; see `pairwise_loss`."""
        assert samples is not None
        return pairwise_loss(model, given, held_out, samples)


def ranknet_loss(difference: Tensor, above: Tensor | float = 1.0) -> Tensor:
    """The RankNet loss of pairs.

    Args:
        difference: Scores s_i - s_j, floating point of any shape.
        above: y, how likely i is to stand above j, in [0, 1]; broadcast against ``difference``.

    Returns:
        Loss per pair, of the broadcast shape. Never infinite for finite differences.
    """
    # -y log sigma(d) - (1 - y) log(1 - sigma(d)) = softplus(-d) + (1 - y) d
    return F.softplus(-difference) + (1 - torch.as_tensor(above)) * difference


def pairwise_loss(model: Ranker, given: Histories, held_out: Histories, samples: Tensor) -> Tensor:
    """RankNet over the pairs of each user, mean per user, then over the users that have any.

    Args:
        model: Scores any items.
        given: Input histories.
        held_out: Items to stand above, of the same users.
        samples: int64 ``(S,)`` items drawn as negatives. Those that a user has, in either part,
            make no pair with that user.

    Returns:
        A scalar; 0 if there is no pair.
    """
    state = model.encode(given.items, given.offsets)
    negative = model.score(state, samples)
    distinct, place = torch.unique(held_out.items, return_inverse=True)
    rows = held_out.rows
    positive = model.score(state, distinct)[rows, place]

    pairs = ~owned(given, held_out, samples)
    pairs = pairs[rows].to(positive.dtype)
    losses = ranknet_loss(positive[:, None] - negative[rows]) * pairs
    per_user = positive.new_zeros(2, len(given))
    per_user = per_user.index_add(1, rows, torch.stack([losses.sum(1), pairs.sum(1)]))
    has_pairs = per_user[1] > 0
    return (per_user[0] / per_user[1].clamp(min=1)).sum() / has_pairs.sum().clamp(min=1)
