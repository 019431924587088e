"""Pages stand alone, and what they leave out or fold is what they should."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

pytest.importorskip("bs4")
pytest.importorskip("nbconvert")
pytest.importorskip("latex2mathml")

import bs4
from nbformat import v4

from memcom.course.build.pages import Link, PageError, notebook_page, page_faults
from memcom.course.build.source import WIDGET_VIEW
from memcom.course.exercises import CHECK_MIME
from memcom.course.records import RECORD_MIME
from tests.course.build import sample

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def executed():
    """The sample as a run would leave it, outputs written by hand."""
    notebook = sample.build()
    picture = f'<img src="data:image/png;base64,{PIXEL}" alt="64 buckets">'
    shown = {
        "figure": {"text/html": picture, "text/plain": "<HTML>"},
        "widget": {WIDGET_VIEW: {"model_id": "1"}, "text/plain": "VBox(children=())"},
        "exercise": {
            CHECK_MIME: {"name": "row", "status": "not tried yet"},
            "text/plain": "row: not tried yet",
        },
        "solution": {
            CHECK_MIME: {"name": "row", "status": "passed"},
            "text/plain": "row (the solution): passed",
        },
    }
    for tag, data in shown.items():
        sample.find(notebook, tag).outputs = [v4.new_output("display_data", data=data)]
    records = notebook.cells[5]
    records.outputs = [
        v4.new_output("display_data", data={RECORD_MIME: {"name": "secret"}, "text/plain": ""}),
        v4.new_output("stream", text="there are \x1b[31m50\x1b[0m <ids>\n"),
        v4.new_output("error", ename="E", evalue="v", traceback=["\x1b[0;31mE: v\x1b[0m"]),
    ]
    return notebook


def page(notebook=None, **links) -> str:
    return notebook_page(
        notebook or executed(),
        title="Rows & ids",
        source=Path("/course/notebooks/00_sample.ipynb"),
        site=Path("/course/site"),
        facts="Ran in 3 s.",
        **links,
    )


@pytest.fixture(scope="module")
def soup():
    return bs4.BeautifulSoup(page(), "html.parser")


def test_nothing_is_loaded_from_anywhere(soup):
    assert soup.find_all(["script", "link", "iframe", "object"]) == []
    assert [image["src"][:22] for image in soup("img")] == ["data:image/png;base64,"]
    assert all(image["alt"] for image in soup("img"))
    assert page_faults(str(soup)) == []


def test_language_width_title_and_one_heading(soup):
    assert soup.html["lang"] == "en"
    assert "width=device-width" in soup.find("meta", {"name": "viewport"})["content"]
    assert soup.title.text == "Rows & ids"
    assert len(soup("h1")) == 1


def test_formulas_are_mathml(soup):
    assert len(soup("math")) == 3
    assert "\\bmod" not in soup.text


def test_records_and_widgets_leave_no_trace_but_a_note(soup):
    assert "secret" not in str(soup)
    assert "VBox" not in str(soup)
    assert len(soup.find_all("p", class_="note")) == 1


def test_text_outputs_are_escaped_and_plain(soup):
    outputs = [pre.text for pre in soup.find_all("pre", class_="output")]
    assert "there are 50 <ids>\n" in outputs
    assert "E: v" in outputs


def test_checks_and_solutions_are_folded_with_their_outputs(soup):
    folded = soup("details")
    assert [entry.summary.text for entry in folded] == 2 * [
        "How your answer is checked",
        "Solution",
    ]
    assert not any(entry.has_attr("open") for entry in folded)
    assert "a % m" in folded[1].text
    assert "row (the solution): passed" in folded[1].text
    (stub,) = [pre for pre in soup.find_all("pre", class_="check") if "not tried" in pre.text]
    assert "not-tried-yet" in stub["class"]
    assert stub.find_parent("details") is None


def test_links_lead_to_pages(soup):
    targets = [anchor["href"] for anchor in soup("a")]
    assert "00_sample.html" in targets
    assert "https://example.org/x" in targets


def test_links_to_other_files_start_at_the_site():
    notebook = executed()
    notebook.cells[3].source += " See [the layer](../memcom/budget.py#L3)."
    other = notebook_page(
        notebook,
        title="t",
        source=Path("/course/notebooks/00_sample.ipynb"),
        site=Path("/elsewhere/deep/site"),
        facts="",
    )
    assert 'href="../../../course/memcom/budget.py#L3"' in other


def test_neighbours_are_linked():
    text = page(previous=Link("00_a.html", "A & B"), following=Link("02_c.html", "C"))
    soup = bs4.BeautifulSoup(text, "html.parser")
    assert soup.find("a", rel="prev")["href"] == "00_a.html"
    assert soup.find("a", rel="prev").text == "← A & B"
    assert soup.find("a", rel="next")["href"] == "02_c.html"
    assert not bs4.BeautifulSoup(page(), "html.parser").find_all("a", rel="next")


def test_a_local_picture_in_the_text_is_embedded(tmp_path):
    (tmp_path / "pixel.png").write_bytes(base64.b64decode(PIXEL))
    notebook = executed()
    notebook.cells[3].source += "\n\n![one pixel](pixel.png)"
    text = notebook_page(
        notebook, title="t", source=tmp_path / "00_a.ipynb", site=tmp_path / "site", facts=""
    )
    assert f'src="data:image/png;base64,{PIXEL}" alt="one pixel"' in text


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ({"image/png": PIXEL}, "a picture has no alternative text"),
        ({"text/html": "<img src='https://example.org/a.png' alt='x'>"}, "is not embedded"),
        ({"text/html": "<script>1</script>"}, "a <script> is on the page"),
        ({"text/html": "<link href='https://example.org/a.css'>"}, "a.css is loaded"),
        ({"text/html": "<style>@import 'x';</style>"}, "a style sheet is loaded"),
    ],
)
def test_a_page_that_would_not_stand_alone_is_refused(output, fault):
    notebook = executed()
    notebook.cells[5].outputs = [v4.new_output("display_data", data=output)]
    with pytest.raises(PageError, match=fault):
        page(notebook)


def test_an_unknown_formula_is_refused():
    notebook = executed()
    notebook.cells[3].source = "$\\nosuchcommand$"
    with pytest.raises(PageError, match=r"00_sample\.ipynb: formula"):
        page(notebook)
