"""Metrics with a value per user or row: nDCG@k, Recall@k, accuracy, log loss. And AUC.

The ranking metrics are computed for many users at once:

    DCG@k = sum over relevant items of 1 / log2(rank + 1), where rank <= k
    nDCG  = DCG / (DCG of a ranking with all relevant items in front)

Ties are treated exactly, which is unusual. Items of equal score share their positions: each gets
the mean discount of the positions that the tied items take up together, which is the expected
value under a random order (McSherry and Najork 2008, and scikit-learn's `ndcg_score`). Ids are
sorted by popularity, so breaking ties by id would give a constant scorer the score of the popular
items. Compressors that give several items one vector do produce ties.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from memcom._annotations import checked
from memcom._check import shown

Relevance = Tensor | tuple[Tensor, Tensor]


@checked
def ndcg_at_k(scores: Tensor, relevant: Relevance, k: int = 10) -> Tensor:
    """Return the normalised discounted cumulative gain of the first k positions, binary relevance.

    Args:
        scores: ``(users, items)`` floating point, higher is better. An item at ``-inf`` is no
            candidate: it takes no position and is never found.
        relevant: ``(users, items)`` boolean or 0/1, or the same as compressed rows: a pair of
            int64 tensors ``offsets (users + 1,)`` and ``items (n,)``, no item twice per user.
        k: Number of positions that count; fewer items than k all count.

    Returns:
        ``(users,)`` float32 values in [0, 1]; NaN for a user without relevant items. Average with
        ``nanmean``.

    Raises:
        ValueError: Shapes do not fit, ``k < 1``, or a score is NaN.
    """
    return ndcg_and_recall_at_k(scores, relevant, k)[0]


@checked
def recall_at_k(scores: Tensor, relevant: Relevance, k: int = 10) -> Tensor:
    """Return the share of a user's relevant items that are among the first k.

    Args:
        scores: As for `ndcg_at_k`.
        relevant: As for `ndcg_at_k`.
        k: Number of positions that count.

    Returns:
        ``(users,)`` float32 values in [0, 1], NaN for a user without relevant items. The
        denominator is the number of relevant items, so with more than k of them the value stays
        below 1.

    Raises:
        ValueError: As `ndcg_at_k`.
    """
    return ndcg_and_recall_at_k(scores, relevant, k)[1]


@checked
def ndcg_and_recall_at_k(scores: Tensor, relevant: Relevance, k: int = 10) -> tuple[Tensor, Tensor]:
    """Return `ndcg_at_k` and `recall_at_k`, computed together.

    Args:
        scores: As for `ndcg_at_k`.
        relevant: As for `ndcg_at_k`.
        k: Number of positions that count.

    Returns:
        The two, each ``(users,)`` float32.

    Raises:
        ValueError: As `ndcg_at_k`.
    """
    places = torch.arange(_positions(scores, k), dtype=torch.float64, device=scores.device)
    discounts = 1 / torch.log2(places + 2)
    gains = torch.stack([discounts, torch.ones_like(discounts)], dim=1)
    found, num_relevant = _expected_gains(scores, relevant, gains)
    ideal = torch.cumsum(discounts, 0)[num_relevant.clamp(1, len(discounts)) - 1]
    best = torch.stack([ideal, num_relevant.clamp(min=1).double()], dim=1)
    values = (found / best).masked_fill((num_relevant == 0)[:, None], torch.nan).float()
    return values[:, 0], values[:, 1]


@checked
def auc(scores: Tensor, label: Tensor) -> float:
    """Return the area under the ROC curve: how often a positive row scores above a negative one.

    A tie counts one half. Computed in one sort, by the rank-sum statistic of Mann and Whitney.

    Args:
        scores: ``(n,)`` floating point, higher says positive.
        label: ``(n,)`` boolean or 0/1.

    Returns:
        A number in [0, 1]; 0.5 for constant scores.

    Raises:
        ValueError: Shapes differ, a score is NaN, or there is only one class.
    """
    if scores.ndim != 1 or scores.shape != label.shape:
        raise ValueError(
            f"scores and label must be (n,), got {tuple(scores.shape)} and {tuple(label.shape)}"
        )
    if torch.isnan(scores).any():
        raise ValueError("scores contain NaN; a ranking needs numbers")
    positive = label != 0
    num_positive = int(positive.sum())
    num_negative = len(label) - num_positive
    if not num_positive or not num_negative:
        raise ValueError(
            f"AUC needs both classes, got {num_positive} positive and {num_negative} negative rows"
        )
    _, place, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = torch.cumsum(counts, 0).double() - (counts - 1).double() / 2
    above = mean_rank[place[positive]].sum() - num_positive * (num_positive + 1) / 2
    return float(above) / (num_positive * num_negative)


@checked
def log_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the negative log likelihood of each row's label, in nats.

    Args:
        logits: ``(n,)`` log odds of class 1, or ``(n, classes)`` unnormalised log probabilities.
        label: ``(n,)`` int64 class numbers.

    Returns:
        ``(n,)`` float32 values >= 0, never infinite for finite logits.

    Raises:
        ValueError: Shapes do not fit.
    """
    _check_rows(logits, label)
    if logits.ndim == 1:
        target = label.to(torch.float64)
        losses = F.binary_cross_entropy_with_logits(logits.double(), target, reduction="none")
    else:
        losses = F.cross_entropy(logits.double(), label, reduction="none")
    return losses.float()


