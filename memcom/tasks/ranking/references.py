"""Rankers of another kind, trained on the same histories, to know what a full table is worth.

| name      | score of item j for a user with history H    | stores           | source         |
| --------- | -------------------------------------------- | ---------------- | -------------- |
| `ease`    | sum over i in H of B[i, j]                   | n x n            | Steck 2019     |
| `itemknn` | sum over i in H, near j, of s[i, j]          | n x k, with ids  | Deshpande 2004 |
| `ials`    | <x, Y[j]>, x fitted to H by least squares    | n x d            | Hu 2008        |
| `bpr`     | <P[u], Q[j]> + b[j]                          | (users + n) x d  | Rendle 2009    |

Each has a small grid of hyperparameters, written at its function. Validation chooses, and the test
part decides nothing.

- H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019,
  https://arxiv.org/abs/1905.03375
- M. Deshpande, G. Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 22(1), 2004
- Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008;
  in the form of S. Rendle et al., "Revisiting the Performance of iALS on Item Recommendation
  Benchmarks", RecSys 2022, https://arxiv.org/abs/2110.14037
- S. Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009,
  https://arxiv.org/abs/1205.2618
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from memcom.budget import BudgetError
from memcom.data import TRAIN, Interactions
from memcom.tasks._fit import Learner, seeded
from memcom.tasks.histories import Histories
from memcom.tasks.ranking.evaluation import HeldOut, evaluate
from memcom.tasks.ranking.model import Ranker

MAX_EASE_ITEMS = 20_000  # its matrix then has 1.6 GB
WIDTH = 64  # of the vectors of iALS and BPR, as of the full table
NEIGHBOURS = 100

Candidates = Iterator[tuple[dict[str, float], Ranker]]


class Reference(NamedTuple):
    """A reference by its function and its size.

    Attributes:
        candidates: ``candidates(data, seed, k)`` yields each point of the grid with its model.
        nbytes: ``nbytes(num_users, num_items)``, bytes that are stored.
        random: Whether the seed matters.
        max_items: Most items that it is computed for.
    """

    candidates: Callable[[Interactions, int, int], Candidates]
    nbytes: Callable[[int, int], int]
    random: bool
    max_items: int = 2**31

    def size(self, name: str, data: Interactions) -> int:
        """Return the stored bytes for a data set; BudgetError if it has too many items."""
        if data.num_items > self.max_items:
            raise BudgetError(
                f"{name} is computed for at most {self.max_items:,} items, {data.name} has "
                f"{data.num_items:,}"
            )
        return self.nbytes(data.num_users, data.num_items)


@dataclass(frozen=True)
class Chosen:
    """A reference with the hyperparameters that validation chose.

    Attributes:
        model: The ranker.
        point: Its hyperparameters.
        valid: nDCG@k on the validation part.
    """

    model: Ranker
    point: dict[str, float]
    valid: float


def fit_reference(
    name: str, data: Interactions, *, k: int = 10, seed: int = 0, device: str = "cpu"
) -> Chosen:
    """Compute a reference on the training part at every point of its grid; return the best.

    Args:
        name: One of `REFERENCES`.
        data: Interactions with training and validation parts.
        k: The choice is by nDCG@k on the validation part.
        seed: Decides the start of iALS, and the start and the samples of BPR.
        device: Where rankings are computed.

    Returns:
        The chosen model, on the device.

    Raises:
        BudgetError: The data set has too many items for it.
    """
    reference, best = REFERENCES[name], None
    reference.size(name, data)
    held_out = HeldOut.of(data, "valid").to(device)
    for point, model in reference.candidates(data, seed, k):
        valid = float(evaluate(model.to(device), held_out, k=k).ndcg.mean())
        if best is None or valid > best.valid:
            best = Chosen(model, point, valid)
    assert best is not None
    return best


# --- EASE -----------------------------------------------------------------------------------------


class ItemToItem(Ranker):
    """Scores are the sum of the history's rows of a matrix between items.

    Args:
        weight: ``(num_items, num_items)`` float32.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(len(weight))
        self.weight = nn.Parameter(weight, requires_grad=False)

    def encode(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Return the scores themselves, ``(users, num_items)``."""
        return F.embedding_bag(items, self.weight, offsets, mode="sum", include_last_offset=True)

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Return the scores of the items; see `Ranker.score`."""
        return state.clone() if items is None else state[:, items]


def ease(data: Interactions, seed: int, k: int) -> Candidates:
    """Yield EASE, equation 8: B = -P / diag(P) off the diagonal, P = (X^T X + l2 I)^-1.

    Grid: l2 of 30, 100, 300, 1000 and 3000. Items without a training row get and give no score.
    """
    seen = int((data.item_counts > 0).sum())  # ids are sorted by their counts
    x = _matrix(data)[:, :seen]
    gram = torch.from_numpy((x.T @ x).toarray())
    for l2 in (30.0, 100.0, 300.0, 1000.0, 3000.0):
        regular = gram + l2 * torch.eye(seen)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(regular))
        weight = torch.zeros(data.num_items, data.num_items)
        weight[:seen, :seen] = -inverse / inverse.diagonal()
        weight.fill_diagonal_(0)
        yield {"l2": l2}, ItemToItem(weight)


