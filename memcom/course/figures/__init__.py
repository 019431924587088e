"""Figures of the notebooks: pure functions that take data and return a matplotlib `Figure`.

The picture of an explorer has a twin ``describe_...`` that takes the same arguments and returns its
numbers in words: the alternative text.
"""

from __future__ import annotations

from memcom.course.figures.binary_code import code_steps as code_steps
from memcom.course.figures.binary_code import code_strips as code_strips
from memcom.course.figures.binary_code import describe_code_strips as describe_code_strips
from memcom.course.figures.budget_calculator import FOUNDATION as FOUNDATION
from memcom.course.figures.budget_calculator import budget_calculator as budget_calculator
from memcom.course.figures.budget_calculator import (
    describe_budget_calculator as describe_budget_calculator,
)
from memcom.course.figures.chance import bucket_occupancy as bucket_occupancy
from memcom.course.figures.chance import equal_after_rounding as equal_after_rounding
from memcom.course.figures.chance import expected_against_observed as expected_against_observed
from memcom.course.figures.chance import rounding_collisions as rounding_collisions
from memcom.course.figures.collision_microscope import describe_microscope as describe_microscope
from memcom.course.figures.collision_microscope import fates as fates
from memcom.course.figures.collision_microscope import microscope as microscope
from memcom.course.figures.collision_microscope import zipf_counts as zipf_counts
from memcom.course.figures.encoder import Neighbour as Neighbour
from memcom.course.figures.encoder import describe_nearest_texts as describe_nearest_texts
from memcom.course.figures.encoder import error_and_retrieval as error_and_retrieval
from memcom.course.figures.encoder import files_of_models as files_of_models
from memcom.course.figures.encoder import nearest_texts as nearest_texts
from memcom.course.figures.encoder import neighbours as neighbours
from memcom.course.figures.family import describe_family_member as describe_family_member
from memcom.course.figures.family import family_member as family_member
from memcom.course.figures.family import stirred as stirred
from memcom.course.figures.hashing import BUCKETS as BUCKETS
from memcom.course.figures.hashing import HASHES as HASHES
from memcom.course.figures.hashing import describe_hashing_explorer as describe_hashing_explorer
from memcom.course.figures.hashing import hashing_explorer as hashing_explorer
from memcom.course.figures.memcom_budget import describe_memcom_budget as describe_memcom_budget
from memcom.course.figures.memcom_budget import memcom_budget as memcom_budget
from memcom.course.figures.popularity import long_tail as long_tail
from memcom.course.figures.popularity import multiplier_by_popularity as multiplier_by_popularity
from memcom.course.figures.quotient_remainder import describe_qr_grid as describe_qr_grid
from memcom.course.figures.quotient_remainder import qr_grid as qr_grid
from memcom.course.figures.row_widths import describe_width_rule as describe_width_rule
from memcom.course.figures.row_widths import width_rule as width_rule
from memcom.course.figures.row_widths import widths_by_popularity as widths_by_popularity
from memcom.course.figures.speed import in_time as in_time
from memcom.course.figures.speed import memory_side_by_side as memory_side_by_side
from memcom.course.figures.speed import roofline as roofline
from memcom.course.figures.tables import effective_table as effective_table
from memcom.course.figures.tables import effective_tables as effective_tables
from memcom.course.figures.tables import who_shares as who_shares
from memcom.course.figures.tasks import CRITEO_FIELDS as CRITEO_FIELDS
from memcom.course.figures.tasks import describe_field_bytes as describe_field_bytes
from memcom.course.figures.tasks import field_bytes as field_bytes
from memcom.course.figures.tasks import gain_kept as gain_kept
from memcom.course.figures.tasks import gains_by_task as gains_by_task
from memcom.course.figures.traffic import describe_lookup_bytes as describe_lookup_bytes
from memcom.course.figures.traffic import lookup_bytes as lookup_bytes
from memcom.course.figures.verdicts import Score as Score
from memcom.course.figures.verdicts import describe_learning_curves as describe_learning_curves
from memcom.course.figures.verdicts import describe_models_by_bytes as describe_models_by_bytes
from memcom.course.figures.verdicts import describe_two_scores as describe_two_scores
from memcom.course.figures.verdicts import learning_curves as learning_curves
from memcom.course.figures.verdicts import models_by_bytes as models_by_bytes
from memcom.course.figures.verdicts import two_scores as two_scores
