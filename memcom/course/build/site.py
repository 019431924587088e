"""Run the course without a screen and build the documentation around it.

A notebook that fails gets a page with its traceback; the others still run, and the run as a whole
fails. What a run leaves stands in the site itself, so the pages can be built again without it:
``site/run.json`` has times and errors, ``site/executed`` the notebooks with their outputs.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memcom._files import write_json
from memcom.course.build.collect import Entry, collect
from memcom.course.build.collect import report as report_of
from memcom.course.build.header import read_header
from memcom.course.build.runner import NotebookError, RunResult, run
from memcom.course.build.source import read

PATTERN = "[0-9][0-9]_*.ipynb"
EXECUTED, RUN = "executed", "run.json"
KEPT = ("seconds", "peak_rss_bytes", "results", "error")


class CourseError(RuntimeError):
    """Notebooks failed, or their pages.

    Args:
        results: The runs that did not fail.
        failures: What went wrong, by the notebook's name; ``"documentation"`` is Sphinx itself.
        site: Where the pages are, the failed ones marked.
    """

    def __init__(self, results: list[RunResult], failures: dict[str, str], site: Path) -> None:
        super().__init__(f"failed: {', '.join(failures)}\n\n" + "\n\n".join(failures.values()))
        self.results = results
        self.failures = failures
        self.site = site


def run_all(
    names: Sequence[str] | None = None,
    *,
    profile: str = "fast",
    site: str | Path = "site",
    folder: str | Path = "notebooks",
    docs: str | Path = "docs",
    progress: bool = True,
    timeout: float = 600.0,
) -> list[RunResult]:
    """Run the notebooks of the course, solutions included, and build the documentation.

    Args:
        names: Beginnings of the names of the notebooks to run, such as ``["00", "03_memcom"]``;
            all of them by default.
        profile: Value of each notebook's parameter ``PROFILE``.
        site: Folder for the pages. What an earlier run wrote there is replaced; a folder with
            anything else in it is refused.
        folder: Folder of the notebooks.
        docs: Folder of the documentation's sources. Without it, outside a checkout, the site gets
            the executed notebooks only.
        progress: Show a progress bar.
        timeout: Longest time of one cell, in seconds.

    Returns:
        The runs, in order.

    Raises:
        FileNotFoundError: If a name fits no notebook.
        FileExistsError: If `site` holds something that no earlier run wrote.
        CourseError: If a notebook or the documentation failed. All else has run and is written.
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
    last = {
        "machine": _machine(profile),
        "folder": str(Path(folder).resolve()),
        "runs": [_summary(path.stem, results, failures) for path in paths],
    }
    executed = {result.name: result.notebook for result in results}
    failures.update(build(site, last, executed, Path(docs)))
    if failures:
        good = [result for result in results if result.name not in failures]
        raise CourseError(good, failures, site)
    return results


def rebuild(
    site: str | Path = "site", *, folder: str | Path = "notebooks", docs: str | Path = "docs"
) -> Path:
    """Build the pages again without running anything.

    Args:
        site: Folder of the pages. Without a run in it, the notebooks are shown without outputs.
        folder: Folder of the notebooks.
        docs: Folder of the documentation's sources.

    Returns:
        The front page.

    Raises:
        FileNotFoundError: If there is no such `docs` or no notebook.
        FileExistsError: If `site` holds something that no earlier run wrote.
        CourseError: If a page cannot be built.
    """
    site, docs = Path(site).resolve(), Path(docs)
    if not (docs / "conf.py").exists():
        raise FileNotFoundError(f"no documentation in {docs.resolve()}; build it in a checkout")
    check_site(site)
    last, executed = _last(site)
    last.setdefault("folder", str(Path(folder).resolve()))
    if failures := build(site, last, executed, docs):
        raise CourseError([], failures, site)
    return site / "index.html"


def report(site: str | Path = "site") -> str:
    """Return the summary of the last run.

    Args:
        site: Folder of the pages.

    Returns:
        Method, bytes, ratio, nDCG and loss of every result; then time and memory of every
        notebook that ran. Text of several lines.
    """
    last, executed = _last(Path(site))
    return report_of([entry for entry in entries(last, executed) if entry.status != "not run"])


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
    paths = sorted(path.resolve() for path in Path(folder).glob(PATTERN))
    for name in names or [""]:
        if not any(path.stem.startswith(name) for path in paths):
            known = ", ".join(path.stem for path in paths) or "none"
            raise FileNotFoundError(f"no notebook {name!r} in {folder} (there: {known})")
    return [p for p in paths if any(p.stem.startswith(name) for name in names or [""])]


