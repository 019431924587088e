"""The tables of a run."""

from __future__ import annotations

import pytest

pytest.importorskip("bs4")

import bs4

from memcom.course.build.header import Header
from memcom.course.build.index import Entry, index_page, report, result_rows

HEADER = Header("Rows & ids", "What <they> share.", ("count",), {})
ROW = {
    "method": "memcom(bias)",
    "nbytes": 1234567,
    "ratio": 15.96,
    "ratio_asked": 16,
    "ndcg_at_10": 0.28125,
    "loss_percent": -4.06,
}
GOOD = Entry("03_memcom", HEADER, 61.4, 500 * 2**20, [ROW])
BAD = Entry("04_codes", Header("", "", (), {}), None, None, [], "Traceback …")


def test_results_are_spelled_with_their_precision():
    assert result_rows([GOOD, BAD]) == [
        ("03_memcom", "memcom(bias)", "1,234,567", "16.0", "16", "0.2812", "-4.1 %")
    ]
    unknown = {**ROW, "ndcg_at_10": None, "loss_percent": None, "ratio_asked": None}
    entry = Entry("03_memcom", HEADER, 1.0, 1, [unknown])
    assert result_rows([entry])[0][4:] == ("–", "–", "–")


def test_the_report_is_aligned():
    lines = report([GOOD, BAD]).splitlines()
    assert len(lines[1]) >= len(lines[0]) == len(lines[2])
    assert lines[-2].split() == ["03_memcom", "61", "s", "500", "MiB", "ok"]
    assert lines[-1].split() == ["04_codes", "–", "–", "FAILED"]
    assert "Method" not in report([BAD])


def test_contents_escape_and_mark_failures():
    soup = bs4.BeautifulSoup(index_page([GOOD, BAD], "2 CPUs"), "html.parser")
    first, second = soup.find("table", class_="course").tbody("tr")
    assert first.a.text == "Rows & ids"
    assert "What <they> share." in first.text
    assert second.a.text == "04_codes"
    assert "Failed." in second.text
    assert "1 of 2 notebooks failed" in soup.find("p", class_="failed").text
    whole = bs4.BeautifulSoup(index_page([GOOD], "2 CPUs"), "html.parser")
    assert whole.find("p", class_="failed") is None
