"""memcom: learn, build and measure compressed embedding tables."""

from memcom.budget import BudgetError as BudgetError
from memcom.budget import Plan as Plan
from memcom.budget import build as build
from memcom.budget import plan as plan
from memcom.budget import plan_tables as plan_tables
from memcom.embeddings import BinaryCodeEmbedding as BinaryCodeEmbedding
from memcom.embeddings import ChineseRemainderEmbedding as ChineseRemainderEmbedding
from memcom.embeddings import CompressedEmbedding as CompressedEmbedding
from memcom.embeddings import DoubleHashEmbedding as DoubleHashEmbedding
from memcom.embeddings import EmbeddingBag as EmbeddingBag
from memcom.embeddings import FullEmbedding as FullEmbedding
from memcom.embeddings import HashEmbedding as HashEmbedding
from memcom.embeddings import LowRankEmbedding as LowRankEmbedding
from memcom.embeddings import MEmComBiasEmbedding as MEmComBiasEmbedding
from memcom.embeddings import MEmComEmbedding as MEmComEmbedding
from memcom.embeddings import MixedRadixEmbedding as MixedRadixEmbedding
from memcom.embeddings import QREmbedding as QREmbedding
from memcom.embeddings import SmallDimEmbedding as SmallDimEmbedding
from memcom.embeddings import TruncatedEmbedding as TruncatedEmbedding
from memcom.embeddings import available as available
from memcom.embeddings import get as get
from memcom.embeddings import parse_spec as parse_spec

__version__ = "0.1.0"
