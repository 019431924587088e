"""The streaming task: every event predicted before it is learned, while new items arrive."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from memcom.budget import Plan, plan
from memcom.data import Interactions
from memcom.embeddings import prepare
from memcom.tasks.options import (
    build_table,
    default_options,
    plan_table,
    planned_size,
    seeded,
    sort_options,
)
from memcom.tasks.protocol import Outcome, Setting, Size, Task
from memcom.tasks.rankers import HistoryRanker, ItemBias, MostPopular, Ranker
from memcom.tasks.stream import Stream, StreamOptions
from memcom.tasks.stream_fit import fit_past, run_stream
from memcom.tasks.trials import CONTROLS


@dataclass(frozen=True)
class StreamModelOptions:
    """The ranker around the input embedding.

    Attributes:
        embedding_dim: Width of the vectors.
        std: Standard deviation of the rows at the start.
    """

    embedding_dim: int = 64
    std: float = 0.1


def size(setting: Setting, data: Interactions) -> Size:
    """Bytes of the input embedding as planned: of all ids, the reserve among them."""
    if setting.method in CONTROLS:
        return planned_size()
    shape, options = sort_options(setting, StreamModelOptions, StreamOptions)
    capacity = Stream(data, options).vocabulary.capacity
    return planned_size(plan_table(setting, capacity, shape.embedding_dim))


def run(setting: Setting, data: Interactions, device: str = "cpu") -> Outcome:
    """Train on the past, then measure and learn segment after segment.

    The first segments are the validation part, the later ones the test part.

    Args:
        setting: From a sweep.
        data: Interactions with times.
        device: Where to train.

    Returns:
        nDCG@k and Recall@k over all known items, per event and in the mean, and ``new``, the share
        of test events whose item had not been seen when its segment began: these score 0.

    Raises:
        BudgetError: The method cannot be that small.
    """
    shape, options = sort_options(setting, StreamModelOptions, StreamOptions)
    stream = Stream(data, options)
    capacity = stream.vocabulary.capacity
    known = stream.occurrences()
    stored = Size(0, 0)

    def ranker(planned: Plan) -> HistoryRanker:
        with seeded(setting.seed):
            table = build_table(planned, shape.std, known)
            return HistoryRanker(table, item_counts=stream.counts).to(device)

    def pretrain(width: int) -> Tensor:
        narrow = ranker(plan("full", capacity, width))
        fit_past(narrow, stream, options, seed=setting.seed)
        return narrow.embedding.materialize()  # type: ignore[operator]

    model: Ranker
    if setting.method == "popular":
        model = MostPopular(stream.counts)
    elif setting.method == "bias-only":
        model = ItemBias(capacity, item_counts=stream.counts)
    else:
        planned = plan_table(setting, capacity, shape.embedding_dim)
        model = ranker(planned)
        prepare(model.embedding, known, pretrain, seed=setting.seed)  # type: ignore[arg-type]
        stored = planned_size(planned)
    output_nbytes = model.output_nbytes
    result = run_stream(model.to(device), stream, options, seed=setting.seed)
    test = result.of(range(options.valid_segments, options.segments))
    units = {"ndcg": result.ndcg[test].numpy(), "recall": result.recall[test].numpy()}
    metrics = {name: float(values.mean(dtype="float64")) for name, values in units.items()}
    return Outcome(
        metrics={**metrics, "new": float(result.new[test].double().mean())},
        valid=float(result.ndcg[~test].double().mean()),
        size=stored,
        output_nbytes=output_nbytes,
        best_epoch=result.record.best_epoch,
        units=units,
    )


TASK = Task(
    name="streaming",
    metric="ndcg",
    accepts=Interactions,
    run=run,
    size=size,
    profiles={
        "fast": default_options(
            [1e-2], StreamModelOptions(), StreamOptions(), epochs=1, max_events=500
        ),
        "full": default_options(
            [1e-3, 3e-3, 1e-2], StreamModelOptions(), StreamOptions(), segments=20, max_events=2000
        ),
    },
    controls=CONTROLS,
    untrained=("popular",),
    unit="event",
)
