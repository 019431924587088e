"""Arguments of compressors: checks, the sizes a budget can choose from, and what follows."""

from __future__ import annotations

import bisect
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from memcom._annotations import check_types as check_types
from memcom._check import MAX_PARTS as MAX_PARTS
from memcom._check import choice as choice
from memcom._check import did_you_mean
from memcom._check import flag as flag
from memcom._check import real as real
from memcom._check import shown as shown
from memcom._check import whole as whole

MAX_EMBEDDING_DIM = 2**18
MAX_HASHES = 256
"""Reads of an id; each is a step of a Python loop."""

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


COMMON = ("padding_idx", "sparse", "device", "dtype")
"""The arguments that every compressor takes."""

_TORCH = {
    "max_norm": (None, "ids share what is stored, so that no vector is scaled by itself"),
    "norm_type": (2.0, "it is the norm of max_norm, which ids that share rows cannot have"),
    "scale_grad_by_freq": (False, "the gradient of a shared row is a sum over ids"),
    "_weight": (None, "from_pretrained(table, ratio=...) comes close to a given table"),
    "_freeze": (False, "requires_grad_(False) of the layer freezes it"),
}
"""Arguments of `torch.nn.Embedding` that no compressor takes: what torch does without, and why."""


def refuse_unknown(owner: str, given: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return the arguments that are known; torch's others are left out where they do nothing.

    Args:
        owner: The class or method that takes them, as the user wrote it.
        given: Keyword arguments.
        known: Names that it takes.

    Returns:
        The arguments to use.

    Raises:
        TypeError: One is unknown; the message has the reason or a name like it, and the list.
    """
    known = list(known)
    used = dict(given)
    for name, value in given.items():
        if name in known:
            continue
        default, why = _TORCH.get(name, (_TORCH, ""))
        if type(value) is type(default) and value == default:
            del used[name]
            continue
        reason = f": {why}" if why else ""
        hint = "" if why else did_you_mean(name, known)
        raise TypeError(
            f"{owner} does not take {name}{reason}; it takes {', '.join(sorted(known))}{hint}"
        )
    return used


class CalledAsInTorch(type):
    """The call of a compressor's class: torch's third position, and refusals by the class's name.

    ``QREmbedding(1000, 64, 0, num_remainders=50)`` has ``padding_idx=0``, as in torch.
    """

    def __call__(cls, *sizes: Any, **arguments: Any) -> Any:
        """Make a layer."""
        known = _keywords(cls)
        if known is not None:
            if len(sizes) > 2:
                third, *more = sizes[2:]
                if more or "padding_idx" in arguments:
                    raise TypeError(
                        f"{cls.__name__} takes num_embeddings, embedding_dim and padding_idx by "
                        f"position, and all else by name; got {len(sizes)} by position"
                        + ("" if more else ", and padding_idx by name")
                    )
                sizes, arguments = sizes[:2], {"padding_idx": third, **arguments}
            arguments = refuse_unknown(cls.__name__, arguments, known)
        return super().__call__(*sizes, **arguments)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's arguments, for `help`."""
        found = inspect.signature(cls.__init__)  # type: ignore[misc]
        return found.replace(parameters=list(found.parameters.values())[1:])


def _keywords(cls: type) -> list[str] | None:
    """Keyword arguments of a compressor's class; None if it has other sizes, or takes any."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] != [
        "num_embeddings",
        "embedding_dim",
    ]:
        return None
    rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
    if rest not in ([], ["common"]):
        return None
    return ["num_embeddings", "embedding_dim", *names, *(COMMON if rest else ())]


class Sizes(NamedTuple):
    """Sizes one compressor can take, from small to large.

    Attributes:
        scales: Ascending integers, one for each size, the smallest layer first.
        arguments: The constructor's keyword arguments at a scale.
        floor: Why the smallest size is no smaller, as a clause.
    """

    scales: Sequence[int]
    arguments: Callable[[int], dict[str, Any]]
    floor: str

    @classmethod
    def of(cls, option: str, scales: Sequence[int], floor: str) -> Sizes:
        """Return sizes of which each is the value of one option."""
        return cls(scales, lambda scale: {option: scale}, floor)

    def largest(
        self, stored: Callable[[dict[str, Any]], int], budget: float
    ) -> dict[str, Any] | None:
        """Find the largest size within a budget.

        Args:
            stored: From arguments to bytes.
            budget: In bytes.

        Returns:
            Its arguments; None if even the smallest does not fit.
        """
        too_large = bisect.bisect_left(
            self.scales, True, key=lambda scale: stored(self.arguments(scale)) > budget
        )
        return self.arguments(self.scales[too_large - 1]) if too_large else None


def check_placement(device: Any, dtype: Any) -> dict[str, Any]:
    """Return the keyword arguments for new tensors, or raise an error that names the argument."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype in _DTYPES):
        raise ValueError(f"dtype must be one of {', '.join(map(str, _DTYPES))}, got {shown(dtype)}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:  # one for every backend
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device must be one that torch has here, got {shown(device)}: {reason}"
        ) from error
    return {"device": device, "dtype": dtype}


def check_tensor(name: str, value: Any) -> None:
    """Refuse an array, a list or a number where a tensor is needed."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")


def group_count(embedding_dim: int, num_groups: int, name: str = "num_groups") -> int:
    """Return ``num_groups`` if it divides ``embedding_dim``, else list the divisors in an error."""
    num_groups = whole(name, num_groups, 1, embedding_dim)
    if embedding_dim % num_groups:
        raise ValueError(
            f"embedding_dim {embedding_dim} must split into equal parts, so the number of parts "
            f"is one of {divisors(embedding_dim)}, got {num_groups}"
        )
    return num_groups


def divisors(number: int) -> list[int]:
    """Divisors of a positive integer, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def split_width(embedding_dim: int, parts: int) -> list[int]:
    """Widths of ``parts`` pieces that concatenate to ``embedding_dim``, as equal as possible."""
    if embedding_dim < parts:
        raise ValueError(f"embedding_dim must be >= {parts} to concatenate, got {embedding_dim}")
    return [(embedding_dim + parts - 1 - j) // parts for j in range(parts)]


def fusion_widths(embedding_dim: int, parts: int, fusion: str) -> list[int]:
    """Width of each of ``parts`` tables whose rows are fused to ``embedding_dim`` coordinates."""
    return split_width(embedding_dim, parts) if fusion == "concat" else [embedding_dim] * parts


def factor_std(std: float, parts: int, fusion: str) -> float:
    """Standard deviation of each of ``parts`` independent rows whose fusion has ``std``.

    Variances add under a sum and multiply under a product of zero-mean rows.
    """
    return {"sum": std / parts**0.5, "mult": std ** (1 / parts), "concat": std}[fusion]
