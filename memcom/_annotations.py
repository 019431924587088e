"""Checks of a function's arguments, or a dataclass' fields, by their annotations.

The annotation says of what type a value is; its range is checked where it is used, by
`memcom._check`.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from memcom._check import (
    MAX_PARTS,
    flag,
    integer,
    number,
    numbers_of,
    path_like,
    real,
    shown,
    whole,
)

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[str, Any], Any]
"""Of an argument's name and value: the value to use."""
_LARGEST = 2**62


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of each call by the function's annotations, before it runs.

    What is refused is a TypeError that names the argument. Numbers of NumPy, and tensors of one,
    become Python's; lists of numbers given as arrays become arrays. A default always passes. Ranges
    are the function's own. A call takes a microsecond or two longer, for tensors and layers less.
    """
    checks: _Checks | None = None

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal checks
        if checks is None:  # annotations may name what is defined below the function
            checks = _checks_of(function)
        positional, by_name = checks
        given: list[Any] = [
            value if value is default else check(name, value)
            for (name, default, check), value in zip(positional, args, strict=False)
        ]
        for name, value in kwargs.items():
            if name in by_name and value is not by_name[name][0]:
                kwargs[name] = by_name[name][1](name, value)
        return function(*given, *args[len(given) :], **kwargs)  # type: ignore[arg-type]

    return call


_Checks = tuple[list[tuple[str, Any, Check]], dict[str, tuple[Any, Check]]]


def _checks_of(function: Callable[..., Any]) -> _Checks:
    """Name, default and check of what may be given by position; the same by name."""
    names = inspect.unwrap(function).__globals__
    parameters = inspect.signature(function).parameters.values()
    every = [
        (p, p.default, _check_of(str(p.annotation), names))
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    positional = [(p.name, d, check) for p, d, check in every if p.kind is not p.KEYWORD_ONLY]
    return positional, {p.name: (default, check) for p, default, check in every}


def check_fields(options: Any) -> None:
    """Check the fields of a dataclass by their annotations, as `checked` does; numbers are finite.

    The values become Python's types, also where the dataclass is frozen.
    """
    of: Any = type(options)
    for name, kind, check in _fields(of):
        value = check(name, getattr(options, name))
        object.__setattr__(options, name, real(name, value) if kind == "float" else value)


@cache
def _fields(options: Any) -> list[tuple[str, str, Check]]:
    names = vars(sys.modules[options.__module__])
    kinds = [(field.name, str(field.type)) for field in dataclasses.fields(options)]
    return [(name, kind, _check_of(kind, names)) for name, kind in kinds]


def check_types(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments as Python's types, or refuse one that is of another type.

    The types are those of the function's or constructor's annotations. NumPy's numbers become
    Python's, numbers are finite, and lists of numbers have 1 to `MAX_PARTS` entries, each >= 1.
    None passes for every option. Ranges are the function's own.
    """
    kinds = _kinds(function)
    found = dict(options)
    for name, value in options.items():
        if value is None or name not in kinds:
            continue
        kind, check = kinds[name]
        found[name] = value = check(name, value)
        if kind == "int":
            found[name] = whole(name, value, -_LARGEST, _LARGEST)
        if kind == "float":
            found[name] = real(name, value)
        if kind in ("Sequence[int]", "Sequence[int | None]"):
            if not 1 <= len(value) <= MAX_PARTS:
                raise ValueError(f"{name} must have 1 to {MAX_PARTS} numbers, got {len(value)}")
            found[name] = [e if e is None else whole(name, e, 1, _LARGEST) for e in value]
    return found


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, tuple[str, Check]]:
    """The keyword arguments, their annotations as written, without None, and the checks."""
    made = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    parameters = inspect.signature(made).parameters.values()
    kinds = {
        p.name: str(p.annotation).removesuffix(" | None")
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    }
    return {name: (kind, _check_of(kind, {})) for name, kind in kinds.items()}


def _check_of(kind: str, names: Mapping[str, Any]) -> Check:
    """Return the check of an annotation; ``names`` are those that it may use."""
    either = _split(kind)
    if len(either) > 1:
        return _either(either, names)
    head, _, inner = kind.removesuffix("]").partition("[")
    if head in ("Sequence", "Iterable", "list", "tuple"):
        return _list_of(inner.removesuffix(", ..."))
    if head == "Mapping":
        return _mapping_of(_check_of(inner.partition(", ")[2], names))
    return _BY_NAME[head] if head in _BY_NAME else _instance_of(kind, names)


