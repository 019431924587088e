"""Run one notebook without a screen, strictly.

Faults that papermill lets pass are errors here: an unknown parameter, a widget callback that
raised, a notebook that stopped half-way, an exercise whose own solution fails. The source file is
only read, and nothing is written beside it.
"""

from __future__ import annotations

import copy
import inspect
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from memcom.course.build.notebook import Header, read_header, read_notebook, tags
from memcom.course.build.outputs import harvest, split_records, strip_ansi, widget_errors
from memcom.course.build.parameters import check_parameters
from memcom.course.exercises import CHECK_MIME, PASSED
from memcom.course.records import RECORD_MIME
from memcom.kernels import warm_up
from memcom.profiling import peak_rss_bytes

_PEAK = "memcom.peak_rss_bytes"
_TOUR = "memcom.tour"
_HARVEST_TAG = "memcom-harvest"


class NotebookError(RuntimeError):
    """A notebook did not run as it should; the text has the cell's own traceback."""


class WidgetError(NotebookError):
    """A widget's callback raised."""


class ExerciseError(NotebookError):
    """The solution of an exercise does not pass its check."""


@dataclass(frozen=True)
class RunResult:
    """One notebook of the course: run, failed or not run.

    Attributes:
        name: Name of the notebook: its file's, without ``.ipynb``.
        header: Facts in its first cells.
        notebook: The executed notebook, with outputs and widget state; the source where there is
            no whole run.
        seconds: Time from the start of the kernel to the last cell's end; None without a whole run.
        peak_rss_bytes: Largest resident memory of the kernel process, with Python and libraries;
            None without a whole run.
        recorded: Every recorded value by its name.
        results: The recorded ``"result"`` rows, in order.
        checks: Status of each exercise; with solutions, that of the solution.
        cell_seconds: Time of each cell of `notebook`; 0 where it has no code.
        error: The failure; empty if there was none.
    """

    name: str
    header: Header
    notebook: Any = field(repr=False)
    seconds: float | None = None
    peak_rss_bytes: int | None = None
    recorded: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    cell_seconds: tuple[float, ...] = ()
    error: str = ""

    @property
    def title(self) -> str:
        """The notebook's title, or its name where it has none."""
        return self.header.title or self.name

    @property
    def time(self) -> str:
        """Time of the run in words."""
        return "–" if self.seconds is None else f"{self.seconds:.0f} s"

    @property
    def memory(self) -> str:
        """Peak memory of the run in words."""
        return "–" if self.peak_rss_bytes is None else f"{self.peak_rss_bytes / 2**20:,.0f} MiB"

    @property
    def status(self) -> str:
        """One of ``"ok"``, ``"FAILED"``, ``"not run"``."""
        return "FAILED" if self.error else "not run" if self.seconds is None else "ok"


def run_notebook(
    path: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    source: Any = None,
    timeout: float = 600.0,
    solutions: bool | Literal["last"] = False,
    tour: bool = False,
) -> RunResult:
    """Run a notebook with this interpreter, in the notebook's own folder.

    Args:
        path: The notebook.
        parameters: Values for its parameters cell, by name.
        source: Its content, where it has been read already.
        timeout: Longest time of one cell, in seconds.
        solutions: Run the folded solutions of the exercises. Without them the notebook runs as a
            student meets it. ``"last"`` does both at once: the solutions run after all other
            cells.
        tour: Move every control of every explorer to its ends and its middle
            (see `memcom.course.tour`).

    Returns:
        Recorded values, time, memory and the executed notebook.

    Raises:
        ValueError: The notebook does not have such a parameter; nothing has run.
        TypeError: A parameter's value has the wrong type; nothing has run.
        NotebookError: A cell raises, takes too long or ends the kernel.
        WidgetError: A widget's callback raised.
        ExerciseError: A solution does not pass its check.
    """
    path = Path(path).resolve()
    source = read_notebook(path) if source is None else source
    check_parameters(source, path.stem, parameters or {})
    warm_up()  # the kernels are compiled by then, which no output of a notebook has to say
    notebook, seconds = _execute(path, _prepare(source, solutions, tour), parameters, timeout)

    errors = widget_errors(notebook)
    inner = {entry["name"]: entry["value"] for _, entry in harvest(notebook)}
    if _PEAK not in inner:
        raise NotebookError(f"{path.name} stopped before its last cell (sys.exit?)")
    errors += inner.get(_TOUR, [])
    if errors:
        raise WidgetError(f"{path.name}: {len(errors)} widget error(s)\n" + "\n".join(errors))

    seconds -= sum(_duration(cell) for cell in notebook.cells if _HARVEST_TAG in tags(cell))
    notebook.cells = [cell for cell in notebook.cells if _HARVEST_TAG not in tags(cell)]
    try:
        recorded, results = split_records(notebook)
    except ValueError as error:
        raise NotebookError(f"{path.name}: {error}") from error
    return RunResult(
        name=path.stem,
        header=read_header(source),
        notebook=notebook,
        seconds=seconds,
        peak_rss_bytes=inner[_PEAK],
        recorded=recorded,
        results=results,
        checks=_checks(notebook, path.name, bool(solutions)),
        cell_seconds=tuple(_duration(cell) for cell in notebook.cells),
    )