def check_site(site: Path) -> None:
    """Refuse a folder whose own content would be lost.

    Args:
        site: Folder for the pages.

    Raises:
        FileExistsError: If it is a file or holds what no run wrote.
    """
    if site.exists() and not site.is_dir():
        raise FileExistsError(f"{site} is a file; the pages need a folder")
    if site.exists() and any(site.iterdir()) and not (site / RUN).exists():
        raise FileExistsError(f"{site} holds something else; choose an empty or a new folder")


def entries(last: dict[str, Any], executed: dict[str, Any]) -> list[Entry]:
    """Put together what is known of every notebook of the course, run or not.

    Args:
        last: Content of ``run.json``.
        executed: The executed notebooks, by name.

    Returns:
        The notebooks, in order.
    """
    runs = {run["name"]: run for run in last["runs"]}
    found = []
    for path in find(None, last["folder"]):
        source, run = read(path), runs.get(path.stem, {})
        kept = {key: run[key] for key in KEPT if key in run}
        notebook = executed.get(path.stem, source)
        found.append(Entry(path.stem, read_header(source), notebook, **kept))
    return found


def build(site: Path, last: dict[str, Any], executed: dict[str, Any], docs: Path) -> dict[str, str]:
    """Build all pages in a new folder, then put it in the site's place.

    Args:
        site: Folder of the pages.
        last: What to keep of the run, for ``run.json``.
        executed: The executed notebooks, by name.
        docs: Folder of the documentation's sources.

    Returns:
        What went wrong; empty if nothing did.
    """
    import nbformat

    site.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{site.name}-", dir=site.parent))
    new = work / "html"
    new.mkdir()
    for notebook in executed.values():
        notebook.metadata.pop("widgets", None)  # live views need a kernel
    failures: dict[str, str] = {}
    try:
        if (docs / "conf.py").exists():
            collect(entries(last, executed), last["machine"], docs / "course")
            if said := _sphinx(docs, new, work / "doctrees"):
                failures["documentation"] = said
        (new / EXECUTED).mkdir()
        for name, notebook in executed.items():
            nbformat.write(notebook, new / EXECUTED / f"{name}.ipynb")
        write_json(new / RUN, last)
        _swap(new, site)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return failures


def _sphinx(docs: Path, target: Path, doctrees: Path) -> str:
    """Call Sphinx, warnings as errors; return its complaints."""
    if missing := [name for name in ("sphinx", "myst_nb", "furo") if find_spec(name) is None]:
        return (
            f"the pages need {', '.join(missing)}: pip install -c constraints.txt -e '.[docs]'; "
            "then build them with `memcom site`"
        )
    options = ["-W", "--keep-going", "-q", "-d", str(doctrees)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", *options, str(docs), str(target)],
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return ""
    return f"the documentation has faults:\n{done.stdout}{done.stderr}".strip()


def _swap(new: Path, site: Path) -> None:
    """Put a finished folder in the place of the old one."""
    old = site.with_name(f".{site.name}-old-{os.getpid()}")
    if site.exists():
        os.rename(site, old)
    try:
        os.rename(new, site)
    except OSError:
        if old.exists():
            os.rename(old, site)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _last(site: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what the last run left: its summary and the executed notebooks by name."""
    if not (site / RUN).exists():
        return {"machine": "", "runs": []}, {}
    last = json.loads((site / RUN).read_text(encoding="utf-8"))
    executed = {path.stem: read(path) for path in sorted((site / EXECUTED).glob("*.ipynb"))}
    return last, executed


def _summary(name: str, results: list[RunResult], failures: dict[str, str]) -> dict[str, Any]:
    """Collect what is kept of one notebook's run."""
    result = next((result for result in results if result.name == name), None)
    return {
        "name": name,
        "seconds": result and result.seconds,
        "peak_rss_bytes": result and result.peak_rss_bytes,
        "recorded": result.recorded if result else {},
        "results": result.results if result else [],
        "error": failures.get(name, ""),
    }


def _machine(profile: str) -> str:
    """Say what the notebooks ran on."""
    import torch

    import memcom

    return (
        f"Profile “{profile}”; memcom {memcom.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs."
    )
