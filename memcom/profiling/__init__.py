"""Cost of a table: bytes by formula, measured and moved; time against a baseline.

- memory.py: bytes stored, held in training, allocated, resident
- timing.py: `interleave`, which times candidates in turns
- lookup.py: ids to look up, and the time of lookups
- traffic.py: bytes that a lookup moves
"""

from __future__ import annotations

from memcom.profiling.lookup import draw_ids, time_lookup
from memcom.profiling.memory import (
    Allocation,
    Resident,
    TrainingMemory,
    allocated,
    nbytes_by_tensor,
    peak_rss_bytes,
    resident,
    training_memory,
)
from memcom.profiling.timing import Timing, interleave, median_interval
from memcom.profiling.traffic import Traffic, count_lines, lookup_traffic

__all__ = [
    "Allocation",
    "Resident",
    "Timing",
    "Traffic",
    "TrainingMemory",
    "allocated",
    "count_lines",
    "draw_ids",
    "interleave",
    "lookup_traffic",
    "median_interval",
    "nbytes_by_tensor",
    "peak_rss_bytes",
    "resident",
    "time_lookup",
    "training_memory",
]
