"""The loop that every task shares: epochs, a look at validation, the best weights kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from tqdm.auto import tqdm


class TrainingError(RuntimeError):
    """Training went wrong: the loss is no number any more."""


@dataclass(frozen=True)
class Record:
    """What happened in training. The model itself holds the weights of the best epoch.

    Attributes:
        best_epoch: Epoch with the best validation score; 0 if nothing was to be learned.
        valid: That score, higher is better.
        epochs: Epochs run.
        seconds: Wall-clock time.
        curve: ``(epoch, mean loss since the last look, validation score)`` at every look.
    """

    best_epoch: int
    valid: float
    epochs: int
    seconds: float
    curve: list[tuple[int, float, float]] = field(default_factory=list)


def run_epochs(
    model: nn.Module,
    epoch: Callable[[], float],
    score: Callable[[], float],
    *,
    epochs: int,
    patience: int,
    evaluate_every: int = 1,
    eligible: Callable[[], bool] = lambda: True,
    seed: int = 0,
    progress: bool = False,
) -> Record:
    """Run epochs until validation stops improving, and go back to the best weights.

    torch's global generator, which dropout draws from, is seeded meanwhile and restored after.

    Args:
        model: In training mode during ``epoch``; ends with the weights of its best epoch.
        epoch: Runs one pass over the training data and returns its mean loss.
        score: Measures the model on validation data; higher is better.
        epochs: At most so many passes.
        patience: Stop when the score has not improved for so many epochs.
        evaluate_every: Epochs between two looks at validation.
        eligible: Whether the weights as they are may be the best, as a table that still has to
            become smaller may not. The last epoch has to be.
        seed: Of dropout.
        progress: Show a progress bar.

    Returns:
        The training record. A model without anything to learn is scored, not trained.

    Raises:
        TrainingError: The loss or the score became infinite or NaN.
    """
    start = time.perf_counter()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learned:
        return Record(0, score(), 0, time.perf_counter() - start)
    curve: list[tuple[int, float, float]] = []
    best_epoch, best, best_state = 0, -math.inf, {}
    bar = tqdm(total=epochs, unit="epoch", disable=not progress, leave=False)
    devices = [learned[0].device] if learned[0].device.type == "cuda" else []
    with bar, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        losses = []
        for number in range(1, epochs + 1):
            model.train()
            losses.append(_finite(epoch(), "loss"))
            bar.update()
            if number % evaluate_every and number < epochs:
                continue
            valid = _finite(score(), "validation score")
            curve.append((number, sum(losses) / len(losses), valid))
            losses.clear()
            bar.set_postfix(valid=f"{valid:.4f}")
            if not eligible():
                continue
            if valid > best:
                best_epoch, best, best_state = number, valid, copy.deepcopy(model.state_dict())
            elif number - best_epoch >= patience:
                break
    model.load_state_dict(best_state)
    return Record(best_epoch, best, number, time.perf_counter() - start, curve)


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise TrainingError(f"the {what} is {value}; the learning rate may be too large")
    return value
