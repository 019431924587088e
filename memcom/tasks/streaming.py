"""The streaming task: predict what comes next, then learn it, segment after segment.

The prequential protocol (Dawid 1984; Gama et al., "On evaluating stream learning algorithms",
Machine Learning 90, 2013). The events are ordered in time. On the first part, the past, ids are
numbered by frequency and the model is trained as usual. The rest is cut into segments. In each,
every event is predicted from the user's events before it, with the weights as they were when the
segment began; only then are new ids numbered and the segment is learned. So no event is predicted
with anything that came after it.

An item without an id of its own when its segment begins cannot be found, and counts as missed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from memcom._annotations import checked
from memcom._check import shown
from memcom.budget import Plan
from memcom.data import Interactions
from memcom.data.ordering import mix64
from memcom.data.streams import StreamVocabulary
from memcom.embeddings import CompressedEmbedding, Occurrences
from memcom.optim import LazyAdam
from memcom.tasks._fit import (
    FitRecord,
    Learner,
    check_layers,
    check_options,
    learned_parameters,
    seeded,
)
from memcom.tasks._model import evaluating
from memcom.tasks._run import TaskRun, default_options, mean_metrics, plan_table
from memcom.tasks.histories import Histories
from memcom.tasks.metrics import ndcg_and_recall_at_k
from memcom.tasks.protocol import Outcome, Task
from memcom.tasks.ranking.model import HistoryRanker, ItemBias, MostPopular, Ranker


@dataclass(frozen=True)
class StreamOptions:
    """Options of dividing, learning and measuring a stream.

    Attributes:
        learning_rate: Learning rate of lazy Adam, before and in the stream.
        batch_size: Events per step.
        epochs: Maximal number of passes over the past.
        patience: Epochs without improvement on the last tenth of the past before training stops.
        online_epochs: Passes over a segment once it has been measured.
        past: Share of the events that are the past.
        segments: Number of segments after it.
        valid_segments: Number of the first segments, which are for choices; the others are the
            test.
        reserve: Ids kept free for items to come, as a share of the items of the past.
        shared: Number of ids that later items share once no other id is free.
        window: Number of a user's last events that are the history.
        max_events: Maximal number of events measured of a segment, evenly spaced.
        k: nDCG@k.
    """

    learning_rate: float = 3e-3
    batch_size: int = 256
    epochs: int = 10
    patience: int = 2
    online_epochs: int = 1
    past: float = 0.5
    segments: int = 10
    valid_segments: int = 3
    reserve: float = 0.5
    shared: int = 64
    window: int = 50
    max_events: int = 1000
    k: int = 10

    def __post_init__(self) -> None:
        counts = "batch_size epochs patience online_epochs shared window max_events k"
        check_options(self, *counts.split())
        if not 0 < self.past < 1 or self.reserve < 0 or not self.learning_rate > 0:
            raise ValueError(
                "past must be in (0, 1), reserve >= 0 and learning_rate > 0, got "
                f"{self.past}, {self.reserve} and {self.learning_rate}"
            )
        if not 1 <= self.valid_segments < self.segments:
            raise ValueError(
                f"valid_segments must be in [1, segments), got {shown(self.valid_segments)} "
                f"of {shown(self.segments)}"
            )


class Stream:
    """Events in time, a vocabulary learned on the past only, and each event's history.

    The ids of ``data`` are numbered by the frequency in its training part, some of which lies in
    the future of some events. So they serve as names only, and are numbered anew.

    Args:
        data: Interactions with times; its split is not used.
        options: How to cut it.

    Attributes:
        vocabulary: Ids, learned on the past.
        values: ``(events,)`` int64, the item of each event under a name without meaning.
        users: ``(events,)`` int64, the user of each event.
        past: Number of events that are the past.
        held_out: First event of its last tenth, which decides when to stop training on the rest.
        counts: ``(capacity,)`` float32, events of each id before ``held_out``.
        segments: ``(start, stop)`` of each segment after the past.

    Raises:
        ValueError: There are no times, or too few events.
    """

    def __init__(self, data: Interactions, options: StreamOptions) -> None:
        if data.time is None:
            raise ValueError(f"{data.name} has no times, so it is no stream")
        order = np.lexsort((data.item, data.user, data.time))
        # Scrambled, so that not even ties are broken by what the future holds.
        self.values = mix64(data.item[order]).view(np.int64)
        self.users = users = data.user[order]
        self.past = int(len(order) * options.past)
        edges = np.linspace(self.past, len(order), options.segments + 1).astype(int).tolist()
        if self.past < 10 or len(order) - self.past < options.segments:
            raise ValueError(f"{data.name}: {len(order)} events are too few for {options.segments}")
        self.segments = list(pairwise(edges))
        self.held_out = self.past - self.past // 10
        known = self.values[: self.past]
        distinct = len(np.unique(known))
        capacity = distinct + int(distinct * options.reserve) + options.shared
        self.vocabulary = StreamVocabulary(known, capacity, shared=options.shared)
        ids = torch.from_numpy(self.vocabulary.ids(known[: self.held_out]))
        self.counts = torch.bincount(ids, minlength=capacity).float()
        # Position of each event among its user's events, in order of time.
        self._by_user = np.argsort(users, kind="stable")
        self._rank = np.empty(len(order), dtype=np.int64)
        self._rank[self._by_user] = np.arange(len(order))
        events = np.bincount(users, minlength=data.num_users)
        first = np.cumsum(events) - events
        self._before = np.minimum(self._rank - first[users], options.window)

    def histories(self, events: np.ndarray) -> Histories:
        """Return the user's last events before each of ``events (m,)``, with today's ids."""
        lengths = self._before[events]
        ends = np.cumsum(lengths)
        place = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        place += np.repeat(self._rank[events] - lengths, lengths)
        items = self.vocabulary.ids(self.values[self._by_user[place]])
        return Histories.from_lengths(torch.from_numpy(lengths), torch.from_numpy(items))

    def occurrences(self) -> Occurrences:
        """Return the ids of each user's events before `held_out`."""
        users = torch.from_numpy(self.users[: self.held_out])
        return Occurrences(self.wanted(np.arange(self.held_out)), users, self.vocabulary.capacity)

    def wanted(self, events: np.ndarray) -> Tensor:
        """Return today's ids of the items of ``events (m,)``."""
        return torch.from_numpy(self.vocabulary.ids(self.values[events]))


