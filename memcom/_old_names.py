"""Old module names, for one release: importing one warns and gives the module it became."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "memcom.classifiers": "memcom.tasks",
    "memcom.clicks": "memcom.tasks",
    "memcom.collisions.summary": "memcom.collisions.collision_report",
    "memcom.data.adjacency": "memcom.data.pairs",
    "memcom.data.archives": "memcom.data.obtain",
    "memcom.data.clicks": "memcom.data.synthetic_clicks",
    "memcom.diagnostics": "memcom.collisions.abundance",
    "memcom.embeddings.binary_code": "memcom.embeddings.bch",
    "memcom.embeddings.clustered": "memcom.embeddings.cce",
    "memcom.embeddings.learned_hash": "memcom.embeddings.lhf",
    "memcom.embeddings.learned_map": "memcom.embeddings.lhf",
    "memcom.embeddings.product_quantized": "memcom.embeddings.dpq",
    "memcom.embeddings.quotient_remainder": "memcom.embeddings.qr",
    "memcom.embeddings.tensor_train": "memcom.embeddings.tt",
    "memcom.experiments": "memcom.sweep",
    "memcom.family": "memcom.course.family",
    "memcom.metrics": "memcom.tasks",
    "memcom.models": "memcom.tasks",
    "memcom.notebook": "memcom.course",
    "memcom.procedures": "memcom.embeddings",
    "memcom.profiling.peak": "memcom.profiling.memory",
    "memcom.training": "memcom.tasks",
    "memcom.uniqueness": "memcom.collisions.distinct",
    "memcom.widgets": "memcom.course",
}
"""Old name -> the module that has its public names now."""


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the old names, and puts the new modules in their place."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        warnings.warn(f"{old} is {MOVED[old]} now", DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(MOVED[old])


def install() -> None:
    """Make the old names importable."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