@checked
def accuracy(scores: Tensor, label: Tensor) -> Tensor:
    """Return 1 for each row whose label has the highest score.

    Args:
        scores: ``(n, classes)`` floating point.
        label: ``(n,)`` int64 class numbers.

    Returns:
        ``(n,)`` float32: 1, 0, or 1/t where the label is one of t classes that share the highest
        score, the expected value under a random choice among them.

    Raises:
        ValueError: Shapes do not fit, or a score is NaN.
    """
    _check_rows(scores, label)
    if scores.ndim != 2 or torch.isnan(scores).any():
        raise ValueError(f"scores must be (n, classes) without NaN, got {tuple(scores.shape)}")
    highest = scores == scores.max(dim=1, keepdim=True).values
    return (highest.gather(1, label[:, None])[:, 0] / highest.sum(1)).float()


def _check_rows(scores: Tensor, label: Tensor) -> None:
    if label.ndim != 1 or scores.ndim not in (1, 2) or len(scores) != len(label):
        raise ValueError(
            f"label must be (n,) and scores (n,) or (n, classes), got {tuple(label.shape)} and "
            f"{tuple(scores.shape)}"
        )


def _positions(scores: Tensor, k: int) -> int:
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"scores must be (users, items) with items > 0, got {tuple(scores.shape)}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {shown(k)}")
    return min(k, scores.shape[1])


def _expected_gains(scores: Tensor, relevant: Relevance, gains: Tensor) -> tuple[Tensor, Tensor]:
    """Expected gains ``(users, g)`` of the relevant items, and their number, per user.

    ``gains (k, g)`` are the gains of positions 0 .. k - 1. Only items that reach the score of the
    last position gain anything. Their numbers of better and of equal items give the positions
    they share.
    """
    users, items, num_relevant = _pairs(relevant, scores)
    k = len(gains)
    top = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1).values
    if torch.isnan(top[:, 0]).any():  # NaN sorts first, so one column shows it
        user = int(torch.isnan(top[:, 0]).nonzero()[0])
        raise ValueError(f"scores of row {user} contain NaN; a ranking needs numbers")
    last = top[:, k - 1 : k]
    equal_to_last = (top == last).sum(1)
    crowded = top[:, -1] == last[:, 0]  # equal items may go on behind those we looked at
    equal_to_last[crowded] = (scores[crowded] == last[crowded]).sum(1)

    own = scores[users, items]
    reaches = (own >= last[users, 0]) & (own > -torch.inf)
    users, own = users[reaches], own[reaches, None]
    better = (top[users] > own).sum(1)
    equal = torch.where(
        own[:, 0] == last[users, 0], equal_to_last[users], (top[users] == own).sum(1)
    )
    upto = torch.cat([gains.new_zeros(1, gains.shape[1]), torch.cumsum(gains, 0)])
    share = (upto[(better + equal).clamp(max=k)] - upto[better]) / equal[:, None]
    total = gains.new_zeros(len(scores), gains.shape[1])
    return total.index_add(0, users, share), num_relevant


def _pairs(relevant: Relevance, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Relevant (user row, item) pairs and their number per user, from either form."""
    num_users, num_items = scores.shape
    if isinstance(relevant, Tensor):
        if relevant.shape != scores.shape:
            raise ValueError(
                f"relevant is {tuple(relevant.shape)} and scores {tuple(scores.shape)}; "
                "they must have one shape"
            )
        marked = relevant.to(scores.device) != 0
        users, items = marked.nonzero(as_tuple=True)
        return users, items, marked.sum(1)
    pair = isinstance(relevant, tuple | list) and [isinstance(p, Tensor) for p in relevant]
    if pair != [True, True]:
        raise TypeError(
            f"relevant must be a tensor, or the tensors (offsets, items), got {shown(relevant)}"
        )
    offsets, items = (part.to(scores.device) for part in relevant)
    if len(offsets) != num_users + 1 or int(offsets[-1]) != len(items):
        raise ValueError(
            f"offsets must be ({num_users + 1},) and end in the number of items {len(items)}, "
            f"got ({len(offsets)},) ending in {int(offsets[-1])}"
        )
    if len(items) and not 0 <= int(items.min()) <= int(items.max()) < num_items:
        raise ValueError(f"relevant items must be in [0, {num_items})")
    counts = offsets.diff()
    users = torch.repeat_interleave(torch.arange(num_users, device=scores.device), counts)
    return users, items, counts
