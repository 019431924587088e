"""Small tables in a model: fitted to trained ones, or put in their place before training."""

from __future__ import annotations

from memcom.compression.compress import AUTO as AUTO
from memcom.compression.compress import compress as compress
from memcom.compression.heads import SharedHead as SharedHead
from memcom.compression.hugging_face import (
    register_with_transformers as register_with_transformers,
)
from memcom.compression.replace import replace as replace
from memcom.compression.report import Compressed as Compressed
from memcom.compression.report import CompressedTable as CompressedTable
