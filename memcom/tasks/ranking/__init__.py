"""Ranking: model, losses, evaluation, training, and the tasks ``"ranking"`` and ``"pairwise"``."""

from memcom.tasks.ranking.task import PAIRWISE as PAIRWISE
from memcom.tasks.ranking.task import TASK as TASK
