"""The compressors by name."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeVar

from memcom.embeddings._contract import CompressedEmbedding

Method = TypeVar("Method", bound=type[CompressedEmbedding])

REGISTRY: dict[str, type[CompressedEmbedding]] = {}
"""Name -> class, in the order of `memcom.embeddings.layers`."""


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
    if name not in REGISTRY:
        raise ValueError(f"no compressor is called {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Parse a compressor with options, as written on a command line.

    Args:
        spec: A name, or a name with keyword arguments: ``"qr(operation=concat)"``. Values are
            Python literals; a bare word is a string.

    Returns:
        The name, which is checked, and the options, which are not.

    Raises:
        ValueError: There is no compressor of that name, or the spec is not of that form.
    """
    try:
        tree = ast.parse(spec.replace("-", "_").strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        if not isinstance(call.func, ast.Name) or call.args:
            raise SyntaxError(spec)
        options = {k.arg: _value(k.value) for k in call.keywords if k.arg}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"a method is written name or name(option=value), got {spec!r}") from error
    name = spec.split("(")[0].strip()
    get(name)
    return name, options


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
