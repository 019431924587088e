"""memcom: learn, build and measure compressed embedding tables.

The layers are here by name; every other room of the library (``memcom.data``, ``memcom.tasks``,
``memcom.plots``, ...) is loaded when it is first asked for, so that ``import memcom`` stays light.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from memcom import _moved
from memcom.budget import BudgetError as BudgetError
from memcom.budget import Plan as Plan
from memcom.budget import build as build
from memcom.budget import plan as plan
from memcom.budget import plan_tables as plan_tables
from memcom.collisions.audit import Audit as Audit
from memcom.collisions.audit import audit as audit
from memcom.embeddings import AMTLEmbedding as AMTLEmbedding
from memcom.embeddings import BinaryCodeEmbedding as BinaryCodeEmbedding
from memcom.embeddings import BloomEmbedding as BloomEmbedding
from memcom.embeddings import CCEEmbedding as CCEEmbedding
from memcom.embeddings import ChineseRemainderEmbedding as ChineseRemainderEmbedding
from memcom.embeddings import CodebookEmbedding as CodebookEmbedding
from memcom.embeddings import CompressedEmbedding as CompressedEmbedding
from memcom.embeddings import CSREmbedding as CSREmbedding
from memcom.embeddings import DHEmbedding as DHEmbedding
from memcom.embeddings import DoubleHashEmbedding as DoubleHashEmbedding
from memcom.embeddings import DPQEmbedding as DPQEmbedding
from memcom.embeddings import EmbeddingBag as EmbeddingBag
from memcom.embeddings import FieldEmbeddings as FieldEmbeddings
from memcom.embeddings import FIITEDEmbedding as FIITEDEmbedding
from memcom.embeddings import FullEmbedding as FullEmbedding
from memcom.embeddings import HashEmbedding as HashEmbedding
from memcom.embeddings import HeadEmbedding as HeadEmbedding
from memcom.embeddings import Int4Embedding as Int4Embedding
from memcom.embeddings import Int8Embedding as Int8Embedding
from memcom.embeddings import JaggedEmbedding as JaggedEmbedding
from memcom.embeddings import KMEmComEmbedding as KMEmComEmbedding
from memcom.embeddings import LearnedHashEmbedding as LearnedHashEmbedding
from memcom.embeddings import LMAEmbedding as LMAEmbedding
from memcom.embeddings import LowRankEmbedding as LowRankEmbedding
from memcom.embeddings import MappedEmbedding as MappedEmbedding
from memcom.embeddings import MEmComBiasEmbedding as MEmComBiasEmbedding
from memcom.embeddings import MEmComEmbedding as MEmComEmbedding
from memcom.embeddings import MGQEmbedding as MGQEmbedding
from memcom.embeddings import MixedDimEmbedding as MixedDimEmbedding
from memcom.embeddings import MixedRadixEmbedding as MixedRadixEmbedding
from memcom.embeddings import MultiEmbedding as MultiEmbedding
from memcom.embeddings import PathEmbedding as PathEmbedding
from memcom.embeddings import PEPEmbedding as PEPEmbedding
from memcom.embeddings import QREmbedding as QREmbedding
from memcom.embeddings import QuantizedEmbedding as QuantizedEmbedding
from memcom.embeddings import ROBEEmbedding as ROBEEmbedding
from memcom.embeddings import ScalarQREmbedding as ScalarQREmbedding
from memcom.embeddings import SCALLEmbedding as SCALLEmbedding
from memcom.embeddings import SmallDimEmbedding as SmallDimEmbedding
from memcom.embeddings import TruncatedEmbedding as TruncatedEmbedding
from memcom.embeddings import TTEmbedding as TTEmbedding
from memcom.embeddings import WeightedHashEmbedding as WeightedHashEmbedding
from memcom.embeddings import available as available
from memcom.embeddings import get as get
from memcom.embeddings import learn_map as learn_map
from memcom.embeddings import minhash_signatures as minhash_signatures
from memcom.embeddings import multi_embedding as multi_embedding
from memcom.embeddings import parse_spec as parse_spec
from memcom.embeddings import quantize as quantize

__version__ = "0.1.0"

_moved.install()
_ROOMS = {module.name for module in pkgutil.iter_modules(__path__)}


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS or f"memcom.{name}" in _moved.MOVED:
        return importlib.import_module(f"memcom.{name}")
    raise AttributeError(f"module 'memcom' has no attribute {name!r}")
