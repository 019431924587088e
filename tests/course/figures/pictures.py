"""What the tests of several figures share."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

import memcom

COUNTS = np.array([90, 40, 20, 10, 5, 3, 2, 1, 0, 0])


def memcom_layer(n: int = 400, buckets: int = 20) -> memcom.MEmComEmbedding:
    """A layer whose multipliers differ."""
    torch.manual_seed(0)
    emb = memcom.MEmComEmbedding(n, 8, num_buckets=buckets)
    torch.nn.init.normal_(emb.multiplier)
    return emb


def texts(figure: Figure) -> list[str]:
    """Every text of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]
