"""Tasks: fit a ranker on histories, evaluate it over all items."""

from __future__ import annotations

from memcom.training.evaluation import Evaluation as Evaluation
from memcom.training.evaluation import HeldOut as HeldOut
from memcom.training.evaluation import evaluate as evaluate
from memcom.training.fitting import Fit as Fit
from memcom.training.fitting import TrainingError as TrainingError
from memcom.training.fitting import TrainingOptions as TrainingOptions
from memcom.training.fitting import fit as fit
from memcom.training.histories import Histories as Histories
from memcom.training.losses import sampled_softmax_loss as sampled_softmax_loss
from memcom.training.losses import softmax_loss as softmax_loss
