"""What bounds a lookup: shipped layers beside the same lookups written by hand in C++.

    python -m benchmarks.bounds

Where a layer takes no more than `LIMIT` times its probe, the machine is the bound, not the code.

- probe.cpp: a lookup for each method, and the full table's
- probes.py: compiles it, and hands it a layer's tensors
- measure.py: layer, probe and nn.Embedding in turns; __main__.py: the table, and a CSV file
"""

from __future__ import annotations

from benchmarks.bounds.measure import LIMIT, bounds_table, command, measured
from benchmarks.bounds.probes import METHODS, NoCompiler, Probe, compile_probes

__all__ = [
    "LIMIT",
    "METHODS",
    "NoCompiler",
    "Probe",
    "bounds_table",
    "command",
    "compile_probes",
    "measured",
]
