"""A small real task: which films did a user rate, given others that this user rated?

MovieLens, the 2,000 most rated films. In every step half of each user's training films, at random,
predict the other half; what counts is the cross-entropy of the test films given the training films.
It needs no ranking metric and moves smoothly, so that small differences show.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import memcom
import memcom.data

NUM_ITEMS, EMBEDDING_DIM, NUM_STEPS = 2000, 16, 240


@dataclass(frozen=True)
class Films:
    """(users, films) 0/1 matrices of the three parts, and training counts."""

    train: Tensor
    valid: Tensor
    test: Tensor
    counts: Tensor


@functools.cache
def films() -> Films:
    data = memcom.data.load("movielens")
    matrices = []
    for split in ("train", "valid", "test"):
        offsets, items = data.history(split)
        users = torch.repeat_interleave(
            torch.arange(data.num_users), torch.as_tensor(offsets).diff()
        )
        matrix = torch.zeros(data.num_users, data.num_items)
        matrix[users, torch.as_tensor(items)] = 1
        matrices.append(matrix[:, :NUM_ITEMS])
    seen = matrices[0].sum(1) >= 4
    return Films(*(m[seen] for m in matrices), matrices[0].sum(0))


class Model(nn.Module):
    """Scores of all films from the mean vector of those given."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.output = nn.Linear(EMBEDDING_DIM, NUM_ITEMS)
        nn.init.zeros_(self.output.weight)
        with torch.no_grad():
            self.output.bias.copy_(films().counts.add(1).log())

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``(users, NUM_ITEMS)`` for a 0/1 matrix, and the ids that were looked up."""
        users, ids = given.nonzero(as_tuple=True)
        total = torch.zeros(len(given), EMBEDDING_DIM).index_add(0, users, self.embedding(ids))
        return self.output(total / given.sum(1, keepdim=True).clamp(min=1).sqrt()), ids


def cross_entropy(scores: Tensor, wanted: Tensor) -> Tensor:
    """Mean over all wanted films, in nats."""
    return -(scores.log_softmax(1) * wanted).sum() / wanted.sum()


@torch.no_grad()
def held_out_loss(model: nn.Module | None, part: str = "test") -> float:
    """Cross-entropy of the test films; films of the training part are no candidates.

    None is the popularity control.
    """
    data = films()
    wanted = getattr(data, part) * (1 - data.train)
    if model is None:
        scores = data.counts.add(1).log().expand(len(data.train), -1)
    else:
        scores = model.eval()(data.train)[0]
    scores = scores.masked_fill(data.train > 0, -1e9)
    return float(cross_entropy(scores, wanted))


@dataclass
class Run:
    """What training gave."""

    model: Model
    losses: list[float]

    def mean_loss(self, first: int, last: int | None) -> float:
        part = self.losses[first:last]
        return sum(part) / len(part)


def train(
    embedding: nn.Module, num_steps: int = NUM_STEPS, make_schedule=None, *, seed: int = 0
) -> Run:
    """Adam on random halves of the histories of 128 users a step.

    Args:
        embedding: The layer.
        num_steps: Steps of the optimizer.
        make_schedule: Called with the model and the optimizer, gives a schedule or None.
        seed: Of the batches.
    """
    data = films()
    generator = torch.Generator().manual_seed(seed)
    model = Model(embedding)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.3)
    schedule = make_schedule(model, optimizer) if make_schedule else None
    losses = []
    for _ in range(num_steps):
        users = torch.randint(len(data.train), (128,), generator=generator)
        history = data.train[users]
        half = torch.rand(history.shape, generator=generator) < 0.5
        model.train()
        scores, ids = model(history * half)
        loss = cross_entropy(scores, history * ~half)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step(ids)
        losses.append(float(loss.detach()))
    return Run(model, losses)


@functools.cache
def trained_full_table() -> Run:
    """The same model with a full table, trained as long; never change it."""
    torch.manual_seed(0)
    return train(memcom.FullEmbedding(NUM_ITEMS, EMBEDDING_DIM), NUM_STEPS)


def randomly_pruned_loss(num_values: int) -> float:
    """Test loss when the full table keeps so many of its numbers, at random."""
    run = trained_full_table()
    table = run.model.embedding.table.detach()
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(table.shape, generator=generator) < num_values / table.numel()
    pruned = Model(nn.Embedding.from_pretrained(table * kept))
    pruned.output = run.model.output
    return held_out_loss(pruned)


def check(run: Run, schedule, num_values: int, ratio: float) -> None:
    """What every procedure has to fulfil after training.

    Args:
        run: The training.
        schedule: Its schedule.
        num_values: Numbers that the budget leaves.
        ratio: The compression ratio that was asked.
    """
    small = schedule.export()
    full_bytes = 4 * NUM_ITEMS * EMBEDDING_DIM
    assert full_bytes / ratio * 0.95 < small.nbytes <= full_bytes / ratio
    stored = [b for name, b in small.named_buffers() if not name.endswith("unaveraged")]
    stored += small.parameters()
    assert small.nbytes == sum(t.numel() * t.element_size() for t in stored)
    masked = run.model.eval().embedding.materialize()
    assert int((masked != 0).sum()) <= num_values
    assert torch.equal(small.materialize(), masked)
    assert run.mean_loss(-20, None) < run.mean_loss(0, 20) - 0.1
    loss = held_out_loss(run.model)
    assert loss < held_out_loss(None) - 0.1, "popularity is as good"
    assert loss < randomly_pruned_loss(num_values) - 0.02, "random pruning is as good"
    run.model.embedding = small
    assert held_out_loss(run.model) == loss
