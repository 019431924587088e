"""Formulas as MathML, which browsers draw without a script, a font or a network.

Docutils brings the converter from LaTeX. A formula that it does not know is a warning, and the
build turns warnings into errors.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def to_mathml(tex: str, *, block: bool = False) -> str:
    """Convert a formula.

    Args:
        tex: LaTeX without its dollar signs.
        block: True for a formula on its own line.

    Returns:
        A ``<math>`` element.

    Raises:
        ValueError: If the formula is malformed or has an unknown command.
    """
    known = re.sub(r"\\dots\b", r"\\ldots", tex.strip())
    return str(tex2mathml(known, as_block=block))


def _visit(block: bool) -> Any:
    """Make the visitor of inline or of displayed formulas."""

    def visit(self: Any, node: Any) -> None:
        tag = "div" if block else "span"
        try:
            markup = to_mathml(node.astext(), block=block)
        except Exception as error:  # the converter's errors on bad input are of many types
            LOGGER.warning("formula %r does not convert: %s", node.astext(), error, location=node)
            markup = f"<code>{self.encode(node.astext())}</code>"
        self.body.append(f'<{tag} class="math">{markup}</{tag}>')
        raise nodes.SkipNode

    return visit


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (_visit(False), None), (_visit(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
