"""Tasks: fit a ranker on histories, evaluate it over all items."""

from __future__ import annotations

from memcom.training.evaluation import Evaluation as Evaluation
from memcom.training.evaluation import HeldOut as HeldOut
from memcom.training.evaluation import evaluate as evaluate
from memcom.training.examples import ClickExamples as ClickExamples
from memcom.training.examples import TextExamples as TextExamples
from memcom.training.fitting import fit as fit
from memcom.training.histories import Histories as Histories
from memcom.training.loop import Record as Record
from memcom.training.loop import TrainingError as TrainingError
from memcom.training.losses import sampled_softmax_loss as sampled_softmax_loss
from memcom.training.losses import softmax_loss as softmax_loss
from memcom.training.options import TrainingOptions as TrainingOptions
from memcom.training.pairwise import PairwiseOptions as PairwiseOptions
from memcom.training.pairwise import ranknet_loss as ranknet_loss
from memcom.training.stream import Stream as Stream
from memcom.training.stream import StreamOptions as StreamOptions
from memcom.training.streaming import run_stream as run_stream
from memcom.training.supervised import SupervisedOptions as SupervisedOptions
from memcom.training.supervised import fit_supervised as fit_supervised
from memcom.training.supervised import predict as predict
