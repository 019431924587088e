"""The error of a package that an extra of memcom-kit would have installed."""

from __future__ import annotations


class MissingExtra(ModuleNotFoundError):
    """A package of an optional extra is not installed.

    Args:
        wanted: Subject of the sentence, such as ``"the engine 'ray'"``.
        package: The package that is missing.
        extra: The extra of memcom-kit that brings it.
        instead: Another way out, if there is one.
    """

    def __init__(self, wanted: str, package: str | None, extra: str, instead: str = "") -> None:
        remedy = f"pip install 'memcom-kit[{extra}]'" + (f", or {instead}" if instead else "")
        super().__init__(f"{wanted} needs the package {package}: {remedy}", name=package)
