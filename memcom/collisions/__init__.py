"""Ids that share rows or vectors: the collision microscope. `report` first, then finer questions.

- collision_report.py: `report`, everything on one page, weighted by popularity
- sharing.py, groups.py: codes of ids, groups that share every row, neighbours of one id
- buckets.py: ids per row of each table
- overlap.py: share of the numbers that one id has in common with each other id
- theory.py: birthday counts of random hashing
- vectors.py: equal and nearly equal composed vectors, also after rounding
- multipliers.py: MEmCom's multipliers inside a bucket
- audit.py, distinct.py: `memcom.audit`, ids that cannot be told apart, and what theory says
- abundance.py: dimensions that a table really uses
"""

from __future__ import annotations

from memcom.collisions.buckets import TableUse
from memcom.collisions.collision_report import CollisionReport, report
from memcom.collisions.groups import Groups
from memcom.collisions.multipliers import MultiplierReport, multiplier_gaps
from memcom.collisions.sharing import codes, neighbours, sharing_groups
from memcom.collisions.theory import Expected, birthday_pairs, distinct_codes, expected_collisions
from memcom.collisions.vectors import (
    NearPairs,
    TooManyCandidates,
    equal_vectors,
    near_vectors,
    round_rows,
)

__all__ = [
    "CollisionReport",
    "Expected",
    "Groups",
    "MultiplierReport",
    "NearPairs",
    "TableUse",
    "TooManyCandidates",
    "birthday_pairs",
    "codes",
    "distinct_codes",
    "equal_vectors",
    "expected_collisions",
    "multiplier_gaps",
    "near_vectors",
    "neighbours",
    "report",
    "round_rows",
    "sharing_groups",
]
