"""Losses of rankers: softmax over all items, softmax over sampled items, RankNet over pairs.

All of them score the held-out items of a user above the items the user does not have. The items of
the input are no candidates, as in the evaluation.

    exact     -mean over held-out i of  s_i - log sum_{j not in input} exp(s_j)
    sampled   -mean over held-out i of  s_i - log(exp(s_i) + sum_{samples j} exp(s_j) / (S q_j))
    RankNet    mean over held-out i and samples j of  -log sigma(s_i - s_j)

In the second, j ~ q is drawn S times and divided by its expected number of draws (the log-q
correction of Bengio and Senecal 2008), so that the sum estimates that over all items the user does
not have, for any q.

RankNet (Burges et al., "Learning to Rank using Gradient Descent", ICML 2005, equation 3) is defined
for a pair with scores s_i, s_j and a target y, the probability that i ranks above j:

    L = -[y log sigma(s_i - s_j) + (1 - y) log(1 - sigma(s_i - s_j))]

Implicit data only has pairs with y = 1. Unlike a softmax, the loss of a pair does not depend on the
number of other items, and all pairs of a user weigh the same, at the top of the ranking or far
below: nDCG@k is not what is optimised.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from memcom._annotations import checked
from memcom._check import real
from memcom.tasks.histories import Histories
from memcom.tasks.ranking.model import Ranker


@checked
def softmax_loss(model: Ranker, given: Histories, held_out: Histories) -> Tensor:
    """Return the exact multi-label softmax loss, mean over the users that have held-out items.

    Args:
        model: Scores all items.
        given: Input histories.
        held_out: Items to be predicted, of the same users.

    Returns:
        A scalar; 0 if nothing is held out.
    """
    scores = model(given.items, given.offsets)
    with torch.no_grad():  # exp(-inf) = 0, so these scores have no gradient anyway
        scores[given.rows, given.items] = -torch.inf
    weights = _shares(held_out).to(scores.dtype)
    loss: Tensor = _Softmax.apply(scores, held_out.rows, held_out.items, weights)
    return loss


class _Softmax(torch.autograd.Function):
    """Weighted sum over held-out items of ``log sum_j exp(s_j) - s_i``, which reuses the scores.

    A step holds one matrix of users x items: exponentials replace the scores, and the gradient
    replaces the exponentials. With copies, a step on 17,000 items takes 1.6 times as long.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, rows: Tensor, items: Tensor, weights: Tensor) -> Tensor:
        wanted = torch.dot(scores[rows, items], weights)
        top = scores.amax(dim=1)
        exp = scores.sub_(top[:, None]).exp_()
        total = exp.sum(dim=1)
        of_row = torch.zeros_like(total).index_add_(0, rows, weights)
        ctx.save_for_backward(exp, of_row / total, rows, items, weights)
        return torch.dot(top + total.log(), of_row) - wanted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        exp, of_row, rows, items, weights = ctx.saved_tensors
        exp.mul_((of_row * grad)[:, None])
        exp.index_put_((rows, items), -weights * grad, accumulate=True)
        return exp, None, None, None


@checked
def sampled_softmax_loss(
    model: Ranker, given: Histories, held_out: Histories, samples: Tensor, log_q: Tensor
) -> Tensor:
    """Return the sampled multi-label softmax loss with log-q correction.

    Args:
        model: Scores any items.
        given: Input histories.
        held_out: Items to be predicted, of the same users.
        samples: int64 ``(S,)`` items drawn with replacement, shared by the batch.
        log_q: ``(num_items,)`` logarithm of the probability of drawing each item.

    Returns:
        A scalar; an estimate of `softmax_loss` whose work does not grow with the vocabulary.
    """
    if log_q.shape != (model.num_items,) or not log_q.is_floating_point():
        raise ValueError(
            f"log_q must be floats ({model.num_items},), got {log_q.dtype} {tuple(log_q.shape)}"
        )
    wanted, sampled = _scores(model, given, held_out, samples)
    sampled = sampled - (log_q[samples] + torch.log(log_q.new_tensor(len(samples))))
    sampled = sampled.masked_fill(_owned(given, held_out, samples), -torch.inf)
    others = torch.logsumexp(sampled, dim=1)
    return -_mean_per_user(wanted - torch.logaddexp(wanted, others[held_out.rows]), held_out)


