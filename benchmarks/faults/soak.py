"""A soak: fused steps in two threads for an hour, against a dense reference, with an eye on memory.

    python -m benchmarks.faults soak --minutes 60

Each thread trains layers of its own, one after the other, on random batches whose size varies. Two
copies of a layer are trained beside it: one by the same optimizer without ``fuse``, which has to be
equal to the last bit, and one in float64 by the plain lookup, dense gradients and the optimizer's
formula, which has to stay within `TOLERANCE`.
"""

from __future__ import annotations

import copy
import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import memcom
from memcom import kernels

METHODS = (
    "full hash double-hash hash-embedding memcom memcom-bias qr qr(operation=add) bloom".split()
)
METHODS += ["mixed-radix", "crt"]
OPTIMIZERS = ("SGD", "RowwiseAdagrad", "LazyAdam")
# With a small eps, the first step of a row is as long whatever its gradient, and where the parts of
# the gradient cancel, rounding decides on the direction.
OPTIONS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 0.05},
    "RowwiseAdagrad": {"lr": 0.02, "eps": 1e-3},
    "LazyAdam": {"lr": 0.002, "eps": 1e-4},
}
NUM_EMBEDDINGS, EMBEDDING_DIM, RATIO = 20_000, 16, 4
STEPS = 100, 4000  # of one layer, from and to
TOLERANCE = 1e-4  # of the largest weight of a table
LOCK = threading.Lock()  # of torch's random numbers and of what was found
GROWTH = 32.0  # MB of resident memory between the middle and the last third of the time


class Case(NamedTuple):
    """A layer to train: its method, the optimizer, and the seed of its weights and batches."""

    method: str
    optimizer: str
    seed: int


class Trained(NamedTuple):
    """What became of a case: how far it is from its references, and rows changed unread."""

    unequal_bits: int
    deviation: float
    moved: int


