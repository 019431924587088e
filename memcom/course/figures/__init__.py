"""Figures of the notebooks: pure functions that take data and return a matplotlib `Figure`."""

from __future__ import annotations

from memcom.course.figures.chance import bucket_occupancy as bucket_occupancy
from memcom.course.figures.chance import expected_against_observed as expected_against_observed
from memcom.course.figures.popularity import long_tail as long_tail
from memcom.course.figures.popularity import multiplier_by_popularity as multiplier_by_popularity
from memcom.course.figures.tables import effective_table as effective_table
from memcom.course.figures.tables import who_shares as who_shares
