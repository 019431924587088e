"""A recipe as numbers: what the compiled kernels read instead of Python objects.

A program is a small int64 array: a head, then one entry per row that an id reads, in this order

    rows      wide rows, to be summed, multiplied or put side by side
    weights   at most one entry: one number per wide row
    scales    numbers that multiply the product
    shifts    numbers that are added to every coordinate

so one kernel, compiled once, serves every recipe of every size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memcom.addresses import MAX_NUM_EMBEDDINGS, Address, Clamp, Digit
from memcom.kernels import gate
from memcom.kernels.gate import CPU, fingerprint
from memcom.kernels.recipe import Recipe, TableLayer

FIELDS = 8
# The head, entry 0.
ROWS, WEIGHTS, SCALES, SHIFTS, FUSION, WIDTH, LIMIT, PADDING = range(FIELDS)
# Any other entry. `SEED` is the address of the seed, or 0; `STRIDE` may be `CLAMP`.
TABLE, COLUMNS, DIVISOR, MODULUS, STRIDE, SEED, OFFSET, NUMBER = range(FIELDS)
CLAMP = -1
SUM, MULT, CONCAT = range(3)
# From a table to its next step: an optimizer's rule, states and constants; see `fused_step`.
Stepper = Callable[[Tensor], tuple[str, tuple[Tensor, ...], list[float]]]
_FUSION = {"sum": SUM, "mult": MULT, "concat": CONCAT}


class Layout(NamedTuple):
    """A program before it is bound to tensors in memory.

    Attributes:
        code: The entries, head first; ``TABLE`` is 0 and ``SEED`` is 0 or 1 + the seed's number.
        tables: The distinct tables; an entry's ``NUMBER`` is its table's place here.
        seeds: The seeds, 0-d int64 tensors.
    """

    code: list[list[int]]
    tables: list[Tensor]
    seeds: list[Tensor]


class Program(NamedTuple):
    """A recipe compiled for the CPU.

    Attributes:
        code: The int64 array described above.
        address: Where the array lies in memory.
        width: Coordinates of a vector.
        tables: The distinct tables; an entry's ``NUMBER`` is its table's place here.
        seeds: Tensors that hold the seeds; kept alive here.
        reads: How often each table is read for an id.
    """

    code: NDArray[np.int64]
    address: int
    width: int
    tables: tuple[Tensor, ...]
    seeds: tuple[Tensor, ...]
    reads: tuple[int, ...]


def unsupported_reason(recipe: Recipe, device: torch.device = CPU) -> str:
    """Return why the kernels of a device cannot run a recipe, or ``""`` if they can."""
    dtypes = (torch.float32,) if device == CPU else (torch.float32, torch.bfloat16)
    first = recipe.reads[0]
    for read in recipe.every_read():
        table, address = read.table, read.address
        why = gate.flaw(table, dtypes, device)
        if why:
            return f"{read.name} {why}"
        if table.dtype != first.table.dtype:
            return f"{read.name} is {table.dtype}, and {first.name} is {first.table.dtype}"
        if table.ndim != 2:
            return f"{read.name} has {table.ndim} dimensions, not 2"
        if not isinstance(address, (Digit, Clamp)):
            return f"{read.name} is not addressed by a Digit or a Clamp"
        if isinstance(address, Digit) and address.seed is not None:
            why = gate.flaw(address.seed, (torch.int64,), device)
            if why or address.seed.numel() != 1:
                return f"the seed of {read.name} {why or 'is not one number'}"
        if table.shape[0] < _rows_addressed(address):
            return f"{read.name} has fewer rows than its address says"
    widths = {read.table.shape[1] for read in recipe.reads}
    if recipe.fusion != "concat" and len(widths - {1}) > 1:
        return f"rows of widths {sorted(widths)} cannot be fused"
    if recipe.weights is not None and recipe.weights.table.shape[1] != len(recipe.reads):
        return "there is not one weight per row"
    if recipe.weights is not None and recipe.fusion != "concat" and len(widths) > 1:
        return "weighted rows of different widths"
    if recipe.shift is not None and recipe.shift.table.shape[1] != 1:
        return "the shift is not a single number"
    numbers = [read for read in (recipe.weights, recipe.shift) if read is not None]
    if {id(r.table) for r in numbers} & {id(r.table) for r in recipe.reads}:
        return "one table is read both as rows and as numbers"
    return ""


def _rows_addressed(address: Address) -> int:
    if isinstance(address, Clamp):
        return address.last + 1
    assert isinstance(address, Digit)
    return address.modulus


def layout(
    recipe: Recipe, num_embeddings: int = MAX_NUM_EMBEDDINGS, padding_idx: int | None = None
) -> Layout:
    """Lay out the program of a recipe that has no `unsupported_reason`.

    Args:
        recipe: What to read and how to fuse it.
        num_embeddings: One more than the largest valid id.
        padding_idx: The id whose vector is zero.

    Returns:
        The layout, for `compile_for`.
    """
    concat = recipe.fusion == "concat"
    widths = [read.table.shape[1] for read in recipe.reads]
    width = sum(widths) if concat else max(widths)
    rows = [r for r, w in zip(recipe.reads, widths, strict=True) if concat or w == width]
    narrow = [] if concat else [r for r, w in zip(recipe.reads, widths, strict=True) if w < width]
    weights = [] if recipe.weights is None else [recipe.weights]
    scales = narrow if recipe.fusion == "mult" else []
    shifts = narrow if recipe.fusion == "sum" else []
    shifts = shifts + ([] if recipe.shift is None else [recipe.shift])
    counts = [len(rows), len(weights), len(scales), len(shifts)]
    padding = -1 if padding_idx is None else padding_idx
    plan = Layout([[*counts, _FUSION[recipe.fusion], width, num_embeddings, padding]], [], [])
    offset = 0
    for read in (*rows, *weights, *scales, *shifts):
        columns, address, seed = read.table.shape[1], read.address, 0
        same = [k for k, table in enumerate(plan.tables) if table is read.table]
        number = same[0] if same else len(plan.tables)
        if not same:
            plan.tables.append(read.table)
        if isinstance(address, Digit):
            place = (address.divisor, address.modulus, address.stride)
            if address.seed is not None:
                plan.seeds.append(address.seed)
                seed = len(plan.seeds)
        else:
            place = (1, _rows_addressed(address), CLAMP)
        plan.code.append([0, columns, *place, seed, offset, number])
        offset += columns if concat else 0
    return plan


def compile_for(device: torch.device, plan: Layout) -> Any:
    """Compile a layout whose tensors are on ``device``: to a `Program`, or a `GpuProgram`."""
    if device == CPU:
        return bind(plan)
    from memcom.kernels.gpu import lookup

    return lookup.prepare(plan)


def bind(plan: Layout) -> Program:
    """Return the program for tensors where they lie in memory now."""
    code = np.array(plan.code, dtype=np.int64)
    for entry in code[1:]:
        entry[TABLE] = gate.address(plan.tables[entry[NUMBER]], torch.float32)
        if entry[SEED]:
            entry[SEED] = gate.address(plan.seeds[entry[SEED] - 1], torch.int64)
    width = int(code[0, WIDTH])
    numbers = [entry[NUMBER] for entry in plan.code[1:]]
    reads = tuple(numbers.count(k) for k in range(len(plan.tables)))
    return Program(code, code.ctypes.data, width, tuple(plan.tables), tuple(plan.seeds), reads)


def cached_program(layer: TableLayer, device: torch.device = CPU) -> CachedProgram:
    """Return the cached program of a layer, or compile it.

    Args:
        layer: A layer that is its recipe and nothing else.
        device: Where the ids are, and the tables should be.

    Returns:
        The program cached with the layer; a new one if a tensor has changed or moved since.
    """
    cached: CachedProgram | None = layer.__dict__.get("_cached_program")
    if cached is None or not cached.holds(layer, device):
        stepper = None if cached is None else cached.stepper
        cached = CachedProgram(layer, device, stepper)
        if cached.is_reusable:
            layer.__dict__["_cached_program"] = cached
    return cached


class CachedProgram:
    """The program of a layer, valid while its tensors are the same and stay where they are.

    A copied or unpickled layer starts without one.

    Args:
        layer: The layer.
        device: Where the ids are, and the tables should be.
        stepper: Changes the tables during the backward pass: see `memcom.optim`.

    Attributes:
        recipe: The layer's recipe.
        unsupported: Why it has no program; ``""`` if it has one.
        program: See `compile_for`.
        backend: What `memcom.kernels.backend.choose` made of it.
        stepper: Changes the tables during the backward pass: see `memcom.optim`.
    """

    program: Any = None
    backend: Any = None
    _arguments: tuple[Any, ...] | None = None
    _sources: list[tuple[dict[str, Any], str, Tensor, int]] | None = None

    def __init__(
        self, layer: TableLayer, device: torch.device, stepper: Stepper | None = None
    ) -> None:
        self.stepper = stepper
        self.recipe = layer.recipe()
        self.unsupported = unsupported_reason(self.recipe, device)
        if not self.unsupported:
            plan = layout(self.recipe, layer.num_embeddings, layer.padding_idx)
            self.program = compile_for(device, plan)
            self._sources = _sources(layer, plan)
            self._arguments = layer.num_embeddings, layer.padding_idx, layer.sparse, device

    def __reduce__(self) -> Any:
        return type(None), ()

    @property
    def is_reusable(self) -> bool:
        """True if the layer holds every tensor of the program, so that a change is noticed."""
        return self._sources is not None

    def holds(self, layer: TableLayer, device: torch.device) -> bool:
        """Return True if the program still reads what the layer holds."""
        arguments = layer.num_embeddings, layer.padding_idx, layer.sparse, device
        if self._sources is None or self._arguments != arguments:
            return False
        for place, name, tensor, mark in self._sources:
            if place.get(name) is not tensor or fingerprint(tensor) != mark:
                return False
        return True


def _sources(layer: TableLayer, plan: Layout) -> Any:
    """Find where the layer holds each tensor of the plan; None if it does not hold one."""
    places: list[dict[str, Any]] = []
    for module in layer.modules():
        places += [module._parameters, module._buffers]
    held = [(place, n, t) for place in places for n, t in place.items() if t is not None]
    found = []
    for tensor in plan.tables:
        found += [source for source in held if source[2] is tensor][:1]
    for seed in plan.seeds:
        found += [source for source in held if gate.same_storage(source[2], seed)][:1]
    if len(found) < len(plan.tables) + len(plan.seeds):
        return None
    return [(place, name, tensor, fingerprint(tensor)) for place, name, tensor in found]