@dataclass
class Soaked:
    """Counts of a soak; `drifted` has to be empty, and `grown` at most `GROWTH`.

    Attributes:
        minutes: How long it ran.
        layers: Layers that were trained to their end.
        steps: Fused steps.
        worst: Largest deviation from the float64 reference, relative to a table's largest weight.
        drifted: Cases that differ from a reference, in words.
        resident: Seconds since the start, and resident memory in MB then.
    """

    minutes: float
    layers: int = 0
    steps: int = 0
    worst: float = 0.0
    drifted: list[str] = field(default_factory=list)
    resident: list[tuple[float, float]] = field(default_factory=list)

    @property
    def grown(self) -> float:
        """Growth of the median resident memory from the middle third of the time to the last."""
        third = len(self.resident) // 3
        middle, last = (
            sorted(memory for _, memory in part)
            for part in (self.resident[third : 2 * third], self.resident[2 * third :])
        )
        return last[len(last) // 2] - middle[len(middle) // 2] if middle else 0.0

    @property
    def faults(self) -> int:
        """Everything that is wrong."""
        return len(self.drifted) + (self.grown > GROWTH)

    def __str__(self) -> str:
        first, last = (self.resident[k][1] for k in (0, -1)) if self.resident else (0.0, 0.0)
        lines = [
            f"{self.minutes:.1f} min, {self.layers} layers, {self.steps} fused steps: "
            f"{len(self.drifted)} drifted, worst deviation {self.worst:.2g} "
            f"(limit {TOLERANCE:g}); resident memory {first:.0f} MB at first, {last:.0f} MB at "
            f"last, {self.grown:+.1f} MB from the middle third to the last (limit {GROWTH:g})",
            *self.drifted,
        ]
        return "\n".join(lines)


class Reference:
    """A layer in float64, trained with dense gradients by the formulas of `memcom.optim`."""

    def __init__(self, layer: Any, rule: str) -> None:
        self.layer = copy.deepcopy(layer).double()
        self.layer.sparse = False
        self.rule, self.options, self.count = rule, OPTIONS[rule], 0
        self.state: dict[str, list[Tensor]] = {}
        for name, weight in self.layer.named_parameters():
            shape = weight[..., :1] if rule == "RowwiseAdagrad" else weight
            self.state[name] = [torch.zeros_like(shape) for _ in range(2)]

    def step(self, ids: Tensor, target: Tensor) -> None:
        """Take a step on the mean squared distance from ``target``."""
        self.layer.zero_grad()
        with kernels.plain():
            loss(self.layer(ids), target.double()).backward()
        self.count += 1
        with torch.no_grad():
            for name, weight in self.layer.named_parameters():
                self._change(weight, weight.grad, *self.state[name])

    def _change(self, weight: Tensor, g: Tensor, first: Tensor, second: Tensor) -> None:
        rate = self.options["lr"]
        if self.rule == "SGD":
            weight -= rate * g
        elif self.rule == "RowwiseAdagrad":
            first += (g**2).mean(-1, keepdim=True)
            weight -= rate * g / (first.sqrt() + self.options["eps"])
        else:
            read = (g != 0).any(-1, keepdim=True)
            first.copy_(torch.where(read, 0.9 * first + 0.1 * g, first))
            second.copy_(torch.where(read, 0.999 * second + 0.001 * g**2, second))
            # LazyAdam adds eps to the root of the moment as it is, before its correction.
            root = second.sqrt() + self.options["eps"]
            correction = (1 - 0.999**self.count) ** 0.5 / (1 - 0.9**self.count)
            weight -= torch.where(read, rate * correction * first / root, 0)


def loss(vectors: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared distance, a mean over vectors only."""
    return (vectors - target).square().sum(-1).mean()


def batches(case: Case) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids, few of them often, and the vectors they shall have."""
    draw = torch.Generator().manual_seed(case.seed)
    target = torch.randn(NUM_EMBEDDINGS, EMBEDDING_DIM, generator=draw) * 0.1
    while True:
        size = int(torch.randint(64, 2000, (), generator=draw))
        ids = (torch.rand(size, generator=draw) ** 3 * NUM_EMBEDDINGS).long()
        if size % 2:
            ids = ids.int()
        yield ids, target[ids.long()]


def train(case: Case, steps: int) -> Trained:
    """Train a layer and its two copies, and compare them."""
    name, options = memcom.parse_spec(case.method)
    size = {} if name == "full" else {"ratio": RATIO}
    with LOCK:
        torch.manual_seed(case.seed)
        layer: Any = memcom.build(
            name, NUM_EMBEDDINGS, EMBEDDING_DIM, **size, **options, sparse=True
        )
    before = copy.deepcopy(layer)
    unfused, reference = copy.deepcopy(layer), Reference(layer, case.optimizer)
    make = getattr(memcom.optim, case.optimizer)
    optimizers = [make(each.parameters(), **OPTIONS[case.optimizer]) for each in (layer, unfused)]
    if not optimizers[0].fuse(layer):
        raise RuntimeError(f"{case.method} cannot be fused here: numba is needed")
    read = torch.zeros(NUM_EMBEDDINGS, dtype=torch.bool)
    for ids, target in islice(batches(case), steps):
        read[ids.long()] = True
        for each, optimizer in zip((layer, unfused), optimizers, strict=True):
            optimizer.zero_grad()
            loss(each(ids), target).backward()
            optimizer.step()
        reference.step(ids, target)
    return compare(before, layer, unfused, reference.layer, read)


@torch.no_grad()
def compare(before: Any, layer: Any, unfused: Any, reference: Any, read: Tensor) -> Trained:
    """Compare a trained layer with its references, and rows that were not ``read`` with before."""
    unequal, deviations = 0, [0.0]
    wanted = dict(reference.named_parameters())
    twins = dict(unfused.named_parameters())
    for name, weight in layer.named_parameters():
        unequal += int((weight.view(torch.int32) != twins[name].view(torch.int32)).sum())
        scale = wanted[name].abs().max()
        deviations.append(float((weight - wanted[name]).abs().max() / scale))
    deviation = math.inf if any(map(math.isnan, deviations)) else max(deviations)
    return Trained(unequal, deviation, moved_unread(before, layer, read))


def moved_unread(before: nn.Module, layer: Any, read: Tensor) -> int:
    """Count the vectors that changed although no id that was ``read`` shares a row with theirs."""
    rows = layer.addresses(torch.arange(NUM_EMBEDDINGS))
    touched = torch.zeros(NUM_EMBEDDINGS, dtype=torch.bool)
    for address in rows.values():
        mine = torch.isin(address, address[read])
        touched |= mine if mine.ndim == 1 else mine.flatten(1).any(1)
    untouched = torch.arange(NUM_EMBEDDINGS)[~touched]
    with kernels.plain():
        return int((before(untouched) != layer(untouched)).any(-1).sum())


def soak(minutes: float, report: Callable[[str], Any] = lambda line: None) -> Soaked:
    """Train in two threads for so many minutes; ``report`` is called with a line each minute."""
    kernels.warm_up()
    cases = list(product(METHODS, OPTIMIZERS))
    start = time.monotonic()
    found = Soaked(minutes)

    def over() -> bool:
        return time.monotonic() - start > 60 * minutes

    def work(thread: int) -> None:
        mine = random.Random(thread)
        while not over():
            for method, optimizer in mine.sample(cases, len(cases)):
                case = Case(method, optimizer, mine.randrange(2**31))
                steps = int(math.exp(mine.uniform(*map(math.log, STEPS))))
                trained = train(case, steps)
                with LOCK:
                    found.layers += 1
                    found.steps += steps
                    found.worst = max(found.worst, trained.deviation)
                    if trained.unequal_bits or trained.moved or trained.deviation > TOLERANCE:
                        found.drifted.append(f"{case}: {trained}")
                if over():
                    return

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work, thread) for thread in range(2)]
        reported = 0
        while not all(future.done() for future in futures):
            time.sleep(1)
            seconds = time.monotonic() - start
            found.resident.append((seconds, resident()))
            if seconds // 60 > reported:
                reported = int(seconds // 60)
                with LOCK:
                    report(str(found).split("\n")[0].replace(f"{minutes:.1f}", f"{reported}", 1))
        for future in futures:
            future.result()
    return found


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
