"""An executed notebook as one HTML page that needs nothing else: no network, no script.

Pictures are embedded, formulas are MathML, code is coloured by style sheet alone. Live widgets
cannot work on a page, so their place says where they do; the picture before each one is the same
figure at the controls' defaults.
"""

from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memcom.course.build.formulas import FormulaError, render_markdown
from memcom.course.build.source import WIDGET_VIEW, strip_ansi, tags
from memcom.course.build.style import STYLE
from memcom.course.exercises import CHECK_MIME
from memcom.course.records import RECORD_MIME

_FOLDED = {"check": "How your answer is checked", "solution": "Solution"}
_WIDGET_NOTE = (
    '<p class="note">Here JupyterLab shows controls that redraw the picture above '
    "(<code>make lab</code>).</p>"
)
_ANCHOR = re.compile(r'(<a\b[^>]*?\bhref=")([^"]+)(")')


class PageError(ValueError):
    """A page cannot be built so that it is whole and stands alone."""


@dataclass(frozen=True)
class Link:
    """A neighbouring page.

    Attributes:
        href: Where it is, from this page.
        title: What to call it.
    """

    href: str
    title: str


def notebook_page(
    notebook: Any,
    *,
    title: str,
    source: Path,
    site: Path,
    facts: str,
    previous: Link | None = None,
    following: Link | None = None,
) -> str:
    """Turn an executed notebook into a page.

    Args:
        notebook: The executed notebook.
        title: Title of the page.
        source: The notebook's file; relative links start in its folder.
        site: The folder where the page will be.
        facts: One line of plain text about the run, at the end of the page.
        previous: The page before.
        following: The page after.

    Returns:
        The whole HTML document.

    Raises:
        PageError: If a formula does not convert or the page would not stand alone.
    """
    try:
        cells = [_cell(cell, source.parent) for cell in notebook.cells]
    except FormulaError as error:
        raise PageError(f"{source.name}: {error}") from error
    body = _localise("\n".join(cells), source.parent, site)
    navigation = _navigation(previous, following)
    footer = f'<p class="facts">{html.escape(facts)}</p>'
    page = document(title, f"{navigation}\n<main id='main'>\n{body}\n{footer}\n</main>{navigation}")
    faults = page_faults(page)
    if faults:
        raise PageError(f"{source.name}: " + "; ".join(faults))
    return page


def document(title: str, body: str) -> str:
    """Wrap a body in a document.

    Args:
        title: Title of the page, plain text.
        body: HTML of the body.

    Returns:
        The whole HTML document.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="memcom">\n<title>{html.escape(title)}</title>\n'
        f"<style>\n{STYLE}\n{_code_style()}\n</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">Skip to the text</a>\n{body}\n</body>\n</html>\n'
    )


def page_faults(page: str) -> list[str]:
    """Find what keeps a page from standing alone or from being read by everyone.

    Args:
        page: An HTML document.

    Returns:
        One text for each script, each thing loaded from elsewhere, and each picture without
        alternative text.
    """
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page, "html.parser")
    faults = [f"a <{tag.name}> is on the page" for tag in soup(["script", "iframe", "object"])]
    faults += [f"{tag.get('href')} is loaded" for tag in soup("link")]
    for image in soup("img"):
        if not str(image.get("src", "")).startswith("data:"):
            faults.append(f"the picture {str(image.get('src'))[:60]!r} is not embedded")
        alt = str(image.get("alt") or "").strip()
        if not alt or alt.startswith("No description"):
            faults.append("a picture has no alternative text (use memcom.plots.show(fig, alt=…))")
    if "@import" in page or re.search(r"url\(['\"]?https?:", page):
        faults.append("a style sheet is loaded")
    return faults


def _cell(cell: Any, folder: Path) -> str:
    """Turn a cell into HTML."""
    if cell.cell_type == "markdown":
        return f'<section class="text">{render_markdown(cell.source, str(folder))}</section>'
    if cell.cell_type != "code" or not cell.source.strip():
        return ""
    inner = f'<div class="code">{_highlight(cell.source)}</div>'
    inner += "".join(_output(output, folder) for output in cell.get("outputs", ()))
    label = next((_FOLDED[tag] for tag in tags(cell) if tag in _FOLDED), None)
    if label is None and cell.metadata.get("jupyter", {}).get("source_hidden"):
        label = "Code"
    if label:
        return f"<details><summary>{label}</summary>{inner}</details>"
    return f'<section class="cell">{inner}</section>'


def _output(output: Any, folder: Path) -> str:
    """Turn an output into HTML; the first kind of data that a page can show counts."""
    if output.output_type == "stream":
        return f'<pre class="output">{html.escape(strip_ansi(output.text))}</pre>'
    if output.output_type == "error":
        trace = strip_ansi("\n".join(output.traceback))
        return f'<pre class="output error">{html.escape(trace)}</pre>'
    data = output.data
    if RECORD_MIME in data:
        return ""
    if WIDGET_VIEW in data:
        return _WIDGET_NOTE
    if CHECK_MIME in data:
        status = data[CHECK_MIME]["status"].replace(" ", "-")
        text = html.escape(data["text/plain"])
        return f'<pre class="output check {status}">{text}</pre>'
    if "text/html" in data:
        return f'<div class="output">{data["text/html"]}</div>'
    if "text/markdown" in data:
        return f'<div class="output">{render_markdown(data["text/markdown"], str(folder))}</div>'
    for kind in ("image/png", "image/jpeg"):
        if kind in data:  # without alternative text, so that page_faults refuses it
            return f'<div class="output"><img src="data:{kind};base64,{data[kind]}"></div>'
    text = data.get("text/plain", "")
    return f'<pre class="output">{html.escape(strip_ansi(text))}</pre>' if text else ""


def _highlight(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return str(highlight(source, PythonLexer(), HtmlFormatter()))


def _code_style() -> str:
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(style="default").get_style_defs(".highlight"))


def _localise(body: str, folder: Path, site: Path) -> str:
    """Point links between notebooks at pages, and links to other files at those files."""

    def replace(match: re.Match[str]) -> str:
        target = html.unescape(match[2])
        path, mark, fragment = target.partition("#")
        if not path or ":" in path:
            return match[0]
        if path.endswith(".ipynb") and "/" not in path:
            path = path.removesuffix(".ipynb") + ".html"
        else:
            path = Path(os.path.relpath(folder / path, site)).as_posix()
        return match[1] + html.escape(path + mark + fragment) + match[3]

    return _ANCHOR.sub(replace, body)


def _navigation(previous: Link | None, following: Link | None) -> str:
    """Make the bar: previous page, contents, next page."""
    back = f'<a rel="prev" href="{previous.href}">← {_text(previous)}</a>' if previous else ""
    on = f'<a rel="next" href="{following.href}">{_text(following)} →</a>' if following else ""
    return (
        f'<nav aria-label="Course"><span>{back}</span>'
        f'<a href="index.html">Contents</a><span>{on}</span></nav>'
    )


def _text(link: Link) -> str:
    return html.escape(link.title)
