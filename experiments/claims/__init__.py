"""What the papers say, what was measured, and whether the two agree.

`PUBLISHED` holds the papers' figures, `Results` the committed sweeps under ``experiments/results``,
and `findings` sets one against the other, question by question.
"""

from __future__ import annotations

from experiments.claims.answers import Finding as Finding
from experiments.claims.answers import percent as percent
from experiments.claims.findings import findings as findings
from experiments.claims.panels import abstract_panels as abstract_panels
from experiments.claims.panels import loss_panels as loss_panels
from experiments.claims.published import PUBLISHED as PUBLISHED
from experiments.claims.published import Published as Published
from experiments.claims.published import published_points as published_points
from experiments.claims.results import Results as Results
