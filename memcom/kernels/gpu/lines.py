"""The lines of an assembly as constants of Triton's compiler: those that repeat are one line."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memcom.kernels.assembly import (
    BLANK,
    COLUMNS,
    DERIVED,
    FIRST,
    LINE,
    MODE,
    NEXT,
    NONE,
    OFFSET,
    OP,
    PART,
    PROJECTED,
    PROJECTION,
    ROW,
    SET,
    SIGN,
    WEIGHTS,
    WHICH,
    Assembly,
    Unsupported,
)
from memcom.kernels.program import gpu_tile

END, BY, PIECES, NUMBER, APART = range(LINE, LINE + 5)  # more fields of a line, on a GPU
MOST_LINES = 24
"""A reading of more different lines is left to torch: its compilation takes too long."""


class GpuAssembly(NamedTuple):
    """A reading compiled for a GPU.

    Attributes:
        lines: As `memcom.kernels.gpu.assemble` has them.
        code: The lines of the assembly, int64 in the memory of the GPU.
        sources: What they read.
        width: Coordinates of a vector.
        dtype: Of the vectors.
        is_filled: The lines write every coordinate of a vector.
        block: Ids of a program.
        columns: Coordinates it takes at a time.
    """

    lines: tuple[tuple[int, ...], ...]
    code: Tensor
    sources: tuple[Tensor, ...]
    width: int
    dtype: torch.dtype
    is_filled: bool
    block: int
    columns: int


def specialise(assembly: Assembly) -> GpuAssembly:
    """Prepare an assembly for the compiler.

    Args:
        assembly: Of a reading whose tensors are on one GPU.

    Returns:
        The same, with lines that repeat themselves put together.

    Raises:
        Unsupported: It has more than `MOST_LINES` lines that differ.
    """
    lines = assembly.lines.tolist()
    folded: list[tuple[int, ...]] = []
    weights, widest = 0, 1
    for numbers, pieces in _fold(lines):
        end = len(folded) + len(numbers)
        for number in numbers:
            line = lines[number]
            if line[OP] == WEIGHTS:
                weights = len(folded)
            folded.append((*line, end, weights, pieces, number, len(numbers)))
            widest = max(widest, pieces * _width(line))
    if len(folded) > MOST_LINES:
        raise Unsupported(f"{len(folded)} lines take too long to compile for a GPU")
    block, columns = gpu_tile(widest)
    sources = tuple(source.detach() for source in assembly.sources)
    return GpuAssembly(
        lines=tuple(folded),
        code=torch.from_numpy(assembly.lines).to(sources[0].device),
        sources=sources,
        width=assembly.width,
        dtype=assembly.dtype,
        is_filled=not any(line[OP] == PART and line[BLANK] for line in lines),
        block=block,
        columns=columns,
    )


def _fold(lines: list[list[int]]) -> list[tuple[list[int], int]]:
    """Return the numbers of lines that belong together, and how often these are repeated."""
    groups: list[list[int]] = []
    for number, line in enumerate(lines):
        if line[OP] == ROW and line[MODE] != SET:
            groups[-1].append(number)
        else:
            groups.append([number])
    found: list[tuple[list[int], int]] = []
    for group in groups:
        if found:
            first, pieces = found[-1]
            forms = [[_form(lines[number]) for number in one] for one in (first, group)]
            begin, further = (lines[one[0]] for one in (first, group))
            is_next = further[OFFSET] - begin[OFFSET] == pieces * _width(begin)
            if begin[OP] == ROW and forms[0] == forms[1] and is_next:
                found[-1] = first, pieces + 1
                continue
        found.append((group, 1))
    return found


def _form(line: list[int]) -> list[int]:
    """Return a line without the fields in which repetitions differ."""
    form = line.copy()
    form[WHICH] = form[FIRST] = form[OFFSET] = form[NEXT] = 0
    form[DERIVED], form[SIGN] = form[DERIVED] == NONE, form[SIGN] == NONE
    return form


def _width(line: list[int]) -> int:
    return line[PROJECTED] if line[PROJECTION] else line[COLUMNS]
