"""What a table costs: bytes by formula, measured and moved, and lookup time against a baseline."""

from __future__ import annotations

from memcom.profiling.memory import Allocation as Allocation
from memcom.profiling.memory import Resident as Resident
from memcom.profiling.memory import TrainingMemory as TrainingMemory
from memcom.profiling.memory import allocated as allocated
from memcom.profiling.memory import nbytes_by_tensor as nbytes_by_tensor
from memcom.profiling.memory import resident as resident
from memcom.profiling.memory import training_memory as training_memory
from memcom.profiling.peak import peak_rss_bytes as peak_rss_bytes
from memcom.profiling.timing import Timing as Timing
from memcom.profiling.timing import median_interval as median_interval
from memcom.profiling.timing import time_lookup as time_lookup
from memcom.profiling.traffic import Traffic as Traffic
from memcom.profiling.traffic import count_lines as count_lines
from memcom.profiling.traffic import lookup_traffic as lookup_traffic
