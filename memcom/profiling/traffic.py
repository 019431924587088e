"""Bytes that a lookup moves: those it asks for, and those that come from memory.

Memory is read in lines of 64 bytes, so a single number costs a whole line. A line that is read
twice comes from memory once, if the cache still holds it. The model cache holds the lines that were
read last (LRU); real ones come close, and hold other data too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import shown, whole

LINE = 64  # bytes of a cache line, on all common processors


class Traffic(NamedTuple):
    """Bytes of one lookup.

    Attributes:
        ids: Ids that are read, 8 bytes each.
        rows: Rows, repeats counted.
        lines: Cache lines under these rows that the cache does not hold, each once.
        output: Vectors that are written.
        tables: Size of the tables that are read.
    """

    ids: int
    rows: int
    lines: int
    output: int
    tables: int

    @property
    def asked(self) -> int:
        """Bytes read and written, repeats counted."""
        return self.ids + self.rows + self.output

    @property
    def moved(self) -> int:
        """Bytes that pass between memory and cache."""
        return self.ids + self.lines + self.output


@checked
def lookup_traffic(
    emb: nn.Module, ids: Tensor, *, before: Tensor | None = None, cache: int = 0
) -> Traffic:
    """Count the bytes of ``emb(ids)`` without running it.

    Args:
        emb: `torch.nn.Embedding`, or a compressor that only reads tables by rows.
        ids: int64 ``(count,)``.
        before: int64 ``(count,)``, ids that were looked up before, the latest last, which fill the
            cache. None: it is empty at first.
        cache: Bytes of the cache.

    Returns:
        The bytes, without temporaries: a fused lookup writes none.
    """
    layer: Any = emb  # nn.Embedding has no addresses
    if not (isinstance(emb, nn.Embedding) or hasattr(emb, "addresses")):
        raise TypeError(f"expected an embedding layer, got {type(emb).__name__}")
    for name, some in {"ids": ids, "before": before}.items():
        if some is not None and (some.ndim != 1 or not _integers(some)):
            raise ValueError(
                f"{name} must be integers (count,), got {some.dtype} {tuple(some.shape)}"
            )
    whole("cache", cache, 0)
    state = emb.state_dict()

    def read(some: Tensor) -> Mapping[str, Tensor]:
        return {"weight": some} if isinstance(emb, nn.Embedding) else layer.addresses(some)

    def row_bytes(name: str) -> int:
        return int(state[name][0].numel() * state[name].element_size())

    def lines(some: Tensor) -> int:
        return sum(count_lines(rows, row_bytes(name)) for name, rows in read(some).items())

    held = ids[:0] if before is None else _held(lines, before, cache)
    asked = read(ids)
    return Traffic(
        ids=8 * ids.numel(),
        rows=sum(rows.numel() * row_bytes(name) for name, rows in asked.items()),
        lines=LINE * (lines(torch.cat([held, ids])) - lines(held)),
        output=ids.numel() * layer.embedding_dim * emb(ids[:0]).element_size(),
        tables=sum(state[name].numel() * state[name].element_size() for name in asked),
    )


def _held(lines: Any, before: Tensor, cache: int) -> Tensor:
    """The longest end of `before` whose lines the cache can hold."""
    fits, too_many = 0, len(before) + 1
    while too_many - fits > max(1, fits // 16):  # to within a sixteenth
        middle = (fits + too_many) // 2
        if LINE * lines(before[len(before) - middle :]) <= cache:
            fits = middle
        else:
            too_many = middle
    return before[len(before) - fits :]


def _integers(some: Tensor) -> bool:
    return not (some.is_floating_point() or some.is_complex() or some.dtype == torch.bool)


@checked
def count_lines(rows: Tensor, width: int) -> int:
    """Count the cache lines under some rows of a table that begins at the start of a line.

    Args:
        rows: Row numbers of any shape, int64; repeats count once.
        width: Bytes of a row.

    Returns:
        The number of different lines.
    """
    whole("width", width, 1, 2**40)
    if not rows.numel():
        return 0
    if not _integers(rows) or rows.min() < 0:
        raise ValueError(f"rows must be integers >= 0, got {rows.dtype}, {shown(rows)}")
    touched = torch.zeros(int(rows.max()) + 1, dtype=torch.bool)
    touched[rows.flatten().long()] = True  # quicker than sorting them
    different = touched.nonzero().flatten()
    first, last = different * width // LINE, ((different + 1) * width - 1) // LINE
    seen = torch.cat([first.new_tensor([-1]), last[:-1]])  # line in which the previous row ends
    return int((last - torch.maximum(first - 1, seen)).sum())
