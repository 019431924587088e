"""The compressors, a paper a file, and the registry of their names."""

from memcom.embeddings._arguments import Sizes as Sizes
from memcom.embeddings._card import DISTINCT as DISTINCT
from memcom.embeddings._card import UNKNOWN as UNKNOWN
from memcom.embeddings._card import Card as Card
from memcom.embeddings._card import Paper as Paper
from memcom.embeddings._card import Statement as Statement
from memcom.embeddings._contract import CompressedEmbedding as CompressedEmbedding
from memcom.embeddings._contract import TableEmbedding as TableEmbedding
from memcom.embeddings._fit import FitError as FitError
from memcom.embeddings._fit import Target as Target
from memcom.embeddings.layers import *  # noqa: F403
from memcom.embeddings.learning import Occurrences as Occurrences
from memcom.embeddings.learning import learned_options as learned_options
from memcom.embeddings.learning import prepare as prepare
from memcom.embeddings.quantized_table import QuantizedTable as QuantizedTable
from memcom.embeddings.registry import REGISTRY as REGISTRY
from memcom.embeddings.registry import available as available
from memcom.embeddings.registry import get as get
from memcom.embeddings.registry import notes_on as notes_on
from memcom.embeddings.registry import parse_spec as parse_spec
from memcom.embeddings.registry import register as register
from memcom.embeddings.schedules import Regularizers as Regularizers
from memcom.embeddings.schedules import Schedule as Schedule
from memcom.embeddings.schedules import Schedules as Schedules
from memcom.embeddings.schedules import attach as attach
from memcom.embeddings.schedules import follow as follow
from memcom.embeddings.schedules import schedule_for as schedule_for
