"""Advice on the method to take: by what was measured on other data, and by trying on one's own."""

from __future__ import annotations

from memcom.advice.advise import Advice as Advice
from memcom.advice.advise import Stage as Stage
from memcom.advice.advise import advise as advise
from memcom.advice.evidence import DataSet as DataSet
from memcom.advice.evidence import Evidence as Evidence
from memcom.advice.leave_one_out import Check as Check
from memcom.advice.leave_one_out import leave_one_out as leave_one_out
from memcom.advice.recommend import ExpectedLoss as ExpectedLoss
from memcom.advice.recommend import Recommendation as Recommendation
from memcom.advice.recommend import Suggestion as Suggestion
from memcom.advice.recommend import recommend as recommend