@dataclass(frozen=True)
class StreamResult:
    """Measurements of each segment, made before it was learned.

    Attributes:
        record: Training on the past.
        segment: ``(events,)`` int64, the segment of each measured event.
        ndcg: ``(events,)`` float32 nDCG@k.
        recall: ``(events,)`` float32 Recall@k.
        new: ``(events,)`` boolean: the item had no id of its own when its segment began.
    """

    record: FitRecord
    segment: Tensor
    ndcg: Tensor
    recall: Tensor
    new: Tensor

    def of(self, segments: range) -> Tensor:
        """Return which events belong to some segments, as boolean ``(events,)``."""
        return (self.segment >= segments.start) & (self.segment < segments.stop)


@checked
def run_stream(
    model: Ranker, stream: Stream, options: StreamOptions, *, seed: int = 0
) -> StreamResult:
    """Train on the past, then measure and learn segment after segment.

    A compressed input table is measured as it would be shipped: see `CompressedEmbedding.freeze`.

    Args:
        model: A ranker of ``stream.vocabulary.capacity`` items, in its initial state. Give its
            table ``sparse=True``. A `MostPopular` keeps counting.
        stream: A fresh one; its vocabulary grows.
        options: How to train and measure.
        seed: Seed of batches and dropout.

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
    found: list[tuple[Tensor, ...]] = []
    with closing(_learner(model, stream, options, seed)) as learner:
        record = _fit_past(learner, model, stream, options, seed)

        def learn(events: np.ndarray) -> None:
            if learner.optimizer is not None:
                learner.learn(torch.from_numpy(events))
            elif isinstance(model, MostPopular):
                wanted = stream.wanted(events).to(model.device)
                model.bias.data += torch.bincount(wanted, minlength=model.num_items)

        with seeded(seed, model.device):
            learn(np.arange(stream.held_out, stream.past))
            for number, (start, stop) in enumerate(stream.segments):
                events = _spaced(start, stop, options.max_events)
                new = torch.from_numpy(~stream.vocabulary.knows(stream.values[events]))
                with _frozen_tables(model):
                    values = _measure(model, stream, events, options.k)
                found.append((torch.full((len(events),), number), *values, new))
                stream.vocabulary.learn(stream.values[start:stop])
                for _ in range(options.online_epochs):
                    learn(np.arange(start, stop))
    segment, ndcg, recall, new = (torch.cat(parts) for parts in zip(*found, strict=True))
    return StreamResult(record, segment, ndcg, recall, new)


def _learner(model: Ranker, stream: Stream, options: StreamOptions, seed: int) -> Learner:
    """The learner of a model on the events of a stream."""
    learned = learned_parameters(model)

    def loss(events: Tensor) -> Tensor:
        scores, wanted = _scores(model, stream, events.numpy(), keep=True)
        return F.cross_entropy(scores, wanted)

    return Learner(
        model,
        loss,
        LazyAdam(learned, lr=options.learning_rate) if learned else None,
        batch_size=options.batch_size,
        generator=torch.Generator().manual_seed(seed),
        num_steps=options.epochs * -(-stream.held_out // options.batch_size),
    )


def _fit_past(
    learner: Learner, model: Ranker, stream: Stream, options: StreamOptions, seed: int
) -> FitRecord:
    """Train on the past but for its last tenth, which decides when to stop."""
    last = _spaced(stream.held_out, stream.past, options.max_events)
    return learner.fit(
        torch.arange(stream.held_out),
        lambda: float(_measure(model, stream, last, options.k)[0].mean()),
        epochs=options.epochs,
        patience=options.patience,
        seed=seed,
    )


def _measure(model: Ranker, stream: Stream, events: np.ndarray, k: int) -> tuple[Tensor, Tensor]:
    """nDCG@k and Recall@k of each event, on the CPU."""
    values = []
    with evaluating(model):
        for start in range(0, len(events), 512):
            scores, wanted = _scores(model, stream, events[start : start + 512])
            one_each = torch.arange(len(wanted) + 1, device=model.device)
            values.append(torch.stack(ndcg_and_recall_at_k(scores, (one_each, wanted), k)))
    ndcg, recall = torch.cat(values, dim=1).cpu()
    return ndcg, recall


def _scores(
    model: Ranker, stream: Stream, events: np.ndarray, *, keep: bool = False
) -> tuple[Tensor, Tensor]:
    """Scores ``(events, capacity)`` of all candidates, and the wanted ids.

    The user's items in the window, and ids that belong to no single item, are no candidates; with
    ``keep`` the wanted ids always are.
    """
    known = stream.histories(events).to(model.device)
    wanted = stream.wanted(events).to(model.device)
    scores = model(known.items, known.offsets)
    barred = torch.zeros_like(scores, dtype=torch.bool)
    barred[known.rows, known.items] = True
    barred[:, stream.vocabulary.num_known :] = True
    if keep:
        barred[torch.arange(len(wanted), device=model.device), wanted] = False
    return scores.masked_fill(barred, -torch.inf), wanted


def _spaced(start: int, stop: int, count: int) -> np.ndarray:
    """At most ``count`` events, evenly spaced: the same for every model and seed."""
    return np.unique(np.linspace(start, stop - 1, min(count, stop - start)).astype(np.int64))


@contextmanager
def _frozen_tables(model: Ranker) -> Iterator[None]:
    """The model with its tables as they are stored."""
    tables = model.tables()
    model.freeze_tables()
    try:
        yield
    finally:
        for name, table in tables.items():
            model.set_submodule(name, table)


@dataclass(frozen=True)
class StreamRankerOptions:
    """Options of the ranker around the input embedding.

    Attributes:
        embedding_dim: Width of the vectors.
        std: Standard deviation of the rows at the start.
    """

    embedding_dim: int = 64
    std: float = 0.1

    def __post_init__(self) -> None:
        check_layers(self)


_capacities: dict[tuple[int, StreamOptions], int] = {}


def _capacity(data: Interactions, options: StreamOptions) -> int:
    """Return the ids of a stream; it is built once for all that ask while the data is there."""
    key = id(data), options
    if key not in _capacities:
        _capacities[key] = Stream(data, options).vocabulary.capacity
        weakref.finalize(data, _capacities.pop, key, None)
    return _capacities[key]


class StreamRun(TaskRun):
    """A history ranker in a stream: the first segments are for choices, the later ones the test."""

    options = (StreamRankerOptions, StreamOptions)
    controls = ("popular", "bias-only")
    data: Interactions
    shape: StreamRankerOptions
    training: StreamOptions

    @cached_property
    def stream(self) -> Stream:
        """The events."""
        return Stream(self.data, self.training)

    def plans(self) -> dict[str, Plan]:
        """Return the plan of the input embedding, with rows for the reserve."""
        capacity = _capacity(self.data, self.training)
        return {"items": plan_table(self.setting, capacity, self.shape.embedding_dim)}

    def occurrences(self, table: str) -> Occurrences:
        """Return the items of each user in the past."""
        return self.stream.occurrences()

    def control(self) -> Ranker:
        """Build the control: by frequency so far, or by a score per item."""
        counts = self.stream.counts
        if self.setting.method == "popular":
            return MostPopular(counts)
        return ItemBias(len(counts), item_counts=counts)

    def model(self, tables: dict[str, CompressedEmbedding]) -> HistoryRanker:
        """Build the untrained ranker around its input embedding."""
        return HistoryRanker(tables["items"], item_counts=self.stream.counts)

    def fit(self, model: Ranker) -> FitRecord:
        """Train on the past alone."""
        seed = self.setting.seed
        with closing(_learner(model, self.stream, self.training, seed)) as learner:
            return _fit_past(learner, model, self.stream, self.training, seed)

    def outcome(self) -> Outcome:
        """Train on the past, then measure and learn segment after segment.

        Returns:
            nDCG@k and Recall@k over all known items, per event and in the mean, and ``new``, the
            share of test events whose item had not been seen when its segment began: these score
            0. Bytes are the planned ones, as the table is never frozen for good.
        """
        model: Ranker = self.prepared()  # type: ignore[assignment]
        output_nbytes = model.output_nbytes
        result = run_stream(model, self.stream, self.training, seed=self.setting.seed)
        test = result.of(range(self.training.valid_segments, self.training.segments))
        units = {"ndcg": result.ndcg[test].numpy(), "recall": result.recall[test].numpy()}
        return Outcome(
            metrics=mean_metrics(units) | {"new": float(result.new[test].double().mean())},
            valid=float(result.ndcg[~test].double().mean()),
            size=self.planned,
            output_nbytes=output_nbytes,
            best_epoch=result.record.best_epoch,
            units=units,
        )


TASK = Task(
    name="streaming",
    metric="ndcg",
    accepts=Interactions,
    run=StreamRun.run,
    size=StreamRun.size,
    check=StreamRun.check,
    profiles={
        "fast": default_options(
            [1e-2], StreamRankerOptions(), StreamOptions(), epochs=1, max_events=500
        ),
        "full": default_options(
            [1e-3, 3e-3, 1e-2],
            StreamRankerOptions(),
            StreamOptions(),
            segments=20,
            max_events=2000,
        ),
    },
    controls=StreamRun.controls,
    untrained=("popular",),
    unit="event",
)
