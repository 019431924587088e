"""What holds for every figure of the kit."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from memcom import plots

Make = Callable[[], Figure]


def texts(figure: Figure) -> list[str]:
    """Every text of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def check_purity(make: Make) -> Figure:
    """A figure with a title, made without pyplot and without changing the reader's settings."""
    before = dict(mpl.rcParams)
    figure = make()
    assert isinstance(figure, Figure)
    assert dict(mpl.rcParams) == before
    assert plots.to_png(figure).startswith(b"\x89PNG")
    assert plt.get_fignums() == []
    assert figure.axes[0].get_title(loc="left") or figure.get_suptitle()
    return figure


def check_independence(make: Make) -> None:
    """The same picture whatever the reader has set."""
    plain = plots.to_png(make(), 40)
    with mpl.rc_context({"font.size": 25, "axes.grid": False, "lines.linewidth": 9}):
        assert plots.to_png(make(), 40) == plain


def check_room(make: Make) -> None:
    """No text sticks out of the figure."""
    figure = make()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    ticks = {id(t) for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())}
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text() or id(text) in ticks:
            continue  # matplotlib keeps invisible ticks beyond the limits
        box = text.get_window_extent(renderer)
        assert box.x0 > -2, text
        assert box.x1 < width + 2, text
        assert box.y0 > -2, text
        assert box.y1 < height + 2, text