def _prepare(source: Any, solutions: bool | Literal["last"], tour: bool) -> Any:
    """Leave out or put last what is not to run in its place, and append cells that measure."""
    import nbformat

    notebook = copy.deepcopy(source)
    if solutions is not True:
        answers = [cell for cell in notebook.cells if "solution" in tags(cell)]
        notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
        notebook.cells += answers if solutions == "last" else []
    # the meter travels as source: importing memcom, and torch with it, would raise what it measures
    probes = [
        f"{inspect.getsource(peak_rss_bytes)}\n\nfrom IPython.display import display\n\n"
        f"_entry = {{'name': {_PEAK!r}, 'value': peak_rss_bytes()}}\n"
        f"display({{{RECORD_MIME!r}: _entry, 'text/plain': ''}}, raw=True)"
    ]
    if tour:
        probes.append(
            "from memcom import course as _course\n"
            "from memcom.course import records as _records\n"
            f"_records.publish({_TOUR!r}, _course.tour_all())"
        )
    for code in probes:
        cell = nbformat.v4.new_code_cell(code)
        cell.metadata["tags"] = [_HARVEST_TAG]
        notebook.cells.append(cell)
    return notebook


def _execute(
    path: Path, notebook: Any, parameters: Mapping[str, Any] | None, timeout: float
) -> tuple[Any, float]:
    """Run the cells; every fault becomes a NotebookError that says where."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    from memcom.course.build.kernel import ThisInterpreter

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="memcom-ipython-") as ipython_dir:
        try:
            executed = papermill.execute_notebook(
                notebook,
                None,
                dict(parameters or {}),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution_timeout=timeout,
                kernel_manager_class=ThisInterpreter,
                resources={"metadata": {"path": str(path.parent)}},
                extra_arguments=[f"--ipython-dir={ipython_dir}"],
            )
        except papermill.PapermillExecutionError as error:
            trace = strip_ansi("\n".join(error.traceback))
            text = trace or f"{error.ename}: {error.evalue}"
            raise NotebookError(
                f"{path.name}: cell {error.cell_index} raised {error.ename}: "
                f"{strip_ansi(error.evalue)}\n--- the cell\n{error.source}\n--- traceback\n{text}"
            ) from None
        except CellTimeoutError as error:
            raise NotebookError(f"{path.name}: a cell took over {timeout:g} s\n{error}") from error
        except DeadKernelError as error:
            raise NotebookError(f"{path.name}: the kernel died (out of memory?)") from error
    seconds = time.perf_counter() - start
    executed.metadata.pop("papermill", None)  # holds the whole source a second time
    return executed, seconds


def _checks(notebook: Any, name: str, solutions: bool) -> dict[str, str]:
    """Return the status of each exercise, its last one; solutions have to pass."""
    outcomes = {entry["name"]: entry for _, entry in harvest(notebook, CHECK_MIME)}
    wrong = [
        f"{entry['name']}: {entry['status']}\n{entry['message']}"
        for entry in outcomes.values()
        if solutions and entry["status"] != PASSED
    ]
    if wrong:
        raise ExerciseError(f"{name}: solutions do not pass\n" + "\n".join(wrong))
    return {key: str(entry["status"]) for key, entry in outcomes.items()}


def _duration(cell: Any) -> float:
    """Return the time of a cell in seconds, as papermill measured it."""
    return float(cell.metadata.get("papermill", {}).get("duration") or 0.0)
