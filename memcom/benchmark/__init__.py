"""How quick and how small the layers are, against `torch.nn.Embedding`: ``memcom bench``."""

from memcom.benchmark.markdown import read_rows as read_rows
from memcom.benchmark.markdown import sizes_markdown as sizes_markdown
from memcom.benchmark.markdown import speed_markdown as speed_markdown
from memcom.benchmark.markdown import speed_panels as speed_panels
from memcom.benchmark.runner import run as run
from memcom.benchmark.summary import command as command
from memcom.benchmark.summary import report as report
from memcom.benchmark.targets import PARTS as PARTS
from memcom.benchmark.targets import TARGETS as TARGETS
from memcom.benchmark.targets import check as check
from memcom.benchmark.timing import Timing as Timing
from memcom.benchmark.timing import interleave as interleave
