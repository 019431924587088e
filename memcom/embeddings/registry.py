"""The compressors by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from memcom._check import shown
from memcom.embeddings._contract import CompressedEmbedding

Method = TypeVar("Method", bound=type[CompressedEmbedding])

REGISTRY: dict[str, type[CompressedEmbedding]] = {}
"""Name -> class, in the order of `memcom.embeddings.layers`."""

_WORD = re.compile(r"[A-Za-z_][\w-]*")
_LONGEST_SPEC = 1000  # characters


def register(name: str) -> Callable[[Method], Method]:
    """Return a class decorator that makes a compressor known under ``name``.

    Planner, sweeps, figures, benchmarks and the family table then take it by that name.

    Args:
        name: Lower case, words joined by "-". A class may be defined again under its name.

    Returns:
        The decorator; it returns the class as it is.

    Raises:
        ValueError: The name is taken or malformed, or the class defines no card.
    """

    def add(cls: Method) -> Method:
        known = REGISTRY.get(name, cls)
        if not name.replace("-", "_").isidentifier():
            raise ValueError(f"a name is made of letters, digits and '-', got {name!r}")
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"{name!r} is the name of {known.__qualname__} already")
        if "card" not in vars(cls):
            raise ValueError(f"{cls.__qualname__} needs a card: card = memcom.Card(...)")
        REGISTRY[name] = cls
        return cls

    return add


def available() -> list[str]:
    """Return the names of all compressors."""
    return list(REGISTRY)


def get(name: str) -> type[CompressedEmbedding]:
    """Return the class of a compressor.

    Args:
        name: One of `available`.

    Returns:
        The class.

    Raises:
        ValueError: There is none; the message lists the names there are.
    """
    if not isinstance(name, str) or name not in REGISTRY:
        raise ValueError(f"no compressor is called {shown(name)}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def notes_on(methods: Iterable[str]) -> list[str]:
    """Return the notes that stand beside results of some methods; see `Card`.

    Args:
        methods: Names as in specifications, options allowed. Others, such as controls, have none.

    Returns:
        The notes in the order of the methods, each once.

    Raises:
        TypeError: The methods are not strings.
    """
    try:
        given: list[Any] = [None] if isinstance(methods, str) else list(methods)
    except TypeError:
        given = [None]
    if not all(isinstance(each, str) for each in given):
        raise TypeError(f"methods must be a list of names, got {shown(methods)}")
    names = dict.fromkeys(each.partition("(")[0] for each in given)
    notes = (REGISTRY[name].card.note for name in names if name in REGISTRY)
    return list(dict.fromkeys(note for note in notes if note))


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Parse a compressor with options, as written on a command line.

    Args:
        spec: A name, or a name with keyword arguments: ``"qr(operation=concat)"``. Values are
            Python literals; a bare word is a string.

    Returns:
        The name, which is checked, and the options, which are not.

    Raises:
        TypeError: The spec is no string.
        ValueError: There is no compressor of that name, or the spec is not of that form.
    """
    if not isinstance(spec, str):
        raise TypeError(f"a method must be a string, got {shown(spec)}")
    name, opened, inside = spec.strip().partition("(")
    malformed = f"a method is written name or name(option=value), got {shown(spec)}"
    complete = _WORD.fullmatch(name.strip()) and (not opened or inside.endswith(")"))
    if len(spec) > _LONGEST_SPEC or not complete:
        raise ValueError(malformed)
    source = f"f({inside}" if opened else "f()"
    try:
        call = ast.parse(source, mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "f" or call.args:
            raise ValueError(malformed)
        given = [(keyword.arg, _value(keyword.value, source)) for keyword in call.keywords]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(malformed) from error
    options = {name: value for name, value in given if name is not None}
    if len(options) < len(given):  # **{...}, or an option twice
        raise ValueError(f"{malformed}: every option once, by its name")
    get(name.strip())
    return name.strip(), options


def _value(node: ast.expr, source: str) -> Any:
    """A literal, or a bare word, hyphens included, as a string."""
    text = ast.get_source_segment(source, node) or ""
    if isinstance(node, (ast.Name, ast.BinOp)) and _WORD.fullmatch(text):
        return text
    return ast.literal_eval(node)
