"""Turn executed notebooks into sources of the documentation, one page a notebook.

Sphinx renders what a run left and executes nothing. On a page, records disappear, a live widget
gives way to a note, checks and solutions are folded, and a line at the end names time and memory.
A notebook that failed becomes a page with its error; one that has not run is shown without outputs
and says so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memcom._files import write_text
from memcom._text import escape, fenced, table
from memcom.course.build.notebook import tags
from memcom.course.build.outputs import WIDGET_VIEW, strip_ansi
from memcom.course.build.runner import RunResult
from memcom.course.exercises import CHECK_MIME
from memcom.course.records import RECORD_MIME

_FOLDED = {
    "injected-parameters": "Parameters of this run",
    "check": "How your answer is checked",
    "solution": "Solution",
}
_WIDGET_NOTE = (
    '<p class="note">JupyterLab shows controls here that redraw the picture above '
    "(<code>make lab</code>).</p>"
)
_NOT_RUN = (
    ":::{note}\nThis notebook has not run, so its outputs are missing. "
    "`make run` runs the course.\n:::\n\n"
)


def collect(entries: Sequence[RunResult], machine: str, folder: Path) -> None:
    """Write the pages of a course; what an earlier run left in the folder goes.

    Args:
        entries: The notebooks, in order.
        machine: One line about what they ran on; empty if none ran.
        folder: Folder of the sources, such as ``docs/course``. Nothing in it is written by hand.
    """
    import nbformat

    pages = {"index.md": index_page(entries, machine)}
    for entry in entries:
        if entry.error:
            pages[f"{entry.name}.md"] = failed_page(entry)
        else:
            pages[f"{entry.name}.ipynb"] = nbformat.writes(notebook_page(entry, machine))
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        write_text(folder / name, text)


def notebook_page(entry: RunResult, machine: str) -> Any:
    """Prepare an executed notebook for MyST-NB.

    Args:
        entry: The notebook.
        machine: One line about what it ran on.

    Returns:
        A copy, ready to be rendered.
    """
    import nbformat

    notebook = copy.deepcopy(entry.notebook)
    notebook.cells = [
        cell for cell in notebook.cells if cell.cell_type != "code" or cell.source.strip()
    ]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [shown for output in cell.outputs if (shown := _shown(output))]
            _fold(cell)
    if entry.seconds is None:
        title, _, rest = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f"{title}\n\n{_NOT_RUN}{rest.lstrip()}"
    else:
        facts = f"Ran in {entry.time} with at most {entry.memory} of memory. {machine}"
        cell = nbformat.v4.new_markdown_cell(f'<p class="facts">{escape(facts)}</p>')
        notebook.cells.append(cell)
    return notebook


def failed_page(entry: RunResult) -> str:
    """Write the page of a notebook that failed, in Markdown."""
    return (
        f"# {entry.title} (failed)\n\n:::{{error}}\n"
        f"This notebook failed in the last run, so there is no page of it.\n:::\n\n"
        f"{fenced(strip_ansi(entry.error), 'text')}\n"
    )


def index_page(entries: Sequence[RunResult], machine: str) -> str:
    """Write the contents page of the course, in Markdown.

    Args:
        entries: The notebooks, in order.
        machine: One line about what they ran on; empty if none ran.

    Returns:
        The page.
    """
    failed = [entry.title for entry in entries if entry.error]
    waiting = [entry.title for entry in entries if entry.status == "not run"]
    status = ["Every notebook ran to its end, the solutions of its exercises included."]
    if failed:
        status = [f"{len(failed)} of {len(entries)} notebooks failed: {', '.join(failed)}."]
        status += ["Their pages show the errors."]
    if waiting:
        status = status if failed else []
        status += [f"{len(waiting)} of {len(entries)} notebooks have not run here;"]
        status += ["their pages show no outputs. `make run` runs them."]
    rows = [
        {
            "notebook": f"[{_numbered(entry)}]({entry.name})",
            "what you learn": "**Failed.**" if entry.error else entry.header.purpose,
            "run": "–" if entry.seconds is None else f"{entry.time}, {entry.memory}",
        }
        for entry in entries
    ]
    lines = ["# The course", "", " ".join(status), ""]
    lines += [table(rows, right=("run",)), ""]
    links = [f"{_numbered(entry)} <{entry.name}>" for entry in entries]
    lines += ["```{toctree}", ":hidden:", "", *links, "```", ""]
    if results := result_rows(entries):
        lines += ["## Measured in the notebooks", ""]
        lines += ["Bytes are those that each table stores. The loss is relative to the full table"]
        lines += ["of the same notebook.", "", table(results, right=list(results[0])[2:]), ""]
    return "\n".join([*lines, machine]) + "\n"


def result_rows(entries: Sequence[RunResult]) -> list[dict[str, str]]:
    """Return the results that the notebooks recorded, as cells of a table.

    Args:
        entries: The notebooks, in order.

    Returns:
        One row a result: notebook, method, bytes, ratio, ratio asked for, nDCG@10, loss.
    """
    return [
        {
            "notebook": entry.name,
            "method": str(row["method"]),
            "bytes": f"{row['nbytes']:,}",
            "ratio": f"{row['ratio']:.1f}",
            "asked": _number(row.get("ratio_asked"), "g"),
            "nDCG@10": _number(row["ndcg_at_10"], ".4f"),
            "loss": _number(row["loss_percent"], ".1f", " %"),
        }
        for entry in entries
        for row in entry.results
    ]


def summarise_runs(entries: Sequence[RunResult]) -> str:
    """Return the tables of a run for a terminal.

    Args:
        entries: The notebooks, in order.

    Returns:
        Method, bytes, ratio, nDCG and loss of every result; then time and memory of every
        notebook that ran. Text of several lines.
    """
    entries = [entry for entry in entries if entry.status != "not run"]
    results = result_rows(entries)
    times = [
        {"notebook": e.name, "time": e.time, "peak memory": e.memory, "status": e.status}
        for e in entries
    ]
    parts = [table(results, style="plain", right=list(results[0])[2:])] if results else []
    return "\n\n".join([*parts, table(times, style="plain", right=("time", "peak memory"))])


def _numbered(entry: RunResult) -> str:
    """Return the title after the number of the notebook: "03 MEmCom"."""
    return f"{entry.name[:2]} {entry.title}"


def _fold(cell: Any) -> None:
    """Fold checks, solutions and hidden code behind a summary."""
    label = next((_FOLDED[tag] for tag in tags(cell) if tag in _FOLDED), "")
    how = "hide-cell" if label else "hide-input"
    if not label and not cell.metadata.get("jupyter", {}).get("source_hidden"):
        return
    cell.metadata["tags"] = [*tags(cell), how]
    prompts = dict.fromkeys(("code_prompt_show", "code_prompt_hide"), label or "Code")
    cell.metadata["mystnb"] = prompts


def _shown(output: Any) -> Any:
    """Return an output as a page shows it; None for a record."""
    data = output.get("data", {})
    if RECORD_MIME in data:
        return None
    if WIDGET_VIEW in data:
        output.data = {"text/html": _WIDGET_NOTE}
    elif CHECK_MIME in data:
        status = data[CHECK_MIME]["status"].replace(" ", "-")
        text = escape(data["text/plain"])
        output.data = {"text/html": f'<pre class="check {status}">{text}</pre>'}
    return output


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
