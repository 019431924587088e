"""Which way a lookup is carried out: compiled, by Triton, as a graph's operator, or plainly."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from memcom.kernels import _operator
from memcom.kernels._kept import kept_program, made_for
from memcom.kernels._lookup import Recipe, plain_lookup
from memcom.kernels._on_gpu import gpu_obstacle
from memcom.kernels._program import CPU, layout, obstacle

# Bound here, because a lookup of one id feels every dictionary it has to look into.
_is_compiling, _is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled
_num_modes, _in_transform = (
    torch._C._len_torch_dispatch_stack,
    torch._C._are_functorch_transforms_active,
)
_tracing_state, _int32, _int64 = torch._C._get_tracing_state, torch.int32, torch.int64

HAVE_NUMBA = importlib.util.find_spec("numba") is not None
WORTH_LOADING = 512  # ids in a lookup that make it worth loading the kernels, which takes a second
NEVER = 2**63
_ASKED_FOR = "asked for by memcom.kernels.plain()"
_ids_needed = WORTH_LOADING if HAVE_NUMBA else NEVER  # for a lookup to be compiled
_loaded: ModuleType | None = None  # `memcom.kernels._fused`, once it is loaded
_plain_wanted = False


class Path(NamedTuple):
    """How a lookup is carried out, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def lookup(ids: Tensor, recipe: Recipe, *, sparse: bool = False) -> Tensor:
    """Vectors of ``ids``, by the compiled kernels where they can and else plainly.

    Args:
        ids: int64 tensor of any shape, already checked to be in range.
        recipe: What to read and how to fuse it.
        sparse: Give sparse gradients to every table.

    Returns:
        Tensor of shape ``(*ids.shape, width)`` in the tables' dtype.
    """
    if torch.compiler.is_compiling():
        if _graph_obstacle(sparse) or obstacle(recipe):
            return plain_lookup(ids, recipe, sparse=sparse)
        plan = layout(recipe)
        return _operator.lookup(
            ids, plan.tables, plan.seeds, [field for entry in plan.code for field in entry]
        )
    if _state_obstacle(ids, sparse) or obstacle(recipe, ids.device):
        return plain_lookup(ids, recipe, sparse=sparse)
    return _run(ids, made_for(ids.device, layout(recipe)), recipe, sparse)


def fused(layer: Any, ids: Tensor) -> Tensor | None:
    """The whole forward pass of a layer that is nothing but a recipe, in one compiled sweep.

    The sweep checks the ids and blanks the padding too, and the program is kept from call to call,
    so this is what makes small batches quick.

    Args:
        layer: Has ``recipe()``, ``num_embeddings``, ``padding_idx`` and ``sparse``.
        ids: The ids, not yet checked.

    Returns:
        Tensor of shape ``(*ids.shape, width)``, or None where the plain path has to be taken.

    Raises:
        IndexError: An id is out of range. On a GPU that is an assertion in the kernel instead,
            seen later: see `memcom.addresses.check_ids`.
    """
    if _state_obstacle(ids, layer.sparse):
        return None
    kept = kept_program(layer, CPU if ids.is_cpu else ids.device)
    if kept is None:
        return None
    return _run(ids, kept.program, kept.recipe, layer.sparse, kept.stepper)


def fused_bag(
    layer: Any,
    ids: Tensor,
    offsets: Tensor,
    mode: str = "mean",
    per_sample_weights: Tensor | None = None,
) -> Tensor | None:
    """Rows of a layer that is nothing but a recipe, composed and pooled in one compiled sweep.

    Args:
        layer: As for `fused`.
        ids: ``(total,)``, not yet checked.
        offsets: int64 ``(bags + 1,)``: where each bag starts, and at last the number of ids.
        mode: ``"sum"`` or ``"mean"``. Padding does not count in a mean.
        per_sample_weights: float32 ``(total,)``, for ``"sum"``; each multiplies its row.

    Returns:
        Tensor of shape ``(bags, width)``, or None where the plain path has to be taken: as for
        `fused`, and where the weights want a gradient, the mode is another, or the offsets do not
        rise from 0 to the number of ids.

    Raises:
        IndexError: An id is out of range.
    """
    weights = per_sample_weights
    if mode not in ("sum", "mean") or not ids.is_cpu or _state_obstacle(ids) or ids.ndim != 1:
        return None
    if weights is not None:
        fits = weights.is_cpu and weights.dtype is torch.float32 and weights.shape == ids.shape
        if mode != "sum" or weights.requires_grad or not fits:
            return None
    if offsets.ndim != 1 or len(offsets) < 1 or int(offsets[0]) or int(offsets[-1]) != len(ids):
        return None
    kept = kept_program(layer)
    if kept is None or bool((offsets.diff() < 0).any()):
        return None
    _kernels()
    from memcom.kernels import _bag

    ids, offsets = ids.contiguous(), offsets.long().contiguous()
    factors = _bag.factors_of(kept.program, ids, offsets, mode, weights)
    tables = kept.program.tables
    pooled: Tensor = _bag.FusedBag.apply(ids, offsets, factors, kept.program, layer.sparse, *tables)
    return pooled


