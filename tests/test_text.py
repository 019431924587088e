"""Numbers and tables in words."""

from __future__ import annotations

import pytest

from memcom._text import duration, in_bytes, parse_nbytes, table


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
    with pytest.raises(ValueError, match="1500000"):
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
