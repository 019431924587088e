"""Cost against growth: time of an id over the number of ids and the batch; where caches end.

Ids are uniform, so that every row is as likely as any other: what the caches do not hold is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.candidates import BASELINE, Candidates, fused_step, step, without_gradients
from benchmarks.machine import SPARE, free_memory
from benchmarks.methods import sizes
from benchmarks.targets import GROWTH
from memcom import optim
from memcom._text import in_bytes, table
from memcom.budget import build
from memcom.embeddings import CompressedEmbedding

if TYPE_CHECKING:
    from memcom.plots import Growth

Row = Mapping[str, Any]
METHODS = {  # name of a row -> name in the picture
    **{BASELINE: "full", "memcom": "memcom", "qr": "qr", "qr, 8 bits": "qr(8 bits)"},
    **{f"{BASELINE}, sparse SGD": "full", "memcom, SGD": "memcom", "qr, SGD": "qr"},
}
WORK = ("lookup", "training step")
CACHES = {"L2": "l2_bytes", "L3": "l3_bytes"}  # name -> column


def groups(n: int, e: int, largest: int) -> Iterator[tuple[Candidates, dict[str, int]]]:
    """Yield lookups and then SGD steps, with the bytes that each table stores.

    The full table is left out where there is no memory for it.
    """
    fits = free_memory() > 4 * n * e + SPARE
    layers: dict[str, nn.Module] = {BASELINE: nn.Embedding(n, e)} if fits else {}
    layers |= {name: build(name, n, e, **sizes(name, n)) for name in ("memcom", "qr")}
    layers["qr, 8 bits"] = packed("qr", n, e, 8)
    yield without_gradients(dict(layers)), {name: stored(layer) for name, layer in layers.items()}
    layers.clear()
    upstream = torch.randn(largest, e)
    steps, found = {}, {}
    if fits:
        full = nn.Embedding(n, e, sparse=True)
        name = f"{BASELINE}, sparse SGD"
        steps[name] = step(full, torch.optim.SGD(full.parameters(), 0.01), upstream)
        found[name] = stored(full)
    for method in ("memcom", "qr"):
        layer = build(method, n, e, sparse=True, **sizes(method, n))
        steps[f"{method}, SGD"] = fused_step(optim.SGD, layer, upstream)
        found[f"{method}, SGD"] = layer.nbytes
    yield steps, found


def packed(name: str, n: int, e: int, bits: int) -> CompressedEmbedding:
    """Build a layer with packed rows, codes at random: to quantise 10^8 numbers takes a minute."""
    layer = build(name, n, e, bits=bits, device="meta", **sizes(name, n)).freeze()
    layer = layer.to_empty(device="cpu")
    for tensor in layer.state_dict().values():
        tensor.random_() if tensor.dtype == torch.uint8 else tensor.normal_(std=0.01)
    return layer.eval()


def stored(layer: nn.Module) -> int:
    """Return the bytes of a layer's parameters and buffers."""
    return sum(tensor.nbytes for tensor in layer.state_dict().values())


# --- rows as a table and as panels ----------------------------------------------------------------


def growth_table(rows: Iterable[Row], *, style: str = "markdown") -> str:
    """Write nanoseconds an id: a line for each work, method and number of ids, a column a batch.

    Args:
        rows: A run; its rows of other parts, and of fewer threads, are passed over.
        style: ``"markdown"``, or ``"plain"`` for a terminal.

    Returns:
        The lines; empty if the run has no such part.
    """
    lines: dict[tuple[str, str, int], dict[str, str]] = {}
    rows = growth_rows(rows)
    columns = [f"{batch:,}" for batch in sorted({row["batch"] for row in rows})]
    for row in rows:
        key = WORK[_is_step(row)], row["method"], row["num_embeddings"]
        first = {"work": key[0], "method": key[1], "ids": f"{key[2]:,}"}
        first["stored"] = in_bytes(row["checkpoint"])
        line = lines.setdefault(key, {**first, **dict.fromkeys(columns, "–")})
        spent = nanoseconds(row)
        line[f"{row['batch']:,}"] = f"{spent:.3g}" if spent < 1000 else f"{spent:,.0f}"
    order = sorted(lines, key=lambda key: (WORK.index(key[0]), list(METHODS).index(key[1]), key[2]))
    return table([lines[key] for key in order], style=style, right=["ids", "stored", *columns])


def growth_rows(rows: Iterable[Row]) -> list[Row]:
    """Select the part's rows with the most threads."""
    found = [row for row in rows if row["phase"] == GROWTH]
    most = max((row["threads"] for row in found), default=0)
    return [row for row in found if row["threads"] == most]


def nanoseconds(row: Row) -> float:
    """Return the time of one id of a batch."""
    return float(1e9 * row["seconds"] / row["batch"])


def _is_step(row: Row) -> bool:
    return "SGD" in row["method"]


def growth_panels(rows: Iterable[Row], n: int = 10**6) -> list[Growth]:
    """Lay out the part for `memcom.plots.cost_against_growth`.

    Args:
        rows: A run with this part.
        n: Number of ids of the panels over the batch; else the largest that is measured.

    Returns:
        Panels: lookups and steps, over the bytes stored and over the batch; none if the run has no
        such part. Over the bytes, the batch is the largest up to 10^5. Over the batch, a cache ends
        where the vectors of a batch fill it.
    """
    from memcom.plots import Growth

    rows = growth_rows(rows)
    if not rows:
        return []
    batches = {row["batch"] for row in rows}
    batch = max((b for b in batches if b <= 10**5), default=max(batches))
    measured = {row["num_embeddings"] for row in rows}
    n = n if n in measured else max(measured)
    width = rows[0]["embedding_dim"]
    ends = {name: rows[0][key] for name, key in CACHES.items() if key in rows[0]}
    panels = []
    for is_step, work in enumerate(WORK):
        here = [row for row in rows if _is_step(row) == is_step]
        over = {
            "bytes": [(row, row["checkpoint"]) for row in here if row["batch"] == batch],
            "batch": [(row, row["batch"]) for row in here if row["num_embeddings"] == n],
        }
        for axis, points in over.items():
            lines = {
                name: sorted((x, nanoseconds(row)) for row, x in points if row["method"] == method)
                for method, name in METHODS.items()
                if any(row["method"] == method for row, _ in points)
            }
            by_size = axis == "bytes"
            if by_size:
                title = f"{work.capitalize()}, {batch:,} ids at a time"
                panels.append(Growth(title, "bytes of the table", lines, ends, in_bytes=True))
            else:
                of_output = {name: nbytes / (4 * width) for name, nbytes in ends.items()}
                title = f"{work.capitalize()}, {n:,} ids"
                panels.append(Growth(title, "ids at a time", lines, of_output))
    return panels