def explain(layer: Any, ids: Tensor | None = None) -> Path:
    """Which way ``layer(ids)`` looks its rows up now, and why.

    Args:
        layer: Any compressor.
        ids: A batch; None for one as large as you like.

    Returns:
        A `Path`, to be printed. Its name is ``"compiled"``, ``"triton"`` (compiled for a GPU),
        ``"operator"`` (compiled, as one operator in a graph that ``torch.compile`` traces) or
        ``"plain"``.
    """
    if not hasattr(layer, "recipe"):
        return Path("plain", f"{type(layer).__name__} computes more than a recipe of rows")
    device = layer.device if ids is None else ids.device
    recipe = layer.recipe()
    if torch.compiler.is_compiling():
        gpu = "torch.compile fuses a lookup on a GPU by itself" if device.type == "cuda" else ""
        why = gpu or obstacle(recipe) or _graph_obstacle(bool(layer.sparse))
        return Path("plain", why) if why else Path("operator", "inside a compiled graph")
    why = obstacle(recipe, device if device.type == "cuda" else CPU)
    some = torch.zeros(WORTH_LOADING, dtype=torch.int64, device=device) if ids is None else ids
    why = why or _state_obstacle(some, layer.sparse)
    if why or device == CPU:
        return Path("plain", why) if why else Path("compiled", "float32 rows on the CPU")
    dtype = str(recipe.reads[0].table.dtype).removeprefix("torch.")
    return Path("triton", f"{dtype} rows on {device}")


def warm_up() -> bool:
    """Load the kernels now, so that small lookups use them too; False if numba is not installed.

    The first time ever on a machine, they are compiled, which takes about ten seconds.
    """
    if HAVE_NUMBA:
        _kernels()
    return HAVE_NUMBA


@contextmanager
def plain() -> Iterator[None]:
    """Within this context every lookup is plain: to compare, or to export for any machine."""
    global _ids_needed, _plain_wanted
    before, _ids_needed, _plain_wanted = (_ids_needed, _plain_wanted), NEVER, True
    try:
        yield
    finally:
        _ids_needed, _plain_wanted = before


def is_wanted() -> bool:
    """Whether compiled kernels may be used at all now: numba is there, nobody asked for `plain`."""
    return _ids_needed != NEVER and not torch.compiler.is_compiling()


def _run(ids: Tensor, program: Any, recipe: Recipe, sparse: bool, stepper: Any = None) -> Tensor:
    if ids.is_cuda:
        from memcom.kernels import _triton

        return _triton.run(ids, program, recipe, sparse)
    kernels = _loaded or _kernels()
    if not ids.is_contiguous():
        ids = ids.contiguous()
    if _is_grad_enabled() and True in [table.requires_grad for table in program.tables]:
        arguments = ids, program, recipe, sparse, stepper, *program.tables
        vectors: Tensor = kernels.FusedLookup.apply(*arguments)
        return vectors
    vectors = kernels.forward(program, ids)
    return vectors


def _kernels() -> ModuleType:
    global _ids_needed, _loaded
    from memcom.kernels import _fused

    if _loaded is None:
        _ids_needed, _loaded = min(_ids_needed, 0), _fused
    return _fused


def _graph_obstacle(sparse: bool) -> str:
    if _ids_needed == NEVER:
        return _why_never()
    if getattr(torch.compiler, "is_exporting", bool)():  # torch >= 2.7
        return "an exported graph is to run on any machine"
    if sparse:
        return "operators of a graph have no sparse gradients"
    return ""


def _why_never() -> str:
    return _ASKED_FOR if HAVE_NUMBA else "numba is not installed"


def _state_obstacle(ids: Tensor, sparse: bool = False) -> str:
    """Why ``ids`` cannot be given to the kernels in torch's present state, or ``""``."""
    if _is_compiling():
        return "a graph is being traced"
    if type(ids) is not Tensor or not (ids.is_cpu or ids.is_cuda):
        return f"the ids are a {type(ids).__name__} on {ids.device}"
    if ids.dtype is not _int64 and ids.dtype is not _int32:
        return f"the ids are {ids.dtype}"
    if _ids_needed and ids.is_cpu and ids.numel() < _ids_needed:
        few = "too few ids to load the kernels for; memcom.kernels.warm_up() loads them"
        return _why_never() if _ids_needed == NEVER else few
    if (
        _num_modes()
        or _in_transform()
        or _tracing_state() is not None
        or forward_ad._current_level >= 0
    ):
        return "a transform, a mode or a trace of torch is active"
    if ids.is_cuda:
        return _ASKED_FOR if _plain_wanted else gpu_obstacle(ids.device, sparse)
    return ""