@checked
def pairwise_loss(model: Ranker, given: Histories, held_out: Histories, samples: Tensor) -> Tensor:
    """Return the RankNet loss over the pairs of each user, mean per user, then over users.

    Args:
        model: Scores any items.
        given: Input histories.
        held_out: Items to rank above the samples, of the same users.
        samples: int64 ``(S,)`` items drawn as negatives. A sample that a user has, in either part,
            makes no pair with that user.

    Returns:
        A scalar, the mean over the users that have a pair; 0 if there is none.
    """
    wanted, negative = _scores(model, given, held_out, samples)
    rows = held_out.rows
    pairs = ~_owned(given, held_out, samples)
    pairs = pairs[rows].to(wanted.dtype)
    losses = ranknet_loss(wanted[:, None] - negative[rows]) * pairs
    per_user = wanted.new_zeros(2, len(given))
    per_user = per_user.index_add(1, rows, torch.stack([losses.sum(1), pairs.sum(1)]))
    has_pairs = per_user[1] > 0
    return (per_user[0] / per_user[1].clamp(min=1)).sum() / has_pairs.sum().clamp(min=1)


@checked
def ranknet_loss(difference: Tensor, above: Tensor | float = 1.0) -> Tensor:
    """Return the RankNet loss of pairs.

    Args:
        difference: Scores s_i - s_j, floating point of any shape.
        above: y, the probability that i ranks above j, in [0, 1]; broadcast against
            ``difference``.

    Returns:
        Loss per pair, of the broadcast shape. Never infinite for finite differences.
    """
    if not difference.is_floating_point():
        raise TypeError(f"difference must be floating point, got {difference.dtype}")
    if isinstance(above, Tensor):
        _require_broadcast(difference, above)
    else:
        real("above", above, 0, 1)
    # -y log sigma(d) - (1 - y) log(1 - sigma(d)) = softplus(-d) + (1 - y) d
    return F.softplus(-difference) + (1 - above) * difference


def _require_broadcast(difference: Tensor, above: Tensor) -> None:
    try:
        torch.broadcast_shapes(difference.shape, above.shape)
    except RuntimeError as error:
        raise ValueError(
            f"difference and above must broadcast, got {tuple(difference.shape)} and "
            f"{tuple(above.shape)}"
        ) from error


def _scores(
    model: Ranker, given: Histories, held_out: Histories, samples: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of the held-out items ``(n,)`` and of the samples ``(users, S)``."""
    if samples.ndim != 1 or samples.dtype != torch.int64:
        raise ValueError(f"samples must be int64 (S,), got {samples.dtype} {tuple(samples.shape)}")
    state = model.encode(given.items, given.offsets)
    sampled = model.score(state, samples)
    distinct, place = torch.unique(held_out.items, return_inverse=True)
    return model.score(state, distinct)[held_out.rows, place], sampled


def _owned(given: Histories, held_out: Histories, samples: Tensor) -> Tensor:
    """``(users, S)`` boolean: the user has the sampled item, in either part."""
    distinct, place = torch.unique(samples, return_inverse=True)
    has = torch.zeros(len(given), len(distinct), dtype=torch.bool, device=samples.device)
    for part in (given, held_out):
        column = torch.searchsorted(distinct, part.items).clamp(max=len(distinct) - 1)
        sampled = distinct[column] == part.items
        has[part.rows[sampled], column[sampled]] = True
    return has[:, place]


def _mean_per_user(values: Tensor, histories: Histories) -> Tensor:
    """Mean over each user's items, then over the users that have any."""
    return (values * _shares(histories)).sum()


def _shares(histories: Histories) -> Tensor:
    """Share of each item in a mean over a user's items, then over the users that have any."""
    lengths = histories.lengths
    users = (lengths > 0).sum().clamp(min=1)
    return 1 / (lengths[histories.rows] * users)
