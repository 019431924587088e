"""Numbers and tables in words."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memcom
from memcom._text import code, duration, escape, fenced, in_bytes, markdown, parse_nbytes, table


@pytest.mark.parametrize(
    ("nbytes", "words"),
    [(0, "0 B"), (999, "999 B"), (999.7, "1 kB"), (2_560_000_000, "2.56 GB"), (2e12, "2 TB")],
)
def test_bytes_have_three_digits_and_a_decimal_unit(nbytes: float, words: str) -> None:
    assert in_bytes(nbytes) == words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((12, 12), ("7 B", 7), ("1.5 MB", 1_500_000), ("64KiB", 65536), ("2 gib", 2**31)),
        *(
            ("2.56 GB", 2_560_000_000),
            ("1 kB", 1000),
            ("2.3 MB", 2_300_000),
            ("1,000", 1000),
            ("3tb", 3 * 10**12),
        ),
    ],
)
def test_bytes_are_read_from_words(text: str | int, value: int) -> None:
    assert parse_nbytes(text) == value


@pytest.mark.parametrize("text", ["", "0", "-3", "five", "3 parsecs", "MB", "3 k", "1 iB"])
def test_other_words_are_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match=r"a size .*got"):
        parse_nbytes(text)


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_a_duration_is_in_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_table_in_markdown() -> None:
    rows = [{"method": "qr", "bytes": "1,600"}, {"method": "a longer name"}]
    lines = table(rows, right=["bytes"]).splitlines()
    assert [line.replace(" ", "") for line in lines] == [
        "|method|bytes|",
        "|:--------------|--------:|",
        "|qr|1,600|",
        "|alongername||",
    ]
    assert len({len(line) for line in lines}) == 1


def test_a_table_for_a_terminal_is_aligned() -> None:
    rows = [{"method": "qr", "x": "1"}, {"method": "memcom", "x": "22"}]
    assert table(rows, style="plain", right=["x"]).splitlines() == [
        "method      x",
        "qr          1",
        "memcom     22",
    ]


def test_no_rows_make_no_table() -> None:
    assert table([]) == ""


HOSTILE = [
    "<img src=x onerror=alert(1)>.csv",
    '"><script>alert(1)</script>',
    "a|b|c.csv",
    "[x](javascript:alert(1)) ![y](http://z)",
    "`<b>` ``` <b>",
    "two\nlines\n\n<b>",
    "*not* _this_ ~~either~~ $x$ {{y}}",
    "&lt;b&gt;",
    "\\<b>\\",
]


class Parts(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.alt: list[str | None] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.alt.append(dict(attributes).get("alt"))

    def handle_data(self, data):
        self.text += data


def rendered(text: str) -> Parts:
    """Markdown as a viewer shows it that lets HTML through."""
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Parts(reader.render(text))


def one_line(text: str) -> str:
    return " ".join(text.split())


@given(st.sampled_from(HOSTILE) | st.text(alphabet="<>&\"'`|*_[](){}!$~\\#-+ \nab", max_size=40))
def test_the_words_of_others_are_shown_letter_by_letter(text: str) -> None:
    for page, tags in (
        (f"## {markdown(f'a {text} b')}", ["h2"]),
        (f"- {markdown(f'a {text} b')}", ["ul", "li"]),
        (table([{"x": markdown(f"a {text} b")}]), "table thead tr th tbody tr td".split()),
    ):
        shown = rendered(page)
        assert shown.tags == tags
        assert one_line(shown.text.removeprefix("\n\nx")) in (
            one_line(f"a {text} b"), one_line(f"x a {text} b"),
        )  # fmt: skip
    shown = rendered(f"- x {code(text)}" if text.strip() else "- x")
    assert shown.tags[:2] == ["ul", "li"]
    assert set(shown.tags[2:]) <= {"code"}
    assert one_line(shown.text) == one_line(f"x {text}")
    assert rendered(fenced(text)).tags == ["pre", "code"]


@pytest.mark.parametrize("text", HOSTILE)
def test_the_words_of_others_in_html(text: str) -> None:
    shown = Parts(f'<p><img alt="{escape(text)}">{escape(text)}</p>')
    assert shown.tags == ["p", "img"]
    assert shown.alt[1] == shown.text == text


def test_html_is_escaped_at_one_place() -> None:
    root = Path(memcom.__file__).parents[1]
    rooms = ("memcom", "docs", "experiments")
    sources = [path for room in rooms for path in (root / room).rglob("*.py")]
    own = re.compile(r"^import html$|html\.escape", re.MULTILINE)
    escaping = [path for path in sources if own.search(path.read_text())]
    assert [str(path.relative_to(root)) for path in escaping] == ["memcom/_text.py"]
