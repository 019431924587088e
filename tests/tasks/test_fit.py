from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

import memcom
from memcom.tasks import FitRecord, Learner, TaskModel, TrainingError


class Counter(TaskModel):
    """Counts its steps: each of them adds 1 to its only weight."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(()))

    def loss(self, batch: Tensor) -> Tensor:
        return -self.steps

    def learner(self, loss: Callable[[Tensor], Tensor] | None = None) -> Learner:
        return Learner(
            self,
            loss or self.loss,
            torch.optim.SGD(self.parameters(), lr=1.0),
            batch_size=4,
            generator=torch.Generator().manual_seed(0),
        )

    def fit(self, score: Callable[[], float], **options: int) -> FitRecord:
        return self.learner().fit(torch.zeros(3), score, **options)


def test_the_best_epoch_wins_and_patience_is_counted_from_it() -> None:
    model = Counter()
    record = model.fit(lambda: -abs(model.steps.item() - 3), epochs=50, patience=4)
    assert (record.best_epoch, record.valid, record.epochs) == (3, 0, 7)
    assert model.steps.item() == 3
    assert [epoch for epoch, *_ in record.curve] == [1, 2, 3, 4, 5, 6, 7]


def test_validation_is_rare_but_the_last_epoch_is_validated() -> None:
    model = Counter()
    record = model.fit(lambda: model.steps.item(), epochs=7, patience=9, evaluate_every=3)
    assert [epoch for epoch, *_ in record.curve] == [3, 6, 7]
    assert [loss for _, loss, _ in record.curve] == [-1, -4, -6]  # means since the last one


def test_an_epoch_takes_every_example_once_in_an_order_of_its_own() -> None:
    seen: list[list[int]] = []
    model = Counter()

    def loss(batch: Tensor) -> Tensor:
        seen.append(batch.tolist())
        return model.loss(batch)

    learner = model.learner(loss)
    for _ in range(2):
        learner.learn(torch.arange(10, 20))
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    one, two = list(chain(*seen[:3])), list(chain(*seen[3:]))
    assert sorted(one) == sorted(two) == list(range(10, 20))
    assert one != two


@pytest.mark.parametrize("broken", ["loss", "validation score"])
def test_a_value_that_is_not_finite_is_an_error(broken: str) -> None:
    nan = float("nan")
    model = Counter()
    learner = model.learner(lambda batch: model.steps * (nan if broken == "loss" else 1))
    with pytest.raises(TrainingError, match=f"{broken} is nan"):
        learner.fit(torch.zeros(3), lambda: nan, epochs=2, patience=1)


class Coded(TaskModel):
    """The mean of the vectors of some ids, whose loss does not depend on the codewords."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.free = nn.Parameter(torch.zeros(()))

    def loss(self, batch: Tensor) -> Tensor:
        return self.embedding(batch).sum() * 0 + self.free


@pytest.mark.parametrize("options", [{}, {"head": 10}, {"bits": 8}])
def test_what_a_table_adds_to_the_loss_moves_its_codewords(options: dict[str, int]) -> None:
    def trained(commitment: float | None) -> tuple[Tensor, Tensor, float]:
        torch.manual_seed(0)
        made = {"form": "centroid", "commitment": commitment, **options}
        model = Coded(memcom.build("dpq", 200, 8, ratio=2, **made))
        dpq = next(m for m in model.modules() if isinstance(m, memcom.DPQEmbedding))
        before = dpq.values.detach().clone()
        learner = Learner(
            model,
            model.loss,
            torch.optim.SGD(model.parameters(), lr=1.0),
            batch_size=64,
            generator=torch.Generator().manual_seed(0),
        )
        ids = torch.arange(100, 164)
        term = dpq.regularizer(ids - options.get("head", 0))
        loss = learner.step(ids)
        assert loss.item() == pytest.approx(0.0 if term is None else term.item())
        learner.close()
        model.loss(ids)
        assert learner.regularizers.loss() == 0  # nothing is watched any more
        return before, dpq.values.detach(), loss.item()

    before, after, _ = trained(None)
    assert torch.equal(before, after)
    before, after, loss = trained(0.0)
    assert loss > 0
    assert not torch.equal(before, after)


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    drawn = []
    Counter().fit(lambda: drawn.append(torch.rand(1)) or 0.0, epochs=1, patience=1)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(0)
    assert torch.equal(drawn[0], torch.rand(1))
