"""Streaming: predict what comes next, then learn it, segment after segment.

The prequential protocol (Dawid 1984; Gama et al., "On evaluating stream learning algorithms",
Machine Learning 90, 2013). The events are ordered in time. On the first part, the past, ids are
numbered by frequency and the model is trained as usual. What follows is cut into segments. In
each, every event is predicted from the user's events before it, with the weights as they were when
the segment began; only then are new ids numbered and the segment is learned. So no event is
ever predicted with anything that came after it.

An item without an id of its own when its segment begins cannot be found, and counts as missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from memcom.embeddings import CompressedEmbedding, follow
from memcom.optim import LazyAdam
from memcom.tasks.loop import Record, run_epochs
from memcom.tasks.metrics import ndcg_and_recall_at_k
from memcom.tasks.rankers import MostPopular, Ranker
from memcom.tasks.stream import Stream, StreamOptions


@dataclass(frozen=True)
class StreamResult:
    """What was measured, before each segment was learned.

    Attributes:
        record: Training on the past.
        segment: ``(events,)`` int64, the segment of each measured event.
        ndcg: ``(events,)`` float32 nDCG@k.
        recall: ``(events,)`` float32 Recall@k.
        new: ``(events,)`` boolean: the item had no id of its own when its segment began.
    """

    record: Record
    segment: Tensor
    ndcg: Tensor
    recall: Tensor
    new: Tensor

    def of(self, segments: range) -> Tensor:
        """Boolean ``(events,)``: those of some segments."""
        return (self.segment >= segments.start) & (self.segment < segments.stop)


def run_stream(
    model: Ranker,
    stream: Stream,
    options: StreamOptions,
    *,
    seed: int = 0,
) -> StreamResult:
    """Train on the past, then measure and learn segment after segment.

    A compressed input table is measured as it would be shipped: see `CompressedEmbedding.freeze`.

    Args:
        model: A ranker of ``stream.vocabulary.capacity`` items, in its initial state. Give its
            table ``sparse=True``. A `MostPopular` counts on.
        stream: A fresh one; its vocabulary grows.
        options: How to train and measure.
        seed: Of batches, measured events and dropout.

    Returns:
        The values of every measured event, segment after segment.

    Raises:
        TrainingError: The loss became infinite or NaN.
        ValueError: The sizes do not fit.
    """
    if model.num_items != stream.vocabulary.capacity:
        raise ValueError(
            f"the model ranks {model.num_items} items, the stream has "
            f"{stream.vocabulary.capacity} ids"
        )
    learner = _Learner(model, stream, options, seed)
    record = learner.learn_past(seed)
    found: list[tuple[Tensor, ...]] = []
    devices = [learner.device] if learner.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        learner.learn(np.arange(stream.held_out, stream.past))
        for number, (start, stop) in enumerate(stream.segments):
            events = _some(start, stop, options.max_events)
            new = torch.from_numpy(~stream.vocabulary.knows(stream.values[events]))
            with _shipped(model):
                values = learner.measure(events)
            found.append((torch.full((len(events),), number), *values, new))
            stream.vocabulary.learn(stream.values[start:stop])
            for _ in range(options.online_epochs):
                learner.learn(np.arange(start, stop))
    learner.procedures.close()
    segment, ndcg, recall, new = (torch.cat(parts) for parts in zip(*found, strict=True))
    return StreamResult(record, segment, ndcg, recall, new)


def fit_past(model: Ranker, stream: Stream, options: StreamOptions, *, seed: int = 0) -> Record:
    """Train on the past alone, as `run_stream` begins.

    Args:
        model: A ranker of ``stream.vocabulary.capacity`` items; trained in place.
        stream: Left as it is.
        options: How to train.
        seed: Of batches, measured events and dropout.

    Returns:
        The training record.
    """
    return _Learner(model, stream, options, seed).learn_past(seed)


class _Learner:
    """Learns and measures events with one model and one optimizer."""

    def __init__(self, model: Ranker, stream: Stream, options: StreamOptions, seed: int) -> None:
        self.model, self.stream, self.options = model, stream, options
        self.generator = torch.Generator().manual_seed(seed)
        self.device = next(model.parameters()).device
        learned = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = LazyAdam(learned, lr=options.learning_rate) if learned else None
        num_steps = options.epochs * -(-stream.held_out // options.batch_size)
        self.procedures = follow(model, num_steps, optimizer=self.optimizer)

    def learn_past(self, seed: int) -> Record:
        """Train on the past but for its last tenth, which says when to stop."""
        last = _some(self.stream.held_out, self.stream.past, self.options.max_events)
        return run_epochs(
            self.model,
            lambda: self.learn(np.arange(self.stream.held_out)),
            lambda: float(self.measure(last)[0].mean()),
            epochs=self.options.epochs,
            patience=self.options.patience,
            eligible=lambda: self.procedures.within_budget,
            seed=seed,
        )

    def learn(self, events: np.ndarray) -> float:
        """One pass in random order; the mean loss. A control that counts, counts."""
        if self.optimizer is None:
            if isinstance(self.model, MostPopular):
                wanted = self.stream.wanted(events).to(self.device)
                self.model.bias.data += torch.bincount(wanted, minlength=self.model.num_items)
            return 0.0
        self.model.train()
        order = torch.randperm(len(events), generator=self.generator).numpy()
        losses = []
        for start in range(0, len(order), self.options.batch_size):
            batch = events[order[start : start + self.options.batch_size]]
            scores, wanted = self._scores(batch, keep=True)
            loss = F.cross_entropy(scores, wanted)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.procedures.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def measure(self, events: np.ndarray) -> tuple[Tensor, Tensor]:
        """nDCG@k and Recall@k of each event, on the CPU."""
        training = self.model.training
        self.model.eval()
        values = []
        for start in range(0, len(events), 512):
            scores, wanted = self._scores(events[start : start + 512])
            one_each = torch.arange(len(wanted) + 1, device=self.device)
            found = ndcg_and_recall_at_k(scores, (one_each, wanted), self.options.k)
            values.append(torch.stack(found))
        self.model.train(training)
        ndcg, recall = torch.cat(values, dim=1).cpu()
        return ndcg, recall

    def _scores(self, events: np.ndarray, *, keep: bool = False) -> tuple[Tensor, Tensor]:
        """Scores ``(events, capacity)`` of all candidates, and the ids that are wanted.

        No candidates are the user's items in the window and ids that are not one item's own.

        Args:
            events: Positions in the stream.
            keep: The wanted ids are candidates nevertheless.
        """
        known = self.stream.histories(events).to(self.device)
        wanted = self.stream.wanted(events).to(self.device)
        scores = self.model(known.items, known.offsets)
        barred = torch.zeros_like(scores, dtype=torch.bool)
        barred[known.rows, known.items] = True
        barred[:, self.stream.vocabulary.num_known :] = True
        if keep:
            barred[torch.arange(len(wanted), device=self.device), wanted] = False
        return scores.masked_fill(barred, -torch.inf), wanted


def _some(start: int, stop: int, count: int) -> np.ndarray:
    """At most ``count`` events, evenly spaced: the same for every model and seed."""
    return np.unique(np.linspace(start, stop - 1, min(count, stop - start)).astype(np.int64))


@contextmanager
def _shipped(model: Ranker) -> Iterator[None]:
    """The model with its input table as it is stored."""
    table = getattr(model, "embedding", None)
    if not isinstance(table, CompressedEmbedding):
        yield
        return
    model.embedding = table.freeze()
    try:
        yield
    finally:
        model.embedding = table