# --- neighbours -----------------------------------------------------------------------------------


class Neighbours(Ranker):
    """Each item of a history votes for the items that have it among their nearest.

    Args:
        nearest: int64 ``(num_items, k)``, the items whose votes an item takes.
        similarity: float32 ``(num_items, k)``, the weights of these votes.
    """

    def __init__(self, nearest: Tensor, similarity: Tensor) -> None:
        num_items, k = nearest.shape
        super().__init__(num_items)
        self.register_buffer("nearest", nearest.int())
        self.similarity = nn.Parameter(similarity, requires_grad=False)
        offsets = k * np.arange(num_items + 1)
        taken = (similarity.flatten().numpy(), nearest.flatten().numpy(), offsets)
        self.by_voter = sparse.csr_matrix(taken, shape=(num_items, num_items)).T.tocsr()

    def encode(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Return the scores themselves, ``(users, num_items)``; they are summed on the CPU."""
        votes = (np.ones(len(items), np.float32), items.cpu().numpy(), offsets.cpu().numpy())
        given = sparse.csr_matrix(votes, shape=(len(offsets) - 1, self.num_items))
        return torch.from_numpy((given @ self.by_voter).toarray()).to(items.device)

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Return the scores of the items; see `Ranker.score`."""
        return state.clone() if items is None else state[:, items]


def itemknn(data: Interactions, seed: int, k: int) -> Candidates:
    """Yield the 100 nearest of each item by cosine, s[i, j] = c[i, j] / (|i| |j| + shrinkage).

    c[i, j] counts the users who have both items in training, |i| is the root of an item's count.
    Grid: shrinkage of 0, 10 and 100.
    """
    x = _matrix(data)
    together = (x.T @ x).tocsr()
    root = np.sqrt(data.item_counts).astype(np.float32)
    width = min(NEIGHBOURS, data.num_items)
    for shrinkage in (0.0, 10.0, 100.0):
        nearest, similarity = [], []
        for start in range(0, data.num_items, 512):
            rows = together[start : start + 512].toarray()
            length = root[start : start + 512, None] * root + np.float32(shrinkage)
            found = torch.from_numpy(rows / np.maximum(length, np.float32(1e-9)))
            own = torch.arange(len(rows))
            found[own, start + own] = 0  # no item votes for itself
            top = torch.topk(found, width)
            nearest.append(top.indices)
            similarity.append(top.values)
        yield {"shrinkage": shrinkage}, Neighbours(torch.cat(nearest), torch.cat(similarity))


# --- iALS -----------------------------------------------------------------------------------------


class FoldIn(Ranker):
    """Item vectors; a user's vector is the least-squares fit to their history.

    Args:
        items: ``(num_items, d)`` float32.
        unobserved: Weight of a pair that was not observed; an observed one has 1 more.
        l2: Penalty, times the number of pairs, the unobserved ones by their weight.
    """

    def __init__(self, items: Tensor, *, unobserved: float, l2: float) -> None:
        super().__init__(len(items))
        self.items = nn.Parameter(items, requires_grad=False)
        self.unobserved, self.l2 = unobserved, l2

    def encode(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Return the vector of each history, ``(users, d)``."""
        return least_squares(
            Histories(offsets, items), self.items, unobserved=self.unobserved, l2=self.l2
        )

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Return inner products with the item vectors; see `Ranker.score`."""
        return F.linear(state, self.items if items is None else self.items[items])


def least_squares(histories: Histories, vectors: Tensor, *, unobserved: float, l2: float) -> Tensor:
    """Return the vectors x that minimise the loss of iALS with the other side's vectors fixed.

    sum over i in H (<x, y_i> - 1)^2 + w sum over all i <x, y_i>^2 + l2 (|H| + w m) |x|^2

    Args:
        histories: H, for each vector that is wanted.
        vectors: ``(m, d)``, the other side.
        unobserved: w, the weight of what was not observed.
        l2: Penalty.

    Returns:
        ``(len(histories), d)``.
    """
    m, d = vectors.shape
    padded = torch.cat([vectors, vectors.new_zeros(1, d)])
    every = unobserved * vectors.T @ vectors
    identity = torch.eye(d, device=vectors.device)
    solved = vectors.new_zeros(len(histories), d)
    lengths = histories.lengths
    order = torch.argsort(lengths)
    # Histories of about one length at a time, filled up with a zero vector to the longest.
    room = torch.cumsum(lengths[order].clamp(min=d), 0) // 2**16
    for chunk in order.split(torch.unique_consecutive(room, return_counts=True)[1].tolist()):
        part = histories.take(chunk)
        places = torch.arange(int(part.lengths.max()), device=vectors.device)
        inside = places < part.lengths[:, None]
        items = torch.full(inside.shape, m, device=vectors.device)
        items[inside] = part.items
        rows = padded[items]
        penalty = l2 * (part.lengths + unobserved * m)
        left = rows.mT @ rows + every + penalty[:, None, None] * identity
        factor = torch.linalg.cholesky(left)
        solved[chunk] = torch.cholesky_solve(rows.sum(1)[:, :, None], factor)[:, :, 0]
    return solved


def ials(data: Interactions, seed: int, k: int) -> Candidates:
    """Yield iALS of width 64 after 8 passes over users and items.

    Grid: weights of the unobserved of 0.1 and 0.5, times l2 of 0.01 and 0.03.
    """
    users = Histories.of(data, "train")
    order = torch.argsort(users.items, stable=True)
    counts = torch.bincount(users.items, minlength=data.num_items)
    items = Histories.from_lengths(counts, users.rows[order])
    for unobserved, l2 in product((0.1, 0.5), (0.01, 0.03)):
        generator = torch.Generator().manual_seed(seed)
        y = torch.randn(data.num_items, WIDTH, generator=generator) * 0.1 / WIDTH**0.5
        for _ in range(8):
            x = least_squares(users, y, unobserved=unobserved, l2=l2)
            y = least_squares(items, x, unobserved=unobserved, l2=l2)
        yield {"unobserved": unobserved, "l2": l2}, FoldIn(y, unobserved=unobserved, l2=l2)


# --- BPR ------------------------------------------------------------------------------------------


class UserFactors(Ranker):
    """A vector for each user and each item, and a bias for each item.

    Args:
        num_users: Number of users.
        num_items: Number of items.
    """

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(num_items)
        self.users = nn.Parameter(0.1 * torch.randn(num_users, WIDTH))
        self.items = nn.Parameter(0.1 * torch.randn(num_items, WIDTH))
        self.bias = nn.Parameter(torch.zeros(num_items))

    def rank(self, users: Tensor, known: Histories) -> Tensor:
        """Score all items for users by their ids; their histories are not read."""
        return self.score(self.users[users])

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Return inner products plus bias; see `Ranker.score`."""
        if items is None:
            return F.linear(state, self.items, self.bias)
        return F.linear(state, self.items[items], self.bias[items])


def bpr(data: Interactions, seed: int, k: int) -> Candidates:
    """Yield matrix factorisation trained by BPR, equation 4, with Adam.

    A step takes 8,192 training pairs (u, i), and for each an item j drawn uniformly from those that
    the user does not have. The loss of a pair is
    -ln sigma(x_ui - x_uj) + l2 (|P_u|^2 + |Q_i|^2 + |Q_j|^2). Training stops when validation, every
    5 epochs, has not improved for 10, or after 100. Learning rate 0.01.
    Grid: l2 of 0.001, 0.003 and 0.01.
    """
    for l2 in (0.001, 0.003, 0.01):
        yield {"l2": l2}, _trained_factors(data, l2, seed, k)


def _trained_factors(data: Interactions, l2: float, seed: int, k: int) -> UserFactors:
    held_out = HeldOut.of(data, "valid")
    trained = data.split == TRAIN
    user, item = (torch.from_numpy(column[trained]) for column in (data.user, data.item))
    pairs = torch.sort(user * data.num_items + item).values
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        model = UserFactors(data.num_users, data.num_items)

    def loss(batch: Tensor) -> Tensor:
        u, i = user[batch], item[batch]
        j = torch.randint(data.num_items, (len(batch),), generator=generator)
        drawn = u * data.num_items + j
        place = torch.searchsorted(pairs, drawn).clamp(max=len(pairs) - 1)
        p, q, r = model.users[u], model.items[i], model.items[j]
        above = (p * (q - r)).sum(1) + model.bias[i] - model.bias[j]
        each = F.softplus(-above) + l2 * (p * p + q * q + r * r).sum(1)
        return each[pairs[place] != drawn].mean()

    def score() -> float:
        return float(evaluate(model, held_out, k=k).ndcg.mean())

    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    learner = Learner(model, loss, optimizer, batch_size=8192, generator=generator)
    learner.fit(
        torch.arange(len(user)), score, epochs=100, patience=10, evaluate_every=5, seed=seed
    )
    return model


def _matrix(data: Interactions) -> Any:
    """The training pairs as a sparse float32 matrix of ones, users by items."""
    trained = data.split == TRAIN
    user, item = data.user[trained], data.item[trained]
    ones, shape = np.ones(len(user), np.float32), (data.num_users, data.num_items)
    return sparse.csr_matrix((ones, (user, item)), shape=shape)


REFERENCES = {
    "ease": Reference(ease, lambda users, n: 4 * n * n, random=False, max_items=MAX_EASE_ITEMS),
    "itemknn": Reference(itemknn, lambda users, n: 8 * n * min(NEIGHBOURS, n), random=False),
    "ials": Reference(ials, lambda users, n: 4 * n * WIDTH, random=True),
    "bpr": Reference(bpr, lambda users, n: 4 * ((users + n) * WIDTH + n), random=True),
}
