"""Refuse a page that needs the network, or a picture that has no alternative text.

Each fault is a warning, and the build turns warnings into errors.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
_NO_ALT = "a picture has no alternative text; in a notebook use memcom.plots.show(fig, alt=…)"


class Faults(HTMLParser):
    """Faults of a piece of raw HTML, such as the output of a cell.

    Attributes:
        found: One text a fault.
    """

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "iframe", "object", "link"):
            self.found.append(f"a <{tag}> is on the page")
        if tag == "img" and not given.get("alt", "").strip():
            self.found.append(_NO_ALT)
        if tag == "img" and not given.get("src", "").startswith("data:"):
            self.found.append(f"the picture {given.get('src', '')[:60]!r} is not embedded")

    def handle_data(self, data: str) -> None:
        """Look at a style sheet's text."""
        if self.lasttag == "style" and ("@import" in data or "url(" in data):
            self.found.append("a style sheet is loaded")


def check(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn of each fault of a page."""
    for image in doctree.findall(nodes.image):
        if not str(image.get("alt", "")).strip():
            LOGGER.warning(_NO_ALT, location=image)
        if "://" in image["uri"]:
            LOGGER.warning("the picture %r is loaded", image["uri"], location=image)
    for raw in doctree.findall(nodes.raw):
        if raw.get("format") == "html":
            for fault in Faults(raw.astext()).found:
                LOGGER.warning("%s", fault, location=(docname, raw.line))


def setup(app: Sphinx) -> dict[str, Any]:
    """Check every page once it is resolved."""
    app.connect("doctree-resolved", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
