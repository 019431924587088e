"""Show a figure in a notebook with a description for those who cannot see it."""

from __future__ import annotations

import base64
import io

from matplotlib.figure import Figure

from memcom._text import escape
from memcom.plots.theme import themed


def to_png(figure: Figure, dpi: int = 110, metadata: dict[str, str] | None = None) -> bytes:
    """Render a figure as PNG bytes, ticks and all in the kit's theme; with text chunks if given."""
    buffer = io.BytesIO()
    with themed():  # matplotlib makes ticks while it draws, by the settings of that moment
        figure.savefig(buffer, format="png", dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def to_html(figure: Figure, alt: str, dpi: int = 110) -> str:
    """Render a figure as a self-contained HTML image.

    nbconvert gives PNG outputs a default alt text and ignores metadata; an HTML image keeps ours.

    Args:
        figure: The figure.
        alt: What the picture shows, in words: the finding, not "a plot".
        dpi: Pixels per inch; the image is shown at 96 of them, or narrower where there is no room.

    Returns:
        An ``<img>`` element with the picture inside.

    Raises:
        ValueError: If `alt` is empty.
    """
    if not alt.strip():
        raise ValueError("alt must say what the picture shows, got an empty text")
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    data = base64.b64encode(to_png(figure, dpi)).decode("ascii")
    look = f"max-width:100%;width:{width}px;aspect-ratio:{width}/{height}"
    return f'<img alt="{escape(alt.strip())}" style="{look}" src="data:image/png;base64,{data}">'


def show(figure: Figure, *, alt: str, dpi: int = 110) -> None:
    """Display a figure in a notebook, described.

    Args:
        figure: The figure; it stays usable.
        alt: What the picture shows, in words.
        dpi: Pixels per inch.

    Raises:
        ValueError: If `alt` is empty.
    """
    from IPython.display import display

    bundle = {"text/html": to_html(figure, alt, dpi), "text/plain": f"[figure: {alt.strip()}]"}
    display(bundle, raw=True)
