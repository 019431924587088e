"""memcom: learn, build and measure compressed embedding tables.

The layers are here by name, with `plan`, `build`, `compress` and what else people type daily. Names
and rooms (``memcom.data``, ``memcom.tasks``, ...) are loaded when they are first asked for, so that
``import memcom`` and the command line do without torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from memcom import _old_names

if TYPE_CHECKING:
    from memcom.advice.advise import advise as advise
    from memcom.advice.recommend import recommend as recommend
    from memcom.budget import BudgetError as BudgetError
    from memcom.budget import Plan as Plan
    from memcom.budget import build as build
    from memcom.budget import plan as plan
    from memcom.budget import plan_tables as plan_tables
    from memcom.collisions.audit import Audit as Audit
    from memcom.collisions.audit import audit as audit
    from memcom.compression import Compressed as Compressed
    from memcom.compression import CompressedTable as CompressedTable
    from memcom.compression import compress as compress
    from memcom.compression import replace as replace
    from memcom.embeddings import Card as Card
    from memcom.embeddings import CompressedEmbedding as CompressedEmbedding
    from memcom.embeddings import FitError as FitError
    from memcom.embeddings import available as available
    from memcom.embeddings import get as get
    from memcom.embeddings import parse_spec as parse_spec
    from memcom.embeddings import register as register
    from memcom.embeddings.layers import *  # noqa: F403
    from memcom.export import open as open

__version__ = "0.1.0"

_old_names.install()

# The imports above once more, for Python; layers.py alone lists the layers.
_LAYERS = "memcom.embeddings.layers"
_HOMES = {
    name: f"memcom.{room}"
    for room, names in {
        "advice.advise": "advise",
        "advice.recommend": "recommend",
        "budget": "BudgetError Plan build plan plan_tables",
        "collisions.audit": "Audit audit",
        "compression": "Compressed CompressedTable compress replace",
        "export": "open",
        "embeddings": "Card CompressedEmbedding FitError available get parse_spec register",
    }.items()
    for name in names.split()
}
_ROOMS = {
    module.name
    for module in pkgutil.iter_modules(__path__)  # noqa: F405
    if not module.name.startswith("_")
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS or f"memcom.{name}" in _old_names.MOVED:
        return importlib.import_module(f"memcom.{name}")
    if name == "__all__":  # asked for by `from memcom import *`
        return sorted({*_HOMES, *_layers()} - {"open"})  # which would hide Python's
    if name.startswith("_") or (name not in _HOMES and name not in _layers()):
        raise AttributeError(f"module 'memcom' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, _LAYERS)), name)
    globals()[name] = value  # found at once from now on
    return value


def _layers() -> set[str]:
    """Names of the layers' classes and functions."""
    return {name for name in vars(importlib.import_module(_LAYERS)) if not name.startswith("_")}


def __dir__() -> list[str]:
    kept = {name for name in globals() if name.startswith("__")}
    return sorted({*kept, *_HOMES, *_layers(), *_ROOMS})
