"""The pairwise task: the ranking task trained with RankNet instead of a softmax."""

from __future__ import annotations

from memcom.data import Interactions
from memcom.experiments.options import default_options, plan_table, planned_size, sort_options
from memcom.experiments.tasks import Outcome, Setting, Size, Task
from memcom.experiments.trials import CONTROLS, ModelOptions, Trial, build_ranker
from memcom.models import HistoryRanker
from memcom.training import HeldOut, evaluate
from memcom.training.pairwise import PairwiseOptions, fit_pairwise


def size(setting: Setting, data: Interactions) -> Size:
    """Bytes of the input embedding as planned; see `memcom.plan`."""
    if setting.method in CONTROLS:
        return planned_size()
    shape, _ = sort_options(setting, ModelOptions, PairwiseOptions)
    return planned_size(plan_table(setting, data.num_items, shape.embedding_dim))


def run(setting: Setting, data: Interactions, device: str = "cpu") -> Outcome:
    """Train a history ranker with RankNet, freeze its embedding, rank all items for every user.

    Args:
        setting: From a sweep.
        data: Interactions with a split.
        device: Where to train.

    Returns:
        nDCG@k and Recall@k over all items, per user and in the mean.

    Raises:
        BudgetError: The method cannot be that small.
    """
    shape, training = sort_options(setting, ModelOptions, PairwiseOptions)
    ratio = None
    if setting.method not in CONTROLS:
        planned = plan_table(setting, data.num_items, shape.embedding_dim)
        # None for the full table, which has no budget.
        ratio = planned.full_nbytes / planned.budget or None
    model = build_ranker(Trial(setting.method, ratio, setting.seed, shape), data).to(device)
    trained = fit_pairwise(model, data, training, seed=setting.seed)
    stored = Size(0, 0)
    if isinstance(model, HistoryRanker):
        model.embedding = model.embedding.freeze()  # type: ignore[operator]
        stored = Size(model.input_nbytes, 4 * data.num_items * shape.embedding_dim)
    tested = evaluate(model, HeldOut.of(data, "test").to(device), k=training.k)
    units = {"ndcg": tested.ndcg.numpy(), "recall": tested.recall.numpy()}
    return Outcome(
        metrics={name: float(values.mean(dtype="float64")) for name, values in units.items()},
        valid=trained.valid,
        size=stored,
        output_nbytes=model.output_nbytes,
        best_epoch=trained.best_epoch,
        units=units,
    )


_TRAINING = PairwiseOptions()

TASK = Task(
    name="pairwise",
    metric="ndcg",
    accepts=Interactions,
    run=run,
    size=size,
    profiles={
        "fast": default_options([1e-2], ModelOptions(), _TRAINING, epochs=40),
        "full": default_options([3e-3, 1e-2, 3e-2], ModelOptions(), _TRAINING, num_samples=1024),
    },
    controls=CONTROLS,
    untrained=("popular",),
)
