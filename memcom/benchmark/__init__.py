"""How quick the layers are, as ratios to `torch.nn.Embedding` in the same run: ``memcom bench``."""

from memcom.benchmark.runner import run as run
from memcom.benchmark.targets import TARGETS as TARGETS
from memcom.benchmark.targets import check as check
from memcom.benchmark.timing import Timing as Timing
from memcom.benchmark.timing import interleave as interleave
