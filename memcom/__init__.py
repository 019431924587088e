"""memcom: learn, build and measure compressed embedding tables.

The layers are here by name. `recommend`, `advise` and every other room of the library
(``memcom.data``, ``memcom.tasks``, ...) are loaded when they are first asked for, so that ``import
memcom`` stays light.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from memcom import _old_names
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
from memcom.embeddings import Card as Card
from memcom.embeddings import CompressedEmbedding as CompressedEmbedding
from memcom.embeddings import FitError as FitError
from memcom.embeddings import available as available
from memcom.embeddings import get as get
from memcom.embeddings import parse_spec as parse_spec
from memcom.embeddings import register as register
from memcom.embeddings.layers import *  # noqa: F403

__version__ = "0.1.0"

_old_names.install()
_LATER = {"advise": "memcom.advice", "open": "memcom.export", "recommend": "memcom.advice"}
_ROOMS = {module.name for module in pkgutil.iter_modules(__path__)}  # noqa: F405


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    if name in _ROOMS or f"memcom.{name}" in _old_names.MOVED:
        return importlib.import_module(f"memcom.{name}")
    raise AttributeError(f"module 'memcom' has no attribute {name!r}")


def __dir__() -> list[str]:
    hidden = {"Any", "annotations", "importlib", "pkgutil"}
    return sorted({*globals(), *_LATER, *_ROOMS} - hidden)
