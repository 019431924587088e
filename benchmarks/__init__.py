"""How quick and how small the layers are, against `torch.nn.Embedding`: ``memcom bench``."""

from benchmarks.markdown import read_rows as read_rows
from benchmarks.markdown import sizes_markdown as sizes_markdown
from benchmarks.markdown import speed_markdown as speed_markdown
from benchmarks.markdown import speed_panels as speed_panels
from benchmarks.runner import run as run
from benchmarks.summary import command as command
from benchmarks.summary import report as report
from benchmarks.targets import PARTS as PARTS
from benchmarks.targets import TARGETS as TARGETS
from benchmarks.targets import check as check
