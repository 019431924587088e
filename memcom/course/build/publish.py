"""Write the pages of a run, all or none.

The pages are built in a folder of their own and take the old ones' place only when all of them
are written.
"""

from __future__ import annotations

import copy
import html
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from memcom.course.build.header import read_header
from memcom.course.build.index import Entry, index_page
from memcom.course.build.pages import Link, PageError, document, notebook_page
from memcom.course.build.source import read

EXECUTED = "executed"
RUN = "run.json"


def entry_of(run: dict[str, Any]) -> Entry:
    """Put one notebook's run and its header together.

    Args:
        run: What was kept of the run.

    Returns:
        The notebook as the contents page shows it.
    """
    keys = ("name", "seconds", "peak_rss_bytes", "results", "error")
    return Entry(header=read_header(read(run["source"])), **{key: run[key] for key in keys})


def write_site(
    site: Path, runs: list[dict[str, Any]], executed: dict[str, Any], machine: str
) -> dict[str, str]:
    """Build all pages beside the site, then put them in its place.

    Args:
        site: Folder of the pages.
        runs: What was kept of each run, in order.
        executed: The executed notebooks that did not fail, by name.
        machine: One line about what they ran on.

    Returns:
        What went wrong with pages that could not be built, by the notebook's name.
    """
    import nbformat

    site.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{site.name}-", dir=site.parent))
    broken: dict[str, str] = {}
    try:
        (new / EXECUTED).mkdir()
        entries = [entry_of(run) for run in runs]
        links = [Link(f"{entry.name}.html", entry.title) for entry in entries]
        for place, (entry, run) in enumerate(zip(entries, runs, strict=True)):
            page = None
            if not run["error"]:
                notebook = copy.deepcopy(executed[entry.name])
                notebook.metadata.pop("widgets", None)
                nbformat.write(notebook, new / EXECUTED / f"{entry.name}.ipynb")
                try:
                    page = notebook_page(
                        notebook,
                        title=entry.title,
                        source=Path(run["source"]),
                        site=site,
                        facts=_facts(entry, machine),
                        previous=links[place - 1] if place else None,
                        following=links[place + 1] if place + 1 < len(links) else None,
                    )
                except PageError as error:
                    broken[entry.name] = run["error"] = str(error)
            (new / f"{entry.name}.html").write_text(
                page or _failed_page(entry.title, run["error"]), encoding="utf-8"
            )
        page = index_page([entry_of(run) for run in runs], machine)
        (new / "index.html").write_text(page, encoding="utf-8")
        last = {"machine": machine, "runs": runs}
        (new / RUN).write_text(json.dumps(last, indent=1), encoding="utf-8")
        new.chmod(0o755)
        _swap(new, site)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return broken


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


def _failed_page(title: str, error: str) -> str:
    return document(
        f"{title} (failed)",
        f'<nav><a href="index.html">Contents</a></nav><main id="main"><h1>{html.escape(title)}</h1>'
        '<p class="status failed">This notebook failed in the last run, so there is no page of it.'
        f'</p><pre class="output error">{html.escape(error)}</pre></main>',
    )


def _facts(entry: Entry, machine: str) -> str:
    seconds, peak = entry.seconds or 0.0, (entry.peak_rss_bytes or 0) / 2**20
    return f"Ran in {seconds:.0f} s with at most {peak:,.0f} MiB of memory. {machine}"
