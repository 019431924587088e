"""The one decision: which backend looks up a layer's rows, and why.

``choose(layer, ids)`` returns a `Backend`. Lookups, bags and `explain` all ask it, so `explain`
says what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from memcom._annotations import checked
from memcom.addresses import MAX_NUM_EMBEDDINGS
from memcom.kernels import loading
from memcom.kernels.assembly import Assembly, Unsupported
from memcom.kernels.cached import CachedProgram, cached_program
from memcom.kernels.cpu import operator
from memcom.kernels.gate import CPU
from memcom.kernels.gpu import lookup as gpu
from memcom.kernels.gpu.lines import specialise
from memcom.kernels.loading import HAVE_NUMBA, NO_NUMBA
from memcom.kernels.plain import plain, plain_lookup, switch
from memcom.kernels.program import unsupported_reason
from memcom.kernels.recipe import Recipe, TableLayer

# Bound here because each attribute lookup is felt in a lookup of one id.
_is_compiling, _tracing_state = torch.compiler.is_compiling, torch._C._get_tracing_state
_num_modes = torch._C._len_torch_dispatch_stack
_in_transform = torch._C._are_functorch_transforms_active
_int32, _int64 = torch.int32, torch.int64

WORTH_LOADING = 512  # ids in a lookup from which loading the kernels, about 1 s, pays
_ASKED_FOR = "asked for by memcom.kernels.plain()"
_loaded: ModuleType | None = None  # `memcom.kernels.cpu.autograd`, once it is loaded


class Backend(NamedTuple):
    """A way to look up rows, and the reason for it.

    Attributes:
        name: ``"compiled"`` (for the CPU), ``"triton"`` (compiled for a GPU), ``"operator"``
            (compiled, as one operator of a graph that ``torch.compile`` traces) or ``"plain"``.
        reason: Why this one.
        run: From ids to their vectors.
        program: The compiled program, which checks the ids and blanks the padding itself; None
            where the caller has to do both.
    """

    name: str
    reason: str
    run: Callable[[Tensor], Tensor]
    program: Any = None

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose(layer: TableLayer, ids: Tensor) -> Backend:
    """Choose the backend for the rows of ``layer(ids)``.

    Args:
        layer: A layer with a recipe.
        ids: The ids; nothing is known of their values.

    Returns:
        The backend. Its ``run`` raises IndexError for an id out of range if it has a ``program``
        (on a GPU that is an assertion in the kernel, seen later: see
        `memcom.addresses.check_ids`), else wants checked int64 ids.
    """
    if _is_compiling():
        return _choose_in_graph(layer, ids.device)
    why = _unsupported_state(ids, layer)
    if why:
        return _plainly(why, layer)
    device = CPU if ids.is_cpu else ids.device
    cached = cached_program(layer, device)
    if cached.inner is not None:
        why = _needs_more(cached, layer.sparse)
        if why:
            return _plainly(why, layer)
    if cached.backend is None:
        found = _compiled(layer, cached, device)
        kernels = "assemble" if isinstance(found.program, Assembly) else "autograd"
        why = loading.pending(kernels) if found.name == "compiled" else ""
        if why:  # not kept: the next lookup asks again
            return _plainly(why, layer)
        cached.backend = found
    backend: Backend = cached.backend
    return backend


class _Unbound:
    """A recipe as a layer that accepts every id."""

    num_embeddings = MAX_NUM_EMBEDDINGS
    padding_idx: int | None = None

    def __init__(self, recipe: Recipe, sparse: bool) -> None:
        self._recipe, self.sparse = recipe, sparse

    def reading(self) -> Recipe:
        return self._recipe

    def compose_plainly(self, ids: Tensor) -> Tensor:
        return plain_lookup(ids, self._recipe, sparse=self.sparse)

    def __call__(self, ids: Tensor) -> Tensor:
        return self.compose_plainly(ids)

    def modules(self) -> Iterator[nn.Module]:
        return iter(())


def lookup(ids: Tensor, recipe: Recipe, *, sparse: bool = False) -> Tensor:
    """Look up ``ids`` by the compiled kernels where they can, else plainly.

    Args:
        ids: int64 tensor of any shape, already checked to be in range.
        recipe: What to read and how to fuse it.
        sparse: Give sparse gradients to every table.

    Returns:
        Tensor of shape ``(*ids.shape, width)`` in the tables' dtype.
    """
    return choose(_Unbound(recipe, sparse), ids).run(ids)


@checked
def explain(layer: Any, ids: Tensor | None = None) -> Backend:
    """Explain how ``layer(ids)`` looks up its rows now.

    Args:
        layer: Any compressor.
        ids: A batch; None for a large one.

    Returns:
        The `Backend`, to be printed.
    """
    if not getattr(layer, "has_reading", False) or layer.reading() is None:
        why = f"{type(layer).__name__} computes more than rows that are put together"
        return Backend("plain", why, layer)
    if ids is None:
        ids = torch.zeros(WORTH_LOADING, dtype=torch.int64, device=layer.device)
    return choose(layer, ids)


def warm_up() -> bool:
    """Load the kernels now, so that small lookups use them too.

    The first time on a machine they are compiled; this waits for it. Otherwise the first lookup of
    `WORTH_LOADING` ids or more has them compiled in the background, and lookups, bags and training
    steps take the plain path until then. The last digits of the two paths may differ: call this
    first where equal seeds must give equal digits.

    Returns:
        False if numba is not installed.

    Raises:
        ImportError: Numba is installed, but does not import, as beside a version of NumPy that it
            does not know.
    """
    if HAVE_NUMBA:
        load()
        for module in loading.MODULES:
            loading.load(module)
    return HAVE_NUMBA


def is_wanted(module: str) -> bool:
    """Return True if a module of compiled kernels for the CPU may be used now."""
    if switch.plain or _is_compiling() or _tracing_state() is not None:
        return False
    return HAVE_NUMBA and not loading.pending(module)


def load() -> ModuleType:
    """Load the compiled kernels for the CPU."""
    global _loaded
    if _loaded is None:
        _loaded = loading.load("autograd")
    return _loaded


def _plainly(why: str, layer: TableLayer) -> Backend:
    return Backend("plain", why, layer.compose_plainly)


def _compiled(layer: TableLayer, cached: CachedProgram, device: torch.device) -> Backend:
    program, recipe = cached.program, cached.reading
    if cached.unsupported:
        return _plainly(cached.unsupported, layer)
    if isinstance(program, Assembly) and device != CPU:
        try:
            run = partial(gpu.assembled_on_gpu, specialise(program))
        except Unsupported as why:
            return _plainly(str(why), layer)
        return Backend("triton", f"rows on {device}, without gradients", run, program)
    if isinstance(program, Assembly):
        run = partial(_run_assembly, program, layer)
        return Backend("compiled", "any rows on the CPU", run, program)
    assert isinstance(recipe, Recipe)
    if device == CPU:
        run = partial(_run_on_cpu, program, recipe, layer.sparse, cached.deferred)
        return Backend("compiled", "float32 rows on the CPU", run, program)
    dtype = str(recipe.reads[0].table.dtype).removeprefix("torch.")
    run = partial(gpu.lookup_on_gpu, program, recipe, layer.sparse)
    return Backend("triton", f"{dtype} rows on {device}", run, program)


def _needs_more(cached: CachedProgram, sparse: bool) -> str:
    """Return what a lookup wants that an assembly cannot do now, or ``""``."""
    if wants_gradients(cached.program):
        why: str = cached.program.without_gradients or loading.pending("assembled")
        if why:
            return f"{why}; torch.no_grad() does without"
        if any(getattr(module, "sparse", sparse) != sparse for module in cached.inner or ()):
            return "only some of its gradients are sparse"
    return "" if cached.calls_nobody() else "a module in the layer has hooks"


def wants_gradients(program: Assembly) -> bool:
    """Return True if a lookup by an assembly is to be differentiated now."""
    return torch.is_grad_enabled() and any(table.requires_grad for table in program.tables)


def _choose_in_graph(layer: TableLayer, device: torch.device) -> Backend:
    reading = layer.reading()
    width = getattr(layer, "embedding_dim", None)
    why = _unsupported_in_graph(layer.sparse, device)
    why = why or unsupported_reason(reading, width=width)
    if why:
        return _plainly(why, layer)
    assert isinstance(reading, Recipe)
    run = partial(operator.lookup_in_graph, reading)
    return Backend("operator", "inside a compiled graph", run)


def _run_assembly(program: Assembly, layer: TableLayer, ids: Tensor) -> Tensor:
    def plainly(ids: Tensor) -> Tensor:
        with plain():
            return layer(ids)

    if wants_gradients(program):
        vectors: Tensor = loading.load("assembled").lookup(program, layer.sparse, plainly, ids)
        return vectors
    found: Tensor | None = loading.load("assemble").assembled(program, ids)
    # Torch has better words for a stored number that points outside a table.
    return plainly(ids) if found is None else found


def _run_on_cpu(program: Any, recipe: Recipe, sparse: bool, deferred: bool, ids: Tensor) -> Tensor:
    vectors: Tensor = (_loaded or load()).lookup_on_cpu(program, recipe, sparse, deferred, ids)
    return vectors


def _unsupported_in_graph(sparse: bool, device: torch.device) -> str:
    """Return why a graph that is being traced cannot hold the operator, or ``""``."""
    if device.type == "cuda":
        return "torch.compile fuses a lookup on a GPU by itself"
    if switch.plain:
        return _ASKED_FOR
    if not HAVE_NUMBA:
        return NO_NUMBA
    if getattr(torch.compiler, "is_exporting", bool)():  # torch >= 2.7
        return "an exported graph is to run on any machine"
    return "operators of a graph have no sparse gradients" if sparse else ""


def _unsupported_state(ids: Tensor, layer: TableLayer) -> str:
    """Return why the kernels cannot take ``ids`` in torch's present state, or ``""``."""
    if switch.plain:
        return _ASKED_FOR
    on_cpu = ids.is_cpu
    if type(ids) is not Tensor or not (on_cpu or ids.is_cuda):
        return f"the ids are a {type(ids).__name__} on {ids.device}"
    if ids.dtype is not _int64 and ids.dtype is not _int32:
        return f"the ids are {ids.dtype}"
    if _loaded is None and on_cpu:
        if not HAVE_NUMBA:
            return NO_NUMBA
        if ids.numel() < WORTH_LOADING:
            return "too few ids to load the kernels for; memcom.kernels.warm_up() loads them"
    if (
        _num_modes()
        or _in_transform()
        or _tracing_state() is not None
        or forward_ad._current_level >= 0
    ):
        return "a transform, a mode or a trace of torch is active"
    return "" if on_cpu else gpu.unsupported_on_gpu(ids.device, layer.sparse)
