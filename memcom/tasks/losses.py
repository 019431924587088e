"""Multi-label softmax over all items, exact for small and sampled for large vocabularies.

Both say: the held-out items of a user should stand out from the items the user does not have. The
items that were the input are no candidates, as in the evaluation.

    exact     -mean over held-out i of  s_i - log sum_{j not in input} exp(s_j)
    sampled   -mean over held-out i of  s_i - log(exp(s_i) + sum_{samples j} exp(s_j) / (S q_j))

In the second, j ~ q is drawn S times and divided by its expected number of draws (the log-q
correction of Bengio and Senecal 2008), so that the sum estimates that over all items the user
does not have, whatever q is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcom.tasks.histories import Histories
from memcom.tasks.rankers import Ranker


def softmax_loss(model: Ranker, given: Histories, held_out: Histories) -> Tensor:
    """Exact multi-label softmax loss, mean over the users that have held-out items.

    Args:
        model: Scores all items.
        given: Input histories.
        held_out: What is to be predicted, of the same users.

    Returns:
        A scalar; 0 if nothing is held out.
    """
    scores = model(given.items, given.offsets)
    scores[given.rows, given.items] = -torch.inf
    log_p = torch.log_softmax(scores, dim=1)
    rows = held_out.rows
    return -_mean_per_user(log_p[rows, held_out.items], held_out)


def sampled_softmax_loss(
    model: Ranker, given: Histories, held_out: Histories, samples: Tensor, log_q: Tensor
) -> Tensor:
    """Sampled multi-label softmax loss with log-q correction.

    Args:
        model: Scores any items.
        given: Input histories.
        held_out: What is to be predicted, of the same users.
        samples: ``(S,)`` items drawn with replacement, shared by the batch.
        log_q: ``(num_items,)`` logarithm of the probability of drawing each item.

    Returns:
        A scalar; an estimate of `softmax_loss` whose work does not grow with the vocabulary.
    """
    state = model.encode(given.items, given.offsets)
    sampled = model.score(state, samples) - (
        log_q[samples] + torch.log(log_q.new_tensor(len(samples)))
    )
    sampled = sampled.masked_fill(owned(given, held_out, samples), -torch.inf)
    others = torch.logsumexp(sampled, dim=1)

    # Held-out items are scored once each, and picked out per user.
    distinct, place = torch.unique(held_out.items, return_inverse=True)
    rows = held_out.rows
    own = model.score(state, distinct)[rows, place]
    return -_mean_per_user(own - torch.logaddexp(own, others[rows]), held_out)


def owned(given: Histories, held_out: Histories, samples: Tensor) -> Tensor:
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
    lengths = histories.lengths
    users = (lengths > 0).sum().clamp(min=1)
    return (values / lengths[histories.rows]).sum() / users
