"""Formulas that show without a network: LaTeX to MathML, which browsers draw by themselves.

Jupyter draws formulas with MathJax, which an exported page fetches from the network. MathML needs
no script and no font. Conversion is by ``latex2mathml``.
"""

from __future__ import annotations

import re
from typing import Any

_COMMAND = re.compile(r"\\[A-Za-z]+")
_CONTENT = re.compile(r">([^<]*)<")


class FormulaError(ValueError):
    """A formula that does not convert."""


def to_mathml(tex: str, *, block: bool) -> str:
    """Convert a formula.

    Args:
        tex: LaTeX without its dollar signs.
        block: Whether it stands on a line of its own.

    Returns:
        A ``<math>`` element, with the LaTeX as its label for assistive technology.

    Raises:
        FormulaError: If a command is not known.
    """
    from latex2mathml.converter import convert

    try:
        markup = str(convert(tex.strip(), display="block" if block else "inline"))
    except Exception as error:  # the converter raises IndexError and others on bad input
        raise FormulaError(f"formula {tex!r} does not convert: {error!r}") from error
    left = [name for text in _CONTENT.findall(markup) for name in _COMMAND.findall(text)]
    if left:
        raise FormulaError(f"formula {tex!r} does not convert: {', '.join(left)} is not known")
    return markup


def render_markdown(source: str, path: str = "") -> str:
    """Convert the Markdown of a cell to HTML, formulas to MathML, local pictures embedded.

    Args:
        source: The cell's source.
        path: Folder that picture links start from.

    Returns:
        HTML that needs neither script nor network.

    Raises:
        FormulaError: If a formula does not convert.
    """
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        """nbconvert's renderer with formulas as MathML."""

        def block_math(self, body: str) -> str:
            return to_mathml(body, block=True)

        def inline_math(self, body: str) -> str:
            return to_mathml(body, block=False)

        def latex_environment(self, name: str, body: str) -> str:
            return to_mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)

    options: dict[str, Any] = {"escape": False, "embed_images": True, "path": path}
    return str(MarkdownWithMath(renderer=Renderer(**options)).render(source))
