"""The pages written by hand: their code runs, their commands exist, generated parts are whole."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

import memcom

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "index.md", *sorted((DOCS / "howto").glob("*.md"))]
NEEDS = {"export": "onnxscript", "hugging-face": "transformers", "lightning": "lightning"}
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.fixture
def extension(monkeypatch):
    """Import a module of docs/_ext."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    for name in ("methods", "rooms", "standalone", "generated"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_blocks_run_in_order(page):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    scope: dict[str, object] = {"__name__": page.stem}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(page), "exec"), scope)


def test_commands_exist():
    from memcom.cli import main

    commands = set(re.findall(r"(?:^|`)memcom ([a-z-]+)", TEXT, re.MULTILINE))
    assert {"plan", "sweep", "run", "doctor"} <= commands <= set(main.commands)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_options_exist():
    from click.testing import CliRunner

    from memcom.cli import main

    said = {
        name: CliRunner().invoke(main, [name, "--help"]).output
        for name in ("sweep", "run", "advise", "export")
    }
    for option in set(re.findall(r" (--[a-z][a-z-]+)", TEXT)) - {"--head"}:  # Ray's
        assert any(option in text for text in said.values()) or option == "--ratio", option


def test_the_glossary_is_sorted_and_each_term_has_a_sentence():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(\S.*)\n  (\S.*(?:\n  .*)*)", text.split(":::{glossary}\n")[1], re.M)
    names = [term.lower() for term, _ in terms]
    assert names == sorted(names)
    assert len(names) > 30
    assert all(meaning.endswith((".", ")")) for _, meaning in terms)


def test_every_method_is_on_one_page(extension):
    pages = extension("methods").by_page()
    assert sorted(name for _, names in pages.values() for name in names) == sorted(
        memcom.available()
    )
    assert "more" not in pages


def test_a_method_of_a_new_family_needs_no_change_of_the_pages(extension, monkeypatch):
    class NewEmbedding(memcom.get("hash")):
        card = memcom.Card("new", "N[i]", "by chance", "luck", "Never.", ("novel", 0))

    get = memcom.get
    monkeypatch.setattr(memcom, "available", lambda: ["hash", "new"])
    monkeypatch.setattr(memcom, "get", lambda name: NewEmbedding if name == "new" else get(name))
    pages = extension("methods").by_page()
    assert pages["more"] == ("More methods", ["new"])
    section = extension("methods").section("full", ["1.0 % at 8× on x"])
    assert "a full table stores every vector" in section
    assert "1.0 % at 8× on x" in section


def test_measured_losses_are_those_of_the_committed_results(extension):
    import csv

    path = ROOT / "experiments" / "results" / "every-method-lastfm" / "summary.csv"
    with path.open(encoding="utf-8") as file:
        (row,) = (row for row in csv.DictReader(file) if row["method"] == "memcom")
    percent = f"{100 * float(row['loss']):.1f} %"
    (said,) = (x for x in extension("methods").measured()["memcom"] if "lastfm-2k" in x)
    assert said.startswith(percent)
    assert "at 16×" in said


def test_every_room_has_a_page_with_all_that_it_exports(extension):
    rooms = extension("rooms")
    assert {"memcom.addresses", "memcom.embeddings", "memcom.sweep", "memcom.tasks"} <= set(
        rooms.rooms()
    )
    for room in rooms.rooms():
        text = rooms.page(room)
        assert all(f":: {name}\n" in f"{text}\n" for name in rooms.exported(room))
    assert "MEmComEmbedding" in rooms.exported("memcom.embeddings")


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ("<script>1</script>", "a <script> is on the page"),
        ("<img src='data:,'>", "no alternative text"),
        ("<img src='https://example.org/a.png' alt='x'>", "is not embedded"),
        ("<link href='https://example.org/a.css'>", "a <link> is on the page"),
        ("<style>@import 'x';</style>", "a style sheet is loaded"),
        ("<img src='data:,' alt='a picture'><style>p {color: red}</style>", ""),
    ],
)
def test_raw_html_that_would_not_stand_alone_is_seen(extension, markup, fault):
    found = extension("standalone").Faults(markup).found
    assert len(found) == bool(fault)
    assert all(fault in text for text in found)
