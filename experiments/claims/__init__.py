"""What the papers claim, held against the committed sweeps."""

from __future__ import annotations

from experiments.claims.evaluate import findings as findings
from experiments.claims.results import Results as Results
from experiments.claims.verdicts import Finding as Finding
from experiments.claims.verdicts import percent as percent
