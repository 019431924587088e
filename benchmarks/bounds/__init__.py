"""What bounds a lookup: shipped layers beside the same lookups written by hand in C++.

    python -m benchmarks.bounds
    python -m benchmarks.bounds --steps     # training steps beside their bounds

Where a layer takes no more than `LIMIT` times its probe, the machine is the bound, not the code.

- probe.cpp: a lookup for each method, and the full table's; training steps of two methods
- probes.py: compiles it, and hands it a layer's tensors
- measure.py: layer, probe and nn.Embedding in turns; __main__.py: the table, and a CSV file
- steps.py: the same of training steps
"""

from __future__ import annotations

from benchmarks.bounds.measure import LIMIT, bounds_table, command, measured
from benchmarks.bounds.probes import METHODS, NoCompiler, Probe, compile_probes
from benchmarks.bounds.steps import STEPS, steps_measured, steps_table

__all__ = [
    "LIMIT",
    "METHODS",
    "STEPS",
    "NoCompiler",
    "Probe",
    "bounds_table",
    "command",
    "compile_probes",
    "measured",
    "steps_measured",
    "steps_table",
]
