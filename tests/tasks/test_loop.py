from __future__ import annotations

import pytest
import torch
from torch import nn

from memcom.tasks import TrainingError
from memcom.tasks.loop import run_epochs


class Counter(nn.Module):
    """Learns to count its epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = nn.Parameter(torch.zeros(()))

    def step(self) -> float:
        with torch.no_grad():
            self.epoch += 1
        return 1 / self.epoch.item()


def test_the_best_epoch_wins_and_patience_is_counted_from_it() -> None:
    model = Counter()
    record = run_epochs(
        model, model.step, lambda: -abs(model.epoch.item() - 3), epochs=50, patience=4
    )
    assert (record.best_epoch, record.valid, record.epochs) == (3, 0, 7)
    assert model.epoch.item() == 3
    assert [epoch for epoch, *_ in record.curve] == [1, 2, 3, 4, 5, 6, 7]


def test_looks_are_rare_but_the_last_epoch_is_looked_at() -> None:
    model = Counter()
    record = run_epochs(
        model, model.step, lambda: model.epoch.item(), epochs=7, patience=9, evaluate_every=3
    )
    assert [epoch for epoch, *_ in record.curve] == [3, 6, 7]
    assert record.curve[0][1] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


@pytest.mark.parametrize("broken", ["loss", "validation score"])
def test_what_is_no_number_is_an_error(broken: str) -> None:
    nan = float("nan")
    loss, score = (nan, 0.0) if broken == "loss" else (0.0, nan)
    with pytest.raises(TrainingError, match=f"the {broken} is nan"):
        run_epochs(Counter(), lambda: loss, lambda: score, epochs=2, patience=1)


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    drawn = []
    run_epochs(
        Counter(), lambda: drawn.append(torch.rand(1)) or 0.0, lambda: 0, epochs=1, patience=1
    )
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(0)
    assert torch.equal(drawn[0], torch.rand(1))
