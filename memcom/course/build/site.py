"""Run the whole course without a screen and build its pages.

A notebook that fails gets a page that says so, with the traceback; the others still run, and the
run as a whole fails.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memcom.course.build.index import report as _report
from memcom.course.build.publish import EXECUTED, RUN, check_site, entry_of, write_site
from memcom.course.build.runner import NotebookError, RunResult, run

_PATTERN = "[0-9][0-9]_*.ipynb"


class CourseError(RuntimeError):
    """Notebooks failed.

    Args:
        results: The runs that did not fail.
        failures: What went wrong, by the notebook's name.
        site: Where the pages are, the failed ones marked.
    """

    def __init__(self, results: list[RunResult], failures: dict[str, str], site: Path) -> None:
        super().__init__(
            f"{len(failures)} of {len(results) + len(failures)} notebooks failed: "
            f"{', '.join(failures)}\n\n" + "\n\n".join(failures.values())
        )
        self.results = results
        self.failures = failures
        self.site = site


def run_all(
    names: Sequence[str] | None = None,
    *,
    profile: str = "fast",
    site: str | Path = "site",
    folder: str | Path = "notebooks",
    progress: bool = True,
    timeout: float = 600.0,
) -> list[RunResult]:
    """Run the notebooks of the course, solutions included, and write their pages.

    Args:
        names: Beginnings of the names of the notebooks to run, such as ``["00", "03_memcom"]``;
            all of them by default.
        profile: Value of each notebook's parameter ``PROFILE``.
        site: Folder for the pages. What an earlier run wrote there is replaced; a folder with
            anything else in it is refused.
        folder: Folder of the notebooks.
        progress: Whether to show a progress bar.
        timeout: Longest time of one cell, in seconds.

    Returns:
        The runs, in order.

    Raises:
        FileNotFoundError: If a name fits no notebook.
        FileExistsError: If `site` holds something that no earlier run wrote.
        CourseError: If a notebook failed. All others have run, and the pages are written.
    """
    from tqdm import tqdm

    paths = find(names, folder)
    site = Path(site).resolve()
    check_site(site)
    results: list[RunResult] = []
    failures: dict[str, str] = {}
    with tqdm(total=len(paths), unit="notebook", disable=not progress) as bar:
        for path in paths:
            bar.set_postfix_str(path.stem)
            try:
                results.append(run(path, {"PROFILE": profile}, solutions=True, timeout=timeout))
            except (NotebookError, ValueError, TypeError) as error:
                failures[path.stem] = str(error)
            bar.update()
    runs = [_summary(path, results, failures) for path in paths]
    executed = {result.name: result.notebook for result in results}
    failures.update(write_site(site, runs, executed, _machine(profile)))
    if failures:
        good = [result for result in results if result.name not in failures]
        raise CourseError(good, failures, site)
    return results


def find(names: Sequence[str] | None, folder: str | Path) -> list[Path]:
    """Find the notebooks of the course.

    Args:
        names: Beginnings of their names; all by default.
        folder: Folder of the notebooks.

    Returns:
        Their files, in order.

    Raises:
        FileNotFoundError: If there is none, or a name fits none.
    """
    paths = sorted(path.resolve() for path in Path(folder).glob(_PATTERN))
    for name in names or [""]:
        if not any(path.stem.startswith(name) for path in paths):
            known = ", ".join(path.stem for path in paths) or "none"
            raise FileNotFoundError(f"no notebook {name!r} in {folder} (there: {known})")
    return [p for p in paths if any(p.stem.startswith(name) for name in names or [""])]


def rebuild(site: str | Path = "site") -> Path:
    """Write the pages of the last run again, without running anything.

    Args:
        site: Folder of the pages.

    Returns:
        The contents page.

    Raises:
        FileNotFoundError: If no run has written there.
        CourseError: If a page cannot be built.
    """
    import nbformat

    site = Path(site).resolve()
    if not (site / RUN).exists():
        raise FileNotFoundError(f"no run has written to {site}; run the course first (make run)")
    last = json.loads((site / RUN).read_text(encoding="utf-8"))
    executed = {
        run["name"]: nbformat.read(site / EXECUTED / f"{run['name']}.ipynb", as_version=4)
        for run in last["runs"]
        if not run["error"]
    }
    failures = write_site(site, last["runs"], executed, last["machine"])
    if failures:
        raise CourseError([], failures, site)
    return site / "index.html"


def report(site: str | Path = "site") -> str:
    """Make the summary tables of the last run.

    Args:
        site: Folder of the pages.

    Returns:
        Method, bytes, ratio, nDCG and loss of every result; then time and memory of every
        notebook. Text of several lines.
    """
    last = json.loads((Path(site) / RUN).read_text(encoding="utf-8"))
    return _report([entry_of(run) for run in last["runs"]])


def _summary(path: Path, results: list[RunResult], failures: dict[str, str]) -> dict[str, Any]:
    """Collect what is kept of one notebook's run."""
    result = next((result for result in results if result.name == path.stem), None)
    return {
        "name": path.stem,
        "source": str(path),
        "seconds": result and result.seconds,
        "peak_rss_bytes": result and result.peak_rss_bytes,
        "recorded": result.recorded if result else {},
        "results": result.results if result else [],
        "error": failures.get(path.stem, ""),
    }


def _machine(profile: str) -> str:
    """Say what the notebooks ran on."""
    import torch

    import memcom

    return (
        f"Profile “{profile}”; memcom {memcom.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs."
    )
