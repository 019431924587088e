"""What ids share: the collision microscope. See `report` first, then the finer questions.

- theory.py: chance, birthday counts, distinct codes
- sharing.py: who reads what, groups, neighbours
- groups.py: groups of ids as two arrays
- buckets.py: ids per row of each table
- summary.py: `report`, all of it on one page, weighted by popularity
- vectors.py: equal and nearly equal composed vectors, also after rounding
- multipliers.py: MEmCom's multipliers inside a bucket
"""

from __future__ import annotations

from memcom.collisions.buckets import TableUse as TableUse
from memcom.collisions.groups import Groups as Groups
from memcom.collisions.multipliers import MultiplierReport as MultiplierReport
from memcom.collisions.multipliers import multiplier_gaps as multiplier_gaps
from memcom.collisions.sharing import codes as codes
from memcom.collisions.sharing import neighbours as neighbours
from memcom.collisions.sharing import sharing_groups as sharing_groups
from memcom.collisions.summary import CollisionReport as CollisionReport
from memcom.collisions.summary import report as report
from memcom.collisions.theory import Expected as Expected
from memcom.collisions.theory import birthday_pairs as birthday_pairs
from memcom.collisions.theory import distinct_codes as distinct_codes
from memcom.collisions.theory import expected_collisions as expected_collisions
from memcom.collisions.vectors import NearPairs as NearPairs
from memcom.collisions.vectors import equal_vectors as equal_vectors
from memcom.collisions.vectors import near_vectors as near_vectors
from memcom.collisions.vectors import round_rows as round_rows
