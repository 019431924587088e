"""Formulas as MathML, which browsers draw without a script, a font or a network.

Docutils, on which the documentation is built anyway, brings the converter from LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CODE = re.compile(r"(```|~~~).*?\1|`[^`]*`", re.DOTALL)
_FORMULA = re.compile(
    r"\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?![\s$])(?P<inline>[^$]+?)(?<!\s)\$"
    r"|(?P<environment>\\begin\{.+?\\end\{[a-z*]+\})",
    re.DOTALL,
)


class FormulaError(ValueError):
    """A formula that does not convert."""


def to_mathml(tex: str, *, block: bool = False) -> str:
    """Convert a formula.

    Args:
        tex: LaTeX without its dollar signs.
        block: True for a formula on its own line.

    Returns:
        A ``<math>`` element.

    Raises:
        FormulaError: If the formula is malformed or has an unknown command.
    """
    from docutils.utils.math.latex2mathml import tex2mathml

    bare = re.sub(r"\\[\\{}]", "", tex)
    if bare.count("{") != bare.count("}"):  # the converter would close them
        raise FormulaError(f"formula {tex!r} does not convert: its braces do not pair up")
    try:
        return str(tex2mathml(re.sub(r"\\dots\b", r"\\ldots", tex.strip()), as_block=block))
    except Exception as error:  # on bad input the converter raises errors of many types
        raise FormulaError(f"formula {tex!r} does not convert: {error}") from error


def formulas(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield each formula of a Markdown text, code left out: its LaTeX, and True for a block."""
    for match in _FORMULA.finditer(_CODE.sub("", markdown)):
        yield match["block"] or match["inline"] or match["environment"], not match["inline"]
