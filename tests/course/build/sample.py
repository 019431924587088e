"""A small notebook in the course's form, made on the spot, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

HEADER = """\
# Sharing rows: fewer rows than ids

How many ids share a row when the table is too small.

## You will be able to

- count collisions,
- say what a bucket costs.

* **Time to read:** 2 min
* **Time to run:** 3 s fast, 3 s full
* **Needs:** CPU, 0.5 GB memory
* **Before this:** nothing
* **Paper:** none
"""
PARAMETERS = """\
PROFILE: str = "fast"  # sizes of everything below: "fast" or "full"
NUM_IDS: int = 1000  # number of ids, 1 or more"""
SETUP = """\
from memcom import course

P = course.profile(PROFILE)"""
BUILD = '''\
class Shared:
    """Rows shared by remainder.

    A longer story about it.
    """

    def __init__(self, m):
        # how many rows there are
        self.m = m

    def row(self, i):
        return i % self.m'''
FORMULA = """\
## From scratch

Id $i$ reads row $i \\bmod m$, and at most

$$\\left\\lceil \\frac{n}{m} \\right\\rceil$$

ids share one. Back to [the top](00_sample.ipynb) or [elsewhere](https://example.org/x)."""
RECORDS = """\
course.record("num_ids", NUM_IDS)
course.record("profile", P.name)
course.record(
    "result",
    {"method": "full", "nbytes": 4 * NUM_IDS, "ratio": 1.0, "ndcg_at_10": 0.3, "loss_percent": 0},
)
course.record(
    "result",
    {
        "method": "hash",
        "nbytes": NUM_IDS,
        "ratio": 4.0,
        "ratio_asked": 4,
        "ndcg_at_10": 0.27,
        "loss_percent": 10.0,
    },
)
print("there are", NUM_IDS, "ids")"""
RENDER = '''\
from matplotlib.figure import Figure


def render(num_buckets, style):
    """Draw ids per bucket."""
    figure = Figure(figsize=(5, 3))
    figure.subplots().plot([100 / num_buckets, 3], "o-" if style == "line" else "s")
    return figure


def describe(num_buckets, style):
    """Say what the picture shows."""
    return f"{num_buckets} buckets < 1000 ids, as {style}"'''
PICTURE = """\
import base64
import io

from IPython.display import HTML, display

file = io.BytesIO()
render(num_buckets=64, style="line").savefig(file, format="png")
data = base64.b64encode(file.getvalue()).decode()
display(HTML(f'<img src="data:image/png;base64,{data}" alt="64 buckets">'))"""
WIDGET = """\
course.explorer(
    render,
    {
        "num_buckets": course.Choice("Buckets", (16, 64, 256), default=64, help="rows stored"),
        "style": course.Choice("Style", ("line", "points"), default="line", help="how to draw"),
    },
    describe=describe,
)"""


def markdown(text: str) -> Any:
    return v4.new_markdown_cell(text)


def code(source: str, *tags: str, **folds: bool) -> Any:
    cell = v4.new_code_cell(source)
    cell.metadata["tags"] = list(tags)
    if folds:
        cell.metadata["jupyter"] = folds
    return cell


def exercise(name: str, answer: str, test: str) -> list[Any]:
    head = f'def {name}(a, m):\n    """Answer."""\n'
    tail = f'\n\n\ncourse.check("{name}", {name})'
    last = tail.replace(")", ", solution=True)")
    return [
        code(f'@course.exercise("{name}")\ndef _(fn):\n    {test}', "check", source_hidden=True),
        code(f'{head}    raise NotImplementedError("your turn"){tail}', "exercise"),
        code(f"{head}    return {answer}{last}", "solution", source_hidden=True),
    ]


def build() -> Any:
    """Make the notebook."""
    cells = [
        markdown(HEADER),
        code(PARAMETERS, "parameters"),
        code(SETUP),
        markdown(FORMULA),
        code(BUILD, "build"),
        code(RECORDS),
        code(RENDER),
        code(PICTURE, "figure"),
        code(WIDGET, "widget"),
        markdown("## Exercises\n\n### Exercise 1: the row"),
        *exercise("row", "a % m", "assert fn(7, 5) == 2, 'id 7 reads row 2 of 5'"),
        markdown("### Exercise 2: the most rows"),
        *exercise("rows", "min(a, m)", "assert fn(3, 5) == 3, '3 ids use 3 rows at most'"),
        markdown("## Summary\n\n- Rows are shared.\n\n## References\n\n- none"),
    ]
    notebook = v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["memcom"] = {"seconds": 60, "peak_mib": 900}
    return notebook


def find(notebook: Any, tag: str) -> Any:
    """The first cell with a tag."""
    return next(cell for cell in notebook.cells if tag in cell.metadata.get("tags", ()))


def write(folder: Path, notebook: Any = None, name: str = "00_sample") -> Path:
    """Write a notebook file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    path.write_text(nbformat.writes(notebook or build()) + "\n", encoding="utf-8")
    return path


def small(*sources: str) -> Any:
    """A notebook of bare code cells after a parameters cell."""
    cells = [code(PARAMETERS, "parameters"), *(code(source) for source in sources)]
    notebook = v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = build().metadata["kernelspec"]
    return notebook
