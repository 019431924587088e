"""What bounds a training step: steps of SGD beside the part of them that takes time in any code.

    python -m benchmarks.bounds --steps

- memcom: the whole step in C++, forward, sorting, sums and update, without checks; by itself, and
  called by a module, a function of autograd and an optimizer that do nothing else
- lma: its cells in C++, hashed and read, hashed and changed, for each different id once
- dpq, mgqe, dhe, path: the matrix products of forward and backward pass alone, likewise

Nothing else is in a bound. A step that takes less than its products has kernels that multiply these
sizes quicker than torch does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import methods
from benchmarks.bounds.probes import WIDTH, Functions, compile_probes, lma_arguments
from benchmarks.candidates import BASELINE, Candidates, fused_step, memcom_layer, step
from memcom import kernels, optim
from memcom._text import table
from memcom.embeddings import DHEmbedding, DPQEmbedding, PathEmbedding
from memcom.kernels.grouped import class_outer, class_product
from memcom.profiling import draw_ids, interleave

BATCH = 4096  # ids of a step
MEMCOM = ("memcom", "memcom, by torch")
STEPS = (*MEMCOM, "dpq", "mgqe", "dhe", "path", "lma")
OURS, BOUND = "ours", "bound"
RATE = 1e-3  # of SGD, as in probe.cpp
_DRAWN = 2**20


def steps_measured(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time training steps beside their bounds, in this process.

    Args:
        settings: ``num_embeddings``, ``methods``, ``batch`` and ``seconds`` for each method.

    Yields:
        A row for each method: ratios to nn.Embedding's step of sparse SGD, seconds, and what the
        bound consists of.

    Raises:
        NoCompiler: There is no g++.
    """
    library, batch = compile_probes(), settings["batch"]
    kernels.warm_up()
    for name in settings["methods"]:
        n = settings["num_embeddings"] // (1 if name in MEMCOM else 10)
        group, what = step_group(library, name, n, batch)
        ids = draw_ids("zipf", n, _DRAWN)
        batches = [
            (part, part.unique()) for part in ids[: len(ids) // batch * batch].view(-1, batch)
        ]
        timings = interleave(group, batches, seconds=settings["seconds"])
        ours, bound = timings[OURS], timings[BOUND]
        yield {
            **{"method": name, "num_embeddings": n, "batch": batch},
            **{"threads": torch.get_num_threads(), "rounds": ours.rounds},
            **{"baseline_seconds": ours.baseline_median},
            **{"ours_seconds": ours.median, "bound_seconds": bound.median},
            **{"ours_ratio": ours.ratio, "bound_ratio": bound.ratio},
            **{"ours_to_bound": ours.ratio / bound.ratio, "bound": what},
        }


def step_group(library: ctypes.CDLL, name: str, n: int, batch: int) -> tuple[Candidates, str]:
    """Return nn.Embedding's step, the method's and its bound, and what the bound consists of.

    A batch is a pair: ids, and the different ones among them.
    """
    full, upstream = nn.Embedding(n, WIDTH, sparse=True), torch.randn(batch, WIDTH)
    base = step(full, torch.optim.SGD(full.parameters(), RATE), upstream)
    layer: Any
    if name in MEMCOM:
        own, layer = fused_step(optim.SGD, memcom_layer(n, WIDTH), upstream), memcom_layer(n, WIDTH)
    else:
        layer = methods.at_16(name, n, WIDTH, sparse=True)
        own = step(layer, optim.SGD(layer.parameters()), upstream)
    bound, what = step_bound(library, name, layer, upstream)
    group: Candidates = {
        BASELINE: lambda pair: base(pair[0]),
        OURS: lambda pair: own(pair[0]),
        BOUND: lambda pair: bound(*pair),
    }
    return group, what


def step_bound(
    library: ctypes.CDLL, name: str, layer: Any, upstream: Tensor
) -> tuple[Callable[[Tensor, Tensor], object], str]:
    """Return what a step on ``layer`` cannot do without, of ids and the different ones among them.

    The bounds in C++ change the layer.
    """
    if name in MEMCOM:
        by_torch = name == "memcom, by torch"
        whole = memcom_step(library, layer, upstream, by_torch=by_torch)
        what = "the step in C++" + by_torch * ", called by autograd"
        return lambda ids, distinct: whole(ids), what
    if name == "lma":
        cells = lma_step(library, layer, upstream)
        return lambda ids, distinct: cells(distinct), "its cells in C++"
    products: Callable[..., object]
    by = "torch"
    if isinstance(layer, PathEmbedding):
        products, by = path_products(layer, len(upstream)), "our kernels"
    elif isinstance(layer, DPQEmbedding):
        products = methods.codeword_products(layer, len(upstream))
    else:
        assert isinstance(layer, DHEmbedding)
        products = methods.network_products(layer, len(upstream))
    return lambda ids, distinct: products(len(distinct)), f"matrix products, by {by}"


def path_products(layer: PathEmbedding, largest: int) -> Callable[[int], list[Tensor]]:
    """Return the products of a path's step: vectors, and gradients of its rows and of its maps.

    They are those of `memcom.kernels`, in classes of the same size.

    Raises:
        ValueError: The maps are not linear, or there are several partitions of them.
    """
    if layer.hidden_dim is not None or len(layer.transforms) > 1:
        raise ValueError("the products are those of one linear map")
    rows, upstream = torch.randn(2, largest, layer.embedding_dim)
    maps = layer.transforms[0].detach().unflatten(-1, (layer.embedding_dim, -1))

    def products(count: int) -> list[Tensor]:
        ends = torch.arange(len(maps) + 1) * count // len(maps)
        x, gradient, sizes = rows[:count], upstream[:count], ends.diff().tolist()
        found = [class_product(x, maps, sizes), class_product(gradient, maps.mT, sizes)]
        return [*found, class_outer(x, gradient, sizes)]

    return products


def memcom_step(
    library: ctypes.CDLL, layer: Any, upstream: Tensor, *, by_torch: bool = False
) -> Callable[[Tensor], Tensor]:
    """Return a function that takes a step of SGD on MEmCom in C++.

    Args:
        library: From `compile_probes`.
        layer: Without a bias, of width 64, float32 on the CPU.
        upstream: Gradients of the vectors, float32 ``(n, 64)``, contiguous.
        by_torch: Call it as torch would: a module, a function of autograd, an optimizer.

    Returns:
        A function of int64 ids ``(<= n,)``, which nothing checks, that returns their vectors as
        they were before.
    """
    keys = torch.empty(4, len(upstream), dtype=torch.int64)
    arguments = [layer.table, len(layer.table), layer.multiplier, len(layer.multiplier)]
    arguments += [upstream, keys, torch.empty(len(upstream))]
    look_up, sort, change = (
        Functions(library, [(name, True) for name in names], arguments)
        for names in (["memcom"], ["memcom_sort"], ["memcom_rows", "memcom_numbers"])
    )

    def run(ids: Tensor) -> Tensor:
        out = torch.empty(len(ids), WIDTH)
        for functions in (look_up, sort, change):
            functions(ids, out)
        return out

    if not by_torch:
        return run
    module = _Called(look_up, sort, [layer.table, layer.multiplier])
    optimizer = _Last(module.parameters(), change)

    def run_by_torch(ids: Tensor) -> Tensor:
        optimizer.zero_grad()
        vectors: Tensor = module(ids)
        vectors.backward(upstream[: len(ids)])
        optimizer.read = ids, vectors
        optimizer.step()
        return vectors.detach()

    return run_by_torch


class _Call(torch.autograd.Function):
    """A lookup, and what its backward pass does: the least that autograd can be asked for."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, module: _Called, *tables: Tensor) -> Tensor:
        ctx.save_for_backward(ids, *tables)
        ctx.module, out = module, torch.empty(len(ids), WIDTH)
        module.look_up(ids, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:
        ids, *tables = ctx.saved_tensors
        ctx.module.sort(ids, grad)
        return (None, None, *(None for _ in tables))


class _Called(nn.Module):
    def __init__(self, look_up: Functions, sort: Functions, tables: list[nn.Parameter]) -> None:
        super().__init__()
        self.look_up, self.sort, self.tables = look_up, sort, nn.ParameterList(tables)
        self.listed = tables

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = _Call.apply(ids, self, *self.listed)
        return vectors


class _Last(torch.optim.Optimizer):
    read: tuple[Tensor, Tensor]

    def __init__(self, params: Iterator[nn.Parameter], change: Functions) -> None:
        super().__init__(params, {})
        self.change = change

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        self.change(*self.read)


def lma_step(library: ctypes.CDLL, layer: Any, upstream: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that takes a step of SGD on the cells of LMA in C++.

    With several threads an update is lost where two change a cell at once.

    Args:
        library: From `compile_probes`.
        layer: As for `Probe`.
        upstream: Gradients of the vectors, float32 ``(n, 64)``, contiguous.

    Returns:
        As `memcom_step`.
    """
    arguments = lma_arguments(layer)
    reads = Functions(library, [("lma", True)], arguments)
    writes = Functions(library, [("lma_step", True)], arguments)

    def run(ids: Tensor) -> Tensor:
        out = torch.empty(len(ids), WIDTH)
        reads(ids, out)
        writes(ids, upstream)
        return out

    return run


def steps_table(rows: Sequence[Mapping[str, Any]], style: str = "markdown") -> str:
    """Write what `steps_measured` found as a table: a line for each method."""
    cells = [
        {
            "method": row["method"],
            "ours / full": f"{row['ours_ratio']:.2f}",
            "bound / full": f"{row['bound_ratio']:.2f}",
            "ours / bound": f"{row['ours_to_bound']:.2f}",
            **{
                f"{name}, µs": f"{1e6 * row[f'{key}_seconds']:,.0f}"
                for name, key in (("full", "baseline"), (OURS, OURS), (BOUND, BOUND))
            },
            "the bound": row["bound"],
        }
        for row in rows
    ]
    return table(cells, style=style, right=list(cells[0])[1:-1])
