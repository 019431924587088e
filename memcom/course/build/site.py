"""Run the course without a screen and build the documentation around it.

A notebook that fails gets a page with its traceback; the others still run, and the run as a whole
fails. The site keeps what the run left, so the pages can be built again without running:
``site/run.json`` has times and errors, ``site/executed`` the notebooks with their outputs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memcom._files import write_json
from memcom.course.build.collect import collect
from memcom.course.build.notebook import read_header, read_notebook
from memcom.course.build.runner import NotebookError, RunResult, run_notebook

PATTERN = "[0-9][0-9]_*.ipynb"
EXECUTED, RUN = "executed", "run.json"
KEPT = ("seconds", "peak_rss_bytes", "recorded", "results", "checks", "error")


class CourseError(RuntimeError):
    """Notebooks failed, or their pages.

    Args:
        runs: All notebooks of the course, those that failed included.
        failures: Errors by the notebook's name; ``"documentation"`` is Sphinx itself.
        site: Folder of the pages, the failed ones marked.
    """

    def __init__(self, runs: list[RunResult], failures: dict[str, str], site: Path) -> None:
        super().__init__(f"failed: {', '.join(failures)}\n\n" + "\n\n".join(failures.values()))
        self.runs = runs
        self.failures = failures
        self.site = site


def run_course(
    names: Sequence[str] | None = None,
    *,
    profile: str = "fast",
    parameters: Mapping[str, Any] | None = None,
    site: str | Path = "site",
    folder: str | Path = "notebooks",
    docs: str | Path = "docs",
    progress: bool = True,
    timeout: float = 600.0,
    tour: bool = False,
) -> list[RunResult]:
    """Run the notebooks of the course, solutions included, and build the documentation.

    Args:
        names: Beginnings of the names of the notebooks to run, such as ``["00", "03_memcom"]``;
            all of them by default.
        profile: Value of each notebook's parameter ``PROFILE``.
        parameters: Values for other parameters, which every notebook that runs must have.
        site: Folder for the pages. The pages of an earlier run are replaced; a folder with
            anything else in it is refused.
        folder: Folder of the notebooks.
        docs: Folder of the documentation's sources. Without it, outside a checkout, the site gets
            the executed notebooks only.
        progress: Show a progress bar.
        timeout: Longest time of one cell, in seconds.
        tour: Move every control of every explorer to its ends and its middle.

    Returns:
        All notebooks of the course, in order; those that `names` leaves out have not run.

    Raises:
        FileNotFoundError: A name fits no notebook.
        FileExistsError: `site` holds something that no earlier run wrote.
        CourseError: A notebook or the documentation failed. All else has run and is written.
    """
    from tqdm import tqdm

    chosen = find(names, folder)
    site = Path(site).resolve()
    check_site(site)
    values = {"PROFILE": profile, **(parameters or {})}
    runs: list[RunResult] = []
    with tqdm(total=len(chosen), unit="notebook", disable=not progress) as bar:
        for path in find(None, folder):
            source = read_notebook(path)
            run = RunResult(path.stem, read_header(source), source)
            if path in chosen:
                bar.set_postfix_str(path.stem)
                try:
                    run = run_notebook(
                        path, values, source=source, solutions=True, timeout=timeout, tour=tour
                    )
                except (NotebookError, ValueError, TypeError) as error:
                    run = dataclasses.replace(run, error=str(error))
                bar.update()
            runs.append(run)
    about = {"machine": _machine(profile), "folder": str(Path(folder).resolve())}
    write_site(site, runs, about, Path(docs))
    return runs


def rebuild(
    site: str | Path = "site", *, folder: str | Path | None = None, docs: str | Path = "docs"
) -> Path:
    """Build the pages again without running anything.

    Args:
        site: Folder of the pages. Without a run in it, the notebooks are shown without outputs.
        folder: Folder of the notebooks; by default that of the run, else ``notebooks``.
        docs: Folder of the documentation's sources.

    Returns:
        The front page.

    Raises:
        FileNotFoundError: There is no such `docs` or no notebook.
        FileExistsError: `site` holds something that no earlier run wrote.
        CourseError: A page cannot be built.
    """
    site, docs = Path(site).resolve(), Path(docs)
    if not (docs / "conf.py").exists():
        raise FileNotFoundError(f"no documentation in {docs.resolve()}; build it in a checkout")
    check_site(site)
    last: dict[str, Any] = {"machine": "", "folder": "notebooks", "runs": []}
    if (site / RUN).exists():
        last = json.loads((site / RUN).read_text(encoding="utf-8"))
    kept = {run.pop("name"): run for run in last["runs"]}
    runs = []
    for path in find(None, folder or last["folder"]):
        source, executed = read_notebook(path), site / EXECUTED / path.name
        notebook = read_notebook(executed) if executed.exists() else source
        runs.append(RunResult(path.stem, read_header(source), notebook, **kept.get(path.stem, {})))
    write_site(site, runs, last, docs)
    return site / "index.html"


def find(names: Sequence[str] | None, folder: str | Path) -> list[Path]:
    """Find the notebooks whose names begin with one of `names` (all by default), in order."""
    paths = sorted(path.resolve() for path in Path(folder).glob(PATTERN))
    for name in names or [""]:
        if not any(path.stem.startswith(name) for path in paths):
            known = ", ".join(path.stem for path in paths) or "none"
            raise FileNotFoundError(f"no notebook {name!r} in {folder} (there: {known})")
    return [p for p in paths if any(p.stem.startswith(name) for name in names or [""])]


def check_site(site: Path) -> None:
    """Refuse a file, and a folder with anything in it that no run wrote."""
    if site.exists() and not site.is_dir():
        raise FileExistsError(f"{site} is a file; the pages need a folder")
    if site.exists() and any(site.iterdir()) and not (site / RUN).exists():
        raise FileExistsError(f"{site} holds something else; choose an empty or a new folder")


def write_site(site: Path, runs: list[RunResult], about: dict[str, Any], docs: Path) -> None:
    """Build all pages in a new folder and put it in the site's place.

    Args:
        site: Folder of the pages.
        runs: All notebooks of the course, in order.
        about: The ``machine`` in a line and the ``folder`` of the notebooks, for ``run.json``.
        docs: Folder of the documentation's sources.

    Raises:
        CourseError: A notebook or the documentation failed; the site is written.
    """
    import nbformat

    site.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{site.name}-", dir=site.parent))
    new = work / "html"
    new.mkdir()
    failures = {run.name: run.error for run in runs if run.error}
    kept = [run for run in runs if run.status != "not run"]
    try:
        for run in kept:
            run.notebook.metadata.pop("widgets", None)  # live views need a kernel
        if (docs / "conf.py").exists():
            collect(runs, about["machine"], docs / "course")
            if complaints := _sphinx(docs, new, work / "doctrees"):
                failures["documentation"] = complaints
        (new / EXECUTED).mkdir()
        for run in kept:
            if not run.error:
                nbformat.write(run.notebook, new / EXECUTED / f"{run.name}.ipynb")
        rows = [{"name": run.name, **{key: getattr(run, key) for key in KEPT}} for run in kept]
        write_json(new / RUN, {**about, "runs": rows})
        _swap(new, site)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if failures:
        raise CourseError(runs, failures, site)


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


def _machine(profile: str) -> str:
    """Return one line about what the notebooks ran on."""
    import torch

    import memcom

    return (
        f"Profile “{profile}”; memcom {memcom.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs."
    )
