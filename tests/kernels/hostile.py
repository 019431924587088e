"""A world of one layer, its optimizer and its unfinished backward passes, and what is done to it.

`python -m tests.kernels.hostile` reads one JSON list of actions a line, ``[name, *arguments]``. It
takes them twice, with the compiled kernels and inside `memcom.kernels.plain`, and answers with a
line: what was done, what was refused, and what differs. A fault may end the process: the caller
sees that.
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import json
import pickle
import signal
import sys
import threading
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

import memcom
from memcom import kernels, optim
from tests.embeddings.cases import make

N, E = 90, 8
SPECS = [
    "full",
    "hash",
    "double-hash",
    "double-hash(fusion=concat)",
    "bloom",
    "qr",
    "qr(operation=add)",
    "qr(operation=concat)",
    "mixed-radix",
    "crt(operation=concat)",
    "bch",
    "memcom",
    "memcom-bias",
    "hash-embedding",
    "small-dim",
    "robe",
    "low-rank",
]
RULES = [optim.SGD, optim.RowwiseAdagrad, optim.LazyAdam]
SECONDS = 300  # a sequence of actions that takes longer ends the process: it waits for ever
ERRORS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, AttributeError)

# Arguments of an action: each is drawn from [0, n), and a choice among that many.
SHAPES = 9
LAYOUTS = 6
ACTIONS: dict[str, tuple[int, ...]] = {
    "lookup": (SHAPES, LAYOUTS, 2, 3),
    "out_of_range": (4, 2),
    "backward": (3, 6, 2),
    "twice": (3,),
    "bag": (3, 8, 5, 2),
    "change_ids": (3, 2),
    "cast": (4,),
    "move": (7, 3),
    "freed": (2,),
    "change_table": (3,),
    "around": (5,),
    "overlap": (),
    "threads": (2,),
    "optimizer": (3, 2),
    "step": (),
    "unfuse": (),
    "clip": (),
    "foreign_state": (3,),
    "save_optimizer": (),
    "copy": (3,),
    "load": (3,),
    "requires_grad": (3, 2),
    "resize": (2,),
    "attribute": (4,),
    "rebuild": (len(SPECS), 2, 2),
}


class World:
    """One layer and what is around it; every method is an action and returns what can be seen."""

    def __init__(self, spec: int, sparse: int, padding: int) -> None:
        self.pending: list[tuple[Tensor, Tensor, set[str]]] = []
        self.default, self.meta, self.overlapped = torch.float32, False, False
        self.optimizer: Any = None
        self.rebuild(spec, sparse, padding)

    def rebuild(self, spec: int, sparse: int, padding: int) -> list[Tensor]:
        options = {"padding_idx": 3 if padding else None, "sparse": bool(sparse)}
        self.layer = make(SPECS[spec], n=N, e=E, ratio=3, **options)
        self.optimizer = None
        return []

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        return list(self.layer.parameters())

    def seen(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.weights]

    def gradients(self) -> list[Tensor]:
        found = [(w.grad, w.dtype) for w in self.weights if w.grad is not None]
        return [kernels.computed(g).to_dense().detach().to(dtype, copy=True) for g, dtype in found]

    def taint(self, why: str) -> None:
        for *_, reasons in self.pending:
            reasons.add(why)

    @contextlib.contextmanager
    def inside(self) -> Any:
        """Defaults of torch, and another thread that is inside `kernels.plain`, as they are now."""
        entered, leave = threading.Event(), threading.Event()

        def other() -> None:
            with kernels.plain():
                entered.set()
                leave.wait(10)

        thread = threading.Thread(target=other)
        torch.set_default_dtype(self.default)
        try:
            if self.overlapped:
                thread.start()
                entered.wait(10)
            with torch.device("meta") if self.meta else contextlib.nullcontext():
                yield
        finally:
            torch.set_default_dtype(torch.float32)
            if self.overlapped:
                leave.set()
                thread.join()
                self.overlapped = False

    def make_ids(self, shape: int, layout: int, narrow: int) -> Tensor:
        size = [(), (0,), (1,), (7,), (4, 0), (3, 5), (2, 3, 4), (600,), (40, 16)][shape]
        count = int(np.prod(size))
        ids = (torch.arange(count, device="cpu") * 37 + 3) % self.layer.num_embeddings
        ids = ids.to(torch.int32 if narrow else torch.int64).view(size)
        if layout == 1 and ids.ndim:  # every second number of a larger tensor
            ids = torch.stack([ids, ids + 10**6], -1)[..., 0]
        elif layout == 2 and ids.ndim > 1:
            ids = ids.transpose(0, 1)
        elif layout == 3 and ids.ndim:  # all the same number, with stride 0
            ids = torch.full((1,), 3, dtype=ids.dtype, device="cpu").expand(ids.shape)
        elif layout == 4:
            ids = torch._neg_view(-ids)
        elif layout == 5:  # does not begin where its memory does
            ids = torch.cat([ids.flatten()[:1], ids.flatten()])[-count or 1 :].view(size)
        return ids

    # --- what reads ---

    def lookup(self, shape: int, layout: int, narrow: int, mode: int) -> list[Tensor]:
        ids = self.make_ids(shape, layout, narrow)
        modes = [contextlib.nullcontext, torch.no_grad, torch.inference_mode]
        with self.inside(), modes[mode]():
            out = self.layer(ids)
        if mode == 0:
            self.pending = [*self.pending[-2:], (out, ids, set())]
        return [out.detach().clone()]

    def out_of_range(self, value: int, narrow: int) -> list[Tensor]:
        ids = self.make_ids(7, 0, narrow)
        ids[500] = [self.layer.num_embeddings, -1, 2**31 - 1, -(2**31)][value]
        with self.inside():
            return [self.layer(ids)]

    def bag(self, mode: int, offsets: int, weights: int, narrow: int) -> list[Tensor]:
        ids = self.make_ids(7 if offsets else 8, 0, narrow)
        count = ids.numel()
        places: list[Any] = [
            None,
            [0, 5, 5, 100],
            [0],
            [0, 1, 2, count],
            [0, 9, 4],
            [1, 9],
            [0, count + 1],
            [0, 2**40],
        ]
        bounds = places[offsets]
        starts = None if bounds is None else torch.tensor(bounds, device="cpu")
        if starts is not None and narrow and max(bounds) < 2**31:
            starts = starts.int()
        factors = None
        if weights and mode == 0:
            factors = torch.linspace(-2, 2, count, device="cpu").view(ids.shape)
            factors = [
                factors,
                torch._neg_view(factors),
                torch.stack([factors, factors], -1)[..., 0],
                factors[:-1],
            ][weights - 1]
        kind = ["sum", "mean", "max"][mode]
        with self.inside():
            out = memcom.EmbeddingBag(self.layer, kind)(ids, starts, factors)
        self.pending = [*self.pending[-2:], (out, ids, set())]
        return [out.detach().clone()]

    # --- what computes gradients ---

    def upstream(self, out: Tensor, kind: int) -> Tensor:
        dense = torch.linspace(-1, 2, out.numel(), dtype=out.dtype, device="cpu").view(out.shape)
        return [
            dense,
            torch.ones(1, dtype=out.dtype, device="cpu").expand(out.shape),
            torch._neg_view(dense),
            torch.stack([dense, dense], -1)[..., 0],
            dense.mT.contiguous().mT if dense.ndim > 1 else dense,
            torch.zeros_like(dense),
        ][kind]

    def backward(self, which: int, kind: int, look: int) -> list[Tensor]:
        if not self.pending:
            return []
        out, _ids, reasons = self.pending[-1 - which % len(self.pending)]
        if not out.requires_grad:
            return []
        with self.inside():
            out.backward(self.upstream(out, kind), retain_graph=True)
        reasons.add("again")
        return self.gradients() if look else []

    def twice(self, which: int) -> list[Tensor]:
        if not self.pending:
            return []
        out, _ids, _reasons = self.pending[-1 - which % len(self.pending)]
        wanted = [weight for weight in self.weights if weight.requires_grad]
        if not out.requires_grad or out.numel() == 0 or out.dtype != torch.float32:
            return []
        with self.inside():
            first = torch.autograd.grad(
                out.square().sum(), wanted, create_graph=True, allow_unused=True
            )
            total = sum((g.to_dense().square().sum() for g in first if g is not None), out.sum())
            second = torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True)
        return [kernels.computed(g).to_dense() for g in (*first, *second) if g is not None]

    # --- what changes under them ---

    def change_ids(self, which: int, silent: int) -> list[Tensor]:
        if not self.pending:
            return []
        _out, ids, reasons = self.pending[-1 - which % len(self.pending)]
        if ids.numel() == 0 or 0 in ids.stride() or ids.is_neg():
            return []
        if silent:
            ids.numpy()[...] = 2**31 - 1
        else:
            ids.fill_(1)
        reasons.add("ids")
        return []

    def cast(self, dtype: int) -> list[Tensor]:
        self.taint("cast")
        self.layer.to([torch.float16, torch.float32, torch.float64, torch.bfloat16][dtype])
        self.optimizer = None
        return []

    def move(self, how: int, which: int) -> list[Tensor]:
        weight = self.weights[which % len(self.weights)]
        data = weight.data
        self.taint("moved")
        if how == 0:
            weight.data = data.clone()
        elif how == 1:
            weight.data = torch.stack([data, data], -1)[..., 0]
        elif how == 2:
            weight.data = torch._neg_view(-data)
        elif how == 3:
            weight.data = data[: max(1, len(data) // 2)]
            self.optimizer = None
        elif how == 4:
            weight.data = data.mT.contiguous().mT if data.ndim > 1 else data
        elif how == 5:
            for module in self.layer.modules():
                for name, held in list(module._parameters.items()):
                    if held is weight:
                        setattr(module, name, torch.nn.Parameter(data.clone()))
            self.optimizer = None
        else:
            weight.data = torch.cat([data.flatten()[:1], data.flatten()])[1:].view(data.shape)
        return []

    def freed(self, with_backward: int) -> list[Tensor]:
        """Read tables whose memory is gone, then give it back; torch itself would crash."""
        if any(weight.dtype != torch.float32 for weight in self.weights):
            return []
        self.taint("freed")
        self.layer(self.make_ids(7, 0, 0))
        if kernels.explain(self.layer).name != "compiled":
            return []
        saved = [weight.detach().clone() for weight in self.weights]
        for weight in self.weights:
            weight.untyped_storage().resize_(0)
        try:
            with contextlib.suppress(RuntimeError):
                self.layer(self.make_ids(7, 0, 0))
                raise AssertionError("a table without memory was read")
            ready = [p for p in self.pending if with_backward and p[0].requires_grad]
            for out, _ids, _reasons in ready:
                if out.grad_fn is not None and out.grad_fn.name() == "FusedLookupBackward":
                    with contextlib.suppress(RuntimeError, IndexError):
                        torch.autograd.grad(
                            out.sum(), self.weights, retain_graph=True, allow_unused=True
                        )
        finally:
            for weight, old in zip(self.weights, saved, strict=True):
                storage = weight.untyped_storage()
                storage.resize_((old.numel() + weight.storage_offset()) * 2 * old.element_size())
                with torch.no_grad():
                    weight.data.copy_(old)
        return []

    def change_table(self, which: int) -> list[Tensor]:
        self.taint("changed")
        with torch.no_grad():
            self.weights[which % len(self.weights)].mul_(0.5)
        return []

    # --- what is around ---

    def around(self, kind: int) -> list[Tensor]:
        kinds = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float32]
        self.default, self.meta = kinds[kind], kind == 4
        return []

    def overlap(self) -> list[Tensor]:
        self.overlapped = True
        return []

    def threads(self, number: int) -> list[Tensor]:
        torch.set_num_threads(number + 1)
        return []

    # --- optimizers ---

    def new_optimizer(self, rule: int) -> Any:
        options: dict[str, Any] = {} if rule == 0 else {"eps": 0.1}
        return RULES[rule](self.weights, lr=0.01, **options)

    def made(self, rule: int, fused: int) -> list[Tensor]:
        if self.optimizer is not None:
            self.optimizer.unfuse()
        for weight in self.weights:
            weight.grad = None
        self.optimizer, self.rule = self.new_optimizer(rule), rule
        if fused and all(weight.requires_grad for weight in self.weights):
            self.optimizer.fuse(self.layer)
        return []

    def step(self) -> list[Tensor]:
        if self.optimizer is None:
            return []
        self.taint("step")
        with self.inside():
            self.optimizer.step()
        self.optimizer.zero_grad()
        return self.seen()

    def unfuse(self) -> list[Tensor]:
        if self.optimizer is not None:
            self.optimizer.unfuse()
        return []

    def clip(self) -> list[Tensor]:
        if any(w.grad is not None and w.grad.dtype == torch.float16 for w in self.weights):
            return []
        return [torch.nn.utils.clip_grad_norm_(self.weights, 0.5).detach()]

    def foreign_state(self, how: int) -> list[Tensor]:
        """Give a weight the moments of another model."""
        if self.optimizer is None:
            return []
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    state[name] = [value[:1], value.double(), value.new_zeros(3, 99)][how]
                    return []
        return []

    def save_optimizer(self) -> list[Tensor]:
        if self.optimizer is None:
            return []
        other = self.new_optimizer(self.rule)
        other.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        self.optimizer.unfuse()
        self.optimizer = other
        return []

    # --- the layer ---

    def copy(self, how: int) -> list[Tensor]:
        self.optimizer = None
        self.layer.zero_grad()
        if how == 0:
            self.layer = copy.deepcopy(self.layer)
        elif how == 1:
            self.layer = pickle.loads(pickle.dumps(self.layer))
        else:
            twin = copy.deepcopy(self.layer)
            twin.load_state_dict(self.layer.state_dict())
            self.layer = twin
        return []

    def load(self, how: int) -> list[Tensor]:
        """Load the state of this layer, of a smaller one, or with ``assign=True``."""
        self.taint("loaded")
        state = {name: value.clone() for name, value in self.layer.state_dict().items()}
        if how == 1:
            state = {name: value[: len(value) // 2] for name, value in state.items() if value.ndim}
        if how == 2:
            self.optimizer = None
        self.layer.load_state_dict(state, assign=how == 2)
        return []

    def requires_grad(self, which: int, wanted: int) -> list[Tensor]:
        self.weights[which % len(self.weights)].requires_grad_(bool(wanted))
        return []

    def resize(self, more: int) -> list[Tensor]:
        torch.manual_seed(1)
        larger = self.layer.resize_num_embeddings(self.layer.num_embeddings + more * 10)
        self.layer, self.optimizer = larger, None
        return []

    def attribute(self, which: int) -> list[Tensor]:
        if which < 2:
            self.layer.sparse = bool(which)
        else:
            self.layer.padding_idx = [None, 5][which - 2]
        return []


Outcome = list[Tensor] | Exception


def act(world: World, name: str, arguments: list[int]) -> Outcome:
    method = getattr(world, "made" if name == "optimizer" else name)
    try:
        found: list[Tensor] = method(*arguments)
    except ERRORS as error:
        return error
    return found


def tainted(world: World, name: str, arguments: list[int]) -> set[str]:
    """What has happened since the forward pass that an action finishes."""
    if name in ("backward", "twice") and world.pending:
        return world.pending[-1 - arguments[0] % len(world.pending)][2] - {"again"}
    return set().union(*(reasons for *_, reasons in world.pending)) if name == "step" else set()


def difference(got: list[Tensor], want: list[Tensor]) -> str:
    if len(got) != len(want):
        return f"{len(got)} tensors, not {len(want)}"
    for one, other in zip(got, want, strict=True):
        loose = one.dtype in (torch.float16, torch.bfloat16)
        near = {"rtol": 0.2, "atol": 1.0} if loose else {"rtol": 2e-3, "atol": 2e-3}
        try:
            torch.testing.assert_close(one, other, equal_nan=True, **near)
        except AssertionError as error:
            return str(error).replace("\n", " ")
    return ""


def compare(actions: list[list[Any]]) -> dict[str, Any]:
    """Take the actions in both worlds; the first says how they begin."""
    torch.set_num_threads(1)
    start = actions[0][1:] if actions and actions[0][0] == "rebuild" else [0, 0, 0]
    compiled = World(*start)
    with kernels.plain():
        plain = World(*start)
    done, refused, both = Counter(), Counter(), Counter()
    ending = [["lookup", 7, 0, 0, 0], ["backward", 2, 0, 1]]
    for number, (name, *arguments) in enumerate([*actions, *ending]):
        reasons = tainted(compiled, name, arguments)
        got = act(compiled, name, arguments)
        with kernels.plain():
            want = act(plain, name, arguments)
        done[name] += 1
        answer = {"done": done, "refused": refused, "both": both}
        where = f"action {number}, {name}{arguments}" + (f" after {reasons}" if reasons else "")
        if isinstance(want, NotImplementedError):  # we can, torch cannot
            refused[f"{name}, by torch"] += 1
            break
        if isinstance(got, Exception) != isinstance(want, Exception):
            if reasons:  # it may be refused, but not be wrong
                refused[f"{name} after {sorted(reasons)}"] += 1
                break
            return answer | {"wrong": f"{where}: {got!r}, plainly {want!r}", "kind": name}
        if isinstance(got, Exception) or isinstance(want, Exception):
            both[name] += 1
            if name in ("lookup", "out_of_range") and type(got) is not type(want):
                return answer | {"wrong": f"{where}: {got!r}, plainly {want!r}", "kind": name}
            if name in ("backward", "twice", "step", "load", "copy"):
                break
            continue
        if "ids" in reasons:  # torch does not say which ids count
            break
        if wrong := difference(got, want):
            return answer | {"wrong": f"{where}: {wrong}", "kind": name}
    return {"done": done, "refused": refused, "both": both, "wrong": "", "kind": ""}


def main() -> None:
    faulthandler.enable()
    kernels.warm_up()
    for line in sys.stdin:
        if hasattr(signal, "alarm"):
            signal.alarm(SECONDS)
        answer = compare(json.loads(line))
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
