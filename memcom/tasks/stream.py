"""A stream: events in time, ids learnt on the past only, and the history of each event."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from memcom.data import Interactions
from memcom.data.ordering import mix64
from memcom.data.streams import StreamVocabulary
from memcom.embeddings import Occurrences
from memcom.tasks.histories import Histories


@dataclass(frozen=True)
class StreamOptions:
    """How to cut, to train and to measure a stream.

    Attributes:
        learning_rate: Of lazy Adam, before and in the stream.
        batch_size: Events per step.
        epochs: At most so many passes over the past.
        patience: Stop when the last tenth of the past has not improved for so many epochs.
        online_epochs: Passes over a segment once it has been measured.
        past: Share of the events that are the past.
        segments: Number of segments after it.
        valid_segments: The first so many segments are for choices, the others are the test.
        reserve: Ids kept free for items to come, as a share of the items of the past.
        shared: Ids that items share which find none left.
        window: A user's last so many events are the history.
        max_events: Measure at most so many events of a segment, evenly spaced.
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
        for name in counts.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.past < 1 or self.reserve < 0 or not self.learning_rate > 0:
            raise ValueError(
                "past must be in (0, 1), reserve >= 0 and learning_rate > 0, got "
                f"{self.past}, {self.reserve} and {self.learning_rate}"
            )
        if not 1 <= self.valid_segments < self.segments:
            raise ValueError(
                f"valid_segments must be in [1, segments), got {self.valid_segments} of "
                f"{self.segments}"
            )


class Stream:
    """Events in time, a vocabulary learnt on the past only, and each event's history.

    The ids of ``data`` are numbered by the frequency in its training part, some of which lies in
    the future of some events. So they serve as names only, and are numbered anew.

    Args:
        data: Interactions with times; its split is not used.
        options: How to cut it.

    Attributes:
        vocabulary: Ids, learnt on the past.
        values: ``(events,)`` int64, the item of each event under a name without meaning.
        users: ``(events,)`` int64, the user of each event.
        past: Number of events that are the past.
        held_out: Where its last tenth starts, which says when to stop training on the rest.
        counts: ``(capacity,)`` float32, events of each id before ``held_out``.
        segments: ``(start, stop)`` of each segment after it.

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
        # Where each user's events are, in order of time.
        self._by_user = np.argsort(users, kind="stable")
        self._rank = np.empty(len(order), dtype=np.int64)
        self._rank[self._by_user] = np.arange(len(order))
        events = np.bincount(users, minlength=data.num_users)
        first = np.cumsum(events) - events
        self._before = np.minimum(self._rank - first[users], options.window)

    def histories(self, events: np.ndarray) -> Histories:
        """The last events of the same user before each of ``events (m,)``, with today's ids."""
        lengths = self._before[events]
        ends = np.cumsum(lengths)
        place = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        place += np.repeat(self._rank[events] - lengths, lengths)
        items = self.vocabulary.ids(self.values[self._by_user[place]])
        return Histories.from_lengths(torch.from_numpy(lengths), torch.from_numpy(items))

    def occurrences(self) -> Occurrences:
        """Which ids occur with which users before `held_out`."""
        users = torch.from_numpy(self.users[: self.held_out])
        return Occurrences(self.wanted(np.arange(self.held_out)), users, self.vocabulary.capacity)

    def wanted(self, events: np.ndarray) -> Tensor:
        """Today's ids of the items of ``events (m,)``."""
        return torch.from_numpy(self.vocabulary.ids(self.values[events]))
