"""The whole family on one page: paper, formula, bytes, uniqueness, gradients and export.

- facts.py: what a paper says, and whether two ids can get one vector: stated
- table.py: bytes, equal vectors, gradients and export: measured on built layers
- markdown.py: the table as text
"""

from __future__ import annotations

from memcom.family.facts import FACTS as FACTS
from memcom.family.facts import UNIQUE as UNIQUE
from memcom.family.facts import Facts as Facts
from memcom.family.markdown import family_markdown as family_markdown
from memcom.family.table import Row as Row
from memcom.family.table import equal_pairs as equal_pairs
from memcom.family.table import exports as exports
from memcom.family.table import family_table as family_table
from memcom.family.table import sparse_gradients as sparse_gradients
