"""What the papers say, what was measured, and whether the two agree.

`PUBLISHED` holds the papers' figures, `Results` the committed sweeps under ``experiments/results``,
and `findings` sets one against the other, question by question.
"""

from __future__ import annotations

from memcom.reproduction.answers import Finding as Finding
from memcom.reproduction.answers import percent as percent
from memcom.reproduction.findings import findings as findings
from memcom.reproduction.panels import abstract_panels as abstract_panels
from memcom.reproduction.panels import loss_panels as loss_panels
from memcom.reproduction.published import PUBLISHED as PUBLISHED
from memcom.reproduction.published import Published as Published
from memcom.reproduction.published import published_points as published_points
from memcom.reproduction.results import Results as Results
