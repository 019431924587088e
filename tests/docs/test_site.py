"""The built pages: whole, readable without a network, and usable on a phone and in the dark."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("furo")
pytest.importorskip("myst_nb")

from filelock import FileLock
from nbformat import v4

import memcom
from memcom.course import CourseError, RunResult, rebuild
from memcom.course.build.notebook import read_header, read_notebook, tags
from memcom.course.build.outputs import WIDGET_VIEW
from memcom.course.build.site import write_site
from tests.browsing import CHROMIUM, opened

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
RAN = "03_memcom"
FAILED = "10_memory_and_speed"  # no other notebook links to it
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

pytestmark = pytest.mark.slow


def executed() -> Any:
    """A notebook of the course with outputs as a run leaves them, written by hand."""
    notebook = read_notebook(ROOT / "notebooks" / f"{RAN}.ipynb")
    picture = f'<img style="width:691px" alt="What it shows." src="data:image/png;base64,{PIXEL}">'
    table = "<table><tr>" + 30 * "<td>a wide cell</td>" + "</tr></table>"
    for cell in notebook.cells:
        if "figure" in tags(cell):
            data = {"text/html": picture, "text/plain": "[figure]"}
        elif "widget" in tags(cell):
            data = {WIDGET_VIEW: {"model_id": "1"}, "text/plain": "VBox()"}
        elif cell.cell_type == "code":
            data = {"text/html": table, "text/plain": 40 * "a wide line "}
        else:
            continue
        cell.outputs = [v4.new_output("display_data", data=data)]
    return notebook


def course() -> list[RunResult]:
    """The course with one notebook run, one failed, the others not run."""
    runs = []
    for name in NOTEBOOKS:
        source = read_notebook(ROOT / "notebooks" / f"{name}.ipynb")
        if name == RAN:
            run = RunResult(name, read_header(source), executed(), 20.0, 2**29)
        else:
            error = "ZeroDivisionError: planted" if name == FAILED else ""
            run = RunResult(name, read_header(source), source, error=error)
        runs.append(run)
    return runs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout, one notebook run and one failed; built once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "memcom-docs"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            shared.mkdir()
            for name in ("docs", "notebooks", "experiments/results"):
                ignored = shutil.ignore_patterns("api", "course", "methods", "trials.csv")
                shutil.copytree(ROOT / name, shared / name, ignore=ignored)
            for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
                shutil.copy(ROOT / name, shared)
            about = {"machine": "2 CPUs.", "folder": str(shared / "notebooks")}
            with pytest.raises(CourseError) as caught:
                write_site(shared / "site", course(), about, shared / "docs")
            failures = {k: v for k, v in caught.value.failures.items() if k != FAILED}
            (shared / "said.txt").write_text("\n".join(failures.values()))
    assert (shared / "said.txt").read_text() == ""
    return shared / "site"


class Page(HTMLParser):
    """What a browser would load for a page, its pictures' texts, and its own text without code."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.alts: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self._code = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        self._code += tag in ("pre", "code", "script", "style")
        if tag in ("script", "img", "iframe", "source", "video") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") not in ("next", "prev", "index", "search", "author"):
            self.loaded.append(given["href"])
        if tag == "img":
            self.alts.append(given.get("alt", ""))
        if tag == "a":
            self.links.append(given.get("href", ""))

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data


def pages(site: Path) -> Iterator[tuple[str, Page]]:
    for path in sorted(site.rglob("*.html")):
        if "_modules" not in path.parts and "_static" not in path.parts:
            yield str(path.relative_to(site)), Page(path)


def test_pages_load_nothing_from_elsewhere_and_every_picture_has_a_text(site: Path) -> None:
    seen = dict(pages(site))
    assert len(seen) > 40
    for name, page in seen.items():
        for address in page.loaded:
            assert address.startswith("data:") or "//" not in address, (name, address[:80])
        assert all(alt.strip() for alt in page.alts), name


def test_links_inside_the_site_lead_somewhere(site: Path) -> None:
    for name, page in pages(site):
        for link in page.links:
            target = link.partition("#")[0].partition("?")[0]
            if target and "//" not in target and not target.startswith("mailto:"):
                assert ((site / name).parent / target).exists(), (name, link)


