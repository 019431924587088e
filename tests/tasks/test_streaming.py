from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import memcom
from memcom.tasks import (
    HistoryRanker,
    ItemBias,
    MostPopular,
    Setting,
    Stream,
    StreamOptions,
    get_task,
    run_stream,
    streaming,
)
from tests.tasks.data import events

QUICK = StreamOptions(
    learning_rate=3e-2,
    batch_size=64,
    epochs=4,
    segments=4,
    valid_segments=1,
    shared=2,
    window=6,
    max_events=200,
    k=5,
)


def ranker(stream: Stream, name: str = "full") -> HistoryRanker:
    torch.manual_seed(0)
    capacity = stream.vocabulary.capacity
    table = memcom.build(name, capacity, 8, sparse=True, **({} if name == "full" else {"ratio": 2}))
    table.reset_parameters(0.1)
    return HistoryRanker(table, item_counts=stream.counts)


def test_histories_are_the_users_last_events_before_each_event() -> None:
    data = events()
    stream = Stream(data, QUICK)
    order = np.argsort(data.time)
    chosen = np.array([0, 17, 900, 2000, 2399])
    histories = stream.histories(chosen)
    for place, event in enumerate(chosen):
        before = [e for e in order[:event] if data.user[e] == data.user[order[event]]][-6:]
        expected = stream.vocabulary.ids(stream.values[np.argsort(order)[before]])
        start, stop = histories.offsets[place : place + 2].tolist()
        assert histories.items[start:stop].tolist() == expected.tolist()
    # The stream's names are one to one with the items.
    pairs = {(int(v), int(i)) for v, i in zip(stream.values, data.item[order], strict=True)}
    assert len(pairs) == len(np.unique(stream.values)) == len(np.unique(data.item))


def test_ids_are_by_frequency_in_the_past_alone() -> None:
    data = events()
    stream = Stream(data, QUICK)
    past = data.item[np.argsort(data.time)][: stream.past]
    counts = np.bincount(past, minlength=data.num_items)
    ids = stream.wanted(np.arange(stream.past)).numpy()
    assert (np.diff(np.bincount(ids)) <= 0).all()
    assert stream.vocabulary.num_known == np.count_nonzero(counts)
    assert (counts[past] == np.bincount(ids)[ids]).all()


def test_what_comes_later_changes_nothing_that_was_measured_before() -> None:
    data = events()
    third = np.argsort(data.time)[Stream(data, QUICK).segments[2][0] :]
    item = data.item.copy()
    item[third] = np.random.default_rng(1).permutation(item[third])
    found = []
    for each in (data, replace(data, item=item)):
        stream = Stream(each, QUICK)
        found.append(run_stream(ranker(stream), stream, QUICK))
    same = found[0].of(range(2))
    assert torch.equal(found[0].ndcg[same], found[1].ndcg[same])
    assert not torch.equal(found[0].ndcg[~same], found[1].ndcg[~same])


def test_planted_taste_is_found_where_controls_find_none() -> None:
    means = {}
    for name in ("full", "popular", "bias-only"):
        stream = Stream(events(), QUICK)
        capacity = stream.vocabulary.capacity
        model = {
            "full": lambda s=stream: ranker(s),
            "popular": lambda s=stream: MostPopular(s.counts),
            "bias-only": lambda s=stream, n=capacity: ItemBias(n, item_counts=s.counts),
        }[name]()
        means[name] = float(run_stream(model, stream, QUICK).ndcg.mean())
    assert means["full"] > 1.5 * max(means["popular"], means["bias-only"])


def test_what_has_no_id_of_its_own_is_missed_and_learned_for_the_next_segment() -> None:
    stream = Stream(events(), QUICK)
    known = stream.vocabulary.num_known
    result = run_stream(ranker(stream), stream, QUICK)
    assert result.new.any()
    assert (result.ndcg[result.new] == 0).all()
    assert stream.vocabulary.num_known > known
    # There is hardly anything new in the end, and a late item is found.
    assert result.new[result.of(range(3, 4))].sum() < result.new[result.of(range(1))].sum()


def test_without_a_reserve_late_items_share_ids_and_training_goes_on() -> None:
    options = replace(QUICK, reserve=0.0)
    stream = Stream(events(), options)
    result = run_stream(ranker(stream), stream, options)
    assert stream.vocabulary.num_left == 0
    last = result.of(range(3, 4))
    assert (result.ndcg[last & result.new] == 0).all()
    assert result.new[last].any()
    assert torch.isfinite(result.ndcg).all()


def test_popularity_is_counted_up_to_the_end() -> None:
    data = events()
    stream = Stream(data, QUICK)
    model = MostPopular(stream.counts)
    run_stream(model, stream, QUICK)
    ids = stream.wanted(np.arange(len(data))).numpy()
    assert model.bias.tolist() == np.bincount(ids, minlength=stream.vocabulary.capacity).tolist()


@pytest.mark.parametrize("name", ["full", "memcom"])
def test_one_seed_gives_one_result_over_the_same_events(name: str) -> None:
    results = []
    for seed in (0, 0, 1):
        stream = Stream(events(), QUICK)
        results.append(run_stream(ranker(stream, name), stream, QUICK, seed=seed))
    once, again, other = results
    assert torch.equal(once.ndcg, again.ndcg)
    assert not torch.equal(once.ndcg, other.ndcg)
    assert torch.equal(once.new, other.new)


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="has no times"):
        Stream(replace(events(), time=None), QUICK)
    stream = Stream(events(), QUICK)
    with pytest.raises(ValueError, match="the model ranks 3 items"):
        run_stream(ItemBias(3), stream, QUICK)
    with pytest.raises(ValueError, match=r"valid_segments must be in \[1, segments\), got 4 of 4"):
        replace(QUICK, valid_segments=4)
    with pytest.raises(ValueError, match="window must be at least 1"):
        StreamOptions(window=0)


def test_sizes_of_one_stream_build_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data, built = events(), []

    class Counted(Stream):
        def __init__(self, *args: Any) -> None:
            built.append(1)
            super().__init__(*args)

    monkeypatch.setattr(streaming, "Stream", Counted)
    task = get_task("streaming")
    settings = [Setting("streaming", "hash", ratio) for ratio in (2, 4, 8)]
    sizes = [task.size(each, data) for each in settings]
    assert len(built) == 1
    capacity = Stream(data, StreamOptions()).vocabulary.capacity
    assert {size.full_nbytes for size in sizes} == {4 * 64 * capacity}
    task.size(replace(settings[0], options={"shared": 8}), data)
    assert len(built) == 2
    task.size(settings[0], replace(data))
    assert len(built) == 3
