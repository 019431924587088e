"""Draw formulas as MathML; one that does not convert is a warning, so the build refuses it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from memcom.course.build.formulas import FormulaError, to_mathml

LOGGER = logging.getLogger(__name__)


def _visitor(block: bool) -> Any:
    """Make the visitor of inline or of displayed formulas."""

    def visit(self: Any, node: Any) -> None:
        tag = "div" if block else "span"
        try:
            markup = to_mathml(node.astext(), block=block)
        except FormulaError as error:
            LOGGER.warning("%s", error, location=node)
            markup = f"<code>{self.encode(node.astext())}</code>"
        self.body.append(f'<{tag} class="math">{markup}</{tag}>')
        raise nodes.SkipNode

    return visit


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (_visitor(False), None), (_visitor(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
