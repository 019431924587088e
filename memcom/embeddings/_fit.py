"""Fit the tables of a recipe to a trained table: weighted least squares, one block after another.

    minimise  sum_i w_i |x_i - f_i(T_1, ..., T_K)|^2        x: the trained table,  w: weights of ids

The addresses are fixed, and the vector f_i is linear in every table as long as the others stand
still. So the tables are taken in turn (*alternating least squares*), and each turn is a linear
problem, solved by conjugate gradients with the diagonal as preconditioner. The error never rises.

    sum           linear in all tables at once: one turn, which finds the least error there is
    concat        a turn for every part
    mult          T_k[r] = sum w b x / sum w b^2 over the ids of row r, b: the other rows' product;
                  for MEmCom, the power iteration for the leading singular vectors of buckets
    weighted sum  the rows, then the weights
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memcom.kernels import Read, Recipe

SWEEPS, ITERATIONS = 40, 100
"""Most turns of all blocks, and most steps of conjugate gradients where there is one block only."""
STEPS = 8
"""Steps of conjugate gradients in one turn of several."""
TOLERANCE = 1e-5
"""Stop when a sweep takes off less than this share of the error."""
_NUMBERS = 2**22
"""Numbers of the table that are read at a time."""


class FitError(TypeError):
    """A layer cannot be fitted to a table, but has to be trained."""


class Target(NamedTuple):
    """A trained table that a layer shall come close to.

    Attributes:
        table: ``(num_embeddings, embedding_dim)``, floating point and finite.
        weights: float64 ``(num_embeddings,)``: the squared error of id i counts ``weights[i]``
            times. An id of weight 0 does not matter at all.
        seed: Seed of random choices.
    """

    table: Tensor
    weights: Tensor
    seed: int = 0

    def chunks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield ids, their rows in float64, and their weights as a column."""
        rows, width = self.table.shape
        size = max(1, _NUMBERS // width)
        for start in range(0, rows, size):
            stop = min(start + size, rows)
            ids = torch.arange(start, stop, device=self.table.device)
            yield ids, self.table[start:stop].double(), self.weights[start:stop].unsqueeze(1)

    def part(self, ids: slice, columns: slice = slice(None)) -> Target:
        """Return the target of some of the ids, and of some of the coordinates."""
        return Target(self.table[ids, columns], self.weights[ids], self.seed)

    def generator(self) -> torch.Generator:
        """Return a new source of random numbers, on the CPU."""
        return torch.Generator().manual_seed(self.seed)


class _Term(NamedTuple):
    """One place where a vector is linear in a table: a row, times a factor, in some coordinates."""

    name: str
    rows: Tensor
    own: slice  # columns of the table
    factor: Tensor | None
    columns: slice  # of the vector


Tables = dict[str, Tensor]


@torch.no_grad()
def fit_recipe(recipe: Recipe, target: Target) -> list[float]:
    """Set the tables of a recipe to those of the least weighted squared error.

    Rows that no id of positive weight reads stay as they are. Memory: a few times the tables, in
    float64, and a chunk of ids.

    Args:
        recipe: Reads of plain tables; recipes inside may stand for rows side by side.
        target: What the vectors shall be close to.

    Returns:
        The weighted squared error after each sweep; it does not rise.

    Raises:
        FitError: The vector is not linear in each table: a product reads one twice. Or a table is
            packed.
    """
    blocks, reads = _blocks(recipe), _reads(recipe)
    for read in reads:
        if not isinstance(read.table, Tensor):
            raise FitError(f"{read.name} is packed; fit the layer before it is quantised")
    stored = {read.name: read.table for read in reads}
    tables: Tables = {name: table.detach().double() for name, table in stored.items()}
    read_rows = _rows_read(reads, tables, target)
    _start(recipe, tables, read_rows, target.generator())
    if len(blocks) == 1:
        errors = [_solve(recipe, target, tables, blocks[0], ITERATIONS)]
    else:
        errors = []
        while len(errors) < SWEEPS:
            for block in blocks:
                error = _solve(recipe, target, tables, block, STEPS)
            errors.append(error)
            if len(errors) > 1 and errors[-2] - error <= TOLERANCE * errors[-2]:
                break
    if recipe.fusion == "mult":
        _balance([read.name for read in recipe.reads], tables, read_rows)
    for name, table in stored.items():
        table.copy_(tables[name])
    return errors


def _reads(part: Any) -> list[Read]:
    """All reads of a recipe, those of recipes inside it too."""
    if isinstance(part, Read):
        return [part]
    return [read for inner in part.every_read() for read in _reads(inner)]


def _blocks(part: Any) -> list[list[str]]:
    """Names of tables in which a vector is linear at once, block after block."""
    if isinstance(part, Read):
        return [[part.name]]
    names = [name for read in part.reads for block in _blocks(read) for name in block]
    shift = [] if part.shift is None else [part.shift.name]
    if part.fusion == "mult":
        if len(set(names)) < len(names):
            raise FitError("a product that reads one table twice cannot be fitted, but trained")
        # The shift first: what is left then has no mean, and what follows fits that.
        return [block for block in (shift, *([name] for name in names)) if block]
    if part.fusion == "sum":
        weights = [] if part.weights is None else [part.weights.name]
        return [block for block in ([*dict.fromkeys(names), *shift], weights) if block]
    found: list[list[str]] = []
    for block in [block for read in part.reads for block in _blocks(read)] + [shift]:
        new = [name for name in block if not any(name in other for other in found)]
        found += [new] if new else []
    return found


def _rows_read(reads: Sequence[Read], tables: Tables, target: Target) -> dict[str, Tensor]:
    """A column for each table: True for the rows that an id of positive weight reads."""
    found = {
        name: torch.zeros(len(t), 1, dtype=torch.bool, device=t.device)
        for name, t in tables.items()
    }
    for ids, _, weights in target.chunks():
        counted = ids[weights[:, 0] > 0]
        for read in reads:
            found[read.name][read.rows(counted)] = True
    return found


def _start(
    part: Any, tables: Tables, read_rows: dict[str, Tensor], generator: torch.Generator
) -> None:
    """Set the rows that are read: the first of a product, and of a sum all, 0; others at random.

    A start at 1 could stall: where the rows of a bucket cancel each other, their mean is 0.
    """
    if isinstance(part, Read):
        tables[part.name].masked_fill_(read_rows[part.name], 0)
        return
    for inner in part.every_read():
        _start(inner, tables, read_rows, generator)
    drawn = part.reads[1:] if part.fusion == "mult" else filter(None, [part.weights])
    for read in drawn:
        table = tables[read.name]
        normal = torch.randn(table.shape, dtype=table.dtype, generator=generator)
        table.copy_(torch.where(read_rows[read.name], normal.to(table.device), table))


def _balance(names: list[str], tables: Tables, read_rows: dict[str, Tensor]) -> None:
    """Give the factors of a product one root mean square, so that training moves them alike."""
    sizes = [
        (tables[n].square() * read_rows[n]).sum() / read_rows[n].sum() / tables[n].shape[1]
        for n in names
    ]
    logarithms = torch.stack(sizes).sqrt().log()
    if bool(logarithms.isfinite().all()):
        for name, scale in zip(names, (logarithms.mean() - logarithms).exp(), strict=True):
            tables[name].copy_(torch.where(read_rows[name], tables[name] * scale, tables[name]))


def _width(part: Any) -> int:
    if isinstance(part, Read):
        return int(part.table.shape[1])
    widths = [_width(read) for read in part.reads]
    return sum(widths) if part.fusion == "concat" else max(widths)


def _fetch(read: Read, ids: Tensor, tables: Tables) -> Tensor:
    return tables[read.name][read.rows(ids)]


def _vectors(part: Any, ids: Tensor, tables: Tables) -> Tensor:
    """The vectors of ids, as `memcom.kernels.plain_lookup` gives them, in float64."""
    if isinstance(part, Read):
        return _fetch(part, ids, tables)
    rows = [_vectors(read, ids, tables) for read in part.reads]
    if part.weights is not None:
        weights = _fetch(part.weights, ids, tables).split(1, dim=1)
        rows = [row * weight for row, weight in zip(rows, weights, strict=True)]
    if part.fusion == "concat":
        fused = torch.cat(rows, dim=1)
    else:
        fused = rows[0]
        for row in rows[1:]:
            fused = fused * row if part.fusion == "mult" else fused + row
    return fused if part.shift is None else fused + _fetch(part.shift, ids, tables)


def _terms(
    part: Any, ids: Tensor, tables: Tables, block: Sequence[str], first: int = 0
) -> Iterator[_Term]:
    """The places where ids read the tables of a block; ``first``: of the first coordinate."""
    everything = slice(None)
    columns = slice(first, first + _width(part))
    if isinstance(part, Read):
        if part.name in block:
            yield _Term(part.name, part.rows(ids), everything, None, columns)
        return
    weights = None if part.weights is None else _fetch(part.weights, ids, tables)
    for j, read in enumerate(part.reads):
        start = first
        if part.fusion == "concat":
            first += _width(read)
        elif part.fusion == "mult":
            if read.name in block:
                others = part.reads[:j] + part.reads[j + 1 :]
                product = None
                for other in others:
                    row = _fetch(other, ids, tables)
                    product = row if product is None else product * row
                yield _Term(read.name, read.rows(ids), everything, product, columns)
            continue
        for term in _terms(read, ids, tables, block, start):
            yield term if weights is None else term._replace(factor=weights[:, j : j + 1])
        if part.weights is not None and part.weights.name in block:
            rows, row = part.weights.rows(ids), _fetch(read, ids, tables)
            yield _Term(part.weights.name, rows, slice(j, j + 1), row, columns)
    if part.shift is not None and part.shift.name in block:
        yield _Term(part.shift.name, part.shift.rows(ids), everything, None, columns)


def _add_up(terms: Sequence[_Term], numbers: Tensor, sums: Tables, power: int = 1) -> None:
    """Add ``numbers * factor**power`` of each id's coordinates to the rows that it reads."""
    for term in terms:
        part = numbers[:, term.columns]
        if term.factor is not None:
            part = part * term.factor**power
        own = sums[term.name][:, term.own]
        own.index_add_(0, term.rows, part if own.shape[1] > 1 else part.sum(1, keepdim=True))


def _solve(
    recipe: Recipe, target: Target, tables: Tables, block: Sequence[str], steps: int
) -> float:
    """Solve for the tables of a block, in place, by conjugate gradients; return the error left."""
    narrow = _width(recipe)
    left = {name: torch.zeros_like(tables[name]) for name in block}  # gradient, less its factor -2
    diagonal = {name: torch.zeros_like(tables[name]) for name in block}
    error = scale = 0.0
    for ids, x, w in target.chunks():
        terms = list(_terms(recipe, ids, tables, block))
        missing = x[:, :narrow] - _vectors(recipe, ids, tables)
        _add_up(terms, w * missing, left)
        _add_up(terms, w.expand_as(missing), diagonal, power=2)
        error += float((w * missing.square()).sum())
        error += float((w * x[:, narrow:].square()).sum())
        scale += float((w * x.square()).sum())
    inverse = {n: torch.where(d > 0, 1 / d, 0) for n, d in diagonal.items()}
    step = {name: inverse[name] * left[name] for name in block}
    gain = _dot(left, step)
    for _ in range(steps):
        if gain <= 1e-12 * scale:
            break
        bent = {name: torch.zeros_like(left[name]) for name in block}
        for ids, x, w in target.chunks():
            terms = list(_terms(recipe, ids, tables, block))
            moved = torch.zeros_like(x[:, :narrow])
            for term in terms:
                row = step[term.name][term.rows][:, term.own]
                moved[:, term.columns] += row if term.factor is None else row * term.factor
            _add_up(terms, w * moved, bent)
        length = gain / _dot(step, bent)
        error -= length * gain
        for name in block:
            tables[name] += length * step[name]
            left[name] -= length * bent[name]
        before, gain = gain, sum(float((left[n].square() * inverse[n]).sum()) for n in block)
        step = {n: inverse[n] * left[n] + gain / before * step[n] for n in block}
    return max(error, 0.0)


def _dot(a: Tables, b: Tables) -> float:
    return sum(float((a[name] * b[name]).sum()) for name in a)


def leading_directions(target: Target, rank: int) -> Tensor:
    """Return the ``rank`` leading right singular vectors of the weighted table.

    The rows of the table, each times the root of its weight, are closest to their projections on
    these (Eckart and Young 1936); they are the eigenvectors of the weighted e x e Gram matrix.

    Args:
        target: The table and the weights.
        rank: At most the width of the table.

    Returns:
        float64 ``(rank, embedding_dim)``, orthonormal rows.
    """
    width = target.table.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device=target.table.device)
    for _, x, w in target.chunks():
        gram += x.T @ (w * x)
    return torch.linalg.eigh(gram).eigenvectors[:, -rank:].flip(1).T


def project(target: Target, directions: Tensor, factor: Tensor) -> None:
    """Write ``table @ directions.T`` into ``factor``, in chunks."""
    for ids, x, _ in target.chunks():
        factor[ids] = (x @ directions.T).to(factor.dtype)
