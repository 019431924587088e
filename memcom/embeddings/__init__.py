"""The compressors, one idea a file, and the registry of their names."""

from __future__ import annotations

import ast
from typing import Any

from memcom.embeddings._amtl_schedule import AMTLSchedule as AMTLSchedule
from memcom.embeddings._arguments import Sizes as Sizes
from memcom.embeddings._card import DISTINCT as DISTINCT
from memcom.embeddings._card import UNKNOWN as UNKNOWN
from memcom.embeddings._card import Card as Card
from memcom.embeddings._card import Paper as Paper
from memcom.embeddings._card import Statement as Statement
from memcom.embeddings._cce_schedule import CCESchedule as CCESchedule
from memcom.embeddings._contract import CompressedEmbedding as CompressedEmbedding
from memcom.embeddings._contract import TableEmbedding as TableEmbedding
from memcom.embeddings._fiited_schedule import FIITEDSchedule as FIITEDSchedule
from memcom.embeddings._pep_schedule import PEPSchedule as PEPSchedule
from memcom.embeddings._scall_schedule import SCALLSchedule as SCALLSchedule
from memcom.embeddings._schedule import Schedule as Schedule
from memcom.embeddings.amtl import AMTLEmbedding as AMTLEmbedding
from memcom.embeddings.bag import EmbeddingBag as EmbeddingBag
from memcom.embeddings.binary_code import BinaryCodeEmbedding as BinaryCodeEmbedding
from memcom.embeddings.bloom import BloomEmbedding as BloomEmbedding
from memcom.embeddings.clustered import CCEEmbedding as CCEEmbedding
from memcom.embeddings.csr import CSREmbedding as CSREmbedding
from memcom.embeddings.dhe import DHEmbedding as DHEmbedding
from memcom.embeddings.dpq import DPQEmbedding as DPQEmbedding
from memcom.embeddings.fiited import FIITEDEmbedding as FIITEDEmbedding
from memcom.embeddings.full import FullEmbedding as FullEmbedding
from memcom.embeddings.full import SmallDimEmbedding as SmallDimEmbedding
from memcom.embeddings.full import TruncatedEmbedding as TruncatedEmbedding
from memcom.embeddings.hash_embedding import WeightedHashEmbedding as WeightedHashEmbedding
from memcom.embeddings.hashing import DoubleHashEmbedding as DoubleHashEmbedding
from memcom.embeddings.hashing import HashEmbedding as HashEmbedding
from memcom.embeddings.head import HeadEmbedding as HeadEmbedding
from memcom.embeddings.jagged import JaggedEmbedding as JaggedEmbedding
from memcom.embeddings.learned_hash import LearnedHashEmbedding as LearnedHashEmbedding
from memcom.embeddings.learned_hash import MappedEmbedding as MappedEmbedding
from memcom.embeddings.learned_map import learn_map as learn_map
from memcom.embeddings.learning import Occurrences as Occurrences
from memcom.embeddings.learning import learned_options as learned_options
from memcom.embeddings.learning import prepare as prepare
from memcom.embeddings.lma import LMAEmbedding as LMAEmbedding
from memcom.embeddings.low_rank import LowRankEmbedding as LowRankEmbedding
from memcom.embeddings.memcom import MEmComBiasEmbedding as MEmComBiasEmbedding
from memcom.embeddings.memcom import MEmComEmbedding as MEmComEmbedding
from memcom.embeddings.memcom_variants import KMEmComEmbedding as KMEmComEmbedding
from memcom.embeddings.memcom_variants import ScalarQREmbedding as ScalarQREmbedding
from memcom.embeddings.mgqe import MGQEmbedding as MGQEmbedding
from memcom.embeddings.minhash import minhash_signatures as minhash_signatures
from memcom.embeddings.mixed_dim import MixedDimEmbedding as MixedDimEmbedding
from memcom.embeddings.mixed_radix import ChineseRemainderEmbedding as ChineseRemainderEmbedding
from memcom.embeddings.mixed_radix import MixedRadixEmbedding as MixedRadixEmbedding
from memcom.embeddings.multi import FieldEmbeddings as FieldEmbeddings
from memcom.embeddings.multi import MultiEmbedding as MultiEmbedding
from memcom.embeddings.multi import multi_embedding as multi_embedding
from memcom.embeddings.path import PathEmbedding as PathEmbedding
from memcom.embeddings.pep import PEPEmbedding as PEPEmbedding
from memcom.embeddings.product_quantized import CodebookEmbedding as CodebookEmbedding
from memcom.embeddings.quantized import Int4Embedding as Int4Embedding
from memcom.embeddings.quantized import Int8Embedding as Int8Embedding
from memcom.embeddings.quantized import QuantizedEmbedding as QuantizedEmbedding
from memcom.embeddings.quantized import QuantizeLater as QuantizeLater
from memcom.embeddings.quantized import quantize as quantize
from memcom.embeddings.quantized import rounded as rounded
from memcom.embeddings.quantized_table import QuantizedTable as QuantizedTable
from memcom.embeddings.quotient_remainder import QREmbedding as QREmbedding
from memcom.embeddings.robe import ROBEEmbedding as ROBEEmbedding
from memcom.embeddings.scall import SCALLEmbedding as SCALLEmbedding
from memcom.embeddings.schedules import Procedures as Procedures
from memcom.embeddings.schedules import follow as follow
from memcom.embeddings.schedules import schedule_for as schedule_for
from memcom.embeddings.tensor_train import TTEmbedding as TTEmbedding

REGISTRY: dict[str, type[CompressedEmbedding]] = {
    "full": FullEmbedding,
    "small-dim": SmallDimEmbedding,
    "truncate": TruncatedEmbedding,
    "low-rank": LowRankEmbedding,
    "hash": HashEmbedding,
    "double-hash": DoubleHashEmbedding,
    "bloom": BloomEmbedding,
    "hash-embedding": WeightedHashEmbedding,
    "qr": QREmbedding,
    "mixed-radix": MixedRadixEmbedding,
    "crt": ChineseRemainderEmbedding,
    "path": PathEmbedding,
    "bch": BinaryCodeEmbedding,
    "memcom": MEmComEmbedding,
    "memcom-bias": MEmComBiasEmbedding,
    "tt": TTEmbedding,
    "dhe": DHEmbedding,
    "robe": ROBEEmbedding,
    "lma": LMAEmbedding,
    "scalar-qr": ScalarQREmbedding,
    "k-memcom": KMEmComEmbedding,
    "mixed-dim": MixedDimEmbedding,
    "dpq": DPQEmbedding,
    "mgqe": MGQEmbedding,
    "cce": CCEEmbedding,
    "lhf": LearnedHashEmbedding,
    "int8": Int8Embedding,
    "int4": Int4Embedding,
    "jagged": JaggedEmbedding,
    "csr": CSREmbedding,
    "pep": PEPEmbedding,
    "amtl": AMTLEmbedding,
    "fiited": FIITEDEmbedding,
    "scall": SCALLEmbedding,
}


def available() -> list[str]:
    """Names of all compressors."""
    return list(REGISTRY)


def get(name: str) -> type[CompressedEmbedding]:
    """The compressor called ``name``.

    Args:
        name: One of `available`.

    Returns:
        Its class.

    Raises:
        ValueError: There is none; the message lists the names there are.
    """
    if name not in REGISTRY:
        raise ValueError(f"no compressor is called {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """A compressor with options, as written on a command line.

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