def test_no_formula_is_left_as_latex(site: Path) -> None:
    for name, page in pages(site):
        assert not re.search(r"\$\$|\\[a-z]{2,}\b|\\begin", page.text), name
    assert (site / "course" / f"{RAN}.html").read_text(encoding="utf-8").count("<math") > 5


def test_style_sheets_load_nothing(site: Path) -> None:
    for path in (site / "_static").rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(['\"]?(https?:)?//", text), path.name


def test_every_notebook_has_a_page_that_says_how_it_went(site: Path) -> None:
    course = {name: Page(site / "course" / f"{name}.html") for name in NOTEBOOKS}
    assert "Ran in 20 s with at most 512 MiB of memory. 2 CPUs." in course[RAN].text
    assert "JupyterLab shows controls here" in course[RAN].text
    assert "What it shows." in course[RAN].alts
    assert "failed in the last run" in course[FAILED].text
    assert "has not run" in course[NOTEBOOKS[0]].text
    assert "has not run" not in course[RAN].text
    index = Page(site / "course" / "index.html")
    assert {f"{name}.html" for name in NOTEBOOKS} <= set(index.links)
    assert f"1 of {len(NOTEBOOKS)} notebooks failed" in index.text


def test_checks_and_solutions_are_folded(site: Path) -> None:
    text = (site / "course" / f"{RAN}.html").read_text(encoding="utf-8")
    folded = re.findall(r"<details[^>]*>\s*<summary[^>]*>(.*?)</summary>", text, re.DOTALL)
    assert sum("Solution" in summary for summary in folded) >= 2
    assert not re.search(r"<details[^>]*\bopen\b", text)


def test_every_method_and_every_layer_is_found(site: Path) -> None:
    ids = {i for path in (site / "methods").glob("*.html") for i in Page(path).ids}
    assert {f"method-{name}" for name in memcom.available()} <= ids
    layers = Page(site / "api" / "memcom.embeddings.html").ids
    for name in memcom.available():
        assert f"memcom.embeddings.{memcom.get(name).__name__}" in layers
    assert "memcom.budget.plan" in Page(site / "api" / "memcom.budget.html").ids


def test_a_page_with_a_fault_is_not_passed_off_as_whole(site: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text("")
    (tmp_path / "docs" / "index.rst").write_text("Docs\n====\n\n:doc:`nowhere`\n")
    with pytest.raises(memcom.course.CourseError, match="nowhere"):
        rebuild(tmp_path / "site", folder=site.parent / "notebooks", docs=tmp_path / "docs")


# --- in a browser ---------------------------------------------------------------------------------

LOOKED_AT = [
    "index.html",
    "course/index.html",
    f"course/{RAN}.html",
    "methods/index.html",
    "methods/memcom.html",
    "api/memcom.embeddings.html",
    "results/index.html",
    "howto/own-data.html",
    "glossary.html",
]
browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@browser
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_in_a_browser(site: Path, width: int, scheme: Any, tmp_path: Path) -> None:
    """No page is wider than the window, logs an error, or asks a network for anything."""
    pytest.importorskip("playwright")
    complaints: list[str] = []
    with opened(tmp_path / "profile", width, color_scheme=scheme) as context:
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: complaints.append(r.url) if "http" in r.url[:5] else None)
        for name in LOOKED_AT:
            page.goto((site / name).as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{name} is {wide} px wider than {width}"
            assert complaints == [], name
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        darkness = sum(map(int, re.findall(r"\d+", background)[:3]))
        assert (darkness < 200) == (scheme == "dark")


@browser
@pytest.mark.browser
def test_search_and_the_switch_of_colours_work_from_a_file(site: Path, tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    with opened(tmp_path / "profile", 1280, color_scheme="light") as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.goto((site / "index.html").as_uri())
        page.locator("input[name=q]").first.fill("MEmCom multiplier")
        page.keyboard.press("Enter")
        found = page.locator(f"#search-results li a[href*='{RAN}']")
        found.first.wait_for(timeout=30_000)  # results appear one by one
        found.first.click()
        page.wait_for_selector("h1")
        page.locator(".theme-toggle:visible").first.click()
        assert page.evaluate("document.body.dataset.theme") in ("light", "dark")
        assert complaints == []