def _split(kind: str) -> list[str]:
    """The kinds of ``A | B[C | D]``: A and B[C | D]."""
    parts, depth = [""], 0
    for letter in kind:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _either(kinds: list[str], names: Mapping[str, Any]) -> Check:
    """Take a value as the first kind that takes it: None, then tensors, then in order."""
    optional = "None" in kinds
    kinds = sorted((k for k in kinds if k != "None"), key=lambda kind: kind not in _TENSORS)
    checks = [_check_of(kind, names) for kind in kinds]

    def check(name: str, value: Any) -> Any:
        if optional and value is None:
            return None
        for each in checks[:-1]:
            try:
                return each(name, value)
            except (TypeError, ValueError):
                continue
        try:
            return checks[-1](name, value)
        except (TypeError, ValueError) as error:
            if len(checks) == 1:
                raise
            raise TypeError(f"{name} must be {' or '.join(kinds)}, got {shown(value)}") from error

    return check


def _list_of(of: str) -> Check:
    """Take what can be counted and iterated over; numbers and strings in it are checked.

    Arrays and iterables of numbers or strings become lists; a tuple stays one.
    """
    simple = of.removesuffix(" | None") in ("int", "float", "str", "bool")
    each_of = _check_of(of, {}) if simple else None

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str | bytes | Mapping | type):
            entries = None
        elif each_of is None:
            entries = value if hasattr(value, "__len__") and hasattr(value, "__iter__") else None
            if getattr(value, "ndim", 1) == 0:
                entries = None
        else:
            try:
                entries = list(value)
            except TypeError:
                entries = None
        if entries is None:
            raise TypeError(f"{name} must be a list, got {shown(value)}")
        if each_of is None:
            return entries
        read = [each_of(f"each of {name}", each) for each in entries]
        return tuple(read) if isinstance(value, tuple) else read

    return check


def _mapping_of(each_of: Check) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a mapping, got {shown(value)}")
        return {key: each_of(f"{name}[{shown(key)}]", each) for key, each in value.items()}

    return check


def _string(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {shown(value)}")
    return value


def _path(name: str, value: Any) -> Any:
    path_like(name, value)
    return value


def _function(name: str, value: Any) -> Any:
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {shown(value)}")
    return value


def _anything(name: str, value: Any) -> Any:
    return value


def _instance_of(kind: str, names: Mapping[str, Any]) -> Check:
    """Refuse what is no instance of a class, or lacks a member of a protocol."""
    wanted: Any
    if kind in _TENSORS:
        from torch import Tensor as wanted
    else:
        first, *rest = kind.split(".")
        wanted = names.get(first)
        for part in rest:
            wanted = getattr(wanted, part, None)
    if not isinstance(wanted, type) or wanted in (Any, object):
        return _anything
    if getattr(wanted, "_is_protocol", False):
        return _with_members(wanted)
    article = "an" if wanted.__name__[0] in "AEIOU" else "a"
    what = "a tensor" if kind in _TENSORS else f"{article} {wanted.__name__}"

    def check(name: str, value: Any) -> Any:
        if isinstance(value, wanted):
            return value
        raise TypeError(f"{name} must be {what}, got {shown(value)}")

    return check


def _with_members(protocol: type) -> Check:
    every = (*vars(protocol), *protocol.__annotations__)
    members = sorted({member for member in every if not member.startswith("_")})

    def check(name: str, value: Any) -> Any:
        lacking = [member for member in members if not hasattr(value, member)]
        if lacking or isinstance(value, type):
            wanted = f"{protocol.__name__} with {', '.join(members)}"
            raise TypeError(f"{name} must be a {wanted}, got {shown(value)}")
        return value

    return check


_TENSORS = ("Tensor", "torch.Tensor")
_BY_NAME: dict[str, Check] = {
    "int": integer,
    "float": number,
    "bool": flag,
    "str": _string,
    "Path": _path,
    "Callable": _function,
    "np.ndarray": numbers_of,
    "ArrayLike": numbers_of,
}
